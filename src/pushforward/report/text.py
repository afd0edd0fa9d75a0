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
NOTE = """Mean ± spread. * is ahead of every other by more than two spreads of the difference."""


def text(content: Mapping[str, Any]) -> str:
    """The verdict, then a table for each group of scores.

    Args:
        content: As `pushforward.report.report` describes.
    """
    cards = tables.scorecards(content)
    parts = [sentences(verdict(content)), *(f"{heading}\n{_table(table)}" for heading, table in cards)]
    if cards:
        parts.append(NOTE)
    return "\n\n".join(part for part in parts if part)


def sentences(found: Sequence[Sentence]) -> str:
    """One bullet for each sentence, wrapped."""
    return "\n".join(textwrap.fill(one.text, WIDTH, initial_indent="- ", subsequent_indent="  ") for one in found)


def _table(table: tables.Table) -> str:
    """Models in rows, or in columns where that is narrower; ratios are left out."""
    lines = [["", *(column.label for column in table.columns)]]
    lines += [[row.name, *(_short(cell) for cell in row.cells)] for row in table.rows]
    turned = [list(column) for column in zip(*lines, strict=True)]
    return min(_aligned(lines), _aligned(turned), key=lambda text: text.index("\n"))


def _short(cell: tables.Cell) -> str:
    return cell.value + (f" ± {cell.spread}" if cell.spread else "") + (" *" if cell.best else "")


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Names to the left, numbers to the right; every line has the same length."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
