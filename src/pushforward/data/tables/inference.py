"""What the columns of a table hold, decided from their cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.category import TWO, Category
from pushforward.data.tables.dates import patterns
from pushforward.data.tables.faults import Faults, count
from pushforward.data.tables.format import Format
from pushforward.data.tables.frame_types import is_ordered
from pushforward.data.tables.number import Number
from pushforward.data.tables.numerals import (
    dress_of,
    form_of,
    is_code,
    is_number,
    is_whole,
    like_number,
    maybe_grouped,
    numbers,
    point_of,
    unclear,
    unit_of,
)
from pushforward.data.tables.raw import RawColumn
from pushforward.table_column import Column

__all__ = [
    "AS_TEXTS",
    "KINDS",
    "LIKE_IDENTIFIER",
    "MOST_CATEGORIES",
    "TOO_MANY",
    "Finding",
    "declared",
    "infer",
    "of_levels",
    "ordered",
]

KINDS = ("number", "whole", "ordinal", "date", "category", "boolean", "drop")
NUMERIC = ("number", "whole", "date")
MOST_CATEGORIES = 1000
TOO_MANY = f"more than {MOST_CATEGORIES:,} categories, taken as whole numbers; samples may hold others"
AS_TEXTS = 'taken as categories, of which samples hold no others: write the numbers alone, without "{}", for a column of numbers'
LIKE_IDENTIFIER = "whole numbers that look like an identifier: every value differs"
CONSTANT = "a constant: every value is the same"
FEW = 20
"""Whole numbers of at most so many different values are ordered categories."""
REPEATED = 5
"""How often each value of ordered categories must occur on average."""
IDENTIFIER_ROWS, IDENTIFIER_SHARE = 20, 0.95
"""A column of text is an identifier where at least so many rows and this share of them differ."""
MIXED = 0.5
"""A column of texts that holds more than this share of numbers holds numbers with errors among them."""
_NAMED_ID = re.compile(r"(?i:(^|[^a-z])(id|uuid)$)|[a-z]I[dD]$")
"""The ends of names such as id, customer_id and customerId."""
CODES = 0.01
"""Numbers beside at least this share of texts such as 007, which a number would lose, are texts as well."""


@dataclass(frozen=True)
class Finding:
    """What a column holds.

    Args:
        name: The column's name.
        kind: One of `KINDS`; "drop" for a column that is left out.
        why: The reason, in words.
        form: How numbers and dates are written.
        names: The texts of categories, in their order.
        rounds: How many cells hold numbers of more digits than a schema leaves them; they are rounded.
    """

    name: str
    kind: str
    why: str = ""
    form: Format = Format()
    names: tuple[str, ...] = ()
    rounds: int = 0

    @property
    def numeric(self) -> bool:
        """Whether values are numbers or dates, in place of numbers of categories."""
        return self.kind in NUMERIC

    def values(self, column: RawColumn, missing: Sequence[str]) -> NDArray[np.float64]:
        """The values of a column's cells, NaN where they are missing or unknown."""
        texts, places = np.full(len(column.texts), np.nan), column.present(missing)
        if self.numeric:
            texts[places] = [self.form.value(column.texts[place]) for place in places]
            texts[places] = (self.form.rounded(texts[places]) if self.rounds else texts[places]) + 0.0
        else:
            known = {name: float(number) for number, name in enumerate(self.names)}
            texts[places] = [known.get(column.texts[place], np.nan) for place in places]
        return column.numbered(texts)

    def measured(self, values: NDArray[np.float64], missing: bool = False) -> Column:
        """The column of training values, float64 (n,); ``missing`` says whether others may be missing where none of them is."""
        if self.numeric:
            return Number.measured(self.name, values, self.kind, self.form, missing)
        return Category.measured(self.name, values, self.names, self.kind, missing)


def infer(column: RawColumn, missing: Sequence[str], lines: Sequence[int], faults: Faults) -> Finding:
    """Decide what a column holds.

    Args:
        column: Its cells.
        missing: Texts that mean that there is no value.
        lines: The line of each row, for messages.
        faults: Notes what is wrong with it.
    """
    places = column.present(missing)
    texts, n = [column.texts[place] for place in places], int(column.counts[places].sum())
    if not texts:
        return Finding(column.name, "category", "every cell is missing; samples leave it empty")
    if len(texts) == 2 and tuple(sorted(text.lower() for text in texts)) in TWO:
        return Finding(column.name, "boolean", "two values that mean no and yes", names=ordered(texts))
    if not any(map(like_number, texts)):
        return _of_dates_or_texts(column, places, [False] * len(texts), lines, faults)
    dress = dress_of(texts)
    plain = [dress.plain(text) for text in texts]
    point = point_of(dress, plain)
    numeric = [is_number(text, point) for text in plain]
    if all(numeric):
        _check_commas(column.name, texts, dress, faults)
        return _of_numbers(column, plain, n, replace(dress, point=point), n == len(column.codes))
    return _of_dates_or_texts(column, places, numeric, lines, faults)


def declared(finding: Finding, column: RawColumn, missing: Sequence[str], kind: str) -> Finding:
    """What a column of a frame holds whose type says that whole numbers are categories.

    Args:
        finding: What its cells say.
        column: Its cells.
        missing: Texts that mean that there is no value.
        kind: Its type, as `frame_types.type_of` writes it.
    """
    if finding.kind != "whole" or "category:" not in kind:
        return finding
    texts = [column.texts[place] for place in column.present(missing)]
    if len(texts) > MOST_CATEGORIES:
        return replace(finding, why=TOO_MANY)
    why = f"{len(texts)} categories of the frame"
    return Finding(column.name, "ordinal" if is_ordered(kind) else "category", why, names=ordered(texts))


def of_levels(column: RawColumn, levels: Sequence[str], missing: Sequence[str]) -> Finding | None:
    """What an ordered category of a data frame holds: those of its levels that occur, in their order.

    None where its cells are not its levels, or where there are none or more than `MOST_CATEGORIES`.

    Args:
        column: Its cells.
        levels: The texts of its levels, in their order.
        missing: Texts that mean that there is no value.
    """
    present = {column.texts[place] for place in column.present(missing)}
    names = tuple(dict.fromkeys(level for level in levels if level in present))
    if set(names) != present or not 0 < len(names) <= MOST_CATEGORIES:
        return None
    return Finding(column.name, "ordinal", "an ordered category of the frame, in its order", names=names)


def _of_dates_or_texts(
    column: RawColumn, places: Sequence[int], numeric: Sequence[bool], lines: Sequence[int], faults: Faults
) -> Finding:
    """A column that does not hold numbers alone."""
    if not any(numeric) and (fitting := patterns([column.texts[place] for place in places])):
        other = f"; {fitting[1]} fits as well" if len(fitting) > 1 else ""
        return Finding(column.name, "date", f"dates of the pattern {fitting[0]}{other}", Format(pattern=fitting[0]))
    return _of_texts(column, places, numeric, lines, faults)


def _check_commas(name: str, texts: Sequence[str], dress: Format, faults: Faults) -> None:
    """Note commas that may separate thousands or decimals."""
    if dress.group == "," and (bare := unclear(texts)):
        comma = next(text for text in texts if "," in text)
        faults.add(
            f'the column "{name}" holds "{comma}" and "{bare}": the comma may separate thousands or decimals. Write all numbers '
            f'in one way, or say it in the schema: {{"kind": "number", "group": ","}} or {{"kind": "number", "point": ","}}.'
        )


def _of_numbers(column: RawColumn, texts: Sequence[str], n: int, dress: Format, whole_column: bool) -> Finding:
    """A column of numbers, from texts without separators of thousands and plus signs."""
    name, different = column.name, len(texts)
    signs = {",": "commas", ".": "points", "'": "apostrophes"}.get(dress.group, "blanks")
    whole = all(map(is_whole, texts))
    more = ", with a decimal comma" * (dress.point == "," and not whole) + f", with {signs} between thousands" * bool(dress.group)
    if not whole:
        form = replace(form_of(texts, dress.point), group=dress.group, plus=dress.plus)
        either = '; if the points separate thousands: "group": "." in the schema' if maybe_grouped(texts, dress) else ""
        return Finding(name, "number", f"numbers of up to {_digits(form)}{more}{either}", form)
    if dress.group or dress.plus:
        return Finding(name, "whole", f"whole numbers{more}{', with plus signs' * dress.plus}", replace(dress, decimals=0))
    if whole_column and different == n > FEW:
        return _of_different(name, np.diff(numbers(texts)[column.codes]))
    if different <= FEW and n >= REPEATED * different:
        why = f"{different} different whole numbers, taken as ordered categories" if different > 1 else CONSTANT
        return Finding(name, "ordinal", why, names=ordered(texts))
    return Finding(name, "whole", "whole numbers", Format(0))


def _of_different(name: str, steps: NDArray[np.float64]) -> Finding:
    """A column of whole numbers that all differ: an identifier where they count up or down, and perhaps one where they have gaps.

    Args:
        name: Of the column.
        steps: From row to row, (n - 1,).
    """
    if (steps == 1).all() or (steps == -1).all():
        return Finding(name, "drop", "an identifier: whole numbers that count up from row to row")
    if (steps > 0).all() or (steps < 0).all():
        why = f"{LIKE_IDENTIFIER}, and they {'rise' if steps[0] > 0 else 'fall'} from row to row"
        return Finding(name, "whole", why, Format(0))
    if _NAMED_ID.search(name):
        return Finding(name, "whole", f"{LIKE_IDENTIFIER}, and its name says so", Format(0))
    return Finding(name, "whole", "whole numbers", Format(0))


def _digits(form: Format) -> str:
    count = form.digits if form.decimals is None else form.decimals
    return f"{count} {'significant digit' if form.decimals is None else 'decimal'}{'s' * (count != 1)}"


def _of_texts(column: RawColumn, places: Sequence[int], numeric: Sequence[bool], lines: Sequence[int], faults: Faults) -> Finding:
    """A column that holds text."""
    name, counts = column.name, column.counts[list(places)]
    n, different, are = int(counts.sum()), len(places), np.array(numeric)
    identifier = n > IDENTIFIER_ROWS and different >= IDENTIFIER_SHARE * n
    several = different > MOST_CATEGORIES
    odd = [place for place, number in zip(places, numeric, strict=True) if not number]
    codes = all(is_code(column.texts[place]) for place in odd) and counts[~are].sum() >= CODES * n and not (identifier or several)
    if (cells := counts[are].sum()) > MIXED * n and are.sum() > min(FEW, cells / 2) and not codes:
        hint = f'; or say that this is a missing value: `missing="{column.texts[odd[0]]}"`' if len(odd) == 1 else ""
        faults.add(
            f'the column "{name}" holds numbers, and {count(int(counts[~are].sum()), "cell")} of other text: '
            f'{column.where(odd, lines)}. Correct or remove these rows{hint}; or drop the column: `drop="{name}"`.'
        )
        return Finding(name, "drop", "numbers with other text among them")
    if (identifier or several) and (unit := unit_of([column.texts[place] for place in places])):
        faults.add(
            f'the column "{name}" holds numbers with "{unit}", such as "{column.texts[places[0]][:40]}", too many categories. '
            f'Write the numbers alone; or drop the column: `drop="{name}"`.'
        )
        return Finding(name, "drop", f'numbers with "{unit}"')
    if identifier:
        alike = "every cell is another text" if different == n else f"{different:,} different texts in {n:,} cells"
        return Finding(name, "drop", f"an identifier: {alike}")
    if several:
        faults.add(
            f'the column "{name}" holds {different:,} different texts, more than {MOST_CATEGORIES:,} categories, such as '
            f'"{column.texts[places[0]][:40]}". Drop it: `drop="{name}"`; or write groups of them into the file.'
        )
        return Finding(name, "drop", "too many categories")
    texts = [column.texts[place] for place in places]
    why = f"{different} different texts" if different > 1 else CONSTANT
    if different > FEW and n < REPEATED * different and (unit := unit_of(texts)):
        why += f", {AS_TEXTS.format(unit)}"
    return Finding(name, "category", why, names=ordered(texts))


def ordered(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts in the order of their numbers, where all are numbers, else of the alphabet."""
    if all(map(is_number, texts)):
        return tuple(sorted(texts, key=lambda text: (float(text), text)))
    return tuple(sorted(texts, key=lambda text: (text.lower(), text)))
