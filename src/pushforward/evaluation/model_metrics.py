"""Metrics of the model itself: bits per dimension, what samples teach a classifier, and how an iterative model moves.

Flows of different paths move differently through time although they can end alike. They are compared on the straight path
x_t = (1 - t) x + t z, on which any denoiser can be read (`pushforward.denoisers.Repathed`), in model units.

References:
    Liu et al., Flow Straight and Fast: Rectified Flow (2023), section 2.2, for the straightness S.
    Tong et al., Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport (2024), for the path
    energy and the normalised path energy.
    Kingma and Gao, Understanding Diffusion Objectives (2023), for log-SNR as the axis on which losses of all paths compare.
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
from pushforward.data import Dataset, Split, TableSpace
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition, Predictor, Repathed
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
from pushforward.transports.likelihood import bits_per_dim, decoder_spread, dequantise, elbo, log_prob
from pushforward.transports.transport import shared_stream

# Examples and steps of the trajectories that are measured, by whether samples are points
TRACED = {False: (256, 32), True: (1000, 64)}
TRACED_SECONDS = 4.0  # about the most that one model's trajectories, and as much again its losses by noise level, may take
LEVELS = 13
FEW_COLUMNS = 16  # vectors of more columns have no transport cost: the least cost cannot be estimated from so few examples
FURTHEST = 9.0  # The largest |log-SNR| at which losses are measured: beyond, x_t is noise or data to one part in a hundred
TIMES = 16
BLOCK = 1024  # examples that are read at a time
FITTED = 64  # Training examples on which the bound's decoder is fitted
CODES = 500  # Codes for each example, where latents estimate the likelihood
# Examples whose likelihood is estimated from latents at most unless more are asked for: an example costs hundreds of decodings
# where an iterative model's costs 16 network calls, and beyond these the standard error is small
EXAMPLES = 1_000
# Codes that are decoded at a time: what convolutions make of more of them leaves the processor's cache (measured in float32: a
# quarter slower at 2,048, 3 to 5 times slower at 12,500)
WEIGHED = 512
# Of the error over new samples: the parts of them that train a classifier each, and the samples of a part at least
PARTS, FEWEST = 5, 10


def trace(flow: Flow, n: int, seed: int = 0, steps: int = 64, condition: Condition = None) -> tuple[Tensor, Tensor]:
    """The trajectories of a flow's ODE on the straight path, from the noise that `Transport.sample` draws.

    The flow's own solver and grid play no part: its denoiser is read on the straight path and solved by DPM-Solver++(2M) at
    equal steps in log-SNR, so that trajectories of all models are measured alike.

    Args:
        flow: What moves.
        n: How many trajectories, at least 1.
        seed: Example i starts from the noise of ``seed + i``.
        steps: How many steps, at least 1; one network call each.
        condition: A tensor of n examples by name; None draws labels as `Transport.sample` does.

    Returns:
        Times (steps + 1,), float64, falling from t_max to 0, and states (steps + 1, n, *shape), model units, on the CPU.

    Raises:
        UsageError: For a condition that cannot be.
    """
    given = flow.conditions(n, condition, seed)
    parts = []
    for start in range(0, n, BATCH):
        part = slice(start, min(start + BATCH, n))
        z = ExampleDraws(seed + start, part.stop - start, device=flow.device).normal(flow.noise_shape)
        times, states = trace_from(flow, z, steps, condition_at(given, part))
        parts.append(states)
    return times, torch.cat(parts, dim=1)


def trace_from(flow: Flow, z: Tensor, steps: int = 64, condition: Condition = None) -> tuple[Tensor, Tensor]:
    """The trajectories of `trace` from given noise (n, *shape), with the conditions of its examples."""
    straight = Flow(Repathed(flow.denoiser, Linear()), DPM(order=2), steps, "log_snr")
    with torch.no_grad():
        x = z.to(flow.device) * float(straight.times[0])
        walked = (state for _, state in straight.walk(x, straight.times, condition))
        return torch.from_numpy(straight.times), torch.stack([x, *walked]).cpu()


def straightness(flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64) -> float:
    """How far the trajectories of a flow are from straight lines at constant speed.

        S = E int_0^1 |(z - x) - v(x_t, t)|^2 dt  /  E |z - x|^2

    along the flow's own trajectories on the straight path, from z at t = 1 to x at t = 0. A flow with S = 0 needs one step
    of Euler. Since int v dt = z - x, S is also the path energy over E |z - x|^2, less 1.

    Args:
        flow: What moves.
        n: Trajectories, drawn from ``seed`` on.
        seed: The seed of the first one.
        steps: Steps of the solve. Within a step v is the step's displacement over its time, and from t_max to 1 that of the
            first step. For Gaussian data 64 steps give the value to within .004, 24 to within .03.

    Returns:
        A number from 0, the same for all units.
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps))
    moved = torch.einsum("t,tnd->nd", shares, velocity)
    off = torch.einsum("t,tnd->", shares, (moved - velocity).square())
    return float(off / moved.square().sum())


def path_energy(flow: Flow, n: int = 1_000, seed: int = 0, steps: int = 64, condition: Condition = None) -> float:
    """The mean energy of a flow's trajectories on the straight path, E int_0^1 |v(x_t, t)|^2 dt.

    No flow that moves the noise onto the data has less than W2^2, the squared Wasserstein distance between the two
    (Benamou and Brenier), and only straight trajectories of an optimal plan have as little.

    Args:
        flow: What moves.
        n: Trajectories, drawn from ``seed`` on.
        seed: The seed of the first one.
        steps: Steps of the solve, as in `straightness`.
        condition: As in `trace`.

    Returns:
        Squared model units, summed over an example's entries.

    References:
        Tong et al. (2024), the path energy PE; Benamou and Brenier, A Computational Fluid Mechanics Solution to the
        Monge-Kantorovich Mass Transfer Problem (2000).
    """
    velocity, shares = _velocities(*trace(flow, n, seed, steps, condition))
    return float(torch.einsum("t,tnd->", shares, velocity.square()) / n)


def _velocities(times: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """The velocity of each step, (steps, n, d), float64, and the share of [0, 1] in which it is held, (steps,)."""
    steps = states.flatten(2).double()
    velocity = (steps[1:] - steps[:-1]) / times.diff()[:, None, None]
    shares = -torch.cat([times.new_ones(1), times[1:]]).diff()
    return velocity, shares


def transport_cost(flow: Flow, data: Dataset, n: int = 1_000, seed: int = 0, steps: int = 64) -> float:
    """The normalised path energy: how much more a flow moves than it has to.

        NPE = | E int_0^1 |v(x_t, t)|^2 dt - W2^2 | / W2^2

    W2^2 is the least mean squared distance between n examples of noise, those that the trajectories start from, and as many
    held-out examples, by exact assignment; within classes where the model is given labels, since no trajectory leaves its class.
    From finitely many examples W2^2 comes out too large, the more so the fewer they are and the more columns there are, and NPE
    of a good flow too small: compare values of equal n only, and of few columns only.

    Args:
        flow: What moves.
        data: Its held-out split is the target.
        n: Examples on either side, no more than the held-out split has. The time of an assignment grows with their third power.
        seed: The seed of the first trajectory.
        steps: Steps of the solve, as in `straightness`.

    Returns:
        A number from 0, the same for all units.

    References:
        Tong et al. (2024), the normalised path energy NPE.
    """
    x, condition = _held_out(flow.denoiser, data, n, flow.device)
    x, n = x.flatten(1).cpu(), len(x)
    z = ExampleDraws(seed, n).normal(flow.noise_shape).flatten(1)
    label = torch.zeros(n) if condition is None or "label" not in condition else condition["label"].cpu()
    least = 0.0
    for value in torch.unique(label):  # type: ignore[no-untyped-call]
        there, here = x[label == value], z[label == value]
        least += float((there - here[assign(there, here)]).double().square().sum()) / n
    return abs(path_energy(flow, n, seed, steps, condition) - least) / least


def loss_by_level(denoiser: Predictor, data: Dataset, levels: int = 13, examples: int = 1_000) -> list[dict[str, float]]:
    """The error of a denoiser on held-out examples at each of several noise levels.

        error(l) = E |v_model(x_t, t) - (alpha z - sigma x) / r|^2 / d    at  log(alpha^2 / sigma^2) = l,  r^2 = alpha^2 + sigma^2

    v is a mixture of noise and data of unit length and depends on the path only through the log-SNR, so errors of models on
    different paths compare. Part of the error no model can avoid: which noise and which data made x_t cannot be known. Examples
    and noise at a level are the same for every model.

    Args:
        denoiser: Read as v; a model of labels is given those of the data.
        data: Where held-out examples come from.
        levels: How many equally spaced log-SNRs from 9 to -9, at least 2; those that the denoiser's path does not reach are
            left out.
        examples: Held-out examples, at least 2; no more than there are are taken.

    Returns:
        By falling log-SNR, from data to noise: ``log_snr``; ``error``, the mean square of an entry's error, squared model
        units; ``spread``, its standard error over examples.
    """
    path, (high, low) = denoiser.path, denoiser.path.log_snr_ends()
    held = denoiser.parameters() if isinstance(denoiser, nn.Module) else iter(())
    device = next((tensor.device for tensor in held), torch.device("cpu"))
    x, condition = _held_out(denoiser, data, examples, device)
    losses = []
    for number, level in enumerate(np.linspace(FURTHEST, -FURTHEST, levels).tolist()):
        if not low - 1e-6 <= level <= high + 1e-6:
            continue
        z = ExampleDraws(0, len(x), f"loss at level {number}", device).normal(x.shape[1:])
        errors = []
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            t = path.time(torch.full((len(x[part]),), level, dtype=torch.float64)).clamp(*path.ends).to(x)
            k = path.at(t).over(x[part])
            with torch.no_grad():
                estimate = denoiser.predict("v", k.alpha * x[part] + k.sigma * z[part], t, condition_at(condition, part))
            errors.append((estimate - target("v", x[part], z[part], k)).double().flatten(1).square().mean(1).cpu())
        every = torch.cat(errors)
        losses.append({"log_snr": level, "error": float(every.mean()), "spread": float(every.std() / len(x) ** 0.5)})
    return losses


def _held_out(denoiser: Predictor, data: Dataset, examples: int, device: torch.device) -> tuple[Tensor, Condition]:
    index = permutation(len(data.held_out), 0)[:examples]
    x = denoiser.space.to_model(data.held_out.data_units(index).to(device))
    return x, data.held_out.condition(denoiser.space.conditions, index, device)


def trajectory_of(transport: Transport, data: Dataset, seed: int, seconds: float | None) -> Trajectory | None:
    """How an iterative model moves, on as many examples as the time allows; ``seconds`` is that of one sample.

    None for one-call models, for flows from another source than noise, which have no noise levels, and for models in a
    latent space, which move codes.
    """
    if not has_levels(transport) or not seconds:
        return None
    most, steps = TRACED[transport.space.as_points]
    affordable = TRACED_SECONDS / (seconds / transport.calls * transport.denoiser.calls())
    n = max(16, min(most, round(affordable / steps)))
    comparable = set(transport.space.conditions) <= {"label"}  # the least distance is found within classes
    few = comparable and transport.space.as_points and transport.space.size <= FEW_COLUMNS
    levels = loss_by_level(transport.denoiser, data, LEVELS, max(16, min(1000, round(affordable / LEVELS))))
    return Trajectory(
        n=n,
        straightness=straightness(transport, n, seed, steps),
        npe=transport_cost(transport, data, n, seed, steps) if few else None,
        loss_by_level=tuple(LevelError(**level) for level in levels),
    )


def bits(
    transport: Transport, data: Dataset, n: int | None = None, *, times: int = TIMES, seed: int = 0, batch: int = 256
) -> Score:
    """Bits per dimension of held-out examples, with their standard error over examples.

    Images: the variational bound (`pushforward.likelihood.elbo`), whose decoder is fitted on training examples. Vectors: minus
    the log density by the instantaneous change of variables (`log_prob`). A model of labels is asked for examples given their
    labels.

    Args:
        transport: An iterative model.
        data: The data set; its held-out examples are used.
        n: How many of them; None is all, at most 10,000.
        times: Network calls an example for the bound.
        seed: Of the draws.
        batch: Examples computed at a time.

    Returns:
        The mean with its standard error over examples, and in ``extra`` nats (mean an example) and how it was computed, in words.

    """
    held_out, conditions, discrete = data.held_out, transport.space.conditions, data.space.levels is not None
    assert has_steps(transport)
    if not met(conditions, data.space.conditions):
        conditions = {}

    def examples(split: Split, index: np.ndarray) -> tuple[Tensor, Condition]:
        return split.data_units(index).to(transport.device), split.condition(conditions, index, transport.device)

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
            parts.append(bits_per_dim(log_prob(transport, x, condition, seed=seed + start), data.space))
    how = f"variational bound, {times} noise levels an example" if discrete else "density of the probability-flow ODE"
    return _score(torch.cat(parts), data, how, conditions)


def _score(bits: Tensor, data: Dataset, how: str, conditions: Mapping[str, ConditionKind]) -> Score:
    mean, count = float(bits.mean()), len(bits)
    error = float(bits.std() / math.sqrt(count)) if count > 1 else None
    given = ["given the labels" if name == "label" else kind.describe() for name, kind in conditions.items()]
    words = f", {' and '.join(given)}" if given else ""
    extra = {"nats": mean * data.space.size * math.log(2), "how": how + words}
    return Score(mean, error, error, (mean,), count, extra=extra)


def coded_bits(
    method: Method, data: Dataset, n: int | None = None, *, codes: int = CODES, seed: int = 0, batch: int = 32
) -> Score:
    """Bits per dimension of held-out examples by importance sampling, log mean_k p(x, z_k) / q(z_k | x); more codes tighten it.

    Zeros and ones, and levels under a mixture of logistics, have probabilities. Under a Gaussian, images are moved uniformly
    within their levels, so that the density bounds the probability of the levels, and vectors have a density in their own units.

    Args:
        method: One that is `HasImportanceWeights`.
        data: The data set; its held-out examples are used.
        n: How many of them; None is all, at most 1,000.
        codes: Codes for each example.
        seed: Example i draws from ``seed + i``.
        batch: Examples that are coded at a time, and with it how many codes of each are drawn at a time.

    Returns:
        As `bits`.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), section 5: 5,000 codes an example.
    """
    assert isinstance(method, HasImportanceWeights)
    count, space, conditions = min(len(data.held_out), EXAMPLES) if n is None else n, method.space, method.space.conditions
    device, discrete = next(method.parameters()).device, data.space.levels is not None
    parts = []
    for start in range(0, count, batch):
        part = slice(start, min(start + batch, count))
        x = data.held_out.data_units(part).to(device)
        x = dequantise(x, seed=seed + start) if discrete and not method.discrete else x
        condition = data.held_out.condition(conditions, part, device)
        draws, weights, left = ExampleDraws(seed + start, len(x), "codes", device), [], codes
        while left:
            few = min(left, max(1, WEIGHED // len(x)))
            with torch.no_grad():
                weights.append(method.log_weights(space.to_model(x), few, draws, condition).double().cpu())
            left -= few
        nats = importance_bound(torch.cat(weights, 1))
        parts.append(-nats / (space.size * math.log(2)) if method.discrete else bits_per_dim(nats + space.log_det, space))
    return _score(torch.cat(parts), data, f"importance sampling, {codes:,} codes an example", conditions)


def classification_accuracy(x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> float:
    """The accuracy on held-out examples of a classifier that is trained on samples alone.

    Args:
        x: Samples in data units, (n, *shape); images are rounded as files hold them.
        labels: The class that each was asked to be, int64 (n,).
        data: Its held-out examples are the test, and its classes those of the labels.

    Raises:
        DataError: If the data has no labels, or held-out ones without any.
        Diverged: If samples are not finite.

    References:
        Ravuri and Vinyals, Classification accuracy score for conditional generative models, 2019,
        arXiv:1905.10887.
    """
    check_labelled(data)
    return accuracy(train_classifier(_taught(x, labels, data)), data.space, data.held_out)


def _taught(x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> Dataset:
    examples, levels = quantised(x, data.space), data.space.levels
    stored = examples.numpy() if levels is None else (examples * (levels - 1)).round().to(torch.uint8).numpy()
    return replace(data, train=Split(stored, np.asarray(labels, np.int64)))


def accuracy_errors(value: float, x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> Errors | None:
    """The standard error of a classification accuracy score over new samples and held-out examples, and over the latter alone.

    Held-out examples are independent given the classifier, so theirs is that of a share. That of the samples comes from
    classifiers that fifths of them train: the variance of their accuracies, less what these few held-out examples add to it, is
    that of a fifth of the samples; that of all is a fifth of it, or less, as it falls at least like 1/n.

    Args:
        value: The accuracy.
        x: As for `classification_accuracy`.
        labels: Likewise.
        data: Likewise.

    Returns:
        None for fewer than 50 samples.

    References:
        Scheffé, The Analysis of Variance, 1959, chapter 7: two ways, of which both are drawn.
    """
    n, m = len(labels), len(data.held_out)
    if n < PARTS * FEWEST:
        return None
    samples, order = _taught(x, labels, data), permutation(n, 0)
    parts = (train_classifier(samples, order[at::PARTS], seen=SEEN // PARTS) for at in range(PARTS))
    right = np.stack([named(part, data.space, data.held_out) for part in parts]).astype(np.float64)
    accuracies = right.mean(1)
    together = right - right.mean(0) - accuracies[:, None] + right.mean()
    of_few = float((together**2).sum()) / ((PARTS - 1) * max(m - 1, 1)) / m
    of_samples = max(0.0, float(np.var(accuracies, ddof=1)) - of_few) / PARTS
    of_held_out = share_error(value * m, m)
    return math.hypot(of_held_out, math.sqrt(of_samples)), of_held_out


def real_accuracy(data: Dataset, n: int) -> float:
    """The same of a classifier that n real training examples train: what perfect samples reach.

    Args:
        data: With labels.
        n: How many of the training examples, from 2; they are drawn by a fixed permutation.
    """
    return accuracy(train_classifier(data, permutation(len(data.train), 0)[:n]), data.space, data.held_out)


def check_labelled(data: Dataset) -> None:
    """Refuse data in which there is nothing to classify.

    Raises:
        DataError: Saying so.
    """
    if not labelled(data) or data.held_out.labels is None:
        raise DataError(f"cas: {data.name} has no labels of two classes or more, which a classification accuracy score needs.")


def check_bits(model: Run | Transport, data: Dataset, n: int | None) -> None:
    """Refuse bits per dimension of a model without a likelihood of such data, and of more examples than there are.

    Raises:
        UsageError: Saying what to take.
    """
    transport = transport_of(model)
    if isinstance(transport.space, TableSpace):
        raise UsageError(
            "bpd: rows of a table have no density: categories, missing values and frequent numbers have probabilities. Take "
            "metrics of tables: detection, fidelity, column_shapes, pair_trends or utility."
        )
    if isinstance(model, Run) and isinstance(model.method, HasImportanceWeights):
        if isinstance(model.method, VAE) and model.method.bound.beta == 0:
            raise UsageError("bpd: trained with beta 0 this is a plain autoencoder, whose codes have no distribution.")
        wanted, there = model.method.space.conditions, data.space.conditions
        if not met(wanted, there):
            raise UsageError(
                f"bpd: this model learned p(x | condition) with {described(wanted)}; {data.name} has {described(there)}. Take "
                "data with its labels, or a model trained without them."
            )
    elif isinstance(transport, Latent) or not has_steps(transport):
        raise UsageError(
            f"bpd: a {type(transport).__name__} gives no likelihood of data. Take an iterative model of the data itself (flow, "
            "ddpm, edm, vdm), a vae or hvae, or other metrics."
        )
    if n is not None and not 1 <= whole("n", n) <= len(data.held_out):
        raise UsageError(f"bpd: `n` must be from 1 to {len(data.held_out)}, the number of held-out examples; got {n}.")


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
    parts = list(shared_stream(transport, n, seed=seed + REPEAT_SEEDS, batch=batch))
    labels = torch.cat([condition["label"] for _, condition in parts if condition is not None]).cpu().numpy()
    x = torch.cat([part for part, _ in parts])
    value, real = classification_accuracy(x, labels, data), real_accuracy(data, n)
    error, shared = accuracy_errors(value, x, labels, data) or (None, None)
    ratio = value / real if real else None
    return Score(value, None, error, (value,), n, ratio, reference_error=shared, extra={"real": real})


# Scores of a model on n held-out examples (None: as many as the metric takes), with a seed, so many examples at a time. They
# take time, so that each is computed only where it is asked for.
MODEL_METRICS: Mapping[str, Callable[[Run | Transport, Dataset, int | None, int, int], Score]] = {
    "bpd": bits_score,
    "cas": accuracy_score,
}


# What refuses a model or data for which a metric has no meaning, or a wrong n, before anything is computed
MODEL_CHECKS: Mapping[str, Callable[[Run | Transport, Dataset, int | None], object]] = {
    "bpd": check_bits,
    "cas": check_accuracy,
}


def ask_model(
    model: Run | Transport, data: Dataset, metrics: Sequence[str], n: int | None, seed_and_batch: tuple[int, int]
) -> Comparison:
    """The scores that ask the model itself, which need no samples; a comparison without a model where no such score is wanted."""
    if not metrics:
        return Comparison()
    scores = {name: with_interval(MODEL_METRICS[name](model, data, n, *seed_and_batch), MODEL_SCORES[name]) for name in metrics}
    compared_with = next(iter(scores.values())).n or len(data.held_out)
    row = None
    if "bpd" in scores:
        method = model.method if isinstance(model, Run) else None
        discrete = isinstance(method, HasImportanceWeights) and method.discrete
        row = guess(data, compared_with, discrete=discrete, conditions=transport_of(model).space.conditions)
    return Comparison(
        data=DataInfo(data.name, fingerprint=data.fingerprint),
        settings=Settings(n=compared_with),
        machine=machine(),
        metrics={name: MODEL_SCORES[name] for name in scores},
        floors={name: Score(score.extra["real"], n=score.n) for name, score in scores.items() if "real" in score.extra},
        models=(ModelResult(scores=scores),),
        guesses=() if row is None else (row,),
    )


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
    used, held = np.zeros(256, dtype=bool), np.zeros(256, dtype=bool)
    for x, present in ((data.train.x, used), (data.held_out.x, held)):
        for start in range(0, len(x), BLOCK):
            present[np.unique(x[start : start + BLOCK])] = True
    return max(2, int(used.sum())) if not (held & ~used).any() else 256
