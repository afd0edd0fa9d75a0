"""Folders of images, whose subfolders are the classes, and folders of tars of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.reading import Reading
from pushforward.data.images.image_set import read_images
from pushforward.data.images.image_store import FolderStore
from pushforward.data.images.packed import packed_in, tars_in
from pushforward.data.readers.reader import FOLDER, Examples, Reader
from pushforward.data.readers.shards import examples_of, image_dataset, read_tars


def _read(path: Path, reading: Reading) -> Dataset:
    if tars := tars_in(path):
        return read_tars(path, tars, reading, packed_in(path))
    reading.refuse_table(str(path))
    return image_dataset(path.resolve().name or "images", read_images(FolderStore(path), reading), reading)


def _examples(path: Path, reading: Reading) -> Examples:
    if tars := tars_in(path):
        return examples_of(path, tars, reading, packed_in(path))
    content = read_images(FolderStore(path), replace(reading, stream=False))
    return Split(content.x, content.labels), content.classes, ()


FOLDERS = Reader((FOLDER,), _read, _examples)
