"""Interpolation between noises and samples, truncation, and variations of a sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pushforward.denoisers import Condition
from pushforward.draws import Draws, ExampleDraws
from pushforward.editing.inverse_problems import check_one_call, checked_example, condition_of_data, iterative
from pushforward.errors import Diverged, UsageError, unknown
from pushforward.transports import (
    BATCH,
    Autoencoder,
    ConditionLike,
    Flow,
    Latent,
    Transport,
    check_transport,
    has_steps,
    inner_of,
)

_PARALLEL = 1e-8
"""Below this length, the rest of a direction without its part along another is noise."""


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Spherical interpolation: each example turns along the great circle from a to b, while its norm changes linearly.

    In many dimensions noise lies close to a sphere, and a straight line between two examples of it leaves that sphere. Where a
    and b are opposite, the circle is through the axis on which a is shortest. An example of zeros has no direction and takes
    the other's.

    Args:
        a: Examples (n, *shape).
        b: Examples (n, *shape).
        share: How far to go, one number or one for each example, (n,): 0 is a, 1 is b.

    Returns:
        Examples (n, *shape) of a's type.

    Raises:
        UsageError: For a and b of different shapes.

    References:
        Shoemake, Animating Rotation with Quaternion Curves (1985), section 3.3; White, Sampling Generative Networks (2016),
        section 2.1.
    """
    first, second, far = _alike(a, b, share)
    norms = first.norm(dim=1, keepdim=True), second.norm(dim=1, keepdim=True)
    u = torch.where(norms[0] > 0, first, second)
    v = torch.where(norms[1] > 0, second, first)
    u, v = F.normalize(u, dim=1), F.normalize(v, dim=1)
    angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))
    turned = torch.cos(far * angle) * u + torch.sin(far * angle) * _across(u, v)
    return (torch.lerp(*norms, far) * turned).to(a.dtype).reshape(a.shape)


def lerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Linear interpolation, (1 - share) a + share b for each example.

    Half way between two independent examples of noise in d dimensions the mean squared norm is d / 2 where noise has d: the model
    is outside its training distribution, and its output is too average. So `slerp` is the usual way.

    Args:
        a: Examples (n, *shape).
        b: Examples (n, *shape).
        share: How far to go, one number or one for each example, (n,): 0 is a, 1 is b.

    Returns:
        Examples (n, *shape) of a's type.

    Raises:
        UsageError: For a and b of different shapes.
    """
    first, second, far = _alike(a, b, share)
    return torch.lerp(first, second, far).to(a.dtype).reshape(a.shape)


INTERPOLATIONS = {"spherical": slerp, "linear": lerp}
"""How to go from one noise to another."""


def _alike(a: Tensor, b: Tensor, share: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if a.shape != b.shape:
        raise UsageError(f"Interpolation needs two ends of the same shape; got {tuple(a.shape)} and {tuple(b.shape)}.")
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
    """Data between two given data: both are encoded, and the points between their noises are solved back.

    The first and the last frame are a and b as the solver's errors there and back leave them: more steps come closer.

    Args:
        flow: An iterative model under a deterministic solver.
        a: Data units, (*shape).
        b: Data units, (*shape).
        frames: How many, both ends included; at least 2.
        condition: One for all frames, such as ``{"label": 3}``; None is the unconditional model.
        interpolation: "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Examples computed at a time.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a one-call model or a stochastic solver, which have no inverse, a labelled model without an
            unconditional branch and no label, or data of another shape or range.
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
    """Data between two examples of noise, of any transport; `pushforward.editing.invert` and `Flow.encode` find such noise.

    Args:
        transport: Any; an iterative one under a deterministic solver.
        a: The noise of the first frame, (*noise_shape).
        b: The noise of the last frame, (*noise_shape).
        frames: How many, both ends included; at least 2.
        condition: One for all frames; None takes the label that seed 0 draws.
        interpolation: "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Examples computed at a time.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a stochastic solver, noise of another shape, or a condition that cannot be.
        Diverged: If a frame is not finite.
    """
    _check_deterministic(transport)
    for z in (a, b):
        if tuple(z.shape) != tuple(transport.noise_shape):
            raise UsageError(f"The model takes noise of shape {tuple(transport.noise_shape)}; got {tuple(z.shape)}.")
    ends = a[None].to(transport.device), b[None].to(transport.device)
    return _along(transport, *ends, frames, transport.conditions(1, condition, 0), interpolation, batch)


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
    """Data between the samples of two seeds, of any transport: a GAN's and a VAE's as well.

    Args:
        transport: Any; an iterative one under a deterministic solver.
        a: The seed of the first frame, which is ``transport.sample(1, condition, seed=a)``.
        b: The seed of the last frame.
        frames: How many, both ends included; at least 2.
        condition: One for all frames; None takes the label that the first seed draws.
        interpolation: "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Examples computed at a time.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a stochastic solver, whose later noise has no in-between, or a condition that cannot be.
        Diverged: If a frame is not finite.
    """
    _check_deterministic(transport)
    first, last = (transport.noise(ExampleDraws(seed, 1, device=transport.device)) for seed in (a, b))
    return _along(transport, first, last, frames, transport.conditions(1, condition, a), interpolation, batch)


def _check_deterministic(transport: Transport) -> None:
    check_transport(transport)
    inner = inner_of(transport)
    if has_steps(inner) and inner.solver.stochastic:
        raise UsageError(
            f"The solver here is {type(inner.solver).__name__}, a stochastic one, which draws noise at every step, so that no "
            "path leads from one sample to another: choose a deterministic one, such as `solver=dpm`."
        )


def _along(
    transport: Transport, a: Tensor, b: Tensor, frames: int, condition: Condition, interpolation: str, batch: int
) -> Tensor:
    with torch.no_grad():
        parts = _line(a, b, frames, interpolation).split(batch)
        x = torch.cat([transport(part, _repeated(condition, len(part))) for part in parts])
    if not bool(x.isfinite().all()):
        raise Diverged("A frame is not finite: the weights have diverged. Use an earlier checkpoint or more steps.")
    return transport.space.to_data(x).float().cpu()


def _line(a: Tensor, b: Tensor, frames: int, interpolation: str) -> Tensor:
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", interpolation, INTERPOLATIONS)
    if frames < 2:
        raise UsageError(f"An interpolation has at least 2 frames; got {frames}.")
    share = torch.linspace(0, 1, frames, dtype=torch.float64, device=a.device)
    return INTERPOLATIONS[interpolation](a.expand(frames, *a.shape[1:]), b.expand(frames, *b.shape[1:]), share)


def _repeated(condition: Condition, n: int) -> Condition:
    return None if condition is None else {name: part.expand(n, *part.shape[1:]) for name, part in condition.items()}


def walk(
    autoencoder: Autoencoder, a: Tensor, b: Tensor, frames: int, condition: Condition = None, *, interpolation: str = "linear"
) -> Tensor:
    """Data on the way between the mean codes of two examples.

    Args:
        autoencoder: Any.
        a: Data units, (*shape).
        b: Data units, (*shape).
        frames: How many, both ends included; at least 2.
        condition: None, or one label of one example for all frames.
        interpolation: "linear" (`lerp`) or "spherical" (`slerp`).

    Returns:
        Data units, float32 (frames, *shape); the ends are the examples' reconstructions.

    Raises:
        UsageError: For fewer than 2 frames, or an unknown way.
    """
    space, device = autoencoder.space, autoencoder.device
    given = None if condition is None else {name: value.to(device) for name, value in condition.items()}
    with torch.no_grad():
        codes = autoencoder.encode(space.to_model(torch.stack([a, b]).to(device)), _repeated(given, 2))
        line = _line(codes[:1], codes[1:], frames, interpolation)
        return space.to_data(autoencoder.decode(line, _repeated(given, frames))).float().cpu()


def truncate(z: Tensor, limit: float) -> Tensor:
    """Standard normal numbers moved into [-limit, limit], each to the same quantile of the truncated normal distribution.

    With the normal distribution function F, every number becomes F^-1(F(-limit) + (F(limit) - F(-limit)) F(z)): monotone and odd
    in z, and z itself as the limit grows. The result has the distribution that drawing again until all numbers are within the
    limit gives (Brock et al.), but it follows z continuously, so that one seed gives related samples at every limit.

    Args:
        z: Standard normal, any shape.
        limit: Above 0.

    Returns:
        z's shape and type.

    Raises:
        UsageError: For a limit that is not above 0.

    References:
        Brock, Donahue, Simonyan, Large Scale GAN Training for High Fidelity Natural Image Synthesis (2019), section 3.1.
    """
    if not limit > 0:
        raise UsageError(f"The limit of a truncation is above 0, got {limit}; without a limit nothing is truncated.")
    # by the lower tail, where small probabilities keep their digits
    edge = math.erfc(limit / math.sqrt(2)) / 2
    tail = edge + (1 - 2 * edge) * torch.erfc(z.double().abs() / math.sqrt(2)) / 2
    return (-torch.special.ndtri(tail) * z.sign()).clamp(-limit, limit).to(z.dtype)


class Truncated(Transport):
    """A one-call model whose z is kept within a limit (`truncate`): less varied samples, and truer ones while the model bears it.

    What z gets is the distribution of training, given that all its numbers are within the limit: what remains possible keeps its
    frequencies. Shrinking z by a factor psi does not, and belongs to the output w of a mapping network, whose mean is a typical w
    (Karras et al.). Small limits shrink |z| as well, 0.5 to 0.28 sqrt(d), and few models were made to bear that; how far one
    does, `pushforward.evaluation.curves` measures.

    Args:
        inner: A one-call model: a `Map`, or a `Latent` of one.
        limit: The largest size of any number of z, above 0; from about 4 on it changes next to nothing.

    Raises:
        UsageError: For an iterative model, or a limit that is not above 0.

    References:
        Brock, Donahue, Simonyan (BigGAN, 2019), section 3.1; Karras, Laine, Aila (StyleGAN, 2019), appendix B, for psi.
    """

    def __init__(self, inner: Transport, limit: float) -> None:
        super().__init__()
        check_one_call(inner, "Truncation", "Guidance makes its samples truer and less varied.")
        truncate(torch.zeros(1), limit)
        self.inner, self.limit = inner, float(limit)
        self.space, self.noise_shape = inner.space, inner.noise_shape

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.inner(truncate(z, self.limit), condition, draws)

    def noise(self, draws: Draws) -> Tensor:
        return self.inner.noise(draws)

    @property
    def calls(self) -> int:
        return self.inner.calls


class Variation(Transport):
    """SDEdit: given data is noised to a time within the grid, and solved back from there.

    With N steps and strength s the last round(s N) of them are run again. Below one step, the data is noised to the share s N of
    the last step's time, so that strength 0 is the limit in which nothing changes. At strength 1 the data is not looked at: what
    comes out is what `Flow.sample` draws with the same seeds.

    Args:
        flow: An iterative model under any solver.
        x: Data units, (*shape).
        strength: s, in (0, 1].

    Raises:
        UsageError: For a one-call model, a strength that is none, or data of another shape or range.

    References:
        Meng et al., SDEdit (2022), algorithm 1.
    """

    def __init__(self, flow: Transport, x: Tensor, strength: float) -> None:
        super().__init__()
        model = iterative(flow)
        if not 0 < strength <= 1:
            raise UsageError(f"The strength of a variation is in (0, 1], got {strength}; 1 is a new sample.")
        self.strength, self.space, self.noise_shape = float(strength), model.space, model.noise_shape
        share = self.strength * model.steps
        steps = max(1, math.floor(share + 0.5))
        times = model.times[-steps - 1 :].copy()
        path = model.denoiser.path
        if share < 1:
            times[0] = max(path.ends[0], share * times[0])
        self.rest = Flow(model.denoiser, model.solver, steps, times.tolist())
        k = path.at(torch.tensor(float(times[0]), dtype=torch.float64))
        # the rest starts at sigma z: with z + x alpha / sigma in place of z, at alpha x + sigma z
        signal = 0.0 if self.strength == 1 else float(k.alpha / k.sigma)
        self.register_buffer("start", signal * self.space.to_model(checked_example(model, x)[None]), persistent=False)

    start: Tensor

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.rest(z + self.start.to(z), condition, draws)

    @property
    def calls(self) -> int:
        return self.rest.calls


def vary(
    flow: Transport, x: Tensor, strength: float, n: int, *, condition: ConditionLike = None, seed: int = 0, batch: int = BATCH
) -> Tensor:
    """Variations of given data (`Variation`); variation i comes from ``seed + i`` alone.

    Args:
        flow: An iterative model under any solver.
        x: Data units, (*shape).
        strength: In (0, 1]: the share of the steps that are run again; small is nearly x, 1 a new sample.
        n: How many.
        condition: For example ``{"label": 3}``; None is the unconditional model.
        seed: The seed of the first.
        batch: Examples computed at a time.

    Returns:
        float32 (n, *shape), data units, on the CPU.

    Raises:
        UsageError: As `Variation` and `condition_of_data`.
        Diverged: If a sample is not finite.
    """
    given = condition_of_data(iterative(inner_of(flow)), condition)
    return variation(flow, x, strength, given).sample(n, given, seed=seed, batch=batch)


def variation(flow: Transport, x: Tensor, strength: float, condition: ConditionLike = None) -> Transport:
    """The sampler of variations of given data: a `Variation`, or for a model in a latent space that of the data's code, decoded.

    Args:
        flow: An iterative model under any solver, or a `Latent` of one.
        x: Data units, (*shape).
        strength: In (0, 1].
        condition: One label, for an autoencoder that receives labels.

    Raises:
        UsageError: As `Variation`, or without a label that the autoencoder needs.
    """
    if not isinstance(flow, Latent):
        return Variation(flow, x, strength)
    given = flow.conditions(1, condition, 0) if flow.autoencoder.space.conditions else None
    return flow.on(Variation(flow.inner, flow.codes(checked_example(flow, x)[None], given)[0], strength))


class Nearby(Transport):
    """Samples around one z of a one-call model: those of sqrt(1 - s^2) z + s n, with n standard normal.

    Were z a draw like any other, so would be what comes out, at every s. At strength 1 z has no effect: the result is the sample
    that the model itself draws with the same seeds. A decoder returns its means, without the noise of its likelihood.

    Args:
        inner: A one-call model: a `Map`, or a `Latent` of one.
        z: The middle, (*noise_shape), such as an `Inversion` holds.
        strength: s, in (0, 1]: small is nearly z, 1 a new sample.

    Raises:
        UsageError: For an iterative model, z of another shape, or a strength that is none.
    """

    z: Tensor

    def __init__(self, inner: Transport, z: Tensor, strength: float) -> None:
        super().__init__()
        check_one_call(inner, "Varying z", "Vary its data: pushforward.editing.vary.")
        if tuple(z.shape) != tuple(inner.noise_shape):
            raise UsageError(f"Expected one z of shape {tuple(inner.noise_shape)}, got {tuple(z.shape)}.")
        if not 0 < strength <= 1:
            raise UsageError(f"The strength of a variation is in (0, 1], got {strength}; 1 is a new sample.")
        self.inner, self.strength = inner, float(strength)
        self.space, self.noise_shape = inner.space, inner.noise_shape
        self.register_buffer("z", z[None].to(inner.device), persistent=False)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.inner(math.sqrt(1 - self.strength**2) * self.z.to(z) + self.strength * z, condition)

    @property
    def calls(self) -> int:
        return self.inner.calls
