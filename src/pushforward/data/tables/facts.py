"""What is known of a table that was read: what each column holds, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.data.tables.faults import count, some
from pushforward.data.tables.inference import AS_TEXTS, LIKE_IDENTIFIER, TOO_MANY, Finding
from pushforward.data.tables.number import Number
from pushforward.data.tables.raw import RawColumn, RawTable
from pushforward.data.tables.text import NAMES
from pushforward.table_column import Column

__all__ = ["TableFacts"]

EXAMPLES, NAMED = 3, 20
FEW = 10
"""Rows of a table below which a model can only repeat them."""


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
        notes: Sentences about lines that were left out, and columns that are rounded, are taken as whole numbers, or may be
            identifiers.
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
        few = f"{count(len(table.lines), 'row')} can be learned by heart: samples will repeat those of the training split"
        notes = (*table.notes, *[few] * (len(table.lines) < FEW))
        separator = "" if table.header is None else table.separator
        texts = tuple(dict.fromkeys(missing))
        notes += tuple(map(_rounded, (finding for finding in findings if finding.rounds)))
        notes += tuple(_advised(findings))
        notes += tuple(_perhaps(finding) for finding in findings if finding.why.startswith(LIKE_IDENTIFIER))
        return cls(table.names, tuple(findings), tuple(examples), tuple(shares), texts, len(table.lines), separator, notes)

    @property
    def sentences(self) -> list[str]:
        """What a person who trains should know: columns and lines that were left out."""
        dropped: dict[str, list[str]] = {}
        for finding in self.findings:
            if finding.kind == "drop":
                dropped.setdefault(finding.why, []).append(f'"{finding.name}"')
        parts = ((f"column{'s' * (len(names) > 1)} {some(names)}", why) for why, names in dropped.items())
        return [*(f"left out the {names}: {why}" for names, why in parts), *self.notes]

    def columns(self, fields: Sequence[Column]) -> list[dict[str, Any]]:
        """A plain dict for each column: name, kind, range or categories, missing, atoms, examples and why.

        Args:
            fields: The columns as they were measured on the training rows.
        """
        measured = {field.name: field for field in fields}
        parts = zip(self.findings, self.examples, self.missing, strict=True)
        return [
            {"name": finding.name, "kind": "left out" if finding.kind == "drop" else finding.kind}
            | _content(finding, measured.get(finding.name))
            | {"missing": round(missing, 6), "examples": list(examples), "why": finding.why}
            for finding, examples, missing in parts
        ]

    @property
    def layout(self) -> dict[str, Any]:
        """Separator and texts of missing values, in words."""
        separator = NAMES.get(self.separator, self.separator) or None
        return {"separator": separator, "missing_texts": list(self.texts)}


def _advised(findings: Sequence[Finding]) -> list[str]:
    """Notes on columns that may be read otherwise than was meant; those with one advice share a note."""
    alike: dict[str, list[Finding]] = {}
    for finding in findings:
        for words in (TOO_MANY, AS_TEXTS.partition("{}")[0]):
            if words in finding.why:
                alike.setdefault(finding.why[finding.why.index(words) :], []).append(finding)
    notes = []
    for advice, same in alike.items():
        beside = [finding.why.removesuffix(advice).removesuffix(", ") for finding in same]
        names = [f'"{finding.name}"{f" ({texts})" if texts else ""}' for finding, texts in zip(same, beside, strict=True)]
        several = f"the columns {some(names)}: {advice}"
        notes.append(several if len(same) > 1 else f'the column "{same[0].name}" has {same[0].why}')
    return notes


def _rounded(finding: Finding) -> str:
    cells = f'{count(finding.rounds, "cell")} of the column "{finding.name}"'
    return f"{cells} {'has' if finding.rounds == 1 else 'have'} more digits than the schema leaves and will be rounded"


def _perhaps(finding: Finding) -> str:
    """The note on a column that may be an identifier."""
    return f'the column "{finding.name}" has {finding.why}; if it is one, leave it out: `drop={finding.name}`'


def _content(finding: Finding, field: Column | None) -> dict[str, Any]:
    """Range and atoms of numbers, the categories of others."""
    if isinstance(field, Number):
        cells = [field.form.cell(end) for end in field.range or ()]
        shares = dict(zip(map(field.form.cell, field.atoms), np.round(field.shares[1:], 4).tolist(), strict=False))
        return {"range": cells, "atoms": shares}
    if field is None:
        return {}
    shares = dict(zip(field.names, np.round(field.shares, 4).tolist(), strict=False))  # type: ignore[attr-defined]
    return {"categories": len(shares), "shares": dict(list(shares.items())[:NAMED])}
