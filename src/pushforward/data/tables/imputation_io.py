"""Files and frames with missing cells, which are filled in while all other cells keep their texts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.cells import MISSING, CellRows, RawColumn, some
from pushforward.data.tables.constraints import iso_date
from pushforward.data.tables.csv_dialect import Layout, cells_of, has_header
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.files import plain_path
from pushforward.table_column import Column


@dataclass(frozen=True)
class GappyFile:
    """A table's file of text.

    Args:
        path: The file.
        encoding: Of the text.
        separator: Between cells; a blank stands for any run of them.
        ending: Of its lines.
        header: The names of the columns.
        named: Whether its first line holds them.
        rows: The cells of each row, without blanks around them.
        numbers: The line on which each row ends, from 1; the line of names counts.
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
        """Read a file.

        Args:
            path: The file.
            names: The names of the model's columns, by which a line of names is known; those of the file's where it has none.
            layout: Of the file that the model was trained on, whose separator is tried first.

        Raises:
            DataError: For a file that is no table, or whose columns are unknown.
        """
        try:
            content = plain_path(path).read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        cells = cells_of(content, layout.separator)
        first = cells.rows[0] if cells.rows else []
        if not set(names) & set(first) and (len(first) != len(names) or cells.faults.sentences):
            cells = cells_of(content)
        cells.faults.refuse(str(path))
        if not cells.rows:
            raise DataError(f"{path} is empty.")
        header, known = cells.rows[0], set(cells.rows[0]) & set(names)
        named = len(known) == len(names) or (layout.header and (bool(known) or has_header(header, cells.rows[1:]) is not False))
        numbered = [f"x{place}" for place in range(len(header))]
        if not named and len(header) != len(names) and not set(names) <= set(numbered):
            raise DataError(f"{path} has {len(header)} columns and no line of names: write one; the model has {some(names)}.")
        ending = "\r\n" if "\r\n" in content.decode(cells.encoding) else "\n"
        header = header if named else list(names) if len(header) == len(names) else numbered
        return cls(path, cells.encoding, cells.separator, ending, tuple(header), named, cells.rows[named:], cells.lines[named:])

    def values(self, fields: Sequence[Column], absent: Iterable[str] = ()) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The values of a table's columns, and which cells are missing in the file; see `gappy_values`."""
        columns = [RawColumn(name, *self.rows.column(place)) for place, name in enumerate(self.header)]
        return gappy_values(str(self.path), columns, fields, absent, self.numbers)

    def filled(self, cells: Mapping[str, Mapping[int, str]]) -> str:
        """The file's text with other cells in some rows, by column and row; quotes stand where they must."""
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=self.separator, lineterminator=self.ending)
        if self.named:
            writer.writerow(self.header)
        columns = [cells.get(name, {}) for name in self.header]
        for number, row in enumerate(self.rows):
            writer.writerow(column.get(number, cell) for column, cell in zip(columns, row, strict=True))
        return out.getvalue()


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
    known, texts, names = {column.name: column for column in columns}, {*MISSING, *absent}, [column.name for column in columns]
    wanted = [field.name for field in fields if field.name in known]
    if not wanted or len(known) < len(columns):
        raise DataError(f"{name} has the columns {', '.join(names)}: expected some of the model's, each once.")
    values = np.full((len(columns[0].codes), len(fields)), np.nan)
    missing = np.zeros(values.shape, dtype=bool)
    numbers = range(len(values)) if lines is None else lines
    for place, field in enumerate(fields):
        if field.name not in known:
            continue
        column, levels = known[field.name], getattr(field, "names", ())
        gaps = np.array([text in texts and text not in levels for text in column.texts], dtype=bool)
        read = field.read(column.texts)
        if dates and field.kind == "date":
            read = np.where(np.isnan(read), [iso_date(text) for text in column.texts], read)
        values[:, place], missing[:, place] = column.numbered(np.where(gaps, np.nan, read)), gaps[column.codes]
        if odd := np.flatnonzero(np.isnan(read) & ~gaps).tolist():
            expected = f" Expected one of: {some(levels)}." if levels else ""
            where = column.where(odd, numbers)
            raise DataError(f'{name}: "{field.name}" has cells that the model\'s column does not have: {where}.{expected}')
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
    both = [name for name in names if name in there]
    if not wanted or (only is not None and not set(wanted) <= set(both)):
        wrong = next((name for name in wanted if name not in both), "")
        raise UsageError(
            f'`only` names the columns to fill, and "{wrong}" is no column of both the model and the table.'
            f"{did_you_mean(wrong, both)} Those are: {', '.join(both)}."
        )
    return np.isin(names, wanted)
