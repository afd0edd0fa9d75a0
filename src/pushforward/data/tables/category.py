"""Columns of categories, ordered ones among them, and of two values that mean no and yes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.parse_errors import some
from pushforward.errors import DataError
from pushforward.table_column import Column, check_shares, indicators

# Texts of two values, in lower case, that mean no and yes.
TWO = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("off", "on"), ("0", "1"))
# What each of these texts means.
TRUTH = {text: meaning for pair in TWO for text, meaning in zip(pair, ("no", "yes"), strict=True)}


@dataclass(frozen=True)
class Category(Column):
    """A value of a fixed set of texts; its number is its place in ``names``.

    Args:
        name: The column's name.
        names: The texts, as the file writes them.
        shares: The share of each in the training split, and after them that of missing values, where there are such.
        missing: Whether values may be missing; a missing value is an indicator of its own.
        kind: "category", "boolean" or "ordinal"; the names of ordinals are in order.

    Raises:
        DataError: If the shares do not fit the names, or do not sum to 1.
    """

    name: str
    names: tuple[str, ...]
    shares: tuple[float, ...]
    missing: bool = False
    kind: str = "category"

    def __post_init__(self) -> None:
        """Turn lists into tuples, and check that they fit one another."""
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        object.__setattr__(self, "shares", tuple(map(float, self.shares)))
        if len(self.shares) != len(self.names) + self.missing or not self.shares or len(set(self.names)) < len(self.names):
            raise DataError(f'"{self.name}" has {len(self.names)} categories and {len(self.shares)} shares, which do not fit.')
        check_shares(self.name, self.shares)

    @classmethod
    def measured(
        cls, name: str, values: NDArray[np.float64], names: Sequence[str], kind: str = "category", missing: bool = False
    ) -> Self:
        """The column of training values.

        Args:
            name: Its name.
            values: Numbers of categories, NaN where missing, (n,).
            names: The categories' texts.
            kind: "category", "boolean" or "ordinal".
            missing: Whether values may be missing even where no training value is.
        """
        absent = np.isnan(values)
        counts = np.bincount(values[~absent].astype(np.int64), minlength=len(names)).tolist()
        missing = missing or bool(absent.any()) or not names
        counts += [int(absent.sum())] if missing else []
        return cls(name, tuple(names), tuple(np.asarray(counts) / max(1, len(values))), missing, kind)

    @property
    def scores(self) -> int:
        """None."""
        return 0

    @property
    def levels(self) -> tuple[str, ...]:
        """The names."""
        return self.names

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The column's name with each category."""
        return tuple(f"{self.name} = {text}" for text in (*self.names, *(("missing",) if self.missing else ())))

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Indicators; a value that may not be missing and is takes the most frequent category."""
        absent = len(self.names) if self.missing else int(np.argmax(self.shares))
        return indicators(np.where(np.isnan(values), absent, values).astype(np.int64), len(self.shares))

    def decode(self, coordinates: NDArray[Any]) -> NDArray[np.float64]:
        """The number of the largest indicator."""
        chosen = np.argmax(coordinates, axis=1).astype(np.float64)
        return np.where(chosen == len(self.names), np.nan, chosen)

    def cells(self, values: NDArray[np.float64], missing: str = "") -> list[str]:
        """The texts."""
        return [missing if np.isnan(value) else self.names[int(value)] for value in values]

    def numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers that the categories name, where all do, else their places."""
        try:
            named = np.array([*map(float, self.names), np.nan])
        except ValueError:
            return values
        return named[np.where(np.isnan(values), len(self.names), values).astype(np.int64)]

    def read(self, cells: Sequence[str]) -> NDArray[np.float64]:
        """The texts' numbers; 3.0 is read as 3, and True as TRUE, since other programs write them so."""
        places = {text: float(place) for place, text in enumerate(self.names)}
        plain = {_plain(text): place for text, place in places.items()} if self.kind != "category" else {}
        return np.array([places.get(cell, plain.get(_plain(cell), np.nan)) for cell in cells], dtype=np.float64)


def _plain(cell: str) -> str:
    """A text in lower case, and a whole number without a fraction of zeros."""
    head, point, fraction = cell.lower().partition(".")
    return head if point and not fraction.strip("0") else cell.lower()


def renumbered(values: NDArray[np.float64], own: Sequence[Column], other: Sequence[Column]) -> NDArray[np.float64]:
    """Values whose categories have the numbers that other columns give to the same texts.

    Args:
        values: (n, columns), NaN where missing.
        own: The columns that the values are of.
        other: As many columns, in the same order.

    Returns:
        (n, columns); the values themselves where no number changes.

    Raises:
        DataError: For values of a category that the other column does not have, which are counted, or where only one of two
            columns has categories.
    """
    for place, (here, there) in enumerate(zip(own, other, strict=True)):
        if here.levels == there.levels:
            continue
        if not (here.levels and there.levels):
            raise DataError(f'"{here.name}" is a {here.kind} and, in the other table, a {there.kind}: expected one kind.')
        places = {text: float(number) for number, text in enumerate(there.levels)}
        numbers = np.array([*(places.get(text, np.nan) for text in here.levels), np.nan])
        column = values[:, place]
        new = numbers[np.where(np.isnan(column), len(here.levels), column).astype(np.int64)]
        lost = np.isnan(new) & ~np.isnan(column)
        if lost.any():
            texts = some(f'"{here.levels[number]}"' for number in np.unique(column[lost]).astype(int))
            raise DataError(
                f'{int(lost.sum()):,} values of "{here.name}" are {texts}, which the other table does not have. '
                "Expected categories of the same texts."
            )
        values = values.copy()
        values[:, place] = new
    return values
