"""Texts that are numbers, and how a column of them is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.format import Format

__all__ = [
    "GROUPS",
    "dress_of",
    "form_of",
    "is_code",
    "is_number",
    "is_whole",
    "like_number",
    "maybe_grouped",
    "numbers",
    "point_of",
    "unclear",
    "unit_of",
]

_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
_COMMA = re.compile(r"-?(?:\d+|\d*,\d+)$")
_LIKE = re.compile(r"[-+]?[.,]?\d[\d.,'eE+\s-]*$")
_WHOLE = re.compile(r"-?\d+$")
_CODE = re.compile(r"(?:-?0\d|\+)[\d.,]*$")
_UNIT = re.compile(r"[-+]?(?:([^\w\s.,+-])\s?)?[-+]?\d[\d.,]*(\s?[^\w\s.,+-][A-Z]?|\s[A-Za-z]{1,3})?$")
EXACT = 2**53
"""Whole numbers up to here are float64 numbers."""
MOST_DECIMALS = 12
GROUPS = {",": ".", ".": ",", "'": ".,", " ": ".,", "\u00a0": ".,", "\u202f": ".,"}
"""What may stand between thousands, with the decimal points that may stand beside it; the last two are blanks as well."""


def is_number(text: str, point: str = ".") -> bool:
    """Whether a text is a finite number, with a decimal point or comma; a whole number that float64 rounds is none."""
    pattern = _NUMBER if point == "." else _COMMA
    if not pattern.match(text) or is_code(text) or (_WHOLE.match(text) and not is_whole(text)):
        return False
    return bool(np.isfinite(float(text.replace(point, "."))))


def like_number(text: str) -> bool:
    """Whether a text has the characters of a number alone; any other is none, without a closer look."""
    return bool(_LIKE.match(text))


def is_code(text: str) -> bool:
    """Whether a text is of digits that a number would lose, such as 007 and +49."""
    return bool(_CODE.match(text))


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, which float64 holds exactly."""
    return bool(_WHOLE.match(text)) and abs(int(text)) <= EXACT


def dress_of(texts: Sequence[str]) -> Format:
    """The separator of thousands and the plus sign of a column of numbers, where it has them.

    Commas separate thousands where all of them may; points where all may and some text has two of them or a comma as well. A plus
    sign is one where all numbers above 0 have it, and some is negative: without negative numbers it begins codes, such as +49.
    """
    group = next((sign for sign in GROUPS if _separates(sign, texts)), "")
    point = "," if group == "." else "."
    if not group and not any(text.startswith("+") for text in texts):
        return Format()
    bare = {text: (text.replace(group, "") if group else text).removeprefix("+") for text in texts}
    signs = {(text.startswith("+"), float(number)) for text, number in bare.items() if is_number(number)}
    right = all(plus == (value > 0) for plus, value in signs)
    plus = right and any(plus for plus, _ in signs) and any(value < 0 for _, value in signs)
    return Format(group=group, plus=plus, point=point)


def _separates(sign: str, texts: Sequence[str]) -> bool:
    """Whether a sign separates thousands in all texts that have it."""
    holding = [text for text in texts if sign in text]
    grouped = re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+(?:[{GROUPS[sign]}]\d+)?$")
    if not holding or not all(map(grouped.match, holding)):
        return False
    return sign != "." or any(text.count(".") > 1 or "," in text for text in holding)


def point_of(dress: Format, plain: Sequence[str]) -> str:
    """The decimal point or comma of a column of numbers: that by which more texts are numbers, where thousands leave it open.

    Args:
        dress: The column's separator of thousands.
        plain: Its texts without it.
    """
    if dress.group in GROUPS and len(GROUPS[dress.group]) == 1:
        return GROUPS[dress.group]
    if not any("," in text for text in plain):
        return "."
    counts = {point: sum(is_number(text, point) for text in plain) for point in (".", ",")}
    return "," if counts[","] > counts["."] else "."


def maybe_grouped(plain: Sequence[str], dress: Format) -> bool:
    """Whether points that were taken as decimal points may separate thousands: three digits follow each, and some have none."""
    pointed = [text for text in plain if "." in text]
    return (
        not dress.group
        and 0 < len(pointed) < len(plain)
        and all(re.match(r"[-+]?[1-9]\d{0,2}\.\d{3}$", text) for text in pointed)
    )


def unclear(texts: Sequence[str]) -> str:
    """A number of four digits in a row, where commas may separate thousands or decimals; empty where there is none."""
    if any(text.count(",") > 1 or {",", "."} <= set(text) for text in texts):
        return ""
    return next((text for text in texts if re.match(r"[-+]?\d{4}", text)), "")


def unit_of(texts: Sequence[str]) -> str:
    """What stands with the number in every text, such as $, % or kg; empty where it is nothing, or not the same."""
    units = {tuple(part or "" for part in match.groups()) if (match := _UNIT.match(text)) else ("", "") for text in texts}
    return "".join(units.pop()).strip() if len(units) == 1 else ""


def numbers(texts: Sequence[str], point: str = ".") -> NDArray[np.float64]:
    """The values of numbers, (n,)."""
    return np.array([float(text.replace(point, ".")) for text in texts], dtype=np.float64) + 0.0


def form_of(texts: Iterable[str], point: str = ".") -> Format:
    """How a column of numbers is written: with the most decimals that occur, and as few as occur.

    Where all numbers with a point have as many decimals, so will those that end in zeros: 10 and 10.95 lead to 10.90.
    """
    most, fewest, digits, lengths = 0, MOST_DECIMALS, 0, set()
    for text in texts:
        plain, _, exponent = text.lower().partition("e")
        whole, _, fraction = plain.partition(point)
        decimals = len(fraction) - int(exponent or 0)
        most, fewest = max(most, decimals), min(fewest, MOST_DECIMALS if exponent else max(0, decimals))
        digits = max(digits, len((whole.lstrip("-") + fraction).lstrip("0")))
        lengths.add(-1 if exponent else len(fraction))
    if most > MOST_DECIMALS:
        return Format(digits=min(17, max(1, digits)), point=point)
    if lengths == {0, most}:
        return Format(most, point=point, bare=True)
    return Format(most, least=min(fewest, most), point=point)
