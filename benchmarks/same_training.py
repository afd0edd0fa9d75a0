"""Do trainings end in the losses that they ended in before?

Protocol: every recipe but the games is trained for 50 steps of 64 examples in its tiny size, on
    random data with labels, by this
package and by that of commit 8eb11c4, which is taken from the repository's history; each in a
process of its own, on one thread, from the same seed. What was changed on purpose since then is set
to what it was: `ddpm` without preconditioning, `vae` without labels, for which it learns a prior
now. Losses are compared as they stand in the log. The bar is a relative distance of 1e-4; where the
order of sums did not change, losses are equal bit for bit.

    python benchmarks/same_training.py [--steps 50] [--smoke]
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

from protocol import BEFORE, benchmark, parsed, printed_by, relative, source_of, table, write

import pushforward as pf

CASES = (
    "flow",
    "flow:image",
    "edm",
    "edm:image",
    "ddpm",
    "ddpm:image",
    "vdm",
    "vdm:image",
    "vae:unlabelled",
)
CASES += ("vae:image:unlabelled", "hvae", "vqvae", "vqvae:image")
PROGRAM = Path(__file__).parent / "programs" / "few_steps.py"
BAR = 1e-4


@functools.cache
def losses(source: Path, steps: int, cases: tuple[str, ...]) -> dict[str, dict[str, list[float]]]:
    """The losses of each case and player, by the package in a folder."""
    content = json.loads(printed_by(PROGRAM, [str(steps), *cases], source))
    assert Path(content["package"]).is_relative_to(source), content["package"]
    return dict(content["losses"])


def compared(before: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each case and player: how far the losses are apart, and at which step they first
    differ.
    """
    rows = []
    for case, players in now.items():
        for player, values in players.items():
            wanted = before[case][player]
            apart = [relative(a, b) for a, b in zip(values, wanted, strict=True)]
            first = next((step for step, value in enumerate(apart, 1) if value), None)
            rows.append(
                {
                    "case": case,
                    "player": player,
                    "apart": max(apart),
                    "first": first,
                    "last": values[-1],
                }
            )
    return rows


def text_of(rows: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        [
            row["case"],
            row["player"],
            f"{row['last']:.6g}",
            "equal" if row["first"] is None else f"{row['apart']:.1e}",
            "" if row["first"] is None else str(row["first"]),
        ]
        for row in rows
    ]
    equal = sum(row["first"] is None for row in rows)
    headers = ["case", "player", "last loss", "greatest distance", "from step"]
    return (
        f"Losses by this package against those by commit {BEFORE}; {equal} of {len(rows)} are "
        "equal bit for bit in every step. "
        f"The bar is {BAR:g}.\n\n{table(headers, lines)}"
    )


@benchmark
def main(words: list[str]) -> None:
    """Train, compare, write the table and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50, help="steps of each training (default 50)")
    given = parsed(parser, words, steps=1)
    cases = CASES[:1] if given.smoke else CASES
    now = losses(Path(pf.__file__).parents[1], given.steps, cases)
    with source_of(BEFORE) as source:
        before = losses(source, given.steps, cases)
    rows = compared(before, now)
    write(
        "same_training",
        "The same trainings as before",
        text_of(rows),
        rows,
        steps=given.steps,
        before=BEFORE,
    )


if __name__ == "__main__":
    main()
