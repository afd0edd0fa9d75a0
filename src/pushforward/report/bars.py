"""What error bars and intervals were measured from, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from pushforward.evaluation.results import Comparison
from pushforward.metrics import Score
from pushforward.numbers import count, counted, listing
from pushforward.report.statistics import Statistic, rows_of

__all__ = ["SPREAD", "bars_note", "bars_of", "has_intervals", "has_trainings", "sampled", "samplings"]

SPREAD = "standard deviation over repeats"
"""What a spread is: over samplings or trainings of a model, or over redraws of real data."""


def has_intervals(comparison: Comparison) -> bool:
    """Whether any score has a 95 % interval."""
    return any(score.interval for row in rows_of(comparison) for score in row.scores.values())


def has_trainings(comparison: Comparison) -> bool:
    """Whether any model stands for several trainings."""
    return any(len(model.trainings) > 1 for model in comparison.models)


def _all_given(comparison: Comparison) -> bool:
    """Whether there are only samples that were there already, without any model."""
    return bool(comparison.models) and all(model.given for model in comparison.models)


def samplings(comparison: Comparison) -> str:
    """How often each model was sampled, such as ``3 samplings``, or into how many parts given samples were split."""
    repeats = comparison.settings.repeats
    most = max((len(score.values) for model in comparison.models for score in model.scores.values()), default=0)
    if repeats is not None and most:
        repeats = min(repeats, most)  # flows from other data than noise are sampled once
    if _all_given(comparison):
        return f"{counted(repeats or 1, 'part')} of the samples"
    return "samplings" if repeats is None else counted(repeats, "sampling")


def sampled(comparison: Comparison) -> str:
    """How many trainings and samplings scores were measured from, such as ``from 3 samplings of one training``."""
    if _all_given(comparison):
        return f"from {samplings(comparison)}"
    trainings = sorted({max(1, len(model.trainings)) for model in comparison.models})
    if trainings in ([], [1]):
        return f"from {samplings(comparison)} of one training"
    return f"from {' or '.join(map(count, trainings))} trainings, {samplings(comparison)} of each"


def bars_of(scores: Sequence[Statistic]) -> list[tuple[float, float] | None]:
    """The ends of the bars that a chart draws: intervals, which reach the middle between scores that do not differ measurably."""
    bars = [score.bar for score in scores]
    for pair in combinations(range(len(scores)), 2):
        first, other = (scores[at] for at in pair)
        middle = (first.value + other.value) / 2
        if not (first.better_than(other) or other.better_than(first)):
            for at in pair:
                bars[at] = (min(ends[0], middle), max(ends[1], middle)) if (ends := bars[at]) is not None else None
    return bars


def bars_note(comparison: Comparison, scores: Iterable[Score], measured_from: str = "") -> str:
    """The legend of a chart's error bars; empty where none is drawn.

    Args:
        comparison: What is reported.
        scores: What the chart shows.
        measured_from: Such as ``from 3 samplings of one training``; empty takes that of the models.
    """
    drawn = list(scores)
    bounded = [score for score in drawn if score.interval]
    spread = [score for score in drawn if not score.interval and score.spread is not None]
    parts = (
        ["the 95 % interval of a score, longer where two scores do not differ measurably, so that their bars touch"]
        if bounded
        else []
    )
    parts += (
        ["one spread either way where there is no interval" if bounded else "one spread of a score either way"] if spread else []
    )
    return f"Bars: {listing(parts)}, {measured_from or sampled(comparison)}." if parts else ""
