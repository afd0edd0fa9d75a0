"""Random subsets of examples that do not depend on the order of the examples."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

COLUMNS = 8  # Columns by which examples are put in order, at most
GROUPS = 32  # Groups of examples whose terms are stored, on either side
DIGITS = 6  # Significant digits of stored terms
# How often some examples are left out to measure a variance, and which part, a fifth
SPLITS = 30
LEFT_OUT = 5


def groups_of(n: int) -> np.ndarray:
    """Assign n examples to `GROUPS` random groups of equal size; the groups are the same for all models."""
    number = np.empty(n, dtype=np.int64)
    number[np.random.Generator(np.random.Philox(0)).permutation(n)] = np.arange(n) % min(GROUPS, n)
    return number


def by_examples(terms: np.ndarray) -> tuple[float, ...]:
    """Average the contributions of single examples to a score over the groups of `groups_of`.

    If two models have the results a and b, the standard error of the mean of a - b is the error of
    their difference over new examples of this side: much smaller than the error of either score if
    the same examples are hard for both.

    Args:
        terms: Contributions of examples to the score times the number of examples, up to a
            constant, (n,); NaN for omitted examples.
    """
    groups = groups_of(len(terms))
    used = ~np.isnan(terms)
    means = np.bincount(groups[used], weights=terms[used]) / np.bincount(groups[used])
    return tuple(float(f"{mean:.{DIGITS}g}") for mean in means)


def placed(terms: np.ndarray, at: np.ndarray, n: int) -> np.ndarray:
    """Place the terms of the examples at some indices among all n, with NaN elsewhere."""
    every = np.full(n, np.nan)
    every[at] = terms
    return every


def drawn(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return the examples x (m, d) at the indices of `drawn_at`."""
    return np.asarray(x[drawn_at(x, n, seed)])


def drawn_at(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw the indices of n of the examples x (m, d), in an order that depends only on their values and on the seed.

    Examples may be sorted by class, so the first n are not a random sample.
    """
    rising = rising_order(x)
    return np.asarray(rising[random_for(x[rising], seed).permutation(len(x))[:n]])


def rising_order(x: np.ndarray) -> np.ndarray:
    """Return the indices that sort examples (m, d) by their first columns, at most 8."""
    return np.lexsort(x[:, :COLUMNS].T[::-1])


def ordered(x: np.ndarray) -> np.ndarray:
    """Return the examples x (m, d) in `rising_order`."""
    return np.asarray(x[rising_order(x)])


def random_for(examples: np.ndarray, seed: int) -> np.random.Generator:
    """Create a random number generator from a seed and the values of the examples."""
    return np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(examples).tobytes())])


def orders(n: int, count: int) -> list[np.ndarray]:
    """Return fixed random orders of n examples."""
    return [np.random.Generator(np.random.Philox(split)).permutation(n) for split in range(count)]


def left_out(score: Callable[[np.ndarray], float], n: int) -> float:
    """Compute the variance of a score by a jackknife that omits a fifth of the examples at a time."""
    few = max(1, n // LEFT_OUT)
    return (
        float(np.var([score(order[few:]) for order in orders(n, SPLITS)], ddof=1)) * (n - few) / few
    )


def nearest(x: np.ndarray, others: np.ndarray, skipped: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Find the distance and index of the nearest other example, each (n,), after skipping the ``skipped`` nearest ones."""
    from sklearn import config_context
    from sklearn.neighbors import NearestNeighbors

    with config_context(assume_finite=True, skip_parameter_validation=True):
        distances, at = NearestNeighbors(n_neighbors=1 + skipped).fit(others).kneighbors(x)
    return distances[:, -1], at[:, -1]
