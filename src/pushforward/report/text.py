"""Verdict and scores as plain text, within the width of a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from pushforward.evaluation.results import Comparison
from pushforward.report import ladder, tables
from pushforward.report.limits import without_pictures
from pushforward.report.sweep import HEADING, sweep_table
from pushforward.report.tables import Row, Table
from pushforward.report.verdict import verdict

__all__ = ["text"]

NARROW, WIDE = 60, 120
"""The least and the greatest width of the text."""
NO_NETWORK = "no network"
SHORTENED = 20
"""Longer names of models give way where a line is short."""


def text(comparison: Comparison, width: int | None = None) -> str:
    """The verdict, then a table for each group of scores.

    Args:
        comparison: What is reported.
        width: Characters in a line; None takes the terminal's, 80 where there is none, at most 120.
    """
    width = max(NARROW, min(WIDE, width or shutil.get_terminal_size((80, 24)).columns))
    findings = [sentence.text for sentence in verdict(comparison)]
    parts = ["\n".join(textwrap.fill(finding, width, initial_indent="- ", subsequent_indent="  ") for finding in findings)]
    trained = sweep_table(comparison)
    parts += [] if trained is None else [f"{HEADING}, a training for each line\n{_table(trained, width)}"]
    cards = tables.scorecards(comparison)
    parts += [f"{heading}\n{_table(table, width)}" for heading, table in cards]
    few = [(model.name, ladder.table(comparison, model)) for model in comparison.models]
    parts += [f"Few calls: {name}\n{_table(rungs, width)}" for name, rungs in few if rungs is not None]
    if any(cell.best for _, table in cards for row in table.rows for cell in row.cells):
        parts.append("* best, by more than noise")
    if cards:
        parts.append("\n".join(textwrap.wrap(tables.score_note(comparison), width)))
    parts.append("\n".join(textwrap.wrap(without_pictures(comparison), width)))
    return "\n\n".join(part for part in parts if part.strip())


def _table(table: Table, width: int) -> str:
    """Rows of models and columns of scores; columns that do not fit beside the others follow below."""
    names = ["", *map(_name, table.rows)]
    columns = []
    for i, column in enumerate(table.columns):
        scores = [row.cells[i] for row in table.rows]
        columns.append([column.label, *(f"{c.value}{c.beside}{' *' if c.best else '  '}" for c in scores)])
    longest = max(len(cell) for lines in columns for cell in lines)
    first = min(max(map(len, names)), max(SHORTENED, width // 4), max(12, width - longest - 2))
    blocks: list[list[list[str]]] = [[]]
    for cells in columns:
        if blocks[-1] and first + sum(2 + _wide(others) for others in [*blocks[-1], cells]) > width:
            blocks.append([])
        blocks[-1].append(cells)
    return "\n\n".join(
        _block([textwrap.shorten(name, first, placeholder="…") for name in names], block, first) for block in blocks
    )


def _name(row: Row) -> str:
    """The name of a row, short for the rows that are no models."""
    if row.kind == "floor":
        return "real data"
    return NO_NETWORK if row.kind == "baseline" and row.name.startswith(NO_NETWORK) else row.name


def _wide(column: Sequence[str]) -> int:
    return max(map(len, column))


def _block(names: Sequence[str], columns: Sequence[Sequence[str]], first: int) -> str:
    lines = []
    for i, name in enumerate(names):
        cells = [
            column[i].rjust(_wide(column)) if i else column[i].rstrip().rjust(_wide(column) - 2) + "  " for column in columns
        ]
        lines.append("  ".join([name.ljust(first), *cells]).rstrip())
    return "\n".join(lines)
