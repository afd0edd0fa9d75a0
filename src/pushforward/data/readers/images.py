"""Images in uncompressed tars: those that `pushforward.data.pack` writes, and those of other tools in WebDataset's layout."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pushforward.data.core.dataset import Dataset, Files, Schema, Split, build
from pushforward.data.core.hashes import Hashes
from pushforward.data.images.image_file import UnusableError
from pushforward.data.images.image_set import Folder, read_images
from pushforward.data.images.image_store import FolderStore, ImageStore, content_hashes
from pushforward.data.images.tars import TAR, Packed, TarIndex, content_digest, index_of, packed_in, tars_in
from pushforward.data.readers.reader import FOLDER, Examples, Reader, Reading
from pushforward.errors import DataError

_DIFFER = "differ from manifest.json, which was written when they were packed. Restore the tars, or pack the images again."


def read_tars(folder: Path, tars: list[Path], reading: Reading, packed: Packed | None = None) -> Dataset:
    """Read the images of tars that lie in a folder; those that were packed with both splits keep them.

    Raises:
        UsageError: an option that does not apply.
        DataError: images that training refuses, or tars that cannot be read.
    """
    reading.refuse_table(str(folder))
    content = _images(folder, tars, reading, packed)
    if packed is None:
        return image_dataset(tars[0].stem if len(tars) == 1 else folder.resolve().name, content, reading)
    count = int(np.searchsorted(content.places, sum(len(index.names) for index in packed.train.values())))
    return image_dataset(packed.name, content, reading, count, packed.target)


def image_dataset(name: str, content: Folder, reading: Reading, trained: int | None = None, target: str = "") -> Dataset:
    """The data set of images that were read.

    Args:
        name: of the data set.
        content: the images.
        reading: how they were read.
        trained: how many of them, the first ones, are training examples; None holds some out by their content.
        target: the name of the column or attribute that the classes are values of.
    """
    examples = Split(content.x, content.labels, content.hashes)
    splits = [examples] if trained is None else [examples.take(slice(trained)), examples.take(slice(trained, None))]
    return build(
        name,
        *splits,
        schema=Schema(content.classes, target=target),
        limit=reading.limit,
        seed=reading.seed,
        skipped=content.skipped,
        converted=content.converted,
        ignored=content.ignored,
        files=Files(content.names, examples.hashes),
    )


def examples_of(folder: Path, tars: list[Path], reading: Reading, packed: Packed | None = None) -> Examples:
    """All images of tars, in their order."""
    content = _images(folder, tars, replace(reading, stream=False), packed)
    return Split(content.x, content.labels), content.classes, ()


def _images(folder: Path, tars: list[Path], reading: Reading, packed: Packed | None) -> Folder:
    if packed is None:
        return read_images(TarStore(folder, {tar.name: index_of(tar) for tar in tars}), reading)
    store = TarStore(packed.folder, {**packed.train, **packed.held_out}, packed.classes, packed.hashes)
    content = read_images(store, reading)
    if content.skipped:
        file, reason = content.skipped[0]
        raise DataError(f"{packed.folder / file} is damaged ({reason}): the images in {packed.folder} {_DIFFER}", content.skipped)
    if reading.size is None and content_digest(content_hashes(content.x)) != packed.manifest.get("content"):
        raise DataError(f"The images in {packed.folder} {_DIFFER}")
    return content


def _read(path: Path, reading: Reading) -> Dataset:
    return read_tars(path.parent, [path], reading)


def _examples(path: Path, reading: Reading) -> Examples:
    return examples_of(path.parent, [path], reading)


SHARDS = Reader((TAR,), _read, _examples)


MAX_MEMBER = 256 * 2**20  # bytes of a member that is read


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
        self, place: Path, shards: Mapping[str, TarIndex], names: tuple[str, ...] = (), hashes: Hashes | None = None
    ) -> None:
        labels = [label for index in shards.values() for label in index.labels]
        images = [f"{shard}/{name}" for shard, index in shards.items() for name in index.names]
        if not images:
            raise DataError(f"There are no images in {place / next(iter(shards))}: expected members such as 000000001.png.")
        super().__init__(place, images, sum(index.ignored for index in shards.values()), labelled=all(labels))
        self.shards, self.class_names, self.hashes = tuple(shards), names, hashes
        self._labels = labels
        self._shard = np.repeat(np.arange(len(shards), dtype=np.int32), [len(index.names) for index in shards.values()])
        self._offsets = np.concatenate([np.array(index.offsets, dtype=np.int64) for index in shards.values()])
        self._sizes = np.concatenate([np.array(index.sizes, dtype=np.int64) for index in shards.values()])

    @property
    def source(self) -> Path:
        """The tar, or the folder of several."""
        return self.place / self.shards[0] if len(self.shards) == 1 else self.place

    def open(self, i: int) -> BinaryIO:
        """The member's content, in memory."""
        size = int(self._sizes[i])
        if size > MAX_MEMBER:
            raise UnusableError(f"{size:,} bytes, more than {MAX_MEMBER >> 20} MB")
        with open(self.file(i), "rb", buffering=0) as file:
            file.seek(int(self._offsets[i]))
            return io.BytesIO(file.read(size))

    def label(self, i: int) -> str:
        """The class's name, or its number where names are not known."""
        label = self._labels[i]
        return self.class_names[int(label)] if self.class_names else label

    def file(self, i: int) -> Path:
        """The tar."""
        return self.place / self.shards[self._shard[i]]

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        """In the order of their numbers."""
        if self.class_names:
            return self.class_names
        labels = set(labels)
        numbers = all(label.isdecimal() for label in labels)
        return tuple(sorted(labels, key=lambda label: (int(label) if numbers else 0, label)))


def _folders_read(path: Path, reading: Reading) -> Dataset:
    if tars := tars_in(path):
        return read_tars(path, tars, reading, packed_in(path))
    reading.refuse_table(str(path))
    return image_dataset(path.resolve().name or "images", read_images(FolderStore(path), reading), reading)


def _folders_examples(path: Path, reading: Reading) -> Examples:
    if tars := tars_in(path):
        return examples_of(path, tars, reading, packed_in(path))
    content = read_images(FolderStore(path), replace(reading, stream=False))
    return Split(content.x, content.labels), content.classes, ()


FOLDERS = Reader((FOLDER,), _folders_read, _folders_examples)
