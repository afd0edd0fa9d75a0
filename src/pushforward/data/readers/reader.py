"""Options of reading data, and readers by file extension."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from pushforward.arguments import whole
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.hashes import Floats, Hashes, draws_repeat
from pushforward.data.images.image_file import Conversion, Size
from pushforward.errors import DataError, UsageError
from pushforward.files import plain_path
from pushforward.registries import READERS, at

Progress = Callable[[int, int], None]  # receives the number of images done, and their total
FOLDER = "/"  # extension of folders
IDX = ".idx3-ubyte"  # extension of IDX files, whatever else stands in their names
_IDX_NAME = re.compile(r"idx\d-ubyte(\.gz)?$")
MAX_BYTES = 8 * 2**30  # of one file or array of numbers
TABLE_OPTIONS = {"columns", "drop", "missing", "schema", "constraints", "table"}
# Values of options that are names
_CHOICES = {
    "channels": ("rgb", "grey", "gray"),
    "copies": ("together", "apart"),
    "rare": ("replace", "keep"),
}
_CHANNELS = {None: None, "rgb": 3, "grey": 1, "gray": 1}
Examples = tuple[Split, tuple[str, ...], tuple[str, ...]]  # with names of classes and columns


@dataclass(frozen=True)
class DataOptions:
    """Options of `pushforward.data.load`; sources and readers refuse those that do not apply.

    Lists of names can also be texts separated by commas.

    Args:
        target: Column of a table to predict, used as the label in a ``.csv`` of plain numbers.
        header: Whether the first line of a table contains column names; None decides by the rows
            below.
        resize: Image size, as one side, (height, width) or "HEIGHTxWIDTH", that images are scaled
            to cover (antialiased bicubic) and cropped to at the centre.
        channels: "rgb" or "grey" converts image files. By default images are grey if all of them
            are, RGBA if any has transparent pixels, and RGB otherwise.
        background: Colour that replaces transparency in image files, such as "white" or "#808080".
        limit: Maximum number of training examples, chosen by ``seed``.
        seed: Seed of ``limit``.
        labelled: True requires labels, False drops them; None drops the labels of toys.
        given: Columns of a ``.csv`` that condition the model; see
            `pushforward.data.core.load.given_columns`.
        download: Whether to download a named data set that is missing.
        stream: Whether images of files stay on disk; None if they would take more than 4 GB.
        workers: Number of threads that decode such images ahead.
        progress: Function called with the number of images read, and their total.
        columns: Columns of a table to keep, or the names of all columns of a file without header.
        drop: Columns of a table to leave out.
        missing: Texts that denote a missing value, besides an empty cell.
        schema: Description of a table's columns, as a JSON file or its content.
        constraints: Comparisons that hold for every row and sample of a table, such as
            ``["end >= start"]``.
        table: True reads a ``.csv`` of plain numbers as a table, False as vectors.
        copies: "together" keeps equal rows of a table on one side of the split, "apart" splits each
            row independently; None decides by the rows
            (`pushforward.data.core.hashes.draws_repeat`).
        rare: "replace" replaces each text that at most one training row has by another text of its
            column; "keep" learns it.
    """

    target: str | None = None
    header: bool | None = None
    resize: Any = None
    channels: str | None = None
    background: str | None = None
    limit: int | None = None
    seed: int = 0
    labelled: bool | None = None
    given: Sequence[str] = ()
    download: bool = False
    stream: bool | None = None
    workers: int = 1  # a second thread would slow down training on two cores
    progress: Progress | None = None
    columns: Sequence[str] = ()
    drop: Sequence[str] = ()
    missing: Sequence[str] | None = None
    schema: Any = None
    constraints: Sequence[str] = ()
    table: bool | None = None
    copies: str | None = None
    rare: str = "replace"

    def __post_init__(self) -> None:
        values = self.given_options
        for name, choices in _CHOICES.items():
            if name in values and values[name] not in choices:
                raise UsageError(
                    f"`{name}={values[name]!r}` is not supported: expected one of "
                    f"{', '.join(choices)}."
                )
        for name in ("given", "columns", "drop", "missing"):
            if name in values:
                values[name] = _words(name, values[name])
        if self.target in values.get("given", ()):
            raise UsageError(
                f'`target` and `given` both contain "{self.target}". A column can be the label or '
                "a condition, not both."
            )
        if isinstance(self.constraints, str):
            values["constraints"] = (self.constraints,)
        if self.schema is not None:
            values["schema"] = at("tables.reading.schema:read_schema")(self.schema)
        if self.limit is not None:
            values["limit"] = whole("limit", self.limit)
        values["resize"] = _size(self.resize)
        values["workers"] = whole("workers", self.workers, 0)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def given_options(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        values = {}
        for option in fields(self):
            value = getattr(self, option.name)
            if value != option.default:
                values[option.name] = value
        return values

    @cached_property
    def conversion(self) -> Conversion:
        """Size, channels and background of images."""
        try:
            return Conversion(self.resize, _CHANNELS[self.channels], self.background or "")
        except ValueError:
            raise UsageError(
                f"`background={self.background}` is not a colour: expected a name or a hex code, "
                "such as white or #808080."
            ) from None

    def apart(self, hashes: Hashes, numbers: Sequence[Floats] | None) -> bool:
        """Return whether equal rows are split independently; see `draws_repeat`."""
        if self.copies is None:
            return draws_repeat(hashes, numbers)
        return self.copies == "apart"

    def stored(self, data: Dataset) -> dict[str, Any]:
        """Return the options that read the same data again, as plain values."""
        values = self.given_options
        for name in ("progress", "download", "rare"):
            values.pop(name, None)
        for name, value in values.items():
            if isinstance(value, tuple):
                values[name] = list(value)
        if data.apart is not None:
            values["copies"] = "apart" if data.apart else "together"
        if data.table is not None:
            values["rare"] = self.rare
        return values

    def refuse_stream(self, text: str) -> None:
        self._refuse(("stream", "channels", "background"), "image files", text)

    def refuse_table(self, text: str) -> None:
        names = ("target", "header", "copies", *TABLE_OPTIONS)
        self._refuse(names, "tables such as .csv files", text)

    def _refuse(self, names: Sequence[str], kind: str, text: str) -> None:
        for name, value in self.given_options.items():
            if name in names and value is not False:
                raise UsageError(
                    f"`{name}` applies only to {kind}, and {text} does not contain any. "
                    "Leave it out."
                )


def _words(name: str, words: Any) -> tuple[str, ...] | None:
    if isinstance(words, str):
        words = [word.strip() for word in words.split(",")]
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"`{name}` must be a list of strings; got {words!r:.60}.")
    return tuple(filter(None, words))


def _size(resize: Any) -> Size | None:
    if resize is None:
        return None
    words = str(resize).strip("()[]").replace(",", "x").split("x")
    sides = [int(word) for word in words if word.strip().isdecimal()]
    if len(sides) != len(words) or len(sides) > 2 or not all(1 <= side <= 4096 for side in sides):
        raise UsageError(
            f"`resize={resize}` is not an image size: expected 1 to 4096 pixels per side, as N, "
            "(height, width) or HEIGHTxWIDTH."
        )
    return sides[0], sides[-1]


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
        raise DataError(
            f"{path} is not a supported data file: expected {described()}. Decompress archives, "
            "pass the folder of image files, and pass Python files that define data as plugins: "
            "`plugins=[FILE.py]`."
        )
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
