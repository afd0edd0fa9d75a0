"""The cells of a column of numbers or dates: how a cell becomes a number, and a number a cell."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables import rows
from pushforward.errors import DataError

_DATES = (-62_135_596_800.0, 253_402_300_799.0)  # seconds from 1970 to the first and to the last second of the years 1 to 9999
MOST_DIGITS = 17  # a float64 number has no more
LONGEST = 100
_DIRECTIVE = re.compile("%-?[A-Za-z%]")


@dataclass(frozen=True)
class Format:
    """How the cells of a column of numbers are written.

    Args:
        decimals: Digits after the point, 0 to 17; None for the shortest text of the number.
        pattern: Of dates, as `datetime.strftime` reads it, and %-d, %-m and %-H for parts without a zero before them; empty for
            numbers.
        levels: Texts of ordered levels, whose values are 0, 1, 2, ...; empty for numbers.
        least: The fewest digits after the point, so that zeros beyond them are left out; None for ``decimals``.
        digits: The most digits that count of a number without fixed decimals; None for all.
        point: The decimal point or comma.
        group: Stands between thousands; empty for nothing.
        plus: Whether numbers above 0 have a plus sign.
        bare: Whether whole numbers have no point, where other numbers have all ``decimals``: 10, but 10.90.
        prefix: A currency between the sign and the digits, such as "$"; empty for none.
        suffix: A unit or currency behind the digits, such as " kg"; empty for none.

    Raises:
        DataError: For counts of digits, a pattern, a point or a unit that no cell is written with.
    """

    decimals: int | None = None
    pattern: str = ""
    levels: tuple[str, ...] = ()
    least: int | None = None
    digits: int | None = None
    point: str = "."
    group: str = ""
    plus: bool = False
    bare: bool = False
    prefix: str = ""
    suffix: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(map(str, self.levels)))
        for name in ("decimals", "least", "digits"):
            count = getattr(self, name)
            if count is not None and not (isinstance(count, int) and 0 <= count <= MOST_DIGITS):
                raise DataError(f'"{name}" must be a whole number from 0 to {MOST_DIGITS}, got {count!r}.')
        if len(self.pattern) > LONGEST or "%" in _DIRECTIVE.sub("", self.pattern):
            raise DataError(f'"{self.pattern[:LONGEST]}" is no pattern of dates: expected one such as %Y-%m-%d.')
        if self.point not in (".", ",") or len(self.group) > 1 or self.group == self.point:
            raise DataError(
                'Expected "." or "," as the point, and one other character or nothing between thousands as the group.'
            )

        if any(len(unit) > LONGEST or re.search(r"\d", unit) for unit in (self.prefix, self.suffix)):
            raise DataError(f"A prefix or a suffix is text without digits, of at most {LONGEST} characters.")

    @property
    def has_unit(self) -> bool:
        """Whether numbers are written with a unit or a currency."""
        return bool(self.prefix or self.suffix)

    def rounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return rows.rounded(values, vars(self))

    def holds(self, values: NDArray[np.float64]) -> bool:
        """Whether all values are finite, and levels or dates that can be written."""
        low, high = (0.0, len(self.levels) - 1.0) if self.levels else _DATES if self.pattern else (-math.inf, math.inf)
        return bool((np.isfinite(values) & (values >= low) & (values <= high)).all())

    def cell(self, value: float) -> str:
        if self.levels:
            return self.levels[int(value)]
        return rows.written(value, vars(self))

    def value(self, cell: str) -> float:
        try:
            if self.levels:
                return float(self.levels.index(cell))
            if self.pattern:
                return datetime.strptime(cell, self.pattern.replace("%-", "%")).replace(tzinfo=UTC).timestamp()
            value = float(self.plain(cell).replace(self.point, "."))
        except ValueError:
            return math.nan
        return value if math.isfinite(value) else math.nan

    def plain(self, cell: str) -> str:
        """The text of a number without its unit, what stands between thousands, and a plus sign."""
        sign = cell[:1] if cell[:1] in "+-" else ""
        digits = cell[len(sign) :].removeprefix(self.prefix).removesuffix(self.suffix)
        cell = sign + digits
        if self.group and re.match(rf"[-+]?\d{{1,3}}(?:{re.escape(self.group)}\d{{3}})+(?!\d)", cell):
            cell = cell.replace(self.group, "")
        return cell.removeprefix("+") if self.plus else cell
