"""How data is to be read, and readers by the ending of the files that they read; `FOLDER` is that of folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.hashes import Hashes, draws_repeat
from pushforward.data.images.image_file import ENDINGS, UNCHANGED, Conversion
from pushforward.data.images.tars import refuse_compressed
from pushforward.errors import DataError, UsageError
from pushforward.files import plain_path
from pushforward.registries import READERS

FOLDER = "/"  # the ending of folders
IDX = ".idx3-ubyte"  # that of IDX files, whatever else stands in their names
_IDX_NAME = re.compile(r"idx\d-ubyte(\.gz)?$")
MAX_BYTES = 8 * 2**30  # of one file or array of numbers
# Examples as they are stored, the names of their classes, and those of their columns, which may be none.
Examples = tuple[Split, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Reading:
    """How data is to be read. Each source and each reader of files refuses options that do not apply to it.

    Args:
        target: the column of a table that becomes the label.
        header: whether the first line of a table holds column names; None decides from its content.
        conversion: how images are changed: their size, channels and background.
        limit: at most so many training examples, chosen by ``seed``.
        seed: chooses the examples that ``limit`` keeps.
        download: fetch a set that is not there.
        given: columns that become conditions once the table is read; errors about one of them mention it.
        stream: whether images stay on disk; None: where they would take more than 4 GB.
        workers: threads that decode batches ahead where images stay on disk.
        progress: called with the number of images that were read, and that of all.
        copies: "together" or "apart": whether equal rows of a table are on one side of the split, or each is split by itself;
            None decides from the rows (`pushforward.data.core.hashes.draws_repeat`).
        rare: "replace" or "keep": what becomes of texts of a table that at most one training row has
            (`pushforward.data.tables.rare`).
        columns: the columns of a table to keep; the names of all columns where the file has none.
        drop: columns to leave out.
        missing: texts that mean that there is no value; None for `pushforward.data.tables.string_columns.MISSING`.
        schema: the content of a schema file, see `pushforward.data.tables.schema`; empty for none.
        constraints: conditions that every row meets, as `pushforward.data.tables.constraints.Constraint` takes them.
        table: whether the data is read as a table of columns of their own kinds; False: as vectors; None: where it must be.
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
    progress: Callable[[int, int], None] | None = None
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
        """The options of tables alone that were given, as plain values."""
        given = {name: getattr(self, name) for name in ("columns", "drop", "missing", "schema", "constraints", "table")}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        return {name: value for name, value in plain.items() if value not in (None, {}) and (value != [] or name == "missing")}

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images are scaled to."""
        return self.conversion.size

    def apart(self, hashes: Hashes, numbers: Sequence[NDArray[np.float64]] | None) -> bool:
        """Whether equal rows are split apart; see `draws_repeat`."""
        return draws_repeat(hashes, numbers) if self.copies is None else self.copies == "apart"

    def refuse_stream(self, text: str) -> None:
        if self.conversion.channels or self.conversion.background:
            raise UsageError(f"`channels` and `background` are for image files, and {text} holds none: leave them out.")
        if self.stream:
            raise UsageError(
                f"`stream=True` is for folders of images and for packed ones, and {text} is neither: leave it out, or pack its "
                "images first (`pushforward data pack`)."
            )

    def refuse_table(self, text: str) -> None:
        stated = {"target": self.target, "header": self.header, "copies": self.copies, **self.of_tables}
        for name, value in stated.items():
            if value is not None:
                raise UsageError(f"`{name}` is for .csv files and other tables, and {text} is none: leave it out.")


@dataclass(frozen=True)
class Reader:
    """How files of some endings are read.

    Args:
        endings: such as (".csv",), in lower case.
        read: (path, reading) -> the data; it refuses the options of ``reading`` that do not apply.
        examples: (path, reading) -> every example of the file in its order, none held out and none left out as a copy, as
            samples of a model are read; None takes all that ``read`` has.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, Reading], Dataset]
    examples: Callable[[Path, Reading], Examples] | None = None


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


def ending_of(path: Path) -> str:
    """The ending that decides how a file or a folder is read."""
    if plain_path(path).is_dir():
        return FOLDER
    return IDX if _IDX_NAME.search(path.name) else path.suffix.lower()


def read(path: Path, reading: Reading) -> Dataset:
    """Read a file or a folder that exists, by its ending.

    Raises:
        UsageError: An option that does not apply to the format.
        DataError: A file of another format, or one that cannot be read.
    """
    ending = ending_of(path)
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
    reader: Reader | None = READERS.get(ending_of(path))
    if reader is not None and reader.examples is not None:
        return reader.examples(path, reading)
    data = read(path, reading)
    return data.train.followed_by(data.held_out), tuple(data.space.classes), tuple(data.space.columns)


def is_frame(value: object) -> bool:
    """Whether a value is a data frame of pandas or polars."""
    return type(value).__name__ == "DataFrame" and type(value).__module__.partition(".")[0] in ("pandas", "polars")


def described() -> str:
    """The readable formats, in words."""
    *first, last = [ending for ending in READERS if ending != FOLDER]
    return f"an image folder, {', '.join(first)} or {last}"
