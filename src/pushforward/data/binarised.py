"""Images of zeros and ones, drawn from grey ones: the value of a pixel is the probability that it is a one.

Training examples are drawn again in every epoch (dynamic binarisation), held-out examples once and for all, so that likelihoods
of different models compare.

References:
    Salakhutdinov and Murray, On the Quantitative Analysis of Deep Belief Networks (2008); Burda et al. (2016), section 5, for
    drawing again.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pushforward.data.dataset import Dataset, Split
from pushforward.data.keys import mix
from pushforward.data.spaces.registry import measure
from pushforward.errors import DataError

__all__ = ["bits", "drawn"]

_KEY = 0xB1_7A_12
_CHUNK = 4096
"""Examples drawn at a time."""


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


def drawn(data: Dataset, name: str, seed: int = 0) -> Dataset:
    """Grey images as images of zeros and ones.

    Args:
        data: Images.
        name: The new data's name.
        seed: Of the draw.

    Returns:
        The data: both splits hold one draw, and ``probabilities`` the grey training examples, from which a `Sampler` draws
        again in every epoch.

    Raises:
        DataError: For vectors.
    """
    if not data.space.has_pixels:
        raise DataError(f"{data.name} holds vectors: only images are drawn as zeros and ones.")
    train, held_out = (_drawn(split, part, seed) for part, split in enumerate((data.train, data.held_out)))
    space = measure(train.x, data.space.conditions)
    return dataclasses.replace(
        data, name=name, space=space, train=train, held_out=held_out, truth=None, probabilities=data.train.x
    )


def _drawn(split: Split, part: int, seed: int) -> Split:
    starts = range(0, len(split), _CHUNK)
    chunks = [bits(split.x[at : at + _CHUNK], _KEY, seed, part, np.arange(at, min(at + _CHUNK, len(split)))) for at in starts]
    return Split(np.concatenate(chunks), split.labels, split.hashes, split.given)
