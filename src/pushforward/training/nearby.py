"""The runs that may be meant by a path that is no run, as paths that can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

from pushforward.errors import closest
from pushforward.numbers import listing

__all__ = ["close_run", "runs_inside", "runs_inside_words"]

SPEC = "spec.json"
USUAL = "runs"
"""The folder of runs without --out."""
NAMED = 8
"""Runs in a folder that an error names at most."""


def runs_inside(folder: Path) -> list[Path]:
    """The folders of the runs in a folder, in order, such as those of a comparison."""
    return sorted(path.parent for path in folder.glob(f"*/{SPEC}"))


def runs_inside_words(folder: Path) -> str:
    """Which runs a folder holds, and what reads them, as sentences; empty where it holds none."""
    runs = [str(path) for path in runs_inside(folder)]
    if not runs:
        return ""
    names = [Path(run).name for run in runs[:NAMED]] + [f"{len(runs) - NAMED} more"] * (len(runs) > NAMED)
    text = f" It holds the run{'s' * (len(runs) > 1)} {listing(names)}: name one of them, such as {runs[0]}."
    if len(runs) == 1:
        return text.replace("one of them, such as ", "")
    return f"{text} All are scored beside each other by: pushforward compare {shlex.join(runs)}"


def close_run(folder: Path) -> str:
    """A hint such as ``' Did you mean "runs/digits-flow"?'``, of runs beside a path or in `USUAL`; empty where none is close."""
    known = {path.name: path for place in (Path(USUAL), folder.parent) for path in runs_inside(place)}
    name = closest(folder.name, known)
    return "" if name is None else f' Did you mean "{known[name]}"?'
