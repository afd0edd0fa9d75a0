"""What the folder of a run says of its training: cost, losses, health, alarms, and the critic's landscapes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pushforward.evaluation import cost
from pushforward.evaluation.commands import commands
from pushforward.evaluation.measurements import Alarm, Health, Series, TrainingCost
from pushforward.evaluation.moments import moments_of
from pushforward.evaluation.origins import config_of, origin_of
from pushforward.evaluation.results import ModelResult
from pushforward.numbers import finite
from pushforward.training import Run
from pushforward.training.best import best_of
from pushforward.training.skipping import MARK, in_words

__all__ = ["health_of", "landscapes_of", "of_run"]

POINTS = 300
"""Points of a health series that are stored at most, each the mean of its neighbours."""
LOSSES = 400
"""About the most points of a loss curve that are stored."""


def of_run(result: ModelResult, run: Run) -> ModelResult:
    """A model's result with what its run knows: family, method, training, losses and commands."""
    state, seconds = run.state, run.state["seconds"]
    return replace(
        result,
        family=run.spec["family"],
        method=run.spec["method"]["part"],
        run=str(run.folder),
        seed=run.spec["seed"],
        training=TrainingCost(
            seconds=seconds,
            steps=state["step"],
            samples=state["samples"],
            precision=state.get("precision"),
            batch=state.get("batch"),
            samples_per_second=state["samples"] / seconds if seconds else None,
        ),
        other_parameters=cost.training_only(run.method, run.transport),
        losses=_losses(run),
        commands=tuple(commands(run)),
        config=config_of(run),
        origin=origin_of(run),
    )


def _losses(run: Run) -> dict[str, Series]:
    rows = run.losses()
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows[:: max(1, len(rows) // LOSSES)]:
        for player, value in row["loss"].items():
            points.setdefault(player, []).append((row["step"], value))
    return {player: _series(line) for player, line in points.items()}


def _series(points: Sequence[tuple[float, ...]], timed: bool = False) -> Series:
    columns = [tuple(column) for column in zip(*points, strict=True)]
    return Series(*columns[: 3 if timed else 2])


def health_of(run: Run) -> tuple[Health | None, tuple[Alarm, ...]]:
    """What was measured while a run was trained, None where nothing was, and its alarms."""
    rows = run.losses()
    series: dict[str, list[tuple[float, ...]]] = {}
    modes = None
    for row in rows:
        measured = row.get("health")
        for name, value in measured.items() if isinstance(measured, dict) else ():
            number = finite(value)
            if name == "modes":
                modes = value
            elif number is not None and not name.startswith(MARK):
                series.setdefault(name, []).append((row["step"], number, row.get("seconds", 0.0)))
    alarms = tuple(Alarm.from_plain(alarm) for row in rows if isinstance(row.get("alarm"), list) for alarm in row["alarm"])
    timed = {name for name in series if name.startswith("frechet")} if "frechet_2" in series else set()
    drawn = {name: _series(_thinned(points), name in timed) for name, points in series.items()}
    skipped, best = in_words(rows), best_of(rows)
    said = None if best is None else best.sentence
    return (Health(modes, drawn, skipped, said) if drawn or skipped else None), alarms


def _thinned(points: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    width = -(-len(points) // POINTS)
    parts = [points[start : start + width] for start in range(0, len(points), width)]
    means = [[statistics.fmean(column) for column in zip(*part, strict=True)] for part in parts]
    return [(round(step), float(f"{value:.5g}"), *(round(at, 3) for at in seconds)) for step, value, *seconds in means]


def landscapes_of(run: Run) -> list[tuple[int, Mapping[str, np.ndarray]]]:
    """Step, and scores, limits and raw samples (`pushforward.training.landscape`), for each moment that a run stored."""
    landscapes: list[tuple[int, Mapping[str, np.ndarray]]] = []
    for step, arrays in moments_of(run):
        if {"scores", "limits", "raw"} <= arrays.keys():
            landscapes.append((step, {name: arrays[name] for name in ("scores", "limits", "raw")}))
    return landscapes
