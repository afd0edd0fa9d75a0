"""95 % intervals of scores: over the examples where a metric knows its error, else over samplings or trainings.

An interval is of the score's mean over new samples of the model. Where the metric knows its ``reference_error`` that mean is over
new held-out examples too; else it is that against these held-out examples. For a score whose mean depends on the number of
examples (`MetricInfo.unbiased` is False) it is the mean at this number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pushforward.metrics import Score

__all__ = ["over_trainings", "with_interval"]

NORMAL = 1.96


def with_interval(score: Score) -> Score:
    """A score of one or more samplings of a model with its interval, or without where nothing says how it varies."""
    values, shared = _numbers(score), score.reference_error or 0.0
    if score.value is None or len(values) != max(1, len(score.values)):
        return score
    if score.error is not None and score.reference_error is not None:
        own = max(0.0, score.error**2 - shared**2) / len(values)
        return _around(score, NORMAL * math.sqrt(shared**2 + own), "examples")
    if score.error is not None and len(values) == 1:
        return _around(score, NORMAL * score.error, "examples")
    return _between(score, values, shared, "samplings")


def over_trainings(score: Score) -> Score:
    """A score that is the mean over trainings (``values``) with its interval over new trainings."""
    values = _numbers(score)
    if score.value is None or len(values) != len(score.values):
        return replace(score, interval=None, interval_of=None)
    return _between(score, values, score.reference_error or 0.0, "trainings")


def _numbers(score: Score) -> list[float]:
    values = score.values or (score.value,)
    return [value for value in values if value is not None]


def _between(score: Score, values: Sequence[float], shared: float, of: str) -> Score:
    """Student's interval of a mean of independent values, beside an error that they share.

    References:
        Welch, The generalization of "Student's" problem when several different population variances are involved, 1947.
    """
    from scipy.special import stdtrit

    count = len(values)
    mean = math.fsum(values) / count
    own = math.fsum((value - mean) ** 2 for value in values) / max(1, count - 1) / count
    if count < 2 or own == 0:  # values that are all equal, such as counts of modes, do not say how they vary
        return replace(score, interval=None, interval_of=None)
    freedom = (count - 1) * ((own + shared**2) / own) ** 2
    return _around(score, float(stdtrit(freedom, 0.975)) * math.sqrt(own + shared**2), of)


def _around(score: Score, half: float, of: str) -> Score:
    assert score.value is not None
    return replace(score, interval=(score.value - half, score.value + half), interval_of=of)
