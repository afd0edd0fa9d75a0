"""Joined comparisons, and means over training runs."""

from __future__ import annotations

import datetime
import re
import statistics
from collections import ChainMap, Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from pushforward.evaluation.intervals import mean_extra, mean_of, over_trainings
from pushforward.evaluation.measurements import Alarm, CurvePoint
from pushforward.evaluation.results import Comparison, ModelResult, Settings, check_same
from pushforward.metrics import MetricInfo, Score
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
Groups = tuple[tuple[str, ...], ...]


def joined(comparisons: Mapping[str, Comparison]) -> Comparison:
    """Join the models of comparisons with the same protocol; the first takes precedence.

    Models with the same name get the name of their comparison in brackets.
    """
    protocols = [(name, part.protocol) for name, part in comparisons.items()]
    check_same(protocols, [part.data.name for part in comparisons.values()])
    if len(comparisons) == 1:
        return next(iter(comparisons.values()))
    parts = _with_unique_names(comparisons)
    first = parts[0]
    models = tuple(chain.from_iterable(part.models for part in parts))
    merged: dict[str, Any] = {}
    for name in ("metrics", "floors", "unscored", "sweep", "pictures"):
        merged[name] = _union(getattr(part, name) for part in parts)
    for name in ("further_baselines", "guesses"):
        rows = _union({row.name: row for row in getattr(part, name)} for part in parts)
        merged[name] = tuple(rows.values())
    baselines = [part.baseline for part in parts if part.baseline is not None]
    commands = chain.from_iterable(part.commands for part in parts)
    return replace(
        first,
        title=_title(models, first.data.name),
        created=datetime.date.today().isoformat(),
        settings=_joined_settings([part.settings for part in parts]),
        machine=_common([part.machine for part in parts]),
        models=models,
        baseline=next(iter(baselines), None),
        commands=tuple(dict.fromkeys(commands)),
        **merged,
    )


def _title(models: Iterable[ModelResult], data: str) -> str:
    return f"{', '.join(model.name for model in models)} on {data}"


def _with_unique_names(comparisons: Mapping[str, Comparison]) -> list[Comparison]:
    parts = list(comparisons.values())
    counts = Counter(model.name for part in parts for model in part.models)
    unique = []
    for source, part in comparisons.items():
        own = [model.name for model in part.models]
        names = {name: f"{name} ({source})" for name in own if counts[name] > 1}
        settings = part.settings
        if not settings.timed:
            settings = replace(settings, timed=(tuple(own),))
        models = [replace(model, name=names.get(model.name, model.name)) for model in part.models]
        part = replace(
            part,
            models=tuple(models),
            settings=_renamed_settings(settings, names),
            sweep=_renamed(part.sweep, names),
            pictures=_renamed(part.pictures, names),
        )
        unique.append(part)
    return unique


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _renamed_settings(settings: Settings, names: Mapping[str, str]) -> Settings:
    def renamed(groups: Groups | None) -> Groups | None:
        if groups is None:
            return None
        new = []
        for group in groups:
            new.append(tuple(dict.fromkeys(names.get(name, name) for name in group)))
        return tuple(new)

    return replace(settings, shared=renamed(settings.shared), timed=renamed(settings.timed))


def _union(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge dicts; earlier ones take precedence."""
    return dict(ChainMap(*map(dict, parts)))


def _common(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    common = {}
    for key, value in parts[0].items():
        if all(part.get(key) == value for part in parts):
            common[key] = value
    return common


def _joined_settings(parts: Sequence[Settings]) -> Settings:
    common = Settings.from_plain(_common([part.to_plain() for part in parts]))
    timed = chain.from_iterable(part.timed or () for part in parts)
    shared = None
    if all(part.shared is not None for part in parts):
        shared = tuple(chain.from_iterable(part.shared or () for part in parts))
    return replace(common, shared=shared, timed=tuple(timed))


def aggregated(comparison: Comparison, among: Collection[str] | None = None) -> Comparison:
    """Combine all training runs of a recipe in one row, among the models of some names or all.

    Names must differ only in the seed at the end. Scores and curves become means; the spread is the
    larger of the standard deviations over runs and over samplings.
    """
    groups: dict[Any, list[ModelResult]] = {}
    for number, model in enumerate(comparison.models):
        stem = None
        if among is None or model.name in among:
            stem = _stem(model)
        if stem is None:
            groups[number] = [model]
        else:
            key = (stem, model.family, model.method, model.parameters)
            groups.setdefault(key, []).append(model)
    taken = {group[0].name for group in groups.values() if len(group) == 1}
    names: dict[str, str] = {}
    models = []
    for key, group in groups.items():
        row = group[0]
        if len(group) > 1:
            name = key[0]
            if name in taken:
                name += f" ({len(group)} runs)"
            taken.add(name)
            row = _mean_model(name, group, comparison.metrics)
            names |= {model.name: name for model in group}
        models.append(row)
    pictures = dict(reversed([*comparison.pictures.items()]))  # those of the first run remain
    seeds = max(len(model.trainings) or 1 for model in models)
    settings = _renamed_settings(comparison.settings, names)
    return replace(
        comparison,
        title=_title(models, comparison.data.name),
        settings=replace(settings, seeds=seeds),
        models=tuple(models),
        pictures=_renamed(pictures, names),
    )


def _stem(model: ModelResult) -> str | None:
    ending = TRAINING.fullmatch(model.name)
    if ending is None or model.seed not in (None, int(ending[2])):
        return None
    return ending[1]


def _mean_model(
    name: str, group: Sequence[ModelResult], infos: Mapping[str, MetricInfo]
) -> ModelResult:
    first = group[0]
    trainings = []
    alarms: list[Alarm] = []
    warnings = []
    commands: list[str] = []
    for model in group:
        kept = {part: getattr(model, part) for part in KEPT}
        trainings.append(ModelResult(**kept))
        alarms += [replace(alarm, training=model.name) for alarm in model.alarms]
        warnings += [f"{model.name}: {text}" for text in model.warnings]
        commands += model.commands
    scores = {}
    for metric in dict.fromkeys(chain.from_iterable(model.scores for model in group)):
        parts = [model.scores.get(metric, Score()) for model in group]
        scores[metric] = _mean_score(parts, infos.get(metric))
    weights_step = None
    if len({model.weights_step for model in group}) == 1:
        weights_step = first.weights_step
    trajectory = first.trajectory
    trajectories = [model.trajectory for model in group if model.trajectory is not None]
    if len(trajectories) == len(group):
        trajectory = _mean_record(trajectories)
    return replace(
        first,
        name=name,
        seed=tuple(model.seed if isinstance(model.seed, int) else None for model in group),
        run=", ".join(model.run for model in group if model.run) or None,
        trainings=tuple(trainings),
        scores=scores,
        training=_mean_record([model.training for model in group]),
        sampling=_mean_record([model.sampling for model in group]),
        label_agreement=_mean([model.label_agreement for model in group]),
        weights_step=weights_step,
        curve=_mean_curve([model.curve for model in group]),
        trajectory=trajectory,
        alarms=tuple(alarms),
        warnings=tuple(warnings),
        commands=tuple(commands),
    )


def _mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurvePoint, ...]:
    by_steps: dict[Any, list[CurvePoint]] = {}
    for point in chain.from_iterable(curves):
        by_steps.setdefault(point.steps, []).append(point)
    points = [_mean_record(same) for same in by_steps.values() if len(same) == len(curves)]
    return tuple(points)


def _mean_score(parts: Sequence[Score], info: MetricInfo | None) -> Score:
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
    """Average numbers, also in nested dicts and lists; others are the first."""
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
