"""Some of many examples, chosen by their values: the order in which they come does not matter."""

from __future__ import annotations

import numpy as np

__all__ = ["drawn", "ordered"]

COLUMNS = 8
"""Columns by which examples are put in order, at most."""


def drawn(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """N of the examples x (m, d), or all where there are fewer, in an order that depends on their values and the seed alone.

    Examples may come sorted by class, so the first n of them would be no sample.
    """
    chosen: np.ndarray = ordered(x)[np.random.Generator(np.random.Philox(seed)).permutation(len(x))[:n]]
    return chosen


def ordered(x: np.ndarray) -> np.ndarray:
    """The examples x (m, d) in rising order of their first column, and where it is equal of the next, up to 8 columns."""
    rising: np.ndarray = x[np.lexsort(x[:, :COLUMNS].T[::-1])]
    return rising
