"""Scores of one model, or of samples that are there already, against held-out data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch

from pushforward.arguments import refuse_unknown, whole
from pushforward.data import Dataset, dataset_of
from pushforward.errors import UsageError
from pushforward.evaluation.applicable import check_applicable
from pushforward.evaluation.further_spaces import learns
from pushforward.evaluation.given import given_samples, unknown_origin
from pushforward.evaluation.judge import Judge
from pushforward.evaluation.ladder import with_ladder
from pushforward.evaluation.model_metrics import MODEL_CHECKS, MODEL_METRICS, ask_model
from pushforward.evaluation.models import check_model_kind, data_of
from pushforward.evaluation.naming import check_metrics, chosen
from pushforward.evaluation.results import REPEATS, Comparison, ModelResult
from pushforward.evaluation.sample_files import StoredSamples, is_run
from pushforward.evaluation.scoring import compared
from pushforward.evaluation.unseen import check_unseen, fitting, unseen_warnings
from pushforward.extractors import Spaces, named_extractors
from pushforward.plugins import files_of
from pushforward.plugins import load as load_plugin
from pushforward.training import Run, load
from pushforward.transports import BATCH, Transport


class DrawingOptions(TypedDict, total=False):
    """How samples are drawn.

    Args:
        seed: Added to the seed of every sampling; 0 by default.
        batch: Samples generated at a time.
        tell: Called with a line before each sampling and whatever else takes long, such as ``print``; silent by default.
    """

    seed: int
    batch: int
    tell: Callable[[str], None] | None


def evaluate(
    model: Run | Transport | str | Path | np.ndarray | torch.Tensor | StoredSamples,
    data: Dataset | str | Path | None = None,
    *,
    n: int | None = None,
    repeats: int = REPEATS,
    metrics: Sequence[str] | None = None,
    features: Spaces = None,
    plugins: str | Path | Sequence[str | Path] = (),
    **drawing: Unpack[DrawingOptions],
) -> Comparison:
    """Score one model, or samples that are there already, against held-out data.

    Args:
        model: A run, its folder, or a transport; or samples: a file (.npz, .npy, .csv), a folder of images, an array or tensor
            (n, *shape) in data units, or what `pushforward.evaluation.sample_files.read_samples` returned.
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
        drawing: ``seed``, ``batch`` and ``tell`` (`DrawingOptions`); ``tell=print`` shows what is measured, which takes minutes.

    Returns:
        A comparison of one model, with floors, the no-network row, cost and settings.

    Raises:
        UsageError: If a named metric is not computed for such data, n is larger than the held-out split or the number of
            given samples, a transport comes without data, or the run was trained on held-out examples of the data.
        DataError: If the run's data has changed since.
    """
    refuse_unknown(drawing, DrawingOptions, "evaluate", also=("n", "repeats", "metrics", "features", "plugins"))
    seed, batch = drawing.get("seed", 0), drawing.get("batch", BATCH)
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if not plugins:
        check_metrics(metrics)
        named_extractors(features)
    if isinstance(model, (str, Path)) and is_run(model):
        model = load(model, plugins=plugins)
    for path in files_of(plugins):
        load_plugin(path)
    check_metrics(metrics)
    if isinstance(model, (np.ndarray, torch.Tensor, StoredSamples, str, Path)):
        if seed:
            raise UsageError(f"Samples that are there already have no seed to add to: leave `seed={seed}` out.")
        return _of_samples(model, data, (n, repeats), (metrics, features), plugins, drawing.get("tell"))
    check_model_kind(model)
    data = data_of(model) if data is None else dataset_of(data)
    check_applicable(metrics, data)
    name = model.name if isinstance(model, Run) else "model"
    if isinstance(model, Run):
        check_unseen(name, model, data)
    of_model = [metric for metric in metrics or () if metric in MODEL_METRICS]
    for metric in of_model:
        MODEL_CHECKS[metric](model, data, n)
    whole("repeats", repeats, 1)
    others = None if metrics is None else [metric for metric in metrics if metric not in MODEL_METRICS]
    if others == [] and of_model:
        _announce(of_model, drawing.get("tell"))
        own = ask_model(model, data, of_model, n, (seed, batch))
        return replace(own, models=(replace(own.models[0], name=name, warnings=unseen_warnings(model, data)),))
    size = compared(data, fitting([model], data, None if n is None else compared(data, n)), learns(data, features))
    _announce(["others", *of_model], drawing.get("tell"))
    own = ask_model(model, data, of_model, n, (seed, batch))
    judge = Judge(data, size, repeats, others, seed, batch, features, drawing.get("tell"))
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


MINUTES = "with many examples this takes minutes (a smaller `n` takes less) ..."
LONG = {
    "others": "measuring: features, floors, scores ...",
    "bpd": f"finding bits per dimension; {MINUTES}",
    "cas": f"training classifiers on samples and on real examples; {MINUTES}",
}
"""The line that announces a metric before it is computed."""


def _announce(what: Sequence[str], tell: Callable[[str], None] | None) -> None:
    """Tell what takes long, once nothing of it is refused any more."""
    for line in (line for name, line in LONG.items() if name in what):
        if tell is not None:
            tell(line)


def _of_samples(
    samples: Any,
    data: Dataset | str | Path | None,
    size: tuple[int | None, int],
    what: tuple[Sequence[str] | None, Spaces],
    plugins: str | Path | Sequence[str | Path],
    tell: Callable[[str], None] | None,
) -> Comparison:
    """The scores of samples that are there already."""
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
    _announce(["others"], tell)
    judge = Judge(data, n, max(1, min(repeats, len(given) // n)), metrics, spaces=features)
    scores, agreement = judge.scores(given)
    result = unknown_origin(samples, given, ModelResult("samples", scores=scores, label_agreement=agreement), data)
    return judge.comparison([result], judge.baseline())
