"""Known distributions of data sets, which metrics compare samples with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.data.core.hashes import Floats, Integers, Pixels, mix

_ANEW = 0xF1_7ED


@dataclass(frozen=True)
class Truth:
    """Known distribution of vectors: a mixture of isotropic Gaussians.

    Args:
        centres: Centres of the modes, (k, d).
        std: Standard deviation of each mode.
        weights: Probability of each mode, (k,).
    """

    centres: Floats
    std: float
    weights: Floats


@dataclass(frozen=True)
class Stack:
    """The known distribution of stacked images (`pushforward.data.sets.stacked`).

    Args:
        base: Data set of the labelled images that are stacked, one per channel.
        train: Mode of each training example: the classes of its channels, read as digits of a
            number.
        held_out: Mode of each held-out example.
    """

    base: Any
    train: Integers
    held_out: Integers
    channels: int

    @property
    def modes(self) -> int:
        return len(self.base.space.classes) ** self.channels

    def composed(self, images: Integers, count: int, *key: int) -> Pixels:
        """Create examples from some training images, with the class proportions of all of them."""
        train = self.base.train
        places = np.arange(count * self.channels)
        labels = train.labels[mix(_ANEW, *key, 0, places) % np.uint64(len(train))]
        words = mix(_ANEW, *key, 1, places)
        picked = np.empty(len(places), np.int64)
        for label in np.unique(labels):
            of_class = images[train.labels[images] == label]
            if not len(of_class):
                of_class = np.flatnonzero(train.labels == label)
            wanted = labels == label
            picked[wanted] = of_class[words[wanted] % np.uint64(len(of_class))]
        x = train.x[picked, 0]
        return x.reshape(count, self.channels, *x.shape[1:])


def numbered(classes: Integers, count: int) -> Integers:
    """Read the classes of each example, below ``count``, as digits of a number."""
    places = count ** np.arange(classes.shape[1] - 1, -1, -1, dtype=np.int64)
    return np.asarray(classes, dtype=np.int64) @ places
