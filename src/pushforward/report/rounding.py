"""Figures of scorecards as sentences state them: one rule for their digits, so that one figure looks the same everywhere.

The interval sets the decimals of a score, where there is none the spread (`pushforward.numbers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from pushforward.evaluation.results import Comparison
from pushforward.numbers import bounded, measured, plain

__all__ = ["Stated", "floor_text", "target_text", "value_text"]


class Stated(Protocol):
    """A score of a result, a `pushforward.report.statistics.Statistic`, or a `pushforward.report.rungs.Rung`."""

    @property
    def value(self) -> float | None:
        """The number."""

    @property
    def spread(self) -> float | None:
        """By how much it varies."""

    @property
    def interval(self) -> Sequence[float] | None:
        """The ends of the 95 % interval."""


def value_text(comparison: Comparison, metric: str, score: Stated) -> str:
    """A score's value alone, in the digits of its scorecard, with "%" where it is a share."""
    is_share = comparison.info(metric).unit == "%"
    factor = 100 if is_share else 1
    value = factor * (score.value or 0.0)
    if score.interval is None:
        text = measured(value, factor * (score.spread or 0.0))[0]
    else:
        text = bounded(value, [factor * end for end in score.interval])[0]
    return f"{text} %" if is_share else text


def floor_text(comparison: Comparison, metric: str) -> str:
    """What real data scores, likewise; empty where it is unknown."""
    floor = comparison.floors.get(metric)
    return "" if floor is None or floor.value is None else value_text(comparison, metric, replace(floor, interval=None))


def target_text(comparison: Comparison, metric: str) -> str:
    """The ideal value of a "target" metric, likewise, with its unit; empty where it is unknown."""
    info = comparison.info(metric)
    if info.target is not None:
        text = plain((100 if info.unit == "%" else 1) * info.target)
    elif not (text := floor_text(comparison, metric).removesuffix(" %")):
        return ""
    return f"{text} {info.unit}".strip()
