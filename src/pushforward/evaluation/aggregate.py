"""Trainings of one recipe with several seeds as one model, so that its spread says what another training would change."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pushforward.evaluation.intervals import merged_p, over_trainings
from pushforward.evaluation.measurements import CurvePoint
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import MetricInfo, Score
from pushforward.numbers import finite
from pushforward.records import Record

_Recorded = TypeVar("_Recorded", bound=Record)


def aggregated(comparison: Comparison) -> Comparison:
    """A comparison in which all trainings of a recipe are one row.

    Trainings belong together where names differ only in their own seed at the end (``flow-0``, ``flow-1``), and family,
    method and size are the same. Scores become means over trainings; their spread is that over trainings, or that over
    samplings where it is greater, since a few trainings can agree by luck. Curves are means as well. Pictures, losses and
    health are those of the first training, alarms those of all. Models of a single training are unchanged.
    """
    groups: dict[Any, list[ModelResult]] = {}
    for number, model in enumerate(comparison.models):
        groups.setdefault(_recipe(model, number), []).append(model)
    taken = {group[0].name for group in groups.values() if len(group) == 1}
    names: dict[str, str] = {}
    models = []
    for (stem, *_), group in groups.items():
        name = group[0].name if len(group) == 1 else stem if stem not in taken else f"{stem} ({len(group)} trainings)"
        taken.add(name)
        names |= {model.name: name for model in group}
        models.append(group[0] if len(group) == 1 else _together(name, group, comparison.metrics))
    pictures = comparison.pictures
    renamed = {name: pictures[old] for old, name in reversed(names.items()) if old in pictures}
    settings = comparison.settings
    if settings.shared is not None:
        shared = tuple(tuple(dict.fromkeys(names.get(name, name) for name in group)) for group in settings.shared)
        settings = replace(settings, shared=shared)
    rest = {name: drawn for name, drawn in pictures.items() if name not in names}
    title = f"{', '.join(model.name for model in models)} on {comparison.data.name}"
    return replace(comparison, title=title, settings=settings, models=tuple(models), pictures=renamed | rest)


def _recipe(model: ModelResult, number: int) -> tuple[Any, ...]:
    """What trainings of one recipe have in common; a name that does not end in its seed stands alone."""
    end = f"-{model.seed}"
    if model.seed is None or not model.name.endswith(end) or model.name == end:
        return model.name, number
    return model.name.removesuffix(end), model.family, model.method, model.parameters


def _together(name: str, group: Sequence[ModelResult], known: Mapping[str, MetricInfo]) -> ModelResult:
    metrics = dict.fromkeys(metric for model in group for metric in model.scores)
    agreements = [model.label_agreement for model in group]
    return replace(
        group[0],
        name=name,
        seed=tuple(model.seed if isinstance(model.seed, int) else None for model in group),
        run=", ".join(model.run for model in group if model.run) or None,
        trainings=tuple(_training(model) for model in group),
        scores={metric: _score([model.scores.get(metric, Score()) for model in group], known.get(metric)) for metric in metrics},
        training=_mean_record([model.training for model in group]),
        sampling=_mean_record([model.sampling for model in group]),
        label_agreement=_mean(agreements),
        weights_step=weights.pop() if len(weights := {model.weights_step for model in group}) == 1 else None,
        curve=_mean_curve(group),
        trajectory=_mean_trajectory(group),
        alarms=tuple(replace(alarm, training=model.name) for model in group for alarm in model.alarms),
        warnings=tuple(f"{model.name}: {text}" for model in group for text in model.warnings),
        commands=tuple(text for model in group for text in model.commands),
    )


def _training(model: ModelResult) -> ModelResult:
    """What is kept of a single training."""
    return ModelResult(
        model.name,
        seed=model.seed,
        run=model.run,
        scores=model.scores,
        training=model.training,
        sampling=model.sampling,
        label_agreement=model.label_agreement,
        weights_step=model.weights_step,
    )


def _score(parts: Sequence[Score], info: MetricInfo | None) -> Score:
    """A training without a score leaves none: the mean of the others would stand for it."""
    values = tuple(part.value for part in parts if part.value is not None)
    if len(values) < len(parts):
        return replace(parts[0], value=None, spread=None, values=values, ratio=None, interval=None, interval_of=None)
    sampling = statistics.fmean((part.spread or 0.0) ** 2 for part in parts) ** 0.5
    mean = replace(_mean_record(parts), error=_root_mean(part.error for part in parts))
    mean = replace(mean, reference_error=_root_mean(part.reference_error for part in parts))
    p_values = [p for part in parts if (p := part.extra.get("p")) is not None]
    extra = {name: value for name, value in mean.extra.items() if name != "p"}
    extra |= {"p": merged_p(p_values)} if len(p_values) == len(parts) else {}
    return over_trainings(replace(mean, spread=max(statistics.stdev(values), sampling), values=values, extra=extra), info)


def _root_mean(errors: Iterable[float | None]) -> float | None:
    """The root of the mean of squares; None where any is unknown."""
    known = list(errors)
    squares = [error**2 for error in known if error is not None]
    return statistics.fmean(squares) ** 0.5 if len(squares) == len(known) else None


def _mean_curve(group: Sequence[ModelResult]) -> tuple[CurvePoint, ...]:
    """The mean over trainings in each number of steps that all of them have."""
    common = set.intersection(*({point.steps for point in model.curve} for model in group))
    rows = ([point for point in model.curve if point.steps in common] for model in group)
    return tuple(_mean_record(points) for points in zip(*rows, strict=True))


def _mean_trajectory(group: Sequence[ModelResult]) -> Any:
    trajectories = [model.trajectory for model in group if model.trajectory is not None]
    return _mean_record(trajectories) if len(trajectories) == len(group) else group[0].trajectory


def _mean_record(parts: Sequence[_Recorded]) -> _Recorded:
    return type(parts[0]).from_plain(_mean([part.to_plain() for part in parts]))


def _mean(parts: Sequence[Any]) -> Any:
    """Numbers averaged, dicts by key, lists of equal length by place; of anything else the first."""
    first = parts[0]
    if all(part == first for part in parts):
        return first
    if all(isinstance(part, Mapping) for part in parts):
        return {key: _mean([part.get(key) for part in parts]) for key in first}
    if all(isinstance(part, list) and len(part) == len(first) for part in parts):
        return [_mean(list(places)) for places in zip(*parts, strict=True)]
    numbers = [number for number in map(finite, parts) if number is not None]
    return statistics.fmean(numbers) if len(numbers) == len(parts) else first
