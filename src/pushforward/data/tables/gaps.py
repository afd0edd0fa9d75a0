"""Files with missing cells, which are filled in while all else stays byte for byte."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pushforward.data.header import has_header
from pushforward.data.tables.comparable import iso_date
from pushforward.data.tables.faults import some
from pushforward.data.tables.layout import Layout
from pushforward.data.tables.raw import MISSING, RawColumn
from pushforward.data.tables.rows import CellRows
from pushforward.data.tables.text import Cells, cells_of
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.safe_files import plain_path
from pushforward.table_column import Column

__all__ = ["GappyFile", "chosen_columns", "gappy_values"]

QUOTED = r'"[^"]*(?:""[^"]*)*"'


@dataclass(frozen=True)
class GappyFile:
    """A table's file of text, with the cells of its rows and where these are.

    Args:
        path: The file.
        content: Its text, without a byte order mark.
        mark: The byte order mark, or nothing.
        encoding: Of the text, without a mark.
        separator: Between cells; a blank stands for any run of them.
        header: The names of the columns.
        rows: The cells of each row, without blanks around them.
        lines: The lines between which each row lies: it begins after the first one, and ends with the second one.
    """

    path: Path
    content: str
    mark: str
    encoding: str
    separator: str
    header: tuple[str, ...]
    rows: CellRows
    lines: Sequence[tuple[int, int]]

    @classmethod
    def read(cls, path: Path, names: Sequence[str] = (), layout: Layout = Layout()) -> GappyFile:
        """Read a file.

        Args:
            path: The file.
            names: The names of the model's columns, by which a line of names is known; those of the file's where it has none.
            layout: Of the file that the model was trained on, which is tried first.

        Raises:
            DataError: For a file that is no table, or whose columns are unknown.
        """
        try:
            content = plain_path(path).read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        cells = _cells(content, names, layout)
        cells.faults.refuse(str(path))
        if not cells.rows:
            raise DataError(f"{path} is empty.")
        named = _named(cells, names, layout)
        header = cells.rows[0] if named else _names(path, len(cells.rows[0]), names)
        encoding = "utf-8" if cells.encoding != "utf-16" else "utf-16-le" if content.startswith(b"\xff\xfe") else "utf-16-be"
        text = content.decode(encoding)
        mark, ends = "\ufeff" * text.startswith("\ufeff"), [0, *map(int, cells.lines)]
        lines = list(itertools.pairwise(ends))[named:]
        return cls(path, text[len(mark) :], mark, encoding, cells.separator, tuple(header), cells.rows[named:], lines)

    def values(self, fields: Sequence[Column], absent: Iterable[str] = ()) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The values of a table's columns, and which cells are missing in the file; see `gappy_values`."""
        columns = [RawColumn(name, *self.rows.column(place)) for place, name in enumerate(self.header)]
        return gappy_values(str(self.path), columns, fields, absent, self.numbers)

    @property
    def numbers(self) -> list[int]:
        """The line of the file on which each row ends, from 1; the line of names counts."""
        return [last for _, last in self.lines]

    def filled(self, cells: Mapping[str, Mapping[int, str]]) -> str:
        """The file's text with other cells in some rows, by column and row; every other cell stays as it is written."""
        places = {name: place for place, name in enumerate(self.header)}
        rows: dict[int, dict[int, str]] = {}
        for name, column in cells.items():
            for number, cell in column.items():
                rows.setdefault(number, {})[places[name]] = cell
        text = self.content
        lines = text.splitlines(keepends=True) if self.separator == " " else list(io.StringIO(text, newline=""))
        parts, done = [self.mark], 0
        for number in sorted(rows):
            first, last = self._located(number, lines)
            parts += [*lines[done:first], self._line("".join(lines[first:last]), rows[number])]
            done = last
        return "".join([*parts, *lines[done:]])

    def _located(self, number: int, lines: Sequence[str]) -> tuple[int, int]:
        """The lines of a row; lines without cells and comments may stand before it."""
        after, last = self.lines[number]
        for first in range(after, last):
            text = "".join(lines[first:last])
            spans = _spans(text, self.separator)
            if [_read(text[start:stop], self.separator) for start, stop in spans] == self.rows[number]:
                return first, last
        raise DataError(f"{self.path}: the cells of line {last} cannot be replaced one by one. Write its quotes as usual.")

    def _line(self, text: str, cells: Mapping[int, str]) -> str:
        spans = _spans(text, self.separator)
        for place in sorted(cells, reverse=True):
            start, stop = spans[place]
            text = text[:start] + _written(text[start:stop], cells[place], self.separator) + text[stop:]
        return text


def gappy_values(
    name: str,
    columns: Sequence[RawColumn],
    fields: Sequence[Column],
    absent: Iterable[str] = (),
    lines: Sequence[int] | None = None,
    dates: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The values of a table's columns, and which cells are missing, (n, columns) each.

    A column that the table does not have is NaN, and no cell of it is missing. A text that a column has as a category is a
    value, whatever it means elsewhere.

    Args:
        name: What messages call the table.
        columns: Those that it has.
        fields: The model's columns.
        absent: Texts that mean that there is no value, beside `MISSING`.
        lines: The line of each row in the file, for messages; None for a table that is no file, whose rows are counted from 0.
        dates: Whether dates may be written as ISO 8601 has them instead of as the column does.

    Raises:
        DataError: For a table without any of the columns or with two of one name, or cells that a column does not have.
    """
    known, texts = {column.name: column for column in columns}, {*MISSING, *absent}
    names = [column.name for column in columns]
    wanted = [field.name for field in fields if field.name in known]
    if not wanted:
        raise DataError(f"{name} has the columns {', '.join(names)}: none is one of the model's.")
    repeated = [column for column in wanted if names.count(column) > 1]
    if repeated:
        raise DataError(f"{name} has several columns of one name: {some(repeated)}. Rename or remove all but one.")
    values = np.full((len(columns[0].codes), len(fields)), np.nan)
    missing, faults = np.zeros(values.shape, dtype=bool), []
    for place, field in enumerate(fields):
        if field.name not in known:
            continue
        column = known[field.name]
        gaps = np.array([text in texts and text not in getattr(field, "names", ()) for text in column.texts], dtype=bool)
        read = field.read(column.texts)
        if dates and field.kind == "date":
            read = np.where(np.isnan(read), [iso_date(text, field) for text in column.texts], read)
        values[:, place], missing[:, place] = column.numbered(np.where(gaps, np.nan, read)), gaps[column.codes]
        faults += _strange(column, field, np.isnan(values[:, place]) & ~missing[:, place], lines)
    if faults:
        raise DataError(f"{name} has cells that the model's columns do not have: {'; '.join(faults)}.")
    return values, missing


def chosen_columns(fields: Sequence[Column], only: Sequence[str] | str | None, there: Sequence[str]) -> NDArray[np.bool_]:
    """Which columns are filled in, bool (columns,).

    Args:
        fields: The model's columns.
        only: The names of those to fill, or one name; None for all.
        there: The names of the table's columns.

    Raises:
        UsageError: For names that are none of columns, or of none of the table's.
    """
    names = [field.name for field in fields]
    wanted = names if only is None else [only] if isinstance(only, str) else list(only)
    unknown = [name for name in wanted if name not in names]
    absent = [name for name in wanted if name in names and name not in there] if only is not None else []
    faults = []
    if unknown:
        faults += [f'The model has no column "{name}", which `only` names{_why_unknown(name, names, there)}' for name in unknown]
        faults.append(f"Columns: {', '.join(names)}.")
    if absent or not wanted:
        problem = f"the table has no {', '.join(absent)}" if absent else "got none"
        faults.append(f"`only` names the columns to fill; {problem}.")
    if faults:
        raise UsageError(" ".join(faults))
    return np.isin(names, wanted)


def _why_unknown(name: str, names: Sequence[str], there: Sequence[str]) -> str:
    """The rest of the sentence on a column that the model does not have: that the table has it, or what it may have meant."""
    return ": this column of the table was left out of training." if name in there else f".{did_you_mean(name, names)}"


def _strange(column: RawColumn, field: Column, strange: NDArray[np.bool_], lines: Sequence[int] | None) -> list[str]:
    rows = np.flatnonzero(strange).tolist()
    where = [f"row {row}" if lines is None else f"line {lines[row]}" for row in rows]
    words = [f'"{column.texts[column.codes[row]][:40]}" in {place}' for row, place in zip(rows, where, strict=True)]
    names = getattr(field, "names", ())
    known = f" (expected one of: {some(names)})" if names else ""
    return [f"{column.name}: {some(words)}{known}"] if words else []


def _cells(content: bytes, names: Sequence[str], layout: Layout) -> Cells:
    """The cells by the separator of the training file where that leads to known columns, else by the one that splits best."""
    cells = cells_of(content, layout.separator)
    first = cells.rows[0] if cells.rows else []
    known = set(names) & set(first) or (len(first) == len(names) and not cells.faults.sentences)
    return cells if known else cells_of(content)


def _named(cells: Cells, names: Sequence[str], layout: Layout) -> bool:
    """Whether the first line holds names."""
    first = set(cells.rows[0])
    if not layout.header:
        return set(names) <= first
    return bool(first & set(names)) or has_header(cells.rows[0], cells.rows[1:]) is not False


def _names(path: Path, width: int, names: Sequence[str]) -> Sequence[str]:
    """The names of the columns of a file without a line of names."""
    numbered = [f"x{place}" for place in range(width)]
    if width == len(names) or set(names) <= set(numbered):
        return names if width == len(names) else numbered
    raise DataError(
        f"{path} has {width} columns and no line of names, and the model has the {len(names)} columns {some(names)}. Write a "
        "first line of column names."
    )


def _spans(text: str, separator: str) -> list[tuple[int, int]]:
    """Where the cells of a row are, quotes included and blanks before them not; nothing for a text that is not one row."""
    blanks, ends = ("[ \t]*", " \t") if separator == " " else (" *", re.escape(separator))
    cell = re.compile(f"{blanks}((?:{QUOTED})?[^{ends}\r\n]*)")
    stop = len(text.rstrip() if separator == " " else text.rstrip("\r\n"))
    spans, place = [], -1
    while place < stop and (place < 0 or text[place] in (ends if separator == " " else separator)):
        match = cell.match(text, place + 1, stop)
        assert match is not None, "a cell may be empty"
        spans.append(match.span(1))
        place = match.end()
    return spans if place == stop else []


def _read(cell: str, separator: str) -> str:
    """A cell as it is read."""
    quoted = re.match(QUOTED, cell)
    text = cell if quoted is None else quoted[0][1:-1].replace('""', '"') + cell[quoted.end() :]
    return (text.replace("\t", " ") if separator == " " else text).strip()


def _written(old: str, cell: str, separator: str) -> str:
    """A cell in the place of another one: between the same blanks, and in quotes where that was or where it must be."""
    text = old.strip()
    before, _, after = old.partition(text) if text else (old, "", "")
    if text.startswith('"') or any(character in cell for character in f'{separator}"\r\n'):
        before, cell = before if not before.strip(" ") else "", '"' + cell.replace('"', '""') + '"'
    return before + cell + after
