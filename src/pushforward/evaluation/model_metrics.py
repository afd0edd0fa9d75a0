"""Metrics of the model itself: bits per dimension and classification accuracy score."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pushforward.arguments import whole
from pushforward.conditions.kind import ConditionKind, described, met
from pushforward.data import Dataset, Split
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition
from pushforward.draws import ExampleDraws
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.features import quantised
from pushforward.evaluation.intervals import with_interval
from pushforward.evaluation.models import Model
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, DataInfo, ModelResult, Settings
from pushforward.evaluation.scores import sample_count
from pushforward.extractors.classifier import SEEN, accuracy, labelled, named, train_classifier
from pushforward.methods import VAE, Method
from pushforward.methods.likelihoods import HasImportanceWeights, importance_bound
from pushforward.metrics import Score
from pushforward.metrics.score import MODEL_SCORES
from pushforward.metrics.subsets import blocks
from pushforward.metrics.uncertainty import Errors, share_error
from pushforward.training import Run
from pushforward.training.loop.machine import machine
from pushforward.training.runs.run import transport_of
from pushforward.transports import Latent, Transport, has_steps
from pushforward.transports.likelihood import (
    bits_per_dim,
    decoder_spread,
    dequantise,
    elbo,
    log_prob,
)
from pushforward.transports.transport import shared_stream

TIMES = 16
BLOCK = 1024  # examples that are read at a time
FITTED = 64  # Training examples on which the bound's decoder is fitted
CODES = 500  # Latents per example for importance sampling
# Examples whose likelihood is estimated from latents at most unless more are asked for: an example
# costs hundreds of decodings where an iterative model's costs 16 network calls, and beyond these
# the standard error is small
EXAMPLES = 1_000
# Codes that are decoded at a time: what convolutions make of more of them leaves the processor's
# cache (measured in float32: a quarter slower at 2,048, 3 to 5 times slower at 12,500)
WEIGHED = 512
# Of the error over new samples: the parts of them that train a classifier each, and the samples of
# a part at least
PARTS = 5
FEWEST = 10


def bits(
    transport: Transport,
    data: Dataset,
    n: int | None = None,
    *,
    times: int = TIMES,
    seed: int = 0,
    batch: int = 256,
) -> Score:
    """Compute bits per dimension of held-out examples with an iterative model.

    For images, this is the variational bound (`pushforward.likelihood.elbo`), whose decoder is
    fitted on training examples. For vectors, it is minus the log density by the instantaneous
    change of variables (`log_prob`). Models with labels are conditioned on them.

    Args:
        n: Number of held-out examples; None for all, at most 10,000.

    Returns:
        Mean with its standard error over examples; ``extra`` has mean nats per example and the
        method.
    """
    held_out = data.held_out
    conditions = transport.space.conditions
    discrete = data.space.levels is not None
    assert has_steps(transport)
    if not met(conditions, data.space.conditions):
        conditions = {}

    def examples(split: Split, index: slice) -> tuple[Tensor, Condition]:
        device = transport.device
        return split.data_units(index).to(device), split.condition(conditions, index, device)

    spread = 1.0
    if discrete:
        spread = decoder_spread(transport, *examples(data.train, slice(FITTED)))
    count = n or min(len(held_out), 10_000)
    parts = []
    for part in blocks(count, batch):
        x, condition = examples(held_out, part)
        start = seed + part.start
        if discrete:
            bound = elbo(transport, x, condition, times=times, spread=spread, seed=start)
            parts.append(-bound / (data.space.size * math.log(2)))
        else:
            nats = log_prob(transport, x, condition, seed=start)
            parts.append(bits_per_dim(nats, data.space))
    if discrete:
        how = f"variational bound, {times} noise levels per example"
    else:
        how = "density of the probability-flow ODE"
    return _score(torch.cat(parts), data, how, conditions)


def _score(bits: Tensor, data: Dataset, how: str, conditions: Mapping[str, ConditionKind]) -> Score:
    given = []
    for name, kind in conditions.items():
        given.append("given the labels" if name == "label" else kind.describe())
    if given:
        how += f", {' and '.join(given)}"
    score = _mean_score(bits)
    extra = {"nats": score.number * data.space.size * math.log(2), "how": how}
    return replace(score, values=(score.value,), extra=extra)


def _mean_score(bits: Tensor) -> Score:
    count = len(bits)
    error = None
    if count > 1:
        error = float(bits.std() / math.sqrt(count))
    return Score(float(bits.mean()), error, error, n=count)


def coded_bits(
    method: Method,
    data: Dataset,
    n: int | None = None,
    *,
    codes: int = CODES,
    seed: int = 0,
    batch: int = 32,
) -> Score:
    """Estimate bits per dimension by importance sampling, log mean_k p(x, z_k) / q(z_k | x).

    More latents give a tighter bound. Binary values, and levels under a mixture of logistics, have
    probabilities. Under a Gaussian, images are dequantised uniformly, so that the density bounds
    the probability of levels.

    Args:
        n: Number of held-out examples; None for all, at most 1,000.

    Returns:
        As `bits`.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), section 5: 5,000 latents per example.
    """
    assert isinstance(method, HasImportanceWeights)
    count = n or min(len(data.held_out), EXAMPLES)
    space = method.space
    conditions = method.space.conditions
    device = next(method.parameters()).device
    discrete = data.space.levels is not None
    parts = []
    for part in blocks(count, batch):
        x = data.held_out.data_units(part).to(device)
        start = seed + part.start
        if discrete and not method.discrete:
            x = dequantise(x, seed=start)
        condition = data.held_out.condition(conditions, part, device)
        draws = ExampleDraws(start, len(x), "codes", device)
        u = space.to_model(x)
        weights = []
        left = codes
        while left:
            few = min(left, max(1, WEIGHED // len(x)))
            with torch.no_grad():
                weights.append(method.log_weights(u, few, draws, condition).double().cpu())
            left -= few
        nats = importance_bound(torch.cat(weights, 1))
        if method.discrete:
            parts.append(-nats / (space.size * math.log(2)))
        else:
            parts.append(bits_per_dim(nats + space.log_det, space))
    how = f"importance sampling, {codes:,} latents per example"
    return _score(torch.cat(parts), data, how, conditions)


def classification_accuracy(x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> float:
    """Compute the accuracy on held-out examples of a classifier trained only on samples.

    Args:
        x: Samples in data units, (n, *shape); images are rounded.
        labels: Requested class of each sample, int64 (n,).

    References:
        Ravuri and Vinyals, Classification accuracy score for conditional generative models, 2019,
        arXiv:1905.10887.
    """
    check_labelled(data)
    return accuracy(train_classifier(_taught(x, labels, data)), data.space, data.held_out)


def _taught(x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> Dataset:
    examples = quantised(x, data.space)
    levels = data.space.levels
    if levels is None:
        stored = examples.numpy()
    else:
        stored = (examples * (levels - 1)).round().to(torch.uint8).numpy()
    return replace(data, train=Split(stored, np.asarray(labels, np.int64)))


def accuracy_errors(
    value: float, x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset
) -> Errors | None:
    """Compute the standard error of a classification accuracy score.

    Held-out examples are independent given the classifier, so their part is the error of a
    fraction. The part of the samples comes from five classifiers, each trained on a fifth of the
    samples: the variance of their accuracies, minus the contribution of held-out examples, divided
    by five.

    Returns:
        Standard errors over new samples and held-out examples, and over new held-out examples only;
        None for fewer than 50 samples.

    References:
        Scheffé, The Analysis of Variance, 1959, chapter 7: two ways, of which both are drawn.
    """
    n = len(labels)
    m = len(data.held_out)
    if n < PARTS * FEWEST:
        return None
    samples = _taught(x, labels, data)
    order = permutation(n, 0)
    answers = []
    for start in range(PARTS):
        classifier = train_classifier(samples, order[start::PARTS], seen=SEEN // PARTS)
        answers.append(named(classifier, data.space, data.held_out))
    right = np.stack(answers).astype(np.float64)
    accuracies = right.mean(1)
    together = right - right.mean(0) - accuracies[:, None] + right.mean()
    of_few = float((together**2).sum()) / ((PARTS - 1) * max(m - 1, 1)) / m
    of_samples = max(0.0, float(np.var(accuracies, ddof=1)) - of_few) / PARTS
    of_held_out = share_error(value * m, m)
    return math.hypot(of_held_out, math.sqrt(of_samples)), of_held_out


def real_accuracy(data: Dataset, n: int) -> float:
    """Compute the accuracy of a classifier trained on n real examples.

    Args:
        n: Number of training examples, at least 2, drawn by a fixed permutation.
    """
    return accuracy(
        train_classifier(data, permutation(len(data.train), 0)[:n]), data.space, data.held_out
    )


def check_labelled(data: Dataset) -> None:
    """Raise an error if the data has fewer than two classes."""
    if not labelled(data) or data.held_out.labels is None:
        raise DataError(
            f"cas needs labels of two or more classes, which {data.name} does not have."
        )


def check_bits(model: Model, data: Dataset, n: int | None) -> None:
    """Raise an error if bits per dimension cannot be computed for a model and data."""
    transport = transport_of(model)
    if transport.space.no_density:
        raise UsageError(f"bpd does not support {transport.space.no_density}")
    if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
        if isinstance(model.method, VAE) and model.method.bound.beta == 0:
            raise UsageError(
                "bpd does not support a vae trained with beta 0, whose latents have no "
                "distribution."
            )
        wanted = model.method.space.conditions
        there = data.space.conditions
        if not met(wanted, there):
            raise UsageError(
                f"bpd: this model was trained with {described(wanted)}, but {data.name} has "
                f"{described(there)}. Use data with the conditions of the model, or a model "
                "trained without them."
            )
    elif isinstance(transport, Latent) or not has_steps(transport):
        raise UsageError(
            f"bpd does not support {type(transport).__name__}, which has no likelihood. Use an "
            "iterative model of the data itself (flow, ddpm, edm, vdm), a vae or hvae, or other "
            "metrics."
        )
    if n is not None and not 1 <= whole("n", n) <= len(data.held_out):
        raise UsageError(
            f"bpd: `n` must be between 1 and {len(data.held_out)}, the number of held-out "
            f"examples, got {n}."
        )


def bits_score(model: Model, data: Dataset, n: int | None, seed: int, batch: int) -> Score:
    """Compute bits per dimension of an iterative model, a vae or an hvae."""
    if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
        return coded_bits(model.method, data, n, seed=seed)
    return bits(transport_of(model), data, n, seed=seed, batch=batch)


def check_accuracy(model: Model, data: Dataset, n: int | None) -> int:
    """Choose the number of samples for the classifier of a classification accuracy score."""
    check_labelled(data)
    if "label" not in transport_of(model).space.conditions:
        raise UsageError("cas needs a model trained with class labels, which this model is not.")
    return sample_count(data, n)


def accuracy_score(model: Model, data: Dataset, n: int | None, seed: int, batch: int) -> Score:
    """Compute the classification accuracy score of a model with labels.

    ``extra`` has the accuracy with equally many real examples as "real".
    """
    transport = transport_of(model)
    n = check_accuracy(model, data, n)
    parts = list(shared_stream(transport, n, seed=seed + REPEAT_SEEDS, batch=batch))
    examples = []
    conditions = []
    for part, condition in parts:
        assert condition is not None
        examples.append(part)
        conditions.append(condition["label"])
    x = torch.cat(examples)
    labels = torch.cat(conditions).cpu().numpy()
    value = classification_accuracy(x, labels, data)
    real = real_accuracy(data, n)
    error, shared = accuracy_errors(value, x, labels, data) or (None, None)
    ratio = None
    if real:
        ratio = value / real
    return Score(
        value, None, error, (value,), n, ratio, reference_error=shared, extra={"real": real}
    )


# Functions from model, data, n (None for the default), seed and batch size to a score. They take
# long, so they are computed only on request.
MODEL_METRICS: Mapping[str, Callable[[Model, Dataset, int | None, int, int], Score]] = {
    "bpd": bits_score,
    "cas": accuracy_score,
}


# Checks of model, data and n, before anything is computed
MODEL_CHECKS: Mapping[str, Callable[[Model, Dataset, int | None], object]] = {
    "bpd": check_bits,
    "cas": check_accuracy,
}


def ask_model(
    model: Model,
    data: Dataset,
    metrics: Sequence[str],
    n: int | None,
    seed_and_batch: tuple[int, int],
) -> Comparison:
    """Compute scores of the model itself; an empty comparison if none is requested."""
    if not metrics:
        return Comparison()
    scores = {}
    real_data_scores = {}
    for name in metrics:
        score = MODEL_METRICS[name](model, data, n, *seed_and_batch)
        scores[name] = with_interval(score, MODEL_SCORES[name])
        if "real" in score.extra:
            real_data_scores[name] = Score(score.extra["real"], n=score.n)
    compared_with = next(iter(scores.values())).n or len(data.held_out)
    guesses = []
    if "bpd" in scores:
        discrete = False
        if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
            discrete = model.method.discrete
        conditions = transport_of(model).space.conditions
        guesses.append(guess(data, compared_with, discrete=discrete, conditions=conditions))
    return Comparison(
        data=DataInfo(data.name, fingerprint=data.fingerprint),
        settings=Settings(n=compared_with),
        machine=machine(),
        metrics={name: MODEL_SCORES[name] for name in scores},
        real_data_scores=real_data_scores,
        models=(ModelResult(scores=scores),),
        guesses=tuple(filter(None, guesses)),
    )


def guess(
    data: Dataset, n: int, *, discrete: bool = False, conditions: Collection[str] = ()
) -> ModelResult | None:
    """Compute bits per dimension of a baseline.

    A uniform guess for images, one Gaussian per class for vectors.

    Returns:
        Baseline with the score "bpd"; None for tables, vectors with a singular covariance, and
        models with conditions other than labels.
    """
    if data.space.no_density:
        return None
    if data.space.levels is not None or (discrete and data.space.binary):
        levels = levels_of(data)
        return ModelResult(
            f"uniform guess over {levels} levels", scores={"bpd": Score(math.log2(levels), n=n)}
        )
    if set(conditions) - {"label"}:
        return None
    known = data if conditions else data.without_labels()
    labels = None
    if known.held_out.labels is not None:
        labels = torch.from_numpy(known.held_out.labels[:n])
    examples = known.held_out.data_units(np.arange(n))
    nats = GaussianBaseline.fit(known).log_prob(examples, labels)
    if nats is None:
        return None
    name = "one Gaussian per class" if known.space.classes else "one Gaussian"
    return ModelResult(name, scores={"bpd": _mean_score(bits_per_dim(nats, data.space))})


def levels_of(data: Dataset) -> int:
    """Return the number of levels of image values.

    Those in training examples, or 256 if held-out examples have others.
    """
    if data.space.binary:
        return 2
    used = np.zeros(256, dtype=bool)
    held = np.zeros(256, dtype=bool)
    for x, present in ((data.train.x, used), (data.held_out.x, held)):
        for part in blocks(len(x), BLOCK):
            present[np.unique(x[part])] = True
    if not (held & ~used).any():
        return max(2, int(used.sum()))
    return 256
