"""Images where they lie: stores that read any image by its number, and arrays of images that stay on disk."""

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
from numpy.typing import NDArray

from pushforward.data.core.hashes import Hashes, example_hashes
from pushforward.data.images.image_file import ENDINGS, UNCHANGED, Conversion, ImageFile, decoded, opened, stacked
from pushforward.errors import DataError

BLOCK = 256  # images that are decoded together, so that a reader who stops early has not decoded all


class ImageStore(ABC):
    """The images of one source, by their number.

    Args:
        place: of the source.
        names: of the images below it, in their order.
        ignored: how many other files there are.
        labelled: whether the images have classes.

    Attributes:
        source: the folder or the archive that was given, for messages.
        hashes: of the images in the source that they were packed from, uint64 (n,); None: of the images as they are.
    """

    hashes: Hashes | None = None

    def __init__(self, place: Path, names: Sequence[str], ignored: int = 0, labelled: bool = False) -> None:
        self.place, self.names, self.ignored, self.labelled = place, names, ignored, labelled
        self.source = place
        self._stamps = np.full((len(names), 2), -1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def open(self, i: int) -> BinaryIO:
        """The file of an image, opened for reading.

        Raises:
            UnusableError: If it is not to be read.
            OSError: If it is gone.
        """

    @abstractmethod
    def label(self, i: int) -> str:
        """The name of an image's class."""

    @abstractmethod
    def file(self, i: int) -> Path:
        """The file that holds an image."""

    def stamp(self, i: int) -> tuple[int, int]:
        known = os.stat(self.file(i))
        return known.st_size, known.st_mtime_ns

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(labels))

    def read(self, i: int, conversion: Conversion = UNCHANGED) -> ImageFile:
        """Decode an image for the first time, and remember its stamp; it raises nothing."""
        try:
            self._stamps[i] = self.stamp(i)
        except OSError as error:
            return ImageFile(self.names[i], reason=f"cannot be read: {error.strerror}")
        return decoded(lambda: self.open(i), self.names[i], conversion)

    def again(self, i: int, content: np.uint64, conversion: Conversion = UNCHANGED) -> NDArray[np.uint8]:
        """The pixels of an image that was read before, uint8 (H, W, C).

        Args:
            i: its number.
            content: the hash of its pixels then, as they are read (`example_hashes`).
            conversion: how its pixels are changed.

        Raises:
            DataError: If its file is gone, cannot be read any more, or holds other pixels.
        """
        where = f"{self.place}/{self.names[i]}"
        try:
            stamp = self.stamp(i)
        except OSError as error:
            raise DataError(f"{where} is gone since the data was first read: {error.strerror}. Restore it.") from error
        read = decoded(lambda: self.open(i), self.names[i], conversion)
        if read.pixels is None:
            raise DataError(f"{where} has changed since the data was first read: {read.reason}. Restore it.")
        if stamp != tuple(self._stamps[i]):  # a file that was touched, or copied back, may hold the same
            if example_hashes(read.pixels.transpose(2, 0, 1)[None])[0] != content:
                raise DataError(f"{where} has changed since the data was first read. Restore it, or start a new training.")
            self._stamps[i] = stamp
        return read.pixels

    def read_all(self, conversion: Conversion = UNCHANGED) -> Iterator[ImageFile]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(self), BLOCK):
                yield from pool.map(lambda i: self.read(i, conversion), range(start, min(start + BLOCK, len(self))))


class FolderStore(ImageStore):
    """The image files below a folder, in sorted order; two or more subfolders with images are classes.

    Args:
        place: the folder.

    Raises:
        DataError: no images, or loose ones beside subfolders.
    """

    def __init__(self, place: Path) -> None:
        names, ignored = image_names(place)
        if not names:
            raise DataError(
                f"There are no images in {place} (other files: {ignored}): expected files such as {', '.join(ENDINGS[:6])}. "
                "Name a data file of another format itself, not its folder."
            )
        tops = Counter(name.split("/", 1)[0] if "/" in name else "" for name in names)
        if tops[""] and len(tops) > 1:
            raise DataError(
                f"{place} holds images of its own ({tops['']}) beside subfolders with images: expected all images in class "
                "folders, or none. Move the loose ones, or name one of the folders."
            )
        super().__init__(place, names, ignored, len(tops) > 1)

    def open(self, i: int) -> BinaryIO:
        return opened(self.file(i))

    def label(self, i: int) -> str:
        return self.names[i].split("/", 1)[0]

    def file(self, i: int) -> Path:
        return self.place / self.names[i]


def image_names(path: Path) -> tuple[list[str], int]:
    """Image files below a folder, as sorted relative paths with forward slashes, and how many others there are."""
    files, ignored = [], 0
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
                files.append((Path(place) / name).relative_to(path).as_posix())
    return sorted(files), ignored


@dataclass(frozen=True, eq=False)
class Streamed:
    """Images of a store as an array, uint8 (n, C, H, W), of which nothing but what is read is in memory.

    Args:
        store: holds the images.
        places: their numbers in the store, int64 (n,).
        sides: channels, height and width of each.
        content: the hash of each as it is read (`example_hashes`), uint64 (n,).
        conversion: how the store's images are changed.
        workers: threads that decode batches of a training ahead; 0 decodes each when it is asked for.
        counted: of all images of the store that can be used the numbers (m,), the hashes (m,), and how often each level occurs
            in them, (C, 256).
        flat: whether an example is read as one row of numbers, (n, C * H * W).
    """

    store: ImageStore
    places: NDArray[np.int64]
    sides: tuple[int, int, int]
    content: Hashes
    conversion: Conversion = UNCHANGED
    workers: int = 0
    counted: tuple[NDArray[np.int64], Hashes, NDArray[np.int64]] | None = None
    flat: bool = False

    dtype: ClassVar = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.places), math.prod(self.sides)) if self.flat else (len(self.places), *self.sides)

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
        raise DataError("These examples stay on disk, and may not fit into memory: read a part of them, such as x[:1000].")

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        wanted = np.atleast_1d(np.arange(len(self))[index])
        images = self._spread(wanted) if len(wanted) >= BLOCK else self.decoded(wanted)
        images = images.reshape(len(images), -1) if self.flat else images
        return images[0] if isinstance(index, (int, np.integer)) else images

    def decoded(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self._stacked(map(self._image, index))

    def reshape(self, n: int, *sides: int) -> Streamed:
        if n != len(self) or sides != (-1,):
            raise DataError(f"Streamed examples become rows by x.reshape({len(self)}, -1), got {(n, *sides)}.")
        return replace(self, flat=True)

    def only(self, index: Any) -> Streamed:
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
        return self.store.again(int(self.places[number]), self.content[number], self.conversion)


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
