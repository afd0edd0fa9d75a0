"""The noise of a given example, and edits between examples of any model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.conditions import Request
from pushforward.denoisers.denoiser import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.editing.interpolation import Nearby, interpolate, interpolate_noise, variation, walk
from pushforward.editing.inverse_problems import check_complete, check_one_call, checked_example, condition_of_data
from pushforward.errors import Diverged, UsageError
from pushforward.transports import BATCH, Autoencoder, ConditionLike, Transport, has_steps, inner_of


@dataclass(frozen=True)
class Search:
    """How `invert` searches.

    Args:
        steps: Updates; 0 takes the best random z.
        starts: How many z are improved for each example.
        candidates: How many random z these are chosen from, at least ``starts``.
        lr: Adam's rate at the start.
        prior: The weight of the pull towards |z| = sqrt(d); 0 leaves it out.

    Raises:
        UsageError: For numbers that cannot be.
    """

    steps: int = 300
    starts: int = 8
    candidates: int = 256
    lr: float = 0.1
    prior: float = 0.01

    def __post_init__(self) -> None:
        if self.steps < 0 or self.starts < 1:
            raise UsageError(f"steps are 0 or more and starts at least 1; got {self.steps} and {self.starts}.")
        if not 0 < self.lr < math.inf or not 0 <= self.prior < math.inf:
            raise UsageError(f"lr is above 0, prior 0 or more, and both are finite; got {self.lr} and {self.prior}.")


@dataclass(frozen=True)
class Inversion:
    """The result of `invert` for n examples; all tensors are on the CPU.

    Args:
        z: (n, *noise_shape) float32.
        x: The model's samples from z, (n, *shape), data units.
        error: The root mean squared difference between x and the data, (n,), in standard deviations of the data.
        first: The same of the best z that was drawn before any optimisation, (n,).
        condition: The condition of each z, n values of each name; None for a model without conditions.
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
    """Find the z whose samples are nearest to given data.

    For each example the best few of many random z are improved by Adam on the mean squared difference in model units plus
    prior (|z| / sqrt(d) - 1)^2, which holds z in d dimensions where noise lies. The rate falls to 0 on half a cosine. Of all
    starts and steps whose error is not above that of the best random z, the best is kept. Each example is searched
    for on its own, with the same random z: its result does not depend on the others.

    Args:
        transport: A one-call model: a `Map`, or a `Latent` of one.
        x: Data units, (n, *shape), n at least 1.
        condition: For example ``{"label": 3}``, or one for each example. None tries labels as often as they are in the training
            data, and keeps the one that fits best.
        search: How long and from where; the default is ``Search()``.
        seed: Of the random z, all of them others for every seed, and others than those that `Transport.sample` draws.
        batch: Examples computed at a time, at least one for each start.

    Returns:
        z, its samples and errors.

    Raises:
        UsageError: For an iterative model, data of another shape or range, or numbers that cannot be.
        Diverged: If the model gives nothing finite.

    References:
        Zhu, Krähenbühl, Shechtman, Efros, Generative Visual Manipulation on the Natural Image Manifold (2016);
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN (2020), section 5 and appendix D.
    """
    check_one_call(transport, "The search for z", "Its method encode solves from data to noise.")
    if x.dim() == 0 or len(x) == 0 or batch < 1:
        raise UsageError(f"Expected at least one example, (n, *shape), and a batch of at least 1; got {tuple(x.shape)}, {batch}.")
    check_complete(transport.space.conditions, condition)
    search = search or Search()
    target = transport.space.to_model(torch.stack([checked_example(transport, example) for example in x]))
    given = None if condition is None else transport.conditions(len(x), condition, seed)
    group, parts = max(1, batch // search.starts), []
    for start in range(0, len(x), group):
        index = slice(start, start + group)
        part = _Part(transport, target[index], search)
        part.begin(condition_at(given, index), seed, batch)
        parts.append(part.run())
    return _joined(parts)


class _Part:
    """Examples that are searched for together, several z for each; example i has the z from i starts to (i + 1) starts - 1."""

    def __init__(self, transport: Transport, target: Tensor, search: Search) -> None:
        self.transport, self.target, self.search, self.starts = transport, target, search, search.starts

    def begin(self, given: Condition, seed: int, batch: int) -> None:
        candidates = max(self.search.candidates, self.starts)
        drawn = self.transport.noise(ExampleDraws(0, candidates, f"project/{seed}", self.transport.device))
        starts = []
        for i in range(len(self.target)):
            condition = condition_at(given, torch.zeros(candidates, dtype=torch.int64, device=self.target.device) + i)
            tried = self.transport.conditions(candidates, None, seed) if condition is None else condition
            with torch.no_grad():
                errors = torch.cat([self._tried(i, drawn, tried, slice(at, at + batch)) for at in range(0, candidates, batch)])
            best = errors.nan_to_num(torch.inf).argsort(stable=True)[: self.starts]
            starts.append((drawn[best], condition_at(tried, best)))
        self.z = torch.cat([z for z, _ in starts])
        self.condition = _together([tried for _, tried in starts])

    def _tried(self, i: int, z: Tensor, tried: Condition, part: slice) -> Tensor:
        return self._error(self.transport(z[part], condition_at(tried, part)), self.target[i : i + 1])

    def _error(self, x: Tensor, target: Tensor) -> Tensor:
        bounds = self.transport.space.bounds
        held = x if bounds is None else x.clamp(bounds[0].to(x), bounds[1].to(x))
        return (held - target).square().flatten(1).mean(1)

    def run(self) -> Inversion:
        steps, lr = self.search.steps, self.search.lr
        z = self.z.clone().requires_grad_(True)
        optimizer, target = torch.optim.Adam([z], lr=lr), self.target.repeat_interleave(self.starts, 0)
        best, least = self.z.clone(), torch.full((len(z),), torch.inf, device=z.device)
        errors, first = least.clone(), least
        for i in range(steps + 1):
            with torch.enable_grad():
                x = self.transport(z, self.condition)
                pull = self.search.prior * ((z.flatten(1).square().mean(1) + 1e-12).sqrt() - 1).square()
                (slope,) = torch.autograd.grad((x - target).square().flatten(1).mean(1).sum() + pull.sum(), z)
            error = self._error(x.detach(), target)
            first = error.view(-1, self.starts).amin(1).repeat_interleave(self.starts) if i == 0 else first
            worth = torch.where(error <= first, error + pull.detach(), torch.inf)
            better = worth < least
            best[better], least[better], errors[better] = z.detach()[better], worth[better], error[better]
            optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * i / max(1, steps))) / 2
            z.grad = slope
            optimizer.step()
        return self._best(best, least, errors, first)

    def _best(self, z: Tensor, least: Tensor, errors: Tensor, first: Tensor) -> Inversion:
        if not bool(least.view(-1, self.starts).amin(1).isfinite().all()):
            raise Diverged("The model gives nothing finite for any z: the weights have diverged. Use an earlier checkpoint.")
        first_start = torch.arange(len(self.target), device=z.device) * self.starts
        at = first_start + least.view(-1, self.starts).argmin(1)
        condition = condition_at(self.condition, at)
        with torch.no_grad():
            x = self.transport.space.to_data(self.transport(z[at], condition))
        held = None if condition is None else {name: part.cpu() for name, part in condition.items()}
        return Inversion(z[at].cpu(), x.float().cpu(), errors[at].sqrt().cpu(), first[at].sqrt().cpu(), held)


def _together(conditions: list[Condition]) -> Condition:
    held = [condition for condition in conditions if condition is not None]
    return {name: torch.cat([condition[name] for condition in held]) for name in held[0]} if held else None


def _joined(parts: list[Inversion]) -> Inversion:
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("z", "x", "error", "first")}
    return Inversion(**joined, condition=_together([part.condition for part in parts]))


Events = Callable[[str], None]
"""A function that is called with one line for each event of a long search."""


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
    """Data between two given examples.

    Args:
        transport: A model of any kind; an iterative one under a deterministic solver.
        ends: The first and the last example, data units, (*shape).
        frames: How many, both ends included; at least 2.
        condition: One label for all frames. None is the unconditional model, or for a one-call model the label that fits best.
        autoencoder: The model's encoder and decoder, where it has them.
        interpolation: "spherical" or "linear" (`pushforward.editing.interpolation`).
        batch: Examples computed at a time.
        events: Called with one line for each event of a search.

    Returns:
        float32 (frames, *shape), data units, on the CPU.

    Raises:
        UsageError: For a stochastic solver, or a label where the autoencoder receives none.
    """
    a, b = ends
    if has_steps(inner_of(transport)):
        return interpolate(transport, a, b, frames, condition, interpolation=interpolation, batch=batch)
    if autoencoder is not None and (condition is not None or not autoencoder.space.conditions):
        if condition is not None and not autoencoder.space.conditions:
            raise UsageError("Between images this model goes through its latent, which receives no labels: leave `label` out.")
        check_complete(autoencoder.space.conditions, condition)
        given = None if condition is None else Request(autoencoder.space.conditions).values(1, condition, 0)
        return walk(autoencoder, a, b, frames, given, interpolation=interpolation)
    first, condition = _nearest(transport, a, condition, batch, events)
    last, condition = _nearest(transport, b, condition, batch, events)
    return interpolate_noise(transport, first.z[0], last.z[0], frames, condition, interpolation=interpolation, batch=batch)


def variations(
    transport: Transport,
    x: Tensor,
    strength: float,
    condition: ConditionLike = None,
    *,
    batch: int = BATCH,
    events: Events = lambda line: None,
) -> tuple[Transport, ConditionLike]:
    """The sampler of variations of a given example, and the condition to sample it under.

    Args:
        transport: A model of any kind.
        x: The example, data units, (*shape).
        strength: In (0, 1]: small is nearly x, 1 a new sample.
        condition: One label; None is the unconditional model, or for a one-call model the label that fits best.
        batch: Examples computed at a time in a search.
        events: Called with one line for each event of a search.

    Raises:
        UsageError: As `pushforward.editing.interpolation` and `pushforward.editing.Nearby`.
    """
    if has_steps(inner_of(transport)):
        given = edited_condition(transport, condition)
        return variation(transport, x, strength, given), given
    Nearby(transport, x.new_zeros(transport.noise_shape), strength)  # refuses a wrong strength before the search
    nearest, condition = _nearest(transport, x, condition, batch, events)
    return Nearby(transport, nearest.z[0], strength), condition


def edited_condition(transport: Transport, condition: ConditionLike) -> ConditionLike:
    """The condition under which given data is edited: for an iterative model None is the unconditional model."""
    inner = inner_of(transport)
    return condition_of_data(inner, condition) if has_steps(inner) else condition


def _nearest(
    transport: Transport, x: Tensor, condition: ConditionLike, batch: int, events: Events
) -> tuple[Inversion, ConditionLike]:
    events("searching for the z of the nearest sample ...")
    nearest = invert(transport, x[None], condition, batch=batch)
    events(f"it differs from the image by {float(nearest.error[0]):.3f} (RMS, in standard deviations of the data)")
    if condition is None and nearest.condition is not None:
        condition = {name: value[0] for name, value in nearest.condition.items()}
        events(f"{_words(transport, nearest.condition)} fits best; choose another with `label` or `given`")
    return nearest, condition


def _words(transport: Transport, condition: dict[str, Tensor]) -> str:
    kinds = transport.space.conditions
    cells = [cell for name, values in condition.items() for cell in kinds[name].cells(values[:1])[0].items()]
    return ", ".join(f"{name} {value}" for name, value in cells)
