"""What rows of a table's samples hold that the table's columns do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pushforward.data.spaces import TableSpace
from pushforward.data.tables import Number
from pushforward.data.tables.constraints import holds
from pushforward.data.tables.parse_errors import some
from pushforward.errors import quoted
from pushforward.numbers import counted
from pushforward.table_column import Column

__all__ = ["odd_rows"]

POINT, ERRORS = 0.01, 4.0
"""Shares differ that are farther apart than a percentage point and than so many standard errors of their difference."""


def odd_rows(space: TableSpace, values: NDArray[np.float64], training: int) -> list[str]:
    """A sentence for each kind of cell that columns do not hold, for shares of frequent values, and for each broken constraint.

    Args:
        space: The table.
        values: Of its columns, (n, columns), NaN where missing.
        training: How many training rows the shares of its columns are of, at least 1.
    """
    sides = [(field, values[:, place]) for place, field in enumerate(space.fields)]
    numbers = [(field, column) for field, column in sides if isinstance(field, Number)]
    kinds = {
        "out of the range of the training rows": {field.name: _outside(field, column) for field, column in numbers},
        "no whole number in columns of whole numbers": {
            field.name: int((column % 1 > 0).sum()) for field, column in numbers if field.kind == "whole"
        },
        "missing in columns that lack no value in the training rows": {
            field.name: int(np.isnan(column).sum()) for field, column in sides if not field.missing
        },
    }
    notes = [_note(words, cells) for words, cells in kinds.items() if any(cells.values())]
    shares = [text for field, column in sides for text in _frequent(field, column, training)]
    if shares:
        notes.append(f"frequent and missing values have other shares than in the training rows: {some(shares)}.")
    fields, named = {field.name: field for field, _ in sides}, {field.name: column for field, column in sides}
    for constraint in space.constraints:
        broken = int((~holds(constraint, fields, named)).sum())
        if broken:
            rows = f"{counted(broken, 'row')} of the samples break{'s' * (broken == 1)}"
            notes.append(f"{rows} the constraint {quoted(constraint.text)}.")
    return notes


def _outside(field: Number, column: NDArray[np.float64]) -> int:
    known = (*field.knots, *field.atoms)
    return int(((column < min(known)) | (column > max(known))).sum()) if known else 0


def _frequent(field: Column, column: NDArray[np.float64], training: int) -> Iterator[str]:
    """Each atom of a column of numbers, and its missing values, whose shares of samples and of training rows clearly differ.

    The standard error is that of two shares of one law, estimated from all rows (the pooled two-sample z-test).
    """
    atoms = field.atoms if isinstance(field, Number) else ()
    first = 1 if isinstance(field, Number) else len(field.levels)
    known = [(atom, share) for atom, share in zip((*atoms, *[np.nan] * field.missing), field.shares[first:], strict=True)]
    n = len(column)
    for value, share in known:
        seen = float(np.mean(np.isnan(column) if np.isnan(value) else column == value))
        pooled = (n * seen + training * share) / (n + training)
        if abs(seen - share) > max(POINT, ERRORS * np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / training))):
            text = "missing" if np.isnan(value) else field.cells(np.array([value]))[0]
            yield f"{field.name}={text} {seen:.1%} instead of {share:.1%}"


def _note(words: str, cells: Mapping[str, int]) -> str:
    total = sum(cells.values())
    where = some(f"{name}: {number:,}" for name, number in cells.items() if number)
    return f"{counted(total, 'cell')} of the samples {'is' if total == 1 else 'are'} {words} ({where}); scored as they are."
