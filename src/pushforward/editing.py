"""Going backwards and in between with a trained model: interpolation and variations.

Between seeds, and between any two rows of noise, every model interpolates. Given data needs a `Flow`, whose solve can be run from
data to noise or begun in its midst; a one-call model first searches for the data's z (`pushforward.latents`). Images and rows are
handed over one at a time, without a leading dimension, in data units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.conditions.kind import mask_of
from pushforward.denoiser import Condition, trained
from pushforward.draws import Draws, RowDraws
from pushforward.errors import Diverged, UsageError, did_you_mean
from pushforward.interpolation import WAYS, lerp, slerp
from pushforward.transports import BATCH, Asked, Flow, Latent, Transport, check_transport, has_steps, inner_of

__all__ = [
    "WAYS",
    "Variation",
    "asked",
    "interpolate",
    "interpolate_noise",
    "interpolate_seeds",
    "iterative",
    "lerp",
    "one_row",
    "slerp",
    "variation",
    "vary",
]


def interpolate(
    flow: Transport,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: Asked = None,
    *,
    interpolation: str = "spherical",
    batch: int = BATCH,
) -> Tensor:
    """Data between two given data: both are encoded, and what lies between their noises is solved back.

    The first and the last frame are a and b as the solver's errors there and back leave them: more steps come closer.

    Args:
        flow: An iterative model under a deterministic solver.
        a: Data units, (*shape).
        b: Data units, (*shape).
        frames: How many, both ends included; at least 2.
        condition: One for all frames, such as ``{"label": 3}``; None is the unconditional model.
        way: "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Rows computed at a time.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a one-call model or a stochastic solver, which have no inverse, a labelled model without an
            unconditional branch and no label, or data of another shape or range.
        Diverged: If a frame is not finite.

    References:
        Song, Meng, Ermon, Denoising Diffusion Implicit Models (2021), section 5.3.
    """
    made = flow if isinstance(flow, Latent) else iterative(flow)
    given = made.conditions(1, asked(iterative(inner_of(flow)), condition), 0)
    ends = torch.stack([one_row(made, a), one_row(made, b)])
    z = made.encode(ends, _repeated(given, 2))
    return _along(made, z[:1], z[1:], frames, given, interpolation, batch)


def interpolate_noise(
    transport: Transport,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: Asked = None,
    *,
    interpolation: str = "spherical",
    batch: int = BATCH,
) -> Tensor:
    """Data between two rows of noise, of any transport: what `pushforward.latents.invert` and `Flow.encode` find.

    Args:
        transport: Any; an iterative one under a deterministic solver.
        a: The noise of the first frame, (*noise_shape).
        b: The noise of the last frame, (*noise_shape).
        frames: How many, both ends included; at least 2.
        condition: One for all frames; None takes the label that seed 0 draws.
        way: "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Rows computed at a time.

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
    condition: Asked = None,
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
        way: "spherical" (`slerp`) or "linear" (`lerp`).
        batch: Rows computed at a time.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a stochastic solver, whose later noise has no in-between, or a condition that cannot be.
        Diverged: If a frame is not finite.
    """
    _check_deterministic(transport)
    first, last = (transport.noise(RowDraws(seed, 1, device=transport.device)) for seed in (a, b))
    return _along(transport, first, last, frames, transport.conditions(1, condition, a), interpolation, batch)


def _check_deterministic(transport: Transport) -> None:
    check_transport(transport)
    inner = inner_of(transport)
    if has_steps(inner) and inner.solver.stochastic:
        raise UsageError(
            "A stochastic solver draws noise at every step; interpolate with Heun, DDIM or another deterministic one."
        )


def _along(
    transport: Transport, z_a: Tensor, z_b: Tensor, frames: int, given: Condition, interpolation: str, batch: int
) -> Tensor:
    if interpolation not in WAYS:
        raise UsageError(f'Unknown interpolation "{interpolation}"; known: {", ".join(WAYS)}.{did_you_mean(interpolation, WAYS)}')
    if frames < 2 or batch < 1:
        raise UsageError(f"An interpolation has at least 2 frames, and a batch at least 1 row; got {frames} and {batch}.")
    share = torch.linspace(0, 1, frames, dtype=torch.float64, device=z_a.device)
    z = WAYS[interpolation](z_a.expand(frames, *z_a.shape[1:]), z_b.expand(frames, *z_b.shape[1:]), share)
    with torch.no_grad():
        x = torch.cat([transport(part, _repeated(given, len(part))) for part in z.split(batch)])
    if not bool(x.isfinite().all()):
        raise Diverged("A frame is not finite: the weights have diverged. Use an earlier checkpoint or more steps.")
    return transport.space.to_data(x).float().cpu()


def _repeated(condition: Condition, n: int) -> Condition:
    """A condition of one row, n times."""
    return None if condition is None else {name: part.expand(n, *part.shape[1:]) for name, part in condition.items()}


def asked(flow: Flow, condition: Asked) -> Asked:
    """The condition for editing given data, as `Transport.sample` takes it.

    None is the unconditional model here: a label drawn by chance, as in sampling, would contradict the data.

    Raises:
        UsageError: For None where the model was trained with labels only.
    """
    if condition is not None or not flow.space.conditions:
        return condition
    inner = trained(flow.denoiser)
    if inner is not None and not inner.unconditional:
        raise UsageError(
            "This model was trained with labels or other conditions only (label_dropout=0): name the label of the data."
        )
    return {mask_of(name): torch.tensor(True) for name in flow.space.conditions}


def iterative(transport: Transport) -> Flow:
    """The transport as a `Flow`.

    Raises:
        UsageError: If it is none.
    """
    check_transport(transport)
    if not has_steps(transport):
        raise UsageError(
            f"A {type(transport).__name__} is no iterative model: it has no inverse and no noise levels, so it cannot edit given "
            "data. Use a diffusion or flow model, interpolate between two seeds, or search for z: pushforward.latents.invert."
        )
    return transport


def one_row(transport: Transport, x: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """One row in data units, checked and on the transport's device.

    Raises:
        UsageError: For another shape, numbers that are no floating-point ones or not finite, or beyond the data's range.
    """
    space, wanted = transport.space, shape or tuple(transport.space.shape)
    x = torch.as_tensor(x)
    if tuple(x.shape) != wanted or not x.is_floating_point():
        raise UsageError(
            f"Expected one row of floating-point numbers of shape {wanted}; got {x.dtype} of shape {tuple(x.shape)}."
        )
    if not bool(x.isfinite().all()):
        raise UsageError("The data to edit holds numbers that are not finite.")
    if space.low is not None and space.high is not None and (x.min() < min(space.low) - 1e-4 or x.max() > max(space.high) + 1e-4):
        raise UsageError(
            f"Data units run from {min(space.low):g} to {max(space.high):g} here; got values from {x.min():g} to {x.max():g}."
        )
    return x.to(transport.device)


class Variation(Transport):
    """SDEdit: given data is noised to a time within the grid, and solved back from there.

    With N steps and strength s the last round(s N) of them are run anew. Below one step, the data is noised to the share s N of
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
        made = iterative(flow)
        if not 0 < strength <= 1:
            raise UsageError(f"The strength of a variation is in (0, 1], got {strength}; 1 is a new sample.")
        self.strength, self.space, self.noise_shape = float(strength), made.space, made.noise_shape
        share = self.strength * made.steps
        steps = max(1, math.floor(share + 0.5))
        times = made.times[-steps - 1 :].copy()
        path = made.denoiser.path
        if share < 1:
            times[0] = max(path.ends[0], share * times[0])
        self.rest = Flow(made.denoiser, made.solver, steps, times.tolist())
        k = path.at(torch.tensor(float(times[0]), dtype=torch.float64))
        # the rest starts at sigma z: with z + x alpha / sigma in place of z, at alpha x + sigma z
        kept = 0.0 if self.strength == 1 else float(k.alpha / k.sigma)
        self.register_buffer("start", kept * self.space.to_model(one_row(made, x)[None]), persistent=False)

    start: Tensor

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Noise the data with z and solve back."""
        return self.rest(z + self.start.to(z), condition, draws)

    @property
    def calls(self) -> int:
        """Those of the steps that are run anew."""
        return self.rest.calls


def vary(
    flow: Transport, x: Tensor, strength: float, n: int, *, condition: Asked = None, seed: int = 0, batch: int = BATCH
) -> Tensor:
    """Variations of given data (`Variation`); variation i comes from ``seed + i`` alone.

    Args:
        flow: An iterative model under any solver.
        x: Data units, (*shape).
        strength: In (0, 1]: the share of the steps that are run anew; small is nearly x, 1 a new sample.
        n: How many.
        condition: For example ``{"label": 3}``; None is the unconditional model.
        seed: The seed of the first.
        batch: Rows computed at a time.

    Returns:
        float32 (n, *shape), data units, on the CPU.

    Raises:
        UsageError: As `Variation` and `asked`.
        Diverged: If a row is not finite.
    """
    given = asked(iterative(inner_of(flow)), condition)
    return variation(flow, x, strength, given).sample(n, given, seed=seed, batch=batch)


def variation(flow: Transport, x: Tensor, strength: float, condition: Asked = None) -> Transport:
    """The sampler of variations of given data: a `Variation`, or for a model in a latent space that of the data's code, decoded.

    Args:
        flow: An iterative model under any solver, or a `Latent` of one.
        x: Data units, (*shape).
        strength: In (0, 1].
        condition: One label, for an autoencoder that is told labels.

    Raises:
        UsageError: As `Variation`, or without a label that the autoencoder needs.
    """
    if not isinstance(flow, Latent):
        return Variation(flow, x, strength)
    given = flow.conditions(1, condition, 0) if flow.autoencoder.space.conditions else None
    return flow.on(Variation(flow.inner, flow.codes(one_row(flow, x)[None], given)[0], strength))
