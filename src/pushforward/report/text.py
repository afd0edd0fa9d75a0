"""Verdict and scores, or the scores of one model, as plain text within the width of a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

from pushforward.evaluation.results import Comparison
from pushforward.numbers import shortened
from pushforward.report import ladder, latent, tables
from pushforward.report.bars import has_intervals, samplings
from pushforward.report.choosing import choices
from pushforward.report.facts import CODES, KEEP_IN_MIND, LIMITS, VERDICT
from pushforward.report.limits import noise_limits, without_pictures
from pushforward.report.map_captions import ladder_note
from pushforward.report.score_notes import score_note
from pushforward.report.sentences import unmarked
from pushforward.report.sweep import HEADING, sweep_table
from pushforward.report.tables import NO_NETWORK, Row, Table
from pushforward.report.verdict import verdict
from pushforward.report.warnings import warnings

__all__ = ["bullets", "line_width", "score_parts", "scores_text", "text", "wrapped"]

READING = "How to read the scores"
"""Heading of the notes below the tables, which the page has beside them."""
NARROW, WIDE = 60, 120
"""The least and the greatest width of the text."""
SHORTENED = 20
"""Longer names of models give way where a line is short."""


def text(comparison: Comparison, width: int | None = None) -> str:
    """The verdict, which model to choose, a table for each group of scores, and the differences that they can show.

    Args:
        comparison: What is reported.
        width: Characters in a line; None takes the terminal's, 80 where there is none, at most 120.
    """
    width = line_width(width)
    findings = bullets((sentence.text for sentence in verdict(comparison)), width)
    trained = sweep_table(comparison)
    sweep = [] if trained is None else [f"{HEADING}, a training for each line\n{_table(trained, width)}"]
    chosen = bullets((unmarked(choice.text) for choice in choices(comparison)), width)
    which = f"Which of these models to choose\n{chosen}" if chosen else ""
    parts = [findings, which, *sweep, *score_parts(comparison, width), _limits(comparison, width)]
    return "\n\n".join(part for part in parts if part.strip())


def _limits(comparison: Comparison, width: int) -> str:
    """How far apart two models must be at least, and which models' samples are not shown; empty where there is neither."""
    parts = [wrapped(without_pictures(comparison), width)]
    if len(comparison.models) > 1:
        parts = [wrapped(noise_limits(comparison), width), *parts]
    body = "\n\n".join(part for part in parts if part)
    return f"{LIMITS}\n{body}" if body else ""


def line_width(width: int | None = None) -> int:
    """Characters in a line: as given, else the terminal's, 80 where there is none; from 60 to 120."""
    return max(NARROW, min(WIDE, width or shutil.get_terminal_size((80, 24)).columns))


def bullets(sentences: Iterable[str], width: int) -> str:
    """Sentences as a list."""
    return "\n".join(textwrap.fill(text, width, initial_indent="- ", subsequent_indent="  ") for text in sentences)


def wrapped(sentence: str, width: int) -> str:
    """A paragraph."""
    return "\n".join(textwrap.wrap(sentence, width))


def score_parts(comparison: Comparison, width: int) -> list[str]:
    """The tables of scores as paragraphs, those of few calls, and how to read them.

    Several models are rows, and scores are columns. Of a single model the scores are the rows, so that all fit below each other.

    Args:
        comparison: What is reported.
        width: Characters in a line.
    """
    cards = tables.scorecards(comparison)
    single = len(comparison.models) == 1
    parts = [f"{heading}\n{_table(tables.turned(table) if single else table, width)}" for heading, table in cards]
    parts += _few_calls(comparison, width)
    meanings = [f"{arrow} {meaning}" for arrow, meaning in tables.ARROWS.items() if any(arrow in part for part in parts)]
    notes = [wrapped("; ".join(meanings), width)]
    if any(cell.best for _, table in cards for row in table.rows for cell in row.cells):
        notes.append("* best, by more than noise")
    if cards:
        notes.append(wrapped(score_note(comparison, "under “ratio”" if single else ""), width))
    body = "\n".join(note for note in notes if note)
    return [*parts, f"{READING}\n{body}"] if body else parts


def _few_calls(comparison: Comparison, width: int) -> list[str]:
    """The table of each map between two times, how it was measured, and how to read it."""
    parts = []
    for model in comparison.models:
        rungs = ladder.table(comparison, model)
        if rungs is not None and model.ladder is not None:
            block = _table(rungs.filled, width)
            how = wrapped(ladder.how(model.ladder, comparison.settings if has_intervals(comparison) else None), width)
            parts.append(f"Few calls: {model.name}\n{block}\n{how}")
    return [*parts, wrapped(ladder_note(comparison), width)] if parts else []


def _table(table: Table, width: int) -> str:
    """Rows and columns of scores; columns that do not fit beside the others follow below."""
    names = ["", *map(_name, table.rows)]
    signed = any(cell.best for row in table.rows for cell in row.cells)
    columns = [_lines(table, at, signed) for at in range(len(table.columns))]
    longest = max(len(cell) for lines in columns for cell in lines)
    most = width // 2 if any(row.kind in ("score", "key") for row in table.rows) else max(SHORTENED, width // 4)
    room = min(max(map(len, names)), most, max(12, width - longest - 2))
    worded = any(row.kind in ("score", "key", "calls") for row in table.rows)
    short = [textwrap.fill(name, room, subsequent_indent="  ") for name in names] if worded else shortened(names, room)
    first = max(len(line) for name in short for line in name.split("\n"))
    blocks: list[list[list[str]]] = [[]]
    for together in _together(table, columns, width - first):
        if blocks[-1] and _across([*blocks[-1], *together]) > width - first:
            blocks.append([])
        blocks[-1] += together
    return "\n\n".join(_block(short, block, first) for block in blocks)


def _lines(table: Table, at: int, signed: bool) -> list[str]:
    """The heading and the cells of one column."""
    cells = [row.cells[at] for row in table.rows]
    signs = [(" *" if cell.best else "  ") if signed else "" for cell in cells]
    values = [f"{cell.value}{cell.beside}{sign}" for cell, sign in zip(cells, signs, strict=True)]
    return [table.columns[at].named + ("  " if signed else ""), *values]


def _together(table: Table, columns: Sequence[list[str]], width: int) -> list[list[list[str]]]:
    """Columns with those that are paired with them, as far as these fit beside each other."""
    groups: list[list[list[str]]] = []
    for column, lines in zip(table.columns, columns, strict=True):
        if groups and column.paired and _across([*groups[-1], lines]) <= width:
            groups[-1].append(lines)
        else:
            groups.append([lines])
    return groups


def _across(columns: Sequence[Sequence[str]]) -> int:
    return sum(2 + _wide(lines) for lines in columns)


def _name(row: Row) -> str:
    """The name of a row, short for the rows that are no models."""
    if row.kind == "floor":
        return "real data"
    if row.kind == "baseline" and row.name.startswith(NO_NETWORK):
        return NO_NETWORK
    return row.name


def _wide(column: Sequence[str]) -> int:
    return max(map(len, column))


def _block(names: Sequence[str], columns: Sequence[Sequence[str]], first: int) -> str:
    lines = []
    for i, name in enumerate(names):
        cells = [column[i].rjust(_wide(column)) for column in columns]
        head, *rest = name.split("\n")
        lines += ["  ".join([head.ljust(first), *cells]).rstrip(), *rest]
    return "\n".join(lines)


def scores_text(comparison: Comparison, width: int | None = None) -> str:
    """The tables of the only model's scores, as a report's text has them, what its codes hold, then the warnings.

    Args:
        comparison: Of one model.
        width: Characters in a line; None takes the terminal's, 80 where there is none, at most 120.
    """
    width = line_width(width)
    footing = (wrapped(line, width) for line in _footing(comparison))
    noted = {
        CODES: wrapped(_codes(comparison), width),
        VERDICT: bullets((claim.text for claim in ladder.claims(comparison)), width),
        KEEP_IN_MIND: bullets((sentence.text for sentence in warnings(comparison)), width),
    }
    parts = [*score_parts(comparison, width), *footing, *(f"{heading}\n{body}" for heading, body in noted.items() if body)]
    return "\n\n".join(part for part in parts if part)


def _codes(comparison: Comparison) -> str:
    """What a model's codes hold; nothing for a model without any."""
    statistics = latent.table(comparison)
    if statistics is None:
        return ""
    cells = [f"{column.label} {cell.value}" for column, cell in zip(statistics.columns, statistics.rows[0].cells, strict=True)]
    return f"Of held-out examples: {', '.join(cells)}"


def _footing(comparison: Comparison) -> list[str]:
    """How the numbers of the table were computed."""
    settings, bits = comparison.settings, comparison.models[0].scores.get("bpd")
    lines = []
    if settings.features:
        lines.append(
            f"n = {settings.n} on either side, {samplings(comparison)}; features: {settings.features}. There is no ratio where "
            "real data's score is below 0 or within two of its spreads of 0."
        )
    if bits is not None:
        beside = "".join(f"; no network: {guess.name}" for guess in comparison.guesses)
        lines.append(f"bits per dimension: {bits.extra['how']}, over {bits.n:,} held-out examples{beside}")
    return lines
