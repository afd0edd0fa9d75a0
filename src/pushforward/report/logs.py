"""What the folders of runs say of their training: health, alarms, and the critic's landscapes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.report.numbers import finite

if TYPE_CHECKING:
    from pushforward.training import Run

__all__ = ["health_of", "landscapes_of"]

POINTS = 300
"""Points of a series that are kept at most, each the mean of its neighbours."""


def health_of(run: Run) -> dict[str, Any]:
    """The fields ``health`` and ``alarms`` of an entrant; without the first where nothing was measured."""
    rows = run.losses()
    series: dict[str, list[tuple[int, float]]] = {}
    modes = None
    for row in rows:
        measured = row.get("health")
        for name, value in measured.items() if isinstance(measured, dict) else ():
            number = finite(value)
            if name == "modes":
                modes = value
            elif number is not None:
                series.setdefault(name, []).append((row["step"], number))
    drawn = {name: _thinned(points) for name, points in series.items()}
    alarms = [one for row in rows if isinstance(row.get("alarm"), list) for one in row["alarm"]]
    return {**({"health": {"modes": modes, "series": drawn}} if drawn else {}), "alarms": alarms}


def _thinned(points: Sequence[tuple[int, float]]) -> dict[str, Sequence[float]]:
    each = -(-len(points) // POINTS)
    parts = [points[start : start + each] for start in range(0, len(points), each)]
    means = [[statistics.fmean(each) for each in zip(*part, strict=True)] for part in parts]
    return {"step": [round(step) for step, _ in means], "value": [float(f"{value:.5g}") for _, value in means]}


def landscapes_of(run: Run) -> list[tuple[int, dict[str, np.ndarray]]]:
    """Step, and scores, limits and raw samples (`pushforward.training.landscape`), for each moment that a run kept."""
    found = []
    for path in sorted((run.folder / "samples").glob("step_*.npz")):
        with np.load(path, allow_pickle=False) as file:
            if {"scores", "limits", "raw"} <= set(file.files):
                found.append((int(path.stem.removeprefix("step_")), {name: file[name] for name in ("scores", "limits", "raw")}))
    return found
