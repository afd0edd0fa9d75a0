"""The image files of a source, counted and described while they are read."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pushforward.data.example_hashes import Hashes, example_hashes
from pushforward.data.image_files import ImageFile
from pushforward.data.image_store import ImageStore
from pushforward.errors import DataError

__all__ = ["Census", "RefusedError", "Tally", "described"]


@dataclass(frozen=True)
class Census:
    """The files of a source whose images can be used.

    Args:
        files: their names, in the source's order.
        sizes: height and width of each before it was scaled, int32 (n, 2).
        modes: pixels of each as the file holds them, such as "RGB", "L", "P" or "CMYK".
        hashes: of the pixels of each before they were scaled (`example_hashes`), uint64 (n,).
        classes: how many are in each class, by its name; empty without classes.
        labels: the number of the class of each in the order of ``classes``, int64 (n,); None without classes.
    """

    files: tuple[str, ...]
    sizes: NDArray[np.int32]
    modes: tuple[str, ...]
    hashes: Hashes
    classes: dict[str, int]
    labels: NDArray[np.int64] | None = None


class RefusedError(DataError):
    """Data that training would refuse, of which everything was read.

    Args:
        message: The error.
        skipped: (file, reason) of every file that cannot be used.
        census: Of the other files.
    """

    def __init__(self, message: str, skipped: Iterable[tuple[str, str]], census: Census) -> None:
        super().__init__(message, skipped)
        self.census = census


@contextmanager
def described(census: Census | None, skipped: Iterable[tuple[str, str]]) -> Iterator[None]:
    """What refuses images after they have been read says what is known of their files, where a census is wanted.

    Raises:
        RefusedError: In the place of another `DataError`.
    """
    try:
        yield
    except DataError as error:
        if census is None:
            raise
        raise RefusedError(str(error), skipped, census) from error


class Tally:
    """What is noted of the images of a store while they are read in their order.

    Args:
        store: holds them.
        whole: whether sizes, modes and hashes are noted of all, as a `Census` needs them.

    Attributes:
        shapes: how many images have each height and width, as they are read.
        skipped: (file, reason) of each file left out.
        converted: (file, conversion) of each file that was not plain.
    """

    def __init__(self, store: ImageStore, whole: bool) -> None:
        self.store, self.whole = store, whole
        self.shapes: Counter[tuple[int, int]] = Counter()
        self.skipped: list[tuple[str, str]] = []
        self.converted: list[tuple[str, str]] = []
        self._used, self._hashes, self._sizes, self._modes = array("q"), array("Q"), array("i"), list[str]()

    def add(self, number: int, read: ImageFile) -> None:
        """Note an image that was read."""
        if read.pixels is None:
            self.skipped.append((self.store.title(number), read.reason))
            return
        self._used.append(number)
        self.shapes[read.pixels.shape[0], read.pixels.shape[1]] += 1
        if read.notes:
            self.converted.append((self.store.title(number), sys.intern(", ".join(read.notes))))
        if read.hash is not None:
            self._hashes.append(int(read.hash[0]))
        elif self.whole:
            self._hashes.append(int(example_hashes(read.pixels.transpose(2, 0, 1)[None])[0]))
        if self.whole:
            self._sizes.extend(read.size or read.pixels.shape[:2])
            self._modes.append(sys.intern(read.mode))

    @property
    def places(self) -> NDArray[np.int64]:
        """The numbers of the images that can be used."""
        return np.frombuffer(self._used, dtype=np.int64) if self._used else np.zeros(0, dtype=np.int64)

    @property
    def hashes(self) -> Hashes:
        """Those of the images as the source holds them, where they are known."""
        if self.store.hashes is not None:
            return self.store.hashes[self.places]
        return np.frombuffer(self._hashes, dtype=np.uint64) if self._hashes else np.zeros(0, dtype=np.uint64)

    def labels(self) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
        """The label number of each image, None without classes, and the names of the classes."""
        if not self.store.labelled:
            return None, ()
        named = [self.store.label(place) for place in self._used]
        classes = self.store.classes(set(named))
        number = {name: i for i, name in enumerate(classes)}
        return np.array([number[name] for name in named], dtype=np.int64), classes

    def names(self) -> tuple[str, ...]:
        """The names of the images that can be used, as messages have them."""
        return tuple(self.store.title(place) for place in self._used)

    def census(self) -> Census:
        """What is known of each file."""
        labels, classes = self.labels()
        counts = [] if labels is None else np.bincount(labels, minlength=len(classes)).tolist()
        return Census(
            self.names(),
            np.array(self._sizes, dtype=np.int32).reshape(-1, 2),
            tuple(self._modes),
            self.hashes,
            dict(zip(classes, counts, strict=True)),
            labels,
        )
