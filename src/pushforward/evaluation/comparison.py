"""`evaluate`, `compare`, and the models in two dimensions that a demo trains first."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
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
from pushforward.errors import UsageError
from pushforward.evaluation.curves import with_ladder
from pushforward.evaluation.evaluator import Judge, learns
from pushforward.evaluation.merge import aggregated, joined, taken_apart
from pushforward.evaluation.model_metrics import MODEL_CHECKS, MODEL_METRICS, ask_model
from pushforward.evaluation.models import (
    Given,
    check_model,
    check_unseen,
    data_of,
    fitting,
    given_samples,
    informed,
    models_of,
    unseen_warnings,
)
from pushforward.evaluation.pictures import real_pictures
from pushforward.evaluation.results import REPEATS, Comparison, ModelResult
from pushforward.evaluation.run_results import health_of, landscapes_of
from pushforward.evaluation.scores import check_applicable, compared
from pushforward.extractors import Spaces, named_extractors
from pushforward.metrics.selection import check_metrics, chosen
from pushforward.plugins import files_of
from pushforward.plugins import load as load_plugin
from pushforward.training import Run, Trainer, load
from pushforward.training.api import prepare, reopen
from pushforward.training.loop.progress import Watcher
from pushforward.training.loop.torch_generators import seeded
from pushforward.training.runs.folder import is_run
from pushforward.training.runs.run import transport_of
from pushforward.transports import BATCH, Transport

DATA = "ring"  # Eight narrow Gaussians on a circle: a model that loses some of them is seen to


def compare(
    models: Mapping[str, Run | Transport | Comparison | str | Path] | Sequence[Run | Comparison | str | Path],
    data: Dataset | str | Path | None = None,
    *,
    n: int | None = None,
    repeats: int = REPEATS,
    features: Spaces = None,
    seeds: int = 1,
    curve: bool | Sequence[int] = True,
    budget: str | None = None,
    commands: Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Score models on one data set; `pushforward.Report` renders the result.

    Args:
        models: Runs, run folders or transports by the name that the report shows; or a list of runs or folders, which keep their
            own names. Results of earlier comparisons, or their files (report.json), are joined without scoring them again.
        data: The data set, or its name or path; runs know their own.
        n: Samples on either side; None takes as many as earlier results have, else as the data allows (`pushforward.evaluate`).
        repeats: Samplings of each model.
        features: Feature spaces (`pushforward.evaluate`): models are ranked in the first.
        seeds: Trainings of each recipe that ``models`` holds. From two on, runs named after their own seed (``flow-0``,
            ``flow-1``) become one row, with the mean and the spread over trainings; any other model stays a row of its own.
        curve: Whether to measure quality against network calls, of a map between two times beside its teacher, trajectories and
            the memory of training; or the numbers of steps in which quality is measured, beside each model's own.
        budget: What each model was trained with, in words.
        commands: Command lines that repeat the comparison.
        tell: Called with a line before each sampling of a model, such as ``print``, which shows what is measured; silent by
            default.

    Raises:
        UsageError: If there is nothing to compare, the models were made for other data, or earlier results were measured by
            another protocol; the message names what differs.
    """
    earlier, models = taken_apart(models)
    if earlier:
        details: dict[str, Any] = {"repeats": repeats, "features": features, "seeds": seeds, "curve": curve}
        details |= {"budget": budget, "commands": commands, "tell": tell}
        n = next(iter(earlier.values())).protocol.n if n is None else n
        every = joined({**earlier, **({"the models": compare(models, data, n=n, **details)} if models else {})})
        return replace(every, commands=tuple(dict.fromkeys([*every.commands, *commands])))
    models = models_of(models)
    data = dataset_of(data) if data is not None else data_of(informed(models))
    if "real" in models:
        raise UsageError('A model cannot be named "real", as real data is in a report: give it another name.')
    for name, model in models.items():
        check_model(name, model, data)
    n = None if n is None else compared(data, n)
    judge = Judge(data, fitting(models.values(), data, n), repeats, spaces=features, tell=tell)
    sampling = judge.sampling({name: transport_of(model) for name, model in models.items()})
    results, pictures = [], {"real": real_pictures(data)}
    groups: dict[tuple[int, ...], list[str]] = {}  # models whose noise has one shape: equal seeds give equal noise
    for name, model in models.items():
        result, drawn = judge.judge(name, model, curve=curve, sampling=sampling[name])
        if curve:
            result, drawn = with_ladder(judge, model, result, drawn)
        if isinstance(model, Run):
            health, alarms = health_of(model)
            result, drawn = replace(result, health=health, alarms=alarms), replace(drawn, landscapes=landscapes_of(model))
        pictures[name] = drawn
        results.append(result)
        groups.setdefault(tuple(transport_of(model).noise_shape), []).append(name)
    comparison = judge.comparison(results, judge.baseline())
    shared = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    comparison = replace(
        comparison,
        title=f"{', '.join(models)} on {data.name}",
        created=datetime.date.today().isoformat(),
        settings=replace(comparison.settings, budget=budget, seeds=whole("seeds", seeds, 1), shared=shared),
        commands=tuple(commands),
        pictures=pictures,
    )
    return aggregated(comparison) if seeds > 1 else comparison


def evaluate(
    model: Run | Transport | str | Path | np.ndarray | torch.Tensor | Given,
    data: Dataset | str | Path | None = None,
    *,
    n: int | None = None,
    repeats: int = REPEATS,
    metrics: Sequence[str] | None = None,
    features: Spaces = None,
    plugins: str | Path | Sequence[str | Path] = (),
    seed: int = 0,
    batch: int = BATCH,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Score one model, or samples that are there already, against held-out data.

    Args:
        model: A run, its folder, or a transport; or samples: a file (.npz, .npy, .csv), a folder of images, an array or tensor
            (n, *shape) in data units, or what `pushforward.evaluation.models.given_samples` returned.
        data: The data set, or its name or path; a run knows its own.
        n: Samples on either side; None takes as many as the held-out split allows, and no more than a flow from a data set has
            different examples to start from.
        repeats: Samplings; a flow from a data set is sampled once, and its scores have no spread. Samples that are there already
            are divided into as many sets of n, or fewer.
        metrics: Names of metrics (`pushforward.metrics.registry`), "bpd" for bits per dimension, "cas" for the classification
            accuracy score; None means all that apply but these two, and of a map between two times its quality in 1 to 16
            calls beside its teacher's.
        features: Feature spaces (`pushforward.extractors.registry`): names, extractors, or networks that take examples in data
            units and return (n, features). Models are ranked in the first; a few scores in further ones stand beside its scores,
            with the space's name in brackets. None takes what suits the data.
        plugins: Python files, or a single one, that the run needs, or that define further metrics or features.
        seed: Added to the seed of every sampling.
        batch: Samples generated at a time.
        tell: Called with a line before each sampling and whatever else takes long, such as ``print``; silent by default.

    Returns:
        A comparison of one model, with floors, the no-network row, cost and settings.

    Raises:
        UsageError: If a named metric is not computed for such data, n is larger than the held-out split or the number of
            given samples, a transport comes without data, or the run was trained on held-out examples of the data.
        DataError: If the run's data has changed since.
    """
    metrics = [metrics] if isinstance(metrics, str) else metrics
    for path in files_of(plugins):
        load_plugin(path)
    check_metrics(metrics)
    named_extractors(features)
    if isinstance(model, (str, Path)) and is_run(model):
        model = load(model, plugins=plugins)
    if isinstance(model, (np.ndarray, torch.Tensor, Given, str, Path)):
        if seed:
            raise UsageError(f"Samples that are there already have no seed to add to: leave `seed={seed}` out.")
        return _of_samples(model, data, (n, repeats), (metrics, features), plugins, tell)
    models_of({"model": model})  # refuses anything else
    data = data_of(model) if data is None else dataset_of(data)
    check_applicable(metrics, data)
    name = model.name if isinstance(model, Run) else "model"
    if isinstance(model, Run):
        check_unseen(name, model, data)
    say = tell or (lambda line: None)
    of_model = [metric for metric in metrics or () if metric in MODEL_METRICS]
    for metric in of_model:
        MODEL_CHECKS[metric](model, data, n)
    long = f"measuring {' and '.join(of_model)}; with many examples this takes minutes (a smaller `n` takes less) ..."
    whole("repeats", repeats, 1)
    others = None if metrics is None else [metric for metric in metrics if metric not in MODEL_METRICS]
    if others == [] and of_model:
        say(long)
        own = ask_model(model, data, of_model, n, (seed, batch))
        return replace(own, models=(replace(own.models[0], name=name, warnings=unseen_warnings(model, data)),))
    size = compared(data, fitting([model], data, None if n is None else compared(data, n)), learns(data, features))
    say("measuring: features, floors, scores ...")
    if of_model:
        say(long)
    own = ask_model(model, data, of_model, n, (seed, batch))
    judge = Judge(data, size, repeats, others, seed, batch, features, tell)
    result, pictures = judge.judge(name, model, curve=False)
    if metrics is None:
        result, pictures = with_ladder(judge, model, result, pictures)
    own_scores = own.models[0].scores if own.models else {}
    comparison = judge.comparison([replace(result, scores={**result.scores, **own_scores})], judge.baseline())
    return replace(
        comparison,
        metrics={**comparison.metrics, **own.metrics},
        floors={**comparison.floors, **own.floors},
        guesses=own.guesses,
        pictures={name: pictures},
    )


def _of_samples(
    samples: Any,
    data: Dataset | str | Path | None,
    size: tuple[int | None, int],
    what: tuple[Sequence[str] | None, Spaces],
    plugins: str | Path | Sequence[str | Path],
    tell: Callable[[str], None] | None,
) -> Comparison:
    metrics, features = what
    if data is None:
        raise UsageError("Samples do not say what they are to be compared with: name the `data`, such as digits.")
    is_folder = isinstance(data, (str, Path)) and (Path(data) / "spec.json").is_file()
    data = data_of(load(data, plugins=plugins)) if is_folder and not isinstance(data, Dataset) else dataset_of(data)
    check_applicable(metrics, data)
    chosen(metrics)
    repeats, given = whole("repeats", size[1], 1), given_samples(samples, data)
    n = compared(data, min(len(given), compared(data)) if size[0] is None else size[0], learns(data, features))
    if len(given) < n:
        raise UsageError(f"`n` must be at most {len(given)}, the number of given samples, got {n}.")
    if tell is not None:
        tell("measuring: features, floors, scores ...")
    judge = Judge(data, n, max(1, min(repeats, len(given) // n)), metrics, spaces=features)
    scores, agreement = judge.scores(given)
    unknown = (
        f"it is unknown on which examples the model of these samples was trained. If held-out examples of {data.name} were among "
        "them, these scores are too good."
    )
    result = ModelResult(
        given.name,
        scores=scores,
        label_agreement=agreement,
        given=True,
        warnings=(*given.notes, unknown),
    )
    return judge.comparison([result], judge.baseline())


# The models by name, in the order of the report: recipe, and where they are not its own, settings and how it trains
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


def story_trainers(folder: Path, seconds: float, *, seed: int = 0, progress: Watcher | None = None) -> list[Trainer]:
    """A trainer for each model of the `CAST`, tiny networks on the ring.

    Args:
        folder: Holds the runs; those that are there already go on where they stopped.
        seconds: The budget of each training.
        seed: Of weights and training.
        progress: Receives where each stands; None is silent.
    """
    data = named_sets.load(DATA)
    trainers = []
    for name, (kind, settings, training) in CAST.items():
        recipe = seeded(partial(recipes.named(kind), data.space, "tiny", **settings), seed)
        recipe = replace(recipe, training=recipe.training.changed(**training))
        asked = {"size": "tiny", **settings, **training}
        where = folder / name.replace(" ", "-")
        if (where / "spec.json").is_file():
            trainers.append(reopen(where, data=data, progress=progress))
        else:
            trainers.append(prepare(recipe, data, seconds=seconds, seed=seed, out=where, progress=progress, asked=asked))
    return trainers
