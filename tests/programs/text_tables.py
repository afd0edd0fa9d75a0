"""Test cases in tables of text."""

import json


def cell_of(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def cases(table):
    """Parse one case per line, with cells between " | ": JSON values, or else plain text."""
    rows = []
    for line in table.strip().splitlines():
        cells = [cell_of(text.strip()) for text in line.split(" | ")]
        rows.append(cells)
    return rows
