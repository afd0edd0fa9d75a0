"""Tables of mixed types: from the text of their columns to a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.building import Schema, build
from pushforward.data.dataset import Dataset, Split
from pushforward.data.example_hashes import numbered_copies
from pushforward.data.reading import Reading
from pushforward.data.spaces import TableSpace
from pushforward.data.tables.category import Category
from pushforward.data.tables.comparable import (
    constraint_faults,
    constraint_notes,
    constraints_of,
    holds,
    refuse_constraints,
    strangers,
)
from pushforward.data.tables.constraints import Constraint
from pushforward.data.tables.facts import TableFacts
from pushforward.data.tables.faults import Faults, count, some
from pushforward.data.tables.frame_types import is_ordered
from pushforward.data.tables.frames import frame_table
from pushforward.data.tables.inference import Finding, declared, of_levels
from pushforward.data.tables.layout import Layout
from pushforward.data.tables.raw import MISSING, RawColumn, RawTable
from pushforward.data.tables.schema import decide, schema_faults
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.table_column import Column

__all__ = ["check_names", "frame_dataset", "rows_of", "table_dataset"]


@dataclass(frozen=True)
class _Wanted:
    """The options of a reading and of its schema together; options come first.

    Args:
        faults: What is wrong with the schema, in sentences.
        unusable: Columns whose entry of the schema cannot be used.
        target_in_schema: Whether the schema names the target, if anything does.
    """

    target: str
    missing: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    refused: tuple[str, ...]
    entries: Mapping[str, Mapping[str, Any]]
    columns: tuple[str, ...]
    drop: tuple[str, ...]
    faults: tuple[str, ...] = ()
    unusable: frozenset[str] = frozenset()
    target_in_schema: bool = False

    @classmethod
    def of(cls, reading: Reading) -> _Wanted:
        table = reading.table
        faults, schema, unusable = schema_faults(table.schema)
        missing = table.missing if table.missing is not None else tuple(schema.get("missing", MISSING))
        constraints = table.constraints or tuple(schema.get("constraints", ()))
        target = reading.target if reading.target is not None else str(schema.get("target") or "")
        entries = schema.get("columns", {})
        known, refused = constraints_of(constraints)
        return cls(
            target,
            ("", *missing),
            known,
            refused,
            entries,
            table.columns,
            table.drop,
            tuple(faults),
            unusable,
            reading.target is None,
        )


def table_dataset(name: str, where: str, table: RawTable, reading: Reading, faults: Faults | None = None) -> Dataset:
    """The data set of a table.

    Args:
        name, where: Of the data set; what messages call the table.
        table, reading: Its columns as text, and how they are to be read.
        faults: What is wrong with the file already.

    Raises:
        UsageError: For options that name columns which the table does not have.
        DataError: With all that is wrong with the table.
    """
    faults, wanted = faults or Faults(), _Wanted.of(reading)
    for sentence in wanted.faults:
        faults.add(f"the schema: {sentence}")
    columns, wanted = _chosen(where, table, wanted, faults)
    findings, unread = _findings(columns, wanted, table, faults)
    fields = [finding for finding in findings if finding.kind != "drop"]
    if not fields and not faults.sentences:
        raise DataError(f"{where}: no column is left; the table has {', '.join(table.names)}.")
    if len(set(table.names)) < len(table.names) or not fields:
        faults.refuse(where)
    _check_target(where, wanted.target, findings, faults)
    known = {finding.name: finding.kind for finding in fields}
    used = [column for column in columns if column.name in known]
    rows = np.empty((len(table.lines), len(fields)))
    for place, (finding, column) in enumerate(zip(fields, used, strict=True)):
        rows[:, place] = finding.values(column, wanted.missing)
    hashes, contents = np.zeros((2, len(table.lines)), dtype=np.uint64)  # of all columns that the user keeps, and of those used
    for column in columns:
        if wanted.entries.get(column.name, {}).get("kind") != "drop":
            hashes += (cells := column.hashes)
            contents += cells if column.name in known else np.uint64(0)
    notes = _check_constraints(wanted, unread | wanted.unusable, fields, rows.T, table, faults)
    faults.refuse(where)
    texts = tuple(column.missing_text(wanted.missing) for column in used)
    types, levels = zip(*(table.types[column.name] for column in used), strict=True) if table.types else ((), ())
    layout = Layout(table.separator, table.header is not False, texts, types, levels)
    header, parts = table.header, {"target": wanted.target, "layout": layout, "constraints": wanted.constraints}
    facts = TableFacts.of(replace(table, notes=(*table.notes, *notes)), columns, findings, wanted.missing)
    absent = [bool(np.isnan(column).any()) for column in rows.T]  # of all rows, so that held-out ones fit
    numbers = None if "date" in known.values() else [rows[:, place] for place, f in enumerate(fields) if f.numeric]
    apart = reading.apart(contents, numbers)
    del table, columns, used, column
    return build(
        name,
        Split(rows, source_hashes=numbered_copies(hashes) if apart else hashes),
        schema=Schema(fit=partial(_space, fields, absent, parts), apart=apart),
        limit=reading.limit,
        seed=reading.seed,
        header=header,
        table=facts,
    )


def frame_dataset(frame: Any, reading: Reading) -> Dataset:
    """The data set of a data frame of pandas or polars.

    Raises:
        UsageError: For options that are for files or images.
        DataError: With all that is wrong with the table.
    """
    reading.refuse_stream("a data frame")
    if reading.size or reading.header is not None or reading.given or reading.table.table is False:
        raise UsageError("`resize`, `header`, `given` and `table=False` do not apply to a data frame: leave them out.")
    faults, table = Faults(), frame_table(frame)
    check_names(table.names, faults)
    return table_dataset("frame", "The data frame", table, reading, faults)


def check_names(names: Sequence[str], faults: Faults) -> None:
    """Note columns without a name, and names of several columns."""
    empty = [place for place, name in enumerate(names, 1) if not name]
    if empty:
        several = len(empty) > 1
        faults.add(
            f"column{'s' * several} {some(empty)} {'have' if several else 'has'} no name. (pandas: save with index=False.)"
        )
    repeated = dict.fromkeys(name for place, name in enumerate(names) if name and name in names[:place])
    if repeated:
        listed = some(f'"{name}"' for name in repeated)
        faults.add(f"the name{'s' * (len(repeated) > 1)} {listed} stand{'s' * (len(repeated) == 1)} over more than one column.")


def rows_of(field: Column, column: RawColumn, missing: str, lines: Sequence[int], faults: Faults) -> NDArray[np.float64]:
    """The values of cells of a column that is known, (n,).

    Args:
        field: The column.
        column: The cells.
        missing: The text of a missing value; an empty cell is one as well.
        lines: The line of each row, for messages.
        faults: Notes cells that the column cannot hold.
    """
    places = column.present(("", missing))
    texts = np.full(len(column.texts), np.nan)
    texts[places] = field.read([column.texts[place] for place in places])
    odd = [place for place in places if np.isnan(texts[place])]
    if odd:
        cells = count(int(column.counts[odd].sum()), "cell")
        faults.add(f'the column "{field.name}" is a {field.kind}, which cannot hold {cells}: {column.where(odd, lines)}.')
    return column.numbered(texts)


def _space(
    findings: Sequence[Finding], absent: Sequence[bool], parts: Mapping[str, Any], values: NDArray[np.float64]
) -> TableSpace:
    """The space that is measured on training values (n, columns); ``absent`` says which columns may be missing."""
    named = zip(findings, absent, strict=True)
    return TableSpace.of([finding.measured(values[:, place], empty) for place, (finding, empty) in enumerate(named)], **parts)


def _chosen(where: str, table: RawTable, wanted: _Wanted, faults: Faults) -> tuple[list[RawColumn], _Wanted]:
    """The columns that the options leave, in the table's order, and the options without names that are none of columns.

    These are noted where the schema names one of them, or something is wrong already.

    Raises:
        UsageError: With all unknown names, where options alone are wrong.
    """
    known = set(table.names)
    in_schema = (*wanted.entries, *((wanted.target,) if wanted.target and wanted.target_in_schema else ()))
    target = (wanted.target,) if wanted.target and not wanted.target_in_schema else ()
    options = {"columns": wanted.columns, "drop": wanted.drop, "target": target, "schema": in_schema}
    unknown = [(name, option) for option, names in options.items() for name in names if name not in known]
    words = [f'"{name}", which `{option}` names.{did_you_mean(name, table.names)}' for name, option in unknown]
    if words and not faults.sentences and all(option != "schema" for _, option in unknown):
        raise UsageError(f"{where} has no column {' It has no column '.join(words)} Columns: {', '.join(table.names)}.")
    for sentence in words:
        faults.add(f"there is no column {sentence}")
    wanted = replace(
        wanted,
        target=wanted.target if wanted.target in known else "",
        entries={name: entry for name, entry in wanted.entries.items() if name in known},
    )
    keep = known.intersection(wanted.columns)
    left = [column for column in table.columns if (not keep or column.name in keep) and column.name not in wanted.drop]
    if not left:
        raise UsageError(f"{where}: `columns` and `drop` leave no column of {', '.join(table.names)}.")
    return left, wanted


def _findings(
    columns: Sequence[RawColumn], wanted: _Wanted, table: RawTable, faults: Faults
) -> tuple[list[Finding], frozenset[str]]:
    """What each column holds, and the names of those that could not be read so."""
    findings, unread = [], []
    for column in columns:
        before = len(faults.sentences)
        findings.append(_finding(column, wanted, table, faults))
        unread += [column.name] * (len(faults.sentences) > before)
    return findings, frozenset(unread)


def _finding(column: RawColumn, wanted: _Wanted, table: RawTable, faults: Faults) -> Finding:
    kind, levels = table.types.get(column.name, ("", ()))
    entry = wanted.entries.get(column.name)
    ordered = of_levels(column, levels, wanted.missing) if is_ordered(kind) and entry is None else None
    if ordered is not None:
        return ordered
    finding = decide(column, entry, wanted.missing, table.lines, faults)
    return finding if entry is not None else declared(finding, column, wanted.missing, kind)


def _check_target(where: str, target: str, findings: Sequence[Finding], faults: Faults) -> None:
    if not target or target in {finding.name for finding in findings if finding.kind != "drop"}:
        return
    sentence = f'the target "{target}" is a column that is left out. Keep it, or name another `target`.'
    if not faults.sentences:
        raise UsageError(f"{where}: {sentence}")
    faults.add(sentence)


def _check_constraints(
    wanted: _Wanted,
    unread: frozenset[str],
    findings: Sequence[Finding],
    values: NDArray[np.float64],
    table: RawTable,
    faults: Faults,
) -> list[str]:
    """Note rows that break a constraint, and in a table that is refused already what is wrong with constraints.

    Of constraints of a column in ``unread`` only their names are checked.

    Returns:
        Notes on constraints that forbid nothing.

    Raises:
        UsageError: With all that is wrong with constraints of a table that is not.
    """
    constraints = [each for each in wanted.constraints if not unread & set(each.names)]
    named = {name for constraint in wanted.constraints for name in constraint.names}
    columns = dict(zip((finding.name for finding in findings), values, strict=True))
    fields: dict[str, Column] = {f.name: f.measured(columns[f.name]) for f in findings if f.name in named}
    known = fields | {f.name: Category(f.name, (), (1.0,), True) for f in findings if f.name not in named}
    wrong = list(wanted.refused)
    for each in wanted.constraints:
        wrong += constraint_faults(each, known) if each in constraints else strangers(each, known)
    if not faults.sentences:
        refuse_constraints(wrong)
    for sentence in wrong:
        faults.add(sentence)
    if wrong:
        return []
    for constraint in constraints:
        broken = np.flatnonzero(~holds(constraint, fields, columns)).tolist()
        if broken:
            rows = f"{len(broken):,} row{'s break' if len(broken) > 1 else ' breaks'}"
            lines = f"line{'s' * (len(broken) > 1)} {some([table.lines[row] for row in broken])}"
            faults.add(
                f"{rows} the constraint {quoted(constraint.text)}: {lines}. Correct or remove these rows, or change the "
                "constraint."
            )
    return constraint_notes(constraints, fields)
