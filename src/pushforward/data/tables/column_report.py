"""What is known of a table that was read: what each column holds, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.data.tables.csv_dialect import SEPARATOR_NAMES
from pushforward.data.tables.inference import LIKE_IDENTIFIER, Finding
from pushforward.data.tables.number import Number
from pushforward.data.tables.parse_errors import some
from pushforward.data.tables.string_columns import RawColumn, RawTable
from pushforward.table_column import Column

EXAMPLES, NAMED = 3, 20
FEW = 10  # rows of a table below which a model can only repeat them


@dataclass(frozen=True)
class TableFacts:
    """What was read of a table and decided.

    Args:
        names: Of all columns of the table, also of those that options leave out.
        findings: What each other column holds, those that are left out for what they hold among them.
        examples: The first different cells of each column.
        missing: The share of cells of each column that hold no value.
        texts: Texts that mean that there is no value.
        rows: How many rows there are.
        separator: Between cells; empty for a table that is no text.
        notes: Sentences about lines that were left out, and columns that may be identifiers.
    """

    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    examples: tuple[tuple[str, ...], ...]
    missing: tuple[float, ...]
    texts: tuple[str, ...]
    rows: int
    separator: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: RawTable, columns: Sequence[RawColumn], findings: Sequence[Finding], missing: Sequence[str]) -> TableFacts:
        """The facts of a table, some of whose columns were chosen."""
        examples, shares = [], []
        for column in columns:
            present = column.present(missing)
            examples.append(tuple(column.texts[place] for place in present[:EXAMPLES]))
            shares.append(1 - int(column.counts[present].sum()) / max(1, len(column.codes)))
        rows, notes = len(table.lines), list(table.notes)
        if rows < FEW:
            notes.append(f"so few rows ({rows}) can be learned by heart: samples will repeat those of the training split")
        if alike := [f'"{finding.name}"' for finding in findings if finding.why == LIKE_IDENTIFIER]:
            notes.append(f"{some(alike)}: {LIKE_IDENTIFIER}; if it is one, leave it out: `drop=NAME`")
        separator, texts = "" if table.header is None else table.separator, tuple(dict.fromkeys(missing))
        return cls(table.names, tuple(findings), tuple(examples), tuple(shares), texts, rows, separator, tuple(notes))

    @property
    def sentences(self) -> list[str]:
        """What a person who trains should know: columns and lines that were left out."""
        dropped: dict[str, list[str]] = {}
        for finding in self.findings:
            if finding.kind == "drop":
                dropped.setdefault(finding.why, []).append(f'"{finding.name}"')
        return [*(f"left out {some(names)}: {why}" for why, names in dropped.items()), *self.notes]

    def columns(self, fields: Sequence[Column]) -> list[dict[str, Any]]:
        """A plain dict for each column: name, kind, range or categories, missing, atoms, examples and why.

        Args:
            fields: The columns as they were measured on the training rows.
        """
        measured = {field.name: field for field in fields}
        parts = zip(self.findings, self.examples, self.missing, strict=True)
        return [
            {"name": finding.name, "kind": "left out" if finding.kind == "drop" else finding.kind}
            | _content(measured.get(finding.name))
            | {"missing": round(missing, 6), "examples": list(examples), "why": finding.why}
            for finding, examples, missing in parts
        ]

    @property
    def layout(self) -> dict[str, Any]:
        """Separator and texts of missing values, in words."""
        return {"separator": SEPARATOR_NAMES.get(self.separator, self.separator) or None, "missing_texts": list(self.texts)}


def _content(field: Column | None) -> dict[str, Any]:
    if field is None:
        return {}
    names = tuple(map(field.form.cell, field.atoms)) if isinstance(field, Number) else field.levels
    shares = field.shares[1:] if isinstance(field, Number) else field.shares
    known = dict(zip(names, np.round(shares, 4).tolist(), strict=False))
    if isinstance(field, Number):
        return {"range": [field.form.cell(end) for end in field.range or ()], "atoms": known}
    return {"categories": len(known), "shares": dict(list(known.items())[:NAMED])}
