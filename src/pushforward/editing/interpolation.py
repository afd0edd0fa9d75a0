"""Interpolation between seeds and examples, and the search for an example's noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pushforward.arguments import one_of, weight, whole
from pushforward.conditions import Request
from pushforward.conditions.kind import cells_of
from pushforward.denoisers.denoiser import Condition, condition_at, condition_on
from pushforward.draws import ExampleDraws
from pushforward.editing.given_data import (
    Nearby,
    check_complete,
    check_one_call,
    checked_example,
    condition_of_data,
    variation,
)
from pushforward.errors import Diverged, UsageError
from pushforward.transports import (
    BATCH,
    Autoencoder,
    ConditionLike,
    Transport,
    check_transport,
    has_steps,
    inner_of,
)
from pushforward.transports.transport import finite

CANDIDATES = 256  # random z from which the starts of a search are chosen


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Interpolate spherically: rotate along the great circle, with linearly changing norm.

    Noise of high dimension lies close to a sphere, which a straight line leaves. Parallel and
    opposite directions are interpolated linearly.

    Args:
        a: Examples (n, *shape).
        b: Examples (n, *shape).
        share: Position, one number or one per example, (n,): 0 is a, 1 is b.

    References:
        Shoemake, Animating Rotation with Quaternion Curves (1985), section 3.3; White, Sampling
        Generative Networks (2016), section 2.1.
    """
    first = a.flatten(1).double()
    second = b.flatten(1).double()
    far = _column(share, a)
    u = F.normalize(first, dim=1)
    v = F.normalize(second, dim=1)
    angle = (u * v).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    turned = (torch.sin((1 - far) * angle) * u + torch.sin(far * angle) * v) / sine
    turned = torch.where(sine < 1e-6, torch.lerp(u, v, far), turned)
    norm = torch.lerp(first.norm(dim=1, keepdim=True), second.norm(dim=1, keepdim=True), far)
    return (norm * turned).to(a.dtype).reshape(a.shape)


def lerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Interpolate linearly: (1 - share) a + share b for each example; see `slerp`.

    Halfway between two noise examples, the mean squared norm is d / 2 instead of d, so the output
    is too average.
    """
    mixed = torch.lerp(a.flatten(1).double(), b.flatten(1).double(), _column(share, a))
    return mixed.to(a.dtype).reshape(a.shape)


def _column(share: float | Tensor, a: Tensor) -> Tensor:
    return torch.as_tensor(share, dtype=torch.float64, device=a.device).reshape(-1, 1)


INTERPOLATIONS = {"spherical": slerp, "linear": lerp}  # How to go from one noise to another


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
    """Interpolate between the samples of two seeds, float32 (frames, *shape), in data units.

    The first frame is ``transport.sample(1, condition, seed=a)``. An iterative transport needs a
    deterministic solver. The default condition is drawn by the first seed.
    """
    _check_deterministic(transport)
    first = transport.noise(ExampleDraws(a, 1, device=transport.device))
    last = transport.noise(ExampleDraws(b, 1, device=transport.device))
    given = transport.conditions(1, condition, a)
    return _along(transport, first, last, frames, given, interpolation, batch)


def _check_deterministic(transport: Transport) -> None:
    check_transport(transport)
    inner = inner_of(transport)
    if has_steps(inner) and inner.solver.stochastic:
        raise UsageError(
            f"{type(inner.solver).__name__} is a stochastic solver, which draws noise at every "
            "step, so no path leads from one sample to another. Use a deterministic solver, such "
            "as `solver=dpm`."
        )


@torch.no_grad()
def _along(
    transport: Transport,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: Condition,
    interpolation: str,
    batch: int,
) -> Tensor:
    parts = _line(a, b, frames, interpolation).split(batch)
    x = torch.cat([transport(part, repeated(condition, len(part))) for part in parts])
    return transport.space.to_data(finite(x)).float().cpu()


def _line(a: Tensor, b: Tensor, frames: int, interpolation: str) -> Tensor:
    interpolated = INTERPOLATIONS[one_of("interpolation", interpolation, INTERPOLATIONS)]
    whole("frames", frames, 2)
    share = torch.linspace(0, 1, frames, dtype=torch.float64, device=a.device)
    shape = (frames, *a.shape[1:])
    return interpolated(a.expand(shape), b.expand(shape), share)


def repeated(condition: Condition, n: int) -> Condition:
    """Repeat the condition of one example for n examples."""
    if condition is None:
        return None
    return {name: part.expand(n, *part.shape[1:]) for name, part in condition.items()}


@torch.no_grad()
def walk(
    autoencoder: Autoencoder,
    a: Tensor,
    b: Tensor,
    frames: int,
    condition: Condition = None,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Interpolate between the mean latents of two examples, and decode, in data units.

    The ends are reconstructions of the examples. ``condition`` is None, or one label for all.
    """
    space = autoencoder.space
    device = autoencoder.device
    given = condition_on(condition, device)
    ends = space.to_model(torch.stack([a, b]).to(device))
    first, last = autoencoder.encode(ends, repeated(given, 2)).split(1)
    line = _line(first, last, frames, interpolation)
    return space.to_data(autoencoder.decode(line, repeated(given, frames))).float().cpu()


@dataclass(frozen=True)
class Search:
    """Settings of the search in `invert`.

    Args:
        steps: Number of updates; 0 returns the best random z.
        starts: Number of z that are optimised for each example.
        lr: Initial learning rate of Adam.
        prior: Weight of the penalty towards |z| = sqrt(d); 0 for no penalty.
    """

    steps: int = 300
    starts: int = 8
    lr: float = 0.1
    prior: float = 0.01

    def __post_init__(self) -> None:
        whole("steps", self.steps, 0)
        whole("starts", self.starts, 1)
        weight("prior", self.prior)


@dataclass(frozen=True)
class Inversion:
    """Result of `invert`: noise z, samples x from it, and conditions, on the CPU.

    ``error`` is the root mean squared difference from the data in its standard deviations, (n,);
    ``first`` that of the best random z before optimisation.
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
    learning rate falls to 0 on half a cosine. The closest z over all starts and steps is returned.

    Args:
        transport: One-call model: a `Map`, or a `Latent` with one.
        x: Examples in data units, (n, *shape), at least one.
        condition: Conditions; None tries labels with the frequencies of the training data.
        search: Search settings.
        seed: Seed of the random z, which differ from the noise of `Transport.sample`.
        batch: Batch size, at least one example per start.

    Raises:
        UsageError: If the model is iterative, or data or numbers are invalid.
        Diverged: If the model returns no finite values.

    References:
        Zhu, Krähenbühl, Shechtman, Efros, Generative Visual Manipulation on the Natural Image
        Manifold (2016); Karras et al., Analyzing and Improving the Image Quality of StyleGAN
        (2020), section 5 and appendix D.
    """
    check_one_call(transport, "The search for z", "Its method encode maps data to noise.")
    check_complete(transport.space.conditions, condition)
    search = search or Search()
    examples = torch.stack([checked_example(transport, example) for example in x])
    target = transport.space.to_model(examples)
    count = max(CANDIDATES, search.starts)
    candidates = transport.noise(ExampleDraws(0, count, f"project/{seed}", transport.device))
    given = None
    tried = None
    if condition is None:
        tried = transport.conditions(count, None, seed)
    else:
        given = transport.conditions(len(x), condition, seed)
    group = max(1, whole("batch", batch, 1) // search.starts)
    parts = []
    for index in torch.arange(len(x)).split(group):
        starts = []
        conditions = []
        for i in index.tolist():
            if given is not None:
                tried = repeated(condition_at(given, slice(i, i + 1)), count)
            best = _closest(transport, candidates, tried, target[i], search.starts, batch)
            starts.append(candidates[best])
            conditions.append(condition_at(tried, best))
        start = torch.cat(starts)
        parts.append(_optimised(transport, target[index], start, _together(conditions), search))
    columns = {}
    for name in ("z", "x", "error", "first"):
        columns[name] = torch.cat([getattr(part, name) for part in parts])
    return Inversion(**columns, condition=_together([part.condition for part in parts]))


@torch.no_grad()
def _closest(
    transport: Transport, z: Tensor, condition: Condition, target: Tensor, most: int, batch: int
) -> Tensor:
    errors = []
    for index in torch.arange(len(z)).split(batch):
        x = transport(z[index], condition_at(condition, index))
        errors.append(_error(transport, x, target))
    return torch.cat(errors).nan_to_num(torch.inf).argsort(stable=True)[:most]


def _error(transport: Transport, x: Tensor, target: Tensor) -> Tensor:
    bounds = transport.space.bounds
    if bounds is not None:
        low, high = bounds
        x = x.clamp(low.to(x), high.to(x))
    return (x - target).square().flatten(1).mean(1)


def _optimised(
    transport: Transport, target: Tensor, start: Tensor, condition: Condition, search: Search
) -> Inversion:
    z = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=search.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, search.steps))
    targets = target.repeat_interleave(search.starts, 0)
    best = start.clone()
    errors = start.new_full((len(z),), torch.inf)
    first = errors
    for step in range(search.steps + 1):
        with torch.enable_grad():
            x = transport(z, condition)
            length = (z.flatten(1).square().mean(1) + 1e-12).sqrt()
            apart = (x - targets).square().flatten(1).mean(1)
            loss = (apart + search.prior * (length - 1).square()).sum()
        error = _error(transport, x.detach(), targets)
        better = error < errors
        best[better] = z.detach()[better]
        errors[better] = error[better]
        if step == 0:
            first = errors.clone()
        optimizer.zero_grad()
        loss.backward(inputs=[z])
        optimizer.step()
        schedule.step()
    least, at = errors.view(-1, search.starts).min(1)
    if not least.isfinite().all():
        raise Diverged(
            "The model returns no finite values for any z: the weights have diverged. Use an "
            "earlier checkpoint."
        )
    index = torch.arange(len(target), device=z.device) * search.starts + at
    condition = condition_at(condition, index)
    with torch.no_grad():
        x = transport.space.to_data(transport(best[index], condition)).float()
    first = first.view(-1, search.starts).amin(1)
    found = (best[index].cpu(), x.cpu(), least.sqrt().cpu(), first.sqrt().cpu())
    return Inversion(*found, condition_on(condition, "cpu"))


def _together(conditions: list[Condition]) -> Condition:
    held = [condition for condition in conditions if condition is not None]
    if not held:
        return None
    return {name: torch.cat([condition[name] for condition in held]) for name in held[0]}


# Function that is called with one line for each event of a long search
Events = Callable[[str], None]


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
    """Interpolate between two given examples in data units, by the means that the model has.

    Iterative models need a deterministic solver, and a condition of None is the unconditional
    model. Models with an autoencoder go through its latents; for others, the closest samples are
    searched for, with the best-fitting label by default.

    Raises:
        UsageError: If the solver is stochastic, or a label is given but the autoencoder takes none.
    """
    if has_steps(inner_of(transport)):
        _check_deterministic(transport)
        given = transport.conditions(1, edited_condition(transport, condition), 0)
        x = torch.stack([checked_example(transport, end) for end in ends])
        noise = transport.encode(x, repeated(given, 2))  # type: ignore[operator]
        first, last = noise.split(1)
        return _along(transport, first, last, frames, given, interpolation, batch)
    kinds = {} if autoencoder is None else autoencoder.space.conditions
    if autoencoder is not None and (condition is not None or not kinds):
        if condition is not None and not kinds:
            raise UsageError(
                "Between images, this model goes through its latent space, which takes no labels. "
                "Leave out `label`."
            )
        check_complete(kinds, condition)
        given = None
        if condition is not None:
            given = Request(kinds).values(1, condition, 0)
        return walk(autoencoder, *ends, frames, given, interpolation=interpolation)
    start, condition = _nearest(transport, ends[0], condition, batch, events)
    end, condition = _nearest(transport, ends[1], condition, batch, events)
    given = transport.conditions(1, condition, 0)
    first = start.z.to(transport.device)
    last = end.z.to(transport.device)
    return _along(transport, first, last, frames, given, interpolation, batch)


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

    For a one-call model, the closest sample is searched for, with the best-fitting label by
    default; ``events`` receives one line for each event of the search.
    """
    if has_steps(inner_of(transport)):
        given = edited_condition(transport, condition)
        return variation(transport, x, strength, given), given
    Nearby(transport, x.new_zeros(transport.noise_shape), strength)  # checks before the search
    nearest, condition = _nearest(transport, x, condition, batch, events)
    return Nearby(transport, nearest.z[0], strength), condition


def edited_condition(transport: Transport, condition: ConditionLike) -> ConditionLike:
    """Return the condition for editing: for an iterative model, None is the unconditional model."""
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
        f"the closest sample differs from the image by {float(nearest.error[0]):.3f} (RMS, in "
        "standard deviations of the data)"
    )
    if condition is None and nearest.condition is not None:
        cells = cells_of(transport.space.conditions, nearest.condition, 1)[0]
        words = ", ".join(f"{name} {value}" for name, value in cells.items())
        events(f"{words} fits best; choose another with `label` or `given`")
        condition = {name: value[0] for name, value in nearest.condition.items()}
    return nearest, condition
