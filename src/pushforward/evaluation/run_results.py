"""What the folder of a run says: settings and origin, cost, losses, health, alarms, and the landscapes of the critic."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pushforward import spec
from pushforward.evaluation import cost
from pushforward.evaluation.commands import commands
from pushforward.evaluation.measurements import Alarm, Health, Series, TrainingCost
from pushforward.evaluation.moments import moments_of
from pushforward.evaluation.results import ModelResult
from pushforward.numbers import finite
from pushforward.safe_files import read_object
from pushforward.training import Run
from pushforward.training.checkpoint.best import best_of
from pushforward.training.checkpoint.integrity import latest, unfinished, weights_hash
from pushforward.training.loop.nonfinite import MARK, in_words
from pushforward.training.monitor.alarms import lost

__all__ = ["config_of", "health_of", "landscapes_of", "of_run", "unfinished_warnings"]

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
            trajectory_seconds=state.get("store_seconds") or None,
            ancestor_seconds=sum(taken for name, taken in run.seen.seconds.items() if name != str(run.folder)) or None,
        ),
        weights_step=state.get("weights_step"),
        other_parameters=cost.training_only(run.method, run.transport),
        losses=_losses(run),
        commands=tuple(commands(run)),
        config=config_of(run),
        origin=origin_of(run),
    )


def unfinished_warnings(run: Run) -> tuple[str, ...]:
    """That a training has not used up its budget; empty where it has, or where it ended by itself or broke off."""
    if any("broke off" in text for text in run.warnings):
        return ()
    newest = latest(run.folder / "checkpoints")
    words = None if newest is None else unfinished(newest, run.spec.get("budget") or {})
    if not words or lost(run.losses()):
        return ()
    return (f"it is unfinished: {words} of training. Resume it first: pushforward resume {shlex.quote(str(run.folder))}",)


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
    """Step, and scores, limits and raw samples (`training.monitor.critic_landscape`), for each moment up to a run's step."""
    landscapes: list[tuple[int, Mapping[str, np.ndarray]]] = []
    for step, arrays in moments_of(run):
        if step <= run.state["step"] and {"scores", "limits", "raw"} <= arrays.keys():
            landscapes.append((step, {name: arrays[name] for name in ("scores", "limits", "raw")}))
    return landscapes


SETTINGS = ("recipe", "training", "data", "budget", "augment", "asked", "init", "method")
"""Entries of a run's spec that say how it was trained."""


def config_of(run: Run) -> dict[str, Any]:
    """The settings of a run as its ``spec.json`` holds them; the space, which is the data's, is left out."""
    return {name: _without_space(run.spec[name]) for name in SETTINGS if run.spec.get(name) not in (None, {}, [])}


def _without_space(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_space(inner) for name, inner in value.items() if name not in ("space", "conditions")}
    return [_without_space(inner) for inner in value] if isinstance(value, list) else value


def origin_of(run: Run) -> dict[str, str]:
    """Command, commit, versions and machine of a training, hashes of its data and weights, and whether it samples as trained.

    Weights are those that the run was read with, the averaged ones by default. What a folder does not say is left out.
    """
    manifest = read_object(run.folder / "manifest.json")
    latest = read_object(run.folder / "checkpoints/latest.json")
    weights = read_object(run.folder / f"checkpoints/{_named(latest)}/MANIFEST.json").get("files", {})
    packages, machine = manifest.get("packages") or {}, manifest.get("machine") or {}
    known = {
        "Command": manifest.get("command"),
        "Commit": manifest.get("commit"),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Machine": ", ".join(str(machine[name]) for name in ("processor", "accelerator") if machine.get(name)),
        "Data sha256": run.spec.get("fingerprint"),
        "Weights sha256": run.weights or weights_hash(weights),
        "Sampling": None if _samples_as_trained(run) else "with other options than the run's own",
    }
    return {name: str(value) for name, value in known.items() if value}


def _samples_as_trained(run: Run) -> bool:
    return bool(spec.describe(run.transport) == spec.describe(run.method.transport()))


def _named(latest: Mapping[str, Any]) -> str:
    """The folder of the newest checkpoint."""
    return next((str(value) for value in latest.values() if isinstance(value, str)), "")
