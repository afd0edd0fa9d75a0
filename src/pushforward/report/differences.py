"""The settings in which the compared runs differ, and what their folders say of where they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pushforward.evaluation.results import Comparison
from pushforward.numbers import counted
from pushforward.report.sentences import unmarked
from pushforward.report.tables import Cell, Column, Row, Table

__all__ = ["differences", "failures", "origins"]

PARTS = "method"
"""The setting that holds networks and paths, whose names fill a table of their own."""
LONGEST = 60
"""Characters of a value that are shown."""


def differences(comparison: Comparison) -> list[tuple[str, Table]]:
    """The settings that are not the same for all models, one a row; of training first, then of method and networks.

    Nothing where fewer than two models say with which settings they were trained.
    """
    flat = {model.name: dict(_leaves(model.config)) for model in comparison.models if model.config}
    if len(flat) < 2:
        return []
    keys = dict.fromkeys(key for leaves in flat.values() for key in leaves)
    unlike = [key for key in keys if len({leaves.get(key) for leaves in flat.values()}) > 1]
    inner = [key for key in unlike if key.startswith(f"{PARTS}.")]
    tables = (
        ("Settings that differ", [key for key in unlike if key not in inner]),
        ("Method and networks: what differs", inner),
    )
    columns = [Column(name) for name in flat]
    return [
        (heading, Table(columns, [Row(key, [Cell(leaves.get(key, "–")) for leaves in flat.values()], "key") for key in rows]))
        for heading, rows in tables
        if rows
    ]


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots, and values as text; lists of plain values are one value."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif value is not None and value != {} and key:
        yield key, _text(value)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def origins(comparison: Comparison) -> Table | None:
    """Folder, seed, commit, versions and hashes of each run; None where no model says any."""
    rows = []
    names: dict[str, None] = {}
    for index, model in enumerate(comparison.models):
        known = {"Folder": model.run, "Seed": None if not isinstance(model.seed, int) else str(model.seed), **model.origin}
        known = {name: str(value) for name, value in known.items() if value not in (None, "")}
        names |= dict.fromkeys(known)
        rows.append((index, model.name, known))
    if not names:
        return None
    cells = [Row(name, [Cell(known.get(key, "–")) for key in names], index=index) for index, name, known in rows]
    return Table([Column(name) for name in names], cells)


def failures(comparison: Comparison) -> list[str]:
    """What went wrong on the way: steps that were skipped, alarms, warnings of the runs; marked text is unmarked."""
    lines = []
    for model in comparison.models:
        skipped = "" if model.health is None else model.health.skipped
        raised = sum(not alarm.over for alarm in model.alarms)
        parts = [skipped, f"{counted(raised, 'alarm')} of training" if raised else "", *model.warnings]
        lines += [f"{unmarked(model.name)}: {unmarked(part).rstrip('.')}." for part in parts if part]
    return lines
