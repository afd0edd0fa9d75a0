"""Some of many examples, chosen by their values: the order in which they come does not matter."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

COLUMNS = 8  # Columns by which examples are put in order, at most
GROUPS = 32  # numbers that stand for the reference examples of a score
SPLITS, LEFT_OUT = 30, 5  # How often some examples are left out to measure a variance, and which part, a fifth


def by_examples(terms: np.ndarray) -> tuple[float, ...]:
    """The terms of the reference in `GROUPS` numbers: means over groups of examples, which are the same for all models.

    Where two models have terms a and b, the reference's part of the error of their difference is the standard error of the mean
    of a - b: far less than that of either score, as far as the same real examples are hard for both.

    Args:
        terms: (m,) what each reference example adds to m times the score, up to a constant, in the order of the reference.
    """
    order = np.random.Generator(np.random.Philox(0)).permutation(len(terms))  # that of the reference may have a meaning
    return tuple(float(terms[group].mean()) for group in np.array_split(order, min(GROUPS, len(terms))))


def drawn(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Some of the examples x (m, d), n or all where there are fewer, in an order that depends on their values and the seed alone.

    Examples may come sorted by class, so the first n of them would be no sample.
    """
    examples = ordered(x)
    return np.asarray(examples[random_for(examples, seed).permutation(len(examples))[:n]])


def ordered(x: np.ndarray) -> np.ndarray:
    """The examples x (m, d) in rising order of their first column, and where it is equal of the next, up to 8 columns."""
    return np.asarray(x[np.lexsort(x[:, :COLUMNS].T[::-1])])


def random_for(examples: np.ndarray, seed: int) -> np.random.Generator:
    """Random numbers of a seed and of the examples: with the seed alone, ordered examples would lose the same ranks each time."""
    return np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(examples).tobytes())])


def orders(n: int, count: int) -> list[np.ndarray]:
    """Random orders of n examples, always the same ones."""
    return [np.random.Generator(np.random.Philox(split)).permutation(n) for split in range(count)]


def left_out(score: Callable[[np.ndarray], float], n: int) -> float:
    """The variance of a score of n examples, 2 at least, by a jackknife that leaves out a fifth of them at a time."""
    few = max(1, n // LEFT_OUT)
    return float(np.var([score(order[few:]) for order in orders(n, SPLITS)], ddof=1)) * (n - few) / few


def nearest(x: np.ndarray, others: np.ndarray, skipped: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distance (n,) and number (n,) of each example's nearest of the others, after the ``skipped`` nearest."""
    from sklearn import config_context
    from sklearn.neighbors import NearestNeighbors

    with config_context(assume_finite=True, skip_parameter_validation=True):
        distances, at = NearestNeighbors(n_neighbors=1 + skipped).fit(others).kneighbors(x)
    return distances[:, -1], at[:, -1]
