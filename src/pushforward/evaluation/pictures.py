"""Arrays for pictures of models: samples, nearest examples, trajectories and latent spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pushforward.conditions import Request
from pushforward.conditions.kind import met
from pushforward.data import Dataset, Split, load as load_data
from pushforward.data.core.hashes import permutation
from pushforward.data.spaces import Space
from pushforward.denoisers import Condition, Rescheduled
from pushforward.denoisers.denoiser import condition_at, condition_on
from pushforward.editing.interpolation import repeated, walk
from pushforward.evaluation.features import Features, quantised
from pushforward.evaluation.measurements import (
    CodeStatistics,
    Field2D,
    LatentPictures,
    LatentStatistics,
    Map2D,
    NearestImages,
    Pictures,
    Reconstruction,
)
from pushforward.evaluation.models import SHOWN, history_of
from pushforward.evaluation.samples import ExternalSamples
from pushforward.evaluation.trajectories import trace, trace_from
from pushforward.methods.likelihoods import active_units, divergences, explained
from pushforward.methods.method import HasAutoencoder
from pushforward.metrics.image_quality import psnr, ssim
from pushforward.metrics.memorisation import near_copies, nearest_distance, nearest_training
from pushforward.metrics.subsets import blocks, principal_axes
from pushforward.paths import Linear
from pushforward.pictures import Limits, limits_of, square
from pushforward.training import Run
from pushforward.transports import Autoencoder, Flow, Latent, Transport, has_levels, has_steps
from pushforward.transports.redrawing import unmet_kept

FRAMES = 24  # Times of a formation
STEPS = 32  # Steps of a formation and of a trajectory
CELLS = 22  # Trajectories along each side
ARROWS = 15  # Velocities along each side
MOMENTS = 13  # Times of velocities
NOISE = 2.2  # Standard deviations of noise that are visible on either side
# Samples with a formation, or with nearest training images, by whether they are points
FORMING = {False: 25, True: 600}
JUDGED = 200  # Held-out images for the usual distance from training images
EXAMPLES = 1000  # Maximum number of held-out examples that are encoded
PART = 250  # Examples that are encoded at a time
CERTAIN = -30.0  # Log-variances below this are of latents without variance
STRIP = 10  # Images in a strip of reconstructions, and frames of a walk


@dataclass(frozen=True)
class Nearest:
    """Samples (rounded), and their nearest training examples.

    Args:
        examples: Indices of the nearest training examples, int64 (n, k), nearest first.
        distances: Euclidean distances in standard deviations, float64 (n, k).
        copies: Whether each sample is a near-copy, bool (n,).
        threshold: Largest distance of a near-copy.
    """

    x: Tensor
    examples: np.ndarray
    distances: np.ndarray
    copies: np.ndarray
    threshold: float


def nearest(x: Tensor, data: Dataset, k: int = 1) -> Nearest:
    """Find the nearest training examples of samples, with the distance used for near-copies.

    Args:
        x: Samples in data units, (n, *shape), n at least 1.
        data: Data set that the model was trained on.
        k: Number of training examples per sample.

    Raises:
        Diverged: If samples are not finite.
    """
    samples = quantised(x, data.space)
    raw = data.space.encoder(data)
    points = raw.of(samples, raw.values(x))
    held_out = raw.at(data.held_out, slice(None))
    copies, threshold = near_copies(points, raw.training, held_out, raw.scale)
    examples, distances = nearest_training(points, raw.training, raw.scale, k)
    return Nearest(samples, examples, distances, copies, threshold)


def formation_of(flow: Flow, samples: Tensor, n: int) -> list[tuple[float, np.ndarray]]:
    """Compute points at evenly spaced times, which end with samples from seed 0 at t = 0.

    Returns:
        Pairs of t and points (n, 2) in data units, from noise to data.
    """
    times, states = trace(flow, n, steps=STEPS)
    frames = []
    for t in np.linspace(1.0, 0.0, FRAMES)[:-1].tolist():
        at = int((times >= t).sum().clamp(1, len(times) - 1))
        before = float(times[at - 1])
        after = float(times[at])
        progress = min(1.0, max(0.0, (before - t) / (before - after)))
        x = torch.lerp(states[at - 1], states[at], progress)
        frames.append((t, flow.space.to_data(x).numpy()))
    return [*frames, (0.0, samples[:n].numpy())]


def field_of(flow: Flow, data: Dataset) -> Field2D:
    """Compute velocities and trajectories on grids in the plane, for at most three classes."""
    space = flow.space
    left, right, low, high = limits_of(data.held_out.data_units(slice(0, 2000)).numpy())
    noise = torch.tensor([[-NOISE, -NOISE], [NOISE, NOISE]])
    corners = data.space.to_data(noise).numpy().astype(float)
    points = np.concatenate([corners, [[left, low], [right, high]]])
    limits = square(points.min(0), points.max(0))
    places = space.to_model(_cell_centres(limits, ARROWS)).to(flow.device)
    starts = space.to_model(_cell_centres(limits, CELLS)).to(flow.device)
    straight = Rescheduled(flow.denoiser, Linear())
    first, last = straight.path.ends
    times = np.linspace(1.0, 0.0, MOMENTS)
    width = torch.as_tensor(space.scale, device=flow.device)
    names: tuple[str, ...] = ("",)
    labels: tuple[int | None, ...] = (None,)
    if "label" in space.conditions:
        names = tuple(map(str, space.classes[:3]))
        labels = tuple(range(len(names)))
    velocities = []
    ways = []
    for label in labels:
        condition = _condition(flow, len(places), label)
        moved = []
        with torch.no_grad():
            for t in times.tolist():
                at = torch.full((len(places),), min(max(t, first), last)).to(places)
                moved.append(-width * straight.predict("velocity", places, at, condition))
        velocity = torch.stack(moved).reshape(MOMENTS, ARROWS, ARROWS, 2)
        velocities.append(velocity.cpu().numpy())
        condition = _condition(flow, len(starts), label)
        way_times, states = trace_from(flow, starts, STEPS, condition)
        way = torch.stack([space.to_data(x) for x in states], dim=1)
        ways.append(way.reshape(CELLS, CELLS, STEPS + 1, 2).numpy())
    return Field2D(limits, times, np.stack(velocities), way_times.numpy(), np.stack(ways), names)


def _cell_centres(limits: Limits, side: int) -> Tensor:
    left, right, low, high = limits
    shares = (np.arange(side) + 0.5) / side
    grid = np.meshgrid(left + shares * (right - left), low + shares * (high - low))
    return torch.from_numpy(np.stack(grid, axis=-1).reshape(-1, 2).astype(np.float32))


def _condition(transport: Transport, n: int, label: int | None) -> Condition:
    requested = {} if label is None else {"label": label}
    example = Request(transport.space.conditions).values(1, requested, 0)
    return condition_on(repeated(example, n), transport.device)


def pictures_of(transport: Transport, run: Run | None, data: Dataset) -> Pictures:
    """Draw samples, their formation and their nearest images, and read those of training."""
    space = transport.space
    plane = space.shape == (2,)
    with unmet_kept():
        x = transport.sample(SHOWN[space.as_points])
    pictures = Pictures(_drawable(x, space), training=history_of(run) if run else [])
    if space.has_pixels:
        pictures = replace(pictures, nearest=_nearest(x[: FORMING[False]], data))
    if plane and has_levels(transport):
        return replace(
            pictures,
            formation=formation_of(transport, x, FORMING[True]),
            field=field_of(transport, data),
        )
    if has_steps(transport) or (isinstance(transport, Latent) and has_steps(transport.inner)):
        trajectory = transport.trajectory(FORMING[space.as_points])
        formation = [(t, _drawable(x, space)) for t, x in trajectory]
        pictures = replace(pictures, formation=formation)
    return pictures


def _drawable(x: Tensor, space: Space) -> np.ndarray:
    return space.drawing(space.quantise(x))


def real_pictures(data: Dataset) -> Pictures:
    """Choose held-out examples, one for each sample that is drawn."""
    x, _ = chosen(data.held_out, SHOWN[data.space.as_points])
    return Pictures(_drawable(x, data.space))


def given_pictures(samples: ExternalSamples, data: Dataset) -> Pictures:
    """Choose existing samples, and find the nearest training images if they are known."""
    x = samples.x[: SHOWN[data.space.as_points]]
    pictures = Pictures(_drawable(x, data.space))
    if data.space.has_pixels and data.trained_on is not False:
        pictures = replace(pictures, nearest=_nearest(x[: FORMING[False]], data))
    return pictures


def _nearest(x: Tensor, data: Dataset) -> NearestImages:
    raw = data.space.encoder(data)
    points = raw.of(quantised(x, data.space))
    examples, distances = nearest_training(points, raw.training, raw.scale, 1)
    held_out = raw.at(data.held_out, permutation(len(data.held_out), 0)[:JUDGED])
    usual = nearest_distance(held_out, raw.training, raw.scale)
    images = _drawable(data.train.data_units(examples[:, 0]), data.space)
    return NearestImages(images, distances[:, 0], float(np.median(usual)))


def chosen(split: Split, n: int, names: Iterable[str] = ()) -> tuple[Tensor, Condition]:
    """Choose at most n examples of a split in data units, with their conditions."""
    examples = permutation(len(split), 0)[:n]
    return split.data_units(examples), split.condition(names, examples)


def moments(
    autoencoder: Autoencoder, x: Tensor, condition: Condition = None
) -> tuple[Tensor, Tensor]:
    """Compute means and log-variances of the latents, float64 on the CPU, (n, c, ...)."""

    def encoded(examples: Tensor, given: Condition) -> Tensor:
        return autoencoder.moments(examples, given).double()

    mean, log_variance = _in_parts(autoencoder, x, condition, encoded).chunk(2, dim=1)
    return mean, log_variance


def reconstructed(autoencoder: Autoencoder, x: Tensor, condition: Condition = None) -> Tensor:
    """Reconstruct examples (n, *shape) from their mean latents, in data units."""

    def decoded(examples: Tensor, given: Condition) -> Tensor:
        return _decoded(autoencoder, autoencoder.encode(examples, given), given)

    return _in_parts(autoencoder, x, condition, decoded)


def _decoded(autoencoder: Autoencoder, latents: Tensor, condition: Condition = None) -> Tensor:
    x = autoencoder.space.to_data(autoencoder.decode(latents, condition))
    return x.float().cpu()


def _in_parts(
    autoencoder: Autoencoder,
    x: Tensor,
    condition: Condition,
    work: Callable[[Tensor, Condition], Tensor],
) -> Tensor:
    device = autoencoder.device
    results = []
    for part in blocks(len(x), PART):
        given = condition_on(condition_at(condition, part), device)
        with torch.no_grad():
            results.append(work(autoencoder.space.to_model(x[part].to(device)), given).cpu())
    return torch.cat(results)


def reconstruction(
    autoencoder: Autoencoder, data: Dataset, features: Features, n: int = EXAMPLES
) -> Reconstruction:
    """Measure the quality of the reconstructions of at most n held-out examples."""
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    decoded = reconstructed(autoencoder, x, condition)
    gaps = features(x, len(x)) - features(decoded, len(x))
    to_model = data.space.to_model
    quality = Reconstruction(
        n=len(x),
        explained=float(explained(to_model(x), to_model(decoded))),
        feature_distance=float((gaps**2).sum(1).mean()),
    )
    if not data.space.has_pixels:
        return quality
    images = x.numpy()
    copies = decoded.numpy()
    return replace(
        quality,
        psnr=float(psnr(images, copies).mean()),
        ssim=float(ssim(images, copies).mean()),
    )


def code_statistics(
    autoencoder: Autoencoder, data: Dataset, n: int = EXAMPLES
) -> CodeStatistics | None:
    """Measure active dimensions, KL terms and the mismatch with the prior of n held-out latents.

    The mismatch is KL(N(m, C) | N(0, 1)) with the mean m and the covariance C of latents drawn for
    all examples. None for latents without variances.

    References:
        Burda et al., 2016, section 5.2, for active units.
        Hoffman and Johnson, ELBO Surgery, 2016, for the gap.
    """
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    mean, log_variance = moments(autoencoder, x, condition)
    mean = mean.flatten(1)
    log_variance = log_variance.flatten(1)
    if float(log_variance.max()) < CERTAIN:
        return None
    n, units = mean.shape
    statistics = CodeStatistics(n, units, int(active_units(mean, (condition or {}).get("label"))))
    if not autoencoder.standard:
        return statistics
    by_unit = divergences(mean, log_variance).mean(0)
    mismatch = None
    if n >= 4 * units:
        mismatch = _prior_mismatch(mean, log_variance)
    return replace(statistics, kl=float(by_unit.sum()), mismatch=mismatch)


def _prior_mismatch(mean: Tensor, log_variance: Tensor) -> float:
    """KL(N(m, C) | N(0, 1)) = (tr C + |m|^2 - d - log det C) / 2."""
    m = mean.mean(0)
    d = len(m)
    covariance = torch.cov(mean.T, correction=0).reshape(d, -1)
    covariance = covariance + torch.diag(log_variance.exp().mean(0))
    log_determinant = torch.linalg.slogdet(covariance).logabsdet
    return float(covariance.trace() + m.square().sum() - d - log_determinant) / 2


def latent_statistics(run: Run, data: Dataset, features: Features) -> LatentStatistics | None:
    """Measure the latent space of a run; None without an encoder or its conditions."""
    pair = autoencoder_of(run, data)
    if pair is None:
        return None
    autoencoder, data = pair
    quality = reconstruction(autoencoder, data, features)
    return LatentStatistics(quality, code_statistics(autoencoder, data))


def autoencoder_of(run: Run, data: Dataset) -> tuple[Autoencoder, Dataset] | None:
    """Return the autoencoder of a run and the data with its conditions."""
    if not isinstance(run.method, HasAutoencoder):
        return None
    autoencoder = run.method.autoencoder().eval()
    if autoencoder.space.classes:
        data = labelled(data)
    if met(autoencoder.space.conditions, data.space.conditions):
        return (autoencoder, data)
    return None


def labelled(data: Dataset) -> Dataset:
    """Return the data with the labels of its source, if training omitted them."""
    origin = data.origin or {}
    if data.space.classes or origin.get("labelled") is not False:
        return data
    source = {name: value for name, value in origin.items() if name != "labelled"}
    again = load_data(**source)
    if again.examples_fingerprint == data.examples_fingerprint:
        return again
    return data


def strip(autoencoder: Autoencoder, data: Dataset, n: int = 10) -> Tensor:
    """Return held-out examples and their reconstructions, float32 (2, n, *shape)."""
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    return torch.stack([x, reconstructed(autoencoder, x, condition)])


def code_map(autoencoder: Autoencoder, data: Dataset) -> Map2D | None:
    """Project held-out latents onto a plane; None for latents with one dimension."""
    x, condition = chosen(data.held_out, 2000, data.space.conditions)
    mean, _ = moments(autoencoder, x, condition)
    points = mean.flatten(1).numpy()
    if points.shape[1] < 2:
        return None
    share = 1.0
    if points.shape[1] > 2:
        centred = points - points.mean(0)
        variances, axes = principal_axes(centred, 2)
        points = centred @ axes
        share = float(variances.sum() / max(float(centred.var(0).sum()), 1e-300))
    labels = (condition or {}).get("label")
    return Map2D(points, None if labels is None else labels.numpy(), share)


def latent_pictures(run: Run, data: Dataset) -> LatentPictures | None:
    """Make the pictures of a latent space; None if `latent_statistics` returns None."""
    pair = autoencoder_of(run, data)
    if pair is None:
        return None
    autoencoder, data = pair
    data = labelled(data)
    pictures = LatentPictures(code_map(autoencoder, data))
    if not data.space.has_pixels:
        return pictures
    return replace(
        pictures,
        strip=data.space.quantise(strip(autoencoder, data, STRIP).flatten(0, 1)),
        walks=_walks(autoencoder, data),
    )


def _walks(autoencoder: Autoencoder, data: Dataset) -> dict[str, np.ndarray]:
    split = data.held_out
    space = data.space
    conditions = autoencoder.space.conditions
    examples = permutation(len(split), 0)[:500]
    if "label" in conditions and split.labels is not None:
        examples = examples[split.labels[examples] == split.labels[examples[0]]]
    if len(examples) < 2:
        return {}
    first = split.data_units(examples[:1])
    gaps = (split.data_units(examples) - first).flatten(1).square().sum(1)
    other = split.data_units(examples[[int(gaps.argmax())]])
    condition = split.condition(conditions, examples[:1])
    walks = {}
    if condition is not None and "label" in condition:
        count = min(STRIP, len(space.classes))
        device = autoencoder.device
        given = condition_on(condition, device)
        labels = {"label": torch.arange(count, device=device)}
        with torch.no_grad():
            latent = autoencoder.encode(autoencoder.space.to_model(first.to(device)), given)
            every = {**(repeated(given, count) or {}), **labels}
            decoded = _decoded(autoencoder, latent.expand(count, *latent.shape[1:]), every)
        walks["classes"] = space.quantise(decoded)
    frames = walk(autoencoder, first[0], other[0], STRIP, condition, interpolation="spherical")
    walks["spherical"] = space.quantise(frames)
    return walks
