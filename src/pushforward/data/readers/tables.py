"""Tables: ``.csv``, ``.tsv``, ``.data`` and ``.txt``, and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.building import build
from pushforward.data.dataset import Dataset
from pushforward.data.header import has_header
from pushforward.data.readers.reader import MAX_BYTES, Examples, Reader
from pushforward.data.reading import Reading
from pushforward.data.spaces import TableSpace
from pushforward.data.tables.faults import Faults, some
from pushforward.data.tables.frames import read_parquet
from pushforward.data.tables.raw import RawColumn, RawTable
from pushforward.data.tables.text import Cells, Progress, cells_of
from pushforward.data.tabular import check_names, rows_of, table_dataset
from pushforward.data.vectors import TextRows, are_vectors, vectors_of
from pushforward.errors import DataError, UsageError

__all__ = ["CSV", "PARQUET", "TABLES", "TEXT", "read_rows", "read_text"]


def _read(path: Path, reading: Reading) -> Dataset:
    _refuse(path, reading)
    rows, cells = _parsed(path, reading)
    faults = cells.faults
    if not faults.sentences and _as_vectors(path, rows, reading):
        split, schema = vectors_of(path, rows, reading)
        options: dict[str, Any] = {"limit": reading.limit, "seed": reading.seed, "header": rows.named}
        return build(path.stem, split, schema=schema, read_as=_read_as(split.x.shape[1] - len(reading.given), reading), **options)
    _refuse_given(path, reading)
    table, doubt = _raw(rows, cells), _doubt(cells, reading)
    del rows, cells  # the columns hold all that is needed
    try:
        return table_dataset(path.stem, str(path), replace(table, notes=(*table.notes, *doubt)), reading, faults)
    except DataError as error:
        raise (DataError(f"{error}\nFirst of all: {doubt[0]}.") if doubt else error) from None


def _read_parquet(path: Path, reading: Reading) -> Dataset:
    _refuse(path, reading)
    _refuse_given(path, reading)
    if reading.header is not None:
        raise UsageError(f"`header={reading.header}` is for tables of text, and {path} is none: leave it out.")
    return table_dataset(path.stem, str(path), read_parquet(path), reading)


def read_text(path: Path, space: TableSpace | None = None) -> RawTable:
    """The columns of a table of text.

    Args:
        path: The file.
        space: A table that is known: the first line holds names exactly where it holds all of its columns'. None to find out.

    Raises:
        DataError: With all that is wrong with its lines.
    """
    cells, names = _cells(path), () if space is None else space.names
    named = bool(names and cells.rows) and set(names) <= set(cells.rows[0])
    header = True if named else None if space is None or space.layout.header else False
    rows = _split(path, cells, header, () if named else names)
    cells.faults.refuse(str(path))
    return _raw(rows, cells)


def read_rows(path: Path, space: TableSpace) -> NDArray[np.float64]:
    """Rows of a file as values of a table that is known, (n, columns); they may be out of its columns' ranges.

    Args:
        path: The file; columns of other names are left out.
        space: The table.

    Raises:
        DataError: For columns that are missing, and cells that are no values of their columns' kinds, or unknown categories.
    """
    layout = space.layout
    table = read_parquet(path) if path.suffix.lower() == ".parquet" else read_text(path, space)
    lacking = [name for name in space.names if name not in table.names]
    if lacking:
        raise DataError(f"{path} lacks the column{'s' * (len(lacking) > 1)} {some(lacking)}: it has {some(table.names, 12)}.")
    columns, faults = {column.name: column for column in table.columns}, Faults()
    values = [
        rows_of(field, columns[field.name], text, table.lines, faults)
        for field, text in zip(space.fields, layout.missing or ("",) * len(space.fields), strict=True)
    ]
    faults.refuse(str(path))
    return np.column_stack(values)


def _doubt(cells: Cells, reading: Reading) -> list[str]:
    """A note where the first line was said to be data and looks like names."""
    if reading.header is not False or len(cells.rows) < 2 or not has_header(cells.rows[0], cells.rows[1:]):
        return []
    return [
        f"the first line ({_first(cells.rows[0])}) looks like column names: leave `header=False` out if it is none of the data"
    ]


def _first(cells: Sequence[str]) -> str:
    return f"{', '.join(cells[:4])}{', ...' if len(cells) > 4 else ''}"


def _examples(path: Path, reading: Reading) -> Examples:
    rows, cells = _parsed(path, reading)
    cells.faults.refuse(str(path))
    split, schema = vectors_of(path, rows, reading)
    return split, schema.classes, schema.columns if rows.named else ()


def _refuse(path: Path, reading: Reading) -> None:
    if reading.stream:
        raise UsageError(f"`stream=True` is for images, and {path} is a table, which is always read whole: leave it out.")
    if reading.size:
        raise UsageError(f"`resize` is for images, but {path} holds a table: leave it out.")


def _refuse_given(path: Path, reading: Reading) -> None:
    if reading.given:
        raise UsageError(
            f"`given` is for tables of plain numbers, and {path} is read as a table of mixed types. Leave it out: a model of "
            "such a table can be asked for any values of its columns when it is sampled."
        )


def _as_vectors(path: Path, rows: TextRows, reading: Reading) -> bool:
    """Whether a table of text is read as vectors, with the target as their label."""
    if reading.table.table is not None or reading.given:
        return not reading.table.table
    return path.suffix.lower() == ".csv" and not reading.table.stated and are_vectors(rows, reading.target)


def _read_as(width: int, reading: Reading) -> str:
    """The sentence on a table of text that was read as vectors where nobody asked for them; empty where somebody did."""
    if reading.table.table is False:
        return ""
    label = "" if reading.target is None else f' with the label "{reading.target}"'
    other = "`table=True` without `given`" if reading.given else "`table=True`"
    return (
        f"read as vectors of {width} number{'s' * (width != 1)}{label}; {other} for a table, whose samples keep decimals, whole "
        "numbers and ranges"
    )


def _parsed(path: Path, reading: Reading) -> tuple[TextRows, Cells]:
    cells = _cells(path, reading.progress)
    return _split(path, cells, reading.header, reading.table.columns, reading.target), cells


def _cells(path: Path, progress: Progress | None = None) -> Cells:
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 30} GB: save it as .npy.")
    return cells_of(path.read_bytes(), progress=progress)


def _split(path: Path, cells: Cells, header: bool | None, columns: Sequence[str], target: str | None = None) -> TextRows:
    """Names and rows of a file's cells; what is wrong with its lines is noted."""
    faults, first = cells.faults, cells.rows[0] if cells.rows else []
    if not any(first) and not faults.sentences:
        raise DataError(f"{path} is empty: expected rows, below a line of column names or without one.")
    if len(cells.rows) < 2:
        faults.refuse(str(path))
    if header is None:
        header = _headed(cells, columns, target)
    if header is None:
        faults.add(
            f"the first line ({_first(first)}) may hold column names or data. "
            "Say which: `header=True` for names, `header=False` for data."
        )
        header = True
    if not header:
        return TextRows(_given_names(path, columns, len(first)), cells.rows, cells.lines, bool(columns))
    check_names(first, faults)
    if len(cells.rows) == 1 and not faults.sentences:
        raise DataError(f"{path} has a header but no rows.")
    return TextRows(first, cells.rows[1:], cells.lines[1:], True)


def _headed(cells: Cells, columns: Sequence[str], target: str | None) -> bool | None:
    """Whether the first line holds names; None where both are possible."""
    first = cells.rows[0] if cells.rows else []
    if (target and target in first) or (columns and set(columns) <= set(first)):
        return True
    decided = has_header(first, cells.rows[1:])
    return False if decided is None and len(columns) == len(first) else decided


def _given_names(path: Path, columns: Sequence[str], width: int) -> list[str]:
    if not columns:
        return [f"x{i}" for i in range(width)]
    if len(columns) != width:
        raise UsageError(
            f"`columns` names {len(columns)} columns, and {path}, which has no line of names, has {width}: name all."
        )
    if len(set(columns)) < width:
        raise UsageError(f"`columns` names a column twice: {', '.join(columns)}.")
    return list(columns)


def _raw(rows: TextRows, cells: Cells) -> RawTable:
    columns = [RawColumn(name, *rows.rows.column(place)) for place, name in enumerate(rows.names)] if rows.rows else []
    notes = []
    if cells.comments:
        notes.append(f"left out line{'s' * (len(cells.comments) > 1)} {some(cells.comments)}, which begin as comments do")
    header = 0 < len(rows.rows) < len(cells.rows)
    return RawTable(tuple(columns), rows.lines, header, cells.separator, tuple(notes))


CSV = Reader((".csv",), _read, _examples)
TEXT = Reader((".tsv", ".data", ".txt"), _read, _examples)
TABLES = (*CSV.endings, *TEXT.endings, ".parquet")
PARQUET = Reader((".parquet",), _read_parquet)
