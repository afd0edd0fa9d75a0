"""Options of reading data, and readers by file extension."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.hashes import Floats, Hashes, draws_repeat
from pushforward.data.images.image_file import ENDINGS, UNCHANGED, Conversion, Size
from pushforward.data.images.tars import refuse_compressed
from pushforward.errors import DataError, UsageError
from pushforward.files import plain_path
from pushforward.registries import READERS

Progress = Callable[[int, int], None]  # receives the number of images done, and their total
FOLDER = "/"  # extension of folders
IDX = ".idx3-ubyte"  # extension of IDX files, whatever else stands in their names
_IDX_NAME = re.compile(r"idx\d-ubyte(\.gz)?$")
MAX_BYTES = 8 * 2**30  # of one file or array of numbers
_TABLE_OPTIONS = ("columns", "drop", "missing", "schema", "constraints", "table")
Examples = tuple[Split, tuple[str, ...], tuple[str, ...]]  # with names of classes and columns


@dataclass(frozen=True)
class DataOptions:
    """How data is read; sources and readers refuse options that do not apply to them.

    Args:
        conversion: Size, channels and background of images.
        schema: Content of a schema file; empty for none.

    The other options are those of `pushforward.data.load`.
    """

    target: str | None = None
    header: bool | None = None
    conversion: Conversion = UNCHANGED
    limit: int | None = None
    seed: int = 0
    download: bool = False
    given: tuple[str, ...] = ()
    stream: bool | None = None
    workers: int = 0
    progress: Progress | None = None
    copies: str | None = None
    rare: str = "replace"
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    missing: tuple[str, ...] | None = None
    schema: Mapping[str, Any] = field(default_factory=dict, hash=False)
    constraints: tuple[str, ...] = ()
    table: bool | None = None

    @property
    def of_tables(self) -> dict[str, Any]:
        """Options that apply only to tables and were set, as plain values."""
        options = {}
        for name in _TABLE_OPTIONS:
            value = getattr(self, name)
            if value in (None, {}) or (value == () and name != "missing"):
                continue
            options[name] = list(value) if isinstance(value, tuple) else value
        return options

    @property
    def size(self) -> Size | None:
        """Height and width that images are scaled to."""
        return self.conversion.size

    def apart(self, hashes: Hashes, numbers: Sequence[Floats] | None) -> bool:
        """Return whether equal rows are split independently; see `draws_repeat`."""
        if self.copies is None:
            return draws_repeat(hashes, numbers)
        return self.copies == "apart"

    def refuse_stream(self, text: str) -> None:
        if self.conversion.channels or self.conversion.background:
            raise UsageError(
                f"`channels` and `background` apply only to image files, and {text} does not "
                "contain any. Leave them out."
            )
        if self.stream:
            raise UsageError(
                f"`stream=True` applies only to image folders and packed images, and {text} is "
                "neither. Leave it out, or pack the images first with `pushforward data pack`."
            )

    def refuse_table(self, text: str) -> None:
        for name in ("target", "header", "copies", *self.of_tables):
            if getattr(self, name) is not None:
                raise UsageError(
                    f"`{name}` applies only to tables such as .csv files, and {text} is not a "
                    "table. Leave it out."
                )


@dataclass(frozen=True)
class Reader:
    """Reader of the files with certain extensions.

    Args:
        endings: File extensions in lower case, such as (".csv",).
        read: Function from (path, reading) to the data.
        examples: Function from (path, reading) to all examples in order, including copies, for
            samples of a model; None uses all examples that ``read`` returns.
        pair: Function from (path, path of held-out examples, reading) to the data, for formats of
            tables.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, DataOptions], Dataset]
    examples: Callable[[Path, DataOptions], Examples] | None = None
    pair: Callable[[Path, Path, DataOptions], Dataset] | None = None


def register(*readers: Reader) -> None:
    """Register readers of more formats; earlier readers are replaced."""
    for reader in readers:
        for ending in reader.endings:
            READERS.add(ending, reader)


def check_ending(ending: str, reader: Reader) -> None:
    """Raise an error if a text is not a file extension."""
    if not ending.startswith(".") or ending != ending.lower():
        raise UsageError(
            f'"{ending}" is not a file extension: expected one such as ".parquet", in lower case.'
        )


def ending_of(path: Path) -> str:
    """Return the extension that decides how a file or a folder is read."""
    if plain_path(path).is_dir():
        return FOLDER
    if _IDX_NAME.search(path.name):
        return IDX
    return path.suffix.lower()


def read(path: Path, reading: DataOptions) -> Dataset:
    """Read an existing file or folder according to its extension.

    Raises:
        UsageError: If an option does not apply to the format.
        DataError: If the format is not supported, or the file cannot be read.
    """
    ending = ending_of(path)
    if ending not in READERS:
        reading.refuse_table(str(path))
        refuse_compressed(path)
        hint = ""
        if ending in ENDINGS:
            hint = " To read images, pass the folder that contains them."
        elif ending == ".py":
            hint = " If this Python file defines data, pass it as a plugin: `plugins=[FILE.py]`."
        raise DataError(f"{path} is not a supported data file: expected {described()}.{hint}")
    data: Dataset = READERS[ending].read(path, reading)
    return data


def examples_in(path: Path, reading: DataOptions) -> Examples:
    """Read all examples of an existing file in order, including copies; see `read`."""
    reader: Reader | None = READERS.get(ending_of(path))
    if reader is not None and reader.examples is not None:
        return reader.examples(path, reading)
    data = read(path, reading)
    examples = data.train.followed_by(data.held_out)
    return examples, tuple(data.space.classes), tuple(data.space.columns)


def is_frame(value: object) -> bool:
    """Return whether a value is a data frame of pandas or polars."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ == "DataFrame" and library in ("pandas", "polars")


def described() -> str:
    """Describe the supported formats."""
    *first, last = [ending for ending in READERS if ending != FOLDER]
    return f"an image folder, {', '.join(first)} or {last}"
