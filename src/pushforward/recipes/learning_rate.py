"""The schedule of a training: how the learning rate and AdamW's second average move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pushforward.arguments import weight, whole
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.methods.method import Now


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
            weight(name, getattr(self, name))
        if self.decay > 1 / 3 + 1e-9:
            raise UsageError(f"decay is a fraction of training, at most 1/3, got {self.decay}.")
        if self.beta2_end is not None and not 0 <= self.beta2_end < 1:
            raise UsageError(f"beta2_end is the decay rate of a running average and must be below 1, got {self.beta2_end}.")
        for name in ("ramp", "shortest_ramp"):
            whole(name, 1 if getattr(self, name) is None else getattr(self, name), 1)

    def rate(self, clock: Any, now: Now) -> float:
        """The share of the learning rate in the step that comes next: a linear rise, a plateau, a cosine fall, times the ramp.

        Args:
            clock: Knows the step and the progress, the number of steps where it is fixed, and else the share of the rise by time,
                which takes at most a tenth of training.
            now: Of the step.
        """
        rise = (clock.step + 1) / max(1, self.warmup if clock.fixed is None else min(self.warmup, clock.fixed // 10))
        rise = min(1.0, max(rise, clock.risen))
        past = 0.0 if self.decay <= 0 else max(0.0, (clock.progress - (1 - self.decay)) / self.decay)
        fall = self.lr_end + (1 - self.lr_end) * (1 + math.cos(math.pi * min(1.0, past))) / 2
        return rise * fall * now.along(1.0, self.lr_ramp, self.ramp, self.shortest_ramp)

    def beta2(self, start: float, now: Now) -> float | None:
        """AdamW's second average in the step that comes next, which was ``start`` at first; None where it stays."""
        return None if self.beta2_end is None else now.along(start, self.beta2_end, self.ramp, self.shortest_ramp)
