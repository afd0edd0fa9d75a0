"""Images in uncompressed tars, which are read from where they lie."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pushforward.data.example_hashes import Hashes
from pushforward.data.image_files import UnusableError
from pushforward.data.image_store import ImageStore
from pushforward.data.tar_index import TarIndex
from pushforward.errors import DataError

__all__ = ["TarStore"]

MAX_MEMBER = 256 * 2**20
"""Bytes of a member that is read."""


class TarStore(ImageStore):
    """The images of one or several tars, in their order; they have classes if all have one.

    Args:
        place: the folder of the tars.
        shards: the index of each tar by its file's name.
        names: of the classes in the order of their numbers, where they are known.
        hashes: of the images in the source that was packed, uint64 (n,); None: of the images as they are.

    Raises:
        DataError: no images.
    """

    def __init__(
        self,
        place: Path,
        shards: Mapping[str, TarIndex],
        names: tuple[str, ...] = (),
        hashes: Hashes | None = None,
    ) -> None:
        labels = [label for index in shards.values() for label in index.labels]
        images = [f"{shard}/{name}" for shard, index in shards.items() for name in index.names]
        if not images:
            raise DataError(f"There are no images in {place / next(iter(shards))}: expected members such as 000000001.png.")
        super().__init__(place, images, sum(index.ignored for index in shards.values()), labelled=all(labels))
        self.shards, self.class_names, self.hashes = tuple(shards), names, hashes
        self._labels = labels
        self._originals = [name for index in shards.values() for name in index.originals or [""] * len(index.names)]
        self._shard = np.repeat(np.arange(len(shards), dtype=np.int32), [len(index.names) for index in shards.values()])
        self._offsets = np.concatenate([np.array(index.offsets, dtype=np.int64) for index in shards.values()])
        self._sizes = np.concatenate([np.array(index.sizes, dtype=np.int64) for index in shards.values()])

    @property
    def source(self) -> Path:
        """The tar, or the folder of several."""
        return self.place / self.shards[0] if len(self.shards) == 1 else self.place

    def title(self, i: int) -> str:
        """The tar and the member, and the file that it was packed from."""
        return f"{self.names[i]} (packed from {self._originals[i]})" if self._originals[i] else self.names[i]

    def open(self, i: int) -> BinaryIO:
        """The member's content, in memory."""
        size = int(self._sizes[i])
        if size > MAX_MEMBER:
            raise UnusableError(f"{size:,} bytes, more than {MAX_MEMBER >> 20} MB")
        with open(self._path(i), "rb", buffering=0) as file:
            file.seek(int(self._offsets[i]))
            return io.BytesIO(file.read(size))

    def label(self, i: int) -> str:
        """The class's name, or its number where names are not known."""
        label = self._labels[i]
        return self.class_names[int(label)] if self.class_names else label

    def stamp(self, i: int) -> tuple[int, int]:
        """Of the tar."""
        known = os.stat(self._path(i))
        return known.st_size, known.st_mtime_ns

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        """In the order of their numbers."""
        if self.class_names:
            return self.class_names
        labels = set(labels)
        numbers = all(label.isdecimal() for label in labels)
        return tuple(sorted(labels, key=lambda label: (int(label) if numbers else 0, label)))

    def _path(self, i: int) -> Path:
        return self.place / self.shards[self._shard[i]]
