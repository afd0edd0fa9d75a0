"""Rows of cells, kept by column: four bytes for each cell, and each different text of a column once."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellRows", "Collector"]

AT_ONCE = 4096
"""Rows that are taken apart at a time."""


@dataclass(frozen=True)
class CellRows(Sequence[list[str]]):
    """Rows of equally many cells.

    Args:
        texts: The different texts of each column.
        codes: The number of each cell's text, int32 (n,), for each column.
    """

    texts: tuple[tuple[str, ...], ...] = ()
    codes: tuple[NDArray[np.int32], ...] = ()

    def __len__(self) -> int:
        return len(self.codes[0]) if self.codes else 0

    @overload
    def __getitem__(self, place: int) -> list[str]: ...
    @overload
    def __getitem__(self, place: slice) -> CellRows: ...
    def __getitem__(self, place: int | slice) -> list[str] | CellRows:
        if isinstance(place, slice):
            return CellRows(self.texts, tuple(codes[place] for codes in self.codes))
        return [texts[codes[place]] for texts, codes in zip(self.texts, self.codes, strict=True)]

    def __iter__(self) -> Iterator[list[str]]:
        return (self[place] for place in range(len(self)))

    def cells(self, column: int) -> list[str]:
        """The cells of a column."""
        texts = self.texts[column]
        return [texts[code] for code in self.codes[column].tolist()]

    def column(self, column: int) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """The different texts of a column in the order of their first cells, and the number of each cell's text."""
        texts, codes = self.texts[column], self.codes[column]
        first = np.full(len(texts), len(codes), dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        order = np.argsort(first, kind="stable")[: int((first < len(codes)).sum())]
        if len(order) == len(texts) and (order[1:] > order[:-1]).all():
            return texts, codes
        numbers = np.zeros(len(texts), dtype=np.int32)
        numbers[order] = np.arange(len(order), dtype=np.int32)
        return tuple(texts[place] for place in order.tolist()), numbers[codes]


class _Numbers(dict[str, int]):
    """Texts, numbered in the order in which they are asked for first."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


class Collector:
    """Rows as they are read: those of one width by column, others as they are.

    Args:
        width: The number of cells in a row; None for the most frequent one of the first rows.
    """

    def __init__(self, width: int | None = None) -> None:
        self.width, self.widths = width, Counter[int]()
        self.lines = array("q")
        self.others: list[tuple[int, list[str]]] = []
        """The number and the cells of each row of another width."""
        self.last: list[str] = []
        self._columns: list[tuple[_Numbers, array[int]]] = []
        self._waiting: list[list[str]] = []

    def add(self, row: list[str], line: int) -> None:
        """Add a row, which ends on a line."""
        self._waiting.append(row)
        self.lines.append(line)
        if len(self._waiting) == AT_ONCE:
            self.take_apart()

    def take_apart(self) -> None:
        """Take the rows apart that were added last; to be called after the last row."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        self.last = [cell.strip() for cell in rows[-1]]
        self.widths.update(map(len, rows))
        if self.width is None:
            self.width = self.usual
        if not self._columns:
            self._columns = [(_Numbers(), array("i")) for _ in range(self.width)]
        if any(len(row) != self.width for row in rows):
            start = len(self.lines) - len(rows)
            odd = [(start + place, row) for place, row in enumerate(rows) if len(row) != self.width]
            self.others += [(place, [cell.strip() for cell in row]) for place, row in odd]
            rows = [row for row in rows if len(row) == self.width]
        for (numbers, codes), column in zip(self._columns, zip(*rows, strict=True), strict=False):
            codes.extend(map(numbers.__getitem__, map(str.strip, column)))

    @property
    def usual(self) -> int:
        """The most frequent number of cells in a row; 0 without rows."""
        return self.widths.most_common(1)[0][0] if self.widths else 0

    def rows(self) -> tuple[CellRows, Sequence[int]]:
        """The rows of the width, and the line on which each ends."""
        texts = tuple(tuple(numbers) for numbers, _ in self._columns)
        codes = tuple(np.frombuffer(codes, dtype=np.int32) for _, codes in self._columns)
        others = {place for place, _ in self.others}
        lines = array("q", (line for place, line in enumerate(self.lines) if place not in others)) if others else self.lines
        return CellRows(texts, codes), lines
