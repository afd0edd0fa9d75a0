"""The interface of a column of a table: values of the file, coordinates of a model, and cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.errors import DataError


class Column(ABC):
    """Base class of columns of a table.

    A *value* is a float64: a number, a date as seconds since 1970, or the number of a category; NaN if it is missing.
    *Coordinates* are what a model learns: at most one score, then a block of indicators of which exactly one is 1. A *cell* is
    text as the file writes it.

    Attributes:
        name: The column's name.
        kind: "number", "whole", "ordinal", "date", "category" or "boolean".
        missing: Whether values may be missing.
        shares: Frequency of each indicator in the training split; empty without indicators.
        rare: Number of different values of the table that are not learned.
    """

    name: str
    kind: str
    missing: bool
    shares: tuple[float, ...]
    rare: int = 0

    @property
    @abstractmethod
    def coordinates(self) -> tuple[str, ...]:
        """A name for each coordinate."""

    @property
    @abstractmethod
    def scores(self) -> int:
        """Return the number of coordinates that are scores, 0 or 1; scores come first, then indicators."""

    @abstractmethod
    def encode(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Encode values (n,) as coordinates (n, width)."""

    @abstractmethod
    def decode(self, coordinates: NDArray[Any]) -> NDArray[np.float64]:
        """Decode coordinates (n, width), which need not be exact, to values (n,): the largest indicator counts."""

    @abstractmethod
    def cells(self, values: NDArray[np.float64], missing: str = "") -> list[str]:
        """Format values as in the file.

        Args:
            values: Values (n,).
            missing: The text of a missing value.
        """

    @abstractmethod
    def exported(self, missing: str) -> dict[str, Any]:
        """Describe how coordinates become cells, as plain values for ``space.json``.

        Args:
            missing: Text of a missing value.
        """

    @abstractmethod
    def read(self, cells: Sequence[str]) -> NDArray[np.float64]:
        """Parse cells to values, with NaN for invalid cells; the caller handles missing values."""

    def numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert values (n,) to comparable numbers: those named by ordered categories, otherwise the values themselves."""
        return values

    def nearest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Find the valid values of the column nearest to values (n,); missing values stay missing."""
        return values

    def unknown(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mark the values (n,) that are not missing but cannot be learned by a model."""
        return np.zeros(len(values), dtype=bool)

    @property
    def levels(self) -> tuple[str, ...]:
        """The texts of values that are places in them; empty for numbers and dates."""
        return ()

    @property
    def range(self) -> tuple[float, float] | None:
        """Return the smallest and largest value of the training split; None for categories, or without values."""
        return None

    @property
    def open(self) -> bool:
        """Whether the column takes values that the training split does not have, more than a float32 score tells apart."""
        return False

    @property
    def width(self) -> int:
        """Return the number of coordinates."""
        return self.scores + len(self.shares)


def check_shares(name: str, shares: Sequence[float]) -> None:
    """Raise an error if fractions are negative or do not sum to 1, within 1 %.

    Raises:
        DataError: Naming the column.
    """
    if not (all(share >= 0 for share in shares) and abs(sum(shares) - 1) <= 0.01):
        raise DataError(f'"{name}": the fractions of its values must be at least 0 and sum to 1.')


def indicators(chosen: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Build one-hot rows, (n, count)."""
    rows = np.zeros((len(chosen), count), dtype=np.float32)
    rows[np.arange(len(chosen)), chosen] = 1.0
    return rows


def with_gaps(
    fields: Sequence[Column], missing: NDArray[np.bool_]
) -> Iterator[tuple[int, Column, NDArray[np.int64]]]:
    """Yield columns with missing values: index, column and rows without a value.

    Args:
        fields: All columns.
        missing: Mask of their missing values, (n, columns).
    """
    for place, field in enumerate(fields):
        rows = np.flatnonzero(missing[:, place])
        if len(rows):
            yield place, field, rows
