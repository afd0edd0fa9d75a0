"""`compare` and `evaluate`, joined comparisons, means over training runs, and the models of the demo."""

from __future__ import annotations

import datetime
import os
import re
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward import data as named_sets
from pushforward import recipes
from pushforward.arguments import whole
from pushforward.data import Dataset, dataset_of
from pushforward.data.core.load import DataLike
from pushforward.data.readers.reader import is_frame
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.curves import with_ladder, with_sweep
from pushforward.evaluation.evaluator import Judge, learns
from pushforward.evaluation.intervals import mean_extra, mean_of, over_trainings
from pushforward.evaluation.model_metrics import MODEL_CHECKS, MODEL_METRICS, ask_model
from pushforward.evaluation.models import (
    Given,
    check_model,
    check_unseen,
    data_of,
    fitting,
    given_samples,
    health_of,
    informed,
    landscapes_of,
    models_of,
    unseen_warnings,
)
from pushforward.evaluation.pictures import given_pictures, real_pictures
from pushforward.evaluation.plans import follow_plan, took
from pushforward.evaluation.results import REPEATS, Comparison, ModelResult, Settings, check_same
from pushforward.evaluation.scores import check_applicable, compared
from pushforward.extractors import Spaces, named_extractors
from pushforward.files import read_whole
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.names import check_metrics, chosen
from pushforward.numbers import finite, listing
from pushforward.plugins import files_of
from pushforward.plugins import load as load_plugin
from pushforward.training import Run, Trainer, Watcher, load
from pushforward.training.api import prepare, reopen
from pushforward.training.loop.machine import seeded
from pushforward.training.runs.folder import is_run
from pushforward.training.runs.run import transport_of
from pushforward.transports import BATCH

MOST = 64 << 20  # bytes of a file of results
# Warnings about samples of another program
UNKNOWN = (
    "the training examples of the model behind these samples are unknown. If they include held-out "
    "examples of {}, these scores are too optimistic."
)
WITHOUT_TRAINING = (
    "copies and privacy are not scored, because the training data of the program is unknown: pass "
    "--train (in Python, train=). If the program was trained on the real data itself, the other "
    "scores are too optimistic."
)
TRAINING = re.compile(r"(.+)-(\d+)")  # Name of one of several training runs, and its seed
KEPT = (
    "name",
    "seed",
    "run",
    "scores",
    "training",
    "sampling",
    "label_agreement",
    "weights_step",
)  # of a single training
# Models of the demo by name, in the order of the report: recipe, changed settings and changed training settings
CAST: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "gan": ("gan", {}, {"batch": 128}),
    # Goodfellow et al. (2014), section 3, without what later work added; at this rate it loses modes within 1,500 steps
    "original GAN": (
        "gan",
        {"loss": "non_saturating", "penalty": "none", "sign_codes": 0, "fourier_features": 0},
        {"batch": 64, "lr": 0.02},
    ),
    "vae": ("vae", {}, {"batch": 128}),
    "ddpm": ("ddpm", {}, {"batch": 128}),
    "flow": ("flow", {}, {"batch": 128}),
}


def compare(
    models: Mapping[str, Any] | Sequence[Run | Comparison | str | Path],
    data: DataLike = None,
    *,
    n: int | None = None,
    repeats: int | None = None,
    features: Spaces = None,
    seeds: int = 1,
    curve: bool | Sequence[int] = True,
    thorough: bool = False,
    shorter: Mapping[str, Sequence[Run]] | None = None,
    budget: str | None = None,
    commands: Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Score several models on one data set.

    Args:
        models: Runs, run folders or transports by name, or a list of runs or folders, which keep their
            names. A list of training runs of one recipe, ``{"flow": [run, other]}``, becomes one row.
            Earlier comparisons and their files (report.json) are included without scoring their models
            again.
        data: Data set, name or path; None for the data of the runs.
        n: Number of samples per side; None for the n of earlier comparisons, or the maximum that
            data and time allow.
        repeats: Number of samplings per model; None for 5, or fewer if time is short.
        features: Feature spaces (`pushforward.evaluate`); models are ranked in the first.
        seeds: Number of training runs per recipe in ``models``. If there are several, models whose names
            differ only in the seed at the end (``flow-0``, ``flow-1``) become one row with the mean and the
            standard deviation over runs.
        curve: Whether to measure scores over network calls, flow maps and their teachers, trajectories and
            training memory; or the numbers of steps to measure, besides each model's own.
        thorough: Whether to measure everything. By default, measuring takes at most about as long as training
            the models, or 30 s if that is longer: sweeps, memory and timed rounds are reduced first, then
            samplings, then samples.
        shorter: Shorter training runs by name of the model, for scores over training time.
        budget: Training budget, such as "--budget 60s", for the report.
        commands: Commands that repeat the comparison, for the report.
        tell: Function called with a line of text before each long step, such as ``print``; None to print
            nothing.

    Returns:
        Comparison, which `pushforward.Report` renders.

    Raises:
        UsageError: If `models` is empty, models were trained on other data, earlier comparisons have
            another protocol, or there are several seeds but no names that end in them.
    """
    earlier, models = taken_apart(models)
    if earlier:
        if models:
            earlier["the models"] = compare(
                models,
                data,
                n=next(iter(earlier.values())).protocol.n if n is None else n,
                repeats=repeats,
                features=features,
                seeds=seeds,
                curve=curve,
                thorough=thorough,
                shorter=shorter,
                budget=budget,
                commands=commands,
                tell=tell,
            )
        every = joined(earlier)
        every = replace(every, commands=tuple(dict.fromkeys([*every.commands, *commands])))
        if seeds > 1:
            return aggregated(every)
        return every
    given = models
    models = models_of(given)
    if whole("seeds", seeds, 1) > 1 and not any(map(TRAINING.fullmatch, models)):
        raise UsageError(
            f"`seeds={seeds}` combines models whose names differ in the seed at the end, such as flow-0 and flow-1, got "
            f"{listing(models)}. Rename them, or pass a list of runs."
        )
    data = dataset_of(data) if data is not None else data_of(informed(models))
    if "real" in models:
        raise UsageError('The name "real" is reserved for real data. Rename the model.')
    for name, model in models.items():
        check_model(name, model, data)
    most = REPEATS if repeats is None else repeats
    further = [run for runs in (shorter or {}).values() for run in runs]
    judge = Judge(data, fitting(models.values(), data, n), most, spaces=features, tell=tell)
    follow_plan(judge, [*models.values(), *further], n, repeats, thorough, curve=bool(curve))
    sampling = judge.sampling({name: transport_of(model) for name, model in models.items()})
    results = []
    pictures = {"real": real_pictures(data)}
    groups: dict[
        tuple[int, ...], list[str]
    ] = {}  # models whose noise has one shape: equal seeds give equal noise
    for name, model in models.items():
        result, drawn = judge.judge(name, model, curve=curve, sampling=sampling[name])
        if curve:
            result, drawn = with_ladder(judge, model, result, drawn)
        if isinstance(model, Run):
            health, alarms = health_of(model)
            result = replace(result, health=health, alarms=alarms)
            drawn = replace(drawn, landscapes=landscapes_of(model))
        pictures[name] = drawn
        results.append(result)
        groups.setdefault(tuple(transport_of(model).noise_shape), []).append(name)
    comparison = judge.comparison(results, baselines=True)
    shared = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    comparison = replace(
        comparison,
        title=f"{', '.join(models)} on {data.name}",
        created=datetime.date.today().isoformat(),
        settings=replace(comparison.settings, budget=budget, seeds=1, shared=shared),
        commands=tuple(commands),
        pictures=pictures,
    )
    lists = {name for name in models if isinstance(given, Mapping) and name not in given}
    if seeds > 1 or lists:
        comparison = aggregated(comparison, lists if seeds == 1 else models)
    if shorter:
        comparison = with_sweep(comparison, shorter, data, features, tell)
    return took(judge, comparison)


def evaluate(
    model: Any,
    data: DataLike = None,
    *,
    n: int | None = None,
    repeats: int | None = None,
    metrics: Sequence[str] | None = None,
    features: Spaces = None,
    thorough: bool = False,
    plugins: str | Path | Sequence[str | Path] = (),
    seed: int = 0,
    batch: int = BATCH,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Score one model, or existing samples, on held-out data.

    Args:
        model: Run, run folder or transport; or samples: a file (.npz, .npy, .csv), a folder of images, an
            array or tensor (n, *shape) in data units, a data frame, or the result of
            `pushforward.evaluation.models.given_samples`.
        data: Data set, name, path, data frame, or other data as for `pushforward.fit`; None for the data of
            the run.
        n: Number of samples per side; None for the maximum that data and time allow.
        repeats: Number of samplings; None for 5, or fewer if time is short. A flow from a data set is sampled
            once. Existing samples are divided into this number of sets of n samples, or fewer.
        metrics: Names of metrics (`pushforward.metrics.registry`), "bpd" for bits per dimension, or "cas" for
            the classification accuracy score; None for all that apply except these two.
        features: Feature spaces (`pushforward.extractors.registry`): names, extractors, or networks that
            convert examples in data units to (n, features). Models are ranked in the first space; a few
            scores are also computed in the others. None for the space that suits the data.
        thorough: Whether to measure everything (`pushforward.compare`).
        plugins: Python file or files that the run needs, or that define further metrics or features.
        seed: Number added to the seed of every sampling.
        batch: Number of samples generated at a time.
        tell: Function called with a line of text before each long step, such as ``print``; None to print
            nothing.

    Returns:
        Comparison of one model with real data and a baseline.

    Raises:
        UsageError: If a metric does not apply to the data, n exceeds the number of held-out examples or
            existing samples, a transport is given without data, or the run was trained on held-out examples.
        DataError: If the data of the run has changed.
    """
    if isinstance(metrics, str):
        metrics = [metrics]
    for path in files_of(plugins):
        load_plugin(path)
    check_metrics(metrics)
    named_extractors(features)
    if isinstance(model, (str, Path)) and is_run(model):
        model = load(model, plugins=plugins)
    if isinstance(model, (np.ndarray, torch.Tensor, Given, str, Path)) or is_frame(model):
        if seed:
            raise UsageError(f"`seed={seed}` does not apply to existing samples. Omit it.")
        return _of_samples(model, data, n, repeats, metrics, features, thorough, plugins, tell)
    models_of({"model": model})  # refuses anything else
    data = data_of(model) if data is None else dataset_of(data)
    check_applicable(metrics, data)
    name = model.name if isinstance(model, Run) else "model"
    if isinstance(model, Run):
        check_unseen(name, model, data)
    of_model = [metric for metric in metrics or () if metric in MODEL_METRICS]
    for metric in of_model:
        MODEL_CHECKS[metric](model, data, n)
    most = whole("repeats", REPEATS if repeats is None else repeats, 1)
    if metrics is None:
        others = None
    else:
        others = [metric for metric in metrics if metric not in MODEL_METRICS]
    alone = others == [] and bool(of_model)
    size = 0 if alone else compared(data, fitting([model], data, n), learns(data, features))
    if of_model and tell is not None:
        tell(
            f"measuring {' and '.join(of_model)} (with many examples, this takes minutes; a smaller n is faster) ..."
        )
    own = ask_model(model, data, of_model, n, (seed, batch))
    if alone:
        return replace(
            own, models=(replace(own.models[0], name=name, warnings=unseen_warnings(model, data)),)
        )
    judge = Judge(data, size, most, others, seed, batch, features, tell)
    follow_plan(judge, [model], n, repeats, thorough)
    result, pictures = judge.judge(name, model, curve=False)
    if metrics is None:
        result, pictures = with_ladder(judge, model, result, pictures)
    own_scores = own.models[0].scores if own.models else {}
    comparison = judge.comparison(
        [replace(result, scores={**result.scores, **own_scores})], baselines=True
    )
    comparison = took(judge, comparison)
    return replace(
        comparison,
        metrics={**comparison.metrics, **own.metrics},
        floors={**comparison.floors, **own.floors},
        guesses=own.guesses,
        pictures={name: pictures},
    )


def _of_samples(
    samples: Any,
    data: DataLike,
    n: int | None,
    repeats: int | None,
    metrics: Sequence[str] | None,
    features: Spaces,
    thorough: bool,
    plugins: str | Path | Sequence[str | Path],
    tell: Callable[[str], None] | None,
) -> Comparison:
    if data is None:
        raise UsageError(
            "Existing samples need data to be compared with. Specify `data`, such as digits."
        )
    is_folder = isinstance(data, (str, Path)) and (Path(data) / "spec.json").is_file()
    if is_folder and not isinstance(data, Dataset):
        data = data_of(load(data, plugins=plugins))
    else:
        data = dataset_of(data, rare="keep")
    check_applicable(metrics, data)
    wanted = chosen(metrics)
    if data.trained_on is False:
        of_training = [
            name
            for metric, names in wanted
            for name in names
            if getattr(metric, "of_training", False)
        ]
        if metrics is not None and of_training:
            raise UsageError(
                f"{', '.join(of_training)} cannot be computed without the training data. Specify it with `train`."
            )
        metrics = [name for _, names in wanted for name in names if name not in of_training]
    most = whole("repeats", REPEATS if repeats is None else repeats, 1)
    given = given_samples(samples, data)
    size = compared(
        data, min(len(given), compared(data)) if n is None else n, learns(data, features)
    )
    if len(given) < size:
        raise UsageError(
            f"`n` must be at most {len(given)}, the number of existing samples, got {size}."
        )
    judge = Judge(
        data, size, max(1, min(most, len(given) // size)), metrics, spaces=features, tell=tell
    )
    follow_plan(judge, [], n, repeats, thorough)
    scores, agreement = judge.scores(given)
    told = {True: (), False: (WITHOUT_TRAINING,), None: (UNKNOWN.format(data.name),)}
    result = ModelResult(
        given.name,
        scores=scores,
        label_agreement=agreement,
        given=True,
        warnings=(*given.notes, *told[data.trained_on]),
    )
    pictures = {"real": real_pictures(data), given.name: given_pictures(given, data)}
    comparison = replace(judge.comparison([result], baselines=True), pictures=pictures)
    return took(judge, comparison)


def stored_file(path: str | Path) -> Path | None:
    """Return the file of stored results at a path: a .json file, or report.json in a folder other than a run; else None."""
    place = Path(path)
    if place.is_dir():
        inside = place / "report.json"
        if inside.is_file() and not (place / "spec.json").exists():
            return inside
        return None
    if place.suffix.lower() == ".json" and place.is_file():
        return place
    return None


def stored(path: str | Path) -> Comparison:
    """Load results from a file of `pushforward.Report.save` or ``--json``, without pictures.

    Raises:
        CheckpointError: If the file cannot be read, or does not contain results.
    """
    try:
        return Comparison.from_json(read_whole(Path(os.path.realpath(path)), MOST))
    except (OSError, CheckpointError) as error:
        raise CheckpointError(
            f"{path}: {error} Recreate it: pushforward compare RUN RUN."
        ) from error


def taken_apart(models: Any) -> tuple[dict[str, Comparison], Any]:
    """Separate stored results, by name, from the other models to compare."""
    if isinstance(models, str) or not isinstance(models, (Mapping, Sequence)):
        return {}, models
    named = isinstance(models, Mapping)
    earlier: dict[str, Comparison] = {}
    others = []
    for key, model in models.items() if isinstance(models, Mapping) else enumerate(models, start=1):
        file = stored_file(model) if isinstance(model, (str, Path)) else None
        if isinstance(model, Comparison) or file is not None:
            if named:
                name = str(key)
            else:
                name = f"comparison {key}" if file is None else str(model)
            earlier[name] = model if file is None else stored(file)
        else:
            others.append((key, model))
    return earlier, dict(others) if named else [model for _, model in others]


def joined(comparisons: Mapping[str, Comparison]) -> Comparison:
    """Join the models of several comparisons with the same protocol.

    Models keep their scores. Models with the same name get the name of their comparison in brackets.
    Pictures, real-data scores and baselines come from the first comparison that has them.

    Args:
        comparisons: Comparisons by name, such as their file.

    Raises:
        UsageError: If protocols differ; the message lists the fields with both values.
    """
    parts = list(comparisons.values())
    check_same(
        [(name, part.protocol) for name, part in comparisons.items()],
        [part.data.name for part in parts],
    )
    if len(parts) == 1:
        return parts[0]
    names = _names(comparisons)
    models = tuple(
        replace(model, name=names[at, model.name])
        for at, part in enumerate(parts)
        for model in part.models
    )

    def renamed(kept: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        return _union(
            [
                {names.get((at, name), name): part[name] for name in part}
                for at, part in enumerate(kept)
            ]
        )

    return replace(
        parts[0],
        title=f"{', '.join(model.name for model in models)} on {parts[0].data.name}",
        created=datetime.date.today().isoformat(),
        settings=_settings(parts, names),
        machine={
            key: value
            for key, value in parts[0].machine.items()
            if all(part.machine.get(key) == value for part in parts)
        },
        metrics=_union([part.metrics for part in parts]),
        floors=_union([part.floors for part in parts]),
        unscored=_union([part.unscored for part in parts]),
        models=models,
        sweep=renamed(part.sweep for part in parts),
        baseline=next((part.baseline for part in parts if part.baseline is not None), None),
        further_baselines=_by_name([part.further_baselines for part in parts]),
        guesses=_by_name([part.guesses for part in parts]),
        commands=tuple(dict.fromkeys(command for part in parts for command in part.commands)),
        pictures=renamed(part.pictures for part in parts),
    )


def _names(comparisons: Mapping[str, Comparison]) -> dict[tuple[int, str], str]:
    """New names by number of the comparison and name in it; models of one name have that of their comparison in brackets."""
    every = [model.name for comparison in comparisons.values() for model in comparison.models]
    return {
        (at, model.name): model.name if every.count(model.name) == 1 else f"{model.name} ({source})"
        for at, (source, comparison) in enumerate(comparisons.items())
        for model in comparison.models
    }


def _by_name(parts: Sequence[Sequence[ModelResult]]) -> tuple[ModelResult, ...]:
    return tuple(_union([{row.name: row for row in part} for part in parts]).values())


def _union(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in reversed(parts) for name, value in part.items()}


def _settings(parts: Sequence[Comparison], names: Mapping[tuple[int, str], str]) -> Settings:
    """Settings with what is not the same in all parts left out; models share noise and turns of timing as each part says."""
    every = [part.settings.to_plain() for part in parts]
    same = {
        key: value for key, value in every[0].items() if all(other[key] == value for other in every)
    }

    def groups(stated: Iterable[Iterable[Sequence[str]]]) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(names.get((at, name), name) for name in group)
            for at, part in enumerate(stated)
            for group in part
        )

    shared = groups(part.settings.shared or () for part in parts)
    timed = groups(part.settings.timed or [[model.name for model in part.models]] for part in parts)
    known = all(part.settings.shared is not None for part in parts)
    return replace(Settings.from_plain(same), shared=shared if known else None, timed=timed)


def aggregated(comparison: Comparison, among: Collection[str] | None = None) -> Comparison:
    """Combine all training runs of a recipe in one row, among the models of some names or all.

    Models belong together if their names differ only in the seed at the end (``flow-0``, ``flow-1``), and
    family, method and size are the same. Scores and curves become means over runs; the spread is the larger of
    the standard deviations over runs and over samplings, because a few runs can agree by chance. Pictures,
    losses and health come from the first run, alarms from all runs. Single runs are unchanged.
    """
    groups: dict[Any, list[ModelResult]] = {}
    for number, model in enumerate(
        comparison.models
    ):  # a name that does not end in its seed stands alone
        ending = TRAINING.fullmatch(model.name)
        key: tuple[Any, ...] = (model.name, number)
        counts = among is None or model.name in among
        if counts and ending is not None and model.seed in (None, int(ending[2])):
            key = (ending[1], model.family, model.method, model.parameters)
        groups.setdefault(key, []).append(model)
    taken = {group[0].name for group in groups.values() if len(group) == 1}
    names: dict[str, str] = {}
    models = []
    for (stem, *_), group in groups.items():
        row = group[0]
        if len(group) > 1:
            name = f"{stem} ({len(group)} runs)" if stem in taken else stem
            taken.add(name)
            row = _together(name, group, comparison.metrics)
        names |= {model.name: row.name for model in group}
        models.append(row)

    def renamed(known: Any) -> Any:
        return known and tuple(
            tuple(dict.fromkeys(names.get(name, name) for name in group)) for group in known
        )

    settings = comparison.settings
    pictures = comparison.pictures
    seeds = max(len(model.trainings) or 1 for model in models)
    settings = replace(
        settings, seeds=seeds, shared=renamed(settings.shared), timed=renamed(settings.timed)
    )
    drawn = {names.get(old, old): pictures[old] for old in reversed([*pictures])}
    title = f"{', '.join(model.name for model in models)} on {comparison.data.name}"
    return replace(comparison, title=title, settings=settings, models=tuple(models), pictures=drawn)


def _together(
    name: str, group: Sequence[ModelResult], known: Mapping[str, MetricInfo]
) -> ModelResult:
    metrics = dict.fromkeys(metric for model in group for metric in model.scores)
    common = set.intersection(*({point.steps for point in model.curve} for model in group))
    rows = ([point for point in model.curve if point.steps in common] for model in group)
    ways = [model.trajectory for model in group if model.trajectory is not None]
    return replace(
        group[0],
        name=name,
        seed=tuple(model.seed if isinstance(model.seed, int) else None for model in group),
        run=", ".join(model.run for model in group if model.run) or None,
        trainings=tuple(
            ModelResult(**{part: getattr(model, part) for part in KEPT}) for model in group
        ),
        scores={
            metric: _score(
                [model.scores.get(metric, Score()) for model in group], known.get(metric)
            )
            for metric in metrics
        },
        training=_mean_record([model.training for model in group]),
        sampling=_mean_record([model.sampling for model in group]),
        label_agreement=_mean([model.label_agreement for model in group]),
        weights_step=weights.pop()
        if len(weights := {model.weights_step for model in group}) == 1
        else None,
        curve=tuple(_mean_record(points) for points in zip(*rows, strict=True)),
        trajectory=_mean_record(ways) if len(ways) == len(group) else group[0].trajectory,
        alarms=tuple(
            replace(alarm, training=model.name) for model in group for alarm in model.alarms
        ),
        warnings=tuple(f"{model.name}: {text}" for model in group for text in model.warnings),
        commands=tuple(text for model in group for text in model.commands),
    )


def _score(parts: Sequence[Score], info: MetricInfo | None) -> Score:
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
        return [_mean(list(places)) for places in zip(*parts, strict=True)]
    numbers = [number for number in map(finite, parts) if number is not None]
    if len(numbers) == len(parts):
        return statistics.fmean(numbers)
    return first


def story_trainers(
    folder: Path, seconds: float, *, seed: int = 0, progress: Watcher | None = None
) -> list[Trainer]:
    """Create a trainer for each model of the demo, with tiny networks on the ring.

    Args:
        folder: Folder of the runs; existing runs are continued.
        seconds: Training budget per model in seconds.
        seed: Seed of weights and training.
        progress: Receives training progress; None for no output.
    """
    data = named_sets.load(
        "ring"
    )  # eight narrow Gaussians on a circle, so that lost modes are visible
    trainers = []
    for name, (kind, settings, training) in CAST.items():
        recipe = seeded(partial(recipes.named(kind), data.space, "tiny", **settings), seed)
        recipe = replace(recipe, training=recipe.training.changed(**training))
        asked = {"size": "tiny", **settings, **training}
        where = folder / name.replace(" ", "-")
        trainers.append(
            continued(
                where, recipe, data, seconds=seconds, seed=seed, progress=progress, asked=asked
            )
        )
    return trainers


def continued(
    folder: Path, recipe: Any, data: Dataset, *, progress: Watcher | None, **options: Any
) -> Trainer:
    """Continue the training run in a folder, or prepare a new one there."""
    if (folder / "spec.json").is_file():
        return reopen(folder, data=data, progress=progress)
    return prepare(recipe, data, out=folder, progress=progress, **options)
