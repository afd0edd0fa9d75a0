"""The pictures of a stored comparison, as far as the folders of its runs hold them."""

from __future__ import annotations

import datetime
import os
import os.path
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.cost import solver_title
from pushforward.evaluation.intervals import merged_p, over_trainings
from pushforward.evaluation.measurements import Absent, CurvePoint, Pictures
from pushforward.evaluation.pictures import real_pictures
from pushforward.evaluation.results import Comparison, ModelResult, Settings, check_same
from pushforward.evaluation.run_results import config_of, history_of, landscapes_of
from pushforward.metrics import MetricInfo, Score
from pushforward.numbers import finite
from pushforward.records import Damaged, Record
from pushforward.safe_files import read_whole
from pushforward.training import Run, load
from pushforward.training.run import pick
from pushforward.training.run_data import data_of_run
from pushforward.training.tuned import weights_of
from pushforward.transports import has_steps, inner_of


def with_pictures(comparison: Comparison, folder: Path) -> Comparison:
    """A comparison with the samples that its runs stored while they were trained, and with real data.

    A run is looked for at the place that the comparison names and in ``folder``. Its samples are those of the averaged weights
    and of the run's own sampling options. A model without pictures says why (`pushforward.evaluation.measurements.Absent`).
    A model named "real", the name of real data among pictures, is renamed.

    Args:
        comparison: As read from its file.
        folder: Where the file lies.
    """
    comparison = _apart_from_real(comparison)
    pictures: dict[str, Pictures] = {}
    for model in comparison.models:
        pictures[model.name], run = _of_model(model, comparison, folder)
        if run is not None and "real" not in pictures:
            with suppress(Exception):  # a damaged spec may name anything as its data
                pictures["real"] = real_pictures(data_of_run(run.folder, run.spec, None, absent="", changed=""))
    return replace(comparison, pictures=pictures)


def _apart_from_real(comparison: Comparison) -> Comparison:
    names = {model.name for model in comparison.models}
    if "real" not in names:
        return comparison
    new = next(name for number in count(1) if (name := f"real (model{f' {number}' if number > 1 else ''})") not in names)
    shared = comparison.settings.shared
    groups = None if shared is None else tuple(tuple(new if name == "real" else name for name in group) for group in shared)
    return replace(
        comparison,
        models=tuple(replace(model, name=new) if model.name == "real" else model for model in comparison.models),
        sweep={new if name == "real" else name: points for name, points in comparison.sweep.items()},
        settings=replace(comparison.settings, shared=groups),
    )


def _of_model(model: ModelResult, comparison: Comparison, folder: Path) -> tuple[Pictures, Run | None]:
    first = model.trainings[0] if model.trainings else model
    if not first.run:
        return Pictures(absent=Absent.NO_RUN), None
    absent = Absent.GONE
    for place in (Path(first.run), folder / Path(first.run).name):
        if not os.path.isdir(place):  # unlike Path.is_dir, no error for a path that no disk takes
            continue
        try:
            run = load(place)
            differs = _difference(run, model, first, comparison)
            if differs is None:
                return _drawn(run), run
        except Exception:  # a damaged or hostile folder may raise anything
            differs = Absent.UNREADABLE
        absent = differs
    return Pictures(absent=absent), None


def _difference(run: Run, model: ModelResult, first: ModelResult, comparison: Comparison) -> Absent | None:
    """Why a run is not the model as it was scored; None where it is."""
    known = first.seed, comparison.data.fingerprint, tuple(comparison.data.shape)
    weights, (config, own) = model.origin.get("Weights sha256"), (_comparable(model.config), _comparable(config_of(run)))
    if known != (run.spec["seed"], run.spec["fingerprint"], tuple(run.space.shape)) or not (weights or config):
        return Absent.OTHER
    if config and config != own:
        return Absent.OTHER
    if run.state["step"] != first.training.steps:
        return Absent.TRAINED if run.state["step"] > (first.training.steps or 0) else Absent.OTHER
    if weights and weights != run.weights:
        return Absent.SAMPLING if weights == weights_of(pick(run.folder, None), raw=True) else Absent.OTHER
    flow = inner_of(run.transport)
    usual = (solver_title(flow), flow.steps) if has_steps(flow) else (None, None)
    scored = first.sampling.solver, first.sampling.steps
    return Absent.SAMPLING if "Sampling" in model.origin or scored != usual else None


def _comparable(config: object) -> object:
    stored = ModelResult.from_plain({"config": config}).to_plain()["config"]
    return {name: value for name, value in stored.items() if name != "budget"}


def _drawn(run: Run) -> Pictures:
    """What a run stored of its samples.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples.
    """
    frames = history_of(run)
    if not frames or frames[-1][0] != run.state["step"]:
        return Pictures(absent=Absent.NOT_STORED)
    if not all(np.isfinite(x).all() for _, x in frames):
        raise CheckpointError(f"Samples in {run.folder} are not finite.")
    landscapes = [
        (step, arrays)
        for step, arrays in landscapes_of(run)
        if all(np.isfinite(array).all() for array in arrays.values()) and (np.diff(arrays["limits"])[::2] > 0).all()
    ]
    return Pictures(frames[-1][1], training=frames, landscapes=landscapes)


MOST = 64 << 20  # Bytes of a file of results


def stored_file(path: str | Path) -> Path | None:
    """The file of stored results that a path means: a .json file, or report.json in a folder that is no run; else None."""
    place = Path(path)
    if place.is_dir():
        inside = place / "report.json"
        return inside if inside.is_file() and not (place / "spec.json").exists() else None
    return place if place.suffix.lower() == ".json" and place.is_file() else None


def stored(path: str | Path) -> Comparison:
    """Results from a file that `pushforward.Report.save` or ``--json`` wrote, with the pictures that its runs hold.

    Raises:
        CheckpointError: If it cannot be read, or holds something else.
    """
    try:
        return with_pictures(Comparison.from_json(read_whole(Path(os.path.realpath(path)), MOST)), Path(path).parent)
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror or error}.") from error
    except Damaged as error:
        raise CheckpointError(f"{path} is damaged ({error.fault}); {_anew(Path(path))}.") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _anew(path: Path) -> str:
    beside = path.with_name("report.md")
    command = f", the command of which is in {beside}" if beside.is_file() else " RUN RUN, with the runs that it was about"
    return f"make it anew by pushforward compare{command}"


def taken_apart(models: Any) -> tuple[dict[str, Comparison], Any]:
    """The stored results among what is to be compared, by name, and the other models, as they were given."""
    if isinstance(models, Mapping):
        read = {str(name): result for name, model in models.items() if (result := _result(model)) is not None}
        return read, {name: model for name, model in models.items() if str(name) not in read}
    if not isinstance(models, Sequence) or isinstance(models, str):
        return {}, models
    results = [_result(model) for model in models]
    names = [f"comparison {n}" if isinstance(model, Comparison) else str(model) for n, model in enumerate(models, start=1)]
    read = {name: result for name, result in zip(names, results, strict=True) if result is not None}
    return read, [model for model, result in zip(models, results, strict=True) if result is None]


def _result(model: Any) -> Comparison | None:
    if isinstance(model, Comparison):
        return model
    file = stored_file(model) if isinstance(model, (str, Path)) else None
    return None if file is None else stored(file)


def joined(comparisons: Mapping[str, Comparison]) -> Comparison:
    """One comparison of all models of several, where all scores share a protocol.

    Models keep their scores. Models of one name are told apart by where they come from. Pictures, floors and the no-network row
    are those of the first comparison that has them.

    Args:
        comparisons: By the name that messages use, such as their file.

    Raises:
        UsageError: If protocols differ, naming the fields and both values, or there is nothing to join.
    """
    if not comparisons:
        raise UsageError("There is nothing to join: name at least one report, such as runs/a-report/report.json.")
    parts = list(comparisons.values())
    check_same([(name, part.protocol) for name, part in comparisons.items()], [part.data.name for part in parts])
    if len(parts) == 1:
        return parts[0]
    renamed = _named(comparisons)
    models = tuple(replace(model, name=name) for _, name, model in renamed)
    pictures = {name: parts[at].pictures[model.name] for at, name, model in renamed if model.name in parts[at].pictures}
    real = next((part.pictures["real"] for part in parts if "real" in part.pictures), None)
    return replace(
        parts[0],
        title=f"{', '.join(model.name for model in models)} on {parts[0].data.name}",
        created=datetime.date.today().isoformat(),
        settings=_settings(parts, renamed),
        machine={key: value for key, value in parts[0].machine.items() if all(part.machine.get(key) == value for part in parts)},
        metrics=_union([part.metrics for part in parts]),
        floors=_union([part.floors for part in parts]),
        unscored=_union([part.unscored for part in parts]),
        models=models,
        sweep={name: parts[at].sweep[model.name] for at, name, model in renamed if model.name in parts[at].sweep},
        baseline=next((part.baseline for part in parts if part.baseline is not None), None),
        further_baselines=tuple({row.name: row for part in reversed(parts) for row in part.further_baselines}.values()),
        guesses=tuple({guess.name: guess for part in parts for guess in part.guesses}.values()),
        commands=tuple(dict.fromkeys(command for part in parts for command in part.commands)),
        pictures=pictures | ({} if real is None else {"real": real}),
    )


Renamed = list[tuple[int, str, ModelResult]]  # The number of the comparison, the new name, and the model


def _named(comparisons: Mapping[str, Comparison]) -> Renamed:
    every = [model.name for comparison in comparisons.values() for model in comparison.models]
    renamed: Renamed = []
    taken: set[str] = set()
    for at, (source, comparison) in enumerate(comparisons.items()):
        for model in comparison.models:
            name = model.name if every.count(model.name) == 1 else f"{model.name} ({_short(source, comparisons)})"
            if name in taken:
                raise UsageError(f'{source} holds "{model.name}" twice: name every report once.')
            taken.add(name)
            renamed.append((at, name, model))
    return renamed


def _short(source: str, sources: Iterable[str]) -> str:

    def short(path: str) -> str:
        place = Path(path)
        return place.parent.name if place.name == "report.json" else place.name.removesuffix(".json")

    return short(source) if short(source) and [short(other) for other in sources].count(short(source)) == 1 else source


def _union(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in reversed(parts) for name, value in part.items()}


def _settings(parts: Sequence[Comparison], renamed: Renamed) -> Settings:
    every = [part.settings.to_plain() for part in parts]
    same = {key: value for key, value in every[0].items() if all(other[key] == value for other in every)}
    names = {(at, model.name): name for at, name, model in renamed}

    def groups(at: int, stated: Iterable[Sequence[str]]) -> Iterator[tuple[str, ...]]:
        for group in stated:
            yield tuple(names.get((at, name), name) for name in group)

    shared = tuple(group for at, part in enumerate(parts) for group in groups(at, part.settings.shared or ()))
    alone = [part.settings.timed or [[model.name for model in part.models]] for part in parts]
    timed = tuple(group for at, stated in enumerate(alone) for group in groups(at, stated))
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
    common = set.intersection(*({point.steps for point in model.curve} for model in group))
    rows = ([point for point in model.curve if point.steps in common] for model in group)
    return tuple(_mean_record(points) for points in zip(*rows, strict=True))


def _mean_trajectory(group: Sequence[ModelResult]) -> Any:
    trajectories = [model.trajectory for model in group if model.trajectory is not None]
    return _mean_record(trajectories) if len(trajectories) == len(group) else group[0].trajectory


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
