"""Decide from the cells of a table what its columns contain: numbers, dates or categories."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, product
from types import MappingProxyType
from typing import Any

import numpy as np

from pushforward.data.core.hashes import Floats, Mask
from pushforward.numbers import plural
from pushforward.tables.column import Column
from pushforward.tables.columns import TWO, Category, Format, Number
from pushforward.tables.reading.string_columns import Faults, RawColumn

_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
_COMMA = re.compile(r"-?(?:\d+|\d*,\d+)$")
_LIKE = re.compile(
    r"[-+]?[.,]?\d[\d.,'eE+\s-]*$"
)  # any other text is no number, without a closer look
_WHOLE = re.compile(r"-?\d+$")
_CODE = re.compile(r"(?:-?0\d|\+)[\d.,]*$")
# What may stand between thousands, with the decimal points that may stand beside it; the last two
# are blanks as well.
_GROUPS = {",": ".", ".": ",", "'": ".,", " ": ".,", "\u00a0": ".,", "\u202f": ".,"}
EXACT = 2**53  # whole numbers up to here are float64 numbers
MOST_DECIMALS = 12
_DAYS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
)
_LOOSE = ("%-d/%-m/%Y", "%-m/%-d/%Y", "%-d.%-m.%Y", "%Y/%-m/%-d", "%Y-%-m-%-d")
_WORDS = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%Y-%b-%d")
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f")
_LOOSE_TIMES = ("%-H:%M", "%-H:%M:%S")
_LIKE_DATE = re.compile(r"(?=.*\d)[\d:T.Z/ ,-]*(?:[A-Za-z]{3,9}[\d:T.Z/ ,-]*)?$")
_FIRST = 50
KINDS = ("number", "whole", "ordinal", "date", "category", "boolean", "drop")
NUMERIC = ("number", "whole", "date")
MOST_CATEGORIES = 1000
LIKE_IDENTIFIER = "integers that look like an identifier: all values differ"
CONSTANT = "a constant: all values are equal"
FEW = 20  # whole numbers of at most so many different values are ordered categories,
REPEATED = 5  # where each occurs so often on average
# text is an identifier where so many rows and this share of them differ
IDENTIFIER_ROWS = 20
IDENTIFIER_SHARE = 0.95
MIXED = 0.5  # texts of which more than this share are numbers are numbers with errors among them
# numbers beside at least this share of texts such as 007, which a number would lose, are texts as
# well
CODES = 0.01
_LONG = re.compile(r"\d{4}")
_UNIT = re.compile(
    r"[^\w\s.,+-]?\s?[-+]?\d[\d.,]*(\s?[^\w\s.,+-][A-Z]?|\s[A-Za-z]{1,3})?$"
)  # such as $5 and 5 kg
# Currencies before a number; any constant word or sign behind it is a unit
_CURRENCY = (
    r"(?:[A-Z]{0,3}[$\u00a2-\u00a5\u20a0-\u20cf]|"
    r"(?:EUR|USD|GBP|CHF|JPY|CNY|CAD|AUD|INR|SEK|NOK|DKK|PLN|BRL)(?=[\s\d]))"
)
_AMOUNT = re.compile(
    rf"[-+]?((?:{_CURRENCY}\s?)?)([.,]?\d[\d.,'\s]*?)(|\s?[^\s\d.,'+:/-][^\d:]{{0,11}})$"
)
_NAMED_ID = re.compile(
    r"(?i:(^|[^a-z])(id|uuid)$)|[a-z]I[dD]$"
)  # the ends of id, customer_id and customerId


def is_number(text: str, point: str = ".") -> bool:
    """Return whether a text is a finite number with the given decimal separator.

    Integers that float64 rounds are not.
    """
    pattern = _NUMBER if point == "." else _COMMA
    if not pattern.match(text) or is_code(text) or (_WHOLE.match(text) and not is_whole(text)):
        return False
    return math.isfinite(float(text.replace(point, ".")))


def is_code(text: str) -> bool:
    """Return whether a text has digits that would be lost in a number, such as 007 and +49."""
    return bool(_CODE.match(text))


def is_whole(text: str) -> bool:
    """Return whether a text is an integer that float64 represents exactly."""
    return bool(_WHOLE.match(text)) and abs(int(text)) <= EXACT


def group_of(texts: Sequence[str]) -> str:
    """Detect the thousands separator of texts.

    A point counts only if a text has two of them, or a comma as well.
    """
    for sign, points in _GROUPS.items():
        holding = [text for text in texts if sign in text]
        grouped = re.compile(rf"-?[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+(?:[{points}]\d+)?$")
        clear = sign != "." or any(text.count(".") > 1 or "," in text for text in holding)
        if holding and clear and all(map(grouped.match, holding)):
            return sign
    return ""


def unit_of(texts: Sequence[str]) -> tuple[str, str]:
    """Detect the prefix and suffix of numbers that all texts share, such as "$" and " kg".

    Empty if they differ.
    """
    unit = None
    for text in texts:
        amount = _AMOUNT.match(text)
        if amount is None or unit not in (None, (amount[1], amount[3])):
            return "", ""
        unit = amount[1], amount[3]
    return unit or ("", "")


def form_of(texts: Iterable[str], point: str = ".") -> Format:
    """Detect the format of a column of numbers, such as its decimals."""
    most = 0
    fewest = MOST_DECIMALS
    digits = 0
    for text in texts:
        plain, _, exponent = text.lower().partition("e")
        whole, _, fraction = plain.partition(point)
        decimals = len(fraction) - int(exponent or 0)
        most = max(most, decimals)
        fewest = min(fewest, MOST_DECIMALS if exponent else max(0, decimals))
        digits = max(digits, len((whole.lstrip("-") + fraction).lstrip("0")))
    if most > MOST_DECIMALS:
        return Format(digits=min(17, max(1, digits)), point=point)
    return Format(most, least=min(fewest, most), point=point)


def date_patterns(texts: Sequence[str]) -> list[str]:
    """Return the date patterns that read and write all texts unchanged, the preferred one first."""
    if not all(map(_LIKE_DATE.match, texts[:_FIRST])):
        return []
    strict = map("".join, product(_DAYS, " T", _TIMES, ("", "Z")))
    loose = map(" ".join, product((*_LOOSE, *_DAYS), (*_TIMES, *_LOOSE_TIMES)))
    patterns = [*_DAYS, *strict, *_LOOSE, *loose, *_WORDS, "%Y-%m", *_TIMES, *_LOOSE_TIMES]
    return [pattern for pattern in dict.fromkeys(patterns) if _fits(pattern, texts)]


def _fits(pattern: str, texts: Sequence[str]) -> bool:
    form = Format(pattern=pattern)
    for text in texts:
        value = form.value(text)
        if math.isnan(value) or form.cell(value) != text:
            return False
    return True


@dataclass(frozen=True)
class Finding:
    """The content of a column, as detected or specified.

    Args:
        kind: One of `KINDS`; "drop" for a column that is left out.
        form: Format of numbers and dates.
        rounds: Whether a schema specifies the number of digits, to which cells are rounded.
        rare: Number of further category texts that are not learned
            (`pushforward.tables.reading.schema`).
        personal: Kind of personal data that the column seems to contain, such as "names"; usually
            empty.
        missing: Fraction of missing cells.
    """

    name: str
    kind: str
    why: str = ""
    form: Format = field(default_factory=Format)
    names: tuple[str, ...] = ()
    rounds: bool = False
    rare: int = 0
    personal: str = ""
    examples: tuple[str, ...] = ()
    missing: float = 0.0

    @property
    def numeric(self) -> bool:
        """Whether values are numbers or dates instead of category indices."""
        return self.kind in NUMERIC

    def values(self, column: RawColumn) -> Floats:
        read: Callable[[str], float | None] = self.form.value
        if not self.numeric:
            read = dict(zip(self.names, range(len(self.names)), strict=True)).get
        values = np.array(list(map(read, column.texts)), dtype=np.float64)
        if self.rounds:
            values = self.form.rounded(values)
        return column.numbered(values + 0.0)

    def measured(self, values: Floats, missing: bool = False) -> Column:
        """Fit a column to training values, float64 (n,).

        ``missing`` says whether other values may be missing.
        """
        if self.numeric:
            return Number.measured(self.name, values, self.kind, self.form, missing)
        category = Category.measured(self.name, values, self.names, self.kind, missing)
        return replace(category, rare=self.rare)


def infer(column: RawColumn, lines: Sequence[int], faults: Faults) -> Finding:
    """Decide what a column without missing cells contains."""
    name = column.name
    texts = column.texts
    if not texts:
        return Finding(name, "category", "all cells are missing; samples leave the column empty")
    if len(texts) == 2 and tuple(sorted(map(str.lower, texts))) in TWO:
        return Finding(name, "boolean", "two values that mean no and yes", names=ordered(texts))
    numeric = [False] * len(texts)
    if any(map(_LIKE.match, texts)) or any(unit_of(texts)):
        signs, plain = signs_of(texts)
        found = [is_number(text, signs.point) for text in plain]
        clear = any("." in text or text.count(",") > 1 for text in texts)
        if signs.group == "," and not clear and any(map(_LONG.search, texts)):
            faults.add(
                f'In the column "{name}", commas may separate thousands or decimals: it contains '
                "numbers with a comma and numbers with four digits. Write all numbers in the same "
                'way, or use a schema with {"kind": "number", "group": ","} or "point": ",".'
            )
        if all(found):
            return _of_numbers(column, plain, signs)
        if not signs.has_unit:
            numeric = found
    if not any(numeric):
        dates = date_patterns(texts)
        if dates:
            why = f"dates of the pattern {dates[0]}"
            if len(dates) > 1:
                why += f"; {dates[1]} fits as well"
            return Finding(name, "date", why, Format(pattern=dates[0]))
    return _of_texts(column, np.array(numeric), lines, faults)


def signs_of(
    texts: Sequence[str], given: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Format, list[str]]:
    """Detect unit, thousands and decimal separators of numbers, unless they are given.

    Returns:
        A format with these signs, and the numbers without unit and thousands separators.
    """
    prefix, suffix = unit_of(texts)
    unit = Format(prefix=given.get("prefix", prefix), suffix=given.get("suffix", suffix))
    plain = list(map(unit.plain, texts))
    group = given.get("group", group_of(plain))
    if group == given.get("point"):
        group = ""
    if group:
        plain = [text.replace(group, "") for text in plain]
    if "point" in given:
        point = given["point"]
    elif group in (",", "."):
        point = _GROUPS[group]
    else:  # the one with which more texts are numbers
        point = max(".", ",", key=lambda sign: sum(is_number(text, sign) for text in plain))
    return replace(unit, group=group, point=point), plain


def of_levels(column: RawColumn, levels: Sequence[str], ordinal: bool) -> Finding | None:
    """Decide from the levels of a categorical data-frame column that occur.

    Returns None if cells are not among the levels, or if there are no levels or more than
    `MOST_CATEGORIES`.
    """
    names = tuple(dict.fromkeys(level for level in levels if level in column.texts))
    if len(names) < len(column.texts) or not 0 < len(names) <= MOST_CATEGORIES:
        return None
    if ordinal:
        return Finding(column.name, "ordinal", "an ordered category of the data frame", names=names)
    why = "a category of the data frame"
    return Finding(column.name, "category", why, names=ordered(names))


def _of_numbers(column: RawColumn, texts: Sequence[str], signs: Format) -> Finding:
    name = column.name
    different = len(texts)
    n = int(column.counts.sum())
    unit = f', written with "{(signs.prefix or signs.suffix).strip()}"' if signs.has_unit else ""
    whole = replace(signs, decimals=0)
    if not all(map(is_whole, texts)):
        found = form_of(texts, signs.point)
        form = replace(signs, decimals=found.decimals, least=found.least, digits=found.digits)
        if form.decimals is None:
            why = f"numbers, significant digits: {form.digits}"
        else:
            why = f"numbers, decimals: {form.decimals}"
        if signs.point == ",":
            why += ", with a decimal comma"
        return Finding(name, "number", why + unit, form)
    if signs.group:
        return Finding(name, "whole", f"integers{unit}", whole)
    if n == len(column.codes) == different > FEW:
        steps = np.diff(np.array(texts, dtype=np.float64)[column.codes])
        if (steps == 1).all() or (steps == -1).all():
            return Finding(name, "drop", "an identifier: integers that increase from row to row")
        if (steps > 0).all() or (steps < 0).all() or _NAMED_ID.search(name):
            return Finding(name, "whole", LIKE_IDENTIFIER, whole)
    elif different <= FEW and n >= REPEATED * different:
        why = CONSTANT
        if different > 1:
            why = f"{different} distinct integers, treated as ordered categories"
        names = sorted(column.texts, key=lambda text: (signs.value(text), text))
        return Finding(name, "ordinal", why, names=tuple(names))
    return Finding(name, "whole", f"integers{unit}", whole)


def _of_texts(column: RawColumn, are: Mask, lines: Sequence[int], faults: Faults) -> Finding:
    name = column.name
    counts = column.counts
    texts = column.texts
    n = int(counts.sum())
    different = len(texts)
    amounts = np.array(list(map(_UNIT.match, texts)), dtype=bool)
    identifier = n > IDENTIFIER_ROWS and different >= IDENTIFIER_SHARE * n
    several = different > MOST_CATEGORIES
    if not amounts.all() and any(unit_of(list(compress(texts, amounts)))):
        are |= amounts
    odd = np.flatnonzero(~are).tolist()
    codes = all(map(is_code, compress(texts, ~are)))
    codes = codes and counts[~are].sum() >= CODES * n and not (identifier or several)
    cells = counts[are].sum()
    if cells > MIXED * n and are.sum() > min(FEW, cells / 2) and not codes:
        others = plural(int(counts[~are].sum()), "cell")
        faults.add(
            f'The column "{name}" contains numbers and {others} with other text: '
            f"{column.where(odd, lines)}. Correct or remove these rows, treat a text as missing "
            f'with `missing="{texts[odd[0]]}"`, or drop the column with `drop="{name}"`.'
        )
        return Finding(name, "drop", "numbers and other text")
    if (several and not identifier) or ((several or identifier) and amounts.all()):
        faults.add(
            f'The column "{name}" contains {different:,} distinct texts, such as '
            f'"{texts[0][:40]}", which are too many categories. Write numbers with the same unit '
            f'or without units, group the texts, or drop the column with `drop="{name}"`.'
        )
        return Finding(name, "drop", "too many categories")
    if identifier:
        return Finding(name, "drop", f"an identifier: {different:,} distinct texts in {n:,} cells")
    why = f"{different} distinct texts" if different > 1 else CONSTANT
    return Finding(name, "category", why, names=ordered(texts))


def ordered(texts: Sequence[str]) -> tuple[str, ...]:
    """Sort texts as numbers if all are numbers, otherwise alphabetically."""
    if all(map(is_number, texts)):
        return tuple(sorted(texts, key=lambda text: (float(text), text)))
    return tuple(sorted(texts, key=lambda text: (text.lower(), text)))
