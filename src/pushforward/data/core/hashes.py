"""Integers from keys, hashes of examples by content, and the split by them.

References:
    Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (`mix`).
    Zobrist, "A new hashing method with application for game playing", 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pushforward.errors import DataError
from pushforward.numbers import plural

Array = NDArray[Any]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1
_KEY = 0x5EED_0F_5711
_BYTES = 1 << 18  # hashed at a time, so that they stay in the processor's cache
ATOM = 20  # copies above which an example is an atom, whose copies are split as examples
SHARE = 10  # every tenth example is held out
REPEATING = 0.05  # fraction of repeated rows above which rows without open numbers are split alone
CLOSED = 128  # maximum number of values of a closed column of integers
OCCURS = 5  # minimum mean frequency of these values among the different rows


def mix(*words: ArrayLike) -> Hashes:
    """Hash integers or arrays, which broadcast, to uniform uint64, equal on every machine."""
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        if isinstance(word, int):
            word &= _MASK
        value = np.atleast_1d(np.asarray(word)).astype(np.uint64)
        state = (state ^ value) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state = state ^ (state >> np.uint64(31))
    return state


def permutation(n: int, *words: int) -> Integers:
    """Permute 0 to n - 1 in an order that depends only on the words."""
    hashes = mix(*words, np.arange(n))
    order = np.argsort(hashes)
    ranked = hashes[order]
    if (ranked[1:] == ranked[:-1]).any():  # the order depends on the sorting algorithm
        order = np.argsort(hashes, kind="stable")
    return order.astype(np.int64, copy=False)


def bits(x: Pixels, *words: ArrayLike) -> Pixels:
    """Draw 0 or 255 for each value, 255 with probability value / 255, by place and words."""
    keys = [np.asarray(word)[:, None] if np.ndim(word) else word for word in words]
    uniform = mix(*keys, np.arange(x[0].size)) >> np.uint64(40)
    thresholds = x.astype(np.float64) * (2**24 / 255)
    ones = uniform.astype(np.float64).reshape(x.shape) < thresholds
    return np.where(ones, 255, 0).astype(np.uint8)


def example_hashes(x: Array) -> Hashes:
    """Hash images uint8 (n, C, H, W) or vectors float32 (n, d) by their content, uint64 (n,).

    An image has one hash in grey, in equal colours and with an opaque alpha channel; -0 counts as
    0.
    """
    step = max(1, _BYTES // max(1, x[:1].nbytes))
    hashes = [_block(x[block]) for block in blocks(len(x), step)]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *hashes])


def blocks(n: int, size: int) -> list[slice]:
    """Divide n examples into slices of at most ``size``."""
    return [slice(start, start + size) for start in range(0, n, size)]


def _block(x: Array) -> Hashes:
    if x.ndim != 4 or x.shape[1] not in (3, 4):
        return _folded(x)
    grey = ((x[:, 0] == x[:, 1]) & (x[:, 1] == x[:, 2])).all(axis=(1, 2))
    needed = np.where(grey, 1, 3)
    if x.shape[1] == 4:
        transparent = (x[:, 3] < 255).any(axis=(1, 2))
        needed[transparent] = 4
    hashes = np.empty(len(x), dtype=np.uint64)
    for channels in np.unique(needed):
        same = needed == channels
        hashes[same] = _folded(x[same, :channels])
    return hashes


def _folded(x: Array) -> Hashes:
    if x.dtype.kind == "f":
        x = (x + np.float32(0)).astype("<f4")  # -0 becomes 0
    content = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
    width = content.shape[1]
    count = -(-width // 8)
    padded = np.zeros((len(x), 8 * count), dtype=np.uint8)
    padded[:, :width] = content
    words = padded.view("<u8").astype(np.uint64, copy=False)
    places = mix(_KEY, *x.shape[1:], np.arange(count))
    return mix(mix(words ^ places).sum(axis=1, dtype=np.uint64))


def distinct(hashes: Hashes) -> Hashes:
    """Return the sorted distinct hashes; for integers, 30 times faster than `numpy.unique`."""
    ranked = np.sort(hashes)
    return ranked[_first_of_equal(ranked)]


def _first_of_equal(ranked: Hashes) -> Mask:
    first = np.ones(len(ranked), dtype=bool)
    first[1:] = ranked[1:] != ranked[:-1]
    return first


def among(hashes: Hashes, ranked: Hashes) -> Mask:
    """Return which hashes (n,) occur in a sorted array, bool (n,)."""
    if not len(ranked):
        return np.zeros(len(hashes), dtype=bool)
    places = np.searchsorted(ranked, hashes)
    return ranked[np.minimum(places, len(ranked) - 1)] == hashes


def repeated(hashes: Hashes) -> Integers:
    """Count the examples that share each example's hash, int64 (n,), at least 1."""
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return counts[inverse.reshape(-1)]


def draws_repeat(hashes: Hashes, numbers: Sequence[Floats] | None) -> bool:
    """Return whether equal rows of a table are independent observations, as in a survey.

    They are if over 5 % of the rows equal another one and no column is a date or an open number:
    one with fractions, or with many values.

    Args:
        hashes: Hashes of the rows.
        numbers: Values of each numeric column; None for a table with dates.
    """
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    repeats = counts[counts > 1].sum()
    if numbers is None or repeats <= REPEATING * len(hashes):
        return False
    most = min(CLOSED, len(first) / OCCURS)
    for column in numbers:
        values = np.unique(column[first])
        if len(values) > most or np.nansum(values % 1):
            return False
    return True


def numbered_copies(hashes: Hashes, most: int = 0) -> Hashes:
    """Return hashes that differ for copies of an example with more than ``most``."""
    order = np.flatnonzero(repeated(hashes) > most)
    order = order[np.argsort(hashes[order], kind="stable")]
    ranked = hashes[order]
    first = _first_of_equal(ranked)
    starts = np.flatnonzero(first)
    number = np.arange(len(order)) - starts[np.cumsum(first) - 1]
    known = hashes.copy()
    known[order] = mix(ranked, number)
    return known


def held_out_indices(
    hashes: Hashes, labels: Integers | None = None, count: int | None = None
) -> Integers:
    """Choose the held-out examples by content: those with a hash in the lowest tenth.

    Copies stay together (up to `ATOM`). At least two examples are held out (one of fewer than
    five), and the highest hash of each class is in the training split.

    Args:
        hashes: Hashes of all examples.
        labels: Class numbers, or None.
        count: Exact number to hold out, in class proportions.
    """
    n = len(hashes)
    if n < 2:
        raise DataError(
            f"The data has {plural(n, 'example')}; expected at least 2: one for training, "
            "one held out."
        )
    if labels is None:
        labels = np.zeros(n, dtype=np.int64)
    if count is not None:
        return _exactly(hashes, labels, count)
    distinct, inverse = np.unique(numbered_copies(hashes, ATOM), return_inverse=True)
    ranks = inverse.reshape(-1)
    if len(distinct) < 2:
        raise DataError(
            f"All {n} examples are equal; expected at least 2 distinct examples: one for training, "
            "one held out."
        )
    highest = np.full(labels.max() + 1, -1)
    np.maximum.at(highest, labels, ranks)
    trained = np.zeros(len(distinct), dtype=bool)
    trained[highest[highest >= 0]] = True
    free = np.flatnonzero(~trained)
    if not len(free):
        raise _single_examples()
    held = (distinct < np.uint64(2**64 // SHARE)) & ~trained
    least = 2 if len(distinct) >= 5 else 1
    held[free[:least]] = True  # the hashes are sorted
    return np.flatnonzero(held[ranks])


def _exactly(hashes: Hashes, labels: Integers, count: int) -> Integers:
    """Return the lowest hashes of each class by largest remainders, leaving one of each."""
    sizes = np.bincount(labels)
    if sizes.max() < 2:
        raise _single_examples()
    exact = sizes * count / sizes.sum()
    quota = np.floor(exact).astype(np.int64)
    largest = np.argsort(quota - exact, kind="stable")
    quota[largest[: count - quota.sum()]] += 1
    spare = np.maximum(sizes - 1, 0)
    short = np.maximum(quota - spare, 0).sum()
    quota = np.minimum(quota, spare)
    for _ in range(min(short, (spare - quota).sum())):
        quota[np.argmax(spare - quota)] += 1
    order = np.argsort(hashes, kind="stable")
    chosen = [order[labels[order] == label][:most] for label, most in enumerate(quota)]
    return np.sort(np.concatenate(chosen))


def _single_examples() -> DataError:
    return DataError(
        "Every class has a single example, so none can be held out. Leave out the labels, or add "
        "examples."
    )
