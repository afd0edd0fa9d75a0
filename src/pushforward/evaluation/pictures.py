"""Arrays for pictures of models: samples, nearest examples, trajectories in the plane and latent spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.conditions import Request
from pushforward.conditions.kind import met
from pushforward.data import Dataset, Split, TableSpace
from pushforward.data import load as load_data
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition, Repathed
from pushforward.editing.interpolation import INTERPOLATIONS, walk
from pushforward.errors import UsageError
from pushforward.evaluation.features import Features, quantised
from pushforward.evaluation.measurements import (
    Arithmetic,
    CodeStatistics,
    Field2D,
    LatentPictures,
    LatentStatistics,
    Map2D,
    NearestImages,
    Pictures,
    Reconstruction,
)
from pushforward.evaluation.model_metrics import TRACED, trace, trace_from
from pushforward.evaluation.models import SHOWN, Given, history_of
from pushforward.evaluation.scores import Raw
from pushforward.methods.likelihoods import active_units, divergences, explained
from pushforward.methods.method import HasAutoencoder
from pushforward.metrics.image_quality import psnr, ssim
from pushforward.metrics.memorisation import near_copies
from pushforward.paths import Linear
from pushforward.pictures import limits_of, square
from pushforward.training import Run
from pushforward.transports import Autoencoder, Flow, Latent, Map, Transport, has_levels, has_steps
from pushforward.transports.redrawing import unmet_kept

BLOCK = 1024  # Training examples that are compared at a time
FRAMES = 24  # Moments of a formation
STEPS = 32  # Steps of a formation and of a trajectory
CELLS = 22  # Trajectories start at the middles of so many cells along each side
ARROWS = 15  # Velocities along each side
MOMENTS = 13  # Times at which velocities are taken
NOISE = 2.2  # Standard deviations of noise that are shown on either side
MESH = (17, 65)  # Lines of a grid of noise along each axis, and points on a line
EDGE = 2.0  # Extent of a grid of noise, in standard deviations
FORMING = {
    False: 25,
    True: 600,
}  # Samples whose formation is drawn, and of images those whose nearest training image is
JUDGED = 200  # Held-out images that say how far from the training images an image usually is
EXAMPLES = 1000  # Held-out examples that are coded at most
PART = 250
MOST = 64  # Numbers of a code whose KL terms are listed, the largest first
CERTAIN = (
    -30.0
)  # Log-variances below this are of codes that have none: a plain autoencoder's, or quantised ones
STRIP = 10  # Images in a strip of reconstructions, and frames of a walk


@dataclass(frozen=True)
class Nearest:
    """Samples and their nearest training examples.

    Args:
        x: Rounded samples in data units, (n, *shape).
        examples: Indices of the nearest training examples, int64 (n, k), nearest first.
        distances: Euclidean distances in standard deviations of the data, float64 (n, k).
        copies: Whether each sample is a near-copy, whose distance is at most the threshold, bool (n,).
        threshold: A quarter of the median distance from held-out examples to their nearest training examples;
            0 if more than half of the held-out examples are copies of training examples.
    """

    x: Tensor
    examples: np.ndarray
    distances: np.ndarray
    copies: np.ndarray
    threshold: float


def nearest(x: Tensor, data: Dataset, k: int = 1) -> Nearest:
    """Find the nearest training examples of samples, with the distance that evaluations use for near-copies.

    Args:
        x: Samples in data units, (n, *shape), n at least 1.
        data: Data set that the model was trained on.
        k: Number of training examples per sample; equally near ones are in the order of the data.

    Raises:
        Diverged: If samples are not finite.
    """
    samples = quantised(x, data.space)
    raw = Raw(data)
    points = raw.of(samples, data.space.values(x) if isinstance(data.space, TableSpace) else None)
    copies, threshold = near_copies(
        points, raw.training, raw.at(data.held_out, slice(None)), raw.scale
    )
    examples, distances = nearest_examples(points, raw, k)
    return Nearest(samples, examples, distances, copies, threshold)


def nearest_examples(points: np.ndarray, raw: Raw, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest training examples of each sample.

    Args:
        points: Samples as converted by ``raw``, (n, d).
        raw: Converter of the data set whose training split is searched.
        k: Number of training examples per sample.

    Returns:
        Indices and distances, (n, k), nearest first.
    """
    unit = torch.ones(points.shape[1]) if raw.scale is None else torch.from_numpy(raw.scale)
    samples = torch.from_numpy(points) / unit
    train = raw.dataset.train
    candidates = min(k + 4, len(train))  # matrix products are not exact
    squares = torch.empty(len(samples), 0)
    at = torch.empty(len(samples), 0, dtype=torch.int64)
    for start in range(0, len(train), BLOCK):
        examples = torch.from_numpy(raw.at(train, slice(start, start + BLOCK))) / unit
        squares = torch.cat([squares, examples.square().sum(1) - 2 * samples @ examples.T], 1)
        at = torch.cat([at, torch.arange(start, start + len(examples)).expand(len(samples), -1)], 1)
        squares, best = squares.topk(min(candidates, squares.shape[1]), largest=False)
        at = at.gather(1, best)
    at = at.sort(1).values
    exact = []
    for sample, where in zip(samples, at, strict=True):
        examples = torch.from_numpy(raw.at(train, where.numpy())) / unit
        exact.append(torch.linalg.vector_norm((examples - sample).double(), dim=1))
    distances, order = torch.stack(exact).sort(dim=1, stable=True)
    return at.gather(1, order)[:, :k].numpy(), distances[:, :k].numpy()


def formation_of(flow: Flow, samples: Tensor, n: int) -> list[tuple[float, np.ndarray]]:
    """Compute points at evenly spaced times on the straight path, which end with the samples at t = 0.

    Args:
        flow: Flow of points in the plane.
        samples: Samples of `Transport.sample` from seed 0 in data units, (at least n, 2).
        n: Number of points.

    Returns:
        Pairs of t and points (n, 2) in data units, from noise to data.
    """
    times, states = trace(flow, n, steps=STEPS)
    frames = []
    for t in np.linspace(1.0, 0.0, FRAMES)[
        :-1
    ].tolist():  # between the times of the solve by linear interpolation
        at = int((times >= t).sum().clamp(1, len(times) - 1))
        before = float(times[at - 1])
        after = float(times[at])
        x = torch.lerp(
            states[at - 1], states[at], min(1.0, max(0.0, (before - t) / (before - after)))
        )
        frames.append((t, flow.space.to_data(x).numpy()))
    return [*frames, (0.0, samples[:n].numpy())]


def field_of(flow: Flow, data: Dataset) -> Field2D:
    """Compute velocities and trajectories on grids in the plane, for at most three classes.

    The grids cover nearly all data, and noise up to `NOISE` standard deviations.
    """
    space, (left, right, low, high) = (
        flow.space,
        limits_of(data.held_out.data_units(slice(0, 2000)).numpy()),
    )
    corners = (
        data.space.to_data(torch.tensor([[-NOISE, -NOISE], [NOISE, NOISE]])).numpy().astype(float)
    )
    points = np.concatenate([corners, [[left, low], [right, high]]])
    limits = square(points.min(0), points.max(0))
    straight = Repathed(flow.denoiser, Linear())
    times = np.linspace(1.0, 0.0, MOMENTS)
    first, last = straight.path.ends
    grids = []
    for side in (ARROWS, CELLS):  # the middles of cells; rows from the least to the greatest y
        xs, ys = (
            start + (np.arange(side) + 0.5) / side * (end - start)
            for start, end in (limits[:2], limits[2:])
        )
        middles = torch.from_numpy(
            np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
        )
        grids.append(space.to_model(middles).to(flow.device))
    places, starts = grids
    width = torch.as_tensor(space.scale, device=flow.device)
    velocities = []
    ways = []
    way_times = torch.zeros(0)
    names = tuple(map(str, space.classes[:3])) if "label" in space.conditions else ()
    for number, _ in enumerate(names or ("",)):
        label = number if names else None
        given = _given(flow, len(places), label)
        moved = []
        with torch.no_grad():
            for t in times.tolist():
                at = torch.full((len(places),), min(max(t, first), last)).to(places)
                moved.append(-width * straight.predict("velocity", places, at, given))
        velocities.append(torch.stack(moved).reshape(MOMENTS, ARROWS, ARROWS, 2).cpu().numpy())
        way_times, states = trace_from(flow, starts, STEPS, _given(flow, len(starts), label))
        ways.append(
            torch.stack([space.to_data(x) for x in states], dim=1)
            .reshape(CELLS, CELLS, STEPS + 1, 2)
            .numpy()
        )
    return Field2D(
        limits, times, np.stack(velocities), way_times.numpy(), np.stack(ways), names or ("",)
    )


def _given(transport: Transport, n: int, label: int | None) -> Condition:
    examples = Request(transport.space.conditions).values(
        1, {} if label is None else {"label": label}, 0
    )
    if examples is None:
        return None
    return {name: v.expand(n, *v.shape[1:]).to(transport.device) for name, v in examples.items()}


def mesh_of(transport: Transport) -> np.ndarray | None:
    """Map a grid of noise with a one-call model.

    The grid lies in the plane of the first two noise dimensions; the other dimensions are 0, and the label is
    the first one.

    Returns:
        Grid lines in data units, (lines, points, 2), half of them along each axis; None for iterative models
        and for noise with one dimension or that is not a vector.
    """
    if (
        not isinstance(transport, Map)
        or len(transport.noise_shape) != 1
        or transport.noise_shape[0] < 2
    ):
        return None
    lines, points = MESH
    across, along = np.meshgrid(
        np.linspace(-EDGE, EDGE, lines), np.linspace(-EDGE, EDGE, points), indexing="ij"
    )
    z = torch.zeros(2 * lines * points, transport.noise_shape[0])
    z[:, :2] = torch.from_numpy(
        np.concatenate([np.stack([across, along], -1), np.stack([along, across], -1)]).reshape(
            -1, 2
        )
    )
    label = 0 if "label" in transport.space.conditions else None
    with torch.no_grad():
        x = (
            transport.space.to_data(
                transport(z.to(transport.device), _given(transport, len(z), label))
            )
            .float()
            .cpu()
        )
    return x.reshape(2 * lines, points, 2).numpy()


def pictures_of(transport: Transport, run: Run | None, data: Dataset) -> Pictures:
    """Draw samples, their formation and their nearest images, and read the samples stored during training.

    Args:
        transport: Model.
        run: Run with stored samples; None for a model without a run.
        data: Data set for nearest images and for the visible part of the plane.
    """
    space = transport.space
    plane = tuple(transport.space.shape) == (2,)
    with unmet_kept():
        x = transport.sample(SHOWN[space.as_points])
    moving = transport if plane and has_levels(transport) else None
    formation = paths = None
    if moving is not None:
        formation = formation_of(moving, x, FORMING[True])
        _, states = trace(moving, 60, steps=TRACED[True][1])
        paths = torch.stack([space.to_data(state) for state in states], dim=1).numpy()
    elif has_steps(transport) or (isinstance(transport, Latent) and has_steps(transport.inner)):
        formation = [
            (t, space.drawing(space.quantise(x)))
            for t, x in transport.trajectory(FORMING[space.as_points])
        ]
    return Pictures(
        grid=space.drawing(space.quantise(x)),
        formation=formation,
        paths=paths,
        training=history_of(run) if run else [],
        nearest=_nearest(x[: FORMING[False]], data) if space.has_pixels else None,
        field=None if moving is None else field_of(moving, data),
        mesh=mesh_of(transport) if plane else None,
    )


def real_pictures(data: Dataset) -> Pictures:
    """Choose held-out examples, one for each sample that is drawn."""
    picked = permutation(len(data.held_out), 0)[: SHOWN[data.space.as_points]]
    return Pictures(data.space.drawing(data.space.quantise(data.held_out.data_units(picked))))


def given_pictures(samples: Given, data: Dataset) -> Pictures:
    """Choose existing samples, the same number as for a model, and find the nearest training images if known."""
    x = samples.x[: SHOWN[data.space.as_points]]
    if data.space.has_pixels and data.trained_on is not False:
        nearest = _nearest(x[: FORMING[False]], data)
    else:
        nearest = None
    return Pictures(data.space.drawing(data.space.quantise(x)), nearest=nearest)


def _nearest(x: torch.Tensor, data: Dataset) -> NearestImages:
    raw = Raw(data)
    examples, distances = nearest_examples(raw.of(quantised(x, data.space)), raw, 1)
    held_out = raw.at(data.held_out, permutation(len(data.held_out), 0)[:JUDGED])
    _, usual = nearest_examples(held_out, raw, 1)
    images = data.space.drawing(data.space.quantise(data.train.data_units(examples[:, 0])))
    return NearestImages(images, distances[:, 0], float(np.median(usual)))


def chosen(split: Split, n: int, names: Iterable[str]) -> tuple[Tensor, Condition]:
    """Choose at most n examples of a split in data units, always the same ones, with their conditions."""
    examples = permutation(len(split), 0)[:n]
    return split.data_units(examples), split.condition(names, examples)


def moments(
    autoencoder: Autoencoder, x: Tensor, condition: Condition = None
) -> tuple[Tensor, Tensor]:
    """Compute means and log-variances of the latents of examples in data units, float64 on the CPU, (n, c, ...)."""
    coded = _in_parts(
        autoencoder,
        x,
        condition,
        lambda examples, given: autoencoder.moments(examples, given).double(),
    )
    mean, log_variance = coded.chunk(2, dim=1)
    return mean, log_variance


def reconstructed(autoencoder: Autoencoder, x: Tensor, condition: Condition = None) -> Tensor:
    """Reconstruct examples from their mean latents, in data units, on the CPU.

    Args:
        autoencoder: Autoencoder.
        x: Examples in data units, (n, *shape).
        condition: Dict of tensors with n entries, or None.
    """

    def decoded(examples: Tensor, given: Condition) -> Tensor:
        return autoencoder.space.to_data(
            autoencoder.decode(autoencoder.encode(examples, given), given)
        ).float()

    return _in_parts(autoencoder, x, condition, decoded)


def _in_parts(
    autoencoder: Autoencoder,
    x: Tensor,
    condition: Condition,
    work: Callable[[Tensor, Condition], Tensor],
) -> Tensor:
    results = []
    for start in range(0, len(x), PART):
        part = slice(start, start + PART)
        if condition is None:
            given = None
        else:
            given = {name: value[part].to(autoencoder.device) for name, value in condition.items()}
        with torch.no_grad():
            results.append(
                work(autoencoder.space.to_model(x[part].to(autoencoder.device)), given).cpu()
            )
    return torch.cat(results)


def reconstruction(
    autoencoder: Autoencoder, data: Dataset, features: Features, n: int = EXAMPLES
) -> Reconstruction:
    """Measure the quality of the reconstructions of held-out examples.

    Args:
        autoencoder: Autoencoder on any device.
        data: Data set with held-out examples.
        features: Features for the distance in feature space.
        n: Maximum number of examples.

    Returns:
        Means over examples; ``psnr`` and ``ssim`` only for images.
    """
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    decoded = reconstructed(autoencoder, x, condition)
    difference = features(x, len(x)) - features(decoded, len(x))
    image = data.space.has_pixels
    return Reconstruction(
        n=len(x),
        explained=float(explained(data.space.to_model(x), data.space.to_model(decoded))),
        feature_distance=float((difference**2).sum(1).mean()),
        psnr=float(psnr(x.numpy(), decoded.numpy()).mean()) if image else None,
        ssim=float(ssim(x.numpy(), decoded.numpy()).mean()) if image else None,
    )


def code_statistics(
    autoencoder: Autoencoder, data: Dataset, n: int = EXAMPLES
) -> CodeStatistics | None:
    """Measure active dimensions, KL terms and the mismatch with the prior of the latents of held-out examples.

    The mismatch is KL(N(m, C) | N(0, 1)) with the mean m and the covariance C of latents drawn for all
    examples: the Gaussian part of the difference between the latents of data and the prior.

    Args:
        autoencoder: Autoencoder.
        data: Data set with held-out examples.
        n: Maximum number of examples.

    Returns:
        Statistics; None for latents without variances. If the prior is not N(0, 1), ``kl`` and ``mismatch`` are
        None and ``by_unit`` is empty. ``mismatch`` is also None for fewer than four examples per dimension.

    References:
        Burda et al. (2016), section 5.2, for active units; Hoffman and Johnson, ELBO Surgery (2016), for the gap.
    """
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    mean, log_variance = (half.flatten(1) for half in moments(autoencoder, x, condition))
    if float(log_variance.max()) < CERTAIN:
        return None
    label = None if condition is None else condition.get("label")
    units = mean.shape[1]
    active = int(active_units(mean, label))
    mismatch = None
    if not autoencoder.standard:
        return CodeStatistics(len(x), units, active)
    by_unit = divergences(mean, log_variance).mean(0)
    if len(x) >= 4 * units:
        centre = mean.mean(0)
        covariance = torch.cov(mean.T, correction=0).reshape(units, -1)
        covariance = covariance + torch.diag(log_variance.exp().mean(0))
        gap = (
            covariance.trace()
            + centre.square().sum()
            - len(centre)
            - torch.linalg.slogdet(covariance).logabsdet
        )
        mismatch = float(gap) / 2
    falling = sorted((float(f"{value:.4g}") for value in by_unit), reverse=True)[:MOST]
    return CodeStatistics(len(x), units, active, float(by_unit.sum()), mismatch, tuple(falling))


def latent_statistics(run: Run, data: Dataset, features: Features) -> LatentStatistics | None:
    """Measure the latent space of a run; None without an encoder, or if the data lacks its conditions."""
    pair = autoencoder_of(run, data)
    if pair is None:
        return None
    autoencoder, data = pair
    return LatentStatistics(
        reconstruction(autoencoder, data, features), code_statistics(autoencoder, data)
    )


def autoencoder_of(run: Run, data: Dataset) -> tuple[Autoencoder, Dataset] | None:
    """Return the autoencoder of a run and the data, with labels if needed; None without an encoder or its conditions."""
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
    again = load_data(**{name: value for name, value in origin.items() if name != "labelled"})
    if again.examples_fingerprint == data.examples_fingerprint:
        return again
    return data


def strip(autoencoder: Autoencoder, data: Dataset, n: int = 10) -> Tensor:
    """Return held-out examples and their reconstructions in data units, float32 (2, n, *shape)."""
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    return torch.stack([x, reconstructed(autoencoder, x, condition)])


def arithmetic(
    autoencoder: Autoencoder, data: Dataset, a: int, b: int, examples: int = 6, frames: int = 7
) -> Tensor:
    """Move held-out examples of one class towards another in latent space.

    The latents are latent + s (mean latent of b - mean latent of a), with s from 0 to 1.5 and means over
    training examples.

    Args:
        autoencoder: Autoencoder without labels; with labels, latents need not contain the class.
        data: Labelled data set.
        a: Label of the examples.
        b: Label to move towards.
        examples: Number of examples.
        frames: Number of images per example.

    Returns:
        Images in data units, float32 (examples, frames, *shape).

    Raises:
        UsageError: If the data has no labels, or the autoencoder receives them.
    """
    if data.held_out.labels is None or data.train.labels is None:
        raise UsageError(f"{data.name} has no labels, which latent arithmetic needs.")
    if autoencoder.space.conditions:
        raise UsageError(
            "This autoencoder receives the labels, so its latents need not contain the class. Train one without labels: "
            "`labelled=False`."
        )
    space = autoencoder.space
    where = autoencoder.device
    means = []
    for group in (a, b):
        picked = np.flatnonzero(data.train.labels == group)[:500]
        with torch.no_grad():
            means.append(
                autoencoder.encode(space.to_model(data.train.data_units(picked).to(where))).mean(0)
            )
    held = np.flatnonzero(data.held_out.labels == a)[:examples]
    with torch.no_grad():
        codes = autoencoder.encode(space.to_model(data.held_out.data_units(held).to(where)))
        share = torch.linspace(0, 1.5, frames, device=where).reshape(
            1, -1, *(1,) * (codes.dim() - 1)
        )
        moved = codes[:, None] + share * (means[1] - means[0])
        decoded: Tensor = space.to_data(autoencoder.decode(moved.flatten(0, 1))).float().cpu()
    return decoded.reshape(len(held), frames, *decoded.shape[1:])


def code_map(autoencoder: Autoencoder, data: Dataset) -> Map2D | None:
    """Project the latents of held-out examples onto a plane; None for latents with one dimension."""
    x, condition = chosen(data.held_out, 2000, data.space.conditions)
    codes = moments(autoencoder, x, condition)[0].flatten(1).numpy()
    if codes.shape[1] < 2:
        return None
    centred = codes - codes.mean(0)
    points = codes
    share = 1.0
    if codes.shape[1] > 2:
        _, size, axes = np.linalg.svd(centred, full_matrices=False)
        points = centred @ axes[:2].T
        share = float((size[:2] ** 2).sum() / max(float((size**2).sum()), 1e-300))
    labels = (condition or {}).get("label")
    return Map2D(points, None if labels is None else labels.numpy(), share)


def latent_pictures(run: Run, data: Dataset) -> LatentPictures | None:
    """Make the pictures of a latent space; None if `latent_statistics` returns None."""
    pair = autoencoder_of(run, data)
    if pair is None:
        return None
    autoencoder = pair[0]
    data = labelled(pair[1])
    points = code_map(autoencoder, data)
    if not data.space.has_pixels:
        return LatentPictures(points)
    both = strip(autoencoder, data, STRIP)
    labels = data.held_out.labels
    moved = None
    if not autoencoder.space.conditions and labels is not None and len(data.space.classes) > 1:
        counts = np.bincount(labels, minlength=len(data.space.classes))
        a, b = (
            int(label) for label in np.argsort(-counts, kind="stable")[:2]
        )  # the most frequent ones
        if counts[a] and data.train.labels is not None and b in data.train.labels:
            images = arithmetic(autoencoder, data, a, b, examples=4)
            groups = data.space.classes[a], data.space.classes[b]
            moved = Arithmetic(groups, images.shape[1], data.space.quantise(images.flatten(0, 1)))
    return LatentPictures(
        points, data.space.quantise(both.flatten(0, 1)), _walks(autoencoder, data), moved
    )


def _walks(autoencoder: Autoencoder, data: Dataset) -> dict[str, np.ndarray]:
    """From the first image of the strip to the one that differs most from it, of its class for an autoencoder with labels.

    Under "classes" the first image's code is decoded as each class: what the label says, and what the code says besides.
    """
    split = data.held_out
    space = data.space
    conditions = autoencoder.space.conditions
    # the end of a walk is one of these
    examples = permutation(len(split), 0)[:500]
    walks = {}
    if "label" in conditions and split.labels is not None:
        examples = examples[split.labels[examples] == split.labels[examples[0]]]
    if len(examples) < 2:
        return {}
    first = split.data_units(examples[:1])
    gaps = (split.data_units(examples) - first).flatten(1).square().sum(1)
    other = split.data_units(examples[[int(gaps.argmax())]])
    condition = split.condition(conditions, examples[:1])
    if condition is not None and "label" in condition:
        count = min(STRIP, len(space.classes))
        where = autoencoder.device
        given = {name: value.to(where) for name, value in condition.items()}
        with torch.no_grad():
            code = autoencoder.encode(autoencoder.space.to_model(first.to(where)), given)
            given = {name: value.expand(count, *value.shape[1:]) for name, value in given.items()}
            given["label"] = torch.arange(count, device=where)
            decoded = (
                autoencoder.space.to_data(
                    autoencoder.decode(code.expand(count, *code.shape[1:]), given)
                )
                .float()
                .cpu()
            )
        walks["classes"] = space.quantise(decoded)
    for way in INTERPOLATIONS:
        walks[way] = space.quantise(
            walk(autoencoder, first[0], other[0], STRIP, condition, interpolation=way)
        )
    return walks
