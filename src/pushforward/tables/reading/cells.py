"""Convert the cells of a numeric or date column to numbers, and numbers to cells."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pushforward.errors import DataError
from pushforward.tables.reading import rows

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
        levels: Texts of ordered levels, whose values are 0, 1, 2, ...; empty for numbers.
        least: Minimum number of decimals; trailing zeros beyond it are omitted. None for
            ``decimals``.
        digits: Maximum number of significant digits, for numbers without fixed decimals; None for
            all.
        point: Decimal separator, a point or a comma.
        group: Thousands separator; empty for none.
        plus: Whether positive numbers have a plus sign.
        bare: Whether integers are written without decimals and other numbers with all ``decimals``:
            10, but 10.90.
        prefix: Currency between the sign and the digits, such as "$"; empty for none.
        suffix: Unit or currency after the digits, such as " kg"; empty for none.

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
                raise DataError(
                    f'"{name}" must be an integer from 0 to {MOST_DIGITS}; got {count!r}.'
                )
        if len(self.pattern) > LONGEST or "%" in _DIRECTIVE.sub("", self.pattern):
            raise DataError(
                f'"{self.pattern[:LONGEST]}" is not a date pattern: expected one such as %Y-%m-%d.'
            )
        if self.point not in (".", ",") or len(self.group) > 1 or self.group == self.point:
            raise DataError(
                '"point" must be "." or ",", and "group" must be another character, or empty for no thousands separator.'
            )

        if any(
            len(unit) > LONGEST or re.search(r"\d", unit) for unit in (self.prefix, self.suffix)
        ):
            raise DataError(
                f'"prefix" and "suffix" must be texts without digits, of at most {LONGEST} characters.'
            )

    @property
    def has_unit(self) -> bool:
        """Whether numbers are written with a unit or a currency."""
        return bool(self.prefix or self.suffix)

    def rounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return rows.rounded(values, vars(self))

    def holds(self, values: NDArray[np.float64]) -> bool:
        """Return whether all values are finite, and can be written as levels or dates if necessary."""
        low, high = (
            (0.0, len(self.levels) - 1.0)
            if self.levels
            else _DATES
            if self.pattern
            else (-math.inf, math.inf)
        )
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
                return (
                    datetime.strptime(cell, self.pattern.replace("%-", "%"))
                    .replace(tzinfo=UTC)
                    .timestamp()
                )
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
        if self.group and re.match(
            rf"[-+]?\d{{1,3}}(?:{re.escape(self.group)}\d{{3}})+(?!\d)", cell
        ):
            cell = cell.replace(self.group, "")
        if self.plus:
            return cell.removeprefix("+")
        return cell


def iso_date(text: str) -> float:
    """Convert an ISO 8601 date to seconds since 1970, in UTC unless the text specifies a time zone; NaN for other texts."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
