"""Metrics of the model itself: bits per dimension, classification accuracy score and trajectories.

Flows with different paths move differently through time even if their samples are the same. They
are compared on the straight path x_t = (1 - t) x + t z, to which any denoiser can be converted
(`pushforward.denoisers.Rescheduled`), in model units.

References:
    Liu et al., Flow Straight and Fast: Rectified Flow (2023), section 2.2, for the straightness S.
    Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal
    Transport (2024), for the path energy and the normalised path energy. Kingma and Gao,
    Understanding Diffusion Objectives (2023), for log-SNR as the axis on which losses of all paths
    compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.conditions.kind import ConditionKind, described, met
from pushforward.data import Dataset, Split
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition, Predictor, Rescheduled
from pushforward.denoisers.denoiser import condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.features import quantised
from pushforward.evaluation.intervals import with_interval
from pushforward.evaluation.measurements import LevelError, Trajectory
from pushforward.evaluation.results import REPEAT_SEEDS, Comparison, DataInfo, ModelResult, Settings
from pushforward.evaluation.scores import compared
from pushforward.extractors.classifier import SEEN, accuracy, labelled, named, train_classifier
from pushforward.methods import VAE, Method
from pushforward.methods.likelihoods import HasImportanceWeights, importance_bound
from pushforward.metrics import Score
from pushforward.metrics.names import MODEL_SCORES
from pushforward.metrics.uncertainty import Errors, share_error
from pushforward.paths import Linear, assign, target
from pushforward.solvers import DPM
from pushforward.training import Run
from pushforward.training.loop.machine import machine
from pushforward.training.runs.run import transport_of
from pushforward.transports import BATCH, Flow, Latent, Transport, has_levels, has_steps
from pushforward.transports.likelihood import (
    bits_per_dim,
    decoder_spread,
    dequantise,
    elbo,
    log_prob,
)
from pushforward.transports.transport import shared_stream

# Numbers of trajectories and steps, by whether samples are points
TRACED = {False: (256, 32), True: (1000, 64)}
TRACED_SECONDS = (
    4.0  # Approximate limit for the trajectories of a model, and for its losses by noise level
)
LEVELS = 13
FEW_COLUMNS = (
    16  # With more columns, the minimal transport cost cannot be estimated from so few examples
)
# The largest |log-SNR| at which losses are measured: beyond, x_t is noise or data to one part in a
# hundred
FURTHEST = 9.0
TIMES = 16
BLOCK = 1024  # examples that are read at a time
FITTED = 64  # Training examples on which the bound's decoder is fitted
CODES = 500  # Latents per example for importance sampling
# Examples whose likelihood is estimated from latents at most unless more are asked for: an example
# costs hundreds of decodings
# where an iterative model's costs 16 network calls, and beyond these the standard error is small
EXAMPLES = 1_000
# Codes that are decoded at a time: what convolutions make of more of them leaves the processor's
# cache (measured in float32: a
# quarter slower at 2,048, 3 to 5 times slower at 12,500)
WEIGHED = 512
# Of the error over new samples: the parts of them that train a classifier each, and the samples of
# a part at least
PARTS = 5
FEWEST = 10


def trace(
    flow: Flow, n: int, seed: int = 0, steps: int = 64, condition: Condition = None
) -> tuple[Tensor, Tensor]:
    """Compute trajectories on the straight path from the noise of `Transport.sample`.

    The solver and time grid of the flow are not used. All models are solved with DPM-Solver++(2M)
    at equal steps in log-SNR, so that their trajectories are comparable.

    Args:
        n: Number of trajectories, at least 1.
        steps: Number of steps, at least 1, with one network call each.
        condition: Tensors with n entries by name; None to draw labels as `Transport.sample` does.

    Returns:
        Times (steps + 1,), float64, in descending order from t_max to 0, and states (steps + 1, n,
        *shape) in model units, on the CPU.
    """
    given = flow.conditions(n, condition, seed)
    parts = []
    for start in range(0, n, BATCH):
        part = slice(start, min(start + BATCH, n))
        draws = ExampleDraws(seed + start, part.stop - start, device=flow.device)
        z = draws.normal(flow.noise_shape)
        times, states = trace_from(flow, z, steps, condition_at(given, part))
        parts.append(states)
    return times, torch.cat(parts, dim=1)


def trace_from(
    flow: Flow, z: Tensor, steps: int = 64, condition: Condition = None
) -> tuple[Tensor, Tensor]:
    """Compute the trajectories of `trace` from given noise (n, *shape) and conditions."""
    straight = Flow(Rescheduled(flow.denoiser, Linear()), DPM(order=2), steps, "log_snr")
    with torch.no_grad():
        x = z.to(flow.device) * float(straight.times[0])
        walked = (state for _, state in straight.walk(x, straight.times, condition))
        return torch.from_numpy(straight.times), torch.stack([x, *walked]).cpu()


def straightness(flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64) -> float:
    """Measure the deviation of a flow's trajectories from straight lines at constant speed.

        S = E int_0^1 |(z - x) - v(x_t, t)|^2 dt  /  E |z - x|^2

    along trajectories on the straight path, from z at t = 1 to x at t = 0. A flow with S = 0 needs
    one Euler step. Because int v dt = z - x, S is also the path energy divided by E |z - x|^2,
    minus 1.

    Args:
        steps: Number of solver steps. For Gaussian data, the error of S is below 0.004 with 64
            steps and below 0.03 with 24.

    Returns:
        Straightness, at least 0, independent of units.
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps))
    moved = torch.einsum("t,tnd->nd", shares, velocity)
    off = torch.einsum("t,tnd->", shares, (moved - velocity).square())
    return float(off / moved.square().sum())


def path_energy(
    flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64, condition: Condition = None
) -> float:
    """Compute the mean energy of trajectories, E int_0^1 |v(x_t, t)|^2 dt.

    The minimum is W2^2, the squared Wasserstein distance between noise and data (Benamou and
    Brenier). Only straight trajectories of an optimal plan reach it.

    Returns:
        Energy in squared model units, summed over the entries of an example.

    References:
        Tong et al. (2024), the path energy PE; Benamou and Brenier, A Computational Fluid Mechanics
        Solution to the Monge-Kantorovich Mass Transfer Problem (2000).
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps, condition))
    return float(torch.einsum("t,tnd->", shares, velocity.square()) / n)


def _velocities(times: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    steps = states.flatten(2).double()
    velocity = (steps[1:] - steps[:-1]) / times.diff()[:, None, None]
    shares = -torch.cat([times.new_ones(1), times[1:]]).diff()
    return velocity, shares


def transport_cost(
    flow: Flow, data: Dataset, n: int = 1_000, seed: int = 0, steps: int = 64
) -> float:
    """Compute the normalised path energy: the excess of the path energy over its minimum.

        NPE = | E int_0^1 |v(x_t, t)|^2 dt - W2^2 | / W2^2

    W2^2 is the smallest mean squared distance between the n noise examples at which trajectories
    start and n held-out examples, by exact assignment; within classes for models with labels. W2^2
    is overestimated, and the NPE of a good flow underestimated, for few examples and many columns,
    so compare only at equal n and with few columns.

    Args:
        n: Number of examples per side, at most the number of held-out examples. The time of the
            assignment grows with n^3.

    Returns:
        Normalised path energy, at least 0, independent of units.

    References:
        Tong et al. (2024), the normalised path energy NPE.
    """
    x, condition = _held_out(flow.denoiser, data, n, flow.device)
    n = len(x)
    x = x.flatten(1).cpu()
    z = ExampleDraws(seed, n).normal(flow.noise_shape).flatten(1)
    if condition is None or "label" not in condition:
        label = torch.zeros(n)
    else:
        label = condition["label"].cpu()
    least = 0.0
    for value in torch.unique(label):  # type: ignore[no-untyped-call]
        there = x[label == value]
        here = z[label == value]
        least += float((there - here[assign(there, here)]).double().square().sum()) / n
    return abs(path_energy(flow, n, seed, steps, condition) - least) / least


def loss_by_level(
    denoiser: Predictor, data: Dataset, levels: int = 13, examples: int = 1_000
) -> list[dict[str, float]]:
    """Measure the error of a denoiser on held-out examples at several noise levels.

        error(l) = E |v_model(x_t, t) - (alpha z - sigma x) / r|^2 / d    at  log(alpha^2 / sigma^2)
        = l,  r^2 = alpha^2 + sigma^2

    v depends on the path only through the log-SNR, so errors of models with different paths are
    comparable. Part of the error is unavoidable, because x_t does not determine its noise and data.
    All models use the same examples and noise.

    Args:
        levels: Number of equally spaced log-SNRs from 9 to -9, at least 2; those outside of the
            denoiser's path are omitted.
        examples: Maximum number of held-out examples, at least 2.

    Returns:
        Dicts in descending order of log-SNR with ``log_snr``; ``error``, the mean squared error per
        entry in squared model units; and ``spread``, its standard error over examples.
    """
    high, low = denoiser.path.log_snr_ends()
    device = torch.device("cpu")
    if isinstance(denoiser, nn.Module):
        device = next((tensor.device for tensor in denoiser.parameters()), device)
    x, condition = _held_out(denoiser, data, examples, device)
    losses = []
    for number, level in enumerate(np.linspace(FURTHEST, -FURTHEST, levels).tolist()):
        if not low - 1e-6 <= level <= high + 1e-6:
            continue
        z = ExampleDraws(0, len(x), f"loss at level {number}", device).normal(x.shape[1:])
        errors = []
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            given = condition_at(condition, part)
            errors.append(_level_errors(denoiser, x[part], z[part], level, given))
        error = torch.cat(errors)
        spread = float(error.std() / len(x) ** 0.5)
        losses.append({"log_snr": level, "error": float(error.mean()), "spread": spread})
    return losses


def _level_errors(
    denoiser: Predictor, x: Tensor, z: Tensor, log_snr: float, condition: Condition
) -> Tensor:
    path = denoiser.path
    levels = torch.full((len(x),), log_snr, dtype=torch.float64)
    t = path.time(levels).clamp(*path.ends).to(x)
    k = path.at(t).over(x)
    with torch.no_grad():
        estimate = denoiser.predict("v", k.alpha * x + k.sigma * z, t, condition)
    difference = (estimate - target("v", x, z, k)).double().flatten(1)
    return difference.square().mean(1).cpu()


def _held_out(
    denoiser: Predictor, data: Dataset, examples: int, device: torch.device
) -> tuple[Tensor, Condition]:
    index = permutation(len(data.held_out), 0)[:examples]
    x = denoiser.space.to_model(data.held_out.data_units(index).to(device))
    return x, data.held_out.condition(denoiser.space.conditions, index, device)


def trajectory_of(
    transport: Transport, data: Dataset, seed: int, seconds: float | None
) -> Trajectory | None:
    """Measure trajectories of an iterative model on the number of examples that the time allows.

    Args:
        seconds: Seconds per sample; None if unknown.

    Returns:
        Trajectory; None for one-call models, latent models and flows that do not start from noise.
    """
    if not has_levels(transport) or not seconds:
        return None
    most, steps = TRACED[transport.space.as_points]
    affordable = TRACED_SECONDS / (seconds / transport.calls * transport.denoiser.calls())
    n = max(16, min(most, round(affordable / steps)))
    space = transport.space
    # the least distance is found within classes
    comparable = set(space.conditions) <= {"label"}
    examples = max(16, min(1000, round(affordable / LEVELS)))
    levels = loss_by_level(transport.denoiser, data, LEVELS, examples)
    straight = straightness(transport, n, seed, steps)
    npe = None
    if comparable and space.as_points and space.size <= FEW_COLUMNS:
        npe = transport_cost(transport, data, n, seed, steps)
    return Trajectory(
        n=n,
        straightness=straight,
        npe=npe,
        loss_by_level=tuple(LevelError(**level) for level in levels),
    )


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

    def examples(split: Split, index: np.ndarray) -> tuple[Tensor, Condition]:
        return split.data_units(index).to(transport.device), split.condition(
            conditions, index, transport.device
        )

    count = min(len(held_out), 10_000) if n is None else n
    fitted = np.arange(min(FITTED, len(data.train)))
    spread = decoder_spread(transport, *examples(data.train, fitted)) if discrete else 1.0
    parts = []
    for start in range(0, count, batch):
        x, condition = examples(held_out, np.arange(start, min(start + batch, count)))
        if discrete:
            bound = elbo(transport, x, condition, times=times, spread=spread, seed=seed + start)
            parts.append(-bound / (data.space.size * math.log(2)))
        else:
            parts.append(
                bits_per_dim(log_prob(transport, x, condition, seed=seed + start), data.space)
            )
    if discrete:
        how = f"variational bound, {times} noise levels per example"
    else:
        how = "density of the probability-flow ODE"
    return _score(torch.cat(parts), data, how, conditions)


def _score(bits: Tensor, data: Dataset, how: str, conditions: Mapping[str, ConditionKind]) -> Score:
    mean = float(bits.mean())
    count = len(bits)
    error = float(bits.std() / math.sqrt(count)) if count > 1 else None
    given = []
    for name, kind in conditions.items():
        given.append("given the labels" if name == "label" else kind.describe())
    if given:
        how += f", {' and '.join(given)}"
    extra = {"nats": mean * data.space.size * math.log(2), "how": how}
    return Score(mean, error, error, (mean,), count, extra=extra)


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
        method: Method with importance weights (`HasImportanceWeights`).
        n: Number of held-out examples; None for all, at most 1,000.

    Returns:
        As `bits`.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), section 5: 5,000 latents per example.
    """
    assert isinstance(method, HasImportanceWeights)
    count = min(len(data.held_out), EXAMPLES) if n is None else n
    space = method.space
    conditions = method.space.conditions
    device = next(method.parameters()).device
    discrete = data.space.levels is not None
    parts = []
    for start in range(0, count, batch):
        part = slice(start, min(start + batch, count))
        x = data.held_out.data_units(part).to(device)
        if discrete and not method.discrete:
            x = dequantise(x, seed=seed + start)
        condition = data.held_out.condition(conditions, part, device)
        draws = ExampleDraws(seed + start, len(x), "codes", device)
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


def check_bits(model: Run | Transport, data: Dataset, n: int | None) -> None:
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
                f"{described(there)}. Use data with "
                "the conditions of the model, or a model trained without them."
            )
    elif isinstance(transport, Latent) or not has_steps(transport):
        raise UsageError(
            f"bpd does not support {type(transport).__name__}, which has no likelihood. Use an "
            "iterative model of the data "
            "itself (flow, ddpm, edm, vdm), a vae or hvae, or other metrics."
        )
    if n is not None and not 1 <= whole("n", n) <= len(data.held_out):
        raise UsageError(
            f"bpd: `n` must be between 1 and {len(data.held_out)}, the number of held-out "
            f"examples, got {n}."
        )


def bits_score(
    model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int
) -> Score:
    """Compute bits per dimension of an iterative model, a vae or an hvae."""
    if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
        return coded_bits(model.method, data, n, seed=seed)
    return bits(transport_of(model), data, n, seed=seed, batch=batch)


def check_accuracy(model: Run | Transport, data: Dataset, n: int | None) -> int:
    """Choose the number of samples for the classifier of a classification accuracy score."""
    check_labelled(data)
    if "label" not in transport_of(model).space.conditions:
        raise UsageError("cas needs a model trained with class labels, which this model is not.")
    return compared(data, n)


def accuracy_score(
    model: Run | Transport, data: Dataset, n: int | None, seed: int, batch: int
) -> Score:
    """Compute the classification accuracy score of a model with labels.

    ``extra`` has the accuracy with equally many real examples as "real".
    """
    transport = transport_of(model)
    n = check_accuracy(model, data, n)
    parts = list(shared_stream(transport, n, seed=seed + REPEAT_SEEDS, batch=batch))
    labels = (
        torch.cat([condition["label"] for _, condition in parts if condition is not None])
        .cpu()
        .numpy()
    )
    x = torch.cat([part for part, _ in parts])
    value = classification_accuracy(x, labels, data)
    real = real_accuracy(data, n)
    error, shared = accuracy_errors(value, x, labels, data) or (None, None)
    ratio = value / real if real else None
    return Score(
        value, None, error, (value,), n, ratio, reference_error=shared, extra={"real": real}
    )


# Functions from model, data, n (None for the default), seed and batch size to a score. They take
# long, so they are computed only
# on request.
MODEL_METRICS: Mapping[str, Callable[[Run | Transport, Dataset, int | None, int, int], Score]] = {
    "bpd": bits_score,
    "cas": accuracy_score,
}


# Checks of model, data and n, before anything is computed
MODEL_CHECKS: Mapping[str, Callable[[Run | Transport, Dataset, int | None], object]] = {
    "bpd": check_bits,
    "cas": check_accuracy,
}


def ask_model(
    model: Run | Transport,
    data: Dataset,
    metrics: Sequence[str],
    n: int | None,
    seed_and_batch: tuple[int, int],
) -> Comparison:
    """Compute scores of the model itself; an empty comparison if none is requested."""
    if not metrics:
        return Comparison()
    scores = {}
    floors = {}
    for name in metrics:
        score = MODEL_METRICS[name](model, data, n, *seed_and_batch)
        scores[name] = with_interval(score, MODEL_SCORES[name])
        if "real" in score.extra:
            floors[name] = Score(score.extra["real"], n=score.n)
    compared_with = next(iter(scores.values())).n or len(data.held_out)
    row = None
    if "bpd" in scores:
        method = model.method if isinstance(model, Run) else None
        discrete = isinstance(method, HasImportanceWeights) and method.discrete
        conditions = transport_of(model).space.conditions
        row = guess(data, compared_with, discrete=discrete, conditions=conditions)
    return Comparison(
        data=DataInfo(data.name, fingerprint=data.fingerprint),
        settings=Settings(n=compared_with),
        machine=machine(),
        metrics={name: MODEL_SCORES[name] for name in scores},
        floors=floors,
        models=(ModelResult(scores=scores),),
        guesses=() if row is None else (row,),
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
    bits = bits_per_dim(nats, data.space)
    error = float(bits.std() / math.sqrt(n)) if n > 1 else None
    name = "one Gaussian per class" if known.space.classes else "one Gaussian"
    return ModelResult(name, scores={"bpd": Score(float(bits.mean()), error, error, n=n)})


def levels_of(data: Dataset) -> int:
    """Return the number of levels of image values.

    Those in training examples, or 256 if held-out examples have others.
    """
    if data.space.binary:
        return 2
    used = np.zeros(256, dtype=bool)
    held = np.zeros(256, dtype=bool)
    for x, present in ((data.train.x, used), (data.held_out.x, held)):
        for start in range(0, len(x), BLOCK):
            present[np.unique(x[start : start + BLOCK])] = True
    if not (held & ~used).any():
        return max(2, int(used.sum()))
    return 256
