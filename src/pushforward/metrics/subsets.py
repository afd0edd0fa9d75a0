"""Random subsets, nearest examples and principal axes of arrays of examples."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np

Array = np.ndarray
COLUMNS = 8  # Columns by which examples are sorted
GROUPS = 32  # Groups of examples whose terms are stored, on either side
DIGITS = 6  # Significant digits of stored terms
# Number of jackknife rounds, and the inverse of the fraction that each omits
SPLITS = 30
FULL = 1024  # Columns up to which principal axes are exact
ROUNDS = 4  # Iterations for approximate principal axes
LEFT_OUT = 5


def fixed_random(seed: int = 0) -> np.random.Generator:
    """Create a random number generator with the same numbers on every machine."""
    return np.random.Generator(np.random.Philox(seed))


def blocks(n: int, size: int) -> Iterator[slice]:
    """Divide n examples into consecutive blocks of at most ``size``."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def groups_of(n: int) -> Array:
    """Assign n examples to `GROUPS` fixed random groups of equal size."""
    number = np.empty(n, dtype=np.int64)
    number[fixed_random().permutation(n)] = np.arange(n) % min(GROUPS, n)
    return number


def by_examples(terms: Array) -> tuple[float, ...]:
    """Average the contributions of examples to n times a score over the groups of `groups_of`.

    The standard error of the mean of a difference of two models' results is the error of their
    difference over new examples. Omitted examples have NaN.
    """
    groups = groups_of(len(terms))
    used = ~np.isnan(terms)
    sums = np.bincount(groups[used], weights=terms[used])
    means = sums / np.bincount(groups[used])
    return tuple(float(f"{mean:.{DIGITS}g}") for mean in means)


def placed(terms: Array, at: Array, n: int) -> Array:
    """Place the terms of some examples among all n, with NaN elsewhere."""
    every = np.full(n, np.nan)
    every[at] = terms
    return every


def drawn(x: Array, n: int, seed: int) -> Array:
    """Return the examples x (m, d) at the indices of `drawn_at`."""
    return np.asarray(x[drawn_at(x, n, seed)])


def drawn_at(x: Array, n: int, seed: int) -> Array:
    """Draw the indices of n of the examples x (m, d), from their values and a seed.

    Examples may be sorted by class.
    """
    rising = rising_order(x)
    random = random_for(x[rising], seed)
    return rising[random.permutation(len(x))[:n]]


def rising_order(x: Array) -> Array:
    """Return the indices that sort examples (m, d) by their first columns, at most 8."""
    return np.lexsort(x[:, :COLUMNS].T[::-1])


def ordered(x: Array) -> Array:
    """Return the examples x (m, d) in `rising_order`."""
    return np.asarray(x[rising_order(x)])


def random_for(examples: Array, seed: int) -> np.random.Generator:
    """Create a random number generator from a seed and the values of the examples."""
    checksum = zlib.crc32(np.ascontiguousarray(examples).tobytes())
    return np.random.default_rng([seed, checksum])


def orders(n: int, count: int) -> list[Array]:
    """Return fixed random orders of n examples."""
    return [fixed_random(seed).permutation(n) for seed in range(count)]


def left_out(score: Callable[[Array], float], n: int) -> float:
    """Compute the variance of a score by a jackknife that omits a fifth of n examples."""
    few = max(1, n // LEFT_OUT)
    values = [score(order[few:]) for order in orders(n, SPLITS)]
    return float(np.var(values, ddof=1)) * (n - few) / few


def nearest(x: Array, others: Array, skipped: int = 0) -> tuple[Array, Array]:
    """Find the distance and index of the nearest example, each (n,), but ``skipped`` ones."""
    from sklearn import config_context
    from sklearn.neighbors import NearestNeighbors

    with config_context(assume_finite=True, skip_parameter_validation=True):
        search = NearestNeighbors(n_neighbors=1 + skipped).fit(others)
        distances, indices = search.kneighbors(x)
    return distances[:, -1], indices[:, -1]


def principal_axes(centred: Array, most: int) -> tuple[Array, Array]:
    """Compute at most ``most`` principal axes of centred examples (n, d), or a good approximation.

    Returns:
        Variances (k,) in descending order, and orthonormal axes (d, k).
    """
    n, d = centred.shape
    if d <= FULL:
        values, vectors = np.linalg.eigh(centred.T @ centred / n)
        variances = values[::-1][:most]
        axes = vectors[:, ::-1][:, :most]
    else:
        from sklearn.utils.extmath import randomized_svd

        most = min(most, n)
        _, singular, turned = randomized_svd(centred, most, n_iter=ROUNDS, random_state=0)
        variances = singular**2 / n
        axes = turned.T
    largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
    return variances, axes * np.where(largest < 0, -1.0, 1.0)
