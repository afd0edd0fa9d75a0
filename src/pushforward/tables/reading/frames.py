"""Read data frames of pandas and polars as tables, and write samples to frames and files."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.data.core.hashes import Floats, Mask
from pushforward.errors import DataError, imported
from pushforward.tables.column import Column, with_gaps
from pushforward.tables.columns import Number
from pushforward.tables.reading.csv_dialect import SEQUENCE, Layout
from pushforward.tables.reading.string_columns import RawColumn, RawTable

if TYPE_CHECKING:
    from pushforward.tables.space import TableSpace

_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
TRUTHS = {"true": True, "false": False}
_DETAILS = {"Datetime": ("time_unit", "time_zone"), "Decimal": ("precision", "scale")}
_POLARS = "polars "  # begins the types of a polars frame, as a layout holds them


def _is_polars(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "polars"


def frame_table(frame: Any) -> RawTable:
    """Convert a data frame to the text of a table."""
    columns = []
    types = {}
    for place, label in enumerate(frame.columns):
        name = str(label)
        series = frame[name] if _is_polars(frame) else frame.iloc[:, place]
        values = series.to_list()
        present = [value for value in values if not _missing(value)]
        whole = len(present) < len(values) and all(map(_is_integer, present))
        days = all(map(_is_day, present))
        single = str(series.dtype).lower() == "float32"
        write = partial(_cell, name, whole=whole, days=days, single=single)
        columns.append(RawColumn.of(name, map(write, values)))
        kind, levels = _type_of(series)
        types[name] = kind, tuple(map(write, levels))
    return RawTable(tuple(columns), range(1, len(frame) + 1), types=types)


def _is_integer(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def _is_day(value: object) -> bool:
    return isinstance(value, date) and getattr(value, "time", time)() == time()


def _type_of(series: Any) -> tuple[str, list[Any]]:
    dtype = series.dtype
    name = type(series.dtype).__name__
    if not _is_polars(series):
        if str(dtype) != "category":
            return str(dtype), []
        categories = series.cat.categories
        ordered = "ordered " if series.cat.ordered else ""
        return f"{ordered}category:{categories.dtype}", categories.to_list()
    if name == "Categorical":
        return f"{_POLARS}category:{name}", []
    if name == "Enum":
        return f"{_POLARS}category:{name}", dtype.categories.to_list()
    details = [str(getattr(dtype, detail) or "-") for detail in _DETAILS.get(name, ())]
    return _POLARS + " ".join([name, *details]), []


def _missing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _cell(name: str, value: Any, whole: bool, days: bool, single: bool) -> str:
    if _missing(value):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        if math.isinf(value):
            raise DataError(
                f'The column "{name}" contains {value}: expected finite numbers, and NaN for '
                "missing values."
            )
        if whole and value.is_integer():
            return str(int(value))
        if single:
            value = str(np.float32(value))  # 45.9 instead of 45.90000152587891
        return repr(float(value))
    if isinstance(value, datetime):
        if days:
            return value.strftime("%Y-%m-%d")
        fraction = ".%f" if value.microsecond else ""
        return value.strftime(f"%Y-%m-%d %H:%M:%S{fraction}")
    if isinstance(value, (str, date, time)) or type(value).__name__ == "Decimal":
        return str(value).strip()
    raise DataError(
        f'The column "{name}" contains a {type(value).__name__}: expected numbers, strings, dates '
        "or booleans."
    )


def frame_of(
    fields: Sequence[Column],
    values: Floats,
    layout: Layout = Layout(),
    fill: Mapping[str, str] | None = None,
) -> Any:
    """Convert values of a table to a data frame.

    Of polars if the table was one, otherwise of pandas.

    Columns have the types of the original frame if these can represent the values.

    Args:
        values: Their values, (n, columns).

    Returns:
        The frame; None if the library is not installed.
    """
    polars = any(kind.startswith(_POLARS) for kind in layout.types)
    polars = polars and importlib.util.find_spec("polars") is not None
    if not polars and importlib.util.find_spec("pandas") is None:
        return None
    library: Any = importlib.import_module("polars" if polars else "pandas")
    types = layout.types or ("",) * len(fields)
    levels = layout.levels or ((),) * len(fields)
    series = _polars_series if polars else _pandas_series
    known: dict[str, Any] = {}
    for field, column, kind, texts in zip(fields, values.T, types, levels, strict=True):
        known[field.name] = series(library, field, column, kind, texts)
    for name, value in (fill or {}).items():
        known[name] = range(1, len(values) + 1) if value == SEQUENCE else [value] * len(values)
    order = layout.columns or known
    return library.DataFrame({name: known[name] for name in order if name in known})


def _objects(field: Column, values: Floats) -> tuple[list[Any], str]:
    absent = np.isnan(values)
    integer = "Int64" if absent.any() else "int64"
    texts = field.cells(values)
    names = field.levels
    objects: Iterable[Any] = texts
    convert: Callable[[Any], Any] = str
    kind = ""
    if isinstance(field, Number) and not field.form.has_unit and not field.form.pattern:
        objects = field.form.rounded(values).tolist()
        convert = int if field.kind == "whole" else float
        kind = integer if field.kind == "whole" else "float64"
    elif isinstance(field, Number) and "%d" in field.form.pattern.replace("%-", "%"):
        objects = values
        convert = _moment
        kind = "datetime64[us]"
    elif names and {name.lower() for name in names} <= TRUTHS.keys():
        objects = map(str.lower, texts)
        convert = TRUTHS.__getitem__
        kind = "boolean" if absent.any() else "bool"
    elif names and all(map(_WHOLE.fullmatch, names)):
        convert = int
        kind = integer
    pairs = zip(objects, absent, strict=True)
    return [None if missing else convert(value) for value, missing in pairs], kind


def _moment(value: float) -> datetime:
    return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)


def _pandas_series(pd: Any, field: Column, values: Floats, kind: str, levels: Sequence[str]) -> Any:
    objects, own = _objects(field, values)
    series = pd.Series(objects, dtype=own or None)
    try:
        if "category:" in kind:
            index = pd.Index(levels).astype(kind.partition(":")[2])
            categories = pd.CategoricalDtype(index, ordered=kind.startswith("ordered"))
            typed = series.astype(index.dtype).astype(categories)
        elif "datetime64" in kind and ", " in kind:
            zone = kind.partition(", ")[2].rstrip("]")
            first = np.ones(len(series), dtype=bool)
            local = series.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
            typed = local.astype(kind)
        elif kind:
            typed = series.astype(kind)
        else:
            typed = series
    except (AttributeError, TypeError, ValueError):
        return series
    if typed.isna().sum() == series.isna().sum():
        return typed
    return series


def _polars_series(pl: Any, field: Column, values: Floats, kind: str, levels: Sequence[str]) -> Any:
    objects, own = _objects(field, values)
    texts = pl.Series(field.name, field.cells(values), dtype=pl.String)
    texts = texts.set(pl.Series(np.isnan(values)), None)
    name, *details = kind.removeprefix(_POLARS).split(" ")
    try:
        if name == "Datetime":
            unit, zone = details
            typed = pl.Series(field.name, objects, dtype=pl.Datetime("us"))
            if zone != "-":
                # a time that the clocks skip is an hour later
                local = {"time_zone": zone, "ambiguous": "earliest", "non_existent": "null"}
                later = typed.dt.offset_by("1h").dt.replace_time_zone(**local)
                typed = typed.dt.replace_time_zone(**local).fill_null(later)
            typed = typed.dt.cast_time_unit(unit)
        elif name == "Decimal":
            typed = texts.cast(pl.Decimal(*map(int, details)))
        elif name == "Time":
            typed = texts.str.to_time("%H:%M:%S%.f")
        elif "category:" in name or not own:
            categories = {
                "category:Enum": pl.Enum(list(levels)),
                "category:Categorical": pl.Categorical,
            }
            typed = texts.cast(categories.get(name, pl.String))
        else:
            typed = pl.Series(field.name, objects).cast(getattr(pl, name))
    except (AttributeError, TypeError, ValueError, pl.exceptions.PolarsError):
        return texts
    if typed.null_count() == texts.null_count():
        return typed
    return texts


def filled_frame(frame: Any, fields: Sequence[Column], values: Floats, missing: Mask) -> Any:
    """Fill in the missing values of a data frame.

    Columns keep their types if these can represent the values.

    Args:
        values: Values of these columns (n, columns).
        missing: Mask of the values that are missing in the frame, bool (n, columns).
    """
    polars = _is_polars(frame)
    library: Any = importlib.import_module("polars" if polars else "pandas")
    series = _polars_series if polars else _pandas_series
    filled = frame.clone() if polars else frame.copy()
    labels = {str(label): label for label in frame.columns}
    for place, field, rows in with_gaps(fields, missing):
        label = labels[field.name]
        source = frame[label]
        drawn = series(library, field, values[rows, place], *_type_of(source))
        if polars:
            try:
                column = source.clone().scatter(rows, drawn.cast(source.dtype))
            except library.exceptions.PolarsError:
                column = source.cast(library.String).scatter(rows, drawn.cast(library.String))
            filled = filled.with_columns(column)
            continue
        cells = source.tolist()
        new = drawn.tolist()
        if any(isinstance(cell, str) for cell in cells):
            new = field.cells(values[rows, place])
        for row, cell in zip(rows.tolist(), new, strict=True):
            cells[row] = cell
        column = library.Series(cells, index=source.index)
        with suppress(TypeError, ValueError):
            typed = library.Series(cells, index=source.index, dtype=source.dtype)
            if typed.notna().all():
                column = typed
        filled[label] = column
    return filled


def parquet_frame(path: Path) -> Any:
    """Read a Parquet file as a pandas data frame."""
    pandas = for_parquet(path)
    try:
        return pandas.read_parquet(path, engine="pyarrow")
    except Exception as error:
        raise DataError(f"{path} cannot be read as a Parquet file: {error}.") from error


def write_parquet(path: Path, frames: Sequence[Any]) -> None:
    """Concatenate data frames and write them to a Parquet file."""
    if frames and _is_polars(frames[0]):
        importlib.import_module("polars").concat(frames).write_parquet(path)
        return
    for_parquet(path).concat(frames, ignore_index=True).to_parquet(
        path, engine="pyarrow", index=False
    )


def write_samples(
    path: Path, space: TableSpace, parts: Iterable[tuple[Any, Any]], fill: Mapping[str, str]
) -> None:
    """Write samples to a Parquet file; arguments as of `write_text`, without columns to fill."""
    write_parquet(path, [space.frame(x) for x, _ in parts])


def for_parquet(path: Path) -> Any:
    """Import pandas, which reads and writes Parquet files with pyarrow."""
    needed = f"{path} needs pyarrow and pandas"
    imported("pyarrow", needed, "tables")
    return imported("pandas", needed, "tables")


def write_text(
    path: Path, space: TableSpace, parts: Iterable[tuple[Any, Any]], fill: Mapping[str, str]
) -> None:
    """Write samples as text in the format of the training file, ``.tsv`` files with tabs.

    Args:
        parts: Pairs (samples in data units, condition).
    """
    separator = "\t" if path.suffix.lower() == ".tsv" else space.layout.separator
    names = list(space.names)
    if fill:
        names = [name for name in space.layout.columns if name in space.names or name in fill]
    count = itertools.count(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        if space.layout.header:
            writer.writerow(names)
        for x, _ in parts:
            for cells in space.records(x):
                row = dict(zip(space.names, cells, strict=True))
                number = str(next(count))
                for name, value in fill.items():
                    row[name] = number if value == SEQUENCE else value
                writer.writerow(map(row.__getitem__, names))
