"""Tables of plain numbers as vectors, with one column as their label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.arrays import numbered, refuse_rounding
from pushforward.data.building import Schema
from pushforward.data.dataset import Split
from pushforward.data.example_hashes import numbered_copies
from pushforward.data.reading import Reading
from pushforward.data.tables.numerals import form_of
from pushforward.data.tables.raw import RawColumn
from pushforward.data.tables.rows import CellRows
from pushforward.errors import DataError, UsageError, did_you_mean

__all__ = ["TextRows", "are_vectors", "vectors_of"]

DECIMALS = 4  # A column of at most so many decimals is one of a table, which keeps decimals, whole numbers and ranges.
# A number that holds this share of a column of many values, and so many times the mean share, makes it a table's column.
ATOM_SHARE, ATOM_RATIO, FEW = 0.02, 10, 20


@dataclass(frozen=True)
class TextRows:
    """A table of text.

    Args:
        names: The columns' names.
        rows: The cells of each row.
        lines: The line that each row ends on.
        named: Whether the names are the file's own or the user's.
    """

    names: list[str]
    rows: CellRows
    lines: Sequence[int]
    named: bool


TABLE = (
    " `given` reads a table as plain numbers. Without it the table is read with its texts, and a flow, ddpm or edm of it can be "
    "given any columns when it is sampled."
)

FIRST = 200  # different cells of a column that are tried first: a text among them decides


def are_vectors(table: TextRows, target: str | None) -> bool:
    """Whether all columns beside the target hold finite numbers, none missing, and no number that is much more frequent."""
    if target is not None and target not in table.names:
        return True
    for place, name in enumerate(table.names):
        texts, codes = table.rows.column(place)
        if name == target:
            if "" in texts:
                return False
            continue
        if any(_number(text) is None for text in texts[:FIRST]):
            return False
        values = [_number(text) for text in texts]
        with np.errstate(over="ignore"):
            finite = np.array([math.nan if value is None else value for value in values]).astype(np.float32)
        if not np.isfinite(finite).all() or _has_atom(values, codes) or (target is None and _fixed(texts)):
            return False
    return True


def _fixed(cells: Sequence[str]) -> bool:
    """Whether the numbers of a column are whole, or have few decimals."""
    return form_of(cell.strip() for cell in cells).decimals in range(DECIMALS + 1)


def _has_atom(values: Sequence[float | None], codes: NDArray[np.int32]) -> bool:
    """Whether a number is much more frequent than the others of the column, whose texts have these values."""
    counts = Counter[float | None]()
    for value, count in zip(values, np.bincount(codes).tolist(), strict=True):
        counts[value] += count
    share = max(counts.values()) / len(codes)
    return len(counts) > FEW and share > ATOM_SHARE and share > ATOM_RATIO / len(counts)


def vectors_of(path: Path, table: TextRows, reading: Reading) -> tuple[Split, Schema]:
    """The rows of a table of numbers.

    Args:
        path: the file.
        table: its text.
        reading: its ``target`` is the column that becomes the label; it may hold text or whole numbers.

    Returns:
        Its rows, and their description.

    Raises:
        UsageError: no column is called ``target``.
        DataError: a cell that is not a finite number.
    """
    target, names, rows, lines = reading.target, table.names, table.rows, table.lines
    labels = None
    classes: tuple[str, ...] = ()
    keep = list(range(len(names)))
    if target is not None:
        if target not in names:
            raise UsageError(f'{path} has no column "{target}".{did_you_mean(target, names)} Columns: {", ".join(names)}.')
        keep.remove(names.index(target))
        cells = np.array(rows.cells(names.index(target)))
        if (cells == "").any():
            row = int(np.flatnonzero(cells == "")[0])
            raise DataError(f'{path}, column "{target}", line {lines[row]}: the label is missing. Fill it in or remove the row.')
        labels, classes = numbered(_as_numbers(cells), str(path), f'column "{target}"')
    if not keep:
        raise DataError(f"{path} has no column beside the target: expected at least one column of numbers.")
    columns = [rows.cells(i) for i in keep]
    column_names = tuple(names[i] for i in keep)
    cells_by_name = dict(zip(column_names, columns, strict=True))
    try:
        x = np.stack([_column(path, name, cells, lines) for name, cells in cells_by_name.items()], axis=1)
    except _TextColumn as error:
        raise DataError(
            f"{error} {_without_text(cells_by_name, target, reading.given)}{TABLE if reading.given else ''}"
        ) from None
    integer = tuple(i for i, cells in enumerate(columns) if _whole(x[:, i], cells))
    for i in integer:
        refuse_rounding(x[:, i], f'{path}, column "{column_names[i]}"')
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for place, name in enumerate(names):
        hashes += RawColumn(name, *rows.column(place)).hashes
    apart = reading.apart(hashes, list(x.T))
    known = Schema(classes, column_names, integer, target or "", apart=apart)
    return Split(x.astype(np.float32), labels, numbered_copies(hashes) if apart else hashes), known


def _as_numbers(cells: NDArray[np.str_]) -> NDArray[Any]:
    """Text cells as numbers if all are, so that labels sort as numbers."""
    try:
        return cells.astype(np.float64)
    except ValueError:
        return cells


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _column(path: Path, name: str, cells: list[str], lines: Sequence[int]) -> NDArray[np.float64]:
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
