"""A comparison as plain text within the width of a terminal, in short or in full, and as Markdown."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from pushforward.evaluation.results import Comparison
from pushforward.numbers import shortened
from pushforward.report import facts, ladder, tables
from pushforward.report.findings import findings, standings
from pushforward.report.statistics import sampled
from pushforward.report.tables import ARROWS, NO_NETWORK, Row, Table

NARROW, WIDE = 60, 120  # The least and the greatest width of the text
LINES = 25  # Of the short text at most


def text(comparison: Comparison, full: bool = False, width: int | None = None) -> str:
    """A sentence for each model and one table; in full also all findings, scores and limits.

    Args:
        comparison: What is reported.
        full: Whether nothing is left out; the short text has 25 lines at most.
        width: Characters in a line; None takes the terminal's, 80 where there is none, from 60 to 120.
    """
    width = max(NARROW, min(WIDE, width or shutil.get_terminal_size((80, 24)).columns))
    return _full(comparison, width) if full else _short(comparison, width)


def _short(comparison: Comparison, width: int) -> str:
    said, table = [*standings(comparison).values()], tables.summary(comparison)
    rows = table.rows[: LINES - 12]
    drawn = _table(Table(table.columns, rows), width, wrap=False).split("\n") if rows else []
    warned = sum(finding.kind != "verdict" for finding in findings(comparison))
    room = LINES - len(drawn) - 5
    lines: list[str] = []
    for number, sentence in enumerate(said):
        more = textwrap.wrap(sentence, width, initial_indent="- ", subsequent_indent="  ")
        if len(lines) + len(more) > room:
            lines.append(f"- further models: {len(said) - number}")
            break
        lines += more
    left_out = f"further rows: {len(table.rows) - len(rows)}; " if len(rows) < len(table.rows) else ""
    return "\n".join([*lines, "", *drawn, "", f"{left_out}warnings: {warned}; all: `full=True`"])


def _full(comparison: Comparison, width: int) -> str:
    found, single = findings(comparison), len(comparison.models) == 1
    parts = [_bullets(standings(comparison).values(), width)]
    for heading, kinds in (("Verdict", ("verdict",)), ("What to keep in mind", ("measure", "warning"))):
        said = [finding.text for finding in found if finding.kind in kinds]
        parts += [f"{heading}\n{_bullets(said, width)}"] if said else []
    cards = [*tables.scorecards(comparison)]
    cards = [(heading, tables.turned(card).filled if single else card) for heading, card in cards]
    others = {"Quality against the time of training": tables.sweep_table(comparison), "Codes": tables.codes(comparison)}
    others |= {f"Few calls: {m.name}": ladder.ladder_table(comparison, m) for m in comparison.models}
    parts += [f"{heading}\n{_table(table, width)}" for heading, table in [*cards, *others.items()] if table is not None]
    arrows = [f"{arrow} {meaning}" for arrow, meaning in ARROWS.items() if any(arrow in part for part in parts)]
    signs = [*arrows, "* best, by more than noise", f"[low, high] 95 % interval; {sampled(comparison)}"]
    parts += [f"How to read the scores\n{_bullets(signs, width)}"] if cards else []
    parts.append(f"Limits of this comparison\n{_bullets(facts.limits(comparison), width)}")
    return "\n\n".join(part for part in parts if part)


def _bullets(sentences: Iterable[str], width: int) -> str:
    return "\n".join(textwrap.fill(text, width, initial_indent="- ", subsequent_indent="  ") for text in sentences)


def _table(table: Table, width: int, wrap: bool = True) -> str:
    """Rows and columns; columns that do not fit beside the others follow below, or with ``wrap`` False are left out."""
    names = shortened(["", *map(_name, table.rows)], max(20, width // 3))
    first = max(map(len, names))
    blocks: list[list[list[str]]] = [[]]
    for at, column in enumerate(table.columns):
        cells = [row.cells[at] for row in table.rows]
        lines = [column.named, *(f"{cell.value}{cell.beside}{' *' if cell.best else ''}" for cell in cells)]
        wide = max(map(len, lines))
        if blocks[-1] and first + sum(2 + len(lines[0]) for lines in blocks[-1]) + 2 + wide > width:
            if not wrap:
                break
            blocks.append([])
        blocks[-1].append([line.rjust(wide) for line in lines])
    return "\n\n".join(
        "\n".join("  ".join([name.ljust(first), *(lines[i] for lines in block)]).rstrip() for i, name in enumerate(names))
        for block in blocks
    )


def _name(row: Row) -> str:
    """The name of a row, short for the row without a network."""
    return NO_NETWORK if row.kind == "baseline" and row.name.startswith(NO_NETWORK) else row.name


# Markdown -------------------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """The text of report.md."""
    found = findings(comparison)
    parts = [f"# {escape(facts.title(comparison))}", escape(facts.subtitle(comparison))]
    parts.append(_listed("", standings(comparison).values()))
    parts.append(_listed("Verdict", [finding.text for finding in found if finding.kind == "verdict"]))
    parts.append(_listed("What to keep in mind", [finding.text for finding in found if finding.kind != "verdict"]))
    titled = {"Quality against the time of training": tables.sweep_table(comparison)}
    titled |= {f"Scores: {heading.lower()}": card for heading, card in tables.scorecards(comparison)}
    titled |= {f"Few calls: {model.name}": ladder.ladder_table(comparison, model) for model in comparison.models}
    titled |= {"Trajectories": tables.trajectories(comparison), "Loss by noise level": tables.levels(comparison)}
    titled |= {f"Cost: {heading.lower()}": table for heading, table in tables.costs(comparison)}
    titled |= {"Settings that differ": tables.differences(comparison)}
    parts += [f"## {escape(heading)}\n\n{_rows(table)}" for heading, table in titled.items() if table is not None]
    parts.append(_listed("Limits", facts.limits(comparison)))
    lines = "\n".join(facts.commands(comparison))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", lines)), default=0))
    parts.append(f"## Reproduce\n\n{fence}sh\n{lines}\n{fence}" if lines else "")
    parts.append(_listed("Failures", facts.failures(comparison)))
    parts.append(_listed("Protocol and machine", [f"{name}: {value}" for name, value in facts.facts(comparison)]))
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _listed(heading: str, lines: Iterable[str]) -> str:
    """A heading over a list; empty where there is nothing to list."""
    items = "\n".join(f"- {escape(line)}" for line in lines)
    return f"## {heading}\n\n{items}" if items and heading else items


def escape(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split())).replace("&", "&amp;")


def _rows(table: Table) -> str:
    lines: list[Sequence[str]] = [["", *(escape(column.named) for column in table.columns)]]
    for row in table.rows:
        cells = [(escape(cell.flat), cell.best) for cell in row.cells]
        lines.append([escape(row.name), *(f"**{cell}**" if best else cell for cell, best in cells)])
    lines.insert(1, ["---", *["--:"] * len(table.columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
