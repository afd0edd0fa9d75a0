"""Batches of images that stay on disk, decoded by threads before they are needed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.data.streamed import Streamed

__all__ = ["Ahead"]

_Key = tuple[int, int | None, int | None, int | None]


class Ahead:
    """The images of batches; which those are is a function of a batch's number, so that the next ones are known.

    Args:
        x: the images; their ``workers`` decode as many batches at once and hold twice as many.
        numbers: (number of a batch, the part of it that is wanted) -> which images.
    """

    def __init__(self, x: Streamed, numbers: Callable[[int, slice | None], NDArray[np.int64]]) -> None:
        self.x, self.numbers = x, numbers
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[_Key, Future[NDArray[np.uint8]]] = {}
        self._last: tuple[_Key, Tensor] | None = None

    def batch(self, number: int, part: slice | None) -> Tensor:
        """The images of a batch, uint8 (n, C, H, W); the next ones are begun.

        Raises:
            DataError: a file that is gone, or has changed since the data was first read.
        """
        key = _key(number, part)
        if self._last is None or self._last[0] != key:  # some methods take a batch several times
            coming = self._coming.pop(key, None)
            self._begin(number, part)
            images = self.x.decoded(self.numbers(number, part)) if coming is None else coming.result()
            self._last = key, torch.from_numpy(images)
        return self._last[1]

    def _begin(self, number: int, part: slice | None) -> None:
        """Let the threads decode the batches that follow, and forget others."""
        if not self.x.workers:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.x.workers, "pushforward-decoding")
        following = {_key(later, part): later for later in range(number + 1, number + 1 + 2 * self.x.workers)}
        for key in [key for key in self._coming if key not in following]:
            self._coming.pop(key).cancel()
        for key, later in following.items():
            if key not in self._coming:
                self._coming[key] = self._pool.submit(self.x.decoded, self.numbers(later, part))


def _key(number: int, part: slice | None) -> _Key:
    return (number, None, None, None) if part is None else (number, part.start, part.stop, part.step)
