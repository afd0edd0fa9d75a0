"""Decisions about the columns of a table, and the schema.

A JSON file of these decisions that can be edited.

    {
      "target": "size",
      "missing": ["", "?"],
      "constraints": ["end >= start"],
      "columns": {
        "age": {"kind": "whole"},
        "size": {"kind": "ordinal", "names": ["S", "M", "L"]},
        "born": {"kind": "date", "pattern": "%d.%m.%Y"},
        "note": {"kind": "drop"}
      }
    }

Columns that are not in the schema are decided from their cells. Without a target, the entry is
missing or null. The "why" of a column is only for the reader.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.data.core.hashes import Floats
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.files import replacing
from pushforward.numbers import plural, some
from pushforward.tables.column import Column
from pushforward.tables.columns import Format, Number
from pushforward.tables.constraints import Constraint
from pushforward.tables.reading.csv_dialect import SEPARATOR_NAMES
from pushforward.tables.reading.inference import (
    KINDS,
    LIKE_IDENTIFIER,
    NUMERIC,
    Finding,
    date_patterns,
    form_of,
    infer,
    is_number,
    is_whole,
    ordered,
    signs_of,
)
from pushforward.tables.reading.string_columns import Faults, RawColumn, RawTable

if TYPE_CHECKING:
    from pushforward.tables.space import TableSpace

EXAMPLES = 3
NAMED = 20
FEW = 10  # rows of a table below which a model can only repeat them
MOST_NAMED = 10_000  # categories of a column that a schema makes a category
_WHOLE = ("columns", "target", "missing", "constraints")
_FORM = tuple(vars(Format()))
_DIGITS = {"decimals", "least", "digits"}
_ENTRY = ("kind", "why", "names", *_FORM)


@dataclass(frozen=True)
class TableFacts:
    """Facts about a table, and the decisions about its columns.

    Args:
        names: Names of all columns of the table, including those that options leave out.
        findings: Contents of all other columns, including those left out because of their content.
        texts: Texts that denote a missing value.
        rows: Number of rows.
        separator: Separator of cells; empty for a table that is not text.
        notes: Sentences about skipped lines, personal data, and values that are not learned.
    """

    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    texts: tuple[str, ...]
    rows: int
    separator: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: RawTable, findings: Sequence[Finding], missing: Sequence[str]) -> TableFacts:
        rows = len(table.lines)
        notes = list(table.notes)
        if rows < FEW:
            notes.append(
                f"the table has only {rows} rows, so a model can memorise them: samples will "
                "repeat rows of the training split"
            )
        personal = {}
        numbered = []
        for finding in findings:
            if finding.personal and finding.kind != "drop":
                personal[finding.name] = finding.personal
            if finding.why == LIKE_IDENTIFIER and not finding.personal:
                numbered.append(finding.name)
        if personal:
            listed = ", ".join(f'"{name}" ({what})' for name, what in personal.items())
            notes.append(
                f"these columns look like personal data, which samples would repeat: {listed}. "
                f'Drop them with `drop="{",".join(personal)}"`'
            )
        if numbered:
            notes.append(
                "these columns may be identifiers, which a model cannot learn: "
                f"{some(map(quoted, numbered))}. "
                f'If so, drop them with `drop="{",".join(numbered)}"`'
            )
        separator = "" if table.header is None else table.separator
        texts = tuple(dict.fromkeys(missing))
        return cls(table.names, tuple(findings), texts, rows, separator, tuple(notes))

    def fitted(self, fields: Sequence[Column]) -> TableFacts:
        """Add the handling of rare values once the columns are fitted.

        Findings no longer list these values.
        """
        rare = {field.name: field for field in fields if field.rare}
        if not rare:
            return self
        findings = []
        for finding in self.findings:
            names = () if finding.name in rare else finding.names
            findings.append(replace(finding, names=names))
        replaced = []
        for name, field in rare.items():
            texts = len(field.levels) + field.rare
            replaced.append(f'"{name}" ({field.rare:,} of {texts:,} texts)')
        note = (
            "texts that at most one training row has are replaced by random other texts of their "
            f"column: {some(replaced)}. Use `rare=keep` to learn them"
        )
        return replace(self, findings=tuple(findings), notes=(*self.notes, note))

    @property
    def sentences(self) -> list[str]:
        """Messages for a person who trains a model: columns and lines that were left out."""
        dropped: dict[str, list[str]] = {}
        for finding in self.findings:
            if finding.kind == "drop":
                dropped.setdefault(_reason(finding), []).append(f'"{finding.name}"')
        sentences = [f"left out {some(names)}: {why}" for why, names in dropped.items()]
        return sentences + list(self.notes)

    def report(self, space: TableSpace) -> dict[str, Any]:
        """Describe the table and its columns for `pushforward.data.check`."""
        content = {field.name: _content(field) for field in space.fields}
        columns = []
        for finding in self.findings:
            column = {
                "name": finding.name,
                "kind": "left out" if finding.kind == "drop" else finding.kind,
                **content.get(finding.name, {}),
                "missing": round(finding.missing, 6),
                "examples": list(finding.examples),
                "why": _reason(finding),
                "personal": finding.personal,
            }
            columns.append(column)
        table = {
            "rows": self.rows,
            "separator": SEPARATOR_NAMES.get(self.separator, self.separator) or None,
            "missing_texts": list(self.texts),
            "target": space.target or None,
            "constraints": [constraint.text for constraint in space.constraints],
            "notes": list(self.notes),
            "fields": columns,
        }
        return {"table": table, "columns": list(space.names)}

    def write(self, path: Path, space: TableSpace) -> None:
        """Write the schema of the table; see `write_schema`."""
        write_schema(path, schema_of(self, space.target, space.constraints))


def _reason(finding: Finding) -> str:
    if finding.personal:
        return f"{finding.why}; looks like {finding.personal}"
    return finding.why


def _content(field: Column) -> dict[str, Any]:
    if isinstance(field, Number):
        cell = field.form.cell
        atoms = zip(map(cell, field.atoms), _rounded(field.shares[1:]), strict=False)
        return {"range": list(map(cell, field.range or ())), "atoms": dict(atoms)}
    shares = dict(zip(field.levels, _rounded(field.shares), strict=False))
    return {"categories": len(shares), "shares": dict(islice(shares.items(), NAMED))}


def _rounded(shares: Sequence[float]) -> list[float]:
    rounded: list[float] = np.round(shares, 4).tolist()
    return rounded


def read_schema(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Read and check a schema."""
    content: Any = source
    if not isinstance(source, Mapping):
        try:
            content = json.loads(Path(source).read_text(encoding="utf-8"))
        except FileNotFoundError:
            hint = f"Write one with `pushforward data check FILE --write-schema {source}`."
            raise DataError(f"The schema {source} does not exist. {hint}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{source} is not a valid JSON file: {error}.") from error
    if not (
        isinstance(content, Mapping)
        and isinstance(content.get("columns", {}), Mapping)
        and isinstance(content.get("target"), str | None)
        and _texts(content.get("missing", []))
        and _texts(content.get("constraints", []))
    ):
        raise DataError(
            'The schema has the wrong form: expected {"columns": {NAME: {"kind": KIND, ...}, ...}, '
            '"target": NAME or null, "missing": [TEXT, ...], "constraints": [TEXT, ...]}.'
        )
    _refuse_unknown("The schema", content, _WHOLE)
    for name, entry in content.get("columns", {}).items():
        where = f'The schema, column "{name}"'
        if not isinstance(entry, Mapping) or entry.get("kind") not in KINDS:
            raise DataError(
                f'{where}: expected {{"kind": KIND, ...}} with one of these kinds: '
                f"{', '.join(KINDS)}."
            )
        _refuse_unknown(where, entry, _ENTRY)
        names = entry.get("names", [])
        if not _texts(names) or len(set(names)) < len(names):
            raise DataError(f'{where}: "names" must be a list of distinct strings.')
        try:
            Format(**{name: entry[name] for name in _FORM if name in entry})
        except (DataError, TypeError) as error:
            raise DataError(f"{where}: {error}") from error
    return dict(content)


def _refuse_unknown(where: str, content: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in content:
        if key not in known:
            raise DataError(
                f'{where}: unknown entry "{key}".{did_you_mean(key, known)} Expected one of: '
                f"{', '.join(known)}."
            )


def _texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)


def schema_of(facts: TableFacts, target: str, constraints: Sequence[Constraint]) -> dict[str, Any]:
    """Build the schema with the decisions about a table.

    Columns that options left out are dropped.
    """
    columns: dict[str, Any] = {name: {"kind": "drop"} for name in facts.names}
    usual = vars(Format()).items()
    for finding in facts.findings:
        entry: dict[str, Any] = {"kind": finding.kind, "why": finding.why}
        if finding.numeric:
            own = vars(finding.form).items()
            entry.update(item for item in own if item not in usual)
        if finding.names:
            entry["names"] = list(finding.names)
        columns[finding.name] = entry
    schema: dict[str, Any] = {"target": target} if target else {}
    schema["missing"] = list(facts.texts)
    schema["constraints"] = [constraint.text for constraint in constraints]
    schema["columns"] = columns
    return schema


def write_schema(path: Path, schema: Mapping[str, Any]) -> None:
    """Write a schema to a new JSON file, with one line per column."""
    if path.exists():
        raise UsageError(
            f"{path} already exists. Choose another `write_schema`, or delete the file first."
        )
    plain = partial(json.dumps, ensure_ascii=False)
    lines = []
    for name, value in schema.items():
        if name != "columns":
            lines.append(f"  {plain(name)}: {plain(value)}")
    columns = [f"    {plain(name)}: {plain(entry)}" for name, entry in schema["columns"].items()]
    lines.append('  "columns": {\n' + ",\n".join(columns) + "\n  }")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def decide(
    column: RawColumn,
    entry: Mapping[str, Any] | None,
    lines: Sequence[int],
    faults: Faults,
) -> Finding:
    """Decide what a column without missing cells contains.

    Args:
        entry: Entry of the schema; None to decide by the cells.
    """
    if entry is None:
        return infer(column, lines, faults)
    name = column.name
    kind = entry["kind"]
    why = str(entry.get("why") or "as specified in the schema")
    if kind == "drop":
        return Finding(name, kind, why)
    texts = column.texts
    if kind in NUMERIC:
        form = _form(kind, entry, texts)
        rounds = kind == "number" and bool(_DIGITS & set(entry))
        finding = Finding(name, kind, why, form, rounds=rounds)
        readable = [_readable(kind, form, text) for text in texts]
    else:
        names = tuple(entry["names"]) if "names" in entry else ordered(texts)
        finding = Finding(name, kind, why, names=names)
        known = set(finding.names)
        limit = 2 if kind == "boolean" else MOST_NAMED
        readable = list(map(known.__contains__, texts))
        if len(known) > limit:
            faults.add(
                f'The column "{name}" has {len(known):,} categories, but a {kind} can have at most '
                f"{limit:,}."
            )
    odd = np.flatnonzero(~np.array(readable, dtype=bool)).tolist()
    if odd:
        cells = plural(int(column.counts[odd].sum()), "cell")
        faults.add(
            f'The column "{name}" has the kind {kind} in the schema, but {cells} cannot be read '
            f"as this kind: {column.where(odd, lines)}. Correct the schema or these rows."
        )
    return finding


def _readable(kind: str, form: Format, text: str) -> bool:
    if kind == "date":
        return not math.isnan(form.value(text))
    plain = form.plain(text)
    if kind == "whole":
        return is_whole(plain)
    return is_number(plain, form.point)


def _form(kind: str, entry: Mapping[str, Any], texts: Sequence[str]) -> Format:
    given = {name: entry[name] for name in _FORM if name in entry}
    if kind == "date":
        return Format(pattern=given.get("pattern") or [*date_patterns(texts), "%Y-%m-%d"][0])
    form, plain = signs_of(texts, given)
    if "group" in given:
        given["group"] = form.group
    if not _DIGITS & set(given):
        decimals = Format(0)
        if kind == "number":
            decimals = form_of([text for text in plain if is_number(text, form.point)], form.point)
        given |= {"decimals": decimals.decimals, "least": decimals.least, "digits": decimals.digits}
    return replace(form, **given)


def pooled(
    findings: Sequence[Finding], splits: Sequence[Floats], kept: Set[str], seed: int
) -> tuple[list[Finding], list[Floats], list[Floats]]:
    """Replace texts that at most one training row has by draws from the rest of their column.

    Args:
        splits: The values of each split, (n, columns); the training rows come first.

    Returns:
        What the columns hold, without the texts of rare values; the values of each split, a rare
        one as the number after the last category; and the same with rare values replaced.
    """
    found = list(findings)
    known = [split.copy() for split in splits]
    learned = [split.copy() for split in splits]
    for place, finding in enumerate(findings):
        if finding.kind != "category" or finding.name in kept:
            continue
        count = len(finding.names)
        codes = [np.nan_to_num(split[:, place], nan=count).astype(np.int64) for split in splits]
        common = np.flatnonzero(np.bincount(codes[0], minlength=count)[:count] > 1)
        names = tuple(finding.names[number] for number in common)
        rare = float(len(names))
        found[place] = replace(finding, names=names, rare=count - len(names))
        numbers = np.full(count + 1, rare)
        numbers[common] = np.arange(len(names))
        numbers[count] = np.nan  # of missing values
        train = numbers[codes[0]]
        others = train[train < rare] if names else np.array([np.nan])
        random = np.random.Generator(np.random.Philox(key=[seed, place]))
        for split, code in enumerate(codes):
            column = numbers[code]
            known[split][:, place] = column
            drawn = random.choice(others, len(code))
            learned[split][:, place] = np.where(column == rare, drawn, column)
    return found, known, learned
