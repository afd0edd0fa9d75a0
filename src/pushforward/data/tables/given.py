"""Values of columns that are given, against the training rows' ranges and the constraints that every row meets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.category import Category
from pushforward.data.tables.comparable import numbers
from pushforward.data.tables.constraints import Constraint
from pushforward.data.tables.faults import count, some
from pushforward.errors import UsageError, quoted
from pushforward.table_column import Column

__all__ = ["beyond_ranges", "check_given"]

_OTHERS = "give other values. A value that the training rows do not have counts as the nearest one that they have."


def check_given(
    fields: Sequence[Column], constraints: Sequence[Constraint], values: NDArray[np.float64], given: NDArray[np.bool_]
) -> None:
    """Refuse given values by which no row can meet a constraint, whatever the other columns hold.

    Args:
        fields: The table's columns.
        constraints: What every row meets.
        values: Of each column, NaN where it is given as missing, (n, columns).
        given: Which are given, (n, columns).

    Raises:
        UsageError: Naming the constraint and the given values of the first row that cannot meet it.
    """
    places = {field.name: place for place, field in enumerate(fields)}
    for constraint in constraints:
        named = [places[name] for name in constraint.names]
        free = [(given[:, i] & np.isnan(values[:, i])) | (~given[:, i] & fields[i].missing) for i in named]
        low, high = _ends(constraint, [fields[i] for i in named], values[:, named], given[:, named])
        broken = given[:, named].any(1) & ~np.any(free, axis=0) & ~constraint.possible(low, high)
        if broken.any():
            row = int(np.argmax(broken))
            raise UsageError(_sentence(constraint, [(fields[i], values[row, i], bool(given[row, i])) for i in named]))


def beyond_ranges(
    fields: Sequence[Column], values: NDArray[np.float64], given: NDArray[np.bool_], places: Sequence[object]
) -> str:
    """A sentence on the given numbers and dates that lie outside of the training rows' ranges; empty without any.

    Args:
        fields: The table's columns.
        values: Of each column, (n, columns).
        given: Which are given, (n, columns).
        places: What a message calls each row, (n,).
    """
    names: list[str] = []
    total, example = 0, ""
    for place, field in enumerate(fields):
        if field.range is None:
            continue
        low, high = field.range
        rows = np.flatnonzero(given[:, place] & ((values[:, place] < low) | (values[:, place] > high)))
        if len(rows):
            cell, first, last = field.cells(np.array([values[rows[0], place], low, high]))
            example = example or f"{field.name}={cell} in {places[rows[0]]}, where the range is {first} to {last}"
            names, total = [*names, field.name], total + len(rows)
    if not total:
        return ""
    where = f"{count(total, 'cell')} of the column{'s' * (len(names) > 1)} {some(names)}"
    lie = "lies" if total == 1 else "lie"
    return f"{where} {lie} outside of the training rows' range, such as {example}. The model is given the nearest value."


def _ends(
    constraint: Constraint, fields: Sequence[Column], values: NDArray[np.float64], given: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """The least and the greatest number of each row and column: the given value twice, else the ends of the column's range."""
    known = {field.name: field for field in fields}
    own = numbers(constraint, known, {field.name: values[:, place] for place, field in enumerate(fields)})
    every = numbers(constraint, known, {field.name: _range(field) for field in fields})
    low, high = dict(own), dict(own)
    for place, field in enumerate(fields):
        least, greatest = (every[field.name].min(), every[field.name].max()) if every[field.name].size else (-np.inf, np.inf)
        low[field.name] = np.where(given[:, place], own[field.name], least)
        high[field.name] = np.where(given[:, place], own[field.name], greatest)
    return low, high


def _range(field: Column) -> NDArray[np.float64]:
    if isinstance(field, Category):
        return np.arange(len(field.names), dtype=np.float64)
    return np.array(field.range or (), dtype=np.float64)


def _sentence(constraint: Constraint, parts: Sequence[tuple[Column, float, bool]]) -> str:
    stated = [f"{field.name}={field.cells(np.array([value]))[0]}" for field, value, given in parts if given]
    who = f"The given value{'s' * (len(stated) > 1)} {', '.join(stated)}"
    others = [
        f"{field.name} ({' to '.join(field.cells(np.array([_range(field).min(), _range(field).max()])))})"
        for field, _, given in parts
        if not given
    ]
    if not others:
        return f"{who} break{'s' * (len(stated) == 1)} the constraint {quoted(constraint.text)} of the table: {_OTHERS}"
    leave = f"leave{'s' * (len(stated) == 1)} no value of {' and '.join(others)}"
    return f"{who} {leave} by which a row meets the constraint {quoted(constraint.text)} of the table: {_OTHERS}"
