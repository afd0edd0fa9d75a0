"""Samples from given data or restricted noise, such as variations and inpainting."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.arguments import whole
from pushforward.conditions.kind import ConditionKind, mask_of, names_of, request_names
from pushforward.denoisers.denoiser import (
    ChangesData,
    Condition,
    Predictor,
    TimeColumns,
    blend,
    evaluate,
    trained_denoiser,
)
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.solvers import Ancestral, Solver
from pushforward.solvers.solver import Memory, ends_of, noise_of
from pushforward.transports import (
    ConditionLike,
    Flow,
    Latent,
    Transport,
    has_steps,
    inner_of,
    with_inner,
)


def condition_of_data(flow: Flow, condition: ConditionLike) -> ConditionLike:
    """Return the condition for editing given data; None becomes the unconditional model."""
    kinds = flow.space.conditions
    check_complete(kinds, condition)
    if condition is not None or not kinds:
        return condition
    inner = trained_denoiser(flow.denoiser)
    if inner is not None and not inner.unconditional:
        raise UsageError("This model has no unconditional branch. Pass the data's label.")
    return {mask_of(name): torch.tensor(True) for name in kinds}


def check_complete(kinds: Mapping[str, ConditionKind], condition: ConditionLike) -> None:
    """Raise a `UsageError` if only some of the model's conditions are given."""
    if not isinstance(condition, Mapping) or not condition:
        return
    for name, kind in kinds.items():
        entries = request_names(name, kind)
        whole = name in condition or mask_of(name) in condition
        if not whole and not condition.keys() >= set(entries):
            every = ", ".join(names_of(kinds))
            raise UsageError(
                "Conditions that are left out would be drawn at random and contradict the data. "
                f"Specify all of {every}, or none."
            )


def iterative(transport: Transport) -> Flow:
    """Return the transport as a `Flow`, or raise a `UsageError` if it is not iterative."""
    if not has_steps(transport):
        raise UsageError(
            f"A {type(transport).__name__} samples in one call or in a latent space: it is not an "
            "iterative model of the data and has no inverse. Use a diffusion or flow model of the "
            "data; interpolate and vary support any model, and invert one-call models."
        )
    return transport


def checked_example(
    transport: Transport, x: Tensor, shape: tuple[int, ...] | None = None
) -> Tensor:
    """Validate one example in data units, and move it to the transport's device."""
    wanted = shape or transport.space.shape
    if x.shape != wanted or not x.is_floating_point() or not x.isfinite().all():
        raise UsageError(
            f"Expected one example of finite floats, of shape {wanted}; got {x.dtype} of shape "
            f"{tuple(x.shape)}."
        )
    return x.to(transport.device)


def check_one_call(transport: Transport, what: str, advice: str) -> None:
    """Raise a `UsageError`, which names the edit and an alternative, if the model is iterative."""
    if has_steps(inner_of(transport)):
        raise UsageError(f"{what} supports only one-call models, such as GANs and VAEs. {advice}")


# Default number of rounds: they gain more than as many more steps (`Resampled`)
ROUNDS = 5


class Restored(ChangesData):
    """Denoiser constrained by an observation y = A x: it predicts A^+ y + (I - A^+ A) x.

    The observed part of the data is replaced; the unobserved part (the null space of A) comes from
    the denoiser. Apply guidance inside. It is not the exact posterior: the unobserved part depends
    on the observed part only through x_t (see `Resampled`). ``known`` is A^+ y, (1, *shape), in
    model units, and ``project`` A^+ A, such as `Masked` or `Pooled`.

    References:
        Wang, Yu, Zhang, Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model
        (2023), eq. 13 and algorithm 1.
    """

    def __init__(self, denoiser: Predictor, known: Tensor, project: nn.Module) -> None:
        super().__init__(denoiser)
        self.project = project
        self.known = nn.Buffer(known, persistent=False)

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        data = evaluate(self.denoiser, "data", x_t, columns["inner"], condition)
        restored = self.known.to(x_t) + (data - self.project(data))
        return blend(columns, x_t, restored)


class Resampled(Solver):
    """Solver that takes every step ``rounds`` times, going back by adding noise in between.

    With `Restored`, each round brings observed and unobserved parts closer together. For two normal
    numbers with correlation 0.8, of which one is observed, the mean of the other reaches this
    fraction of its conditional mean in 25 ancestral steps: 1 round .60, 2 .76, 5 .89, 10 .95 (100
    steps in 1 round: .62; a deterministic solver: .43).

    References:
        Lugmayr et al., RePaint (2022), algorithm 1, with jumps of one step; Wang et al., DDNM
        (2023), section 3.3 (time travel).
    """

    stochastic = True

    def __init__(self, solver: Solver, rounds: int) -> None:
        self.solver = solver
        self.rounds = whole("rounds", rounds, 1)
        self.order = solver.order
        self.grid = solver.grid
        self.adaptive = solver.adaptive
        self.jumps = solver.jumps

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
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
        if self.rounds == 1:
            return self.solver.step(denoiser, x, t, s, condition, draws, memory)
        here, there = ends_of(denoiser.path, x, t, s)
        ratio = here.alpha / there.alpha
        spread = (here.sigma**2 - (ratio * there.sigma) ** 2).clamp(min=0).sqrt()
        # without memory: multistep extrapolation from noised states diverged in experiments
        moved, _ = self.solver.step(denoiser, x, t, s, condition, draws, None)
        for _ in range(self.rounds - 1):
            again = ratio * moved + spread * noise_of(x, draws)
            moved, _ = self.solver.step(denoiser, again, t, s, condition, draws, None)
        return moved, None

    def last(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> Tensor:
        return self.solver.last(denoiser, x, t, s, condition, draws, memory)


def led(
    flow: Flow,
    known: Tensor,
    project: nn.Module,
    solver: Solver | None,
    rounds: int,
) -> Flow:
    """Return the flow constrained by an observation, on its own times."""
    chosen = solver or Ancestral()
    if rounds != 1:
        chosen = Resampled(chosen, rounds)
    restored = Restored(flow.denoiser, known, project.to(flow.device))
    return Flow(restored, chosen, flow.steps, flow.times.tolist())


class Masked(nn.Module):
    """Projection onto the entries kept by a bool mask (1, *shape), x -> mask x."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = nn.Buffer(mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def inpainting(
    flow: Transport,
    x: Tensor,
    mask: Tensor,
    *,
    solver: Solver | None = None,
    rounds: int = ROUNDS,
) -> Flow:
    """Build the flow that fills in the masked entries of given data and keeps all others.

    Args:
        flow: Iterative model, whose steps and times are used.
        x: Example in data units, (*shape); values under the mask have no effect.
        mask: Bool mask, (*shape) or, for images, (H, W): True where data is to be filled in.
        solver: Solver; None for ancestral sampling, whose fresh noise removes contradictions that
            a deterministic solver would keep.
        rounds: Repetitions of each step (`Resampled`); more fit better.
    """
    model = iterative(flow)
    shape = model.space.shape
    if mask.dtype != torch.bool or mask.shape not in (shape, shape[1:]):
        raise UsageError(
            f"Expected a bool mask of shape {shape}; got {mask.dtype} of shape {tuple(mask.shape)}."
        )
    if mask.all() or not mask.any():
        raise UsageError("A mask must be True where data is to be filled in, but not everywhere.")
    kept = ~mask.to(model.device).expand(shape)[None]
    known = model.space.to_model(checked_example(model, x)[None]) * kept
    return led(model, known, Masked(kept), solver, rounds)


class Pooled(nn.Module):
    """Projection onto images with constant blocks: every pixel becomes the mean of its block."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return _blocks(F.avg_pool2d(x, self.factor), self.factor)


def _blocks(low: Tensor, factor: int) -> Tensor:
    return low.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def super_resolution(
    flow: Transport, low: Tensor, *, solver: Solver | None = None, rounds: int = ROUNDS
) -> Flow:
    """Build the flow whose images, averaged over blocks, equal a given smaller image.

    ``low`` is (C, H / f, W / f) in data units, for an integer factor f of at least 2.
    """
    model = iterative(flow)
    shape = model.space.shape
    small = tuple(low.shape)
    factor = 0
    if model.space.has_pixels and len(small) == 3:
        factor = shape[1] // max(1, small[1])
    if factor < 2 or (small[0], small[1] * factor, small[2] * factor) != shape:
        raise UsageError(
            "Super-resolution needs a model of images, and an image that is smaller by an integer "
            f"factor: the model makes {shape}, got {small}."
        )
    known = _blocks(model.space.to_model(checked_example(model, low, small)[None]), factor)
    return led(model, known, Pooled(factor), solver, rounds)


def truncate(z: Tensor, limit: float) -> Tensor:
    """Map standard normal numbers into [-limit, limit], each to the same quantile.

    With the normal distribution function F, every number becomes F^-1(F(-limit) + (F(limit) -
    F(-limit)) F(z)). This is the distribution of redrawing until all numbers are within the limit
    (Brock et al.), but continuous in z, so that one seed gives related samples at every limit.

    References:
        Brock, Donahue, Simonyan, Large Scale GAN Training for High Fidelity Natural Image Synthesis
        (2019), section 3.1.
    """
    if not limit > 0:
        raise UsageError(
            f"The truncation limit must be above 0, got {limit}. To sample without truncation, "
            "leave the limit out."
        )
    # by the lower tail, where small probabilities keep their digits
    edge = math.erfc(limit / math.sqrt(2)) / 2
    tail = edge + (1 - 2 * edge) * torch.erfc(z.double().abs() / math.sqrt(2)) / 2
    return (-torch.special.ndtri(tail) * z.sign()).clamp(-limit, limit).to(z.dtype)


class Truncated(Transport):
    """One-call model with truncated z (`truncate`): less diverse, and possibly more faithful.

    Relative frequencies are preserved, unlike with z shrunk by a factor psi, which is meant for the
    output of a mapping network. Small limits also shrink |z|, 0.5 to 0.28 sqrt(d), which few models
    tolerate; from about 4 on, a limit has almost no effect.

    References:
        Brock, Donahue, Simonyan (BigGAN, 2019), section 3.1; Karras, Laine, Aila (StyleGAN, 2019),
        appendix B, for psi.
    """

    def __init__(self, inner: Transport, limit: float) -> None:
        super().__init__()
        check_one_call(
            inner, "Truncation", "Guidance makes samples more faithful and less diverse."
        )
        truncate(torch.zeros(1), limit)
        self.inner = inner
        self.limit = float(limit)
        self.space = inner.space
        self.noise_shape = inner.noise_shape

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.inner(truncate(z, self.limit), condition, draws)

    def noise(self, draws: Draws) -> Tensor:
        return self.inner.noise(draws)

    @property
    def calls(self) -> int:
        return self.inner.calls


def _strength(strength: float) -> float:
    if not 0 < strength <= 1:
        raise UsageError(f"`strength` must be in (0, 1], where 1 is a new sample, got {strength}.")
    return float(strength)


class Variation(Transport):
    """SDEdit: adds noise to given data up to a time within the grid, and solves back from there.

    With N steps and strength s in (0, 1], the last round(s N) steps are repeated. Below one step,
    noise is added up to the fraction s N of the last step's time. At strength 1 the data is not
    used: the result equals `Flow.sample` with the same seeds.

    References:
        Meng et al., SDEdit (2022), algorithm 1.
    """

    def __init__(self, flow: Transport, x: Tensor, strength: float) -> None:
        super().__init__()
        model = iterative(flow)
        self.strength = _strength(strength)
        self.space = model.space
        self.noise_shape = model.noise_shape
        share = self.strength * model.steps
        steps = max(1, math.floor(share + 0.5))
        times = model.times[-steps - 1 :].copy()
        path = model.denoiser.path
        if share < 1:
            times[0] = max(path.ends[0], share * times[0])
        self.rest = Flow(model.denoiser, model.solver, steps, times.tolist())
        # the rest starts at sigma z: with z + x alpha / sigma in place of z, at alpha x + sigma z
        signal = 0.0
        if self.strength < 1:
            k = path.at(torch.tensor(float(times[0]), dtype=torch.float64))
            signal = float(k.alpha / k.sigma)
        data = self.space.to_model(checked_example(model, x)[None])
        self.start = nn.Buffer(signal * data, persistent=False)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.rest(z + self.start.to(z), condition, draws)

    @property
    def calls(self) -> int:
        return self.rest.calls


def variation(
    flow: Transport, x: Tensor, strength: float, condition: ConditionLike = None
) -> Transport:
    """Build the sampler of variations of given data, or of its latent with decoding."""
    if not isinstance(flow, Latent):
        return Variation(flow, x, strength)
    given = None
    if flow.autoencoder.space.conditions:
        given = flow.conditions(1, condition, 0)
    code = flow.codes(checked_example(flow, x)[None], given)[0]
    return with_inner(flow, Variation(flow.inner, code, strength))


class Nearby(Transport):
    """Samples around one z of a one-call model, from sqrt(1 - s^2) z + s n with n standard normal.

    If z is an ordinary draw, results are ordinary samples at every strength s in (0, 1]. A decoder
    returns its means, without the noise of its likelihood.
    """

    def __init__(self, inner: Transport, z: Tensor, strength: float) -> None:
        super().__init__()
        check_one_call(inner, "Varying z", "To vary data, use pushforward.editing.variation.")
        self.inner = inner
        self.strength = _strength(strength)
        self.space = inner.space
        self.noise_shape = inner.noise_shape
        self.z = nn.Buffer(z[None].to(inner.device), persistent=False)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        centre = math.sqrt(1 - self.strength**2) * self.z.to(z)
        return self.inner(centre + self.strength * z, condition)

    @property
    def calls(self) -> int:
        return self.inner.calls
