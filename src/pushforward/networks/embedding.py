"""Embeddings of times and conditions, and a second time for a trained network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward import spec
from pushforward.conditions.kind import ConditionKind, check_mask, checked, mask_of
from pushforward.errors import UsageError

# The fastest waves of the time in radians, of networks of one time and of more
TOP_FREQUENCY, TOP_FREQUENCY_OF_MAPS = 1000.0, 30.0
Condition = Mapping[str, Tensor]
Kinds = Mapping[str, ConditionKind] | None
Film = tuple[Tensor, Tensor] | None


class TimeEmbedding(nn.Module):
    """Times as vectors: sines and cosines at frequencies from 1 to 1000, then two linear layers.

    Features of one time are sin(w_k t), cos(w_k t) with w_k spaced geometrically. Weights of all times but the first start at
    zero: a map between two times begins as a network of one. With two times the frequencies end at 30: such maps are trained
    through their derivative in t, of which the fast waves would make nine tenths.

    Args:
        width: Length of the result, at least 1.
        times: How many times an example has: 1 for denoisers, 2 for maps between two times.

    References:
        Vaswani et al., Attention Is All You Need, 2017.
    """

    frequencies: Tensor

    def __init__(self, width: int, times: int = 1) -> None:
        super().__init__()
        self.width, self.times = width, times
        number = max(2, min(width // 2, 64))
        top = TOP_FREQUENCY if times == 1 else TOP_FREQUENCY_OF_MAPS
        self.register_buffer("frequencies", torch.logspace(0, math.log10(top), number), persistent=False)
        self.inner = nn.Linear(2 * number * times, width)
        with torch.no_grad():
            self.inner.weight.view(width, 2, times, number)[:, :, 1:] = 0
        self.outer = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """Embed.

        Args:
            t: (n,) where ``times`` is 1, else (n, times); roughly in [-2, 2].

        Returns:
            (n, width).

        Raises:
            UsageError: ``t`` has another shape.
        """
        if t.ndim == 1 and self.times == 1:
            t = t[:, None]
        if t.ndim != 2 or t.shape[1] != self.times:
            wanted = "(n,)" if self.times == 1 else f"(n, {self.times})"
            raise UsageError(f"Got t of shape {tuple(t.shape)}; expected {wanted}, one entry per example.")
        return self.outer(F.silu(self.inner(self.features(t))))

    def features(self, t: Tensor) -> Tensor:
        """The sines and then the cosines of all times, (n, 2 x frequencies x times), from t (n, times)."""
        angles = (t.to(self.frequencies.dtype)[:, :, None] * self.frequencies).flatten(1)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def kinds_of(conditions: Kinds) -> dict[str, ConditionKind]:
    """Kinds of condition by name as networks hold them: without the data for drawing.

    Raises:
        UsageError: A forbidden name, or a value that is no kind of condition.
    """
    return {name: kind.for_networks() for name, kind in checked(conditions or {}).items()}


def check_condition(condition: Condition | None, kinds: Mapping[str, ConditionKind], n: int) -> None:
    """Refuse conditions that a network of these kinds cannot take for n examples.

    Raises:
        UsageError: A condition that the network was built without, or values or a mask of the wrong shape or type.
    """
    for name, values in (condition or {}).items():
        kind = name.removesuffix("_null")
        if kind not in kinds:
            known = f"with {', '.join(kinds)} alone" if kinds else "without labels or other conditions"
            raise UsageError(
                f'Got the condition "{name}", but this network was built {known}. '
                "Leave it out, or build the network with the conditions of the data."
            )
        if kind == name:
            kinds[name].check(values, n)
        else:
            check_mask(kind, values, n)


class Conditioning(nn.Module):
    """Everything a network receives besides x, as one vector per example: the sum of the embeddings of time and conditions.

    Embeddings of conditions have about length 1; here they are scaled to entries of variance 1: at length 1 they would be faint
    beside the time, and be learned ten times more slowly.

    Args:
        width: Length of the vector, at least 1.
        conditions: Kinds of condition by name; None for nothing.
        times: Number of times per example; 0 for none.
        shares_time: Whether all examples may have one time.
    """

    def __init__(self, width: int, *, conditions: Kinds = None, times: int, shares_time: bool = False) -> None:
        super().__init__()
        self.shares_time, self.width = shares_time, width
        self.conditions = kinds_of(conditions)
        self.times = times
        self.time = TimeEmbedding(width, times) if times else None
        self.embeddings = nn.ModuleDict({name: kind.embedding(width) for name, kind in self.conditions.items()})

    @property
    def silent(self) -> bool:
        """Whether there is neither time nor condition, so that ``forward`` gives None."""
        return self.time is None and not self.conditions

    def forward(self, n: int, device: torch.device, t: Tensor | None, condition: Condition | None) -> Tensor | None:
        """Embed.

        Args:
            n: Number of examples.
            device: Where x lies.
            t: (n,), or (n, times); with ``shares_time`` also of length 1, one time for all; None where ``times`` is 0.
            condition: None, or values by name, such as "label" (int64 (n,)), and optionally masks such as "label_null" (bool
                (n,)), which marks examples that read as unconditional. A condition that is absent reads as unconditional in every
                example.

        Returns:
            (n, width), or (1, width) where all examples have one time and there are no conditions; None where the network knows
            neither time nor condition.

        Raises:
            UsageError: A time or condition is missing, unexpected or of the wrong shape.
        """
        check_condition(condition, self.conditions, n)
        parts = []
        if self.time is None:
            if t is not None:
                raise UsageError("Got a time t, but this network was built without one (times=0). Pass t=None.")
        else:
            if t is None or t.ndim < 1 or t.shape[0] not in ((1, n) if self.shares_time else (n,)):
                wanted = f"({n},)" if self.times == 1 else f"({n}, {self.times})"
                got = "no t" if t is None else f"t of shape {tuple(t.shape)}"
                raise UsageError(f"Got {got}; expected {wanted}: this network was built with times={self.times}.")
            parts.append(self.time(t))
        for name, kind in self.conditions.items():
            values, null = values_of(name, kind, n, device, condition)
            parts.append(self.embeddings[name](values, null) * math.sqrt(self.width))
        return sum(parts[1:], parts[0]) if parts else None

    def joined(self, x: Tensor, t: Tensor | None, condition: Condition | None) -> Tensor:
        """Vectors x (n, d) and, where there are conditions, their embedding beside them; t is None."""
        label = self(x.shape[0], x.device, t, condition)
        return x if label is None else torch.cat([x, label.to(x.dtype)], dim=1)


def values_of(
    name: str, kind: ConditionKind, n: int, device: torch.device, condition: Condition | None
) -> tuple[Tensor, Tensor | None]:
    """The values of one condition and its mask; blank and hidden in every example where it is absent."""
    values = None if condition is None else condition.get(name)
    if values is None:
        return kind.blank(n, device), torch.ones(n, dtype=torch.bool, device=device)
    return values, None if condition is None else condition.get(mask_of(name))


class Modulation(nn.Module):
    """One linear layer that gives every block of a network its own vectors: cheaper than one layer per block.

    Args:
        width: Length of the conditioning vector.
        sizes: Length of each vector that comes out.
        starts: The value that each of them keeps at the start, 1 for scales and 0 for shifts and gates.
        zero: Whether they start at exactly these values (adaLN-zero), rather than scattered around them.
    """

    starting: Tensor

    def __init__(self, width: int, sizes: Sequence[int], starts: Sequence[float], *, zero: bool = False) -> None:
        super().__init__()
        self.width = width
        self.sizes = tuple(sizes)
        self.starts = tuple(starts)
        self.zero = zero
        self.linear = nn.Linear(width, sum(self.sizes))
        nn.init.zeros_(self.linear.bias)
        if zero:
            nn.init.zeros_(self.linear.weight)
        values = [torch.full((size,), float(start)) for size, start in zip(self.sizes, self.starts, strict=True)]
        self.register_buffer("starting", torch.cat(values), persistent=False)

    @classmethod
    def films(cls, width: int, channels: Sequence[int]) -> Modulation:
        """A layer that gives each of several blocks scale and shift, in turn.

        Args:
            width: Length of the conditioning vector.
            channels: Number of channels of each block.
        """
        sizes = [size for size in channels for _ in range(2)]
        return cls(width, sizes, [1, 0] * len(channels))

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        """A tensor (n, size) for each of ``sizes``, from the conditioning vector (n, width)."""
        # The starting values go into the bias: one addition of a few numbers instead of one per block and example.
        return F.linear(F.silu(vector), self.linear.weight, self.linear.bias + self.starting).split(self.sizes, dim=1)


def films_of(modulation: Modulation | None, vector: Tensor | None, number: int) -> list[Film]:
    """(scale, shift) of each of ``number`` blocks, from a layer of `Modulation.films`; None of each without layer or vector."""
    if modulation is None or vector is None:
        return [None] * number
    vectors = modulation(vector)
    return list(zip(vectors[::2], vectors[1::2], strict=True))


def modulate(h: Tensor, film: Film) -> Tensor:
    """Features h (n, c, ...), scaled and shifted by (n, c) each: h scale + shift; as they are where ``film`` is None."""
    if film is None:
        return h
    scale, shift = film
    if h.ndim > 2:
        sides = [1] * (h.ndim - 2)
        scale, shift = scale.unflatten(1, (-1, *sides)), shift.unflatten(1, (-1, *sides))
    return torch.addcmul(shift.to(h.dtype), h, scale.to(h.dtype))


POINTS = 4096  # Times at which the two embeddings are compared
RIDGE = 1e-6  # The weight of the squared weights in the fit of an embedding, for each of its points


def with_second_time(
    network: nn.Module, ends: tuple[float, float], received: Callable[[Tensor], Tensor], times: int = 2
) -> nn.Module:
    """A copy of a network that takes two times, or more, and at first does not depend on any but the first.

    The copy's embedding of the time has lower frequencies. Its two layers are fitted to the network's embedding by two linear
    regressions, first the inner and then the outer layer; all other weights are copied.

    Args:
        network: Of one time; its class takes ``times``, as `pushforward.networks` do.
        ends: The least and the greatest time that the copy receives.
        received: From a time of the copy to the network's input, both (n,) and float64: the copy may scale time otherwise.
        times: How many the copy takes: 3 for a scale of guidance as well.

    Raises:
        UsageError: If the network's class takes no ``times``, or it has another number of times than one.
    """
    described = spec.describe(network)
    if not _set_times(described, times):
        raise UsageError(
            f"{type(network).__name__} cannot become a map between two times: its class must take the argument times, here 1. "
            "Networks of pushforward (MLP, UNet, DiT) have it."
        )
    copy: nn.Module = spec.build(described).to(next(network.parameters()))
    target, source = copy.state_dict(), network.state_dict()
    copy.load_state_dict({name: source[name] if source[name].shape == part.shape else part for name, part in target.items()})
    embeddings = {name: part for name, part in network.named_modules() if isinstance(part, TimeEmbedding)}
    points = torch.linspace(*ends, POINTS, dtype=torch.float64)
    for name, embedding in embeddings.items():
        fitted = copy.get_submodule(name)
        assert isinstance(fitted, TimeEmbedding)
        _fit(fitted, embedding, points, received(points))
    return copy.train(network.training)


def _set_times(described: Any, times: int) -> bool:
    if not isinstance(described, dict):
        return False
    if described.get("times") == 1:
        described["times"] = times
        return True
    return any(_set_times(part, times) for part in described.values())


@torch.no_grad()
def _fit(fitted: TimeEmbedding, embedding: TimeEmbedding, times: Tensor, received: Tensor) -> None:
    times, received = (part.to(fitted.inner.weight.device, torch.float64) for part in (times, received))
    old, new = deepcopy(embedding).double(), deepcopy(fitted).double()
    features = new.features(torch.stack([times, *[torch.zeros_like(times)] * (new.times - 1)], dim=1))
    number = len(new.frequencies)
    first = torch.zeros(features.shape[1], dtype=torch.bool, device=features.device).view(2, new.times, number)
    first[:, 0] = True
    first = first.flatten()
    weight, bias = _regression(features[:, first], old.inner(old.features(received[:, None])))
    new.inner.weight.zero_()
    new.inner.weight[:, first] = weight
    new.inner.bias.copy_(bias)
    weight, bias = _regression(F.silu(new.inner(features)), old(received))
    new.outer.weight.copy_(weight)
    new.outer.bias.copy_(bias)
    fitted.load_state_dict(new.state_dict())


def _regression(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of the linear layer that maps (n, a) to (n, b) with the least squared error and small weights."""
    mean, center = inputs.mean(0), outputs.mean(0)
    x, y = inputs - mean, outputs - center
    penalty = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(x.T @ x + penalty, x.T @ y).T
    return weight, center - weight @ mean
