"""Readers by the ending of the files that they read, such as ".csv"; `FOLDER` is that of folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.reading import Reading
from pushforward.data.images.image_file import ENDINGS
from pushforward.data.images.packed import refuse_compressed
from pushforward.data.readers.reader import FOLDER, Examples, Reader
from pushforward.errors import DataError, UsageError
from pushforward.files import plain_path
from pushforward.registries import READERS


def register(*readers: Reader) -> None:
    """Read further kinds of files; a reader that was added before is replaced.

    Raises:
        UsageError: For an ending that belongs to one of the package's own readers, or that is none.
    """
    for reader in readers:
        for ending in reader.endings:
            READERS.add(ending, reader)


def check_ending(ending: str, reader: Reader) -> None:
    """Refuse what is no ending of files."""
    if not ending.startswith(".") or ending != ending.lower():
        raise UsageError(f'"{ending}" is no ending of files: expected one such as ".parquet", in lower case.')


def read(path: Path, reading: Reading) -> Dataset:
    """Read a file or a folder that exists, by its ending.

    Raises:
        UsageError: An option that does not apply to the format.
        DataError: A file of another format, or one that cannot be read.
    """
    ending = FOLDER if plain_path(path).is_dir() else path.suffix.lower()
    if ending not in READERS:
        reading.refuse_table(str(path))
        refuse_compressed(path)
        hint = " For images give the folder that holds them." if ending in ENDINGS else ""
        hint = " A Python file that defines data is a plug-in: `plugins=[FILE.py]`." if ending == ".py" else hint
        raise DataError(f"{path} cannot be read as data: expected {described()}.{hint}")
    data: Dataset = READERS[ending].read(path, reading)
    return data


def examples_in(path: Path, reading: Reading) -> Examples:
    """All examples of a file or a folder that exists, in its order: samples of a model, which may hold copies.

    Raises:
        UsageError: As `read`.
        DataError: As `read`.
    """
    reader: Reader | None = READERS.get(FOLDER if plain_path(path).is_dir() else path.suffix.lower())
    if reader is not None and reader.examples is not None:
        return reader.examples(path, reading)
    data = read(path, reading)
    splits = (data.train, data.held_out)
    labels = None if data.train.labels is None else np.concatenate([split.labels for split in splits if split.labels is not None])
    return Split(np.concatenate([split.x for split in splits]), labels), tuple(data.space.classes), tuple(data.space.columns)


def left_out(path: Path) -> tuple[str, ...]:
    """What a file holds that is no part of its examples (`examples_in`), such as "x_test (100, 8, 8)"."""
    reader: Reader | None = READERS.get(FOLDER if plain_path(path).is_dir() else path.suffix.lower())
    return () if reader is None or reader.left_out is None else reader.left_out(path)


def described() -> str:
    """The readable formats, in words."""
    *first, last = [ending for ending in READERS if ending != FOLDER]
    return f"an image folder, {', '.join(first)} or {last}"
