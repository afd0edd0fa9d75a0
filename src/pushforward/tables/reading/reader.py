"""Read tables: ``.csv``, ``.tsv``, ``.data``, ``.txt`` and Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.data.core.arrays import numbered, refuse_rounding
from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.hashes import Floats, Mask, numbered_copies
from pushforward.data.readers.reader import MAX_BYTES, TABLE_OPTIONS, DataOptions, Examples, Reader
from pushforward.data.spaces import TableSpace
from pushforward.errors import DataError, UsageError, did_you_mean, quoted
from pushforward.numbers import finite, plural, some
from pushforward.tables.column import Column
from pushforward.tables.constraints import Constraint, check_constraints, holds
from pushforward.tables.reading.csv_dialect import (
    Layout,
    check_names,
    gappy_values,
    read_known,
    text_table,
    with_names,
)
from pushforward.tables.reading.frames import frame_table, parquet_frame
from pushforward.tables.reading.inference import Finding, form_of, of_levels
from pushforward.tables.reading.personal import looks_like
from pushforward.tables.reading.schema import EXAMPLES, TableFacts, decide, pooled, schema_of
from pushforward.tables.reading.string_columns import MISSING, Faults, RawColumn, RawTable

# a column of at most so many decimals is one of a table, which keeps decimals, whole numbers and
# ranges
DECIMALS = 4
# A number that holds this share of a column of many values, and so many times the mean share, makes
# it a table's column.
ATOM_SHARE = 0.02
ATOM_RATIO = 10
FEW = 20
FIRST = 200  # different cells of a column that are tried first: a text among them decides


def _read(path: Path, reading: DataOptions) -> Dataset:
    if reading.stream or reading.conversion:
        raise UsageError(
            f"`stream`, `resize`, `channels` and `background` apply only to images, and {path} is "
            "a table. Leave them out."
        )
    table, faults = _opened(path, reading)
    vectors = bool(reading.given)
    read_as = "read as vectors; use `table=True` to read a table, whose samples keep the decimals"
    if reading.table is not None:
        vectors = not reading.table
        read_as = ""
    elif (
        not vectors
        and path.suffix.lower() == ".csv"
        and not reading.given_options.keys() & TABLE_OPTIONS
    ):
        vectors = are_vectors(table, reading.target)
    if vectors and not faults.sentences:
        split, schema = vectors_of(path, table, reading)
        return build(
            path.stem,
            split,
            schema=schema,
            limit=reading.limit,
            seed=reading.seed,
            header=table.header,
            read_as=read_as,
        )
    if reading.given:
        raise UsageError(
            f"`given` applies only to vectors, and {path} is read as a table. Leave it out: a "
            "model of a table can be given values of any columns when sampling."
        )
    return table_dataset(path.stem, str(path), table, reading, faults)


def _examples(path: Path, reading: DataOptions) -> Examples:
    table, faults = _opened(path, reading)
    faults.refuse(str(path))
    split, schema = vectors_of(path, table, reading)
    return (
        split,
        schema.classes,
        schema.columns if table.header is not False or reading.columns else (),
    )


def _opened(path: Path, reading: DataOptions) -> tuple[RawTable, Faults]:
    faults = Faults()
    if path.suffix.lower() == ".parquet":
        return frame_table(parquet_frame(path)), faults
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 30} GB. Save it as .npy.")
    cells = text_table(path.read_bytes(), faults)
    options = reading.header, reading.columns, reading.target
    return with_names(str(path), cells, faults, *options), faults


def read_pair(train: Path, held_out: Path, reading: DataOptions) -> Dataset:
    """Read two files as one table, and hold out the rows of the second."""
    first, faults = _opened(train, reading)
    other, further = _opened(held_out, reading)
    faults.sentences += further.sentences
    both = first.followed_by(other)
    return table_dataset(
        held_out.stem, f"{train} and {held_out}", both, reading, faults, len(other.lines)
    )


def read_rows(path: Path, space: TableSpace) -> Floats:
    """Read the rows of a file as values of a known table, (n, columns).

    Numbers may lie outside the columns' ranges, and unknown texts have the number after the last
    category.
    """
    if path.suffix.lower() == ".parquet":
        return frame_rows(parquet_frame(path), space, str(path))
    return _foreign(str(path), read_known(path, space.names, space.layout), space)


def frame_rows(frame: Any, space: TableSpace, name: str = "The data frame") -> Floats:
    """Return the rows of a data frame as values of a known table, (n, columns).

    Args:
        frame: Data frame of pandas or polars; columns with other names are ignored. Dates may be in
            ISO 8601 format.
    """
    return _foreign(name, frame_table(frame), space)


def _foreign(where: str, table: RawTable, space: TableSpace) -> Floats:
    lacking = [name for name in space.names if name not in table.names]
    if lacking:
        raise DataError(
            f"{where} does not contain the columns {some(lacking)}. It contains "
            f"{some(table.names, 12)}."
        )
    values, _ = gappy_values(where, table, space.fields, space.layout.missing, foreign=True)
    return values


TABLES = Reader((".csv", ".tsv", ".data", ".txt", ".parquet"), _read, _examples, read_pair)


def are_vectors(table: RawTable, target: str | None) -> bool:
    """Return whether all columns but the target are finite numbers without atoms."""
    for column in table.columns:
        if column.name == target:
            if "" in column.texts:
                return False
            continue
        if None in map(finite, column.texts[:FIRST]):
            return False
        values = _numbers(column)
        if not _finite(values).all():
            return False
        _, places = np.unique(values, return_inverse=True)
        counts = np.bincount(places.reshape(-1), column.counts)
        share = counts.max() / len(column.codes)
        if len(counts) > FEW and share > ATOM_SHARE and share > ATOM_RATIO / len(counts):
            return False
        if target is None and form_of(map(str.strip, column.texts)).decimals in range(DECIMALS + 1):
            return False
    return True


def _numbers(column: RawColumn) -> Floats:
    return np.array(list(map(finite, column.texts)), dtype=np.float64)


def _finite(values: Floats) -> Mask:
    with np.errstate(over="ignore"):
        return np.isfinite(values.astype(np.float32))


def vectors_of(path: Path, table: RawTable, reading: DataOptions) -> tuple[Split, Schema]:
    """Convert the rows of a table of numbers to vectors.

    Returns:
        Its rows, and their description.
    """
    target = reading.target
    labels = None
    classes = tuple[str, ...]()
    columns = [column for column in table.columns if column.name != target]
    if not columns:
        raise DataError(
            f"{path} contains no column except the target: expected at least one column of numbers."
        )
    if target is not None:
        (label,) = _chosen(str(path), table, (target,), ())
        where = f'{path}, column "{target}"'
        if "" in label.texts:
            rows = label.where([label.texts.index("")], table.lines)
            raise DataError(
                f"{where}: labels are missing in {rows}. Fill them in or remove the rows."
            )
        cells = np.array(label.texts)[label.codes]
        if np.isfinite(_numbers(label)).all():
            cells = cells.astype(np.float64)  # labels sort as numbers
        labels, classes = numbered(cells, where)
    x = np.empty((len(table.lines), len(columns)))
    integer = []
    for place, column in enumerate(columns):
        where = f'{path}, column "{column.name}"'
        values = _numbers(column)
        odd = np.flatnonzero(~_finite(values)).tolist()
        if odd:
            raise DataError(
                f"{where}: expected finite numbers; got {column.where(odd, table.lines)}. Correct "
                "or remove these rows, drop the column, use it as the label "
                f'(`target="{column.name}"`), or read a table, which may contain texts '
                "(`table=True`)."
            )
        x[:, place] = values[column.codes]
        exact = not any(set(text) & set(".eE") for text in column.texts)
        if exact and (values == np.rint(values)).all():
            integer.append(place)
            refuse_rounding(x[:, place], where)
    hashes = reduce(np.add, (column.hashes for column in table.columns))
    apart = reading.apart(hashes, list(x.T))
    names = tuple(column.name for column in columns)
    schema = Schema(classes, names, tuple(integer), target or "", apart=apart)
    return Split(x.astype(np.float32), labels, numbered_copies(hashes) if apart else hashes), schema


def table_dataset(
    name: str,
    where: str,
    table: RawTable,
    reading: DataOptions,
    faults: Faults | None = None,
    held_out: int = 0,
) -> Dataset:
    """Build the data set of a table.

    Args:
        held_out: Number of rows at the end to hold out; with 0, about a tenth is chosen by content.
    """
    faults = faults or Faults()
    schema = reading.schema or {}
    texts = schema.get("missing", MISSING) if reading.missing is None else reading.missing
    missing = ("", *texts)
    target = reading.target
    if target is None:
        target = str(schema.get("target") or "")
    constraints = tuple(map(Constraint, reading.constraints or schema.get("constraints", ())))
    entries: Mapping[str, Any] = schema.get("columns", {})
    named = [*entries, target] if target else entries
    columns = _chosen(where, table, reading.columns, reading.drop, list(named))
    findings = []
    for column in columns:
        known = column.without(missing)
        findings.append(_finding(known, entries.get(column.name), table, faults))
    fields = [finding for finding in findings if finding.kind != "drop"]
    facts = TableFacts.of(table, findings, missing)
    faults.refuse(where, schema_of(facts, target, constraints))
    if not fields:
        raise DataError(
            f"{where}: all columns are left out. Columns of the table: {', '.join(table.names)}."
        )
    names = [finding.name for finding in fields]
    if target and target not in names:
        raise UsageError(
            f'{where}: the target "{target}" is left out. Keep this column, or choose another '
            "`target`."
        )
    used = [column for column in columns if column.name in names]
    rows = np.empty((len(table.lines), len(fields)))
    for place, (finding, column) in enumerate(zip(fields, used, strict=True)):
        rows[:, place] = finding.values(column.without(missing))
    hashes = np.zeros(len(rows), dtype=np.uint64)  # of all columns that the user keeps
    contents = np.zeros(len(rows), dtype=np.uint64)  # of those used
    for column in columns:
        if entries.get(column.name, {}).get("kind") != "drop":
            cells = column.hashes
            hashes += cells
            if column.name in names:
                contents += cells
    if constraints:
        _check_constraints(where, constraints, fields, rows.T, table.lines)
    layout = _layout(table, used, missing)
    header = table.header
    # of all rows, so that held-out ones fit
    absent = [bool(np.isnan(column).any()) for column in rows.T]
    numbers = None
    if "date" not in [finding.kind for finding in fields]:
        numbers = [rows[:, place] for place, f in enumerate(fields) if f.numeric]
    apart = reading.apart(contents, numbers)
    del table, columns, used, column, known
    stay = set(names)
    if reading.rare != "keep":
        stay = {name for constraint in constraints for name in constraint.names}
        stay |= {name for name, entry in entries.items() if "names" in entry}

    def fit(train: Split, held_out: Split) -> tuple[TableSpace, Split, Split]:
        found, values, learned = pooled(fields, (train.x, held_out.x), stay, reading.seed)
        parts = zip(found, learned[0].T, absent, strict=True)
        columns = [finding.measured(column, empty) for finding, column, empty in parts]
        levels = []
        for texts, column in zip(layout.levels, columns, strict=False):  # a file has no levels
            occurring = set(column.levels)
            levels.append(tuple(text for text in texts if text in occurring))
        form = replace(layout, levels=tuple(levels))
        space = TableSpace.of(columns, target, layout=form, constraints=constraints)
        splits = []
        for split, of_file, of_model in zip((train, held_out), values, learned, strict=True):
            x = space.encoded(of_model)
            splits.append(Split(x, source_hashes=split.hashes, table_values=of_file))
        return space, splits[0], splits[1]

    examples = Split(rows, source_hashes=numbered_copies(hashes) if apart else hashes)
    splits = [examples]
    if held_out:
        last = len(rows) - held_out
        splits = [examples.take(slice(last)), examples.take(slice(last, None))]
    data = build(
        name,
        *splits,
        schema=Schema(fit=fit, apart=apart),
        limit=reading.limit,
        seed=reading.seed,
        header=header,
    )
    assert isinstance(data.space, TableSpace)
    return replace(data, table=facts.fitted(data.space.fields))


def _finding(
    column: RawColumn,
    entry: Mapping[str, Any] | None,
    table: RawTable,
    faults: Faults,
) -> Finding:
    kind, order = table.types.get(column.name, ("", ()))
    finding = None
    if "category:" in kind and not entry:
        ordered = kind.startswith("ordered ") or kind.endswith("category:Enum")
        finding = of_levels(column, order or column.texts, ordered)
    if finding is None:
        finding = decide(column, entry, table.lines, faults)
    count = int(column.counts.sum())
    return replace(
        finding,
        personal=looks_like(column.name, column.texts, count, finding.kind),
        examples=column.texts[:EXAMPLES],
        missing=1 - count / max(1, len(column.codes)),
    )


def _layout(table: RawTable, used: Sequence[RawColumn], missing: Sequence[str]) -> Layout:
    absent = []
    kinds = []
    levels = []
    for column in used:
        absent.append(column.missing_text(missing))
        if table.types:
            kind, texts = table.types[column.name]
            kinds.append(kind)
            levels.append(texts)
    return Layout(
        table.separator,
        table.header is not False,
        tuple(absent),
        tuple(kinds),
        tuple(levels),
        table.names if len(used) < len(table.names) else (),
    )


def frame_dataset(frame: Any, reading: DataOptions) -> Dataset:
    """Build the data set of a data frame of pandas or polars."""
    reading.refuse_stream("a data frame")
    if reading.resize or reading.header is not None or reading.given or reading.table is False:
        raise UsageError(
            "`resize`, `header`, `given` and `table=False` do not apply to a data frame. Leave "
            "them out."
        )
    faults = Faults()
    table = frame_table(frame)
    check_names(table.names, faults)
    return table_dataset("frame", "The data frame", table, reading, faults)


def _chosen(
    where: str, table: RawTable, keep: Sequence[str], drop: Sequence[str], named: Sequence[str] = ()
) -> list[RawColumn]:
    for name in (*keep, *drop, *named):
        if name not in table.names:
            raise UsageError(
                f'{where} has no column "{name}", which an option or the schema refers to.'
                f"{did_you_mean(name, table.names)} Columns: {', '.join(table.names)}."
            )
    kept = set(keep or table.names).difference(drop)
    return [column for column in table.columns if column.name in kept]


def _check_constraints(
    where: str,
    constraints: Sequence[Constraint],
    findings: Sequence[Finding],
    values: Floats,
    lines: Sequence[int],
) -> None:
    columns = {}
    fields: dict[str, Column] = {}
    for finding, column in zip(findings, values, strict=True):
        columns[finding.name] = column
        fields[finding.name] = finding.measured(column)
    check_constraints(constraints, fields)
    for constraint in constraints:
        broken = np.flatnonzero(~holds(constraint, fields, columns)).tolist()
        if broken:
            raise DataError(
                f"{where}: the constraint {quoted(constraint.text)} does not hold in "
                f"{plural(len(broken), 'row')} (lines {some([lines[row] for row in broken])}). "
                "Correct or remove these rows, or change the constraint."
            )
