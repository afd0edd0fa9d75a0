"""How distances vary between clouds of one distribution, measured on examples that change sides.

A distance that is a norm of the difference of two distributions (W2, sliced W2, total variation) has no derivative where they
are equal, and no formula of its variance there. But where they are equal, the sides of examples mean nothing: any division of
all examples into two clouds of these sizes has the law of the one that was drawn. Divisions are balanced: each new cloud takes
from either side in proportion, so that of clouds of unequal distributions the noise alone is left, and not their difference.

References:
    Southworth, Kim and Owen, Properties of balanced permutations, 2009: they lose the difference of two groups. As p-values they
    are too permissive; here they give a mean and a variance. Sommerfeld and Munk, Inference for empirical Wasserstein distances
    on finite spaces, 2018, arXiv:1610.03287: where distributions are equal, the limit is a norm of a normal vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.growth import Growth

# Divisions at least and at most, and examples of a side in all of them: to match 1,000 exactly takes a tenth of a second
LEAST, MOST, WORK = 12, 24, 8_000

# The numbers of the examples of either new cloud among all examples, those of the first side first
Division = tuple[NDArray[np.int64], NDArray[np.int64]]


def rounds(n: int) -> int:
    """How many divisions of n examples on either side are worth their time."""
    return int(np.clip(WORK // max(n, 1), LEAST, MOST))


def divisions(n: int, m: int, count: int) -> Iterator[Division]:
    """Balanced random divisions of n + m examples into n and m.

    Args:
        n: Examples of the first side.
        m: Examples of the second side.
        count: How many divisions.
    """
    random = np.random.Generator(np.random.Philox(0))
    stay = round(n * n / (n + m))
    for _ in range(count):
        x, y = random.permutation(n), n + random.permutation(m)
        parts = [x[:stay], y[: n - stay]], [x[stay:], y[n - stay :]]
        yield tuple(np.concatenate(part) for part in parts)  # type: ignore[misc]


def norm_growth(
    distances: Sequence[float] | NDArray[np.float64], first_order: tuple[float, float], n: int, m: int, blocks: int = 1
) -> Growth:
    """How the variance of a norm grows with its mean, from distances between clouds of one distribution.

    Few distances are an unsure measure of their spread, which is widened so that 1.96 of it make Student's interval.

    Args:
        distances: (k,) distances of `divisions`, two at least.
        first_order: The standard error where the clouds differ, from terms of examples, and the part of it from the reference.
        n: Generated examples of a division.
        m: Reference examples of a division.
        blocks: Of how many independent squared distances the score is the root mean.
    """
    from scipy.special import stdtrit

    widened = float(stdtrit(len(distances) - 1, 0.975)) / 1.96
    error = widened * float(np.std(distances, ddof=1)) / blocks**0.5
    part = (1 / m) / (1 / n + 1 / m)  # of the variance of a quadratic form, its square comes from the reference
    return Growth(error, error * part, first_order[0] ** 2, first_order[1] ** 2, float(np.mean(distances)), is_norm=1.0)
