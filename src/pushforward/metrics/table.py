"""Rows of a table as metrics receive them: plain arrays, with the kinds and names of the columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.subsets import random_for

__all__ = ["Table", "codes", "embedded", "shuffled"]

CODES = 100
"""Categories of a column that are told apart in an embedding, at most; the rarest are one."""


@dataclass(frozen=True)
class Table:
    """Generated and held-out rows of a table.

    Args:
        generated: (n, columns) float64: numbers, dates in seconds, and numbers of categories; NaN where missing.
        reference: (m, columns), likewise.
        names: Of the columns.
        kinds: "number", "whole", "ordinal", "date", "category" or "boolean", for each column.
        labels: The texts of a column's categories or ordered levels, by their number; empty for other columns.
        target: The name of the column that a predictor would predict; empty without one.
        missing: Whether values of a column may be missing, for each; empty for what the rows show.
        learned: (k, columns) all generated rows that a predictor may learn from, which may be more than are compared; None for
            ``generated``.
    """

    generated: NDArray[np.float64]
    reference: NDArray[np.float64]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    target: str = ""
    missing: tuple[bool, ...] = ()
    learned: NDArray[np.float64] | None = None

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """Which columns hold categories."""
        return np.array([kind in ("category", "boolean") for kind in self.kinds])


def codes(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The numbers of categories (n,), those of missing values ``count``."""
    return np.where(np.isnan(values), count, values).astype(np.int64)


def shuffled(rows: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """An order of rows (n, d) that depends on their values and the seed alone: columns may hold few different values."""
    rising = np.lexsort(rows.T[::-1])
    order: NDArray[np.int64] = rising[random_for(rows[rising], seed).permutation(len(rows))]
    return order


def embedded(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Generated (n, f) and held-out rows (m, f) as points.

    Numbers are scaled so that those of the held-out rows lie between 0 and 1, categories become indicators of 0 and 1, and so
    does a missing value, whose number is the mean.
    """
    parts: list[tuple[NDArray[np.float64], ...]] = []
    for place, discrete in enumerate(table.categorical):
        sides = table.generated[:, place], table.reference[:, place]
        if discrete:
            parts.append(_indicators(sides, len(table.labels[place])))
            continue
        known = sides[1][~np.isnan(sides[1])]
        least, mean, unit = (known.min(), known.mean(), np.ptp(known) or 1.0) if len(known) else (0.0, 0.0, 1.0)
        parts.append(tuple(((np.where(np.isnan(side), mean, side) - least) / unit)[:, None] for side in sides))
        if any(np.isnan(side).any() for side in sides):
            parts.append(tuple(np.isnan(side)[:, None].astype(np.float64) for side in sides))
    generated, reference = (np.concatenate(side, axis=1) for side in zip(*parts, strict=True))
    return generated, reference


def _indicators(sides: tuple[NDArray[np.float64], ...], count: int) -> tuple[NDArray[np.float64], ...]:
    """Indicators of the categories, the most frequent of the held-out rows first, and of missing values."""
    of_generated, of_reference = (codes(side, count) for side in sides)
    rank = np.argsort(np.argsort(-np.bincount(of_reference, minlength=count + 1), kind="stable"), kind="stable")
    eye = np.eye(min(count + 1, CODES))
    return tuple(eye[np.minimum(rank[side], len(eye) - 1)] for side in (of_generated, of_reference))
