"""Cells of a table as text, before their kinds are decided, and a collector of problems.

A column stores each distinct text once, and four bytes per cell.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.hashes import Floats, Hashes, Integers, mix
from pushforward.errors import DataError
from pushforward.numbers import some
from pushforward.tables.reading import rows

# Cells that mean that there is no value, unless others are named.
MISSING = ("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "null", "NULL", "None")
_PLAIN = re.compile(r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)


@dataclass
class Faults:
    """Collector of sentences about problems.

    Args:
        sentences: Sentences so far.
    """

    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def refuse(self, name: str, schema: Mapping[str, Any] | None = None) -> None:
        if self.sentences:
            raise DataError(f"{name}: " + "\n  ".join(self.sentences), schema=schema)


@dataclass(frozen=True)
class RawColumn:
    """Cells of a column.

    Args:
        name: Column name.
        texts: Distinct texts, in the order of their first cells.
        codes: Index of each cell's text, int32 (n,); -1 for missing cells that are left out.
    """

    name: str
    texts: tuple[str, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, name: str, cells: Iterable[str]) -> RawColumn:
        numbers = numbering()
        codes = np.fromiter(map(numbers.__getitem__, cells), dtype=np.int32)
        return cls(name, tuple(numbers), codes)

    @cached_property
    def counts(self) -> Integers:
        return np.bincount(self.codes + 1, minlength=len(self.texts) + 1)[1:]

    def below(self) -> RawColumn:
        """Remove the first cell."""
        codes = self.codes[1:]
        if codes.all():  # no other cell has the text of the first
            return RawColumn(self.name, self.texts[1:], codes - 1)
        return RawColumn(self.name, self.texts, codes)

    def followed_by(self, other: RawColumn) -> RawColumn:
        """Append the cells of another column."""
        return RawColumn.of(self.name, itertools.chain(self.cells(), other.cells()))

    def cells(self) -> Iterator[str]:
        return map(self.texts.__getitem__, self.codes)

    def without(self, missing: Iterable[str]) -> RawColumn:
        """Leave out the cells that are missing values."""
        absent = set(missing)
        known = np.array([text not in absent for text in self.texts], dtype=bool)
        numbers = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
        return RawColumn(
            self.name, tuple(itertools.compress(self.texts, known)), numbers[self.codes]
        )

    def missing_text(self, missing: Iterable[str]) -> str:
        """Return the most frequent text of missing values; empty if no value is missing."""
        occurring = self.without(set(self.texts).difference(missing))
        if occurring.texts:
            return occurring.texts[int(occurring.counts.argmax())]
        return ""

    @property
    def hashes(self) -> Hashes:
        """Hash of each cell.

        The hash does not depend on other cells or on the column's kind, so it stays the same when
        the table grows. All texts of `MISSING` have the same hash.
        """
        numeric = np.zeros(len(self.texts), dtype=bool)
        numbers = []
        digests = []
        for place, text in enumerate(self.texts):
            # a number of more than 16 characters may not fit into a float64 and is hashed as text
            if len(text) <= 16 and _PLAIN.fullmatch(text):
                numeric[place] = True
                numbers.append(float(text) + 0.0)  # -0 becomes 0
            else:
                digests.append(_digest("" if text in MISSING else text))
        name = _digest(self.name)
        hashes = np.empty(len(self.texts), dtype=np.uint64)
        hashes[numeric] = mix(name, 0, np.array(numbers, dtype=np.float64).view(np.uint64))
        hashes[~numeric] = mix(name, 1, np.array(digests, dtype=np.uint64))
        return hashes[self.codes]

    def numbered(self, values: Floats) -> Floats:
        """Return the value of each cell from those of the texts; NaN for cells left out."""
        return np.append(values, np.nan)[self.codes]

    def where(self, places: Sequence[int], lines: Sequence[int], most: int = 5) -> str:
        """Describe the first cells with some of the texts: their lines and texts."""
        rows = np.flatnonzero(np.isin(self.codes, list(places)))
        words = []
        for row in rows[:most].tolist():
            text = self.texts[self.codes[row]]
            words.append(f'line {lines[row]} ("{text[:40]}")')
        listed = some(words)
        if len(rows) > most:
            listed += f" and {len(rows) - most:,} more"
        return listed


def numbering() -> defaultdict[str, int]:
    """Return a dict that numbers its keys in the order of their first look-up."""
    return defaultdict(itertools.count().__next__)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class RawTable:
    """A table as text.

    Args:
        lines: Line of each row in the file, or the row's number, for messages.
        header: Whether the file's first line contains column names; None for a table without a
            file.
        notes: Sentences about skipped lines or decisions.
        types: Types of a data frame's columns by name, each with the texts of its levels; empty for
            other tables.
    """

    columns: tuple[RawColumn, ...]
    lines: Sequence[int]
    header: bool | None = None
    separator: str = ","
    notes: tuple[str, ...] = ()
    types: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    encoding: str = ""
    ending: str = "\n"

    @property
    def first(self) -> list[str]:
        """Return the cells of the first row."""
        return [text for column in self.columns for text in column.texts[:1]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def below_header(self) -> RawTable:
        """Remove the first row, which contains column names."""
        columns = tuple(column.below() for column in self.columns)
        return replace(self, columns=columns, lines=self.lines[1:], header=True)

    def followed_by(self, other: RawTable) -> RawTable:
        """Append the rows of another table with the same column names, in any order."""
        columns = {column.name: column for column in other.columns}
        apart = sorted(columns.keys() ^ set(self.names))
        if apart:
            raise DataError(
                f"These columns occur in only one of the two tables: {some(apart)}. Remove them."
            )
        joined = tuple(column.followed_by(columns[column.name]) for column in self.columns)
        return replace(self, columns=joined, lines=[*self.lines, *other.lines])


_DATES = (
    -62_135_596_800.0,
    253_402_300_799.0,
)  # seconds from 1970 to the first and to the last second of the years 1 to 9999
MOST_DIGITS = 17  # a float64 number has no more
LONGEST = 100
_DIRECTIVE = re.compile("%-?[A-Za-z%]")


@dataclass(frozen=True)
class Format:
    """Format of the cells of a column of numbers or dates.

    Args:
        decimals: Number of decimals, 0 to 17; None for the shortest text of each number.
        pattern: Date pattern for `datetime.strftime`, with %-d, %-m and %-H for parts without a
            leading zero; empty for numbers.
        least: Minimum number of decimals; trailing zeros beyond it are omitted. None for
            ``decimals``.
        digits: Maximum number of significant digits, for numbers without fixed decimals; None for
            all.
        point: Decimal separator, a point or a comma.
        group: Thousands separator; empty for none.
        plus: Whether positive numbers have a plus sign.
        prefix: Currency between the sign and the digits, such as "$"; empty for none.
        suffix: Unit or currency after the digits, such as " kg"; empty for none.
    """

    decimals: int | None = None
    pattern: str = ""
    least: int | None = None
    digits: int | None = None
    point: str = "."
    group: str = ""
    plus: bool = False
    prefix: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        for count in (self.decimals, self.least, self.digits):
            if count is not None and not (isinstance(count, int) and 0 <= count <= MOST_DIGITS):
                raise DataError(
                    '"decimals", "least" and "digits" must be integers from 0 to '
                    f"{MOST_DIGITS}; got {count!r}."
                )
        if len(self.pattern) > LONGEST or "%" in _DIRECTIVE.sub("", self.pattern):
            raise DataError(
                f'"{self.pattern[:LONGEST]}" is not a date pattern: expected one such as %Y-%m-%d.'
            )
        unit = self.prefix + self.suffix
        signs = self.point in (".", ",") and len(self.group) < 2 and self.group != self.point
        if not signs or len(unit) > LONGEST or re.search(r"\d", unit):
            raise DataError(
                '"point" must be "." or ","; "group" must be another character, or empty for no '
                'thousands separator; "prefix" and "suffix" must be short texts without digits.'
            )

    @property
    def has_unit(self) -> bool:
        """Whether numbers are written with a unit or a currency."""
        return bool(self.prefix or self.suffix)

    def rounded(self, values: Floats) -> Floats:
        return rows.rounded(values, vars(self))

    def holds(self, values: Floats) -> bool:
        """Return whether all values are finite and can be written."""
        valid = np.isfinite(values)
        if self.pattern:
            low, high = _DATES
            valid &= (values >= low) & (values <= high)
        return bool(valid.all())

    def cell(self, value: float) -> str:
        return rows.written(value, vars(self))

    def value(self, cell: str) -> float:
        try:
            if self.pattern:
                return _seconds(datetime.strptime(cell, self.pattern.replace("%-", "%")))
            value = float(self.plain(cell).replace(self.point, "."))
        except ValueError:
            return math.nan
        if math.isfinite(value):
            return value
        return math.nan

    def plain(self, cell: str) -> str:
        """Remove the unit, thousands separators and plus sign from the text of a number."""
        sign = cell[:1] if cell[:1] in "+-" else ""
        digits = cell[len(sign) :].removeprefix(self.prefix).removesuffix(self.suffix)
        cell = sign + digits
        grouped = rf"[-+]?\d{{1,3}}(?:{re.escape(self.group)}\d{{3}})+(?!\d)"
        if self.group and re.match(grouped, cell):
            cell = cell.replace(self.group, "")
        if self.plus:
            return cell.removeprefix("+")
        return cell


def iso_date(text: str) -> float:
    """Convert an ISO 8601 date to seconds since 1970; NaN for other texts."""
    try:
        return _seconds(datetime.fromisoformat(text))
    except ValueError:
        return math.nan


def _seconds(moment: datetime) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
