"""Folders of images, whose subfolders are the classes, and folders of tars of images."""

from __future__ import annotations

from pathlib import Path

from pushforward.data.building import Schema, build
from pushforward.data.census import described
from pushforward.data.dataset import Dataset, Files, Split
from pushforward.data.images import Way, read_folder
from pushforward.data.packed import packed_in, tars_in
from pushforward.data.readers.reader import FOLDER, Examples, Reader
from pushforward.data.readers.shards import examples_of, read_tars
from pushforward.data.source import Reading
from pushforward.errors import UsageError

__all__ = ["FOLDERS"]


def _read(path: Path, reading: Reading) -> Dataset:
    if tars := tars_in(path):
        return read_tars(path, tars, reading, packed_in(path))
    reading.refuse_header(str(path))
    if reading.target is not None:
        raise UsageError(f'`target="{reading.target}"` is for .csv files; the classes of an image folder are its subfolders.')
    content = read_folder(path, reading.images)
    examples = Split(content.x, content.labels, content.hashes)
    with described(content.census, content.skipped):
        return build(
            path.resolve().name or "images",
            examples,
            schema=Schema(content.classes),
            limit=reading.limit,
            seed=reading.seed,
            skipped=content.skipped,
            converted=content.converted,
            ignored=content.ignored,
            census=content.census,
            files=Files(content.names, examples.hashes),
        )


def _examples(path: Path, reading: Reading) -> Examples:
    if tars := tars_in(path):
        return examples_of(path, tars, reading, packed_in(path))
    content = read_folder(path, Way(reading.size, stream=False))
    return Split(content.x, content.labels), content.classes, ()


FOLDERS = Reader((FOLDER,), _read, _examples)
