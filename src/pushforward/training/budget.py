"""How long to train, and where in that time a step stands."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pushforward.errors import UsageError

__all__ = ["Budget", "Clock"]

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_COUNTS = {"": 1, "k": 1_000, "m": 1_000_000}
SETTLE = 2 / 3
"""The share of a seconds budget after which the number of steps is fixed, so that the rest is exactly repeatable."""


@dataclass(frozen=True)
class Budget:
    """An end of training: exactly one of steps, samples or seconds (of training steps, over all resumes)."""

    steps: int | None = None
    samples: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.samples, self.seconds) if value is not None]
        if len(given) != 1:
            raise UsageError("Give exactly one budget: `steps`, `samples` or `seconds`.")
        if not given[0] > 0:
            raise UsageError(f"A budget must be positive, got {given[0]}.")

    @staticmethod
    def duration(text: str | float) -> float:
        """Seconds from "90", "60s", "10m" or "1.5h"."""
        match = re.fullmatch(r"\s*([\d.]+)\s*(s|m|min|h)?\s*", str(text).lower())
        try:
            value = float(match[1]) * _SECONDS[match[2] or "s"] if match else math.nan
        except ValueError:
            value = math.nan
        if not value > 0:
            raise UsageError(f'"{text}" is no duration; write 90s, 10m or 1.5h.')
        return value

    @staticmethod
    def count(text: str | int) -> int:
        """A number from "5000", "200k" or "1.5M"."""
        match = re.fullmatch(r"\s*([\d._]+)\s*(k|m)?\s*", str(text).lower())
        try:
            value = float(match[1]) * _COUNTS[match[2] or ""] if match else math.nan
        except ValueError:
            value = math.nan
        if not value >= 1:
            raise UsageError(f'"{text}" is no count; write 5000, 200k or 1M.')
        return round(value)

    def total_steps(self, batch: int) -> int | None:
        """The number of steps, where the budget fixes it in advance."""
        if self.steps is not None:
            return self.steps
        return None if self.samples is None else math.ceil(self.samples / batch)

    def __str__(self) -> str:
        if self.steps is not None:
            return f"--steps {self.steps}"
        return f"--samples {self.samples}" if self.samples is not None else f"--budget {self.seconds:g}s"


class Clock:
    """The place of a run in its budget, and the learning rate's share that goes with it.

    Args:
        budget: The end.
        batch: Samples per step.
    """

    def __init__(self, budget: Budget, batch: int) -> None:
        self.budget, self.step, self.seconds = budget, 0, 0.0
        self.total = budget.total_steps(batch)

    def tick(self, seconds: float) -> None:
        """One step has been made and took so long."""
        self.step += 1
        self.seconds += seconds
        limit = self.budget.seconds
        if self.total is None and limit is not None and self.seconds >= SETTLE * limit:
            self.total = max(self.step, round(self.step / self.seconds * limit))

    @property
    def progress(self) -> float:
        """The share of the budget that is used, in [0, 1]."""
        if self.total is not None:
            return min(1.0, self.step / self.total)
        assert self.budget.seconds is not None
        return min(SETTLE, self.seconds / self.budget.seconds)

    @property
    def done(self) -> bool:
        """Whether the budget is used up."""
        return self.total is not None and self.step >= self.total

    def rate(self, warmup: int, decay: float, end: float) -> float:
        """The share of the learning rate for the next step: a linear rise, a plateau, a cosine fall to ``end``."""
        rise = min(1.0, (self.step + 1) / max(1, min(warmup, (self.total or warmup * 10) // 10 or 1)))
        past = 0.0 if decay <= 0 else max(0.0, (self.progress - (1 - decay)) / decay)
        return rise * (end + (1 - end) * (1 + math.cos(math.pi * min(1.0, past))) / 2)
