"""Integers from keys, hashes of examples by their content, and the split by them (``docs/decisions/held-out-by-content.md``).

``mix(a, b, ...)`` folds its words, one after the other, through the finaliser of splitmix64, a bijection of 64-bit
integers in which each input bit flips about half of the output bits. Equal words give equal integers on every machine
and under every numpy version, which ``numpy.random.Generator`` does not promise. So order and augmentation need no state.

The hash of an example is a sum of hashed 64-bit words, each keyed by its place (Zobrist's scheme), so that whole blocks of
examples are hashed at once. It depends only on the values, not on labels, the example's position or the machine.

References:
    Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    Zobrist, "A new hashing method with application for game playing", 1970.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pushforward.errors import DataError
from pushforward.numbers import counted

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1
Hashes = NDArray[np.uint64]
# An example with more copies than this is an atom of the distribution: its copies are split as examples of their own.
ATOM = 20
SHARE = 10  # one example in so many is held out
# Above this share of rows that equal another one, rows without open numbers are split as examples of their own.
REPEATING = 0.05
# A column of whole numbers is closed with at most so many values, which occur so often on average among the different rows.
CLOSED = 128
OCCURS = 5
_KEY = 0x5EED_0F_5711
_BYTES = 1 << 18  # about how much is hashed at a time, so that it stays in the processor's cache


def mix(*words: ArrayLike) -> NDArray[np.uint64]:
    """Hash words to uniform 64-bit integers; arrays broadcast against one another.

    Args:
        words: Integers or integer arrays, for example (seed, epoch, indices). Their order matters.

    Returns:
        uint64 array of the broadcast shape (at least one dimension).
    """
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        value = np.atleast_1d(np.asarray(word & _MASK if isinstance(word, int) else word)).astype(
            np.uint64
        )
        state = (state ^ value) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state = state ^ (state >> np.uint64(31))
    return state


def permutation(n: int, *words: int) -> NDArray[np.int64]:
    """Permute 0 to n - 1 in an order that depends only on the words.

    Args:
        n: Number of elements, at least 0.
        words: Key, for example (seed, epoch).

    Returns:
        int64 array (n,).
    """
    hashes = mix(*words, np.arange(n))
    order = np.argsort(hashes)
    ranked = hashes[order]
    if (
        ranked[1:] == ranked[:-1]
    ).any():  # only then would the order depend on the sorting algorithm
        order = np.argsort(hashes, kind="stable")
    return order.astype(np.int64, copy=False)


def bits(x: NDArray[np.uint8], *words: ArrayLike) -> NDArray[np.uint8]:
    """Draw 0 or 255 for each value, 255 with probability value / 255; results depend only on place and words.

    Args:
        x: Probabilities times 255, uint8 (n, C, H, W).
        words: Integers, or arrays of n integers, such as the numbers of the examples.
    """
    keys = [np.asarray(word)[:, None] if np.ndim(word) else word for word in words]
    uniform = mix(*keys, np.arange(x[0].size)) >> np.uint64(40)
    # the numbers are multiples of 2^-24: below 0 none is, below 1 all are
    ones = uniform.astype(np.float64).reshape(x.shape) < x.astype(np.float64) * (2**24 / 255)
    return np.where(ones, 255, 0).astype(np.uint8)


def example_hashes(x: NDArray[np.uint8] | NDArray[np.float32]) -> Hashes:
    """Hash examples by their content.

    An image has one hash whether it is stored in gray, in equal colours or with an opaque alpha channel; -0 counts as 0.

    Args:
        x: Images uint8 (n, C, H, W), or vectors float32 (n, d).

    Returns:
        uint64 (n,), uniform.
    """
    step = max(1, _BYTES // max(1, x[:1].nbytes))
    blocks = [_block(x[start : start + step]) for start in range(0, len(x), step)]
    if blocks:
        return np.concatenate(blocks)
    return np.zeros(0, dtype=np.uint64)


def _block(x: NDArray[np.uint8] | NDArray[np.float32]) -> Hashes:
    if x.ndim != 4 or x.shape[1] not in (3, 4):
        return _folded(x)
    gray = ((x[:, 0] == x[:, 1]) & (x[:, 1] == x[:, 2])).all(axis=(1, 2))
    needed = np.where(gray, 1, 3)
    hashes = np.empty(len(x), dtype=np.uint64)
    if x.shape[1] == 4:
        needed = np.where((x[:, 3] < 255).any(axis=(1, 2)), 4, needed)
    for channels in np.unique(needed):
        same = needed == channels
        hashes[same] = _folded(x[same, :channels])
    return hashes


def _folded(x: NDArray[np.uint8] | NDArray[np.float32]) -> Hashes:
    if x.dtype.kind == "f":
        x = (x + np.float32(0)).astype("<f4")  # -0 becomes 0
    content = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
    count = -(-content.shape[1] // 8)
    padded = np.zeros((len(x), 8 * count), dtype=np.uint8)
    padded[:, : content.shape[1]] = content
    words = padded.view("<u8").astype(np.uint64, copy=False)
    places = mix(_KEY, *x.shape[1:], np.arange(count))
    return mix(mix(words ^ places).sum(axis=1, dtype=np.uint64))


def distinct(hashes: Hashes) -> Hashes:
    """Return the sorted distinct hashes; for integers, 30 times faster than `numpy.unique`."""
    ranked = np.sort(hashes)
    if len(ranked):
        return ranked[np.r_[True, ranked[1:] != ranked[:-1]]]
    return ranked


def among(hashes: Hashes, ranked: Hashes) -> NDArray[np.bool_]:
    """Return which hashes (n,) occur in a sorted array, bool (n,)."""
    if not len(ranked):
        return np.zeros(len(hashes), dtype=bool)
    return ranked[np.minimum(np.searchsorted(ranked, hashes), len(ranked) - 1)] == hashes


def repeated(hashes: Hashes) -> NDArray[np.int64]:
    """Count the examples that share each example's hash, int64 (n,), at least 1."""
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return counts[inverse.reshape(-1)]


def draws_repeat(hashes: Hashes, numbers: Sequence[NDArray[np.float64]] | None) -> bool:
    """Return whether equal rows of a table are independent observations, as in a survey, and not copies.

    They are if more than 5 % of the rows equal another one and no column is a date or an open
    number: one with fractions, or with many values. A survey that was accidentally duplicated looks
    the same.

    Args:
        hashes: Hashes of the rows, uint64 (n,).
        numbers: Values of each numeric column, float64 (n,) each; None for a table with dates.
    """
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    if numbers is None or counts[counts > 1].sum() <= REPEATING * len(hashes):
        return False
    different = [np.unique(values[first]) for values in numbers]
    return all(
        len(values) <= min(CLOSED, len(first) / OCCURS) and not np.nansum(values % 1)
        for values in different
    )


def numbered_copies(hashes: Hashes, most: int = 0) -> Hashes:
    """Return hashes in which the copies of an example that occurs more than ``most`` times differ."""
    order = np.flatnonzero(repeated(hashes) > most)
    order = order[np.argsort(hashes[order], kind="stable")]
    ranked = hashes[order]
    first = np.r_[True, ranked[1:] != ranked[:-1]]
    number = np.arange(len(order)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    known = hashes.copy()
    known[order] = mix(ranked, number)
    return known


def held_out_indices(
    hashes: Hashes, labels: NDArray[np.int64] | None = None, count: int | None = None
) -> NDArray[np.int64]:
    """Choose the held-out examples by content: those whose hash is in the lowest tenth of all hashes.

    An example therefore stays on its side when others are added, removed or reordered, and copies
    of an example stay together (except for examples with more than `ATOM` copies, whose copies are
    split independently). In a small data set the two lowest hashes are held out even if they are
    above that bound (the lowest one if there are fewer than five distinct examples), and the
    highest hash of each class is always in the training split.

    Args:
        hashes: Hashes of all examples from `example_hashes`, uint64 (n,).
        labels: Class numbers (n,), or None.
        count: Exact number of examples to hold out, in class proportions, for sources that never
            change.

    Returns:
        Sorted indices, int64.

    Raises:
        DataError: fewer than two examples, no two different ones, or no class with two different ones.
    """
    n = len(hashes)
    if n < 2:
        raise DataError(
            f"The data has {counted(n, 'example')}; expected at least 2: one for training, one held out."
        )
    if count is not None:
        return _exactly(hashes, np.zeros(n, dtype=np.int64) if labels is None else labels, count)
    distinct, inverse = np.unique(numbered_copies(hashes, ATOM), return_inverse=True)
    ranks = inverse.reshape(-1)
    if len(distinct) < 2:
        raise DataError(
            f"All {n} examples are equal; expected at least 2 distinct examples: one for training, one held out."
        )
    trained = np.zeros(len(distinct), dtype=bool)
    highest = np.full(1 if labels is None else labels.max() + 1, -1)
    np.maximum.at(highest, np.zeros_like(ranks) if labels is None else labels, ranks)
    trained[highest[highest >= 0]] = True
    free = np.flatnonzero(~trained)
    if not len(free):
        raise DataError(
            "Every class has a single example, so none can be held out. Leave out the labels, or add examples."
        )
    held = (distinct < np.uint64(2**64 // SHARE)) & ~trained
    held[free[: 2 if len(distinct) >= 5 else 1]] = True  # they are sorted, so these are the lowest
    return np.flatnonzero(held[ranks])


def _exactly(hashes: Hashes, labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The lowest hashes of each class, ``count`` in all: by largest remainders (ties: the first class), leaving one of each."""
    sizes = np.bincount(labels)
    if sizes.max() < 2:
        raise DataError(
            "Every class has a single example, so none can be held out. Leave out the labels, or add examples."
        )
    exact = sizes * count / sizes.sum()
    quota = np.floor(exact).astype(np.int64)
    largest = np.argsort(-(exact - quota), kind="stable")
    quota[largest[: count - quota.sum()]] += 1
    spare = np.maximum(sizes - 1, 0)
    short = int(np.maximum(quota - spare, 0).sum())
    quota = np.minimum(quota, spare)
    for _ in range(min(short, int((spare - quota).sum()))):
        quota[np.argmax(spare - quota)] += 1
    order = np.argsort(hashes, kind="stable")
    chosen = [order[labels[order] == label][: quota[label]] for label in range(len(sizes))]
    return np.sort(np.concatenate(chosen))
