"""Read and write the text of tables.

Dialect (encoding, separator, names, missing values), cells, and files with gaps.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.files import plain_path
from pushforward.numbers import counted, finite, some
from pushforward.tables.column import Column, Floats, Mask
from pushforward.tables.reading.string_columns import (
    MISSING,
    CellRows,
    Collector,
    Faults,
    RawColumn,
)

if TYPE_CHECKING:
    pass

SEQUENCE = "sequence"  # what fills a column with consecutive numbers
SEPARATORS = (
    "\t",
    ";",
    "|",
    ",",
    " ",
)  # in the order of preference where several split alike: 1,5;2,5 holds decimal commas
SEPARATOR_NAMES = {"\t": "tab", ";": "semicolon", "|": "pipe", ",": "comma", " ": "blanks"}
COMMENTS = ("#", "%", "|", "//")
LOOKED_AT = 200  # lines by which the separator is chosen
MOST_COLUMNS = 10_000
LONGEST = 1000  # characters of the text of a missing value
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
YEARS = range(1800, 2201)  # whole numbers that may be years
ROWS = 2000  # how many rows below the first line are looked at
# How tables write that there is no value, in lower case.
_ABSENT = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "."})


@dataclass(frozen=True)
class Layout:
    """Format of a table's file, which samples are written in.

    Args:
        separator: Separator of cells; a blank means any number of blanks.
        header: Whether the first line contains column names.
        missing: Text of missing values in each column; empty if all are empty cells.
        types: Types of a data frame's columns, as returned by `frames.types_of`; empty for a file.
        levels: Texts of the levels of each categorical data-frame column that occur, in order;
            () for other columns.
        columns: Names of all columns of the file, if some are left out; otherwise empty.

    Raises:
        DataError: For another separator than one character, or a longer text than `LONGEST`.
    """

    separator: str = ","
    header: bool = True
    missing: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "missing", tuple(map(str, self.missing)))
        object.__setattr__(self, "types", tuple(map(str, self.types)))
        object.__setattr__(self, "columns", tuple(map(str, self.columns)))
        object.__setattr__(self, "levels", tuple(tuple(map(str, texts)) for texts in self.levels))
        texts = (*self.missing, *self.types)
        if (
            len(self.levels) != len(self.types)
            or len(self.separator) != 1
            or any(len(text) > LONGEST for text in texts)
        ):
            raise DataError(
                "The layout of a table must have a separator of one character, short texts, and "
                "levels for each type."
            )


@dataclass(frozen=True)
class Cells:
    """Cells of a table's text, without surrounding blanks.

    Args:
        rows: Cells of each line, including the first line.
        lines: Number of the line on which each row ends, from 1.
        separator: Separator of cells; a blank means any number of blanks.
        encoding: Encoding of the text.
        comments: Numbers of the lines that were skipped as comments.
        faults: Problems found so far.
    """

    rows: CellRows
    lines: Sequence[int]
    separator: str = ","
    encoding: str = "utf-8"
    comments: tuple[int, ...] = ()
    faults: Faults = field(default_factory=Faults)


def cells_of(content: bytes) -> Cells:
    """Split the content of a file into cells.

    Returns:
        The cells; what is wrong with them is in ``faults``.
    """
    faults = Faults()
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    text = content.decode(encoding, errors="replace")
    if "\ufffd" in text:
        lines = [number for number, line in enumerate(text.split("\n"), 1) if "\ufffd" in line]
        faults.add(
            f"The file is not UTF-8 text; the first invalid line is {lines[0]}. Save it as UTF-8. "
            "If it is in Windows-1252, as older programs write it, use `iconv -f WINDOWS-1252 -t "
            "UTF-8 OLD > NEW`."
        )
    if max(map(re.split("[\r\n]", text, maxsplit=1)[0].count, SEPARATORS)) >= MOST_COLUMNS:
        faults.add(
            f"The first line has more than {MOST_COLUMNS:,} cells. Save such a table as .npy, "
            "which is read as vectors."
        )
        return Cells(CellRows(), (), faults=faults)
    separator = _separator("\n".join(text.split("\n", LOOKED_AT)[:LOOKED_AT]))
    del text  # it is read again part by part
    split = _split(content, encoding, separator, faults)
    usual, ends = split.rows()
    comments = []
    others = []
    for place, row in split.others:
        line = split.lines[place]
        if row[0].startswith(COMMENTS):
            comments.append(line)
        elif any(row):
            others.append(f"line {line} has {counted(len(row), 'cell')}")
    if others:
        listed = some(others)
        faults.add(
            f"Lines have different numbers of cells: most have {split.width}, but {listed}. "
            f"Detected separator: {SEPARATOR_NAMES.get(separator, separator)}. Correct or remove "
            "these lines, and put quotes around cells that contain the separator."
        )
    if any("\n" in cell for cell in split.last) and content.count(b'"') % 2:
        faults.add(
            f"The quote opened after line {[0, *split.lines][-2]} is never closed. Close or remove "
            "it."
        )
    return Cells(usual, ends, separator, encoding, tuple(comments), faults)


def _separator(text: str) -> str:
    lines = text.split("\n")
    head = "\n".join(line for line in lines if not line.startswith(COMMENTS)) or text
    best = ","
    most = 0.0
    for separator in SEPARATORS:
        split = _split(head.encode(), "utf-8", separator, Faults())
        share = 0.0
        if split.usual > 1:
            share = split.widths[split.usual] / max(1, len(split.lines))
        if share > most + (0.2 if separator == " " else 0):
            best = separator
            most = share
    return best


def _split(content: bytes, encoding: str, separator: str, faults: Faults) -> Collector:
    lines: Iterable[str] = io.TextIOWrapper(
        io.BytesIO(content), encoding, errors="replace", newline=""
    )
    if separator == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    split = Collector()
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                split.add(row, reader.line_num)
    except csv.Error as error:
        faults.add(
            f"Line {reader.line_num}: {error}. A quote at the start of a cell may not be closed."
        )
    split.take_apart()
    return split


def has_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool | None:
    """Decide whether a table's first line contains column names.

    Returns:
        True for names, False for data, None if both are possible.
    """
    cells = [cell.strip() for cell in first]
    rows = list(rows[:ROWS])
    if not rows:
        return any(finite(cell) is None for cell in cells)
    whole = [int(cell) for cell in cells if cell.isdecimal()]
    steps = {b - a for a, b in itertools.pairwise(whole)}
    counted = len(steps) == 1 and min(steps) > 0
    evidence = []
    for i, cell in enumerate(cells):
        below = [row[i].strip() for row in rows]
        evidence.append(_sign(cell, below, counted))
    signs = set(evidence)
    if "repeated" in signs:
        outweighed = evidence.count("name") >= 2 and evidence.count("repeated") == 1
        signs.remove("repeated")
        signs.add("" if outweighed else "data")
    for name, data in (("name", "data"), ("name?", "data?")):
        if name in signs and data in signs:
            return None
        if name in signs:
            return True
        if data == "data?" and data in signs and counted:
            if whole[0] == 0 and len(whole) >= 3 and not _continued(cells, rows):
                return True
            return None
        if data in signs:
            return False
    if not whole:
        return True
    # rising numbers that name columns are 0, 1, 2, ... or 1, 2, 3, ..., or years
    usual = whole[:2] in ([0, 1], [1, 2]) or all(number in YEARS for number in whole)
    if counted and usual and not _continued(cells, rows):
        return True
    return None


def _continued(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    for i, cell in enumerate(cells):
        if not cell.isdecimal():
            continue
        values = [finite(row[i]) for row in rows]
        column = [int(cell), *(value for value in values if value is not None)]
        if column != sorted(column):
            return False
    return True


def _sign(cell: str, column: Sequence[str], counted: bool) -> str:
    """Evidence of a cell for its line.

    "name", "data", "name?" or "data?" (probably), "repeated" text, or none.
    """
    below = [other for other in column if other.lower() not in _ABSENT]
    if cell.lower() in _ABSENT or not below:
        return ""
    number = finite(cell)
    numbers = [value for value in map(finite, below) if value is not None]
    if len(numbers) < len(below):  # a column of text
        repeated = len(set(below)) <= max(1, len(below) // 2)
        if cell in below:
            return "repeated"
        if number is None and repeated:
            return "name?"
        return ""
    if number is None:
        return "name"
    if not cell.isdecimal():
        return "data"
    fractions = not all(other.lstrip("+-").isdecimal() for other in below)
    if min(numbers) <= number <= max(numbers) and not (counted and fractions):
        return "data?"
    return ""


@dataclass(frozen=True)
class GappyFile:
    """Text file of a table with missing values.

    Args:
        path: Path of the file.
        encoding: Encoding of the text.
        separator: Separator of cells; a blank means any number of blanks.
        ending: Line ending.
        header: Column names.
        named: Whether the first line contains the column names.
        rows: Cells of each row, without surrounding blanks.
        numbers: Number of the line on which each row ends, from 1, counting the header.
    """

    path: Path
    encoding: str
    separator: str
    ending: str
    header: tuple[str, ...]
    named: bool
    rows: CellRows
    numbers: Sequence[int]

    @classmethod
    def read(cls, path: Path, names: Sequence[str] = (), layout: Layout = Layout()) -> GappyFile:
        """Read a file."""
        try:
            content = plain_path(path).read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        cells = cells_of(content)
        cells.faults.refuse(str(path))
        if not cells.rows:
            raise DataError(f"{path} is empty.")
        header = cells.rows[0]
        known = set(header) & set(names)
        named = len(known) == len(names)
        if not named and layout.header:
            named = bool(known) or has_header(header, cells.rows[1:]) is not False
        numbered = [f"x{place}" for place in range(len(header))]
        if not named and len(header) != len(names) and not set(names) <= set(numbered):
            raise DataError(
                f"{path} has {len(header)} columns and no header line. Add one; the expected "
                f"columns are {some(names)}."
            )
        ending = "\r\n" if "\r\n" in content.decode(cells.encoding) else "\n"
        if not named:
            header = list(names) if len(header) == len(names) else numbered
        return cls(
            path,
            cells.encoding,
            cells.separator,
            ending,
            tuple(header),
            named,
            cells.rows[named:],
            cells.lines[named:],
        )

    def values(
        self, fields: Sequence[Column], absent: Iterable[str] = (), **options: Any
    ) -> tuple[Floats, Mask]:
        """Return the values of a table's columns, and which cells are missing.

        See `gappy_values`.
        """
        columns = []
        for place, name in enumerate(self.header):
            columns.append(RawColumn(name, *self.rows.column(place)))
        return gappy_values(str(self.path), columns, fields, absent, self.numbers, **options)

    def filled(self, cells: Mapping[str, Mapping[int, str]]) -> str:
        """Return the file's text with new cells, by column and row."""
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=self.separator, lineterminator=self.ending)
        if self.named:
            writer.writerow(self.header)
        columns = [cells.get(name, {}) for name in self.header]
        for number, row in enumerate(self.rows):
            pairs = zip(columns, row, strict=True)
            writer.writerow(column.get(number, cell) for column, cell in pairs)
        return out.getvalue()


def gappy_values(
    name: str,
    columns: Sequence[RawColumn],
    fields: Sequence[Column],
    absent: Iterable[str] = (),
    lines: Sequence[int] | None = None,
    foreign: bool = False,
) -> tuple[Floats, Mask]:
    """Return the values of a table's columns and which cells are missing, (n, columns) each.

    A column that the table lacks is NaN and not marked as missing. A text that is a category of its
    column is a value, even if it denotes a missing value elsewhere.

    Args:
        fields: Expected columns; dates may be in ISO 8601 format instead of their own.
        lines: Line of each row in the file, for messages; None for a table without a file, whose
            rows are counted from 0.
    """
    faults = Faults()
    known = {column.name: column for column in columns}
    texts = {*MISSING, *absent}
    names = [column.name for column in columns]
    if not known.keys() & {column.name for column in fields} or len(known) < len(columns):
        raise DataError(
            f"{name} has the columns {', '.join(names)}. At least one must be an expected column, "
            "and names must be unique."
        )
    values = np.full((len(columns[0].codes), len(fields)), np.nan)
    missing = np.zeros(values.shape, dtype=bool)
    numbers = range(len(values)) if lines is None else lines
    for place, wanted in enumerate(fields):
        if wanted.name not in known:
            continue
        column = known[wanted.name]
        levels = getattr(wanted, "names", ())
        absences = texts.difference(levels)
        gaps = np.array([text in absences for text in column.texts], dtype=bool)
        read = wanted.read(column.texts)
        if wanted.rare or (foreign and levels):
            read[np.isnan(read) & ~gaps] = len(levels)
        odd = np.flatnonzero(np.isnan(read) & ~gaps).tolist()
        values[:, place] = column.numbered(np.where(gaps, np.nan, read))
        missing[:, place] = gaps[column.codes]
        if odd:
            expected = f" Expected one of: {some(levels)}." if levels else ""
            where = column.where(odd, numbers)
            faults.add(f'The column "{wanted.name}" does not have these values: {where}.{expected}')
    faults.refuse(name)
    return values, missing


def chosen_columns(
    fields: Sequence[Column], only: Sequence[str] | str | None, there: Sequence[str]
) -> Mask:
    """Return which columns to fill in, bool (columns,).

    Args:
        only: Names of the columns to fill in, or one name; None for all.
    """
    names = [field.name for field in fields]
    if only is None:
        return np.ones(len(names), dtype=bool)
    wanted = [only] if isinstance(only, str) else list(only)
    both = [name for name in names if name in there]
    if not wanted or not set(wanted) <= set(both):
        wrong = next((name for name in wanted if name not in both), "")
        raise UsageError(
            f'`only` must contain columns of both the model and the table, and "{wrong}" is not '
            f"one.{did_you_mean(wrong, both)} Available columns: {', '.join(both)}."
        )
    return np.isin(names, wanted)
