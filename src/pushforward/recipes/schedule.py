"""How the learning rate and the optimiser's second average change over training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pushforward.arguments import number
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.methods import Now


class _Clock(Protocol):
    def rate(self, warmup: int, decay: float, end: float) -> float: ...


@dataclass(frozen=True)
class Schedule:
    """The learning rate rises, stays and falls; beside that, it and beta2 can move on a cosine (the ramp).

    Args:
        warmup: Steps over which the rate rises from zero.
        decay: The share of training at its end over which the rate falls on a cosine, at most 1/3.
        lr_end: The share of the rate that is left at the end.
        lr_ramp: The share of the rate that is left at the ramp's end, on a cosine; the decay comes on top.
        beta2_end: AdamW's second average at the ramp's end, on a cosine; None keeps it.
        ramp: Samples over which these two move; None is the whole of training.
        shortest_ramp: Samples that the ramp takes at least: where training ends before, they stop on the way, and the decay
            still comes at its end. None is no limit.

    Raises:
        UsageError: For a value outside its range.
    """

    warmup: int = 100
    decay: float = 1 / 3
    lr_end: float = 0.01
    lr_ramp: float = 1.0
    beta2_end: float | None = None
    ramp: int | None = None
    shortest_ramp: int | None = None

    def __post_init__(self) -> None:
        for name in ("warmup", "decay", "lr_end", "lr_ramp"):
            if not 0 <= number(name, getattr(self, name)) < math.inf:
                raise UsageError(f"{name} cannot be negative or without end, got {getattr(self, name)}.")
        if self.decay > 1 / 3 + 1e-9:
            raise UsageError(f"decay is a share of training of at most 1/3, got {self.decay}.")
        if self.beta2_end is not None and not 0 <= self.beta2_end < 1:
            raise UsageError(f"beta2_end is the share of an average and below 1, got {self.beta2_end}.")
        for name, samples in {"ramp": self.ramp, "shortest_ramp": self.shortest_ramp}.items():
            if samples is not None and samples < 1:
                raise UsageError(f"{name} is a number of training examples, at least 1; got {samples}.")

    def rate(self, clock: _Clock, now: Now) -> float:
        """The share of the learning rate in the step that comes next."""
        return clock.rate(self.warmup, self.decay, self.lr_end) * now.along(1.0, self.lr_ramp, self.ramp, self.shortest_ramp)

    def beta2(self, start: float, now: Now) -> float | None:
        """AdamW's second average in the step that comes next, which was ``start`` at first; None where it stays."""
        return None if self.beta2_end is None else now.along(start, self.beta2_end, self.ramp, self.shortest_ramp)
