"""Rows of a table of mixed types, as metrics see them."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from pushforward.data.dataset import Dataset, Split
from pushforward.data.spaces import Space, TableSpace
from pushforward.data.tables import Category, Number
from pushforward.metrics.table import Table

__all__ = ["attacked", "column_names", "is_table", "rows_at", "table_of"]

MOST, TO_LEARN = 10_000, 50_000
"""Samples that an attack, and a predictor of the target, use at most, unless more are compared."""


def is_table(space: Space) -> bool:
    """Whether examples are rows of a table of mixed types, whose features are their coordinates."""
    return isinstance(space, TableSpace)


def attacked(dataset: Dataset, n: int) -> int:
    """How many samples of a model are drawn where n are compared: of tables twice the training rows, at most 10,000.

    A model that repeats rows is told by the rows that it has repeated, so that few samples hide it from an attack. With a target
    there are as many samples as training rows, at most 50,000, as a predictor learns more from more rows.
    """
    space, train = dataset.space, len(dataset.train)
    learned = min(train, TO_LEARN) if isinstance(space, TableSpace) and space.target else 0
    return max(n, min(2 * train, MOST), learned) if is_table(space) else n


def column_names(space: Space) -> tuple[str, ...]:
    """The names of a table's columns, or of a vector's numbers."""
    return space.names if isinstance(space, TableSpace) else tuple(space.columns)


def rows_at(split: Split, index: Any) -> Tensor | np.ndarray:
    """Rows as their file holds them, float64 (n, columns), where that is known; else coordinates in data units, (n, d)."""
    return split.data_units(index) if split.table_values is None else split.table_values[index]


def table_of(
    space: Space, generated: Tensor | np.ndarray, reference: Tensor | np.ndarray, learned: Tensor | np.ndarray | None = None
) -> Table | None:
    """The values of generated and held-out rows; None for data that is no table of mixed types.

    Args:
        space: Of the data.
        generated: (n, d) coordinates in data units, or (n, columns) values, float64, which may be none that the columns hold.
        reference: (m, d) or (m, columns).
        learned: (k, d) or (k, columns): the rows that a predictor of the target learns from; None for those generated.
    """
    if not isinstance(space, TableSpace):
        return None
    return Table(
        generated=_values(space, generated),
        reference=_values(space, reference),
        names=space.names,
        kinds=tuple(field.kind for field in space.fields),
        labels=tuple(_labels(field) for field in space.fields),
        target=space.target,
        missing=tuple(field.missing for field in space.fields),
        learned=_values(space, learned) if learned is not None and space.target else None,
    )


def _values(space: TableSpace, rows: Tensor | np.ndarray) -> np.ndarray:
    return rows if isinstance(rows, np.ndarray) and space.accepts(rows) else space.values(rows)


def _labels(field: Any) -> tuple[str, ...]:
    if isinstance(field, Category):
        return field.names
    return field.form.levels if isinstance(field, Number) else ()
