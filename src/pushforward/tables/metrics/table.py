"""Table rows as arrays for metrics, with the kinds and names of the columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.subsets import random_for

CODES = (
    100  # Categories of a column that are told apart in an embedding, at most; the rarest are one
)


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

    generated: NDArray[np.float64]
    reference: NDArray[np.float64]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    target: str = ""
    missing: tuple[bool, ...] = ()
    learned: NDArray[np.float64] | None = None
    training: NDArray[np.float64] | None = None
    pooled: bool = False

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """Return which columns hold categories."""
        return np.array([kind in ("category", "boolean") for kind in self.kinds])


def codes(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return category numbers (n,), with ``count`` for missing values."""
    return np.where(np.isnan(values), count, values).astype(np.int64)


def shuffled(rows: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return a random order of rows (n, d) that depends only on their values and the seed."""
    rising = np.lexsort(rows.T[::-1])
    return np.asarray(rising[random_for(rows[rising], seed).permutation(len(rows))])


def embedded(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Embed generated rows, (n, f), and held-out rows, (m, f), in units of the ranges of held-out columns."""
    missing = np.isnan(table.generated).any(0), np.isnan(table.reference).any(0)
    gaps = [bool(gap) for gap in np.any(missing, axis=0)]
    points = embedding(
        table.reference,
        table.categorical.tolist(),
        [len(names) for names in table.labels],
        gaps,
        np.ptp,
    )
    return points(table.generated), points(table.reference)


def embedding(
    known: NDArray[np.float64],
    categorical: Sequence[bool],
    counts: Sequence[int],
    gaps: Sequence[bool],
    unit: Callable[[NDArray[np.float64]], float] = np.std,
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Build a map from rows (n, columns) to points (n, f).

    Numbers are centred on the mean of the known rows and divided by their unit. Categories become
    0/1 indicators, as do missing values, whose number is set to the mean.

    Args:
        known: Rows in the format of `Table`, float64 (m, columns).
        categorical: Whether each column holds categories.
        counts: Number of categories of each column.
        gaps: Whether each column of numbers has an indicator of missing values.
        unit: Unit of a column's known numbers: standard deviation or range.
    """
    parts: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]] = [
        partial(_indicators, places=rank(column, count))
        if discrete
        else partial(_scaled, of=_moments(column, unit), gap=gap)
        for column, discrete, count, gap in zip(known.T, categorical, counts, gaps, strict=True)
    ]
    return lambda rows: np.concatenate(
        [part(column) for part, column in zip(parts, rows.T, strict=True)], axis=1
    )


def _moments(
    column: NDArray[np.float64], unit: Callable[[NDArray[np.float64]], float]
) -> tuple[float, float]:
    known = column[~np.isnan(column)]
    mean, size = (float(known.mean()), float(unit(known))) if len(known) else (0.0, 0.0)
    return mean, size if size > 0 else 1.0


def _scaled(column: NDArray[np.float64], of: tuple[float, float], gap: bool) -> NDArray[np.float64]:
    missing = np.isnan(column)
    numbers = np.where(missing, 0.0, (column - of[0]) / of[1])
    if gap:
        return np.column_stack([numbers, missing])
    return numbers[:, None]


def rank(column: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Rank categories and missing values by frequency, most frequent first."""
    return np.argsort(
        np.argsort(-np.bincount(codes(column, count), minlength=count + 1), kind="stable"),
        kind="stable",
    )


def _indicators(column: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    eye = np.eye(min(len(places), CODES))
    return eye[np.minimum(places[codes(column, len(places) - 1)], len(eye) - 1)]
