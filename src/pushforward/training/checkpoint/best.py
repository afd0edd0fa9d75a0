"""The best step of a map's training: by samples in 1, 2 and 4 calls together, since one call may get better and two worse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushforward.errors import RunUsageError
from pushforward.training.checkpoint.integrity import step_name
from pushforward.training.runs import log

BY = ("frechet", "frechet_2", "frechet_4")
"""The measures, equally weighted: the Fréchet distance of samples in 1, 2 and 4 calls."""
BETTER = 0.99
"""A step is better where its quality is below this share of the best one before: a smaller gain is worth no checkpoint."""


@dataclass(frozen=True)
class Best:
    """The best step of a training, and the last one that was measured.

    Args:
        step: The best step.
        quality: The geometric mean of the Fréchet distances there.
        last: The last step that was measured in all three numbers of calls.
        last_quality: The same there.
    """

    step: int
    quality: float
    last: int
    last_quality: float

    @property
    def sentence(self) -> str:
        by = "by the geometric mean of the Fréchet distances of samples in 1, 2 and 4 calls"
        if self.step == self.last:
            return f"of the steps that were measured the last one, {self.step:,}, is the best {by}"
        if self.quality >= self.last_quality:
            return f"no step is more than 1 % better than step {self.step:,} {by}"
        return f"step {self.step:,} is the best {by}: {self.quality / self.last_quality:.2f} times that of step {self.last:,}"


def quality(health: Mapping[str, Any] | None) -> float | None:
    """The geometric mean of the Fréchet distances in 1, 2 and 4 calls, where relative changes count the same; lower is better.

    None where one of them was not measured.
    """
    distances = [(health or {}).get(name) for name in BY]
    known = [float(distance) for distance in distances if distance is not None and math.isfinite(distance)]
    return math.prod(max(distance, 1e-12) for distance in known) ** (1 / len(BY)) if len(known) == len(BY) else None


class Choice:
    """Reads the rows of a log in their order and holds the best step so far.

    Attributes:
        best: It; None before the first measurement.
    """

    def __init__(self) -> None:
        self.best: Best | None = None

    def read(self, row: Mapping[str, Any]) -> None:
        measured, before = quality(row.get("health")), self.best
        if measured is None:
            return
        better = before is None or measured < BETTER * before.quality
        step, least = (row["step"], measured) if before is None or better else (before.step, before.quality)
        self.best = Best(step, least, row["step"], measured)


def best_of(history: Iterable[Mapping[str, Any]]) -> Best | None:
    """The best step of a log's rows; None for a model that was not measured in 1, 2 and 4 calls."""
    choice = Choice()
    for row in history:
        choice.read(row)
    return choice.best


def best_name(folder: Path) -> str:
    """The name of the checkpoint of a run's best step.

    Raises:
        RunUsageError: For a model that was not measured in 1, 2 and 4 calls.
    """
    best = best_of(log.read(folder / "metrics.jsonl"))
    if best is None:
        raise RunUsageError(
            f"{folder} has no best checkpoint: its samples in 1, 2 and 4 calls were never measured, since it is no map between "
            "two times, or was trained too briefly. Leave the checkpoint out for the newest."
        )
    return step_name(best.step)
