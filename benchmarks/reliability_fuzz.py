"""Do the readers of runs, checkpoints and results raise anything but pushforward's own errors, or
do more than read?

    python benchmarks/reliability_fuzz.py [--minutes 10] [--seed 0]

First every case of the corpus of hostile runs (`tests/programs/hostile_cases.py` and
`hostile_specs.py`), then random damage (`tests/programs/fuzzing.py`) until the time is up. Each
damaged copy of a small run is loaded, sampled from, resumed and read as results. A failure is
printed with its seed, and its run is stored in the results' folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from protocol import benchmark, parsed, results, table, write

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from programs import fuzzing, hostile, hostile_specs  # noqa: F401
from programs.hostile_cases import CASES, HARMLESS

MEMORY = 12 << 30
"""Bytes of addresses that the process may take."""


class Fuzz:
    """Attacks on copies of one run, counted.

    Args:
        folder: For the run and its copies.
        limit: Copies that are attacked at most.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.base = folder / "run"
        self.place = folder / "case"
        self.limit = limit
        self.count = 0
        self.refused = 0
        self.seconds = 0.0
        self.peak = 0.0
        self.failures: list[str] = []
        hostile.small_run(self.base)

    def attack(self, name: str, damage: Any, refusal: bool = False) -> None:
        """Attack one copy; whether it must be refused is said with it."""
        if self.count >= self.limit:
            return
        outcome = hostile.outcome(self.base, self.place, damage)
        self.count += 1
        self.refused += bool(outcome["messages"])
        self.seconds, self.peak = (
            max(self.seconds, outcome["seconds"]),
            max(self.peak, outcome["peak"]),
        )
        wrong = (
            outcome["fault"]
            or ", ".join(outcome["touched"])
            or ("" if outcome["messages"] or not refusal else "accepted")
        )
        if wrong:
            self.failures.append(f"{name}: {wrong}")
            print(self.failures[-1], flush=True)
            with contextlib.suppress(Exception):
                self._store(damage)

    def facts(self) -> dict[str, Any]:
        """What was counted."""
        return {
            name: getattr(self, name)
            for name in ("count", "refused", "failures", "seconds", "peak")
        }

    def _store(self, damage: Any) -> None:
        stored = results() / "fuzz_failures" / str(len(self.failures))
        shutil.copytree(self.base, stored)
        damage(stored)


def page(parts: dict[str, Fuzz], minutes: float, seeds: tuple[int, int]) -> str:
    """The text of the results."""
    head = ["part", "copies", "refused", "failures", "seconds at most", "MiB at most"]
    lines = [
        [
            name,
            f"{part.count:,}",
            f"{part.refused:,}",
            str(len(part.failures)),
            f"{part.seconds:.2f}",
            f"{part.peak:.0f}",
        ]
        for name, part in parts.items()
    ]
    failures = [f"- {line}" for part in parts.values() for line in part.failures]
    return (
        "Copies of a small run were damaged, then loaded, sampled, resumed and read as results: "
        "with a collection of malicious "
        f"changes, and with {minutes:g} minutes of random damage, seeds {seeds[0]} to {seeds[1]}. "
        "A failure is an exception of "
        "another library, a file outside the run folder (which executed code would also write), or "
        "a malicious run that was "
        "accepted. Seconds are per copy, including the damage; memory is the increase.\n\n"
        + table(head, lines)
        + "\n\n"
        + ("\n".join(["Failures:", "", *failures]) if failures else "No failure.")
    )


@benchmark
def main(words: list[str]) -> None:
    """Attack, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to fuzz")
    parser.add_argument("--seed", type=int, default=0, help="of the first random damage")
    parser.add_argument("--most", type=int, default=10**9, help="copies of either part at most")
    given = parsed(parser, words, minutes=0.2, most=8)
    os.environ["PUSHFORWARD_DATA"] = os.devnull  # nothing that was downloaded is read
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    try:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Fuzz(Path(folder) / "corpus", given.most)
            fuzz = Fuzz(Path(folder) / "fuzz", given.most)
            for name, damage in CASES.items():
                corpus.attack(name, damage, refusal=name not in HARMLESS)
            seed = given.seed
            ends = time.monotonic() + 60 * given.minutes
            while time.monotonic() < ends and fuzz.count < given.most:
                damage, description = fuzzing.damage(seed)
                fuzz.attack(description, damage)
                seed += 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    parts = {"corpus": corpus, "fuzzing": fuzz}
    rows = [{"part": name, **part.facts()} for name, part in parts.items()]
    text = page(parts, given.minutes, (given.seed, seed - 1))
    write(
        "reliability_fuzz",
        "Malicious runs and random damage",
        text,
        rows,
        minutes=given.minutes,
        seed=given.seed,
    )
    if corpus.failures or fuzz.failures:
        raise SystemExit(f"{len(corpus.failures) + len(fuzz.failures)} failures")


if __name__ == "__main__":
    main()
