"""Read and write the text of tables.

Dialect (encoding, separator, names, missing values), cells, and files with gaps.
"""

from __future__ import annotations

import codecs
import csv
import io
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.data.core.hashes import Floats, Mask
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.files import plain_path
from pushforward.numbers import finite, plural, some
from pushforward.tables.column import Column
from pushforward.tables.reading.string_columns import (
    MISSING,
    Faults,
    RawColumn,
    RawTable,
    numbering,
)

SEQUENCE = "sequence"  # what fills a column with consecutive numbers
# in the order of preference where several split alike: 1,5;2,5 holds decimal commas
SEPARATOR_NAMES = {"\t": "tab", ";": "semicolon", "|": "pipe", ",": "comma", " ": "blanks"}
COMMENTS = ("#", "%", "|", "//")
LOOKED_AT = 200  # lines by which the separator is chosen
AT_ONCE = 4096  # rows that are split into columns at a time
MOST_COLUMNS = 10_000
LONGEST = 1000  # characters of the text of a missing value
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
YEARS = range(1800, 2201)
ROWS = 2000  # rows that show whether there is a header
# How tables write that there is no value, in lower case.
_ABSENT = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "."})


@dataclass(frozen=True)
class Layout:
    """Format of a table's file, which samples are written in.

    Args:
        missing: Text of missing values in each column; empty if all are empty cells.
        types: Types of a data frame's columns, as returned by `frames.types_of`; empty for a file.
        levels: Texts of the levels of each categorical data-frame column that occur, in order;
            () for other columns.
        columns: Names of all columns of the file, if some are left out; otherwise empty.
    """

    separator: str = ","
    header: bool = True
    missing: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
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


def text_table(content: bytes, faults: Faults) -> RawTable:
    """Split the content of a file into cells without surrounding blanks.

    Columns are still unnamed, and the first line is treated as a row.
    """
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    text = content.decode(encoding, errors="replace")
    valid, invalid, _ = text.partition("\ufffd")
    if invalid:
        line = valid.count("\n") + 1
        faults.add(
            f"The file is not UTF-8 text; the first invalid line is {line}. Save it as UTF-8. "
            "If it is in Windows-1252, as older programs write it, use `iconv -f WINDOWS-1252 -t "
            "UTF-8 OLD > NEW`."
        )
    separator, width = _dialect(text)
    ending = "\r\n" if "\r\n" in text else "\n"
    del text, valid  # it is read again part by part
    if width > MOST_COLUMNS:
        faults.add(
            f"The first line has more than {MOST_COLUMNS:,} cells. Save such a table as .npy, "
            "which is read as vectors."
        )
        return RawTable((), ())
    texts = [numbering() for _ in range(width)]
    codes = [array("i") for _ in range(width)]
    lines = array("q")
    comments = []
    others = []
    row: list[str] = []
    reader = _reader(content, encoding, separator)
    more = True
    try:
        while more:
            more = False
            usual = []
            for row in islice(reader, AT_ONCE):
                more = True
                if len(row) == width and (width > 1 or row[0].strip()):
                    usual.append(row)
                    lines.append(reader.line_num)
                elif "".join(row).lstrip().startswith(COMMENTS):
                    comments.append(reader.line_num)
                elif "".join(row).strip():
                    others.append(f"line {reader.line_num} has {plural(len(row), 'cell')}")
            for place, column in enumerate(zip(*usual, strict=True)):
                numbers = map(texts[place].__getitem__, map(str.strip, column))
                codes[place].extend(numbers)
    except csv.Error as error:
        faults.add(
            f"Line {reader.line_num}: {error}. A quote at the start of a cell may not be closed."
        )
    if others:
        faults.add(
            f"Lines have different numbers of cells: most have {width}, but {some(others)}. "
            f"Detected separator: {SEPARATOR_NAMES[separator]}. Correct or remove "
            "these lines, and put quotes around cells that contain the separator."
        )
    breaks = "".join(row).count("\n")
    if breaks and content.count(b'"') % 2:
        faults.add(
            f"The quote opened after line {reader.line_num - breaks} is never closed. Close or "
            "remove it."
        )
    columns = [
        RawColumn("", tuple(numbers), np.asarray(own, dtype=np.int32))
        for numbers, own in zip(texts, codes, strict=True)
    ]
    notes = (f"ignored comment lines: {some(comments)}",) if comments else ()
    return RawTable(
        tuple(columns),
        lines,
        header=False,
        separator=separator,
        notes=notes,
        encoding=encoding,
        ending=ending,
    )


def _dialect(text: str) -> tuple[str, int]:
    lines = text.split("\n", LOOKED_AT)[:LOOKED_AT]
    head = [line for line in lines if not line.startswith(COMMENTS)] or lines
    content = "\n".join(head).encode()
    best = (",", 1)
    most = 0.0
    for separator in SEPARATOR_NAMES:
        widths = Counter[int]()
        with suppress(csv.Error):
            for row in _reader(content, "utf-8", separator):
                if "".join(row).strip():
                    widths[len(row)] += 1
        for width, count in widths.most_common(1):
            share = count / widths.total()
            if width > 1 and share > most + (0.2 if separator == " " else 0):
                best = (separator, width)
                most = share
    return best


def _reader(content: bytes, encoding: str, separator: str) -> Any:
    lines: Iterable[str] = io.TextIOWrapper(
        io.BytesIO(content), encoding, errors="replace", newline=""
    )
    if separator == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def with_names(
    where: str,
    table: RawTable,
    faults: Faults,
    header: bool | None,
    names: Sequence[str],
    target: str | None = None,
) -> RawTable:
    """Name the columns of a text by its first line, by given names, or as x0, x1, ...

    Args:
        header: Whether the first line contains names; None decides by its cells.
        names: Names of some columns, or of all columns of a text without header.
        target: Name of a further column.
    """
    first = table.first
    if not any(first):
        faults.refuse(where)
        raise DataError(
            f"{where} is empty: expected rows of data, optionally below a line of column names."
        )
    if header is None and {*names, target} & set(first):
        header = True
    if header is None:
        header = has_header(islice(column.cells(), ROWS) for column in table.columns)
        if header is None and len(names) == len(first):
            header = False
        if header is None and len(table.lines) > 1:
            faults.add(
                f"The first line ({some(first, 4)}) may contain column names or data. Use "
                "`header=True` for column names, or `header=False` for data."
            )
    if header is not False:
        if len(table.lines) < 2:
            faults.refuse(where)
            raise DataError(f"{where} has a header but no rows.")
        table = table.below_header()
        names = first
    elif len(names) != len(first):
        numbered = [f"x{place}" for place in range(len(first))]
        if not set(names) <= set(numbered):
            raise UsageError(
                f"{where} has {len(first)} columns and no line of column names, but expected "
                f"{some(names)}. Add the line, or give a name for each column."
            )
        names = numbered
    check_names(names, faults)
    pairs = zip(names, table.columns, strict=True)
    return replace(table, columns=tuple(replace(column, name=name) for name, column in pairs))


def check_names(names: Sequence[str], faults: Faults) -> None:
    """Report empty and repeated column names."""
    empty = [place for place, name in enumerate(names, 1) if not name]
    if empty:
        faults.add(
            f"Every column needs a name, but column {some(empty)} has none. In pandas, save with "
            "index=False."
        )
    repeated = [quoted(name) for name, count in Counter(names).items() if name and count > 1]
    if repeated:
        faults.add(
            f"Column names must be unique, but these occur more than once: {some(repeated)}."
        )


def has_header(columns: Iterable[Iterable[str]]) -> bool | None:
    """Decide by the cells of each column whether the first cells are column names.

    Returns:
        True for names, False for data, None if both are possible.
    """
    cells = [list(column) for column in columns]
    first = [column[0] for column in cells]
    if len(cells[0]) == 1:
        return any(finite(cell) is None for cell in first)
    numbers = [int(cell) for cell in first if cell.isdecimal()]
    steps = {right - left for left, right in pairwise(numbers)}
    rising = len(steps) == 1 and min(steps) > 0  # such as 0, 1, 2 and years
    signs = Counter(_sign(column[0], column[1:], rising) for column in cells)
    if signs["repeated"] > 1 or (signs["repeated"] and signs["name"] < 2):
        signs["data"] += 1
    for name, data in (("name", "data"), ("name?", "data?")):
        if name in signs and data in signs:
            return None
        if name in signs:
            return True
        if data in signs and not (rising and data == "data?"):
            return False
    if not numbers:
        return True
    usual = numbers[0] in (0, 1) and numbers[1:2] == [numbers[0] + 1]
    if "data?" in signs:
        usual = numbers[0] == 0 and len(numbers) > 2
    elif set(numbers) <= set(YEARS):
        usual = True
    if rising and usual and not _continued(cells):
        return True
    return None


def _continued(cells: Sequence[Sequence[str]]) -> bool:
    for column in cells:
        if column[0].isdecimal():
            values = [value for value in map(finite, column) if value is not None]
            if values != sorted(values):
                return False
    return True


def _sign(cell: str, column: Sequence[str], rising: bool) -> str:
    """Return what a first cell is: a name, data, a repeated text, or probably a name or data."""
    below = [other for other in column if other.lower() not in _ABSENT]
    if cell.lower() in _ABSENT or not below:
        return ""
    number = finite(cell)
    numbers = [value for value in map(finite, below) if value is not None]
    if len(numbers) < len(below):  # a column of text
        if cell in below:
            return "repeated"
        if number is None and len(set(below)) <= max(1, len(below) // 2):
            return "name?"
        return ""
    if number is None:
        return "name"
    if not cell.isdecimal():
        return "data"
    whole = all(other.lstrip("+-").isdecimal() for other in below)
    if min(numbers) <= number <= max(numbers) and (whole or not rising):
        return "data?"
    return ""


def read_known(path: Path, names: Sequence[str] = (), layout: Layout = Layout()) -> RawTable:
    """Read a text file that has some of the named columns."""
    try:
        content = plain_path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    faults = Faults()
    table = text_table(content, faults)
    header = None if layout.header or set(names) <= set(table.first) else False
    table = with_names(str(path), table, faults, header, names)
    faults.refuse(str(path))
    return table


def filled(table: RawTable, cells: Mapping[str, Mapping[int, str]]) -> str:
    """Return the text of a file with new cells, by column and row."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=table.separator, lineterminator=table.ending)
    if table.header:
        writer.writerow(table.names)
    columns = []
    for column in table.columns:
        texts = list(column.cells())
        for row, cell in cells.get(column.name, {}).items():
            texts[row] = cell
        columns.append(texts)
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue()


def gappy_values(
    where: str,
    table: RawTable,
    fields: Sequence[Column],
    absent: Iterable[str] = (),
    foreign: bool = False,
) -> tuple[Floats, Mask]:
    """Return the values of a table's columns and which cells are missing, (n, columns) each.

    A column that the table lacks is NaN and not marked as missing. A text that is a category of its
    column is a value, even if it denotes a missing value elsewhere.

    Args:
        absent: Further texts of missing values.
        foreign: Whether unknown texts are the number after the last category, instead of faults.
    """
    faults = Faults()
    known = {column.name: column for column in table.columns}
    if len(known) < len(table.columns) or not known.keys() & {field.name for field in fields}:
        raise DataError(
            f"{where} has the columns {', '.join(table.names)}. At least one must be an expected "
            "column, and names must be unique."
        )
    values = np.full((len(table.lines), len(fields)), np.nan)
    missing = np.zeros(values.shape, dtype=bool)
    for place, wanted in enumerate(fields):
        if wanted.name not in known:
            continue
        column = known[wanted.name]
        levels = wanted.levels
        absences = {*MISSING, *absent}.difference(levels)
        gaps = np.array([text in absences for text in column.texts], dtype=bool)
        read = wanted.read(column.texts)
        if wanted.rare or (foreign and levels):
            read[np.isnan(read) & ~gaps] = len(levels)
        odd = np.flatnonzero(np.isnan(read) & ~gaps).tolist()
        values[:, place] = column.numbered(np.where(gaps, np.nan, read))
        missing[:, place] = gaps[column.codes]
        if odd:
            expected = f" Expected one of: {some(levels)}." if levels else ""
            faults.add(
                f'The column "{wanted.name}" does not have these values: '
                f"{column.where(odd, table.lines)}.{expected}"
            )
    faults.refuse(where)
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
    for name in wanted or [""]:
        if name not in both:
            raise UsageError(
                f'`only` must contain columns of both the model and the table, and "{name}" is not '
                f"one.{did_you_mean(name, both)} Available columns: {', '.join(both)}."
            )
    return np.isin(names, wanted)
