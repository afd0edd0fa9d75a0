"""Texts that are numbers or dates, and how a column of them is written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.number import Format

_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
_COMMA = re.compile(r"-?(?:\d+|\d*,\d+)$")
_LIKE = re.compile(r"[-+]?[.,]?\d[\d.,'eE+\s-]*$")
_WHOLE = re.compile(r"-?\d+$")
_CODE = re.compile(r"(?:-?0\d|\+)[\d.,]*$")
# What may stand between thousands, with the decimal points that may stand beside it; the last two are blanks as well.
_GROUPS = {",": ".", ".": ",", "'": ".,", " ": ".,", "\u00a0": ".,", "\u202f": ".,"}
EXACT = 2**53  # whole numbers up to here are float64 numbers
MOST_DECIMALS = 12


def is_number(text: str, point: str = ".") -> bool:
    """Whether a text is a finite number, with a decimal point or comma; a whole number that float64 rounds is none."""
    pattern = _NUMBER if point == "." else _COMMA
    if not pattern.match(text) or is_code(text) or (_WHOLE.match(text) and not is_whole(text)):
        return False
    return math.isfinite(float(text.replace(point, ".")))


def like_number(text: str) -> bool:
    """Whether a text has the characters of a number alone; any other is none, without a closer look."""
    return bool(_LIKE.match(text))


def is_code(text: str) -> bool:
    """Whether a text is of digits that a number would lose, such as 007 and +49."""
    return bool(_CODE.match(text))


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, which float64 holds exactly."""
    return bool(_WHOLE.match(text)) and abs(int(text)) <= EXACT


def group_of(texts: Sequence[str]) -> str:
    """What separates thousands in all texts that have it; a point only where some text has two of them or a comma as well."""
    for sign, points in _GROUPS.items():
        holding = [text for text in texts if sign in text]
        grouped = re.compile(rf"-?[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+(?:[{points}]\d+)?$")
        clear = sign != "." or any(text.count(".") > 1 or "," in text for text in holding)
        if holding and clear and all(map(grouped.match, holding)):
            return sign
    return ""


def point_of(texts: Sequence[str], group: str = "") -> str:
    """The decimal point or comma of a column: that by which more texts are numbers, without what separates thousands."""
    if group in (",", "."):
        return _GROUPS[group]
    return max(".", ",", key=lambda point: sum(is_number(text, point) for text in texts))


def numbers(texts: Sequence[str], point: str = ".") -> NDArray[np.float64]:
    """The values of numbers, (n,)."""
    return np.array([float(text.replace(point, ".")) for text in texts], dtype=np.float64) + 0.0


def form_of(texts: Iterable[str], point: str = ".") -> Format:
    """How a column of numbers is written: with the most decimals that occur, and at least with the fewest that occur."""
    most, fewest, digits = 0, MOST_DECIMALS, 0
    for text in texts:
        plain, _, exponent = text.lower().partition("e")
        whole, _, fraction = plain.partition(point)
        decimals = len(fraction) - int(exponent or 0)
        most, fewest = max(most, decimals), min(fewest, MOST_DECIMALS if exponent else max(0, decimals))
        digits = max(digits, len((whole.lstrip("-") + fraction).lstrip("0")))
    if most > MOST_DECIMALS:
        return Format(digits=min(17, max(1, digits)), point=point)
    return Format(most, least=min(fewest, most), point=point)


_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
_LOOSE = ("%-d/%-m/%Y", "%-m/%-d/%Y", "%-d.%-m.%Y", "%Y/%-m/%-d", "%Y-%-m-%-d")
_WORDS = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%Y-%b-%d")
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f")
_LOOSE_TIMES = ("%-H:%M", "%-H:%M:%S")
_PATTERNS = (
    *_DAYS,
    *(f"{day}{gap}{time}{zone}" for day in _DAYS for gap in " T" for time in _TIMES for zone in ("", "Z")),
    *_LOOSE,
    *(f"{day} {time}" for day in (*_LOOSE, *_DAYS) for time in (*_TIMES, *_LOOSE_TIMES)),
    *_WORDS,
    "%Y-%m",
    *_TIMES,
    *_LOOSE_TIMES,
)
_LIKE_DATE = re.compile(r"(?=.*\d)[\d:T.Z/ ,-]*(?:[A-Za-z]{3,9}[\d:T.Z/ ,-]*)?$")
_FIRST = 50


def date_patterns(texts: Sequence[str]) -> list[str]:
    """The patterns of dates that read and write every one of some texts unchanged, the preferred one first.

    Args:
        texts: Different cells, at least one.
    """
    if not all(_LIKE_DATE.match(text) for text in texts[:_FIRST]):
        return []
    fitting = [pattern for pattern in dict.fromkeys(_PATTERNS) if _fits(pattern, texts[:_FIRST])]
    return [pattern for pattern in fitting if _fits(pattern, texts)]


def _fits(pattern: str, texts: Sequence[str]) -> bool:
    form = Format(pattern=pattern)
    return all(not math.isnan(value := form.value(text)) and form.cell(value) == text for text in texts)
