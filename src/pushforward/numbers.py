"""Numbers as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

NOTHING = "–"


def finite(x: Any) -> float | None:
    """A finite number as float; None for anything else."""
    if isinstance(x, bool) or x is None:
        return None
    try:
        value = float(x)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def finite_all(values: Iterable[Any] | None) -> list[float]:
    """Numbers as floats, with 0 in place of those that are not finite; none for None."""
    return [finite(value) or 0.0 for value in values or ()]


ROUNDING = 1e-9  # A spread below this share of its mean is what rounding leaves of none


def _decimals(x: float, digits: int) -> int:
    return min(6, max(0, digits - 1 - math.floor(math.log10(abs(x))))) if x else 0


def plain(x: Any, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent; whole numbers have no decimals."""
    value = finite(x)
    if value is None:
        return NOTHING
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "−")
    rounded = float(f"{value:.{max(digits, 1) - 1}e}")  # .997 has two digits as 1.0
    text = f"{value:,.{_decimals(rounded, digits)}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else "0"


def measured(mean: Any, spread: Any = None) -> tuple[str, str]:
    """A mean and its spread with the same decimals; the spread is empty where there is none.

    The spread sets the decimals: two of its digits where the first is a 1 or a 2, else one.
    """
    value, wide = finite(mean), finite(spread)
    if value is None:
        return NOTHING, ""
    if not wide or wide < ROUNDING * abs(value):
        text = plain(value)
        return text, "" if wide is None else f"{0:.{len(text.partition('.')[2])}f}"
    leading = wide / 10 ** math.floor(math.log10(wide))
    decimals = _decimals(wide, 2 if leading < 2.95 else 1)
    return _fixed(value, decimals), f"{wide:,.{decimals}f}"


def _fixed(x: float, decimals: int) -> str:
    text = f"{x:,.{decimals}f}"
    return text.replace("-", "−" if text.strip("-0.") else "")


def bounded(mean: Any, interval: Sequence[float]) -> tuple[str, str]:
    """A mean and its interval, such as ``[0.112, 0.148]``, with the same decimals, which half of its width sets."""
    value, half = measured(mean, abs(interval[1] - interval[0]) / 2)
    decimals = len(half.partition(".")[2])
    low, high = (_fixed(end, decimals) for end in interval)
    return value, f"[{low}, {high}]"


def percent(x: Any) -> str:
    """A share in percent."""
    value = finite(x)
    if value is None:
        return NOTHING
    percent = 100 * value
    return f"{percent:.0f} %" if percent == 0 or abs(percent) >= 10 else f"{percent:.1f} %"


def count(x: Any) -> str:
    """A whole number with thousands separators."""
    value = finite(x)
    return NOTHING if value is None else f"{round(value):,}"


def counted(x: Any, noun: str) -> str:
    """A number with its noun: 1 call, 1,000 calls."""
    return f"{count(x)} {noun}{'' if x == 1 else 's'}"


def quantity(x: Any) -> str:
    """A large number in thousands, millions, billions or trillions."""
    value = finite(x)
    if value is None:
        return NOTHING
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{plain(value / size)} {name}"
    return count(value)


def duration(x: Any, digits: int = 3) -> str:
    """Seconds in the unit that suits them, with so many significant digits."""
    value = finite(x)
    if value is None:
        return NOTHING
    if value >= 7200:
        return f"{plain(value / 3600, digits)} h"
    if value >= 120:
        return f"{plain(value / 60, digits)} min"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{plain(value / size, digits)} {unit}"
    return f"{plain(value * 1e9, digits)} ns"


def listing(words: Iterable[str]) -> str:
    """Words joined by commas and a final "and"."""
    some = list(words)
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}" if some else ""


def some(items: Iterable[object], most: int = 5) -> str:
    """The first items between commas, and how many more there are."""
    words = [str(item) for item in items]
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def clipped(cell: str, width: int) -> str:
    """The cell of a table on one line, cut after so many characters."""
    text = cell.replace("\r", "").replace("\n", "\\n")
    return text if len(text) <= width else f"{text[: width - 1]}…"


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names of at most so many characters, cut in their middle where they stay distinct; else they are whole.

    Args:
        names: Such as those of models or columns.
        width: Characters of a name.
    """
    room = max(2, width - 1)
    for head in sorted(range(1, room), key=lambda head: abs(head - room // 2)):
        short = [name if len(name) <= width else f"{name[:head]}…{name[head - room :]}" for name in names]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)
