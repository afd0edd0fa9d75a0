"""Stores that read images by index, and arrays of images that stay on disk."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from pushforward.conditions.kind import Shape
from pushforward.data.core.hashes import Array, Hashes, Integers, Pixels, blocks, example_hashes
from pushforward.data.images.image_file import (
    ENDINGS,
    UNCHANGED,
    Conversion,
    ImageFile,
    decoded,
    opened,
    pixel_hash,
    stacked,
)
from pushforward.errors import DataError

BLOCK = 256  # images that are decoded together
THREADS = min(8, os.cpu_count() or 1)


class ImageStore(ABC):
    """Images of one source, read by index.

    Args:
        place: Folder of the source.
        names: Names of the images in this folder, in order.
        ignored: Number of other files.
        labelled: Whether the images have classes.
    """

    hashes: Hashes | None = None

    def __init__(
        self, place: Path, names: Sequence[str], ignored: int = 0, labelled: bool = False
    ) -> None:
        self.place = place
        self.names = names
        self.ignored = ignored
        self.labelled = labelled
        self.source = place
        self._stamps = np.full((len(names), 2), -1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def open(self, i: int) -> BinaryIO:
        """Open the file of an image for reading.

        Raises:
            UnusableError: If it is not to be read.
        """

    @abstractmethod
    def label(self, i: int) -> str:
        """Return the name of an image's class."""

    @abstractmethod
    def file(self, i: int) -> Path:
        """Return the path of the file that contains an image."""

    def stamp(self, i: int) -> tuple[int, int]:
        known = os.stat(self.file(i))
        return known.st_size, known.st_mtime_ns

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(labels))

    def read(self, i: int, conversion: Conversion = UNCHANGED) -> ImageFile:
        """Decode an image for the first time; errors become its reason."""
        try:
            self._stamps[i] = self.stamp(i)
        except OSError as error:
            return ImageFile(self.names[i], reason=f"cannot be read: {error.strerror}")
        return decoded(lambda: self.open(i), self.names[i], conversion)

    def again(self, i: int, content: np.uint64, conversion: Conversion = UNCHANGED) -> Pixels:
        """Decode an image again, uint8 (H, W, C).

        Raises:
            DataError: If its file is gone, or holds other pixels than when it was first read.
        """
        try:
            stamp = self.stamp(i)
        except OSError as error:
            raise self._changed(i, f"it cannot be read ({error.strerror})") from error
        read = decoded(lambda: self.open(i), self.names[i], conversion)
        if read.pixels is None:
            raise self._changed(i, read.reason)
        if stamp != tuple(self._stamps[i]):  # the file may have been touched, or copied back
            if pixel_hash(read.pixels)[0] != content:
                raise self._changed(i, "other pixels")
            self._stamps[i] = stamp
        return read.pixels

    def _changed(self, i: int, how: str) -> DataError:
        return DataError(
            f"{self.place}/{self.names[i]} has changed since the data was first read: {how}. "
            "Restore it, or start a new training run."
        )

    def read_all(self, conversion: Conversion = UNCHANGED) -> Iterator[ImageFile]:
        with ThreadPoolExecutor(THREADS) as pool:
            # in blocks, so that a reader who stops early has not decoded all
            for block in blocks(len(self), BLOCK):
                numbers = range(len(self))[block]
                yield from pool.map(lambda i: self.read(i, conversion), numbers)


class FolderStore(ImageStore):
    """Image files below a folder; two or more subfolders with images are classes."""

    def __init__(self, place: Path) -> None:
        names, ignored = image_names(place)
        if not names:
            raise DataError(
                f"There are no images in {place} ({ignored} other files): expected files such as "
                ".png and .jpg. To read a data file of another format, pass its path instead of "
                "its folder."
            )
        tops = Counter(name.rpartition("/")[0].partition("/")[0] for name in names)
        if tops[""] and len(tops) > 1:
            raise DataError(
                f"{place} contains both loose images and subfolders with images. Either all or "
                "none must be in class folders: move the loose images, or pass a subfolder."
            )
        super().__init__(place, names, ignored, len(tops) > 1)

    def open(self, i: int) -> BinaryIO:
        return opened(self.file(i))

    def label(self, i: int) -> str:
        return self.names[i].split("/", 1)[0]

    def file(self, i: int) -> Path:
        return self.place / self.names[i]


def image_names(path: Path) -> tuple[list[str], int]:
    """List image files below a folder as sorted relative paths, and count others."""
    files = []
    ignored = 0
    visited = set()
    for place, folders, names in os.walk(path, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        real = os.path.realpath(place)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        for name in names:
            if name.startswith(".") or not name.lower().endswith(ENDINGS):
                ignored += 1
            else:
                files.append(Path(place, name).relative_to(path).as_posix())
    return sorted(files), ignored


@dataclass(frozen=True, eq=False)
class Streamed:
    """Images of a store as an array uint8 (n, C, H, W) that is read from disk when indexed.

    Args:
        places: Indices of the images in the store.
        sides: Channels, height and width of each image.
        content: Hash of each decoded image.
        counted: Indices, hashes and level counts of all usable images of the store.
        flat: Whether each image is read as one row of numbers.
    """

    store: ImageStore
    places: Integers
    sides: tuple[int, int, int]
    content: Hashes
    conversion: Conversion = UNCHANGED
    workers: int = 0
    counted: tuple[Integers, Hashes, Integers] | None = None
    flat: bool = False

    dtype: ClassVar = np.dtype(np.uint8)

    @property
    def shape(self) -> Shape:
        if self.flat:
            return (len(self.places), math.prod(self.sides))
        return (len(self.places), *self.sides)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size

    def __len__(self) -> int:
        return len(self.places)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise DataError(
            "These images stay on disk and may not fit into memory. Read some of them at a time, "
            "such as x[:1000]."
        )

    def __getitem__(self, index: Any) -> Pixels:
        wanted = np.atleast_1d(np.arange(len(self))[index])
        if len(wanted) < BLOCK:
            images = self.decoded(wanted)
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                images = self._stacked(pool.map(self._image, wanted))
        if self.flat:
            images = images.reshape(len(images), -1)
        if isinstance(index, (int, np.integer)):
            return images[0]
        return images

    def decoded(self, index: Integers) -> Pixels:
        return self._stacked(map(self._image, index))

    def reshape(self, *sides: int) -> Streamed:
        if sides != (len(self), -1):
            raise DataError("Images that stay on disk support only x.reshape(len(x), -1).")
        return replace(self, flat=True)

    def level_counts(self) -> Integers:
        """Count each of the 256 levels per channel, (C, 256)."""
        if self.counted is not None:
            places, hashes, counts = self.counted
            others = ~np.isin(places, self.places)
            if others.sum() + len(self) == len(places) and others.sum() < len(self):
                rest = replace(self, places=places[others], content=hashes[others], counted=None)
                return counts - rest.level_counts()
        counts = np.zeros((self.sides[0], 256), dtype=np.int64)
        for block in blocks(len(self), BLOCK):
            counts += level_counts(self[block])
        return counts

    def _stacked(self, images: Iterable[Pixels]) -> Pixels:
        content = list(images)
        if content:
            return stacked(content, self.sides[0])
        return np.zeros((0, *self.sides), dtype=np.uint8)

    def _image(self, number: int) -> Pixels:
        return self.store.again(int(self.places[number]), self.content[number], self.conversion)


def level_counts(x: Pixels, axis: int = 1) -> Integers:
    """Count each of the 256 levels at each position along an axis, (positions, 256)."""
    counts = np.zeros((x.shape[axis], 256), dtype=np.int64)
    for place in range(len(counts)):
        counts[place] = np.bincount(x.take(place, axis).ravel(), minlength=256)
    return counts


def selected(x: Any, index: Any) -> Any:
    """Return the examples of an index, as a contiguous array or still on disk."""
    if isinstance(x, Streamed):
        return replace(x, places=x.places[index], content=x.content[index])
    return np.ascontiguousarray(x[index])


def without(x: Array, index: Integers) -> Array:
    """Return all examples except those of an index."""
    others: Array = selected(x, np.delete(np.arange(len(x)), index))
    return others


def content_hashes(x: Any) -> Hashes:
    """Return the hash of each stored example, without decoding images that stay on disk."""
    if isinstance(x, Streamed):
        return x.content
    return example_hashes(x)
