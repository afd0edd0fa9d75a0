"""Some of many examples, chosen by their values: the order in which they come does not matter."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["drawn", "ordered", "random_for"]

COLUMNS = 8
"""Columns by which examples are put in order, at most."""


def drawn(x: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Some of the examples x (m, d), n or all where there are fewer, in an order that depends on their values and the seed alone.

    Examples may come sorted by class, so the first n of them would be no sample.
    """
    examples = ordered(x)
    chosen: np.ndarray = examples[random_for(examples, seed).permutation(len(examples))[:n]]
    return chosen


def ordered(x: np.ndarray) -> np.ndarray:
    """The examples x (m, d) in rising order of their first column, and where it is equal of the next, up to 8 columns."""
    rising: np.ndarray = x[np.lexsort(x[:, :COLUMNS].T[::-1])]
    return rising


def random_for(examples: np.ndarray, seed: int) -> np.random.Generator:
    """Random numbers of a seed and of the examples: with the seed alone, ordered examples would lose the same ranks each time."""
    return np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(examples).tobytes())])
