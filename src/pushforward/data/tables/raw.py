"""Columns of a table as text, before it is decided what they hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pushforward.data.keys import mix
from pushforward.data.tables.faults import some

__all__ = ["MISSING", "RawColumn", "RawTable"]

# Cells that mean that there is no value, unless others are named.
MISSING = ("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "null", "NULL", "None")
_PLAIN = re.compile(r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)
_LONGEST = 16  # A number of more characters may not fit into a float64 and is hashed as text.


@dataclass(frozen=True)
class RawColumn:
    """The cells of a column.

    Args:
        name: Its name.
        texts: The different texts, in the order of their first cells.
        codes: The number of each cell's text, int32 (n,).
    """

    name: str
    texts: tuple[str, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, name: str, cells: Iterable[str]) -> RawColumn:
        """The column of cells."""
        places: dict[str, int] = {}
        codes = np.fromiter((places.setdefault(cell, len(places)) for cell in cells), dtype=np.int32)
        return cls(name, tuple(places), codes)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many cells hold each text."""
        return np.bincount(self.codes, minlength=len(self.texts))

    def present(self, missing: Iterable[str]) -> list[int]:
        """The numbers of the texts that are values."""
        absent = set(missing)
        return [place for place, text in enumerate(self.texts) if text not in absent]

    def missing_text(self, missing: Iterable[str]) -> str:
        """The most frequent text of missing values, an empty one where none is missing."""
        absent = set(missing)
        known = [(count, text) for text, count in zip(self.texts, self.counts.tolist(), strict=True) if text in absent]
        return max(known, default=(0, ""), key=lambda entry: entry[0])[1]

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """A hash of each cell, uint64 (n,), by the column's name and the cell's text; of plain numbers by their value.

        It depends on no other cell and on no choice of kinds, so it stays when the table grows. All texts of `MISSING` count as
        one.
        """
        hashes = np.empty(len(self.texts), dtype=np.uint64)
        plain = np.array([len(text) <= _LONGEST and _PLAIN.fullmatch(text) is not None for text in self.texts], dtype=bool)
        values = np.array([float(self.texts[place]) for place in np.flatnonzero(plain)], dtype=np.float64) + 0.0  # -0 becomes 0
        others = [_digest("" if text in MISSING else text) for text, number in zip(self.texts, plain, strict=True) if not number]
        name = _digest(self.name)
        hashes[plain], hashes[~plain] = mix(name, 0, values.view(np.uint64)), mix(name, 1, np.array(others, dtype=np.uint64))
        return hashes[self.codes]

    def numbered(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values of all cells, from those of the texts."""
        return values[self.codes] if len(self.texts) else np.zeros(0)

    def where(self, places: Sequence[int], lines: Sequence[int], most: int = 5) -> str:
        """The lines of the first cells that hold some of the texts, each with its text, in words."""
        wanted = np.zeros(len(self.texts), dtype=bool)
        wanted[list(places)] = True
        rows = np.flatnonzero(wanted[self.codes])
        words = [f'line {lines[row]} ("{self.texts[self.codes[row]][:40]}")' for row in rows[:most].tolist()]
        return some(words) + (f" and {len(rows) - most:,} more" if len(rows) > most else "")


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class RawTable:
    """A table as text.

    Args:
        columns: Its columns, all of one length.
        lines: The line of each row in the file, or the row's number, for messages.
        header: Whether the file's first line holds the names; None for a table that is no file.
        separator: Between cells.
        notes: Sentences about what was left out or decided.
        types: The types of a frame's columns by name, each with the texts of its levels; empty for other tables.
    """

    columns: tuple[RawColumn, ...]
    lines: Sequence[int]
    header: bool | None = None
    separator: str = ","
    notes: tuple[str, ...] = ()
    types: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)
