"""An alarm: a problem of a training, its size, and advice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SLACK", "Alarm", "Health", "Rule"]

SLACK = 1e-9
"""Rounding: less below a threshold is not below it."""

Health = Mapping[str, Any]
"""The measures of one step by name; a value is None where it was not finite."""


@dataclass(frozen=True)
class Alarm:
    """One alarm at the step at which it begins, or is over.

    Args:
        kind: "collapse", "missing", "critic", "divergence", "posterior", "regularised", "book", "disagreement", "off_diagonal",
            "targets", "skipped" or "variety".
        step: The training step.
        value: The measured value; None where it is not finite.
        threshold: The limit.
        sentence: Its meaning, in words.
        advice: How to fix it; empty where the alarm is over.
        over: Whether this is its end.
    """

    kind: str
    step: int
    value: float | None
    threshold: float
    sentence: str
    advice: str = ""
    over: bool = False

    @property
    def text(self) -> str:
        """Sentence and advice."""
        return f"{self.sentence}: {self.advice}" if self.advice else self.sentence


class Rule(ABC):
    """Something that can go wrong."""

    @abstractmethod
    def read(self, step: int, health: Health) -> Alarm | None:
        """The alarm that stands after this row, one that is ``over`` where all is well, or None where the row decides nothing."""
