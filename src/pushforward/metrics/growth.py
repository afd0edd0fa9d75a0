"""How the variance of a squared distance grows with its true value.

Between clouds of one distribution the first order of a squared distance is 0, and what is left has a variance of its own. Away
from there the variance of the first order grows in proportion to the distance, along any one way in which the clouds may differ:
the distance is quadratic in their difference, and so is the variance of its terms. An interval that takes the error at the
measured value for that at the true value is too wide for good models: both are large together. The values that are not refused,
each tested with the variance that it would have, make an interval of the right coverage, as Wilson's does for a share.

A norm of the difference, such as the root of a squared distance, has that variance over four times its square. Where its mean is
d, and b between clouds of one distribution, that is v - (v - error^2) (b / d)^2 with the variance v of the first order: error^2
at b, and near v where d is large. It is exact to the first order for the root of a quadratic form, and near the truth for
others: of the absolute value of a normal number within an eighth, whatever its mean.

References:
    Wilson, Probable inference, the law of succession, and statistical inference, 1927. Serfling, Approximation Theorems of
    Mathematical Statistics, 1980, chapter 5, for both orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DRAWS = 400


class Growth(NamedTuple):
    """Variance of a distance with mean ``null_mean + d``: null_error^2 + slope d, or null_error^2 if d is below 0.

    For a norm with mean d, the variance is slope - (slope - null_error^2) (null_mean / d)^2, or
    null_error^2 if d is below ``null_mean``. "Null" is the null hypothesis that both clouds have
    the same distribution.

    Args:
        null_error: Standard error of the distance between clouds of one distribution, over new
            examples on both sides.
        null_reference_error: Part of ``null_error`` that comes from the reference, which all
            samplings share.
        slope: Growth of the variance with the distance; for a norm, the first-order variance, which
            the variance approaches.
        reference_slope: Part of ``slope`` that comes from the reference.
        null_mean: Mean distance between clouds of one distribution.
        is_norm: 1 for a norm, 0 for a squared distance.
    """

    null_error: float = 0.0
    null_reference_error: float = 0.0
    slope: float = 0.0
    reference_slope: float = 0.0
    null_mean: float = 0.0
    is_norm: float = 0.0


def growth_of(
    generated: Array, reference: Array, second: float, distance: float, bias: float = 0.0
) -> Growth:
    """Compute the growth of a distance's variance from its first-order terms.

    Args:
        generated: Contributions of generated examples to n times the distance, up to a constant,
            (n,).
        reference: Contributions of reference examples, (m,).
        second: Second-order variance divided by (1/n + 1/m)^2.
        distance: Biased distance computed from these terms, quadratic in the difference of the two
            clouds and non-negative.
        bias: Mean score between clouds of one distribution; 0 for unbiased scores.
    """
    n = len(generated)
    m = len(reference)
    of_reference = float(np.var(reference, ddof=1)) / m
    first = float(np.var(generated, ddof=1)) / n + of_reference
    root = math.sqrt(max(second, 0.0))
    over = 1 / distance if distance > 0 else 0.0
    return Growth(root * (1 / n + 1 / m), root / m, first * over, of_reference * over, bias)


def divergence_growth(counts: NDArray[np.int64], weights: Array) -> Growth:
    """Compute the growth of the variance of the reverse KL divergence between counts and true fractions.

    Mean and variance under the true fractions are simulated with `DRAWS` draws: if few examples are
    expected in a mode, they differ from a chi-squared distribution.

    Args:
        counts: Counts, (k,), at least one example in total.
        weights: True fractions, (k,), with sum 1.
    """
    n = int(counts.sum())
    true = np.random.Generator(np.random.Philox(0)).multinomial(n, weights, DRAWS)
    values = np.array([divergence(drawn / n, weights)[0] for drawn in true])
    distance, first = divergence(counts / n, weights)
    return Growth(
        float(values.std(ddof=1)),
        0.0,
        first / n / distance if distance > 0 else 0.0,
        0.0,
        float(values.mean()),
    )


def divergence(share: Array, weights: Array) -> tuple[float, float]:
    """Compute the reverse KL divergence between fractions and true fractions in nats, and the variance of its terms."""
    some = share > 0
    share = share[some]
    terms = np.log(share / weights[some])
    mean = float((share * terms).sum())
    return mean, float((share * terms**2).sum()) - mean**2


def mean_growth(parts: Sequence[Growth], independent: int = 1) -> Growth:
    """Average several measurements of a growth; errors by root mean square.

    Args:
        parts: Measurements, at least one.
        independent: Number of independent distances whose mean is the score.
    """
    rows = np.array(parts, dtype=np.float64)
    rows[:, :2] **= 2
    error, reference_error, slope, reference_slope, *rest = (float(mean) for mean in rows.mean(0))
    over = 1 / independent
    return Growth(
        math.sqrt(error * over),
        math.sqrt(reference_error * over),
        slope * over,
        reference_slope * over,
        *rest,
    )


def score_interval(
    value: float, growth: Growth, samplings: int, quantile: float
) -> tuple[float, float]:
    """Compute the interval of means within ``quantile`` of their own standard errors from the value.

    Args:
        value: Mean over samplings, which share their reference.
        growth: Growth of a single sampling.
        samplings: Number of samplings.
        quantile: Number of standard errors.
    """
    shared = growth.null_reference_error**2
    null_variance = shared + max(0.0, growth.null_error**2 - shared) / samplings
    slope = growth.reference_slope + max(0.0, growth.slope - growth.reference_slope) / samplings
    if growth.is_norm:
        return _norm_interval(value, growth.null_mean, null_variance, slope, quantile)
    above = value - growth.null_mean
    wide = quantile * math.sqrt(null_variance)
    lift = quantile**2 * slope / 2
    root = math.sqrt(max(0.0, 2 * lift * above + wide**2 + lift**2))
    low = lift - root if above > wide else -wide
    high = lift + root if above > -wide else wide
    return value + low, value + high


def _norm_interval(
    value: float, null_mean: float, null_variance: float, limit: float, quantile: float
) -> tuple[float, float]:
    """The same for a norm with these variances: between clouds of one distribution, and of distant clouds.

    Above ``null_mean``, ``mean - wide(mean)`` is convex, so that it may fall before it rises: the upper end is searched from its
    least value on, and is below ``null_mean`` where that is refused.
    """

    def wide(mean: float) -> float:
        if mean <= null_mean:
            return quantile * math.sqrt(null_variance)
        return quantile * math.sqrt(limit - (limit - null_variance) * (null_mean / mean) ** 2)

    def falls(mean: float) -> bool:
        return wide(mean) < quantile**2 * (limit - null_variance) * null_mean**2 / mean**3

    most = quantile * math.sqrt(max(null_variance, limit))
    low = _last(lambda mean: mean + wide(mean) <= value, value - most, value)
    turn = _last(falls, null_mean, value + most) if value + most > null_mean > 0 else null_mean
    if turn > value + most or turn - wide(turn) > value:
        return low, value + quantile * math.sqrt(null_variance)
    return low, _last(lambda mean: mean - wide(mean) <= value, turn, value + most)


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


# Divisions at least and at most, and examples of a side in all of them: to match 1,000 exactly takes a tenth of a second
LEAST = 12
MOST = 24
WORK = 8_000
# The numbers of the examples of either new cloud among all examples, those of the first side first
Division = tuple[NDArray[np.int64], NDArray[np.int64]]


def rounds(n: int) -> int:
    """Choose the number of divisions for n examples per side."""
    return int(np.clip(WORK // max(n, 1), LEAST, MOST))


def divisions(n: int, m: int, count: int) -> Iterator[Division]:
    """Draw balanced random divisions of n + m examples into two clouds of one distribution.

    A distance that is a norm of the difference of two distributions (W2, total variation) has no
    derivative if they are equal, so there is no formula for its variance. But then the sides of
    examples are interchangeable. Each new cloud takes examples from both sides in proportion, so
    only noise is left if the distributions differ.

    Args:
        n: Number of examples on the first side.
        m: Number of examples on the second side.
        count: Number of divisions.

    References:
        Southworth, Kim and Owen, Properties of balanced permutations, 2009: they lose the difference of two groups. Sommerfeld
        and Munk, Inference for empirical Wasserstein distances on finite spaces, 2018: where distributions are equal, the limit
        is a norm of a normal vector.
    """
    random = np.random.Generator(np.random.Philox(0))
    stay = round(n * n / (n + m))
    for _ in range(count):
        x = random.permutation(n)
        y = n + random.permutation(m)
        parts = [x[:stay], y[: n - stay]], [x[stay:], y[n - stay :]]
        yield tuple(np.concatenate(part) for part in parts)  # type: ignore[misc]


def norm_growth(
    distances: Sequence[float] | NDArray[np.float64],
    first_order: tuple[float, float],
    n: int,
    m: int,
    blocks: int = 1,
) -> Growth:
    """Compute how the variance of a norm grows with its mean, from distances between clouds of one distribution.

    Few distances give an uncertain standard deviation, which is widened so that 1.96 times it is a
    Student interval.

    Args:
        distances: Distances between `divisions`, (k,), at least two.
        first_order: Standard error for different clouds, from terms of examples, and the part from
            the reference.
        n: Number of generated examples per division.
        m: Number of reference examples per division.
        blocks: Number of independent squared distances of which the score is the root mean.
    """
    from scipy.special import stdtrit

    widened = float(stdtrit(len(distances) - 1, 0.975)) / 1.96
    error = widened * float(np.std(distances, ddof=1)) / blocks**0.5
    part = (1 / m) / (
        1 / n + 1 / m
    )  # of the variance of a quadratic form, its square comes from the reference
    return Growth(
        error,
        error * part,
        first_order[0] ** 2,
        first_order[1] ** 2,
        float(np.mean(distances)),
        is_norm=1.0,
    )
