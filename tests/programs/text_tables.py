"""Cases of tests and series of numbers, written as text."""

import ast
import contextlib
import json
import re

import pytest


def cases(text):
    """Parametrize a test with the rows of a table, whose first line names the parameters."""
    header, *lines = text.strip().splitlines()
    return pytest.mark.parametrize(_cells(header), read_cases("\n".join(lines)))


def read_cases(text):
    """Read one case per line, whose cells are separated by bars or by at least two blanks.

    A cell is a Python or JSON literal, or else plain text; from # on a line is a comment.
    """
    rows = []
    for line in text.strip().splitlines():
        rows.append(tuple(map(_value, _cells(line))))
    return rows


def read_texts(text):
    """Read one case per line, whose cells are separated by bars, as plain texts."""
    rows = []
    for line in text.strip().splitlines():
        cells = line.split("|")
        rows.append([cell.strip() for cell in cells])
    return rows


def series(text):
    """The numbers of a series: ``3x8 2x0.5,1`` stands for 8, 8, 8, 0.5, 1, 0.5, 1."""
    numbers = []
    for part in text.split():
        count, _, period = part.rpartition("x")
        numbers += int(count or 1) * ast.literal_eval(f"[{period}]")
    return numbers


def _cells(line):
    content = re.sub(r"\s+# .*", "", line).strip()
    if " | " in content:
        return [cell.strip() for cell in content.split(" | ")]
    return re.split(r"\s{2,}", content)


def _value(cell):
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(SyntaxError, ValueError):
            return read(cell)
    return cell
