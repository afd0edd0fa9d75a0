"""How the variance of a squared distance grows with its true value.

Between clouds of one distribution the first order of a squared distance is 0, and what is left has a variance of its own. Away
from there the variance of the first order grows in proportion to the distance, along any one way in which the clouds may differ:
the distance is quadratic in their difference, and so is the variance of its terms. An interval that takes the error at the
measured value for that at the true value is too wide for good models: both are large together. The values that are not refused,
each tested with the variance that it would have, make an interval of the right coverage, as Wilson's does for a share.

References:
    Wilson, Probable inference, the law of succession, and statistical inference, 1927. Serfling, Approximation Theorems of
    Mathematical Statistics, 1980, chapter 5, for both orders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Growth", "growth_of", "mean_growth", "score_interval"]

Array = NDArray[np.float64]


class Growth(NamedTuple):
    """The variance of a distance whose mean is ``bias + d``: error^2 + slope d, and error^2 where d is below 0.

    Args:
        error: The standard error of a distance between clouds of one distribution, over new examples on both sides.
        reference_error: The part of it that comes from the reference, which all samplings share.
        slope: By how much the variance grows with the distance.
        reference_slope: The part of it that comes from the reference.
        bias: The mean of the distance between clouds of one distribution.
    """

    error: float = 0.0
    reference_error: float = 0.0
    slope: float = 0.0
    reference_slope: float = 0.0
    bias: float = 0.0


def growth_of(generated: Array, reference: Array, second: float, distance: float, bias: float = 0.0) -> Growth:
    """The growth of the variance of a distance, from the terms of its first order.

    Args:
        generated: (n,) what each generated example adds to n times the distance, up to a constant.
        reference: (m,) the same of reference examples.
        second: The variance of the second order, over (1/n + 1/m)^2.
        distance: The biased distance, quadratic in the difference of the two clouds, of which these are the terms; at least 0.
        bias: The mean of the score between clouds of one distribution: 0 for one that is unbiased.
    """
    n, m = len(generated), len(reference)
    of_reference = float(np.var(reference, ddof=1)) / m
    first = float(np.var(generated, ddof=1)) / n + of_reference
    root, over = math.sqrt(max(second, 0.0)), 1 / distance if distance > 0 else 0.0
    return Growth(root * (1 / n + 1 / m), root / m, first * over, of_reference * over, bias)


def mean_growth(parts: Sequence[Growth], independent: int = 1) -> Growth:
    """The mean over several measurements of one growth, of errors the root mean square.

    Args:
        parts: At least one.
        independent: Of how many independent distances the score is the mean, each with such a growth.
    """
    rows = np.array(parts, dtype=np.float64)
    rows[:, :2] **= 2
    error, reference_error, slope, reference_slope, bias = (float(mean) for mean in rows.mean(0))
    over = 1 / independent
    return Growth(math.sqrt(error * over), math.sqrt(reference_error * over), slope * over, reference_slope * over, bias)


def score_interval(value: float, growth: Growth, samplings: int, quantile: float) -> tuple[float, float]:
    """The means from which the value is at most so many standard errors away, each with the error that it would have.

    Args:
        value: The mean over samplings, which share their reference.
        growth: Of a single sampling.
        samplings: How many.
        quantile: How many standard errors.
    """
    shared = growth.reference_error**2
    still = shared + max(0.0, growth.error**2 - shared) / samplings
    slope = growth.reference_slope + max(0.0, growth.slope - growth.reference_slope) / samplings
    above, wide, lift = value - growth.bias, quantile * math.sqrt(still), quantile**2 * slope / 2
    root = math.sqrt(max(0.0, 2 * lift * above + wide**2 + lift**2))
    low = lift - root if above > wide else -wide
    high = lift + root if above > -wide else wide
    return value + low, value + high
