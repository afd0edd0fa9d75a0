"""Whether the first line of a table holds column names or data, decided column by column.

Each cell of the first line is compared with the cells below it. Certain signs:

* a name: text over a column of numbers;
* data: a number with a fraction, a sign or an exponent over a column of numbers, or text that occurs again below.

One text that occurs again below is no sign beside two certain names.

Probable signs, which count where there is no certain one:

* a name: text over a column of repeated texts that it does not equal;
* data: a whole number within the range of the column.

Whole numbers that count up (0, 1, 2 or 2019, 2020) over numbers with fractions are no sign, and are names where nothing else
speaks against it; so are 0, 1, 2, ..., which pandas writes over columns without names. Both are data as likely where all their
columns rise from them on. Where signs of one strength contradict each other, or there is no sign, the answer is None.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

__all__ = ["has_header"]

YEARS = range(1800, 2201)
"""Whole numbers that may be years."""
ROWS = 2000
"""How many rows below the first line are looked at."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "."})
"""How tables write that there is no value, in lower case."""


def has_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool | None:
    """Whether a table's first line holds the names of its columns.

    Args:
        first: The cells of the first line.
        rows: The rows below it, each of as many cells; the first `ROWS` of them are looked at.

    Returns:
        True for names, False for data, None where both are possible.
    """
    cells, rows = [cell.strip() for cell in first], list(rows[:ROWS])
    if not rows:
        return any(_number(cell) is None for cell in cells)
    whole = [int(cell) for cell in cells if cell.isdecimal()]
    counted = _counted(whole)
    evidence = [_sign(cell, [row[i].strip() for row in rows], counted) for i, cell in enumerate(cells)]
    outweighed = evidence.count("name") >= 2 and evidence.count("repeated") == 1
    signs = {sign if sign != "repeated" else "" if outweighed else "data" for sign in evidence}
    for name, data in (("name", "data"), ("name?", "data?")):
        if name in signs and data in signs:
            return None
        if name in signs:
            return True
        if data == "data?" and data in signs and counted:
            return True if whole[0] == 0 and len(whole) >= 3 and not _continued(cells, rows) else None
        if data in signs:
            return False
    return True if not whole or (counted and _usual(whole) and not _continued(cells, rows)) else None


def _usual(numbers: Sequence[int]) -> bool:
    """Whether rising numbers are such as name columns: 0, 1, 2, ... or 1, 2, 3, ..., or years."""
    return (numbers[0] in (0, 1) and numbers[1] == numbers[0] + 1) or all(number in YEARS for number in numbers)


def _continued(cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether whole numbers of the first line begin columns that rise, as an index of time does, so that they may be data."""
    for i, cell in enumerate(cells):
        column = [value for value in (_number(row[i]) for row in rows) if value is not None]
        if cell.isdecimal() and any(b < a for a, b in itertools.pairwise([int(cell), *column])):
            return False
    return True


def _sign(cell: str, column: Sequence[str], counted: bool) -> str:
    """The evidence of a cell for its line: "name", "data" ("repeated" if text), "name?" or "data?" (probably), or none."""
    below = [other for other in column if other.lower() not in MISSING]
    if cell.lower() in MISSING or not below:
        return ""
    number, numbers = _number(cell), [value for value in map(_number, below) if value is not None]
    if len(numbers) < len(below):  # a column of text
        repeated = len(set(below)) <= max(1, len(below) // 2)
        return "repeated" if cell in below else "name?" if number is None and repeated else ""
    if number is None:
        return "name"
    if not cell.isdecimal():
        return "data"
    fractions = not all(other.lstrip("+-").isdecimal() for other in below)
    return "data?" if min(numbers) <= number <= max(numbers) and not (counted and fractions) else ""


def _counted(numbers: Sequence[int]) -> bool:
    """Whether two or more numbers rise by one step, as column numbers and years do."""
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    return len(steps) == 1 and min(steps) > 0


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if math.isnan(value) else value
