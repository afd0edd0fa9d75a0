"""Samples from given data or restricted noise: variations, inpainting, super-resolution and truncation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.conditions.kind import ConditionKind, mask_of
from pushforward.denoisers.denoiser import (
    ChangesData,
    Condition,
    Predictor,
    TimeColumns,
    blend,
    evaluate,
    trained,
)
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.solvers import Ancestral, Solver
from pushforward.solvers.solver import Memory, ends_of, noise_of
from pushforward.transports import (
    BATCH,
    ConditionLike,
    Flow,
    Latent,
    Transport,
    check_transport,
    has_steps,
    inner_of,
    with_inner,
)


def condition_of_data(flow: Flow, condition: ConditionLike) -> ConditionLike:
    """Return the condition for editing given data, in the format of `Transport.sample`.

    Here None means the unconditional model: a randomly drawn label, as in sampling, would
    contradict the data.

    Raises:
        UsageError: If the condition is None and the model was trained only with labels, or some
            conditions are missing.
    """
    check_complete(flow.space.conditions, condition)
    if condition is not None or not flow.space.conditions:
        return condition
    inner = trained(flow.denoiser)
    if inner is not None and not inner.unconditional:
        raise UsageError(
            "This model was trained without an unconditional branch. Pass the data's label or other conditions."
        )
    return {mask_of(name): torch.tensor(True) for name in flow.space.conditions}


def check_complete(kinds: Mapping[str, ConditionKind], condition: ConditionLike) -> None:
    """Raise an error if only some of the model's conditions are given: the others would be drawn at random.

    Raises:
        UsageError: With the names of all conditions.
    """
    named = condition if isinstance(condition, Mapping) else {}
    entries = {name: kind.entries or (name,) for name, kind in kinds.items()}
    whole = [
        name in named or mask_of(name) in named or set(entries[name]) <= set(named)
        for name in kinds
    ]
    if named and not all(whole):
        words = ", ".join(entry for name in kinds for entry in entries[name])
        raise UsageError(
            f"Conditions that are left out would be drawn at random and contradict the data. Specify all of {words}, or none."
        )


def iterative(transport: Transport) -> Flow:
    """Return the transport as a `Flow`.

    Raises:
        UsageError: If the transport is not iterative.
    """
    check_transport(transport)
    if not has_steps(transport):
        raise UsageError(
            f"A {type(transport).__name__} is not an iterative model: it has no inverse and no noise levels, so it "
            "cannot edit given data. Use a diffusion or flow model, interpolate between two seeds, or search for z "
            "with pushforward.editing.invert."
        )
    return transport


def checked_example(
    transport: Transport, x: Tensor, shape: tuple[int, ...] | None = None
) -> Tensor:
    """Validate one example in data units, and move it to the transport's device.

    Raises:
        UsageError: If the shape is wrong, or values are not floating-point, not finite or outside
            the data range.
    """
    space = transport.space
    wanted = shape or tuple(transport.space.shape)
    x = torch.as_tensor(x)
    if tuple(x.shape) != wanted or not x.is_floating_point():
        raise UsageError(
            f"Expected one floating-point example of shape {wanted}; got {x.dtype} of shape {tuple(x.shape)}."
        )
    if not bool(x.isfinite().all()):
        raise UsageError("The data to edit contains values that are not finite.")
    if (
        space.low is not None
        and space.high is not None
        and (x.min() < min(space.low) - 1e-4 or x.max() > max(space.high) + 1e-4)
    ):
        raise UsageError(
            f"Expected values between {min(space.low):g} and {max(space.high):g}; got values from {x.min():g} to {x.max():g}."
        )
    return x.to(transport.device)


def check_one_call(transport: Transport, what: str, advice: str) -> None:
    """Raise an error if the model is iterative.

    Raises:
        UsageError: With the edit that this model does not support, and an alternative.
    """
    check_transport(transport)
    inner = inner_of(transport)
    if has_steps(inner):
        raise UsageError(
            f"{what} supports one-call models, such as GANs and VAEs; this model takes {inner.steps} steps. {advice}"
        )


# How often a step is made by default where an observation leads: more rounds gain more than as many more steps (`Resampled`)
ROUNDS = 5


class Leading(TypedDict, total=False):
    """Options for sampling guided by an observation.

    Args:
        solver: Solver, None for ancestral sampling. The observation corrects the prediction, and
            fresh noise at every step removes contradictions from x_t, which a deterministic solver
            would keep.
        rounds: Repetitions of each step (`Resampled`), `ROUNDS` by default; 1 is fastest, more fit
            better.
    """

    solver: Solver | None
    rounds: int


class Restored(ChangesData):
    """Denoiser constrained by an observation y = A x: the predicted data is A^+ y + (I - A^+ A) x, which A maps to y.

    The observed part of the data is replaced; the unobserved part (the null space of A) comes from
    the denoiser. This works with every path, prediction and solver; apply guidance inside. It is
    not the exact posterior: the unobserved part depends on the observed part only through x_t (see
    `Resampled`).

    Args:
        denoiser: Predictor to wrap.
        known: Observation A^+ y, (1, *shape), in model units.
        project: Linear projection A^+ A of (n, *shape): `Masked` for inpainting, `Pooled` for
            super-resolution.

    References:
        Wang, Yu, Zhang, Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model (2023), eq. 13 and algorithm 1.
    """

    def __init__(self, denoiser: Predictor, known: Tensor, project: nn.Module) -> None:
        super().__init__(denoiser)
        self.project = project
        self.known = nn.Buffer(known, persistent=False)

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        data = evaluate(self.denoiser, "data", x_t, columns["inner"], condition)
        return blend(columns, x_t, self.known.to(x_t) + (data - self.project(data)))


class Resampled(Solver):
    """Solver that repeats every step: forward, back by adding noise, and forward again.

    With `Restored`, the first noise is independent of the observation, and each round brings
    observed and unobserved parts closer together, for the cost of another step. For two normal
    numbers with correlation 0.8, of which one is observed, the mean of the other reaches this
    fraction of its conditional mean in 25 ancestral steps: 1 round .60, 2 .76, 5 .89, 10 .95 (100
    steps in 1 round: .62; a deterministic solver: .43).

    Args:
        solver: Solver for the steps.
        rounds: Number of repetitions; 1 for the solver itself.

    Raises:
        UsageError: If there is less than one round.

    References:
        Lugmayr et al., RePaint (2022), algorithm 1, with jumps of one step; Wang et al., DDNM (2023), section 3.3 (time travel).
    """

    stochastic = True

    def __init__(self, solver: Solver, rounds: int) -> None:
        if rounds < 1:
            raise UsageError(f"The number of rounds must be at least 1, got {rounds}.")
        self.solver, self.rounds = solver, int(rounds)
        self.order = solver.order
        self.grid = solver.grid
        self.adaptive = solver.adaptive
        self.jumps = solver.jumps

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        """Return the solver's calls times the number of rounds."""
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
        """Take one step from t to s ``rounds`` times; with several rounds, each is a first step without memory."""
        here, there = ends_of(denoiser.path, x, t, s)
        ratio = here.alpha / there.alpha
        spread = (here.sigma**2 - (ratio * there.sigma) ** 2).clamp(min=0).sqrt()
        if self.rounds == 1:
            return self.solver.step(denoiser, x, t, s, condition, draws, memory)
        # a multistep method cannot extrapolate from a state that has been noised again since: with memory it diverged in
        # experiments
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
    solver: Solver | None = None,
    rounds: int = ROUNDS,
) -> Flow:
    """Return the flow constrained by an observation, on its own times."""
    chosen = solver or Ancestral()
    restored = Restored(flow.denoiser, known, project.to(flow.device))
    return Flow(
        restored,
        Resampled(chosen, rounds) if rounds != 1 else chosen,
        flow.steps,
        flow.times.tolist(),
    )


class Masked(nn.Module):
    """Projection onto the entries kept by a mask, x -> mask x.

    Args:
        mask: Bool mask, (1, *shape): True for entries to keep.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = nn.Buffer(mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def inpainting(flow: Transport, x: Tensor, mask: Tensor, **leading: Unpack[Leading]) -> Flow:
    """Build the flow that fills in the masked entries of given data and keeps all others unchanged.

    Args:
        flow: Iterative model, whose steps and times are used.
        x: Example in data units, (*shape); values under the mask have no effect.
        mask: Bool mask, (*shape) or, for images, (H, W): True where data is to be filled in.
        leading: Options ``solver`` and ``rounds``, see `Leading`.

    Returns:
        A `Flow` whose samples are the filled data.

    Raises:
        UsageError: If the model has one call, data has the wrong shape or range, or the mask has
            the wrong shape or fills nothing or everything.
    """
    model = iterative(flow)
    shape = tuple(model.space.shape)
    if (
        mask.dtype != torch.bool
        or tuple(mask.shape) not in (shape, shape[1:])
        or bool(mask.all())
        or not bool(mask.any())
    ):
        other = f" or {shape[1:]}" if len(shape) == 3 else ""
        raise UsageError(
            f"Expected a bool mask of shape {shape}{other}, True where data is to be filled in (neither everywhere "
            f"nor nowhere); got {mask.dtype} {tuple(mask.shape)}, {float(mask.float().mean()):.0%} True."
        )
    known_mask = ~mask.to(model.device).expand(shape)[None]
    known = model.space.to_model(checked_example(model, x)[None]) * known_mask
    return led(model, known, Masked(known_mask), **leading)


def inpaint(
    flow: Transport,
    x: Tensor,
    mask: Tensor,
    n: int,
    *,
    condition: ConditionLike = None,
    seed: int = 0,
    batch: int = BATCH,
    **leading: Unpack[Leading],
) -> Tensor:
    """Fill in the masked entries of given data (`inpainting`); sample i depends only on ``seed + i``.

    Args:
        flow: Iterative model.
        x: Example in data units, (*shape).
        mask: Bool mask, (*shape) or, for images, (H, W): True where data is to be filled in.
        n: Number of samples.
        condition: Conditions, for example ``{"label": 3}``; None for the unconditional model.
        seed: Seed of the first sample.
        batch: Batch size.
        leading: Options ``solver`` and ``rounds``, see `Leading`.

    Returns:
        float32 (n, *shape), data units, on the CPU; entries outside the mask are unchanged.

    Raises:
        UsageError: See `inpainting` and `condition_of_data`.
        Diverged: If a sample is not finite.
    """
    filler = inpainting(flow, x, mask, **leading)
    return filler.sample(n, condition_of_data(filler, condition), seed=seed, batch=batch)


class Pooled(nn.Module):
    """Projection onto images with constant blocks: every pixel becomes the mean of its block.

    It is A^+ A of average pooling A, whose pseudo-inverse A^+ repeats each pixel over its block.

    Args:
        factor: Side length of a block in pixels.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return _blocks(F.avg_pool2d(x, self.factor), self.factor)


def _blocks(low: Tensor, factor: int) -> Tensor:
    return low.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def super_resolution(flow: Transport, low: Tensor, **leading: Unpack[Leading]) -> Flow:
    """Build the flow whose images, averaged over blocks, equal a given smaller image.

    Args:
        flow: Iterative model of images (C, H, W), whose steps and times are used.
        low: Small image in data units, (C, H / f, W / f) for an integer factor f of at least 2.
        leading: Options ``solver`` and ``rounds``, see `Leading`.

    Returns:
        A `Flow` whose samples are the large images.

    Raises:
        UsageError: If the model has one call or is not for images, or the image is not smaller by
            an integer factor.
    """
    model = iterative(flow)
    shape = tuple(model.space.shape)
    small = tuple(low.shape)
    if not model.space.has_pixels:
        raise UsageError(
            f"Super-resolution needs a model of images; this model makes {model.space.noun}s."
        )
    factor = shape[1] // max(1, small[1]) if len(small) == 3 else 0
    if factor < 2 or (small[0], small[1] * factor, small[2] * factor) != shape:
        raise UsageError(
            f"The model makes {shape[1]} x {shape[2]} pixels with {shape[0]} channels. Expected an image with as many "
            f"channels that is smaller by an integer factor; got an array of shape {small}."
        )
    known = _blocks(model.space.to_model(checked_example(model, low, small)[None]), factor)
    return led(model, known, Pooled(factor), **leading)


def super_resolve(
    flow: Transport,
    low: Tensor,
    n: int,
    *,
    condition: ConditionLike = None,
    seed: int = 0,
    batch: int = BATCH,
    **leading: Unpack[Leading],
) -> Tensor:
    """Draw large images for a small image (`super_resolution`); image i depends only on ``seed + i``.

    Args:
        flow: Iterative model of images (C, H, W).
        low: Small image in data units, (C, H / f, W / f) for an integer factor f of at least 2.
        n: Number of samples.
        condition: Conditions, for example ``{"label": 3}``; None for the unconditional model.
        seed: Seed of the first sample.
        batch: Batch size.
        leading: Options ``solver`` and ``rounds``, see `Leading`.

    Returns:
        Images (n, C, H, W), float32, in data units, on the CPU. Averaged over blocks they equal
            ``low``, except where values are finally clamped to the data bounds.

    Raises:
        UsageError: See `super_resolution` and `condition_of_data`.
        Diverged: If a sample is not finite.
    """
    enlarger = super_resolution(flow, low, **leading)
    return enlarger.sample(n, condition_of_data(enlarger, condition), seed=seed, batch=batch)


def truncate(z: Tensor, limit: float) -> Tensor:
    """Map standard normal numbers into [-limit, limit], each to the same quantile of the truncated normal distribution.

    With the normal distribution function F, every number becomes F^-1(F(-limit) + (F(limit) -
    F(-limit)) F(z)): monotone and odd in z, and z itself as the limit grows. The result has the
    same distribution as redrawing until all numbers are within the limit (Brock et al.), but it is
    continuous in z, so that one seed gives related samples at every limit.

    Args:
        z: Standard normal noise of any shape.
        limit: Truncation limit, above 0.

    Returns:
        Tensor with the shape and dtype of z.

    Raises:
        UsageError: If the limit is not above 0.

    References:
        Brock, Donahue, Simonyan, Large Scale GAN Training for High Fidelity Natural Image Synthesis (2019), section 3.1.
    """
    if not limit > 0:
        raise UsageError(
            f"The truncation limit must be above 0, got {limit}. To sample without truncation, leave the limit out."
        )
    # by the lower tail, where small probabilities keep their digits
    edge = math.erfc(limit / math.sqrt(2)) / 2
    tail = edge + (1 - 2 * edge) * torch.erfc(z.double().abs() / math.sqrt(2)) / 2
    return (-torch.special.ndtri(tail) * z.sign()).clamp(-limit, limit).to(z.dtype)


class Truncated(Transport):
    """One-call model with truncated z (`truncate`): less diverse and, for models that tolerate it, more faithful samples.

    z follows the training distribution, conditioned on all numbers being within the limit, so
    relative frequencies are preserved. Shrinking z by a factor psi does not preserve them; it is
    meant for the output w of a mapping network, whose mean is a typical w (Karras et al.). Small
    limits also shrink |z|, 0.5 to 0.28 sqrt(d), which few models tolerate;
    `pushforward.evaluation.curves` measures how far one does.

    Args:
        inner: One-call model: a `Map`, or a `Latent` with one.
        limit: Largest absolute value of entries of z, above 0; from about 4 on it has almost no
            effect.

    Raises:
        UsageError: If the model is iterative, or the limit is not above 0.

    References:
        Brock, Donahue, Simonyan (BigGAN, 2019), section 3.1; Karras, Laine, Aila (StyleGAN, 2019), appendix B, for psi.
    """

    def __init__(self, inner: Transport, limit: float) -> None:
        super().__init__()
        check_one_call(
            inner, "Truncation", "Guidance makes samples more faithful and less diverse."
        )
        truncate(torch.zeros(1), limit)
        self.inner, self.limit = inner, float(limit)
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
        raise UsageError(
            f"The strength of a variation must be in (0, 1], where 1 is a new sample, got {strength}."
        )
    return float(strength)


class Variation(Transport):
    """SDEdit: adds noise to given data up to a time within the grid, and solves back from there.

    With N steps and strength s, the last round(s N) steps are repeated. Below one step, noise is
    added up to the fraction s N of the last step's time, so nothing changes in the limit of
    strength 0. At strength 1 the data is not used: the result equals `Flow.sample` with the same
    seeds.

    Args:
        flow: Iterative model with any solver.
        x: Example in data units, (*shape).
        strength: Strength s in (0, 1].

    Raises:
        UsageError: If the model has one call, the strength is invalid, or data has the wrong shape
            or range.

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
        k = path.at(torch.tensor(float(times[0]), dtype=torch.float64))
        # the rest starts at sigma z: with z + x alpha / sigma in place of z, at alpha x + sigma z
        signal = 0.0 if self.strength == 1 else float(k.alpha / k.sigma)
        self.start = nn.Buffer(
            signal * self.space.to_model(checked_example(model, x)[None]), persistent=False
        )

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.rest(z + self.start.to(z), condition, draws)

    @property
    def calls(self) -> int:
        return self.rest.calls


def vary(
    flow: Transport,
    x: Tensor,
    strength: float,
    n: int,
    *,
    condition: ConditionLike = None,
    seed: int = 0,
    batch: int = BATCH,
) -> Tensor:
    """Draw variations of given data (`Variation`); variation i depends only on ``seed + i``.

    Args:
        flow: Iterative model with any solver.
        x: Example in data units, (*shape).
        strength: Fraction of the steps to repeat, in (0, 1]: small values stay close to x, 1 gives
            a new sample.
        n: Number of samples.
        condition: Conditions, for example ``{"label": 3}``; None for the unconditional model.
        seed: Seed of the first sample.
        batch: Batch size.

    Returns:
        Samples (n, *shape), float32, in data units, on the CPU.

    Raises:
        UsageError: See `Variation` and `condition_of_data`.
        Diverged: If a sample is not finite.
    """
    given = condition_of_data(iterative(inner_of(flow)), condition)
    return variation(flow, x, strength, given).sample(n, given, seed=seed, batch=batch)


def variation(
    flow: Transport, x: Tensor, strength: float, condition: ConditionLike = None
) -> Transport:
    """Build the sampler of variations of given data: a `Variation`, for latent models of the latent, with decoding.

    Args:
        flow: Iterative model with any solver, or a `Latent` with such a model.
        x: Example in data units, (*shape).
        strength: Strength in (0, 1].
        condition: Label, for an autoencoder that takes labels.

    Raises:
        UsageError: If the autoencoder needs a label; see also `Variation`.
    """
    if not isinstance(flow, Latent):
        return Variation(flow, x, strength)
    given = flow.conditions(1, condition, 0) if flow.autoencoder.space.conditions else None
    return with_inner(
        flow, Variation(flow.inner, flow.codes(checked_example(flow, x)[None], given)[0], strength)
    )


class Nearby(Transport):
    """Samples around one z of a one-call model, from sqrt(1 - s^2) z + s n with n standard normal.

    If z is an ordinary draw, results are ordinary samples at every s. At strength 1, z has no
    effect: the result equals the model's sample with the same seed. A decoder returns its means,
    without the noise of its likelihood.

    Args:
        inner: One-call model: a `Map`, or a `Latent` with one.
        z: Centre of the samples, (*noise_shape), for example from an `Inversion`.
        strength: Strength s in (0, 1]: small values stay close to z, 1 gives a new sample.

    Raises:
        UsageError: If the model is iterative, z has another shape, or the strength is invalid.
    """

    def __init__(self, inner: Transport, z: Tensor, strength: float) -> None:
        super().__init__()
        check_one_call(inner, "Varying z", "To vary data, use pushforward.editing.vary.")
        if tuple(z.shape) != tuple(inner.noise_shape):
            raise UsageError(
                f"Expected one z of shape {tuple(inner.noise_shape)}, got {tuple(z.shape)}."
            )
        self.inner, self.strength = inner, _strength(strength)
        self.space = inner.space
        self.noise_shape = inner.noise_shape
        self.z = nn.Buffer(z[None].to(inner.device), persistent=False)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.inner(
            math.sqrt(1 - self.strength**2) * self.z.to(z) + self.strength * z, condition
        )

    @property
    def calls(self) -> int:
        return self.inner.calls
