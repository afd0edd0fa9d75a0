"""Images that stay on disk and look like an array: any part of them is decoded when it is read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.example_hashes import Hashes, example_hashes
from pushforward.data.images.image_file import stacked
from pushforward.data.images.image_store import BLOCK, ImageStore
from pushforward.errors import DataError


@dataclass(frozen=True, eq=False)
class Streamed:
    """Images of a store as an array, uint8 (n, C, H, W), of which nothing but what is read is in memory.

    Args:
        store: holds the images.
        places: their numbers in the store, int64 (n,).
        sides: channels, height and width of each.
        content: the hash of each as it is read (`example_hashes`), uint64 (n,).
        resize: (height, width) that the store's images are scaled to; None where they are taken as they are.
        workers: threads that decode batches of a training ahead; 0 decodes each when it is asked for.
        counted: of all images of the store that can be used the numbers (m,), the hashes (m,), and how often each level occurs
            in them, (C, 256).
        flat: whether an example is read as one row of numbers, (n, C * H * W).
    """

    store: ImageStore
    places: NDArray[np.int64]
    sides: tuple[int, int, int]
    content: Hashes
    resize: tuple[int, int] | None = None
    workers: int = 0
    counted: tuple[NDArray[np.int64], Hashes, NDArray[np.int64]] | None = None
    flat: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return (len(self.places), math.prod(self.sides)) if self.flat else (len(self.places), *self.sides)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """That of pixels."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """2 or 4."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the whole would take in memory."""
        return self.size

    def __len__(self) -> int:
        """How many images."""
        return len(self.places)

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Refused: the whole may not fit into memory."""
        raise DataError("These examples stay on disk, and may not fit into memory: read a part of them, such as x[:1000].")

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """Decode the images of a slice, or of an integer or boolean array; one number gives one image.

        Raises:
            DataError: a file that is gone, or has changed since the data was first read.
        """
        wanted = np.atleast_1d(np.arange(len(self))[index])
        images = self._spread(wanted) if len(wanted) >= BLOCK else self.decoded(wanted)
        images = images.reshape(len(images), -1) if self.flat else images
        return images[0] if isinstance(index, (int, np.integer)) else images

    def decoded(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of an integer array, uint8 (n, C, H, W), decoded by this thread alone.

        Raises:
            DataError: a file that is gone, or has changed since the data was first read.
        """
        return self._stacked(map(self._image, index))

    def reshape(self, n: int, *sides: int) -> Streamed:
        """The same images as rows of numbers, ``x.reshape(len(x), -1)``."""
        if n != len(self) or sides != (-1,):
            raise DataError(f"Streamed examples become rows by x.reshape({len(self)}, -1), got {(n, *sides)}.")
        return replace(self, flat=True)

    def only(self, index: Any) -> Streamed:
        """The images of a slice, or of an integer or boolean array, which stay on disk."""
        return replace(self, places=self.places[index], content=self.content[index])

    def level_counts(self) -> NDArray[np.int64]:
        """How often each of the 256 levels occurs in each channel, (C, 256): those of all images but for the others, if few."""
        if self.counted is not None:
            places, hashes, counts = self.counted
            others = ~np.isin(places, self.places)
            if others.sum() + len(self) == len(places) and others.sum() < len(self):
                rest = replace(self, places=places[others], content=hashes[others], counted=None)
                return counts - rest.level_counts()
        counts = np.zeros((self.sides[0], 256), dtype=np.int64)
        for start in range(0, len(self), BLOCK):
            counts += level_counts(self._spread(np.arange(start, min(start + BLOCK, len(self)))))
        return counts

    def _spread(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            return self._stacked(pool.map(self._image, index))

    def _stacked(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        content = list(images)
        return stacked(content, self.sides[0]) if content else np.zeros((0, *self.sides), dtype=np.uint8)

    def _image(self, number: int) -> NDArray[np.uint8]:
        return self.store.again(int(self.places[number]), self.content[number], self.resize)


def level_counts(x: NDArray[np.uint8], axis: int = 1) -> NDArray[np.int64]:
    """How often each of the 256 levels of images occurs at each place along an axis, (places, 256)."""
    places = range(x.shape[axis])
    return np.stack([np.bincount(x.take(place, axis).ravel(), minlength=256) for place in places]).astype(np.int64)


def selected(x: Any, index: Any) -> Any:
    """The examples of an index (slice, integer or boolean array): a contiguous array, or streamed ones that stay on disk."""
    return x.only(index) if isinstance(x, Streamed) else np.ascontiguousarray(x[index])


def without(x: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """All examples but those of an index."""
    others: NDArray[Any] = selected(x, np.delete(np.arange(len(x)), index))
    return others


def content_hashes(x: Any) -> Hashes:
    """The hash of each example as it is, uint64 (n,); streamed ones are not decoded for it."""
    return x.content if isinstance(x, Streamed) else example_hashes(x)
