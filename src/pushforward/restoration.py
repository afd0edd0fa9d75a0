"""Data from a part of itself, with a trained model: inpainting and super-resolution.

The model is one of whole data, trained for nothing else; what is observed leads its prediction at every step. Images and rows are
handed over one at a time, without a leading dimension, in data units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.draws import Draws
from pushforward.editing import asked, iterative, one_row
from pushforward.errors import UsageError
from pushforward.predictor import Columns, Condition, Predictor, affine_columns, blend, columns_of, evaluate
from pushforward.solvers import Ancestral, Solver
from pushforward.solvers.solver import Memory, noise_of
from pushforward.transports import BATCH, Asked, Flow, Transport
from pushforward.wrapped import Wrapped

__all__ = ["Masked", "Pooled", "Resampled", "Restored", "inpaint", "inpainting", "super_resolution", "super_resolve"]

ROUNDS = 5
"""How often a step is made by default where an observation leads: more rounds gain more than as many more steps (`Resampled`)."""


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


class Restored(Wrapped):
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
        super().__init__(denoiser)
        self.project = project
        self.register_buffer("known", known, persistent=False)

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> Columns:
        """The denoiser's columns for data, and how data is read as ``kind``."""
        return {"inner": columns_of(self.denoiser, "data", t, to), **affine_columns("data", kind, self.path.at(t))}

    def evaluate(self, kind: str, x_t: Tensor, columns: Columns, condition: Condition = None) -> Tensor:
        """The estimate of ``kind`` whose data agree with the observation."""
        data = evaluate(self.denoiser, "data", x_t, columns["inner"], condition)
        return blend(columns, x_t, self.known.to(x_t) + (data - self.project(data)))


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
        self.order, self.grid, self.adaptive, self.jumps = solver.order, solver.grid, solver.adaptive, solver.jumps

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

    def last(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> Tensor:
        """The solver's, in one round."""
        return self.solver.last(denoiser, x, t, s, condition, draws, memory)


def _led(flow: Flow, known: Tensor, project: nn.Module, solver: Solver | None, rounds: int) -> Flow:
    """The flow under an observation, on its own times."""
    chosen = solver or Ancestral()
    restored = Restored(flow.denoiser, known, project.to(flow.device))
    return Flow(restored, Resampled(chosen, rounds) if rounds != 1 else chosen, flow.steps, flow.times.tolist())


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
    made = iterative(flow)
    kept = ~_holes(made, mask)
    known = made.space.to_model(one_row(made, x)[None]) * kept
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
    made = iterative(flow)
    factor = _factor(made, low)
    known = _blocks(made.space.to_model(one_row(made, low, tuple(low.shape))[None]), factor)
    return _led(made, known, Pooled(factor), solver, rounds)


def _factor(flow: Flow, low: Tensor) -> int:
    shape, small = tuple(flow.space.shape), tuple(low.shape)
    if not flow.space.has_pixels:
        raise UsageError(f"Super-resolution needs a model of images; this one makes {flow.space.noun}s.")
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
