"""Table rows as arrays for metrics, with the kinds and names of the columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.conditions.kind import Shape
from pushforward.data.core.encoder import Encoder
from pushforward.data.core.hashes import Array, Floats, Integers, Mask, blocks
from pushforward.data.images.image_store import without
from pushforward.metrics.subsets import random_for
from pushforward.tables.columns import RARE_TEXT
from pushforward.tables.space import TableSpace

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.data import Dataset, Split

CODES = 100  # Maximum number of categories of a column in an embedding; the rarest are one
Embedding = Callable[[Floats], Floats]  # from rows (n, columns) to points (n, f)


@dataclass(frozen=True)
class Table:
    """Generated and held-out rows of a table.

    Args:
        generated: Generated rows, (n, columns), float64: numbers, dates in seconds, and category
            numbers; NaN if missing.
        reference: Held-out rows, (m, columns), in the same format.
        names: Column names.
        kinds: Kind of each column: "number", "whole", "ordinal", "date", "category" or "boolean".
        labels: Texts of the categories or ordered levels of each column, by number; empty for other
            columns.
        target: Name of the target column for predictors; empty for none.
        missing: Whether values of each column may be missing; empty to infer this from the rows.
        learned: All generated rows that a predictor may learn from, (k, columns), possibly more
            than are compared; None for ``generated``.
        training: Training rows, (k, columns), if they are known.
        pooled: Whether different texts of training rows have one category number, because they are
            not learned.
    """

    generated: Floats
    reference: Floats
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    target: str = ""
    missing: tuple[bool, ...] = ()
    learned: Floats | None = None
    training: Floats | None = None
    pooled: bool = False

    @property
    def categorical(self) -> Mask:
        """Return which columns hold categories."""
        return np.array([kind in ("category", "boolean") for kind in self.kinds])


def codes(values: Floats, count: int) -> Integers:
    """Return category numbers (n,), with ``count`` for missing values."""
    return np.where(np.isnan(values), count, values).astype(np.int64)


def shuffled(rows: Floats, seed: int) -> Integers:
    """Return a random order of rows (n, d) that depends only on their values and the seed."""
    rising = np.lexsort(rows.T[::-1])
    return np.asarray(rising[random_for(rows[rising], seed).permutation(len(rows))])


def embedded(table: Table) -> tuple[Floats, Floats]:
    """Embed generated and held-out rows, with numbers in units of the held-out range."""
    gaps = np.isnan(np.concatenate([table.generated, table.reference])).any(axis=0)
    points = embedding(table, table.reference, list(gaps), np.ptp)
    return points(table.generated), points(table.reference)


def embedding(
    table: Table,
    known: Floats,
    gaps: Sequence[bool],
    unit: Callable[[Floats], float] = np.std,
) -> Embedding:
    """Build a map from rows (n, columns) to points (n, f).

    Numbers are centred on the mean of the known rows and divided by their unit. Categories become
    0/1 indicators, as do missing values, whose number is set to the mean.

    Args:
        known: Rows in the format of `Table`, float64 (m, columns).
    """
    parts: list[Embedding] = []
    for place, discrete in enumerate(table.categorical):
        column = known[:, place]
        if discrete:
            places = rank(column, len(table.labels[place]))
            parts.append(partial(_indicators, places=places))
            continue
        column = column[~np.isnan(column)]
        mean = 0.0
        size = 0.0
        if len(column):
            mean = float(column.mean())
            size = float(unit(column))
        parts.append(partial(_scaled, mean=mean, size=size or 1.0, gap=gaps[place]))

    def points(rows: Floats) -> Floats:
        blocks = [part(rows[:, place]) for place, part in enumerate(parts)]
        return np.concatenate(blocks, axis=1)

    return points


def _scaled(column: Floats, mean: float, size: float, gap: bool) -> Floats:
    missing = np.isnan(column)
    numbers = np.where(missing, 0.0, (column - mean) / size)
    if gap:
        return np.column_stack([numbers, missing])
    return numbers[:, None]


def rank(column: Floats, count: int) -> Integers:
    """Rank categories and missing values by frequency, most frequent first."""
    order = np.argsort(-np.bincount(codes(column, count), minlength=count + 1), kind="stable")
    return np.argsort(order, kind="stable")


def _indicators(column: Floats, places: Integers) -> Floats:
    eye = np.eye(min(len(places), CODES))
    return eye[np.minimum(places[codes(column, len(places) - 1)], len(eye) - 1)]


BLOCK = 65_536  # rows that are turned into points at a time


def table_of(
    space: TableSpace,
    generated: Floats,
    reference: Floats,
    learned: Floats | None = None,
    training: Floats | None = None,
) -> Table:
    """Build the table of generated and held-out rows (n, columns) for metrics.

    Args:
        learned: Rows for training a predictor of the target; None for ``generated``.
        training: Training rows; None if no metric needs them.
    """
    labels = []
    kinds = []
    missing = []
    for field in space.fields:
        rare = (RARE_TEXT,) if field.rare else ()
        labels.append((*field.levels, *rare))
        kinds.append(field.kind)
        missing.append(field.missing)
    return Table(
        generated=generated,
        reference=reference,
        names=space.names,
        kinds=tuple(kinds),
        labels=tuple(labels),
        target=space.target,
        missing=tuple(missing),
        learned=learned,
        training=training,
        pooled=training is not None and bool(space.unknown(training).any()),
    )


class RowEncoder(Encoder):
    """Converter from rows to points, float32 (n, f).

    Numbers outside of the range of training rows are clipped.
    """

    representation = (
        "values of the file: numbers in standard deviations of the training rows, "
        "indicators of categories and gaps"
    )

    def __init__(self, data: Dataset) -> None:
        super().__init__(data)
        assert isinstance(data.space, TableSpace)
        self.space = data.space
        self.scale = None

    @property
    def digest(self) -> str:
        # features depend on coordinates, which may round the values of rows
        content = self.data.held_out.hashes.tobytes() + Path(__file__).read_bytes()
        return hashlib.sha256(content).hexdigest()

    @property
    def shape(self) -> Shape:
        return self.training.shape[1:]

    @cached_property
    def training(self) -> Array:
        return self.at(self.data.train, slice(None))

    def values(self, x: Tensor) -> Floats:
        return self.space.values(x)

    def of(self, x: Tensor, values: Floats | None = None) -> Array:
        if values is None:
            values = self.space.values(x)
        return self.points(values)

    def at(self, split: Split, index: Any) -> Array:
        return self.points(self.rows(split, index))

    def rows(self, split: Split, index: Any = slice(None)) -> Floats:
        """Return the values of rows at some indices, (n, columns)."""
        if split.table_values is None:
            return self.space.values(split.data_units(index))
        values: Floats = split.table_values[index]
        return values

    def of_samples(
        self,
        x: Tensor,
        n: int,
        reference: Integers,
        values: Floats | None = None,
        learned: Any = None,
    ) -> dict[str, Any]:
        """Add the table, and all samples for attacks."""
        if values is None:
            values = self.space.values(x)
        train = self.data.train
        if learned is None:
            learned = values
        learned = learned[: len(train)]
        if not self.space.accepts(learned):
            learned = self.space.values(learned)
        held_out = self.rows(self.data.held_out, reference)
        table = table_of(self.space, values[:n], held_out, learned, self.rows(train))
        points = self.points(values)
        return {
            "generated": points[:n],
            "reference": self.points(held_out),
            "training": self.training,
            "generated_more": points,
            "table": table,
        }

    def of_real(self, split: Split, picked: Integers, reference: Integers) -> dict[str, Any]:
        """Add the table.

        The other rows of the split are training rows, from which a predictor learns.
        """
        every = self.rows(split)
        held_out = self.rows(self.data.held_out, reference)
        table = table_of(self.space, every[picked], held_out, every, without(every, picked))
        return super().of_real(split, picked, reference) | {"table": table}

    def points(self, values: Floats) -> Array:
        """Convert values (n, columns)."""
        low, high, embed = self._embedding
        parts = blocks(max(1, len(values)), BLOCK)
        points = [embed(np.clip(values[part], low, high)).astype(np.float32) for part in parts]
        return np.concatenate(points)

    @cached_property
    def _embedding(self) -> tuple[Floats, Floats, Embedding]:
        known = self.rows(self.data.train)
        table = table_of(self.space, known[:1], known[:1])
        embed = embedding(table, known, table.missing)
        low = np.where(table.categorical, -np.inf, np.fmin.reduce(known))
        high = np.where(table.categorical, np.inf, np.fmax.reduce(known))
        return low, high, embed
