"""Growth of the variance of a squared distance, or of a norm, with its true value.

References:
    Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    Serfling, Approximation Theorems of Mathematical Statistics, 1980, chapter 5, for both orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.subsets import Array, fixed_random

DRAWS = 400


class VarianceModel(NamedTuple):
    """Variance of a distance with mean ``null_mean + d``: null_error^2 + slope d.

    "Null" is the hypothesis that both clouds have the same distribution. The variance of a norm
    with mean d is slope - (slope - null_error^2) (null_mean / d)^2.

    Args:
        null_error: Standard error between clouds of one distribution, over both sides.
        null_reference_error: Part of ``null_error`` from the reference, which samplings share.
        slope: Growth of the variance with the distance; for a norm, the limit of the variance.
        reference_slope: Part of ``slope`` from the reference.
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
) -> VarianceModel:
    """Compute the growth of a distance's variance from its first-order terms (n,) and (m,).

    ``second`` is the second-order variance divided by (1/n + 1/m)^2; ``bias`` is the null mean.
    """
    n = len(generated)
    m = len(reference)
    root = math.sqrt(max(second, 0.0))
    null_error = root * (1 / n + 1 / m)
    if distance <= 0:
        return VarianceModel(null_error, root / m, null_mean=bias)
    of_reference = float(np.var(reference, ddof=1)) / m
    first_order = float(np.var(generated, ddof=1)) / n + of_reference
    over = 1 / distance
    return VarianceModel(null_error, root / m, first_order * over, of_reference * over, bias)


def divergence_growth(counts: NDArray[np.int64], weights: Array) -> VarianceModel:
    """Compute the growth of the variance of a reverse KL divergence (`divergence`) by simulation.

    Few examples in a mode do not give a chi-squared distribution.
    """
    n = int(counts.sum())
    null_draws = fixed_random().multinomial(n, weights, DRAWS)
    null = np.array([divergence(drawn / n, weights)[0] for drawn in null_draws])
    distance, variance = divergence(counts / n, weights)
    slope = 0.0
    if distance > 0:
        slope = variance / n / distance
    null_error = float(null.std(ddof=1))
    return VarianceModel(null_error, slope=slope, null_mean=float(null.mean()))


def divergence(share: Array, weights: Array) -> tuple[float, float]:
    """Compute KL(share || weights) of fractions (k,) in nats, and its terms' variance."""
    some = share > 0
    p = share[some]
    log_ratio = np.log(p / weights[some])
    mean = float((p * log_ratio).sum())
    return mean, float((p * log_ratio**2).sum()) - mean**2


def mean_growth(parts: Sequence[VarianceModel]) -> VarianceModel:
    """Average measurements of a growth."""
    rows = np.array(parts, dtype=np.float64)
    rows[:, :2] **= 2
    mean = VarianceModel(*rows.mean(0).tolist())
    return mean._replace(
        null_error=math.sqrt(mean.null_error),
        null_reference_error=math.sqrt(mean.null_reference_error),
    )


def score_interval(
    value: float, growth: VarianceModel, samplings: int, quantile: float
) -> tuple[float, float]:
    """Compute the interval of means within ``quantile`` of their own standard errors."""
    shared = growth.null_reference_error**2
    null_variance = shared + max(0.0, growth.null_error**2 - shared) / samplings
    own_slope = max(0.0, growth.slope - growth.reference_slope)
    slope = growth.reference_slope + own_slope / samplings
    if growth.is_norm:
        return _norm_interval(value, growth.null_mean, null_variance, slope, quantile)
    above = value - growth.null_mean
    wide = quantile * math.sqrt(null_variance)
    lift = quantile**2 * slope / 2
    root = math.sqrt(max(0.0, 2 * lift * above + wide**2 + lift**2))
    low = -wide
    if above > wide:
        low = lift - root
    high = wide
    if above > -wide:
        high = lift + root
    return value + low, value + high


def _norm_interval(
    value: float, null_mean: float, null_variance: float, limit: float, quantile: float
) -> tuple[float, float]:
    null_width = quantile * math.sqrt(null_variance)

    def wide(mean: float) -> float:
        if mean <= null_mean:
            return null_width
        return quantile * math.sqrt(limit - (limit - null_variance) * (null_mean / mean) ** 2)

    def falls(mean: float) -> bool:
        return wide(mean) < quantile**2 * (limit - null_variance) * null_mean**2 / mean**3

    def below(mean: float) -> bool:
        return mean + wide(mean) <= value

    def not_above(mean: float) -> bool:
        return mean - wide(mean) <= value

    most = quantile * math.sqrt(max(null_variance, limit))
    low = _last(below, value - most, value)
    # above null_mean, mean - wide(mean) is convex: the upper end lies beyond its least value
    turn = null_mean
    if value + most > null_mean > 0:
        turn = _last(falls, null_mean, value + most)
    if turn > value + most or not not_above(turn):
        return low, value + null_width
    return low, _last(not_above, turn, value + most)


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


# Limits of the number of divisions, and of examples per side in all of them
LEAST = 12
MOST = 24
WORK = 8_000
# Indices of the examples of both new clouds among all examples, those of the first side first
Division = tuple[NDArray[np.int64], NDArray[np.int64]]


def rounds(n: int) -> int:
    """Choose the number of divisions for n examples per side."""
    return int(np.clip(WORK // max(n, 1), LEAST, MOST))


def divisions(n: int, m: int, count: int) -> Iterator[Division]:
    """Draw balanced random divisions of n + m examples into two clouds of one distribution.

    They measure the variance of a norm, which has no derivative at equal distributions. Each new
    cloud takes examples from both sides in proportion.

    References:
        Southworth, Kim and Owen, Properties of balanced permutations, 2009.
        Sommerfeld and Munk, Inference for empirical Wasserstein distances on finite spaces, 2018.
    """
    random = fixed_random()
    stay = round(n * n / (n + m))
    for _ in range(count):
        x = random.permutation(n)
        y = n + random.permutation(m)
        first = np.concatenate([x[:stay], y[: n - stay]])
        other = np.concatenate([x[stay:], y[n - stay :]])
        yield first, other


def norm_growth(
    distances: Sequence[float] | Array,
    first_order: tuple[float, float],
    n: int,
    m: int,
    blocks: int = 1,
) -> VarianceModel:
    """Compute how the variance of a norm grows, from distances between `divisions`.

    ``first_order`` are errors for different clouds; the score is the root mean of squared distances
    of independent ``blocks``.
    """
    from scipy.special import stdtrit

    widened = float(stdtrit(len(distances) - 1, 0.975)) / 1.96
    error = widened * float(np.std(distances, ddof=1)) / blocks**0.5
    error_share = (1 / m) / (1 / n + 1 / m)  # its square is the fraction of the variance
    of_all, of_reference = first_order
    return VarianceModel(
        error,
        error * error_share,
        of_all**2,
        of_reference**2,
        float(np.mean(distances)),
        is_norm=1.0,
    )
