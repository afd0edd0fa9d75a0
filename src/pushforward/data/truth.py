"""Known facts of the distribution of a data set; metrics compare samples with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pushforward.data.dataset import Dataset, Split

__all__ = ["Composed", "Truth"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """A distribution of vectors whose density is known: a mixture of round Gaussians, or any other that ``log_pdf`` gives.

    Args:
        centres: centres of the modes, (k, d); k = 0 where there are no such modes.
        std: standard deviation of each (round, Gaussian) mode; 0 where there are no modes.
        weights: probability of each mode, (k,).
        log_pdf: log density of examples (n, d) -> (n,) for a distribution that is no mixture of Gaussians.
    """

    centres: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    std: float = 0.0
    weights: Floats = field(default_factory=lambda: np.zeros(0))
    log_pdf: Callable[[Floats], Floats] | None = None

    def log_density(self, x: NDArray[np.floating]) -> Floats:
        """Log density in data units; for modes the log of sum_k w_k N(x; c_k, std^2 I).

        Args:
            x: data units, (n, d).

        Returns:
            float64 (n,); minus infinity outside the support.
        """
        x64 = np.asarray(x, dtype=np.float64)
        if self.log_pdf is not None:
            return self.log_pdf(x64)
        squares = np.stack([((x64 - c) ** 2).sum(1) for c in self.centres], axis=1)
        variance, d = self.std**2, x64.shape[1]
        terms = np.log(self.weights) - squares / (2 * variance) - d / 2 * np.log(2 * np.pi * variance)
        top = terms.max(axis=1, keepdims=True)
        return top[:, 0] + np.log(np.exp(terms - top).sum(axis=1))


@runtime_checkable
class Composed(Protocol):
    """The truth of images each of whose channels is an image of a labelled set, so that a classifier of these gives the mode.

    The mode is the classes of the channels, read as the digits of a number (`pushforward.data.stacked.numbered`).
    """

    @property
    def base(self) -> Dataset:
        """The labelled images, of one channel."""
        ...

    @property
    def channels(self) -> int:
        """How many images an example holds."""
        ...

    @property
    def modes(self) -> int:
        """How many modes there are, all about equally frequent."""
        ...

    def composed(self, images: NDArray[np.int64], count: int, *key: int) -> Split:
        """New examples from some of the training images alone, in the classes' proportions among all of them.

        Args:
            images: numbers of the images, examples of ``base.train``.
            count: how many examples to make.
            key: words on which depends which images meet.
        """
        ...
