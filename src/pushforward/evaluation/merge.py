"""Comparisons put together: stored ones, several as one, trainings of one recipe as one model."""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pushforward.errors import CheckpointError
from pushforward.evaluation.intervals import merged_p, over_trainings
from pushforward.evaluation.results import Comparison, ModelResult, Settings, check_same
from pushforward.files import read_whole
from pushforward.metrics import MetricInfo, Score
from pushforward.numbers import finite
from pushforward.records import Record

MOST = 64 << 20  # bytes of a file of results
KEPT = ("name", "seed", "run", "scores", "training", "sampling", "label_agreement", "weights_step")  # of a single training


def stored_file(path: str | Path) -> Path | None:
    """The file of stored results that a path means: a .json file, or report.json in a folder that is no run; else None."""
    place = Path(path)
    if place.is_dir():
        inside = place / "report.json"
        return inside if inside.is_file() and not (place / "spec.json").exists() else None
    return place if place.suffix.lower() == ".json" and place.is_file() else None


def stored(path: str | Path) -> Comparison:
    """Results from a file that `pushforward.Report.save` or ``--json`` wrote; it holds no pictures.

    Raises:
        CheckpointError: If it cannot be read, or holds something else.
    """
    try:
        return Comparison.from_json(read_whole(Path(os.path.realpath(path)), MOST))
    except (OSError, CheckpointError) as error:
        raise CheckpointError(f"{path}: {error} Make it anew: pushforward compare RUN RUN.") from error


def taken_apart(models: Any) -> tuple[dict[str, Comparison], Any]:
    """The stored results among what is to be compared, by name, and the other models, as they were given."""
    if isinstance(models, str) or not isinstance(models, (Mapping, Sequence)):
        return {}, models
    named = isinstance(models, Mapping)
    earlier: dict[str, Comparison] = {}
    others = []
    for key, model in models.items() if isinstance(models, Mapping) else enumerate(models, start=1):
        file = stored_file(model) if isinstance(model, (str, Path)) else None
        if isinstance(model, Comparison) or file is not None:
            name = str(key) if named else f"comparison {key}" if file is None else str(model)
            earlier[name] = model if file is None else stored(file)
        else:
            others.append((key, model))
    return earlier, dict(others) if named else [model for _, model in others]


def joined(comparisons: Mapping[str, Comparison]) -> Comparison:
    """One comparison of all models of several, where all scores share a protocol.

    Models keep their scores. Models of one name are told apart by where they come from. Pictures, floors and the no-network row
    are those of the first comparison that has them.

    Args:
        comparisons: By the name that messages use, such as their file.

    Raises:
        UsageError: If protocols differ, naming the fields and both values.
    """
    parts = list(comparisons.values())
    check_same([(name, part.protocol) for name, part in comparisons.items()], [part.data.name for part in parts])
    if len(parts) == 1:
        return parts[0]
    names = _names(comparisons)
    models = tuple(replace(model, name=names[at, model.name]) for at, part in enumerate(parts) for model in part.models)
    rows = [(parts[at], old, new) for (at, old), new in names.items()]
    pictures = {new: part.pictures[old] for part, old, new in rows if old in part.pictures}
    return replace(
        parts[0],
        title=f"{', '.join(model.name for model in models)} on {parts[0].data.name}",
        created=datetime.date.today().isoformat(),
        settings=_settings(parts, names),
        machine={key: value for key, value in parts[0].machine.items() if all(part.machine.get(key) == value for part in parts)},
        metrics=_union([part.metrics for part in parts]),
        floors=_union([part.floors for part in parts]),
        unscored=_union([part.unscored for part in parts]),
        models=models,
        sweep={new: part.sweep[old] for part, old, new in rows if old in part.sweep},
        baseline=next((part.baseline for part in parts if part.baseline is not None), None),
        further_baselines=tuple(_union([{row.name: row for row in part.further_baselines} for part in parts]).values()),
        guesses=tuple(_union([{row.name: row for row in part.guesses} for part in parts]).values()),
        commands=tuple(dict.fromkeys(command for part in parts for command in part.commands)),
        pictures=_union([pictures, *({"real": part.pictures["real"]} for part in parts if "real" in part.pictures)]),
    )


Names = Mapping[tuple[int, str], str]  # by the number of the comparison and the name of the model in it


def _names(comparisons: Mapping[str, Comparison]) -> Names:
    """New names; models of one name have the name of their comparison in brackets."""
    every = [model.name for comparison in comparisons.values() for model in comparison.models]
    return {
        (at, model.name): model.name if every.count(model.name) == 1 else f"{model.name} ({source})"
        for at, (source, comparison) in enumerate(comparisons.items())
        for model in comparison.models
    }


def _union(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All entries; of one name the first."""
    return {name: value for part in reversed(parts) for name, value in part.items()}


def _settings(parts: Sequence[Comparison], names: Names) -> Settings:
    """Settings with what is not the same in all parts left out; models share noise and turns of timing as each part says."""
    every = [part.settings.to_plain() for part in parts]
    same = {key: value for key, value in every[0].items() if all(other[key] == value for other in every)}

    def groups(stated: Iterable[Iterable[Sequence[str]]]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(names.get((at, name), name) for name in group) for at, part in enumerate(stated) for group in part)

    shared = groups(part.settings.shared or () for part in parts)
    timed = groups(part.settings.timed or [[model.name for model in part.models]] for part in parts)
    known = all(part.settings.shared is not None for part in parts)
    return replace(Settings.from_plain(same), shared=shared if known else None, timed=timed)


_Recorded = TypeVar("_Recorded", bound=Record)


def aggregated(comparison: Comparison) -> Comparison:
    """A comparison in which all trainings of a recipe are one row.

    Trainings belong together where names differ only in their own seed at the end (``flow-0``, ``flow-1``), and family,
    method and size are the same. Scores become means over trainings; their spread is that over trainings, or that over
    samplings where it is greater, since a few trainings can agree by luck. Curves are means as well. Pictures, losses and
    health are those of the first training, alarms those of all. Models of a single training are unchanged.
    """
    groups: dict[Any, list[ModelResult]] = {}
    for number, model in enumerate(comparison.models):  # a name that does not end in its seed stands alone
        stem, at, _ = model.name.rpartition(f"-{model.seed}")
        ends = model.seed is not None and stem and model.name == stem + at
        groups.setdefault((stem, model.family, model.method, model.parameters) if ends else (model.name, number), []).append(
            model
        )
    single = {group[0].name for group in groups.values() if len(group) == 1}
    names: dict[str, str] = {}
    models = []
    for (stem, *_), group in groups.items():
        name = group[0].name if len(group) == 1 else f"{stem} ({len(group)} trainings)" if stem in single else stem
        names |= {model.name: name for model in group}
        models.append(group[0] if len(group) == 1 else _together(name, group, comparison.metrics))
    settings, pictures = comparison.settings, comparison.pictures
    if settings.shared is not None:
        shared = tuple(tuple(dict.fromkeys(names.get(name, name) for name in group)) for group in settings.shared)
        settings = replace(settings, shared=shared)
    drawn = {names.get(old, old): pictures[old] for old in reversed([*pictures])}
    title = f"{', '.join(model.name for model in models)} on {comparison.data.name}"
    return replace(comparison, title=title, settings=settings, models=tuple(models), pictures=drawn)


def _together(name: str, group: Sequence[ModelResult], known: Mapping[str, MetricInfo]) -> ModelResult:
    metrics = dict.fromkeys(metric for model in group for metric in model.scores)
    common = set.intersection(*({point.steps for point in model.curve} for model in group))
    rows = ([point for point in model.curve if point.steps in common] for model in group)
    ways = [model.trajectory for model in group if model.trajectory is not None]
    return replace(
        group[0],
        name=name,
        seed=tuple(model.seed if isinstance(model.seed, int) else None for model in group),
        run=", ".join(model.run for model in group if model.run) or None,
        trainings=tuple(ModelResult(**{part: getattr(model, part) for part in KEPT}) for model in group),
        scores={metric: _score([model.scores.get(metric, Score()) for model in group], known.get(metric)) for metric in metrics},
        training=_mean_record([model.training for model in group]),
        sampling=_mean_record([model.sampling for model in group]),
        label_agreement=_mean([model.label_agreement for model in group]),
        weights_step=weights.pop() if len(weights := {model.weights_step for model in group}) == 1 else None,
        curve=tuple(_mean_record(points) for points in zip(*rows, strict=True)),
        trajectory=_mean_record(ways) if len(ways) == len(group) else group[0].trajectory,
        alarms=tuple(replace(alarm, training=model.name) for model in group for alarm in model.alarms),
        warnings=tuple(f"{model.name}: {text}" for model in group for text in model.warnings),
        commands=tuple(text for model in group for text in model.commands),
    )


def _score(parts: Sequence[Score], info: MetricInfo | None) -> Score:
    values = tuple(part.value for part in parts if part.value is not None)
    if len(values) < len(parts):
        return replace(parts[0], value=None, spread=None, values=values, ratio=None, interval=None, interval_of=None)
    sampling = statistics.fmean((part.spread or 0.0) ** 2 for part in parts) ** 0.5
    errors: dict[str, Any] = {}
    for name in ("error", "reference_error"):  # the root of the mean of squares; None where any is unknown
        squares = [own**2 for part in parts if (own := getattr(part, name)) is not None]
        errors[name] = statistics.fmean(squares) ** 0.5 if len(squares) == len(parts) else None
    mean = replace(_mean_record(parts), **errors)
    p_values = [p for part in parts if (p := part.extra.get("p")) is not None]
    extra = {name: value for name, value in mean.extra.items() if name != "p"}
    extra |= {"p": merged_p(p_values)} if len(p_values) == len(parts) else {}
    return over_trainings(replace(mean, spread=max(statistics.stdev(values), sampling), values=values, extra=extra), info)


def _mean_record(parts: Sequence[_Recorded]) -> _Recorded:
    return type(parts[0]).from_plain(_mean([part.to_plain() for part in parts]))


def _mean(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if all(part == first for part in parts):
        return first
    if all(isinstance(part, Mapping) for part in parts):
        return {key: _mean([part.get(key) for part in parts]) for key in first}
    if all(isinstance(part, list) and len(part) == len(first) for part in parts):
        return [_mean(list(places)) for places in zip(*parts, strict=True)]
    numbers = [number for number in map(finite, parts) if number is not None]
    return statistics.fmean(numbers) if len(numbers) == len(parts) else first
