"""`compare` and `evaluate`."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pushforward.arguments import whole
from pushforward.data import dataset_of
from pushforward.data.core.load import DataLike
from pushforward.data.readers.reader import is_frame
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation.curves import CURVE_STEPS, with_curves, with_steps_curve, with_sweep
from pushforward.evaluation.evaluator import Evaluator, Tell, learns
from pushforward.evaluation.joined import TRAINING, aggregated, join
from pushforward.evaluation.model_metrics import MODEL_CHECKS, MODEL_METRICS, ask_model
from pushforward.evaluation.models import (
    Model,
    check_model,
    check_unseen,
    data_of,
    fitting,
    health_of,
    landscapes_of,
    load_model,
    most_informed,
    named_models,
    stored_file,
    unseen_warnings,
)
from pushforward.evaluation.pictures import given_pictures, real_pictures
from pushforward.evaluation.results import REPEATS, Comparison, ModelResult
from pushforward.evaluation.samples import ExternalSamples, given_samples
from pushforward.evaluation.scores import sample_count
from pushforward.extractors import Spaces, named_extractors
from pushforward.files import read_whole
from pushforward.metrics.score import Choice, check_metrics, chosen
from pushforward.numbers import duration, listing
from pushforward.plugins import files_of, load as load_plugin
from pushforward.runtime import launched
from pushforward.training import Run, load
from pushforward.training.runs.folder import is_run
from pushforward.training.runs.run import transport_of
from pushforward.transports import BATCH

MOST = 64 << 20  # Maximum size of a file of results in bytes
# Warnings about existing samples
UNKNOWN = (
    "the training examples of the model behind these samples are unknown. If they include held-out "
    "examples of {}, these scores are too optimistic."
)
WITHOUT_TRAINING = (
    "copies and privacy are not scored, because the training data of the program is unknown: pass "
    "--train (in Python, train=). If the program was trained on the real data itself, the other "
    "scores are too optimistic."
)
Plugins = str | Path | Sequence[str | Path]


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
    tell: Tell = None,
) -> Comparison:
    """Score several models on one data set.

    Args:
        models: Runs, run folders or transports by name, or a list of runs or folders. A list of
            training runs of one recipe, ``{"flow": [run, other]}``, becomes one row. Earlier
            comparisons and their files (report.json) are included without scoring them again.
        data: Data set, name or path; None for the data of the runs.
        n: Number of samples per side; None for the n of earlier comparisons, or the maximum that
            data and time allow.
        repeats: Number of samplings per model; None for at most 5.
        features: Feature spaces (`pushforward.evaluate`); models are ranked in the first.
        seeds: Number of training runs per recipe. If there are several, models whose names differ
            only in the seed at the end (``flow-0``, ``flow-1``) become one row.
        curve: Whether to measure scores over network calls, or the numbers of steps to measure.
        thorough: Whether to measure everything, instead of for about as long as training took.
        shorter: Shorter training runs by name of the model, for scores over training time.
        budget: Training budget, such as "--budget 60s", for the report.
        commands: Commands that repeat the comparison, for the report.
        tell: Function called with a line of text before each long step, such as ``print``.

    Raises:
        UsageError: If `models` is empty, models were trained on other data, earlier comparisons
            have another protocol, or there are several seeds but no names that end in them.
    """
    named = named_models(models)
    lists = isinstance(models, Mapping) and len(named) > len(models)
    earlier = {}
    fresh = {}
    for name, model in named.items():
        file = stored_file(model) if isinstance(model, (str, Path)) else None
        if file is not None:
            earlier[name] = read_comparison(file)
        elif isinstance(model, Comparison):
            earlier[name] = model
        else:
            fresh[name] = load_model(model)
    if not fresh:
        return _join_rows(earlier, commands, seeds)
    if earlier and n is None:
        n = next(iter(earlier.values())).protocol.n
    if whole("seeds", seeds, 1) > 1 and not any(map(TRAINING.fullmatch, fresh)):
        raise UsageError(
            f"`seeds={seeds}` combines models whose names differ in the seed at the end, such as "
            f"flow-0 and flow-1, got {listing(fresh)}. Rename them, or pass a list of runs."
        )
    data = data_of(most_informed(fresh)) if data is None else dataset_of(data)
    if "real" in fresh:
        raise UsageError('The name "real" is reserved for real data. Rename the model.')
    for name, model in fresh.items():
        check_model(name, model, data)
    shorter = shorter or {}
    size = fitting(fresh.values(), data, n)
    evaluator = Evaluator(data, size, _most(repeats), spaces=features, tell=tell)
    planned = [*fresh.values(), *chain.from_iterable(shorter.values())]
    _plan(evaluator, planned, n, repeats, thorough)
    comparison = _score_models(evaluator, fresh, curve)
    settings = replace(comparison.settings, budget=budget, seeds=1)
    comparison = replace(comparison, settings=settings, commands=tuple(commands))
    if seeds > 1 or lists:
        comparison = aggregated(comparison)
    if shorter:
        comparison = with_sweep(evaluator, comparison, shorter)
    comparison = _with_duration(evaluator, comparison)
    if earlier:
        return _join_rows({**earlier, "the models": comparison}, commands, seeds)
    return comparison


def _join_rows(
    comparisons: Mapping[str, Comparison], commands: Sequence[str], seeds: int
) -> Comparison:
    comparison = join(comparisons)
    commands = tuple(dict.fromkeys([*comparison.commands, *commands]))
    comparison = replace(comparison, commands=commands)
    if seeds > 1:
        return aggregated(comparison)
    return comparison


def _score_models(
    evaluator: Evaluator, models: Mapping[str, Model], curve: bool | Sequence[int]
) -> Comparison:
    transports = {name: transport_of(model) for name, model in models.items()}
    sampling = evaluator.sampling(transports)
    results = []
    pictures = {"real": real_pictures(evaluator.data)}
    for name, model in models.items():
        result, drawn = evaluator.evaluate(name, model, curve=bool(curve), sampling=sampling[name])
        if curve:
            counts = CURVE_STEPS if curve is True else curve
            result, drawn = with_curves(evaluator, model, result, drawn, counts)
        if isinstance(model, Run):
            health, alarms = health_of(model)
            result = replace(result, health=health, alarms=alarms)
            drawn = replace(drawn, landscapes=landscapes_of(model))
        pictures[name] = drawn
        results.append(result)
    comparison = evaluator.comparison(results, baselines=True)
    return replace(
        comparison,
        title=f"{', '.join(models)} on {evaluator.data.name}",
        created=datetime.date.today().isoformat(),
        pictures=pictures,
    )


def _plan(
    evaluator: Evaluator,
    models: Sequence[Model],
    n: int | None,
    repeats: int | None,
    thorough: bool,
) -> None:
    words = evaluator.plan.words
    if not thorough and launched().count == 1:
        expected = evaluator.save_time(models, n, repeats)
        words = f"{evaluator.plan.words}, which takes up to about {duration(expected, 2)}"
    evaluator.say(words)


def _with_duration(evaluator: Evaluator, comparison: Comparison) -> Comparison:
    seconds = time.perf_counter() - evaluator.began
    if evaluator.tell is not None:
        evaluator.tell(f"measuring took {duration(seconds, 2)}")
    plan = replace(comparison.settings.plan, took=seconds)
    return replace(comparison, settings=replace(comparison.settings, plan=plan))


def _most(repeats: int | None) -> int:
    if repeats is None:
        return REPEATS
    return whole("repeats", repeats, 1)


def evaluate(
    model: Any,
    data: DataLike = None,
    *,
    n: int | None = None,
    repeats: int | None = None,
    metrics: Sequence[str] | None = None,
    features: Spaces = None,
    thorough: bool = False,
    plugins: Plugins = (),
    seed: int = 0,
    batch: int = BATCH,
    tell: Tell = None,
) -> Comparison:
    """Score one model, or existing samples, on held-out data.

    Args:
        model: Run, run folder or transport; or samples: a file (.npz, .npy, .csv), a folder of
            images, an array or tensor (n, *shape) in data units, or a data frame.
        data: Data as for `pushforward.fit`; None for the data of the run.
        n: Number of samples per side; None for the maximum that data and time allow.
        repeats: Number of samplings; None for at most 5. Existing samples are divided into this
            number of sets, or fewer.
        metrics: Names of metrics, "bpd" for bits per dimension, or "cas" for the classification
            accuracy score; None for all that apply except these two.
        features: Feature spaces: names, extractors, or networks that convert examples in data units
            to (n, features). Models are ranked in the first.
        thorough: Whether to measure everything (`pushforward.compare`).
        plugins: Python files that the run needs, or that define further metrics or features.
        seed: Number added to the seed of every sampling.
        batch: Number of samples generated at a time.
        tell: Function called with a line of text before each long step, such as ``print``.

    Raises:
        UsageError: If a metric does not apply to the data, n exceeds the number of examples, a
            transport is given without data, or the run was trained on held-out examples.
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
    if isinstance(model, (np.ndarray, torch.Tensor, ExternalSamples, str, Path)) or is_frame(model):
        if seed:
            raise UsageError(f"`seed={seed}` does not apply to existing samples. Omit it.")
        return _of_samples(model, data, n, repeats, metrics, features, thorough, plugins, tell)
    model = load_model(model)
    data = data_of(model) if data is None else dataset_of(data)
    name = "model"
    if isinstance(model, Run):
        name = model.name
        check_unseen(name, model, data)
    of_model = [metric for metric in metrics or () if metric in MODEL_METRICS]
    of_samples = None
    if metrics is not None:
        of_samples = [metric for metric in metrics if metric not in MODEL_METRICS]
    for metric in of_model:
        MODEL_CHECKS[metric](model, data, n)
    most = _most(repeats)
    only_model = bool(of_model) and not of_samples
    size = 0
    if not only_model:
        size = sample_count(data, fitting([model], data, n), learns(data, features))
    if of_model and tell is not None:
        tell(
            f"measuring {' and '.join(of_model)} (with many examples, this takes minutes; a "
            "smaller n is faster) ..."
        )
    own = ask_model(model, data, of_model, n, (seed, batch))
    if only_model:
        result = replace(own.models[0], name=name, warnings=unseen_warnings(model, data))
        return replace(own, models=(result,))
    evaluator = Evaluator(data, size, most, of_samples, seed, batch, features, tell)
    _plan(evaluator, [model], n, repeats, thorough)
    result, pictures = evaluator.evaluate(name, model, curve=False)
    _check_scored(evaluator, of_samples, result)
    if metrics is None:
        result, pictures = with_steps_curve(evaluator, model, result, pictures)
    if own.models:
        result = replace(result, scores={**result.scores, **own.models[0].scores})
    comparison = _with_duration(evaluator, evaluator.comparison([result], baselines=True))
    return replace(
        comparison,
        metrics={**comparison.metrics, **own.metrics},
        real_data_scores={**comparison.real_data_scores, **own.real_data_scores},
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
    plugins: Plugins,
    tell: Tell,
) -> Comparison:
    if data is None:
        raise UsageError(
            "Existing samples need data to be compared with. Specify `data`, such as digits."
        )
    if isinstance(data, (str, Path)) and (Path(data) / "spec.json").is_file():
        data = data_of(load(data, plugins=plugins))
    else:
        data = dataset_of(data, rare="keep")
    requested = metrics
    wanted = chosen(metrics)
    warnings: tuple[str, ...] = ()
    if data.trained_on is None:
        warnings = (UNKNOWN.format(data.name),)
    if data.trained_on is False:
        warnings = (WITHOUT_TRAINING,)
        metrics = _without_training(wanted, refuse=metrics is not None)
    most = _most(repeats)
    given = given_samples(samples, data)
    if n is None:
        n_compared = min(len(given), sample_count(data))
    else:
        n_compared = n
    size = sample_count(data, n_compared, learns(data, features))
    if len(given) < size:
        raise UsageError(
            f"`n` must be at most {len(given)}, the number of existing samples, got {size}."
        )
    most = max(1, min(most, len(given) // size))
    evaluator = Evaluator(data, size, most, metrics, spaces=features, tell=tell)
    _plan(evaluator, [], n, repeats, thorough)
    scores, agreement = evaluator.scores(given)
    result = ModelResult(
        given.name,
        scores=scores,
        label_agreement=agreement,
        given=True,
        warnings=(*given.notes, *warnings),
    )
    _check_scored(evaluator, requested, result)
    pictures = {"real": real_pictures(data), given.name: given_pictures(given, data)}
    comparison = replace(evaluator.comparison([result], baselines=True), pictures=pictures)
    return _with_duration(evaluator, comparison)


def _check_scored(evaluator: Evaluator, metrics: Sequence[str] | None, result: ModelResult) -> None:
    refused = []
    for name in metrics or ():
        ((_, scores),) = chosen([name])
        if not {*scores} & {*result.scores, *evaluator.unscored}:
            refused.append(name)
    if refused:
        raise UsageError(
            f"{', '.join(refused)} cannot be computed for {evaluator.data.name} with n = "
            f"{evaluator.n}. Request other metrics: pushforward list metrics."
        )


def _without_training(wanted: Choice, refuse: bool) -> list[str]:
    needs_training: list[str] = []
    others: list[str] = []
    for metric, names in wanted:
        if getattr(metric, "of_training", False):
            needs_training += names
        else:
            others += names
    if refuse and needs_training:
        raise UsageError(
            f"{', '.join(needs_training)} cannot be computed without the training data. Specify it "
            "with `train`."
        )
    return others


def read_comparison(path: str | Path) -> Comparison:
    """Load results from a file of `pushforward.Report.save` or ``--json``, without pictures."""
    try:
        return Comparison.from_json(read_whole(Path(os.path.realpath(path)), MOST))
    except (OSError, CheckpointError) as error:
        raise CheckpointError(
            f"{path}: {error} Recreate it: pushforward compare RUN RUN."
        ) from error
