"""The report as Markdown: verdict, scorecard, cost, commands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pushforward.evaluation.results import Comparison
from pushforward.report import facts, ladder, tables
from pushforward.report.captions import LEVEL_NOTE, TRAJECTORY_NOTE, cost_note, cost_notes
from pushforward.report.choosing import choices
from pushforward.report.costs import costs
from pushforward.report.differences import differences, failures
from pushforward.report.limits import limits
from pushforward.report.map_captions import ladder_note
from pushforward.report.score_notes import score_note
from pushforward.report.sentences import unmarked
from pushforward.report.sweep import HEADING, sweep_note, sweep_table
from pushforward.report.verdict import claims, remarks

__all__ = ["markdown"]


def markdown(comparison: Comparison) -> str:
    """The text of report.md.

    Args:
        comparison: What is reported.
    """
    parts = [f"# {escape(facts.title(comparison))}", escape(facts.subtitle(comparison))]
    parts.append(_listed(facts.VERDICT, [sentence.text for sentence in claims(comparison)]))
    parts.append(_listed(facts.KEEP_IN_MIND, [sentence.text for sentence in remarks(comparison)]))
    parts.append(_listed("Which of these models to choose", [unmarked(choice.text) for choice in choices(comparison)]))
    trained = sweep_table(comparison)
    parts.append("" if trained is None else f"## {HEADING}\n\n{_table(trained)}\n\n{sweep_note(comparison)}")
    for heading, table in tables.scorecards(comparison):
        parts.append(f"## Scores: {heading.lower()}\n\n{_table(table)}")
    parts.append(score_note(comparison, "in round brackets") if tables.scorecards(comparison) else "")
    parts += _ladders(comparison) + _trajectories(comparison)
    cost_tables = costs(comparison)
    parts += [f"## Cost: {heading.lower()}\n\n{_table(table)}" for heading, table in cost_tables]
    parts.append(cost_notes(comparison) if cost_tables else "")
    parts.append("## Limits\n\n" + "\n".join(f"- {escape(limit)}" for limit in limits(comparison)))
    commands = facts.commands(comparison)
    if commands:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", "\n".join(commands))), default=0))
        parts.append("## Reproduce\n\n" + f"{fence}sh\n" + "\n".join(commands) + f"\n{fence}")
    parts += [f"## {heading}\n\n{_table(table)}" for heading, table in differences(comparison)[:1]]
    parts.append(_listed("Failures", failures(comparison)))
    parts.append(_listed("Protocol and machine", [f"{name}: {value}" for name, value in facts.facts(comparison)]))
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _listed(heading: str, lines: Sequence[str]) -> str:
    """A heading over a list; empty where there is nothing to list."""
    return f"## {heading}\n\n" + "\n".join(f"- {escape(line)}" for line in lines) if lines else ""


def _ladders(comparison: Comparison) -> list[str]:
    parts = []
    for model in comparison.models:
        scores = ladder.table(comparison, model)
        if scores is not None and model.ladder is not None:
            how = escape(ladder.how(model.ladder))
            parts.append(f"## Few calls: {escape(model.name)}\n\n{_table(scores)}\n\n{how}")
    return [*parts, ladder_note(comparison)] if parts else []


def _trajectories(comparison: Comparison) -> list[str]:
    moving, levels = tables.trajectories(comparison), tables.levels(comparison)
    parts = []
    if moving is not None:
        parts += [f"## Trajectories\n\n{_table(moving)}", f"{TRAJECTORY_NOTE} {cost_note(comparison)}".strip()]
    if levels is not None:
        parts += [f"## Loss by noise level\n\n{_table(levels)}", f"Mean squared error ± its standard error. {LEVEL_NOTE}"]
    return parts


def escape(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone, on one line."""
    text = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text).replace("&", "&amp;")


def _table(table: tables.Table) -> str:
    lines: list[Sequence[str]] = [["", *(column.named for column in table.columns)]]
    lines += [[row.name, *(cell.flat for cell in row.cells)] for row in table.rows]
    written = ["| " + " | ".join(escape(cell) for cell in line) + " |" for line in lines]
    best = {(r, c) for r, row in enumerate(table.rows) for c, cell in enumerate(row.cells) if cell.best}
    for r in {r for r, _ in best}:
        cells = [f"**{escape(cell.flat)}**" if cell.best else escape(cell.flat) for cell in table.rows[r].cells]
        written[r + 1] = f"| {escape(table.rows[r].name)} | " + " | ".join(cells) + " |"
    return "\n".join([written[0], "|---" + "|--:" * len(table.columns) + "|", *written[1:]])
