"""The last sections: limits; commands, settings that differ, where runs come from, and what went wrong."""

from __future__ import annotations

from html import escape

from pushforward.evaluation.results import Comparison
from pushforward.report import facts
from pushforward.report.differences import differences, failures, origins
from pushforward.report.limits import limits
from pushforward.report.markup import bullets, scrolled

__all__ = ["limits_section", "reproduce"]

ROWS = 12
"""Differing settings that are shown at once; a longer table is folded."""
NO_FAILURE = "No step of training was skipped, and no alarm was raised."


def limits_section(comparison: Comparison) -> str:
    """What the comparison cannot show, beside what its scores mean."""
    meanings = [
        f'<span class="name">{escape(comparison.info(metric).label)}.</span> {escape(info.what)}'
        for metric, info in comparison.metrics.items()
        if info.what
    ]
    columns = f"<div>{bullets('What it cannot show', [escape(limit) for limit in limits(comparison)])}</div>"
    columns += f"<div>{bullets('What the scores mean', meanings)}</div>" if meanings else ""
    return f'<div class="two">{columns}</div>'


def reproduce(comparison: Comparison) -> str:
    """Commands, settings and what went wrong."""
    commands = facts.commands(comparison)
    body = f'<div class="copyable"><pre>{escape(chr(10).join(commands))}</pre></div>' if commands else ""
    body += _differences(comparison) + _origins(comparison) + _facts(comparison)
    return body + _failures(comparison)


def _differences(comparison: Comparison) -> str:
    """A folded table where it is long."""
    parts = []
    for heading, table in differences(comparison):
        inner = scrolled(table, heading)
        if len(table.rows) > ROWS:
            parts.append(f"<details><summary>{heading} <span>{len(table.rows)} settings</span></summary>{inner}</details>")
        else:
            parts.append(f"<h3>{heading}</h3>{inner}")
    return f'<div class="settings">{"".join(parts)}</div>' if parts else ""


def _origins(comparison: Comparison) -> str:
    table = origins(comparison)
    if table is None:
        return ""
    entries = "".join(
        f'<h4>{escape(row.name)}</h4><dl class="small">'
        + "".join(
            f"<dt>{escape(column.label)}</dt><dd>{escape(cell.value)}</dd>"
            for column, cell in zip(table.columns, row.cells, strict=True)
            if cell.value != "–"
        )
        + "</dl>"
        for row in table.rows
    )
    return f"<details><summary>Where the runs come from <span>folder, commit, hashes</span></summary>{entries}</details>"


def _facts(comparison: Comparison) -> str:
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.facts(comparison))
    return f"<h3>Data, settings, machine</h3><dl>{entries}</dl>" if entries else ""


def _failures(comparison: Comparison) -> str:
    """What went wrong while models were trained, as the last thing on the page."""
    if not any(model.losses or model.health for model in comparison.models):
        return ""
    lines = [escape(line) for line in failures(comparison)] or [NO_FAILURE]
    return bullets("What went wrong", lines)
