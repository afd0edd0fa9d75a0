"""Budgets and settings of a training run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushforward.errors import UsageError
from pushforward.trackers import Tracker

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS = "s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?"
_NUMBER = r"\d+\.?\d*|\.\d+"
_GROUPED = r"\d+(?:_\d+)*\.?\d*|\.\d+"
_COUNTS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}
# Training steps, and passes over the data, below which samples are poor
STEPS = 500
PASSES = 5
LONGER = 4  # How many times the budget is advised where training was short


def _read(text: str, number: str, units: str) -> tuple[float, str]:
    match = re.fullmatch(rf"\s*({number})\s*({units})?\s*", text)
    if match:
        return (float(match[1]), match[2] or "")
    return (math.nan, "")


@dataclass(frozen=True)
class Budget:
    """Training budget: exactly one of steps, samples or seconds."""

    steps: int | None = None
    samples: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.samples, self.seconds) if value is not None]
        if len(given) != 1:
            raise UsageError("Pass exactly one budget: `steps`, `samples` or `seconds`.")
        if not given[0] > 0:
            raise UsageError(f"A budget must be positive, got {given[0]}.")

    @staticmethod
    def duration(text: str | float) -> float:
        """Parse seconds from "90", "60s", "10m", "1.5h" or "10 minutes"."""
        value, unit = _read(str(text).lower(), _NUMBER, _UNITS)
        value *= _SECONDS[unit[:1] or "s"]
        if not value > 0:
            raise UsageError(
                f'"{text}" is not a duration: write 90s, 10m or 1.5h (one number and one unit).'
            )
        return value

    @staticmethod
    def count(text: str | int) -> int:
        """Parse a number from "5000", "200k" or "1.5M"."""
        value, unit = _read(str(text), _GROUPED, "[kKmM]")
        value *= _COUNTS.get(unit, math.nan)
        if not value >= 1:
            raise UsageError(f'"{text}" is not a count: write 5000, 200k or 1M (a million).')
        return round(value)

    def total_steps(self, batch: int) -> int | None:
        if self.steps is not None:
            return self.steps
        if self.samples is None:
            return None
        return math.ceil(self.samples / batch)

    def after(self, seconds: float) -> Budget:
        """Return the rest of a budget in seconds after earlier work, at least a quarter."""
        if self.seconds is None:
            return self
        return Budget(seconds=max(self.seconds - seconds, self.seconds / 4))

    def longer(self, step: int) -> Budget:
        """Return a budget that is `LONGER` times as large."""
        if self.seconds is not None:
            return Budget(seconds=math.ceil(LONGER * self.seconds))
        if self.samples is not None:
            return Budget(samples=LONGER * self.samples)
        return Budget(steps=LONGER * max(STEPS, step))

    def check_beyond(self, folder: object, state: Mapping[str, Any], batch: int) -> None:
        """Raise an error if a run with this state is already trained for more than a budget."""
        step = state["step"]
        seconds = state["seconds"]
        left = self.after(state.get("store_seconds", 0.0)).seconds
        if left is None:
            less = (self.total_steps(batch) or 0) < step
        else:
            less = left < seconds
        if less:
            raise UsageError(
                f"{folder} is already trained for {step:,} steps ({seconds:,.1f} seconds), so the "
                f"budget `{self.argument}` leaves nothing to do. The budget includes the steps "
                "already done: give more."
            )

    def __str__(self) -> str:
        if self.steps is not None:
            return f"--steps {self.steps}"
        if self.samples is not None:
            return f"--samples {self.samples}"
        return f"--budget {self.seconds:g}s"

    @property
    def argument(self) -> str:
        """Return the argument of `pushforward.resume`, such as ``steps=100``."""
        name, value = str(self).removeprefix("--").split()
        if name == "budget":
            return f'budget="{value}"'
        return f"{name}={value}"


@dataclass(frozen=True)
class Settings:
    """Settings of one training run.

    Args:
        asked: Options by command-line name, so that a report can print a command.
        init: Run whose weights initialise training.
        init_step: Step of the checkpoint passed as ``init``.
        from_seed: Whether the weights can be redrawn from the seed.
    """

    seed: int = 0
    device: Any = "cpu"
    augment: Sequence[str] = ()
    checkpoint_every: int | None = None
    plugins: Sequence[Path] = ()
    asked: Mapping[str, Any] | None = None
    init: str | None = None
    init_step: int | None = None
    from_seed: bool = False
    trackers: Sequence[Tracker] = ()

    def stored(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "augment": list(self.augment),
            "checkpoint_every": self.checkpoint_every,
            "asked": self.asked,
            "init": self.init,
            "init_step": self.init_step,
            "from_seed": self.from_seed,
        }
