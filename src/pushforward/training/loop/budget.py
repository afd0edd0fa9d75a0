"""The settings of a training: how long it takes, where in that time a step stands, and when it is saved."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pushforward.errors import UsageError
from pushforward.trackers import Tracker

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS = "s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?"
_NUMBER = r"\d+\.?\d*|\.\d+"
_GROUPED = r"\d+(?:_\d+)*\.?\d*|\.\d+"
_COUNTS = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}
SETTLE = (
    2 / 3
)  # the share of a seconds budget after which the number of steps is fixed, so that the rest can be repeated exactly
CHECKS = (
    48  # from there on the forecast is repeated whenever another 1 / CHECKS of the budget is used
)
TOLERANCE = 0.02  # the share of a seconds budget by which training may miss it before the number of steps is corrected
LATEST = 15  # the usual time of a step is the median of so many latest ones
FEWEST = 5  # a forecast counts at least so many steps
WARMUP = 0.1  # the share of training in which the learning rate has risen, whatever the number of warm-up steps
# Training steps, and passes over the data, below which samples are poor
STEPS = 500
PASSES = 5
LONGER = 4  # How many times the budget is advised where training was short
LONGEST = 4  # a forecast counts a longer step, such as one in which the machine was suspended, as so many usual ones


def _read(text: str, number: str, units: str) -> tuple[float, str]:
    match = re.fullmatch(rf"\s*({number})\s*({units})?\s*", text)
    if match:
        return (float(match[1]), match[2] or "")
    return (math.nan, "")


@dataclass(frozen=True)
class Budget:
    """Training budget: exactly one of steps, samples or seconds (of training steps, over all resumes)."""

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
        """Return the rest of a budget in seconds after work before the first step, at least a quarter."""
        if self.seconds is None:
            return self
        return Budget(seconds=max(self.seconds - seconds, self.seconds / 4))

    def longer(self, step: int) -> Budget:
        """Return a budget of the same kind that is `LONGER` times as large, for a run that has taken ``step`` steps."""
        if self.seconds is not None:
            return Budget(seconds=math.ceil(LONGER * self.seconds))
        if self.samples is not None:
            return Budget(samples=LONGER * self.samples)
        return Budget(steps=LONGER * max(STEPS, step))

    def check_beyond(self, folder: object, seconds: float, step: int, batch: int) -> None:
        """Raise an error if a run is already trained for more than a budget.

        Raises:
            UsageError: With the training so far.
        """
        done = {"steps": step, "samples": step * batch, "seconds": seconds}
        unit, wanted = next(
            (name, value) for name, value in asdict(self).items() if value is not None
        )
        if wanted < done[unit] and (self.total_steps(batch) or 0) < step:
            raise UsageError(
                f"{folder} is already trained for {round(done[unit], 2):,.10g} {unit}, so a budget of {wanted:,.10g} "
                "leaves nothing to do. The budget includes the steps already done: give more, such as "
                f"`{unit}={math.ceil(2 * done[unit])}`."
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
class Stage:
    """Total number of steps, valid until the next stage.

    Args:
        step: Step after which the total was fixed.
        progress: Fraction of the budget used at that step; afterwards it grows linearly to 1 at the
            last step.
        total: Total number of steps.
    """

    step: int
    progress: float
    total: int


class Clock:
    """Position of a run in its budget, and the corresponding factor of the learning rate.

    With a budget in seconds, progress is the share of the seconds used, until `SETTLE`. There the number of steps is forecast and
    fixed: the first `Stage`, from which on progress depends only on the step. The forecast is then repeated, and if training
    would miss the budget by more than `TOLERANCE`, another stage corrects the number of steps; so it is before the last step.
    Progress continues from its value, and the first stage from `SETTLE` even after a step that took more of the budget, so that
    the learning rate does not jump.

    Args:
        budget: Training budget.
        batch: Batch size.
    """

    def __init__(self, budget: Budget, batch: int) -> None:
        self.budget = budget
        self.step = 0
        self.seconds = 0.0
        self.stages: list[Stage] = []
        self.warmed = 0.0  # the share of a seconds budget for the warm-up, without the first step and the excess of slow ones
        self.fixed = budget.total_steps(batch)  # None of a budget in seconds
        self._marks = [(0, 0.0)]
        self._latest: deque[float] = deque(maxlen=LATEST)
        self._marked = self._paced = 0.0

    def tick(self, seconds: float) -> Stage | None:
        """Count one step with its duration.

        Returns:
            New stage, if this step fixes or corrects the number of steps.
        """
        place = self._place
        progress = self.progress
        self.step += 1
        self.seconds += seconds
        if self.budget.seconds is None:
            return None
        if self.stages:
            self.warmed += self.progress - progress
        elif self.step > 1:
            share = seconds / self.budget.seconds
            usual = self.warmed / (self.step - 2) if self.step > 2 else share
            self.warmed += min(share, 2 * usual)
        self.mark(self.step, self.seconds)
        due = self.total is None or self._place > place or self.step >= self.total - 1
        start = self.progress if self.stages else min(self.progress, max(progress, SETTLE))
        stage = self._forecast(start) if due and self._place >= round(SETTLE * CHECKS) else None
        if stage is not None:
            self.stages.append(stage)
        return stage

    def state(self) -> dict[str, Any]:
        stages = [asdict(stage) for stage in self.stages]
        return {
            "step": self.step,
            "seconds": self.seconds,
            "total": self.total,
            "stages": stages,
            "warmed": self.warmed,
        }

    def restore(self, state: Mapping[str, Any], stages: Sequence[Stage]) -> None:
        """Restore a checkpoint's `state`, and its stages if the budget is the same."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.warmed = state.get("warmed", 0.0)
        if self.budget.seconds is not None:
            self.stages = list(stages)
            if not self.warmed and self.step > 1:
                self.warmed = WARMUP  # in steps of another kind of budget

    def mark(self, step: int, seconds: float) -> None:
        """Record when a step was completed, for forecasts; keeps one record per 1 / CHECKS of the budget.

        Forecasts count a step that took unusually long as `LONGEST` usual ones.
        """
        limit = self.budget.seconds
        if limit is None:
            return
        self._latest.append(max(0.0, seconds - self._marked))
        self._marked = seconds
        self._paced += min(self._latest[-1], LONGEST * median(self._latest))
        if int(CHECKS * self._paced / limit) > int(CHECKS * self._marks[-1][1] / limit):
            self._marks.append((step, self._paced))

    @property
    def total(self) -> int | None:
        if self.stages:
            return self.stages[-1].total
        return self.fixed

    @property
    def risen(self) -> float:
        """Return the fraction of the warm-up that is done by time, if the number of steps is not fixed."""
        if self.fixed is not None or self.step < 2:
            return 0.0
        return (
            self.warmed * self.step / (self.step - 1) / WARMUP
        )  # of the next step the share is taken to be the mean so far

    @property
    def progress(self) -> float:
        """Return the fraction of the budget used, in [0, 1]; it never decreases."""
        if self.stages:
            last = self.stages[-1]
            if self.step >= last.total:
                return 1.0
            return last.progress + (1 - last.progress) * (self.step - last.step) / (
                last.total - last.step
            )
        return min(1.0, self._used if self.fixed is None else self.step / self.fixed)

    @property
    def done(self) -> bool:
        if self.total is None:
            return self._used >= 1
        return self.step >= self.total

    @property
    def _used(self) -> float:
        if self.budget.seconds is None:
            return 0.0
        return self.seconds / self.budget.seconds

    @property
    def _place(self) -> int:
        return int(CHECKS * max(self.progress, self._used) + 1e-9)

    def _forecast(self, start: float) -> Stage | None:
        """The stage, from the progress ``start`` on, that is due if training would miss the budget; the first one always is.

        The pace is that of the latest steps, over as much time as is left, without the excess of slow steps.
        """
        limit = self.budget.seconds or 0.0
        left = limit - self.seconds
        since = self._paced - max(left, limit / CHECKS)
        step, paced = next(
            (
                mark
                for mark in reversed(self._marks)
                if mark[0] <= self.step - FEWEST and mark[1] <= since
            ),
            (0, 0.0),
        )
        pace = (self._paced - paced) / (self.step - step)
        if (
            self.total is not None
            and abs((self.total - self.step) * pace - left) <= TOLERANCE * limit
        ):
            return None
        return Stage(self.step, start, self.step + (max(0, round(left / pace)) if pace > 0 else 0))


@dataclass(frozen=True)
class Settings:
    """Settings of one training run.

    Args:
        seed: Seed of everything random.
        device: Device for training, a `torch.device` or its name.
        augment: Augmentations by name ("flip", "shift").
        checkpoint_every: Number of steps between checkpoints; None for every two minutes of
            training, or every quarter of a short budget. The first and the last step are always
            saved.
        plugins: Python files that define parts of the run; their hashes are stored.
        asked: Given options besides the data, by command-line name, so that a report can print a
            command that repeats the run; None if the recipe was built in Python.
        init: Run whose weights initialise training, for the same purpose.
        init_step: Step of the checkpoint passed as ``init``.
        trackers: Trackers that receive the log; not stored.
        from_seed: Whether the weights can be redrawn from the seed and the method's spec.
    """

    seed: int = 0
    device: Any = "cpu"
    augment: Sequence[str] = ()
    checkpoint_every: int | None = None
    plugins: Sequence[Path] = ()
    asked: Mapping[str, Any] | None = None
    init: str | Path | None = None
    init_step: int | None = None
    from_seed: bool = False
    trackers: Sequence[Tracker] = ()

    def stored(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "augment": list(self.augment),
            "checkpoint_every": self.checkpoint_every,
            "asked": None if self.asked is None else dict(self.asked),
            "init": None if self.init is None else str(self.init),
            "init_step": self.init_step,
            "from_seed": self.from_seed,
        }
