"""Build data sets from the text of tables with mixed types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.hashes import numbered_copies
from pushforward.data.readers.reader import Reading
from pushforward.data.spaces import TableSpace
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.numbers import counted, some
from pushforward.tables.column import Column
from pushforward.tables.columns import Category
from pushforward.tables.constraints import Constraint, check_constraints, holds
from pushforward.tables.reading.csv_dialect import Layout
from pushforward.tables.reading.frames import frame_table
from pushforward.tables.reading.inference import Finding, of_levels
from pushforward.tables.reading.personal import looks_like
from pushforward.tables.reading.rare import pooled
from pushforward.tables.reading.schema import TableFacts, decide, schema_of
from pushforward.tables.reading.string_columns import MISSING, Faults, RawColumn, RawTable


def table_dataset(
    name: str,
    where: str,
    table: RawTable,
    reading: Reading,
    faults: Faults | None = None,
    held_out: int = 0,
) -> Dataset:
    """Build the data set of a table.

    Args:
        name: Name of the data set.
        where: Name of the table in messages.
        table: Columns as text.
        reading: Reading options, which take precedence over entries of the schema.
        faults: Problems found so far.
        held_out: Number of rows at the end to hold out; with 0, about a tenth is chosen by content.

    Raises:
        UsageError: If an option names a column that the table does not have.
        DataError: If the table has problems; the message lists all of them.
    """
    faults = faults or Faults()
    schema = reading.schema
    missing = (
        "",
        *(schema.get("missing", MISSING) if reading.missing is None else reading.missing),
    )
    target = reading.target if reading.target is not None else str(schema.get("target") or "")
    constraints = tuple(map(Constraint, reading.constraints or schema.get("constraints", ())))
    entries: Mapping[str, Any] = schema.get("columns", {})
    columns = _chosen(where, table, reading, [*entries, *([target] if target else [])])
    findings = []
    for column in columns:
        entry, (kind, order) = entries.get(column.name), table.types.get(column.name, ("", ()))
        ordered = kind.startswith("ordered ") or kind.endswith("category:Enum")
        if "category:" in kind and not entry:
            stated = of_levels(column, order or column.texts, missing, ordered)
        else:
            stated = None
        finding = stated or decide(column, entry, missing, table.lines, faults)
        texts, count = column.values(missing)
        personal = looks_like(column.name, texts, count, finding.kind)
        findings.append(replace(finding, personal=personal))
    fields = [finding for finding in findings if finding.kind != "drop"]
    facts = TableFacts.of(table, columns, findings, missing)
    faults.refuse(where, schema_of(facts, target, [constraint.text for constraint in constraints]))
    if not fields:
        raise DataError(
            f"{where}: no column is left. The table has the columns {', '.join(table.names)}."
        )
    known = {finding.name: finding.kind for finding in fields}
    if target and target not in known:
        raise UsageError(
            f'{where}: the target "{target}" is left out. Keep this column, or choose another `target`.'
        )
    used = [column for column in columns if column.name in known]
    rows = np.empty((len(table.lines), len(fields)))
    for place, (finding, column) in enumerate(zip(fields, used, strict=True)):
        rows[:, place] = finding.values(column, missing)
    hashes, contents = np.zeros(
        (2, len(table.lines)), dtype=np.uint64
    )  # of all columns that the user keeps, and of those used
    for column in columns:
        if entries.get(column.name, {}).get("kind") != "drop":
            hashes += (cells := column.hashes)
            contents += cells if column.name in known else np.uint64(0)
    _check_constraints(where, constraints, fields, rows.T, table.lines)
    gaps = tuple(column.missing_text(missing) for column in used)
    types = tuple(table.types[column.name][0] for column in used if table.types)
    levels = tuple(table.types[column.name][1] for column in used if table.types)
    every = table.names if len(fields) < len(table.names) else ()
    layout = Layout(table.separator, table.header is not False, gaps, types, levels, every)
    header = table.header
    absent = [
        bool(np.isnan(column).any()) for column in rows.T
    ]  # of all rows, so that held-out ones fit
    if "date" in known.values():
        numbers = None
    else:
        numbers = [rows[:, place] for place, f in enumerate(fields) if f.numeric]
    apart = reading.apart(contents, numbers)
    del table, columns, used, column
    stay = {name for constraint in constraints for name in constraint.names}
    stay |= {name for name, entry in entries.items() if "names" in entry}

    def fit(train: Split, held_out: Split) -> tuple[TableSpace, Split, Split]:
        kept = set(known) if reading.rare == "keep" else stay
        found, values, learned = pooled(fields, (train.x, held_out.x), kept, reading.seed)
        parts = zip(found, learned[0].T, absent, strict=True)
        columns = [finding.measured(column, empty) for finding, column, empty in parts]
        levels = []
        for texts, column in zip(layout.levels, columns, strict=False):  # a file has no levels
            occurring = set(column.levels)
            levels.append(tuple(text for text in texts if text in occurring))
        form = replace(layout, levels=tuple(levels))
        space = TableSpace.of(columns, target, layout=form, constraints=constraints)
        encoded = []
        for split, of_file, of_model in zip((train, held_out), values, learned, strict=True):
            x = space.encoded(of_model)
            encoded.append(Split(x, source_hashes=split.hashes, table_values=of_file))
        return space, *encoded

    examples = Split(rows, source_hashes=numbered_copies(hashes) if apart else hashes)
    last = len(rows) - held_out
    if held_out:
        splits = [examples.take(slice(last)), examples.take(slice(last, None))]
    else:
        splits = [examples]
    data = build(
        name,
        *splits,
        schema=Schema(fit=fit, apart=apart),
        limit=reading.limit,
        seed=reading.seed,
        header=header,
    )
    assert isinstance(data.space, TableSpace)
    assert data.train.table_values is not None
    return replace(data, table=facts.fitted(data.space.fields, data.train.table_values))


def frame_dataset(frame: Any, reading: Reading) -> Dataset:
    """Build the data set of a data frame of pandas or polars.

    Raises:
        UsageError: For options that are for files or images.
        DataError: With all that is wrong with the table.
    """
    reading.refuse_stream("a data frame")
    if reading.size or reading.header is not None or reading.given or reading.table is False:
        raise UsageError(
            "`resize`, `header`, `given` and `table=False` do not apply to a data frame. Leave them out."
        )
    faults = Faults()
    table = frame_table(frame)
    check_names(table.names, faults)
    return table_dataset("frame", "The data frame", table, reading, faults)


def check_names(names: Sequence[str], faults: Faults) -> None:
    """Report empty and repeated column names."""
    if empty := [place for place, name in enumerate(names, 1) if not name]:
        faults.add(
            f"Every column needs a name, but column {some(empty)} has none. In pandas, save with index=False."
        )
    if repeated := [name for name, count in Counter(names).items() if name and count > 1]:
        faults.add(
            f"Column names must be unique, but these occur more than once: {some(map(quoted, repeated))}."
        )


def _chosen(where: str, table: RawTable, reading: Reading, named: Sequence[str]) -> list[RawColumn]:
    keep = set(reading.columns)
    drop = set(reading.drop)
    known = set(table.names)
    for name in (*reading.columns, *reading.drop, *named):
        if name not in known:
            hint = did_you_mean(name, table.names)
            raise UsageError(
                f'{where} has no column "{name}", which an option or the schema refers to.{hint} '
                f"Columns: {', '.join(table.names)}."
            )
    left = [
        column
        for column in table.columns
        if (not keep or column.name in keep) and column.name not in drop
    ]
    if not left:
        raise UsageError(
            f"{where}: `columns` and `drop` leave out all columns: {', '.join(table.names)}."
        )
    return left


def _check_constraints(
    where: str,
    constraints: Sequence[Constraint],
    findings: Sequence[Finding],
    values: NDArray[np.float64],
    lines: Sequence[int],
) -> None:
    named = {name for constraint in constraints for name in constraint.names}
    columns = dict(zip((finding.name for finding in findings), values, strict=True))
    fields: dict[str, Column] = {
        f.name: f.measured(columns[f.name]) for f in findings if f.name in named
    }
    check_constraints(
        constraints,
        {f.name: fields.get(f.name) or Category(f.name, (), (1.0,), True) for f in findings},
    )
    for constraint in constraints:
        broken = np.flatnonzero(~holds(constraint, fields, columns)).tolist()
        if broken:
            raise DataError(
                f"{where}: the constraint {quoted(constraint.text)} does not hold in "
                f"{counted(len(broken), 'row')} (lines {some([lines[row] for row in broken])}). "
                "Correct or remove these rows, or change the constraint."
            )
