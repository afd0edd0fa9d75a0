"""Integers from keys: a pure function in place of a random generator, so that order and augmentation need no state.

``mix(a, b, ...)`` folds its words, one after the other, through the finaliser of splitmix64, a bijection of 64-bit
integers in which each input bit flips about half of the output bits. Equal words give equal integers on every machine
and under every numpy version, which ``numpy.random.Generator`` does not promise.

References:
    Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def _words(value: ArrayLike) -> NDArray[np.uint64]:
    if isinstance(value, int):
        return np.array([value & _MASK], dtype=np.uint64)
    return np.atleast_1d(np.asarray(value)).astype(np.uint64)


def mix(*words: ArrayLike) -> NDArray[np.uint64]:
    """Hash words to uniform 64-bit integers; arrays broadcast against one another.

    Args:
        words: integers or integer arrays, for example (seed, epoch, indices). Their order matters.

    Returns:
        uint64 array of the broadcast shape (at least one dimension).
    """
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        state = (state ^ _words(word)) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state = state ^ (state >> np.uint64(31))
    return state


def permutation(n: int, *words: int) -> NDArray[np.int64]:
    """Put 0 .. n-1 into an order that depends on the words alone: the order of their hashes.

    Args:
        n: how many numbers, at least 0.
        words: the key, for example (seed, epoch).

    Returns:
        int64 array (n,).
    """
    hashes = mix(*words, np.arange(n))
    order = np.argsort(hashes)
    ranked = hashes[order]
    if (ranked[1:] == ranked[:-1]).any():  # only then would the order depend on the sorting algorithm
        order = np.argsort(hashes, kind="stable")
    return order.astype(np.int64, copy=False)


def bits(x: NDArray[np.uint8], *words: ArrayLike) -> NDArray[np.uint8]:
    """0 or 255 for every value, 255 with probability value / 255: a function of its place and of the words.

    Args:
        x: (n, C, H, W).
        words: Integers, or arrays of n of them, such as the examples' numbers.
    """
    keys = [np.asarray(word)[:, None] if np.ndim(word) else word for word in words]
    uniform = mix(*keys, np.arange(x[0].size)) >> np.uint64(40)
    # the numbers are multiples of 2^-24: below 0 none is, below 1 all are
    ones = uniform.astype(np.float64).reshape(x.shape) < x.astype(np.float64) * (2**24 / 255)
    return np.where(ones, 255, 0).astype(np.uint8)
