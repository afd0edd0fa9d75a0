"""Metrics of a model that take minutes: bits per dimension, and what samples teach a classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch

from pushforward.data import Dataset, TableSpace
from pushforward.errors import UsageError
from pushforward.evaluation.baseline import GaussianBaseline
from pushforward.evaluation.intervals import with_interval
from pushforward.evaluation.likelihood import bits, check_examples, check_iterative, check_weighed, coded_bits
from pushforward.evaluation.model_scores import MODEL_SCORES
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, DataInfo, ModelResult, Settings
from pushforward.evaluation.scoring import compared
from pushforward.evaluation.synthetic_training import accuracy_errors, check_labelled, classification_accuracy, real_accuracy
from pushforward.methods.evidence_bound import HasImportanceWeights
from pushforward.metrics import Score
from pushforward.training import Run
from pushforward.training.monitor.machine import machine
from pushforward.training.runs.run import transport_of
from pushforward.transports import Transport
from pushforward.transports.likelihood import bits_per_dim
from pushforward.transports.shared_sampling import stream

__all__ = ["MODEL_CHECKS", "MODEL_METRICS", "accuracy_score", "ask_model", "bits_score", "guess", "levels_of"]


def check_bits(model: Run | Transport, data: Dataset, n: int | None) -> None:
    """Refuse bits per dimension of a model of tables, of one without a likelihood, and of more examples than there are.

    Raises:
        UsageError: Saying what to take.
    """
    if isinstance(transport_of(model).space, TableSpace):
        raise UsageError(
            "bpd: rows of a table have no density: categories, missing values and frequent numbers have probabilities. Take "
            "metrics of tables: detection, fidelity, column_shapes, pair_trends or utility."
        )
    if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
        check_weighed(model.method, data)
    else:
        check_iterative(transport_of(model))
    if n is not None:
        check_examples(data, n)


def bits_score(model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int) -> Score:
    """Bits per dimension of an iterative model, a vae or an hvae, only where asked for."""
    if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
        return coded_bits(model.method, data, n, seed=seed)
    return bits(transport_of(model), data, n, seed=seed, batch=batch)


def check_accuracy(model: Run | Transport, data: Dataset, n: int | None) -> int:
    """How many samples train the classifier of a classification accuracy score; data and models without labels are refused.

    Raises:
        DataError: Where there is nothing to classify.
        UsageError: For a model without labels, and for an n that the data does not allow.
    """
    check_labelled(data)
    if "label" not in transport_of(model).space.conditions:
        raise UsageError("A classification accuracy score needs a model that is given class labels; this one is not.")
    return compared(data, n)


def accuracy_score(model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int) -> Score:
    """Classification accuracy score of a model that is given labels, only where asked for.

    ``extra`` has the accuracy of as many real examples as "real".
    """
    transport, n = transport_of(model), check_accuracy(model, data, n)
    parts = list(stream(transport, n, seed=seed + REPEAT_SEEDS, batch=batch))
    labels = torch.cat([condition["label"] for _, condition in parts if condition is not None]).cpu().numpy()
    x = torch.cat([part for part, _ in parts])
    value, real = classification_accuracy(x, labels, data), real_accuracy(data, n)
    error, shared = accuracy_errors(value, x, labels, data) or (None, None)
    ratio = value / real if real else None
    return Score(value, None, error, (value,), n, ratio, reference_error=shared, extra={"real": real})


MODEL_METRICS: Mapping[str, Callable[[Run | Transport, Dataset, int | None, int, int], Score]] = {
    "bpd": bits_score,
    "cas": accuracy_score,
}
"""Scores of a model on n held-out examples (None: as many as the metric takes), with a seed, so many examples at a time.

They take time, so that each is computed only where it is asked for.
"""
MODEL_CHECKS: Mapping[str, Callable[[Run | Transport, Dataset, int | None], object]] = {
    "bpd": check_bits,
    "cas": check_accuracy,
}
"""What refuses a model or data for which a metric has no meaning, or a wrong n, before anything is computed."""


def ask_model(
    model: Run | Transport, data: Dataset, metrics: Sequence[str], n: int | None, seed_and_batch: tuple[int, int]
) -> Comparison:
    """The scores that ask the model itself, which need no samples; a comparison without a model where no such score is wanted."""
    if not metrics:
        return Comparison()
    scores = {name: with_interval(MODEL_METRICS[name](model, data, n, *seed_and_batch), MODEL_SCORES[name]) for name in metrics}
    compared_with = next(iter(scores.values())).n or len(data.held_out)
    row = _guess_for(model, data, compared_with) if "bpd" in scores else None
    return Comparison(
        data=DataInfo(data.name, fingerprint=data.fingerprint),
        settings=Settings(n=compared_with),
        machine=machine(),
        metrics={name: MODEL_SCORES[name] for name in scores},
        floors={name: Score(score.extra["real"], n=score.n) for name, score in scores.items() if "real" in score.extra},
        models=(ModelResult(scores=scores),),
        guesses=() if row is None else (row,),
    )


def _guess_for(model: Run | Transport, data: Dataset, n: int) -> ModelResult | None:
    method = model.method if isinstance(model, Run) else None
    discrete = isinstance(method, HasImportanceWeights) and method.discrete
    return guess(data, n, discrete=discrete, conditions=transport_of(model).space.conditions)


BLOCK = 1024
"""Examples that are read at a time."""


def guess(data: Dataset, n: int, *, discrete: bool = False, conditions: Collection[str] = ()) -> ModelResult | None:
    """What held-out examples cost without a model, which a model has to beat.

    Args:
        data: The data set.
        n: Its first n held-out examples are those that the model was measured on.
        discrete: Whether the model gives probabilities to values that are no images, as a decoder of zeros and ones does.
        conditions: Names of what the model is given.

    Returns:
        A name and the score "bpd", bits per dimension with its standard error over examples (None for a uniform guess, which is
        the same for all examples); None for vectors whose covariance is singular, for tables, and where the model is given
        more than labels, which the Gaussian is not.
    """
    if isinstance(data.space, TableSpace):
        return None
    if data.space.levels is not None or (discrete and data.space.binary):
        levels = levels_of(data)
        return ModelResult(f"uniform guess over {levels} levels", scores={"bpd": Score(math.log2(levels), n=n)})
    if set(conditions) - {"label"}:
        return None
    known = data if conditions else data.without_labels()
    labels = known.held_out.labels
    nats = GaussianBaseline.fit(known).log_prob(
        known.held_out.data_units(np.arange(n)), None if labels is None else torch.from_numpy(labels[:n])
    )
    if nats is None:
        return None
    bits = bits_per_dim(nats, data.space)
    error = float(bits.std() / math.sqrt(n)) if n > 1 else None
    name = "one Gaussian per class" if known.space.classes else "one Gaussian"
    return ModelResult(name, scores={"bpd": Score(float(bits.mean()), error, error, n=n)})


def levels_of(data: Dataset) -> int:
    """How many values a number takes: as many as in training examples, or all 256 where held-out examples have others."""
    if data.space.binary:
        return 2
    used, held = _values(data.train.x), _values(data.held_out.x)
    return max(2, int(used.sum())) if not (held & ~used).any() else 256


def _values(x: np.ndarray) -> np.ndarray:
    """Which of the 256 levels occur in images, bool (256,)."""
    present = np.zeros(256, dtype=bool)
    for start in range(0, len(x), BLOCK):
        present[np.unique(x[start : start + BLOCK])] = True
    return present
