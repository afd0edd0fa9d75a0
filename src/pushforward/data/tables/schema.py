"""The schema of a table: a JSON file that says what each column holds, which a person may edit.

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

Columns that it does not name are decided from their cells. Without a target the entry is left out, or null. "why" of a column is
for the reader alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pushforward.data.tables.dates import as_written, patterns
from pushforward.data.tables.facts import TableFacts
from pushforward.data.tables.faults import Faults, count
from pushforward.data.tables.format import Format
from pushforward.data.tables.inference import KINDS, NUMERIC, Finding, infer, ordered
from pushforward.data.tables.numerals import GROUPS, dress_of, form_of, is_number, is_whole, point_of
from pushforward.data.tables.raw import RawColumn
from pushforward.errors import CheckpointError, DataError, UsageError, did_you_mean

__all__ = ["decide", "read_schema", "schema_faults", "schema_of", "write_schema"]

MOST_NAMED = 10_000
"""The most categories of a column that a schema makes a category."""
_WHOLE = ("columns", "target", "missing", "constraints")
_FORM = tuple(field.name for field in fields(Format) if field.name != "levels")
_DIGITS = {"decimals", "least", "digits", "bare"}
_ENTRY = ("kind", "why", "names", *_FORM)
SAID = "as the schema says"
_EXPECTED = {"point": '"." or ","', "pattern": 'parts of a date, such as "%d.%m.%Y"'}
_LARGEST = 1 << 24


def read_schema(source: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The content of a schema file; `schema_faults` says what is wrong with it.

    Args:
        source: The file, or its content.

    Raises:
        DataError: If it is no JSON object.
    """
    if isinstance(source, Mapping):
        return dict(source)
    if isinstance(source, (str, os.PathLike)):
        return _loaded(Path(source))
    raise UsageError(f"`schema` is a file or a mapping, got a {type(source).__name__}.")


def schema_faults(content: Mapping[str, Any]) -> tuple[list[str], dict[str, Any], frozenset[str]]:
    """What is wrong with a schema, in sentences; the parts that can be used; and the columns whose entries cannot."""
    sentences, usable = list(_unknown(content, _WHOLE)), {key: content[key] for key in _WHOLE if key in content}
    for key in ("missing", "constraints"):
        if not _texts(content.get(key, [])):
            sentences.append(f'"{key}" is a list of texts.')
            usable[key] = []
    if not isinstance(content.get("target"), str | None):
        sentences.append('"target" is the name of a column, or null.')
        usable["target"] = ""
    columns = content.get("columns", {})
    if not isinstance(columns, Mapping):
        sentences.append('"columns" is {"NAME": {"kind": KIND}, ...}.')
        columns = {}
    wrong = {str(column): list(_wrong_entry(entry)) for column, entry in columns.items()}
    sentences += [f'column "{column}": {sentence}' for column, listed in wrong.items() for sentence in listed]
    usable["columns"] = {column: entry for column, entry in columns.items() if not wrong[str(column)]}
    return sentences, usable, frozenset(column for column, listed in wrong.items() if listed)


def _wrong_entry(entry: Any) -> Iterator[str]:
    """What is wrong with the entry of a column."""
    if not isinstance(entry, Mapping):
        yield 'expected {"kind": KIND, ...}.'
        return
    yield from _unknown(entry, _ENTRY)
    kind = entry.get("kind")
    if kind not in KINDS:
        yield f"the kind is {kind!r}, expected one of {', '.join(KINDS)}.{did_you_mean(str(kind), KINDS)}"
    for key, value in entry.items():
        if key in _ENTRY and key != "kind" and not _fits(key, value):
            yield f'"{key}" is {value!r}, which cannot be{f": expected {_EXPECTED[key]}" if key in _EXPECTED else ""}.'
    if entry.get("group") and entry["group"] == entry.get("point"):
        yield f'"group" and "point" are both {entry["group"]!r}: expected two signs.'
    if "pattern" in entry and kind in KINDS and kind != "date":
        yield f'"pattern" is for the kind date, and this column is a {kind}.'


def _fits(key: str, value: Any) -> bool:
    if key == "names":
        return _texts(value) and len(set(value)) == len(value)
    if key in ("decimals", "least", "digits"):
        return value is None or (type(value) is int and 0 <= value <= 17)
    if key == "point":
        return value in (".", ",")
    if key == "group":
        return value in ("", *GROUPS)
    if key in ("plus", "bare"):
        return isinstance(value, bool)
    return isinstance(value, str) and (key != "pattern" or "%" in value)


def _texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)


def _loaded(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"There is no schema {path}. Write one with `pushforward data check FILE --write-schema {path}`.")
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path} is larger than {_LARGEST >> 20} MB, which no schema is.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON file: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f'{path} is no schema: expected {{"columns": {{...}}}}.')
    return content


def _unknown(content: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    """A sentence for each entry of another name."""
    for key in content:
        if key not in known:
            yield f'unknown entry "{key}".{did_you_mean(key, known)} Known: {", ".join(known)}.'


def schema_of(facts: TableFacts, target: str, constraints: Sequence[str]) -> dict[str, Any]:
    """The schema of a table as it was decided; columns that options left out are dropped by it as well."""
    columns: dict[str, Any] = {name: {"kind": "drop"} for name in facts.names}
    for finding in facts.findings:
        plain = {name: getattr(finding.form, name) for name in _FORM}
        form = {name: value for name, value in plain.items() if finding.numeric and value != getattr(Format(), name)}
        names = {"names": list(finding.names)} if finding.names else {}
        columns[finding.name] = {"kind": finding.kind, "why": finding.why, **form, **names}
    named = {"target": target} if target else {}
    return {**named, "missing": list(facts.texts), "constraints": list(constraints), "columns": columns}


def write_schema(path: Path, schema: Mapping[str, Any]) -> None:
    """Write a schema to a new file: a line for each part, and for each column, however many categories it has.

    Raises:
        UsageError: For a file that is there.
        CheckpointError: If the disk refuses.
    """
    if path.exists():
        raise UsageError(f"{path} is there already. Choose another `write_schema`, or remove it yourself.")
    try:
        path.write_text(_lined(schema) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}.") from error


def _lined(schema: Mapping[str, Any]) -> str:
    columns = ",\n".join(f"    {_plain(name)}: {_plain(entry)}" for name, entry in schema["columns"].items())
    lines = [f"  {_plain(name)}: {_plain(value)}" for name, value in schema.items() if name != "columns"]
    return "{\n" + ",\n".join([*lines, f'  "columns": {{\n{columns}\n  }}']) + "\n}"


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def decide(
    column: RawColumn, entry: Mapping[str, Any] | None, missing: Sequence[str], lines: Sequence[int], faults: Faults
) -> Finding:
    """What a column holds, by its entry of the schema, or by its cells where there is none.

    Args:
        column: Its cells.
        entry: The entry.
        missing: Texts that mean that there is no value.
        lines: The line of each row, for messages.
        faults: Notes what is wrong.
    """
    if entry is None:
        return infer(column, missing, lines, faults)
    own, kind = infer(column, missing, lines, Faults()), entry["kind"]
    places = column.present(missing)
    texts = [column.texts[place] for place in places]
    finding = _stated(column.name, entry, texts)
    finding = replace(finding, why=_why(entry, finding, own), rounds=_rounds(finding, column, places))
    if kind == "drop":
        return finding
    if finding.numeric:
        odd = [place for place, text in zip(places, texts, strict=True) if not _readable(finding, text)]
    else:
        known = set(finding.names)
        odd = [place for place, text in zip(places, texts, strict=True) if text not in known]
        _check_count(finding, faults)
    if odd:
        cells = count(int(column.counts[odd].sum()), "cell")
        faults.add(
            f'the column "{column.name}" is of the kind {kind} in the schema, and {cells} cannot be: '
            f"{column.where(odd, lines)}. Correct the schema or these rows."
        )
    return finding


def _stated(name: str, entry: Mapping[str, Any], texts: Sequence[str]) -> Finding:
    """A column as its entry says; what it leaves out is decided by the cells."""
    kind = entry["kind"]
    if kind == "drop":
        return Finding(name, kind)
    if kind in NUMERIC:
        return Finding(name, kind, form=_form(kind, entry, texts))
    return Finding(name, kind, names=tuple(entry["names"]) if "names" in entry else ordered(texts))


def _why(entry: Mapping[str, Any], finding: Finding, own: Finding) -> str:
    """Why a column is what it is: a reader's own reason, that of its cells where these decide the same, else the schema.

    A column that is left out holds nothing that cells decide, so that the reason is the schema's unless it states theirs.
    """
    why = str(entry.get("why") or "")
    if why and why != own.why and not why.startswith(SAID):
        return why
    same = (finding.kind, finding.form, finding.names) == (own.kind, own.form, own.names)
    if same and (finding.kind != "drop" or why == own.why):
        return own.why
    if finding.kind == own.kind:
        return SAID
    return f"{SAID}; by its cells alone it would be {'left out' if own.kind == 'drop' else f'of the kind {own.kind}'}"


def _rounds(finding: Finding, column: RawColumn, places: Sequence[int]) -> int:
    """How many cells hold numbers that the schema's digits round."""
    if finding.kind != "number":
        return 0
    form = finding.form
    values = [form.value(column.texts[place]) for place in places]
    moved = [math.isfinite(value) and form.value(form.cell(value)) != value for value in values]
    return int(column.counts[places][moved].sum()) if places else 0


def _check_count(finding: Finding, faults: Faults) -> None:
    limit = 2 if finding.kind == "boolean" else MOST_NAMED
    if len(finding.names) > limit:
        faults.add(f'the column "{finding.name}" has {len(finding.names):,} categories: a {finding.kind} has at most {limit:,}.')


def _form(kind: str, entry: Mapping[str, Any], texts: Sequence[str]) -> Format:
    """How the cells are written: by the entry where it says so, else by the cells."""
    given = {name: entry[name] for name in _FORM if name in entry}
    if kind == "date":
        if "pattern" in given:
            return Format(pattern=as_written(given["pattern"], texts))
        fitting = patterns(texts) if texts else []
        return Format(pattern=fitting[0] if fitting else "%Y-%m-%d")
    dress = dress_of(texts)
    group = given.get("group", "" if dress.group == given.get("point") else dress.group)
    dress = replace(dress, group=group, point="," if group == "." else ".")
    plain = [dress.plain(text) for text in texts]
    point = given.get("point", point_of(dress, plain))
    form = Format(0) if kind == "whole" else form_of([text for text in plain if is_number(text, point)], point)
    form = Format() if _DIGITS & set(given) else form
    return replace(form, **{"point": point, "group": group, "plus": dress.plus, **given})


def _readable(finding: Finding, text: str) -> bool:
    if finding.kind == "date":
        return finding.form.value(text) == finding.form.value(text)
    plain = finding.form.plain(text)
    return is_whole(plain) if finding.kind == "whole" else is_number(plain, finding.form.point)
