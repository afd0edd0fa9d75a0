"""Verdict and scores as plain text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.report import tables
from pushforward.report.readings import Sentence
from pushforward.report.words import verdict

__all__ = ["sentences", "text"]

WIDTH = 100


def text(content: Mapping[str, Any]) -> str:
    """The verdict, then a table for each group of scores.

    Args:
        content: As `pushforward.report.report` describes.
    """
    cards = tables.scorecards(content)
    parts = [sentences(verdict(content)), *(f"{heading}\n{_table(table)}" for heading, table in cards)]
    if cards:
        parts.append("\n".join(textwrap.wrap(tables.score_note(content), WIDTH)))
    return "\n\n".join(part for part in parts if part)


def sentences(found: Sequence[Sentence]) -> str:
    """One bullet for each sentence, wrapped."""
    return "\n".join(textwrap.fill(one.text, WIDTH, initial_indent="- ", subsequent_indent="  ") for one in found)


def _table(table: tables.Table) -> str:
    lines = [["", *(column.label for column in table.columns)]]
    lines += [[row.name, *(cell.flat + (" *" if cell.best else "") for cell in row.cells)] for row in table.rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    best = any(cell.best for row in table.rows for cell in row.cells)
    shown = ["  ".join(_padded(line, widths)) for line in lines]
    return "\n".join(line.rstrip() for line in [*shown, *(["* best"] if best else [])])


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
