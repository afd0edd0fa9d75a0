"""Formatting of numbers for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

NOTHING = "–"


def finite(x: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if isinstance(x, bool) or x is None:
        return None
    try:
        value = float(x)
    except (TypeError, ValueError):
        return None
    if math.isfinite(value):
        return value
    return None


def finite_all(values: Iterable[Any] | None) -> list[float]:
    """Convert numbers to floats, with 0 for values that are not finite; empty for None."""
    return [finite(value) or 0.0 for value in values or ()]


ROUNDING = 1e-9  # A spread below this share of its mean is what rounding leaves of none


def _decimals(x: float, digits: int) -> int:
    if x:
        return min(6, max(0, digits - 1 - math.floor(math.log10(abs(x)))))
    return 0


def plain(x: Any, digits: int = 3) -> str:
    """Format a number with a number of significant digits, without exponent; integers have no decimals."""
    value = finite(x)
    if value is None:
        return NOTHING
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    rounded = float(f"{value:.{max(digits, 1) - 1}e}")  # .997 has two digits as 1.0
    text = f"{value:,.{_decimals(rounded, digits)}f}"
    if float(text.replace(",", "")):
        return text.replace("-", "−")
    return "0"


def decimals_of(mean: Any, spread: Any = None) -> int:
    """Return the number of decimals for a mean and its standard deviation; 0 if not finite.

    The standard deviation gets one digit, or two if the first is 1 or 2. Without it, the mean gets
    three digits.
    """
    value = finite(mean)
    wide = finite(spread)
    if value is None or not wide or wide < ROUNDING * abs(value):
        return len(plain(value).partition(".")[2])
    leading = wide / 10 ** math.floor(math.log10(wide))
    return _decimals(wide, 2 if leading < 2.95 else 1)


def measured(mean: Any, spread: Any = None, decimals: int | None = None) -> tuple[str, str]:
    """Format a mean and its standard deviation with the same decimals, by default `decimals_of`; a missing one is empty."""
    value = finite(mean)
    wide = finite(spread)
    if value is None:
        return NOTHING, ""
    if decimals is None:
        decimals = decimals_of(value, wide)
    return _fixed(value, decimals), "" if wide is None else f"{wide:,.{decimals}f}"


def _fixed(x: float, decimals: int) -> str:
    text = f"{x:,.{decimals}f}"
    return text.replace("-", "−" if text.strip("-0.") else "")


def bounded(mean: Any, interval: Sequence[float], decimals: int | None = None) -> tuple[str, str]:
    """Format a mean and its interval, such as ``[0.112, 0.148]``, with the same decimals.

    The default suits half the width of the interval, and shows a non-zero digit of each end.
    """
    if decimals is None:
        needed = [len(plain(end, 1).partition(".")[2]) for end in interval]
        decimals = max(decimals_of(mean, abs(interval[1] - interval[0]) / 2), *needed)
    low, high = (_fixed(end, decimals) for end in interval)
    return measured(mean, None, decimals)[0], f"[{low}, {high}]"


def percent(x: Any) -> str:
    """Format a fraction as a percentage."""
    value = finite(x)
    if value is None:
        return NOTHING
    percent = 100 * value
    if percent == 0 or abs(percent) >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %"


def count(x: Any) -> str:
    """Format an integer with thousands separators."""
    value = finite(x)
    if value is None:
        return NOTHING
    return f"{round(value):,}"


def counted(x: Any, noun: str) -> str:
    """Format a number with its noun: 1 call, 1,000 calls."""
    return f"{count(x)} {noun}{'' if x == 1 else 's'}"


DURATIONS = (
    (7200, 3600, "h"),
    (120, 60, "min"),
    (1, 1, "s"),
    (1e-3, 1e-3, "ms"),
    (1e-6, 1e-6, "µs"),
    (0, 1e-9, "ns"),
)
"""From how many seconds a unit suits a duration, the seconds of the unit, and its name."""


def duration_unit(longest: float) -> tuple[float, str]:
    """Return the seconds and the name of the unit that suits a duration in seconds."""
    return next((size, unit) for least, size, unit in DURATIONS if longest >= least)


def duration(x: Any, digits: int = 3) -> str:
    """Format seconds in a suitable unit, with a number of significant digits."""
    value = finite(x)
    if value is None:
        return NOTHING
    size, unit = duration_unit(value)
    return f"{plain(value / size, digits)} {unit}"


def aligned(values: Sequence[Any], digits: int = 3, unit: str = "") -> list[str]:
    """Format the numbers of a column with the same decimals: enough for the smallest number, at most three."""
    known = [value for x in values if (value := finite(x)) is not None]
    decimals = min(
        3, max((len(plain(value, digits).partition(".")[2]) for value in known), default=0)
    )
    return [NOTHING if finite(x) is None else f"{_fixed(float(x), decimals)}{unit}" for x in values]


def durations(values: Sequence[Any], digits: int = 3) -> list[str]:
    """Format the seconds of a column in the unit of the longest, with the same decimals."""
    size, unit = duration_unit(max(finite_all(values), default=0.0))
    return aligned([None if x is None else x / size for x in values], digits, f" {unit}")


def counts(values: Iterable[Any]) -> list[str]:
    """Format the integers of a column with thousands separators."""
    return [count(value) for value in values]


def listing(words: Iterable[str]) -> str:
    """Join words by commas and a final "and"."""
    some = list(words)
    if len(some) == 1:
        return some[0]
    if some:
        return f"{', '.join(some[:-1])} and {some[-1]}"
    return ""


def some(items: Iterable[object], most: int = 5) -> str:
    """Join the first items by commas, with the number of further items."""
    words = [str(item) for item in items]
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def clipped(cell: str, width: int) -> str:
    """Format a table cell on one line, truncated to a maximum length."""
    text = cell.replace("\r", "").replace("\n", "\\n")
    if len(text) <= width:
        return text
    return f"{text[: width - 1]}…"


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Shorten names in the middle to a maximum length, if they stay distinct.

    Args:
        names: Names, such as of models or columns.
        width: Characters of a name.
    """
    room = max(2, width - 1)
    for head in sorted(range(1, room), key=lambda head: abs(head - room // 2)):
        short = [
            name if len(name) <= width else f"{name[:head]}…{name[head - room :]}" for name in names
        ]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)
