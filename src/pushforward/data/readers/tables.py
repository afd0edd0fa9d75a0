"""Tables of numbers: ``.csv``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.arrays import numbered, refuse_rounding
from pushforward.data.building import Schema, build
from pushforward.data.dataset import Dataset, Split
from pushforward.data.header import has_header
from pushforward.data.readers.reader import MAX_BYTES, Examples, Reader
from pushforward.data.source import Reading
from pushforward.errors import DataError, UsageError, did_you_mean

__all__ = ["CSV"]


def _read(path: Path, reading: Reading) -> Dataset:
    if reading.stream:
        raise UsageError(f"`stream=True` is for images, and {path} is a table, which is always read whole: leave it out.")
    if reading.size:
        raise UsageError("`resize` is for images, but a .csv holds vectors: leave it out.")
    rows, schema, header = _contents(path, reading)
    return build(path.stem, rows, schema=schema, header=header, limit=reading.limit, seed=reading.seed)


def _examples(path: Path, reading: Reading) -> Examples:
    split, schema, named = _contents(path, reading)
    return split, schema.classes, schema.columns if named else ()


def _contents(path: Path, reading: Reading) -> tuple[Split, Schema, bool]:
    """Read a table: rows of numbers, separated by commas, semicolons or tabs, below a line of column names or without one.

    Args:
        path: the file, UTF-8.
        reading: its ``target`` is the column that becomes the label; it may hold text or whole numbers. Its ``header`` states
            whether the first line holds column names; None decides as `pushforward.data.header` describes. Columns without
            names are called x0, x1, ...

    Returns:
        Its rows, their description, and whether the first line was taken as column names.

    Raises:
        UsageError: no column is called ``target``.
        DataError: a first line that may be names or data, repeated names, ragged rows, no rows, or a cell that is not a finite
            number.
    """
    target = reading.target
    names, rows, lines, named = _table(path, target, reading.header)
    labels = None
    classes: tuple[str, ...] = ()
    keep = list(range(len(names)))
    if target is not None:
        if target not in names:
            raise UsageError(f'{path} has no column "{target}".{did_you_mean(target, names)} Columns: {", ".join(names)}.')
        keep.remove(names.index(target))
        cells = np.array([row[names.index(target)].strip() for row in rows])
        if (cells == "").any():
            row = int(np.flatnonzero(cells == "")[0])
            raise DataError(f'{path}, column "{target}", line {lines[row]}: the label is missing. Fill it in or remove the row.')
        labels, classes = numbered(_as_numbers(cells), str(path), f'column "{target}"')
    if not keep:
        raise DataError(f"{path} has no column beside the target: expected at least one column of numbers.")
    columns = [[row[i] for row in rows] for i in keep]
    column_names = tuple(names[i] for i in keep)
    table = dict(zip(column_names, columns, strict=True))
    try:
        x = np.stack([_column(path, name, cells, lines) for name, cells in table.items()], axis=1)
    except _TextColumn as error:
        raise DataError(f"{error} {_without_text(table, target, reading.given)}") from None
    integer = tuple(i for i, cells in enumerate(columns) if _whole(x[:, i], cells))
    for i in integer:
        refuse_rounding(x[:, i], f'{path}, column "{column_names[i]}"')
    return Split(x.astype(np.float32), labels), Schema(classes, column_names, integer, target or ""), named


def _as_numbers(cells: NDArray[np.str_]) -> NDArray[Any]:
    """Text cells as numbers if all are, so that labels sort as numbers."""
    try:
        return cells.astype(np.float64)
    except ValueError:
        return cells


def _table(path: Path, target: str | None, header: bool | None) -> tuple[list[str], list[list[str]], list[int], bool]:
    """Column names, rows, the line each row ends on, and whether the names are the file's own."""
    rows, lines = _cells(path)
    first = [name.strip() for name in rows[0]] if rows else []
    if not any(first):
        raise DataError(f"{path} is empty: expected rows of numbers, below a line of column names or without one.")
    if header is None:
        header = target in first or has_header(first, rows[1:])
    if header is None:
        raise DataError(
            f"{path}: the first line ({', '.join(first[:4])}{', ...' if len(first) > 4 else ''}) may hold column names or data. "
            "Say which: `header=True` for names, `header=False` for data."
        )
    if not header:
        return [f"x{i}" for i in range(len(first))], rows, lines, False
    _check_names(path, first)
    if len(rows) == 1:
        raise DataError(f"{path} has a header but no rows.")
    return first, rows[1:], lines[1:], True


def _cells(path: Path) -> tuple[list[list[str]], list[int]]:
    """The cells of every line that holds any, and the line each row ends on."""
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 30} GB: save it as .npy.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}): save the table as .csv in UTF-8.") from error
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            width = len(rows[0]) if rows else len(row)
            if not row or (len(row) == 1 and not row[0].strip() and width > 1):
                continue
            if len(row) != width:
                raise DataError(f"{path}, line {reader.line_num}: {len(row)} cells, but the first line has {width}.")
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    return rows, lines


def _check_names(path: Path, names: list[str]) -> None:
    if "" in names:
        raise DataError(f"{path}: column {names.index('') + 1} has no name. (pandas: save with index=False.)")
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise DataError(f'{path}: the name "{repeated[0]}" stands over more than one column.')


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _column(path: Path, name: str, cells: list[str], lines: list[int]) -> NDArray[np.float64]:
    try:
        values = np.array(cells).astype(np.float64)
    except ValueError:
        values = np.array([math.nan if (v := _number(cell)) is None else v for cell in cells])
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
    if not len(bad):
        return values
    row = int(bad[0])
    cell = cells[row].strip()
    value = _number(cell)
    missing = "is missing" if not cell else "is missing (NaN)" if value is not None and math.isnan(value) else ""
    what = missing or ("is not a number" if value is None else "is not finite in float32")
    many = f" ({len(bad)} such cells in this column)" if len(bad) > 1 else ""
    where = f'{path}, column "{name}", row {row + 1} (line {lines[row]}): "{cell[:40]}" {what}{many}.'
    texts = sum(_number(cell) is None for cell in cells if cell.strip())
    if 2 * texts >= len(cells):
        raise _TextColumn(where)
    raise DataError(f"{where} {'Fill it in' if missing else 'Correct it'} or remove the row.")


class _TextColumn(DataError):
    """A column that holds text where numbers were expected."""


def _without_text(table: dict[str, list[str]], target: str | None, given: Sequence[str]) -> str:
    """The advice for columns that hold text: all at once, and the label only where none is given."""
    texts = [name for name, cells in table.items() if any(cell.strip() and _number(cell) is None for cell in cells)]
    labels = [name for name in texts if len({cell.strip() for cell in table[name]}) <= max(10, len(table[name]) // 2)]
    several = f"Columns with text: {', '.join(texts)}. " if len(texts) > 1 else ""
    drop = f"{several}Drop {'them' if several else 'the column'}"
    if target or not labels:
        return f"{drop}."
    wrong = [name for name in labels if name in given]
    if wrong:
        return f'{drop}, or take "{wrong[0]}" out of `given`, which takes numbers, and make it the label: `target="{wrong[0]}"`.'
    return f'{drop}, or make {"one" if several else "it"} the label: `target="{labels[0]}"`.'


def _whole(values: NDArray[np.float64], cells: list[str]) -> bool:
    """Whether a column holds whole numbers, written as such."""
    return bool((values == np.rint(values)).all()) and not any(set(cell) & set(".eE") for cell in cells)


CSV = Reader((".csv",), _read, _examples)
