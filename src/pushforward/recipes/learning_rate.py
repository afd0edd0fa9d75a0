"""The schedule of the learning rate and of AdamW's second beta."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pushforward.arguments import weight, whole
from pushforward.errors import UsageError

if TYPE_CHECKING:
    from pushforward.methods.method import StepContext


@dataclass(frozen=True)
class Schedule:
    """Schedule of the learning rate: warm-up, plateau, decay; and a cosine ramp of rate and beta2.

    Args:
        warmup: Number of steps over which the learning rate rises from zero.
        decay: Fraction of training, at its end, over which the rate falls on a cosine; at most 1/3.
        lr_end: Fraction of the rate at the end of the decay.
        lr_ramp: Fraction of the rate at the end of the cosine ramp, in addition to the decay.
        beta2_end: AdamW's beta2 at the end of the cosine ramp; None for a constant.
        ramp: Length of the ramp in samples; None for the whole training run.
        shortest_ramp: Minimum length of the ramp in samples: shorter training runs end before the
            end of the ramp, but still with the decay. None for no minimum.

    Raises:
        UsageError: If a value is out of range.
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
            raise UsageError(f"beta2_end must be from 0 to below 1, got {self.beta2_end}.")
        for name in ("ramp", "shortest_ramp"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 1)

    def rate(self, clock: Any, now: StepContext) -> float:
        """Return the factor of the learning rate for the next step.

        Args:
            clock: Clock with step, progress and number of steps if fixed; otherwise with the
                warm-up by time, at most a tenth of training.
            now: State of training at this step.
        """
        warmup: float = self.warmup
        if clock.fixed is not None:
            warmup = min(warmup, clock.fixed // 10)
        rise = max((clock.step + 1) / max(1, warmup), clock.risen)
        past = 0.0
        if self.decay > 0:
            past = (clock.progress - (1 - self.decay)) / self.decay
            past = min(1.0, max(0.0, past))
        fall = self.lr_end + (1 - self.lr_end) * (1 + math.cos(math.pi * past)) / 2
        ramp = now.along(1.0, self.lr_ramp, self.ramp, self.shortest_ramp)
        return min(1.0, rise) * fall * ramp

    def beta2(self, start: float, now: StepContext) -> float | None:
        """Return AdamW's beta2 for the next step, initially ``start``; None if constant."""
        if self.beta2_end is None:
            return None
        return now.along(start, self.beta2_end, self.ramp, self.shortest_ramp)
