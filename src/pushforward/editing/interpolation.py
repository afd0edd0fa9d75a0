"""Interpolation between noise tensors, seeds and examples, and the search for the noise of an example."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pushforward.conditions import Request
from pushforward.denoisers.denoiser import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.editing.given_data import (
    Nearby,
    check_complete,
    check_one_call,
    checked_example,
    condition_of_data,
    iterative,
    variation,
)
from pushforward.errors import Diverged, UsageError, unknown
from pushforward.transports import (
    BATCH,
    Autoencoder,
    ConditionLike,
    Latent,
    Transport,
    check_transport,
    has_steps,
    inner_of,
)

_PARALLEL = (
    1e-8  # Below this length, the rest of a direction without its part along another is noise
)


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Interpolate spherically: rotate each example along the great circle from a to b, with linearly changing norm.

    In high dimensions, noise lies close to a sphere, and a straight line between two noise examples
    leaves that sphere. If a and b are opposite, the circle passes through the axis on which a is
    smallest. An example of zeros has no direction and takes the direction of the other.

    Args:
        a: Examples (n, *shape).
        b: Examples (n, *shape).
        share: Position, one number or one per example, (n,): 0 is a, 1 is b.

    Returns:
        Examples (n, *shape) with the dtype of a.

    Raises:
        UsageError: If a and b have different shapes.

    References:
        Shoemake, Animating Rotation with Quaternion Curves (1985), section 3.3; White, Sampling Generative Networks (2016),
        section 2.1.
    """
    first, second, far = _alike(a, b, share)
    norms = first.norm(dim=1, keepdim=True), second.norm(dim=1, keepdim=True)
    u = torch.where(norms[0] > 0, first, second)
    v = torch.where(norms[1] > 0, second, first)
    u = F.normalize(u, dim=1)
    v = F.normalize(v, dim=1)
    angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))
    turned = torch.cos(far * angle) * u + torch.sin(far * angle) * _across(u, v)
    return (torch.lerp(*norms, far) * turned).to(a.dtype).reshape(a.shape)


def lerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Interpolate linearly: (1 - share) a + share b for each example.

    Halfway between two independent noise examples in d dimensions, the mean squared norm is d / 2
    instead of d. The input is then outside the training distribution, and the output too average,
    so `slerp` is the default.

    Args:
        a: Examples (n, *shape).
        b: Examples (n, *shape).
        share: Position, one number or one per example, (n,): 0 is a, 1 is b.

    Returns:
        Examples (n, *shape) with the dtype of a.

    Raises:
        UsageError: If a and b have different shapes.
    """
    first, second, far = _alike(a, b, share)
    return torch.lerp(first, second, far).to(a.dtype).reshape(a.shape)


INTERPOLATIONS = {"spherical": slerp, "linear": lerp}  # How to go from one noise to another


def _alike(a: Tensor, b: Tensor, share: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if a.shape != b.shape:
        raise UsageError(
            f"Interpolation needs two ends of the same shape; got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    far = torch.as_tensor(share, dtype=torch.float64, device=a.device).reshape(-1, 1)
    return a.flatten(1).double(), b.flatten(1).double(), far


def _across(u: Tensor, v: Tensor) -> Tensor:
    """The unit direction of v's part perpendicular to u, both unit vectors; an arbitrary one where they are parallel."""
    axis = F.one_hot(u.abs().argmin(1), u.shape[1]).to(u)
    part, spare = (other - (other * u).sum(1, keepdim=True) * u for other in (v, axis))
    return F.normalize(torch.where(part.norm(dim=1, keepdim=True) > _PARALLEL, part, spare), dim=1)


def interpolate(
    flow: Transport,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: ConditionLike = None,
    *,
    interpolation: str = "spherical",
    batch: int = BATCH,
) -> Tensor:
    """Interpolate between two examples: encode both, and decode the points between their noise tensors.

    The first and the last frame are a and b up to solver errors, which fall with more steps.

    Args:
        flow: Iterative model with a deterministic solver.
        a: First example in data units, (*shape).
        b: Second example in data units, (*shape).
        frames: Number of frames including both ends, at least 2.
        condition: Conditions for all frames, such as ``{"label": 3}``; None for the unconditional
            model.
        interpolation: Kind of interpolation, "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Batch size.

    Returns:
        Frames (frames, *shape), float32, in data units, on the CPU.

    Raises:
        UsageError: If the model has one call or a stochastic solver, and so cannot be inverted, a
            label is required, or data has the wrong shape or range.
        Diverged: If a frame is not finite.

    References:
        Song, Meng, Ermon, Denoising Diffusion Implicit Models (2021), section 5.3.
    """
    model = flow if isinstance(flow, Latent) else iterative(flow)
    given = model.conditions(1, condition_of_data(iterative(inner_of(flow)), condition), 0)
    ends = torch.stack([checked_example(model, a), checked_example(model, b)])
    z = model.encode(ends, _repeated(given, 2))
    return _along(model, z[:1], z[1:], frames, given, interpolation, batch)


def interpolate_noise(
    transport: Transport,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: ConditionLike = None,
    *,
    interpolation: str = "spherical",
    batch: int = BATCH,
) -> Tensor:
    """Interpolate between two noise examples of any transport, for example from `pushforward.editing.invert` or `Flow.encode`.

    Args:
        transport: Any transport; an iterative one needs a deterministic solver.
        a: Noise of the first frame, (*noise_shape).
        b: Noise of the last frame, (*noise_shape).
        frames: Number of frames including both ends, at least 2.
        condition: Conditions for all frames; None for the label drawn by seed 0.
        interpolation: Kind of interpolation, "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Batch size.

    Returns:
        Frames (frames, *shape), float32, in data units, on the CPU.

    Raises:
        UsageError: If the solver is stochastic, or a condition is invalid.
        Diverged: If a frame is not finite.
    """
    _check_deterministic(transport)
    ends = a[None].to(transport.device), b[None].to(transport.device)
    return _along(
        transport, *ends, frames, transport.conditions(1, condition, 0), interpolation, batch
    )


def interpolate_seeds(
    transport: Transport,
    a: int,
    b: int,
    frames: int,
    condition: ConditionLike = None,
    *,
    interpolation: str = "spherical",
    batch: int = BATCH,
) -> Tensor:
    """Interpolate between the samples of two seeds, for any transport, including GANs and VAEs.

    Args:
        transport: Any transport; an iterative one needs a deterministic solver.
        a: Seed of the first frame, which is ``transport.sample(1, condition, seed=a)``.
        b: Seed of the last frame.
        frames: Number of frames including both ends, at least 2.
        condition: Conditions for all frames; None for the label drawn by the first seed.
        interpolation: Kind of interpolation, "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Batch size.

    Returns:
        Frames (frames, *shape), float32, in data units, on the CPU.

    Raises:
        UsageError: If the solver is stochastic, because its later noise cannot be interpolated, or
            a condition is invalid.
        Diverged: If a frame is not finite.
    """
    _check_deterministic(transport)
    first, last = (
        transport.noise(ExampleDraws(seed, 1, device=transport.device)) for seed in (a, b)
    )
    return _along(
        transport, first, last, frames, transport.conditions(1, condition, a), interpolation, batch
    )


def _check_deterministic(transport: Transport) -> None:
    check_transport(transport)
    inner = inner_of(transport)
    if has_steps(inner) and inner.solver.stochastic:
        raise UsageError(
            f"{type(inner.solver).__name__} is a stochastic solver, which draws noise at every step, so no path leads "
            "from one sample to another. Use a deterministic solver, such as `solver=dpm`."
        )


def _along(
    transport: Transport,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: Condition,
    interpolation: str,
    batch: int,
) -> Tensor:
    with torch.no_grad():
        parts = _line(a, b, frames, interpolation).split(batch)
        x = torch.cat([transport(part, _repeated(condition, len(part))) for part in parts])
    if not bool(x.isfinite().all()):
        raise Diverged(
            "A frame is not finite: the weights have diverged. Use an earlier checkpoint or more steps."
        )
    return transport.space.to_data(x).float().cpu()


def _line(a: Tensor, b: Tensor, frames: int, interpolation: str) -> Tensor:
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", interpolation, INTERPOLATIONS)
    if frames < 2:
        raise UsageError(f"An interpolation needs at least 2 frames; got {frames}.")
    share = torch.linspace(0, 1, frames, dtype=torch.float64, device=a.device)
    return INTERPOLATIONS[interpolation](
        a.expand(frames, *a.shape[1:]), b.expand(frames, *b.shape[1:]), share
    )


def _repeated(condition: Condition, n: int) -> Condition:
    if condition is None:
        return None
    return {name: part.expand(n, *part.shape[1:]) for name, part in condition.items()}


def walk(
    autoencoder: Autoencoder,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: Condition = None,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Interpolate between the mean latents of two examples, and decode.

    Args:
        autoencoder: Any autoencoder.
        a: First example in data units, (*shape).
        b: Second example in data units, (*shape).
        frames: Number of frames including both ends, at least 2.
        condition: None, or one label for all frames.
        interpolation: "linear" (`lerp`) or "spherical" (`slerp`).

    Returns:
        Frames (frames, *shape), float32, in data units; the ends are reconstructions of the
            examples.

    Raises:
        UsageError: If there are fewer than 2 frames, or the interpolation is unknown.
    """
    space = autoencoder.space
    device = autoencoder.device
    if condition is None:
        given = None
    else:
        given = {name: value.to(device) for name, value in condition.items()}
    with torch.no_grad():
        codes = autoencoder.encode(
            space.to_model(torch.stack([a, b]).to(device)), _repeated(given, 2)
        )
        line = _line(codes[:1], codes[1:], frames, interpolation)
        return space.to_data(autoencoder.decode(line, _repeated(given, frames))).float().cpu()


@dataclass(frozen=True)
class Search:
    """Settings of the search in `invert`.

    Args:
        steps: Number of updates; 0 returns the best random z.
        starts: Number of z that are optimised for each example.
        candidates: Number of random z from which the starts are chosen, at least ``starts``.
        lr: Initial learning rate of Adam.
        prior: Weight of the penalty towards |z| = sqrt(d); 0 for no penalty.

    Raises:
        UsageError: If a number is invalid.
    """

    steps: int = 300
    starts: int = 8
    candidates: int = 256
    lr: float = 0.1
    prior: float = 0.01

    def __post_init__(self) -> None:
        if (
            self.steps < 0
            or self.starts < 1
            or not 0 < self.lr < math.inf
            or not 0 <= self.prior < math.inf
        ):
            raise UsageError(
                f"steps and prior must be at least 0, starts at least 1, and lr above 0, all finite; got {self}."
            )


@dataclass(frozen=True)
class Inversion:
    """Result of `invert` for n examples; all tensors are on the CPU.

    Args:
        z: Noise found, (n, *noise_shape), float32.
        x: The model's samples from z, (n, *shape), in data units.
        error: Root mean squared difference between x and the data, (n,), in standard deviations of
            the data.
        first: Error of the best random z before optimisation, (n,).
        condition: Condition of each z, n values per name; None for a model without conditions.
    """

    z: Tensor
    x: Tensor
    error: Tensor
    first: Tensor
    condition: Condition


def invert(
    transport: Transport,
    x: Tensor,
    condition: ConditionLike = None,
    search: Search | None = None,
    *,
    seed: int = 0,
    batch: int = BATCH,
) -> Inversion:
    """Find the z whose samples are closest to given data.

    For each example, Adam optimises the best of many random z on the mean squared difference in
    model units plus prior (|z| / sqrt(d) - 1)^2, which keeps z close to the noise distribution. The
    learning rate falls to 0 on half a cosine. The best z over all starts and steps is returned,
    never worse than the best random z. Each example is searched independently, with the same random
    z, so its result does not depend on the others.

    Args:
        transport: One-call model: a `Map`, or a `Latent` with one.
        x: Examples in data units, (n, *shape), n at least 1.
        condition: Conditions, for example ``{"label": 3}``, or one per example. None tries labels
            with the frequencies of the training data and keeps the best.
        search: Search settings; ``Search()`` by default.
        seed: Seed of the random z, which differ for every seed, and from the noise of
            `Transport.sample`.
        batch: Batch size, at least one example per start.

    Returns:
        The z with their samples and errors.

    Raises:
        UsageError: If the model is iterative, data has the wrong shape or range, or numbers are
            invalid.
        Diverged: If the model returns no finite values.

    References:
        Zhu, Krähenbühl, Shechtman, Efros, Generative Visual Manipulation on the Natural Image Manifold (2016);
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN (2020), section 5 and appendix D.
    """
    check_one_call(transport, "The search for z", "Its method encode maps data to noise.")
    if x.dim() == 0 or len(x) == 0 or batch < 1:
        raise UsageError(
            f"Expected at least one example of shape (n, *shape), and a batch size of at least 1; got {tuple(x.shape)}, {batch}."
        )
    check_complete(transport.space.conditions, condition)
    search = search or Search()
    target = transport.space.to_model(
        torch.stack([checked_example(transport, example) for example in x])
    )
    given = None if condition is None else transport.conditions(len(x), condition, seed)
    group = max(1, batch // search.starts)
    parts = []
    for start in range(0, len(x), group):
        index = slice(start, start + group)
        part = _Part(transport, target[index], search)
        part.begin(condition_at(given, index), seed, batch)
        parts.append(part.run())
    joined = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("z", "x", "error", "first")
    }
    return Inversion(**joined, condition=_together([part.condition for part in parts]))


class _Part:
    """Examples that are searched for together, several z for each; example i has the z from i starts to (i + 1) starts - 1."""

    def __init__(self, transport: Transport, target: Tensor, search: Search) -> None:
        self.transport = transport
        self.target = target
        self.search = search
        self.starts = search.starts

    def begin(self, given: Condition, seed: int, batch: int) -> None:
        candidates = max(self.search.candidates, self.starts)
        drawn = self.transport.noise(
            ExampleDraws(0, candidates, f"project/{seed}", self.transport.device)
        )
        starts = []
        for i in range(len(self.target)):
            condition = condition_at(
                given, torch.zeros(candidates, dtype=torch.int64, device=self.target.device) + i
            )
            if condition is None:
                tried = self.transport.conditions(candidates, None, seed)
            else:
                tried = condition
            with torch.no_grad():
                errors = torch.cat(
                    [
                        self._tried(i, drawn, tried, slice(at, at + batch))
                        for at in range(0, candidates, batch)
                    ]
                )
            best = errors.nan_to_num(torch.inf).argsort(stable=True)[: self.starts]
            starts.append((drawn[best], condition_at(tried, best)))
        self.z = torch.cat([z for z, _ in starts])
        self.condition = _together([tried for _, tried in starts])

    def _tried(self, i: int, z: Tensor, tried: Condition, part: slice) -> Tensor:
        return self._error(
            self.transport(z[part], condition_at(tried, part)), self.target[i : i + 1]
        )

    def _error(self, x: Tensor, target: Tensor) -> Tensor:
        bounds = self.transport.space.bounds
        held = x if bounds is None else x.clamp(bounds[0].to(x), bounds[1].to(x))
        return (held - target).square().flatten(1).mean(1)

    def run(self) -> Inversion:
        steps = self.search.steps
        lr = self.search.lr
        z = self.z.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=lr)
        target = self.target.repeat_interleave(self.starts, 0)
        best = self.z.clone()
        least = torch.full((len(z),), torch.inf, device=z.device)
        errors = least.clone()
        first = least
        for i in range(steps + 1):
            with torch.enable_grad():
                x = self.transport(z, self.condition)
                pull = (
                    self.search.prior
                    * ((z.flatten(1).square().mean(1) + 1e-12).sqrt() - 1).square()
                )
                (slope,) = torch.autograd.grad(
                    (x - target).square().flatten(1).mean(1).sum() + pull.sum(), z
                )
            error = self._error(x.detach(), target)
            if i == 0:
                first = error.view(-1, self.starts).amin(1).repeat_interleave(self.starts)
            worth = torch.where(error <= first, error + pull.detach(), torch.inf)
            better = worth < least
            best[better], least[better], errors[better] = (
                z.detach()[better],
                worth[better],
                error[better],
            )
            optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * i / max(1, steps))) / 2
            z.grad = slope
            optimizer.step()
        return self._best(best, least, errors, first)

    def _best(self, z: Tensor, least: Tensor, errors: Tensor, first: Tensor) -> Inversion:
        if not bool(least.view(-1, self.starts).amin(1).isfinite().all()):
            raise Diverged(
                "The model returns no finite values for any z: the weights have diverged. Use an earlier checkpoint."
            )
        first_start = torch.arange(len(self.target), device=z.device) * self.starts
        at = first_start + least.view(-1, self.starts).argmin(1)
        condition = condition_at(self.condition, at)
        with torch.no_grad():
            x = self.transport.space.to_data(self.transport(z[at], condition))
        held = None if condition is None else {name: part.cpu() for name, part in condition.items()}
        return Inversion(
            z[at].cpu(), x.float().cpu(), errors[at].sqrt().cpu(), first[at].sqrt().cpu(), held
        )


def _together(conditions: list[Condition]) -> Condition:
    held = [condition for condition in conditions if condition is not None]
    if held:
        return {name: torch.cat([condition[name] for condition in held]) for name in held[0]}
    return None


Events = Callable[
    [str], None
]  # A function that is called with one line for each event of a long search


def between(
    transport: Transport,
    ends: tuple[Tensor, Tensor],
    frames: int,
    condition: ConditionLike = None,
    *,
    autoencoder: Autoencoder | None = None,
    interpolation: str = "spherical",
    batch: int = BATCH,
    events: Events = lambda line: None,
) -> Tensor:
    """Interpolate between two given examples.

    Args:
        transport: Any model; an iterative model needs a deterministic solver.
        ends: First and last example in data units, (*shape).
        frames: Number of frames including both ends, at least 2.
        condition: Label for all frames; None for the unconditional model or, for a one-call model,
            the best-fitting label.
        autoencoder: Encoder and decoder of the model, if it has them.
        interpolation: "spherical" or "linear" (`pushforward.editing.interpolation`).
        batch: Batch size.
        events: Callback with one line for each event of a search.

    Returns:
        Frames (frames, *shape), float32, in data units, on the CPU.

    Raises:
        UsageError: If the solver is stochastic, or a label is given but the autoencoder takes none.
    """
    if has_steps(inner_of(transport)):
        return interpolate(
            transport, *ends, frames, condition, interpolation=interpolation, batch=batch
        )
    if autoencoder is not None and (condition is not None or not autoencoder.space.conditions):
        if condition is not None and not autoencoder.space.conditions:
            raise UsageError(
                "Between images, this model goes through its latent space, which takes no labels. Leave out `label`."
            )
        check_complete(autoencoder.space.conditions, condition)
        if condition is None:
            given = None
        else:
            given = Request(autoencoder.space.conditions).values(1, condition, 0)
        return walk(autoencoder, *ends, frames, given, interpolation=interpolation)
    first, condition = _nearest(transport, ends[0], condition, batch, events)
    last, condition = _nearest(transport, ends[1], condition, batch, events)
    return interpolate_noise(
        transport,
        first.z[0],
        last.z[0],
        frames,
        condition,
        interpolation=interpolation,
        batch=batch,
    )


def variations(
    transport: Transport,
    x: Tensor,
    strength: float,
    condition: ConditionLike = None,
    *,
    batch: int = BATCH,
    events: Events = lambda line: None,
) -> tuple[Transport, ConditionLike]:
    """Build the sampler of variations of a given example, and its condition.

    Args:
        transport: Any model.
        x: Example in data units, (*shape).
        strength: Strength in (0, 1]: small values stay close to x, 1 gives a new sample.
        condition: Label; None for the unconditional model or, for a one-call model, the
            best-fitting label.
        batch: Batch size in a search.
        events: Callback with one line for each event of a search.

    Raises:
        UsageError: See `pushforward.editing.interpolation` and `pushforward.editing.Nearby`.
    """
    if has_steps(inner_of(transport)):
        given = edited_condition(transport, condition)
        return variation(transport, x, strength, given), given
    Nearby(
        transport, x.new_zeros(transport.noise_shape), strength
    )  # refuses a wrong strength before the search
    nearest, condition = _nearest(transport, x, condition, batch, events)
    return Nearby(transport, nearest.z[0], strength), condition


def edited_condition(transport: Transport, condition: ConditionLike) -> ConditionLike:
    """Return the condition for editing given data: for an iterative model, None is the unconditional model."""
    inner = inner_of(transport)
    if has_steps(inner):
        return condition_of_data(inner, condition)
    return condition


def _nearest(
    transport: Transport, x: Tensor, condition: ConditionLike, batch: int, events: Events
) -> tuple[Inversion, ConditionLike]:
    events("searching for the z of the closest sample ...")
    nearest = invert(transport, x[None], condition, batch=batch)
    events(
        f"the closest sample differs from the image by {float(nearest.error[0]):.3f} (RMS, in standard deviations of the data)"
    )
    if condition is None and nearest.condition is not None:
        condition = {name: value[0] for name, value in nearest.condition.items()}
        kinds = transport.space.conditions
        cells = [
            cell
            for name, values in nearest.condition.items()
            for cell in kinds[name].cells(values[:1])[0].items()
        ]
        words = ", ".join(f"{name} {value}" for name, value in cells)
        events(f"{words} fits best; choose another with `label` or `given`")
    return nearest, condition
