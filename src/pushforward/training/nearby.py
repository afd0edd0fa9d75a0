"""The runs that may be meant by a path that is no run, as paths that can be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pushforward.errors import CheckpointError, closest
from pushforward.numbers import listing
from pushforward.safe_files import read_json

__all__ = ["close_run", "runs_inside", "runs_inside_words", "scored_together"]

SPEC = "spec.json"
USUAL = "runs"
"""The folder of runs without --out."""
NAMED = 8
"""Runs in a folder that an error names at most."""


def runs_inside(folder: Path) -> list[Path]:
    """The folders of the runs in a folder, in order, such as those of a comparison."""
    return sorted(path.parent for path in folder.glob(f"*/{SPEC}"))


def runs_inside_words(folder: Path) -> str:
    """Which runs a folder holds, as a sentence; empty where it holds none."""
    runs = [str(path) for path in runs_inside(folder)]
    if not runs:
        return ""
    names = [Path(run).name for run in runs[:NAMED]] + [f"{len(runs) - NAMED} more"] * (len(runs) > NAMED)
    text = f" It holds the run{'s' * (len(runs) > 1)} {listing(names)}: name one of them, such as {runs[0]}."
    return text if len(runs) > 1 else text.replace("one of them, such as ", "")


def scored_together(folder: Path) -> str:
    """The commands that score the runs in a folder, those of one data set beside each other; empty where there are none."""
    runs = [str(path) if path.parent.name else f"./{path}" for path in runs_inside(folder)]  # a bare name may be a recipe's
    groups = [group for group in _by_data(runs) if len(group) > 1]
    which = "All" if groups == [runs] else "Those of one data set"
    commands = "; ".join(f"pushforward compare {shlex.join(group)}" for group in groups)
    return f" {which} are scored beside each other by: {commands}" if groups else ""


def _by_data(runs: Sequence[str]) -> list[list[str]]:
    """Runs that were trained on data of one name, together; those that do not say it are a group."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        try:
            data = (read_json(Path(run) / SPEC).get("data") or {}).get("name_or_path")
        except (CheckpointError, OSError, AttributeError):
            data = None
        groups.setdefault(str(data), []).append(run)
    return list(groups.values())


def close_run(folder: Path) -> str:
    """A hint such as ``' Did you mean "runs/digits-flow"?'``, of runs beside a path or in `USUAL`; empty where none is close."""
    known = {path.name: path for place in (Path(USUAL), folder.parent) for path in runs_inside(place)}
    name = closest(folder.name, known)
    return "" if name is None else f' Did you mean "{known[name]}"?'
