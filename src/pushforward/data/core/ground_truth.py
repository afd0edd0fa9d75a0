"""Known distributions of data sets, which metrics compare samples with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.hashes import mix

Floats = NDArray[np.float64]
_ANEW = 0xF1_7ED


@dataclass(frozen=True)
class Truth:
    """A distribution of vectors with known density: a mixture of isotropic Gaussians, or any density that ``log_pdf`` computes.

    Args:
        centres: Centres of the modes, (k, d); k = 0 without modes.
        std: Standard deviation of each mode; 0 without modes.
        weights: Probability of each mode, (k,).
        log_pdf: Function from examples (n, d) to log densities (n,), for a distribution that is not
            a mixture of Gaussians.
    """

    centres: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    std: float = 0.0
    weights: Floats = field(default_factory=lambda: np.zeros(0))
    log_pdf: Callable[[Floats], Floats] | None = None

    def log_density(self, x: NDArray[np.floating]) -> Floats:
        """Compute the log density in data units; for modes the log of sum_k w_k N(x; c_k, std^2 I).

        Args:
            x: Examples in data units, (n, d).

        Returns:
            float64 (n,); minus infinity outside the support.
        """
        x64 = np.asarray(x, dtype=np.float64)
        if self.log_pdf is not None:
            return self.log_pdf(x64)
        squares = np.stack([((x64 - c) ** 2).sum(1) for c in self.centres], axis=1)
        variance = self.std**2
        d = x64.shape[1]
        terms = (
            np.log(self.weights) - squares / (2 * variance) - d / 2 * np.log(2 * np.pi * variance)
        )
        top = terms.max(axis=1, keepdims=True)
        return top[:, 0] + np.log(np.exp(terms - top).sum(axis=1))


@dataclass(frozen=True)
class Stack:
    """The known distribution of stacked images (`pushforward.data.sets.stacked`).

    Args:
        base: Data set of the labelled images that are stacked, one per channel.
        train: Mode of each training example, int64 (n,), from 0 to modes - 1: the classes of its
            channels, read as digits of a number.
        held_out: Mode of each held-out example, int64 (m,).
        channels: Number of images per example.
    """

    base: Any
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    channels: int

    @property
    def modes(self) -> int:
        return len(self.base.space.classes) ** self.channels

    def composed(self, images: NDArray[np.int64], count: int, *key: int) -> NDArray[np.uint8]:
        """Create new examples from a subset of the training images, with the class proportions of all of them.

        Args:
            images: Indices of the images in ``base.train``.
            count: Number of examples to create.
            key: Integers that determine which images are combined.

        Returns:
            uint8 (count, channels, H, W).
        """
        train = self.base.train
        assert train.labels is not None
        places = np.arange(count * self.channels)
        wanted = train.labels[
            (mix(_ANEW, *key, 0, places) % np.uint64(len(train))).astype(np.int64)
        ]
        picked = np.empty(len(places), np.int64)
        which = mix(_ANEW, *key, 1, places)
        for label in np.unique(wanted):
            of_class = images[train.labels[images] == label]
            of_label = wanted == label
            if not len(of_class):
                of_class = np.flatnonzero(train.labels == label)
            picked[of_label] = of_class[
                (which[of_label] % np.uint64(len(of_class))).astype(np.int64)
            ]
        x = train.x[picked, 0]
        return x.reshape(count, self.channels, *x.shape[1:])


def numbered(classes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Convert the classes of an example's channels to one number; the first channel is the most significant.

    Args:
        classes: Classes (n, channels), from 0 to count - 1.
        count: Number of classes.

    Returns:
        int64 (n,), from 0 to count ** channels - 1.
    """
    places = count ** np.arange(classes.shape[1] - 1, -1, -1, dtype=np.int64)
    return np.asarray(classes, dtype=np.int64) @ places
