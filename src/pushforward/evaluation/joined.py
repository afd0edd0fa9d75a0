"""Joined comparisons, and means over training runs."""

from __future__ import annotations

import datetime
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from pushforward.evaluation.intervals import mean_extra, mean_of, over_trainings
from pushforward.evaluation.measurements import Alarm, CurvePoint, Pictures, SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult, Settings, check_same
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.score import Infos
from pushforward.numbers import finite

TRAINING = re.compile(r"(.+)-(\d+)")  # Name of one of several training runs, and its seed
# Fields of a single training run
KEPT = (
    "name",
    "seed",
    "run",
    "scores",
    "training",
    "sampling",
    "label_agreement",
    "weights_step",
)
# Fields that are averaged over training runs
AVERAGED = ("training", "sampling", "label_agreement", "trajectory")


def join(comparisons: Mapping[str, Comparison]) -> Comparison:
    """Join the models of comparisons with the same protocol; the first takes precedence.

    Models with the same name get the name of their comparison in brackets.
    """
    protocols = []
    data = []
    for name, part in comparisons.items():
        protocols.append((name, part.protocol))
        data.append(part.data.name)
    check_same(protocols, data)
    if len(comparisons) == 1:
        return next(iter(comparisons.values()))
    whole, *others = _with_unique_names(comparisons)
    for other in others:
        whole = _merged(whole, other)
    today = datetime.date.today().isoformat()
    return replace(whole, title=_title(whole.models, whole.data.name), created=today)


def _merged(first: Comparison, other: Comparison) -> Comparison:
    merged: dict[str, Any] = {}
    for name in ("metrics", "real_data_scores", "unscored", "sweep", "pictures"):
        merged[name] = {**getattr(other, name), **getattr(first, name)}
    for name in ("further_baselines", "guesses"):
        rows = {row.name: row for row in (*getattr(other, name), *getattr(first, name))}
        merged[name] = tuple(rows.values())
    common = _common(first.settings.to_plain(), other.settings.to_plain())
    timed = (*(first.settings.timed or ()), *(other.settings.timed or ()))
    return replace(
        first,
        settings=replace(Settings.from_plain(common), timed=timed),
        machine=_common(first.machine, other.machine),
        models=(*first.models, *other.models),
        baseline=first.baseline or other.baseline,
        commands=tuple(dict.fromkeys([*first.commands, *other.commands])),
        **merged,
    )


def _common(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in first.items() if other.get(key) == value}


def _title(models: Iterable[ModelResult], data: str) -> str:
    return f"{', '.join(model.name for model in models)} on {data}"


def _with_unique_names(comparisons: Mapping[str, Comparison]) -> list[Comparison]:
    models = chain.from_iterable(part.models for part in comparisons.values())
    counts = Counter(model.name for model in models)
    unique = []
    for source, part in comparisons.items():
        names = {}
        renamed = []
        for model in part.models:
            name = model.name
            if counts[name] > 1:
                name = f"{name} ({source})"
            names[model.name] = name
            renamed.append(replace(model, name=name))
        settings = replace(part.settings, timed=part.settings.timed or (tuple(names),))
        unique.append(_renamed(replace(part, models=tuple(renamed), settings=settings), names))
    return unique


def _renamed(comparison: Comparison, names: Mapping[str, str]) -> Comparison:
    timed = []
    for group in comparison.settings.timed or ():
        timed.append(tuple(dict.fromkeys(names.get(name, name) for name in group)))
    sweep: dict[str, tuple[SweepPoint, ...]] = {}
    for name, points in comparison.sweep.items():
        sweep.setdefault(names.get(name, name), points)
    pictures: dict[str, Pictures] = {}
    for name, drawn in comparison.pictures.items():
        pictures.setdefault(names.get(name, name), drawn)
    settings = replace(comparison.settings, timed=tuple(timed) or None)
    return replace(comparison, settings=settings, sweep=sweep, pictures=pictures)


def aggregated(comparison: Comparison) -> Comparison:
    """Combine all training runs of a recipe in one row: models whose names differ in the seed.

    Scores and curves become means; the spread is the larger of the standard deviations over runs
    and over samplings.
    """
    groups: dict[Any, list[ModelResult]] = {}
    for model in comparison.models:
        stem = _stem(model)
        key: tuple[Any, ...] = (model.name,)
        if stem is not None:
            key = (stem, model.family, model.method, model.parameters)
        groups.setdefault(key, []).append(model)
    single = {group[0].name for group in groups.values() if len(group) == 1}
    names: dict[str, str] = {}
    models = []
    seeds = 1
    for (name, *_), group in groups.items():
        row = group[0]
        if len(group) > 1:
            if name in single:
                name += f" ({len(group)} runs)"
            row = _mean_model(name, group, comparison.metrics)
            names |= dict.fromkeys([model.name for model in group], name)
        seeds = max(seeds, len(row.trainings))
        models.append(row)
    comparison = _renamed(comparison, names)
    return replace(
        comparison,
        title=_title(models, comparison.data.name),
        settings=replace(comparison.settings, seeds=seeds),
        models=tuple(models),
    )


def _stem(model: ModelResult) -> str | None:
    ending = TRAINING.fullmatch(model.name)
    if ending is None or model.seed not in (None, int(ending[2])):
        return None
    return ending[1]


def _mean_model(name: str, group: Sequence[ModelResult], infos: Infos) -> ModelResult:
    first = group[0]
    trainings = [_only(model, KEPT) for model in group]
    mean = _mean_record([_only(model, AVERAGED) for model in group])
    alarms: list[Alarm] = []
    warnings = []
    commands: list[str] = []
    seeds: list[int | None] = []
    for model in group:
        for alarm in model.alarms:
            alarms.append(replace(alarm, training=model.name))
        warnings += [f"{model.name}: {text}" for text in model.warnings]
        commands += model.commands
        seeds.append(model.seed if isinstance(model.seed, int) else None)
    scores = {}
    for metric in dict.fromkeys(chain.from_iterable(model.scores for model in group)):
        parts = [model.scores.get(metric, Score()) for model in group]
        scores[metric] = _mean_score(parts, infos.get(metric, MetricInfo()))
    weights_step = None
    if len({model.weights_step for model in group}) == 1:
        weights_step = first.weights_step
    return replace(
        first,
        name=name,
        seed=tuple(seeds),
        run=", ".join(model.run for model in group if model.run) or None,
        trainings=tuple(trainings),
        scores=scores,
        training=mean.training,
        sampling=mean.sampling,
        label_agreement=mean.label_agreement,
        weights_step=weights_step,
        curve=_mean_curve([model.curve for model in group]),
        trajectory=mean.trajectory,
        alarms=tuple(alarms),
        warnings=tuple(warnings),
        commands=tuple(commands),
    )


def _only(model: ModelResult, parts: Sequence[str]) -> ModelResult:
    return ModelResult(**{part: getattr(model, part) for part in parts})


def _mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurvePoint, ...]:
    by_steps: dict[Any, list[CurvePoint]] = {}
    for point in chain.from_iterable(curves):
        by_steps.setdefault(point.steps, []).append(point)
    complete = [same for same in by_steps.values() if len(same) == len(curves)]
    return tuple(map(_mean_record, complete))


def _mean_score(parts: Sequence[Score], info: MetricInfo) -> Score:
    values = tuple(part.value for part in parts if part.value is not None)
    if len(values) < len(parts):
        return replace(
            parts[0],
            value=None,
            spread=None,
            values=values,
            ratio=None,
            interval=None,
            interval_of=None,
        )
    sampling = statistics.fmean((part.spread or 0.0) ** 2 for part in parts) ** 0.5
    mean = replace(
        _mean_record(parts),
        values=values,
        spread=max(statistics.stdev(values), sampling),
        error=mean_of(parts, "error"),
        reference_error=mean_of(parts, "reference_error"),
        extra=mean_extra(parts),
    )
    return over_trainings(mean, info)


def _mean_record(parts: Sequence[Any]) -> Any:
    return type(parts[0]).from_plain(_mean([part.to_plain() for part in parts]))


def _mean(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if all(part == first for part in parts):
        return first
    if all(isinstance(part, Mapping) for part in parts):
        return {key: _mean([part.get(key) for part in parts]) for key in first}
    if all(isinstance(part, list) and len(part) == len(first) for part in parts):
        return [_mean(values) for values in zip(*parts, strict=True)]
    numbers: list[Any] = [finite(part) for part in parts]
    if None in numbers:
        return first
    return statistics.fmean(numbers)
