"""Cases of tests and series of numbers, written as text."""

import ast
import re

import pytest


def cases(text):
    """Parametrize a test with the rows of a table, whose first line names the parameters.

    At least two blanks separate columns. A cell is a Python literal or else plain text; from # on
    a line is a comment.
    """
    header, *lines = text.strip().splitlines()
    return pytest.mark.parametrize(_cells(header), rows_of("\n".join(lines)))


def rows_of(text):
    """The rows of a table without a first line of names."""
    rows = []
    for line in text.strip().splitlines():
        rows.append(tuple(map(_value, _cells(line))))
    return rows


def series(text):
    """The numbers of a series: ``3x8 2x0.5,1`` stands for 8, 8, 8, 0.5, 1, 0.5, 1."""
    numbers = []
    for part in text.split():
        count, _, period = part.rpartition("x")
        numbers += int(count or 1) * ast.literal_eval(f"[{period}]")
    return numbers


def _cells(line):
    content = re.sub(r"\s+# .*", "", line)
    return re.split(r"\s{2,}", content.strip())


def _value(cell):
    try:
        return ast.literal_eval(cell)
    except (SyntaxError, ValueError):
        return cell
