"""Going backwards and in between with a trained model: interpolation, variations, inpainting and super-resolution.

All but the interpolation between seeds need a `Flow`, whose solve can be run from data to noise, begun in its midst, or led by an
observation. Images and rows are handed over one at a time, without a leading dimension, in data units.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.denoiser import Condition, Denoiser, Predictor, Repathed
from pushforward.draws import Draws, RowDraws
from pushforward.errors import Diverged, UsageError
from pushforward.guidance import Autoguided, Guided, Thresholded
from pushforward.predictions import check, convert
from pushforward.solvers import Ancestral, Solver
from pushforward.solvers.solver import Memory, noise_of
from pushforward.transports import BATCH, Asked, Flow, Latent, Transport

__all__ = [
    "Masked",
    "Pooled",
    "Resampled",
    "Restored",
    "Variation",
    "asked",
    "inpaint",
    "inpainting",
    "interpolate",
    "interpolate_seeds",
    "slerp",
    "super_resolution",
    "super_resolve",
    "vary",
]

ROUNDS = 5
"""How often a step is made by default where an observation leads: more rounds gain more than as many more steps (`Resampled`)."""
_PARALLEL = 1e-8
"""Below this length, what is left of a direction without its part along another says nothing."""


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Spherical interpolation: each row turns along the great circle from a to b, while its norm changes linearly.

    In many dimensions noise lies close to a sphere, and a straight line between two rows of it leaves that sphere. Where a and b
    are opposite, the circle is through the axis on which a is shortest. A row of zeros has no direction and takes the other's.

    Args:
        a: Rows (n, *shape).
        b: Rows (n, *shape).
        share: How far to go, one number or one for each row, (n,): 0 is a, 1 is b.

    Returns:
        Rows (n, *shape) of a's type.

    Raises:
        UsageError: For a and b of different shapes.

    References:
        Shoemake, Animating Rotation with Quaternion Curves (1985), section 3.3; White, Sampling Generative Networks (2016),
        section 2.1.
    """
    if a.shape != b.shape:
        raise UsageError(f"Rows can be interpolated only if they are alike; got {tuple(a.shape)} and {tuple(b.shape)}.")
    first, second = a.flatten(1).double(), b.flatten(1).double()
    far = torch.as_tensor(share, dtype=torch.float64, device=a.device).reshape(-1, 1)
    norms = first.norm(dim=1, keepdim=True), second.norm(dim=1, keepdim=True)
    u = torch.where(norms[0] > 0, first, second)
    v = torch.where(norms[1] > 0, second, first)
    u, v = F.normalize(u, dim=1), F.normalize(v, dim=1)
    angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))
    turned = torch.cos(far * angle) * u + torch.sin(far * angle) * _across(u, v)
    return (torch.lerp(*norms, far) * turned).to(a.dtype).reshape(a.shape)


def _across(u: Tensor, v: Tensor) -> Tensor:
    """The unit direction of v's part perpendicular to u, both unit rows; an arbitrary one where they are parallel."""
    axis = F.one_hot(u.abs().argmin(1), u.shape[1]).to(u)
    part, spare = (other - (other * u).sum(1, keepdim=True) * u for other in (v, axis))
    return F.normalize(torch.where(part.norm(dim=1, keepdim=True) > _PARALLEL, part, spare), dim=1)


def interpolate(flow: Transport, a: Tensor, b: Tensor, frames: int, condition: Asked = None, *, batch: int = BATCH) -> Tensor:
    """Data between two given data: both are encoded, and what lies between their noises (`slerp`) is solved back.

    The first and the last frame are a and b as the solver's errors there and back leave them: more steps come closer.

    Args:
        flow: An iterative model under a deterministic solver.
        a: Data units, (*shape).
        b: Data units, (*shape).
        frames: How many, both ends included; at least 2.
        condition: One for all frames, such as ``{"label": 3}``; None is the unconditional model.
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
    made = _flow(flow)
    given = made.conditions(1, asked(made, condition), 0)
    ends = torch.stack([_checked(made, a), _checked(made, b)])
    z = made.encode(ends, _repeated(given, 2))
    return _along(made, z[:1], z[1:], frames, given, batch)


def interpolate_seeds(
    transport: Transport, a: int, b: int, frames: int, condition: Asked = None, *, batch: int = BATCH
) -> Tensor:
    """Data between the samples of two seeds, of any transport: a GAN's and a VAE's as well.

    Args:
        transport: Any; an iterative one under a deterministic solver.
        a: The seed of the first frame, which is ``transport.sample(1, condition, seed=a)``.
        b: The seed of the last frame.
        frames: How many, both ends included; at least 2.
        condition: One for all frames; None takes the label that the first seed draws.
        batch: Rows computed at a time.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a stochastic solver, whose later noise has no in-between, or a condition that cannot be.
        Diverged: If a frame is not finite.
    """
    inner = transport.inner if isinstance(transport, Latent) else transport
    if isinstance(inner, Flow) and inner.solver.stochastic:
        raise UsageError(
            "A stochastic solver draws noise at every step; interpolate with Heun, DDIM or another deterministic one."
        )
    first, last = (RowDraws(seed, 1, device=transport.device).normal(transport.noise_shape) for seed in (a, b))
    return _along(transport, first, last, frames, transport.conditions(1, condition, a), batch)


def _along(transport: Transport, z_a: Tensor, z_b: Tensor, frames: int, given: Condition, batch: int) -> Tensor:
    if frames < 2 or batch < 1:
        raise UsageError(f"An interpolation has at least 2 frames, and a batch at least 1 row; got {frames} and {batch}.")
    share = torch.linspace(0, 1, frames, dtype=torch.float64, device=z_a.device)
    z = slerp(z_a.expand(frames, *z_a.shape[1:]), z_b.expand(frames, *z_b.shape[1:]), share)
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
    if condition is not None or not flow.space.classes:
        return condition
    denoiser: Any = flow.denoiser
    while isinstance(denoiser, Guided | Autoguided | Thresholded | Repathed | Restored):
        denoiser = denoiser.denoiser
    if isinstance(denoiser, Denoiser) and not denoiser.unconditional:
        raise UsageError("This model was trained with labels only (label_dropout=0): name the label of the data.")
    return {"null": torch.tensor(True)}


def _flow(transport: Transport) -> Flow:
    if not isinstance(transport, Flow):
        raise UsageError(
            f"A {type(transport).__name__} is no iterative model: it has no inverse and no noise levels, so it cannot edit given "
            "data. Use a diffusion or flow model, or interpolate between two seeds."
        )
    return transport


def _checked(flow: Flow, x: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """One row in data units, on the flow's device."""
    space, wanted = flow.space, shape or tuple(flow.space.shape)
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
    return x.to(flow.device)


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
        made = _flow(flow)
        if not 0 < strength <= 1:
            raise UsageError(f"The strength of a variation is in (0, 1], got {strength}; 1 is a new sample.")
        self.strength, self.space, self.noise_shape = float(strength), made.space, made.noise_shape
        share = self.strength * made.steps
        steps = max(1, math.floor(share + 0.5))
        times = _times(made)[-steps - 1 :]
        path = made.denoiser.path
        if share < 1:
            times[0] = max(path.ends[0], share * times[0])
        self.rest = Flow(made.denoiser, made.solver, steps, times.tolist())
        k = path.at(torch.tensor(float(times[0]), dtype=torch.float64))
        # the rest starts at sigma z: with z + x alpha / sigma in place of z, at alpha x + sigma z
        kept = 0.0 if self.strength == 1 else float(k.alpha / k.sigma)
        self.register_buffer("start", kept * self.space.to_model(_checked(made, x)[None]), persistent=False)

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
    return Variation(flow, x, strength).sample(n, asked(_flow(flow), condition), seed=seed, batch=batch)


class Masked(nn.Module):
    """The projection on the entries that a mask keeps, x -> mask x.

    Args:
        mask: bool, (1, *shape): True where x is kept.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, *shape) to (n, *shape)."""
        return x * self.mask


class Pooled(nn.Module):
    """The projection on images of constant blocks: every pixel becomes the mean of its block.

    It is A^+ A of average pooling A, whose pseudo-inverse A^+ repeats each pixel over its block.

    Args:
        factor: Side of a block in pixels.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) to (n, C, H, W); H and W are multiples of the factor."""
        return _blocks(F.avg_pool2d(x, self.factor), self.factor)


def _blocks(low: Tensor, factor: int) -> Tensor:
    return low.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


class Restored(nn.Module):
    """A denoiser led by an observation y = A x: the predicted data becomes A^+ y + (I - A^+ A) x, which A maps to y exactly.

    The part of the data that is seen is replaced, the part that A cannot see (its null space) stays the denoiser's. Works with
    every path, prediction and solver; guidance goes inside. It is no exact posterior: what is unseen heeds what is seen only
    through x_t (see `Resampled`).

    Args:
        denoiser: What predicts.
        known: A^+ y, (1, *shape) in model units.
        project: A^+ A, a linear projection of (n, *shape): `Masked` for inpainting, `Pooled` for super-resolution.

    References:
        Wang, Yu, Zhang, Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (2023), eq. 13 and algorithm 1.
    """

    known: Tensor

    def __init__(self, denoiser: Predictor, known: Tensor, project: nn.Module) -> None:
        super().__init__()
        self.denoiser, self.project = denoiser, project
        self.path, self.space = denoiser.path, denoiser.space
        self.register_buffer("known", known, persistent=False)

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` whose data agree with the observation, at x_t (n, *shape) and t (n,), model units."""
        data = self.denoiser.predict("data", x_t, t, condition)
        held = self.known.to(x_t) + (data - self.project(data))
        return convert("data", check(kind), held, x_t, self.path.at(t).over(x_t))

    def calls(self, t: float = 0.5) -> int:
        """The denoiser's."""
        return self.denoiser.calls(t)


class Resampled(Solver):
    """Every step is made several times: forward, noised back to where it began, and forward again.

    Under `Restored` the noise drawn at first knows nothing of what is observed; each round brings seen and unseen parts closer to
    each other, at the cost of another step. For two normal numbers of correlation 0.8, one of them seen, the mean of the other
    comes to this share of its conditional mean in 25 ancestral steps: 1 round .60, 2 .76, 5 .89, 10 .95 (100 steps in 1 round:
    .62; a deterministic solver in any number of steps: .43).

    Args:
        solver: What makes the steps.
        rounds: How often; 1 is the solver itself.

    Raises:
        UsageError: For less than one round.

    References:
        Lugmayr et al., RePaint (2022), algorithm 1, with jumps of one step; Wang et al., DDNM (2023), section 3.3 (time travel).
    """

    stochastic = True

    def __init__(self, solver: Solver, rounds: int) -> None:
        if rounds < 1:
            raise UsageError(f"Steps are made in at least one round, got {rounds}.")
        self.solver, self.rounds = solver, int(rounds)
        self.order, self.grid, self.adaptive = solver.order, solver.grid, solver.adaptive

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        """The solver's, times the rounds."""
        return self.rounds * self.solver.calls_per_step

    def step(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> tuple[Tensor, Memory]:
        """One step from t to s, made ``rounds`` times; in more than one round each is a first step, without memory."""
        here, there = denoiser.path.at(t).over(x), denoiser.path.at(s).over(x)
        ratio = here.alpha / there.alpha
        spread = (here.sigma**2 - (ratio * there.sigma) ** 2).clamp(min=0).sqrt()
        if self.rounds == 1:
            return self.solver.step(denoiser, x, t, s, condition, draws, memory)
        # a multistep method cannot extrapolate from a state that has been noised anew since: with memory it was seen to diverge
        moved, _ = self.solver.step(denoiser, x, t, s, condition, draws, None)
        for _ in range(self.rounds - 1):
            again = ratio * moved + spread * noise_of(x, draws)
            moved, _ = self.solver.step(denoiser, again, t, s, condition, draws, None)
        return moved, None


def _led(flow: Flow, known: Tensor, project: nn.Module, solver: Solver | None, rounds: int) -> Flow:
    """The flow under an observation, on its own times."""
    chosen = solver or Ancestral()
    restored = Restored(flow.denoiser, known, project.to(flow.device))
    return Flow(restored, Resampled(chosen, rounds) if rounds != 1 else chosen, flow.steps, _times(flow).tolist())


def _times(flow: Flow) -> np.ndarray:
    """The flow's times, held within the path's ends, which rounding may have left."""
    times = flow.times.copy()
    times[:-1] = times[:-1].clip(*flow.denoiser.path.ends)
    return times


def inpainting(flow: Transport, x: Tensor, mask: Tensor, *, solver: Solver | None = None, rounds: int = ROUNDS) -> Flow:
    """The flow that fills the masked entries of given data and keeps all others as they are.

    Args:
        flow: An iterative model; its steps and times are used.
        x: Data units, (*shape); what stands under the mask has no effect.
        mask: bool, (*shape) or, for images, (H, W): True where data is to be made.
        solver: None for ancestral sampling. The observation corrects the prediction, and fresh noise at every step lets x_t
            forget what contradicts it, which a deterministic solver carries on to the end.
        rounds: How often every step is made (`Resampled`).

    Returns:
        A `Flow`; its samples are the filled data.

    Raises:
        UsageError: For a one-call model, data of another shape or range, a mask of another shape, or one that fills
            nothing or all.
    """
    made = _flow(flow)
    kept = ~_holes(made, mask)
    known = made.space.to_model(_checked(made, x)[None]) * kept
    return _led(made, known, Masked(kept), solver, rounds)


def _holes(flow: Flow, mask: Tensor) -> Tensor:
    shape = tuple(flow.space.shape)
    if mask.dtype != torch.bool or tuple(mask.shape) not in (shape, shape[1:]):
        other = f" or {shape[1:]}" if len(shape) == 3 else ""
        raise UsageError(
            f"A mask is bool of shape {shape}{other}, True where data is to be made; got {mask.dtype} {tuple(mask.shape)}."
        )
    if bool(mask.all()) or not bool(mask.any()):
        raise UsageError(
            "A mask must leave some of the data and fill some of it; this one "
            + ("fills all." if mask.any() else "fills nothing.")
        )
    return mask.to(flow.device).expand(shape)[None]


def inpaint(
    flow: Transport,
    x: Tensor,
    mask: Tensor,
    n: int,
    *,
    condition: Asked = None,
    seed: int = 0,
    solver: Solver | None = None,
    rounds: int = ROUNDS,
    batch: int = BATCH,
) -> Tensor:
    """Fillings of the masked entries of given data (`inpainting`); filling i comes from ``seed + i`` alone.

    Args:
        flow: An iterative model.
        x: Data units, (*shape).
        mask: bool, (*shape) or, for images, (H, W): True where data is to be made.
        n: How many.
        condition: For example ``{"label": 3}``; None is the unconditional model.
        seed: The seed of the first.
        solver: None for ancestral sampling.
        rounds: How often every step is made; 1 costs least, more fit better (`Resampled`).
        batch: Rows computed at a time.

    Returns:
        float32 (n, *shape), data units, on the CPU; entries outside the mask are those of x.

    Raises:
        UsageError: As `inpainting` and `asked`.
        Diverged: If a row is not finite.
    """
    led = inpainting(flow, x, mask, solver=solver, rounds=rounds)
    return led.sample(n, asked(led, condition), seed=seed, batch=batch)


def super_resolution(flow: Transport, low: Tensor, *, solver: Solver | None = None, rounds: int = ROUNDS) -> Flow:
    """The flow whose images, averaged over blocks, are a given smaller image.

    Args:
        flow: An iterative model of images (C, H, W); its steps and times are used.
        low: Data units, (C, H / f, W / f) for a whole factor f of at least 2.
        solver: None for ancestral sampling, as in `inpainting`.
        rounds: How often every step is made (`Resampled`).

    Returns:
        A `Flow`; its samples are the large images.

    Raises:
        UsageError: For a one-call model, a model of vectors, or an image that is not smaller by a whole factor.
    """
    made = _flow(flow)
    factor = _factor(made, low)
    known = _blocks(made.space.to_model(_checked(made, low, tuple(low.shape))[None]), factor)
    return _led(made, known, Pooled(factor), solver, rounds)


def _factor(flow: Flow, low: Tensor) -> int:
    shape, small = tuple(flow.space.shape), tuple(low.shape)
    if len(shape) != 3:
        raise UsageError("Super-resolution needs a model of images; this one makes vectors.")
    factor = shape[1] // max(1, small[1]) if len(small) == 3 else 0
    if factor < 2 or (small[0], small[1] * factor, small[2] * factor) != shape:
        raise UsageError(
            f"The model makes {shape[1]} x {shape[2]} pixels in {shape[0]} channels; the image must be smaller by a whole "
            f"factor, in as many channels. Got an array of shape {small}."
        )
    return factor


def super_resolve(
    flow: Transport,
    low: Tensor,
    n: int,
    *,
    condition: Asked = None,
    seed: int = 0,
    solver: Solver | None = None,
    rounds: int = ROUNDS,
    batch: int = BATCH,
) -> Tensor:
    """Large images for a small one (`super_resolution`); image i comes from ``seed + i`` alone.

    Args:
        flow: An iterative model of images (C, H, W).
        low: Data units, (C, H / f, W / f) for a whole factor f of at least 2.
        n: How many.
        condition: For example ``{"label": 3}``; None is the unconditional model.
        seed: The seed of the first.
        solver: None for ancestral sampling.
        rounds: How often every step is made; 1 costs least, more fit better (`Resampled`).
        batch: Rows computed at a time.

    Returns:
        float32 (n, C, H, W), data units, on the CPU. Averaged over blocks they are ``low``, but for what is clamped to the data's
        bounds at the very end.

    Raises:
        UsageError: As `super_resolution` and `asked`.
        Diverged: If a row is not finite.
    """
    led = super_resolution(flow, low, solver=solver, rounds=rounds)
    return led.sample(n, asked(led, condition), seed=seed, batch=batch)
