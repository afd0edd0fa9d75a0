"""Formatting of numbers for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

NOTHING = "–"


def finite(x: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if isinstance(x, bool):
        return None
    try:
        value = float(x)
    except (TypeError, ValueError):
        return None
    if math.isfinite(value):
        return value
    return None


def finite_all(values: Iterable[Any] | None) -> list[float]:
    """Convert numbers to floats, with 0 for values that are not finite."""
    return [finite(value) or 0.0 for value in values or ()]


ROUNDING = 1e-9  # Standard deviations below this fraction of their mean are rounding errors


def _decimals(x: float, digits: int) -> int:
    if x == 0:
        return 0
    leading = math.floor(math.log10(abs(x)))
    return min(6, max(0, digits - 1 - leading))


def _decimals_in(text: str) -> int:
    return len(text.partition(".")[2])


def plain(x: Any, digits: int = 3) -> str:
    """Format a number with significant digits, without exponent; integers have no decimals."""
    value = finite(x)
    if value is None:
        return NOTHING
    if value.is_integer() and abs(value) < 1e15:
        return _fixed(value, 0)
    rounded = float(f"{value:.{max(digits, 1) - 1}e}")  # .997 has two digits as 1.0
    text = _fixed(value, _decimals(rounded, digits))
    if text.strip("-0."):
        return text
    return "0"


def decimals_of(value: float, std: float | None) -> int:
    """Return the number of decimals for a mean: three digits, or those of its standard deviation.

    The standard deviation gets one digit, or two if the first is 1 or 2.
    """
    if not std or std < ROUNDING * max(1.0, abs(value)):
        return _decimals_in(plain(value))
    leading = std / 10 ** math.floor(math.log10(std))
    return _decimals(std, 2 if leading < 2.95 else 1)


def mean_and_std(mean: Any, spread: Any = None, decimals: int | None = None) -> tuple[str, str]:
    """Format a mean and its standard deviation with the same decimals."""
    value = finite(mean)
    std = finite(spread)
    if value is None:
        return NOTHING, ""
    if decimals is None:
        decimals = decimals_of(value, std)
    text = _fixed(value, decimals)
    if std is None:
        return text, ""
    return text, f"{std:,.{decimals}f}"


def _fixed(x: float, decimals: int) -> str:
    text = f"{x:,.{decimals}f}"
    if text.strip("-0."):
        return text.replace("-", "−")
    return text.replace("-", "")


def mean_and_interval(
    mean: float, interval: Sequence[float], decimals: int | None = None
) -> tuple[str, str]:
    """Format a mean and its interval with the same decimals."""
    low, high = interval
    if decimals is None:
        decimals = decimals_of(mean, abs(high - low) / 2)
        for end in interval:
            decimals = max(decimals, _decimals_in(plain(end, 1)))
    return _fixed(mean, decimals), f"[{_fixed(low, decimals)}, {_fixed(high, decimals)}]"


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


def plural(x: Any, noun: str) -> str:
    """Format a number with its noun: 1 call, 1,000 calls."""
    ending = "" if x == 1 else "s"
    return f"{count(x)} {noun}{ending}"


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
    """Return the seconds and the name of the unit that suits a duration."""
    return next((size, unit) for least, size, unit in DURATIONS if longest >= least)


def duration(x: Any, digits: int = 3) -> str:
    """Format seconds in a suitable unit, with a number of significant digits."""
    value = finite(x)
    if value is None:
        return NOTHING
    size, unit = duration_unit(value)
    return f"{plain(value / size, digits)} {unit}"


def aligned(values: Sequence[Any], digits: int = 3, unit: str = "") -> list[str]:
    """Format numbers with the same decimals, at most three."""
    decimals = 0
    for x in values:
        decimals = max(decimals, _decimals_in(plain(x, digits)))
    decimals = min(3, decimals)
    cells = []
    for x in values:
        value = finite(x)
        cells.append(NOTHING if value is None else f"{_fixed(value, decimals)}{unit}")
    return cells


def durations(values: Sequence[Any]) -> list[str]:
    """Format seconds in the unit of the longest duration."""
    size, unit = duration_unit(max(finite_all(values), default=0.0))
    return aligned([None if x is None else x / size for x in values], unit=f" {unit}")


def counts(values: Iterable[Any]) -> list[str]:
    """Format the integers of a column with thousands separators."""
    return [count(value) for value in values]


def listing(words: Iterable[str]) -> str:
    """Join words by commas and a final "and"."""
    *others, last = list(words) or [""]
    if others:
        return f"{', '.join(others)} and {last}"
    return last


def some(items: Iterable[object], most: int = 5) -> str:
    """Join the first items by commas, with the number of further items."""
    words = [str(item) for item in items]
    text = ", ".join(words[:most])
    if len(words) > most:
        return f"{text} and {len(words) - most:,} more"
    return text


def clipped(cell: str, width: int) -> str:
    """Format a table cell on one line, truncated to a maximum length."""
    text = cell.replace("\r", "").replace("\n", "\\n")
    if len(text) <= width:
        return text
    return f"{text[: width - 1]}…"


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Shorten names in the middle, if they stay distinct."""
    room = max(2, width - 1)
    for head in sorted(range(1, room), key=lambda head: abs(head - room // 2)):
        short = []
        for name in names:
            if len(name) > width:
                name = f"{name[:head]}…{name[head - room :]}"
            short.append(name)
        if len(set(short)) == len(set(names)):
            return short
    return list(names)
