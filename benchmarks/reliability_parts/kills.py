"""Kills: SIGKILL at seeded events of a training, half of them within the writes of a save."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from programs.interruptions import KINDS

from reliability_parts.apart import apart, warmed
from reliability_parts.cases import CASES

__all__ = ["measured"]

CHAIN = 4
"""Kills of one training, each of which is resumed."""


def measured(
    cases: list[str], kills: int, steps: int, seed: int, smoke: bool
) -> list[dict[str, Any]]:
    """A row for each case: its kills, by kind, and what went wrong, with the seed that
    replays it.
    """
    warmed()
    rounds = -(-kills // (CHAIN * len(cases)))
    return [_row(name, rounds, steps, seed, smoke) for name in cases]


def _row(name: str, rounds: int, steps: int, seed: int, smoke: bool) -> dict[str, Any]:
    counts = dict.fromkeys((*KINDS, "end"), 0)
    wrong = []
    restarted = 0
    options = {"steps": steps, "checkpoint_every": max(1, steps // 3)}
    with tempfile.TemporaryDirectory() as folder:
        for keep in (None, 1):
            chain = CASES[name].chain(Path(folder) / str(keep), options, smoke, keep)
            for number in range(0 if keep is None else 1, rounds, 2):
                kinds = [KINDS[(at + number // 2) % 2] for at in range(CHAIN)]
                word = f"{seed}/{name}/{number}"
                for event in chain.killed(kinds, word, apart(smoke), f"cut {number}"):
                    counts[event["kind"]] = counts.get(event["kind"], 0) + 1
                    restarted += event.get("newest", 0) < 0
                    wrong += [{"seed": word, **event}] if event["wrong"] else []
    row = {
        "part": "kills",
        "case": name,
        **counts,
        "before the first checkpoint": restarted,
        "wrong": wrong,
    }
    print(row, flush=True)
    return row
