"""The report as Markdown: verdict, scorecard, cost, commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.report import tables
from pushforward.report.captions import COST_NOTES, LEVEL_NOTE, TRAJECTORY_NOTE, cost_note, limits
from pushforward.report.words import verdict

__all__ = ["markdown"]


def markdown(content: Mapping[str, Any]) -> str:
    """The text of report.md.

    Args:
        content: As `pushforward.report.report` describes.
    """
    parts = [f"# {escape(tables.title(content))}", escape(tables.subtitle(content))]
    parts.append("## Verdict\n\n" + "\n".join(f"- {escape(one.text)}" for one in verdict(content)))
    for heading, table in tables.scorecards(content):
        parts.append(f"## Scores: {heading.lower()}\n\n{_table(table)}")
    parts.append(tables.score_note(content, "in brackets") if tables.scorecards(content) else "")
    parts += _trajectories(content)
    costs = tables.costs(content)
    parts += [f"## Cost: {heading.lower()}\n\n{_table(table)}" for heading, table in costs]
    parts.append(COST_NOTES if costs else "")
    parts.append("## Limits\n\n" + "\n".join(f"- {escape(one)}" for one in limits(content)))
    commands = tables.commands(content)
    if commands:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", "\n".join(commands))), default=0))
        parts.append("## Reproduce\n\n" + f"{fence}sh\n" + "\n".join(commands) + f"\n{fence}")
    facts = [f"- {escape(name)}: {escape(value)}" for name, value in tables.facts(content)]
    if facts:
        parts.append("\n".join(facts))
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _trajectories(content: Mapping[str, Any]) -> list[str]:
    moving, levels = tables.trajectories(content), tables.levels(content)
    parts = []
    if moving is not None:
        parts += [f"## Trajectories\n\n{_table(moving)}", f"{TRAJECTORY_NOTE} {cost_note(content)}".strip()]
    if levels is not None:
        parts += [f"## Loss by noise level\n\n{_table(levels)}", f"Mean squared error ± its standard error. {LEVEL_NOTE}"]
    return parts


def escape(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone, on one line."""
    text = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text).replace("&", "&amp;")


def _table(table: tables.Table) -> str:
    lines: list[Sequence[str]] = [["", *(column.label for column in table.columns)]]
    lines += [[row.name, *(cell.flat for cell in row.cells)] for row in table.rows]
    shown = ["| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines]
    best = {(r, c) for r, row in enumerate(table.rows) for c, cell in enumerate(row.cells) if cell.best}
    for r in {r for r, _ in best}:
        cells = [f"**{escape(cell.flat)}**" if cell.best else escape(cell.flat) for cell in table.rows[r].cells]
        shown[r + 1] = f"| {escape(table.rows[r].name)} | " + " | ".join(cells) + " |"
    return "\n".join([shown[0], "|---" + "|--:" * len(table.columns) + "|", *shown[1:]])
