"""Rows of a table as metrics see them: points that depend on values only, and the values themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.images.image_store import without
from pushforward.data.spaces.encoder import Encoder
from pushforward.tables.columns import RARE_TEXT
from pushforward.tables.metrics.table import Table, embedding
from pushforward.tables.space import TableSpace

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.data import Dataset, Split

BLOCK = 65_536  # rows that are turned into points at a time


def rows_at(split: Split, index: Any) -> Tensor | NDArray[np.float64]:
    """Return rows as values, float64 (n, columns), if they are known; else as coordinates in data units, (n, d)."""
    if split.table_values is None:
        return split.data_units(index)
    values: NDArray[np.float64] = split.table_values[index]
    return values


def table_of(
    space: TableSpace,
    generated: Any,
    reference: Any,
    learned: Any = None,
    training: Any = None,
) -> Table:
    """Build the table of generated and held-out rows for metrics.

    Rows are coordinates in data units (n, d), or values (n, columns), float64.

    Args:
        space: Space of the data.
        generated: Generated rows.
        reference: Held-out rows.
        learned: Rows for training a predictor of the target; None for ``generated``.
        training: Training rows; None if no metric needs them.
    """
    labels = []
    for field in space.fields:
        rare = (RARE_TEXT,) if field.rare else ()
        labels.append((*field.levels, *rare))
    known = None if training is None else _values(space, training)
    if learned is not None:
        learned = _values(space, learned) if space.target else None
    return Table(
        generated=_values(space, generated),
        reference=_values(space, reference),
        names=space.names,
        kinds=tuple(field.kind for field in space.fields),
        labels=tuple(labels),
        target=space.target,
        missing=tuple(field.missing for field in space.fields),
        learned=learned,
        training=known,
        pooled=known is not None and bool(space.unknown(known).any()),
    )


def _values(space: TableSpace, rows: Any) -> NDArray[np.float64]:
    if isinstance(rows, np.ndarray) and space.accepts(rows):
        return rows
    return space.values(rows)


class RowEncoder(Encoder):
    """Converter from rows to points, float32 (n, f); numbers outside of the range of training rows are clipped."""

    representation = "values of the file: numbers in standard deviations of the training rows, indicators of categories and gaps"

    def __init__(self, data: Dataset) -> None:
        super().__init__(data)
        assert isinstance(data.space, TableSpace)
        self.space = data.space
        self.scale = None

    @property
    def digest(self) -> str:
        # features depend on coordinates, which may round the values of rows
        return hashlib.sha256(self.data.held_out.hashes.tobytes()).hexdigest()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.training.shape[1:]

    @cached_property
    def training(self) -> NDArray[Any]:
        return self.at(self.data.train, slice(None))

    def values(self, x: Tensor) -> NDArray[np.float64]:
        return self.space.values(x)

    def of(self, x: Tensor, values: NDArray[np.float64] | None = None) -> NDArray[Any]:
        if values is None:
            values = self.space.values(x)
        return self.points(values)

    def at(self, split: Split, index: Any) -> NDArray[Any]:
        return self.points(_values(self.space, rows_at(split, index)))

    def of_samples(
        self,
        x: Tensor,
        n: int,
        reference: NDArray[np.int64],
        values: NDArray[np.float64] | None = None,
        learned: Any = None,
    ) -> dict[str, Any]:
        """Add the table, and all samples for attacks."""
        if values is None:
            values = self.space.values(x)
        if learned is None:
            learned = values
        train = self.data.train
        table = table_of(
            self.space,
            values[:n],
            rows_at(self.data.held_out, reference),
            learned[: len(train)],
            rows_at(train, slice(None)),
        )
        points = self.points(values)
        return {
            "generated": points[:n],
            "reference": self.at(self.data.held_out, reference),
            "training": self.training,
            "generated_more": points,
            "table": table,
        }

    def of_real(
        self, split: Split, picked: NDArray[np.int64], reference: NDArray[np.int64]
    ) -> dict[str, Any]:
        """Add the table; the other rows of the split are training rows, from which a predictor learns."""
        every = np.asarray(rows_at(split, slice(None)))
        table = table_of(
            self.space,
            rows_at(split, picked),
            rows_at(self.data.held_out, reference),
            every,
            without(every, picked),
        )
        return super().of_real(split, picked, reference) | {"table": table}

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Convert values (n, columns)."""
        low, high, embed = self._embedding
        blocks = []
        for start in range(0, max(1, len(values)), BLOCK):
            rows = np.clip(values[start : start + BLOCK], low, high)
            blocks.append(embed(rows).astype(np.float32))
        return np.concatenate(blocks)

    @cached_property
    def _embedding(
        self,
    ) -> tuple[
        NDArray[np.float64],
        NDArray[np.float64],
        Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ]:
        """Least and greatest value of each column in the training rows, and the map from values to points."""
        known = _values(self.space, rows_at(self.data.train, slice(None)))
        table = table_of(self.space, known[:1], known[:1])
        counts = [len(names) for names in table.labels]
        embed = embedding(known, table.categorical.tolist(), counts, table.missing)
        low = np.where(table.categorical, -np.inf, np.fmin.reduce(known))
        high = np.where(table.categorical, np.inf, np.fmax.reduce(known))
        return low, high, embed
