"""Rows of a table of mixed types, as metrics see them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.spaces import Space, TableSpace
from pushforward.data.tables.category import renumbered
from pushforward.metrics.table import Table, embedding

__all__ = ["REPRESENTATION", "Raw", "attacked", "column_names", "is_table", "recoded", "rows_at", "table_of"]

REPRESENTATION = "values of the file: numbers in standard deviations of the training rows, indicators of categories and gaps"
"""What distances between rows of a table are measured in; another one needs other words, so that scores are not compared."""
BLOCK = 65_536
"""How many rows are turned into points at a time."""
MOST, TO_LEARN = 10_000, 50_000
"""Samples that an attack, and a predictor of the target, use at most, unless more are compared."""


def is_table(space: Space) -> bool:
    """Whether examples are rows of a table of mixed types."""
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
        labels=tuple(field.levels for field in space.fields),
        target=space.target,
        missing=tuple(field.missing for field in space.fields),
        learned=_values(space, learned) if learned is not None and space.target else None,
    )


def recoded(x: Tensor, own: Space, space: Space) -> tuple[Tensor, np.ndarray | None]:
    """Samples of a model in the coordinates of the data: rows of a table whose coordinates are others keep their values.

    Args:
        x: (n, *shape) in data units of ``own``.
        own: The model's space.
        space: The data's.

    Returns:
        The samples, and of rows in other coordinates their values, float64 (n, columns), which those of the data may round.

    Raises:
        DataError: For categories that the data does not have.
    """
    if not isinstance(own, TableSpace) or not isinstance(space, TableSpace):
        return x, None
    if own.fields == space.fields or own.names != space.names:
        return x, None
    values = renumbered(own.values(x), own.fields, space.fields)
    return torch.from_numpy(space.encoded(values, foreign=True)), values


def _values(space: TableSpace, rows: Tensor | np.ndarray) -> np.ndarray:
    return rows if isinstance(rows, np.ndarray) and space.accepts(rows) else space.values(rows)


class Raw:
    """Examples as metrics of distances receive them, flat float32 (n, d): data units, or of tables points of their values.

    The points of a table (`REPRESENTATION`) depend on its data alone, and on no model and no coordinates. Numbers beyond the
    training rows' range count as its ends.

    Args:
        dataset: The data.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.space = dataset, dataset.space

    def of(self, x: Tensor, values: np.ndarray | None = None) -> np.ndarray:
        """Examples in data units, or rows of a table with these values.

        Args:
            x: (n, *shape).
            values: float64 (n, columns); None for those of ``x``.
        """
        if not isinstance(self.space, TableSpace):
            return x.flatten(1).numpy()
        return self._points(self.space.values(x) if values is None else values)

    def at(self, split: Split, index: Any) -> np.ndarray:
        """Some examples of a split."""
        if not isinstance(self.space, TableSpace):
            return self.of(split.data_units(index))
        return self._points(_values(self.space, rows_at(split, index)))

    @cached_property
    def training(self) -> np.ndarray:
        """All training examples; images as they are stored, uint8."""
        train = self.dataset.train
        return self.at(train, slice(None)) if is_table(self.space) else train.x.reshape(len(train), -1)

    @property
    def scale(self) -> np.ndarray | None:
        """What each number is divided by for distances, (d,); None for points, which are standardised."""
        return None if is_table(self.space) else self.space.scale

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.training.shape[1:] if is_table(self.space) else tuple(self.space.shape)

    def _points(self, values: np.ndarray) -> np.ndarray:
        low, high, points = self._embedding
        blocks = [np.clip(values[start : start + BLOCK], low, high) for start in range(0, max(1, len(values)), BLOCK)]
        return np.concatenate([points(block).astype(np.float32) for block in blocks])

    @cached_property
    def _embedding(self) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """The least and the greatest value of each column in the training rows, and the map from values to points."""
        assert isinstance(self.space, TableSpace)
        known, fields = _values(self.space, rows_at(self.dataset.train, slice(None))), self.space.fields
        table = table_of(self.space, known[:1], known[:1])
        assert table is not None
        points = embedding(known, table.categorical.tolist(), [len(names) for names in table.labels], [f.missing for f in fields])
        low, high = (
            np.where(table.categorical, end, reduced)
            for end, reduced in ((-np.inf, np.fmin.reduce(known)), (np.inf, np.fmax.reduce(known)))
        )
        return low, high, points
