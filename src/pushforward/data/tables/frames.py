"""Data frames of pandas and polars: read as tables, and written from samples."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.category import Category
from pushforward.data.tables.frame_types import TRUTHS, as_typed, type_of
from pushforward.data.tables.layout import Layout
from pushforward.data.tables.number import Number
from pushforward.data.tables.polars_frames import filled_polars, is_polars, polars_frame, polars_type, wants_polars
from pushforward.data.tables.raw import RawColumn, RawTable
from pushforward.errors import DataError, imported
from pushforward.table_column import Column, with_gaps

__all__ = [
    "filled_frame",
    "for_parquet",
    "frame_of",
    "frame_table",
    "has_pandas",
    "is_frame",
    "parquet_frame",
    "read_parquet",
    "write_parquet",
]


def has_pandas() -> bool:
    """Whether pandas is installed."""
    return importlib.util.find_spec("pandas") is not None


def is_frame(value: object) -> bool:
    """Whether a value is a data frame of pandas or polars; neither is imported."""
    kind = type(value)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] in ("pandas", "polars")


def frame_table(frame: Any) -> RawTable:
    """A data frame as the text of a file would hold it.

    Raises:
        DataError: For values that no cell of a table holds, such as lists.
    """
    names, columns, types = [str(name) for name in frame.columns], [], {}
    for place, name in enumerate(names):
        series = frame[name] if is_polars(frame) else frame.iloc[:, place]
        values = [_short(value) for value in series.to_list()] if str(series.dtype).lower() == "float32" else series.to_list()
        style = _style(values)
        columns.append(RawColumn.of(name, _cells(name, values, style)))
        if is_polars(frame):
            types[name] = polars_type(series)
        else:
            levels = _cells(name, series.cat.categories.to_list(), style) if hasattr(series, "cat") else ()
            types[name] = (type_of(series), tuple(levels))
    return RawTable(tuple(columns), range(1, len(frame) + 1), types=types)


def _short(value: Any) -> Any:
    """A number of float32 with its own digits, 45.9, and not those of the float64 number that equals it, 45.90000152587891."""
    return value if _missing(value) else float(str(np.float32(value)))


@dataclass(frozen=True)
class _Style:
    """How the values of a column are written.

    Args:
        whole: Whether whole floats lose their point.
        days: Whether dates at midnight lose their time.
    """

    whole: bool
    days: bool


def _style(values: Sequence[Any]) -> _Style:
    """Floats lose their point where all are whole, beside missing ones; dates lose their time where all are at midnight."""
    present = [value for value in values if not _missing(value)]
    whole = len(present) < len(values) and all(isinstance(value, float) and value.is_integer() for value in present)
    return _Style(whole, all(isinstance(value, date) and _midnight(value) for value in present))


def _cells(name: str, values: Sequence[Any], style: _Style) -> list[str]:
    """The texts of values."""
    known: dict[Any, str] = {}
    cells = []
    for value in values:
        key = (type(value), value)
        if _missing(value):
            cells.append("")
        elif not isinstance(value, (str, int, float)):
            cells.append(_cell(name, value, style))
        else:
            if key not in known:
                known[key] = _cell(name, value, style)
            cells.append(known[key])
    return cells


def _midnight(value: date) -> bool:
    return not isinstance(value, datetime) or value.time() == time()


def _missing(value: Any) -> bool:
    """Whether a value is None, NaN, or the NA or NaT of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _cell(name: str, value: Any, style: _Style) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        if math.isinf(value):
            raise DataError(f'The column "{name}" holds {value}: expected finite numbers, and NaN where there is no value.')
        return str(int(value)) if style.whole and value.is_integer() else repr(float(value))
    if isinstance(value, datetime):
        day = style.days and _midnight(value)
        pattern = "%Y-%m-%d" if day else "%Y-%m-%d %H:%M:%S.%f" if value.microsecond else "%Y-%m-%d %H:%M:%S"
        return value.strftime(pattern)
    if isinstance(value, (str, date, time)) or type(value).__name__ == "Decimal":
        return str(value).strip()
    raise DataError(f'The column "{name}" holds a {type(value).__name__}: expected numbers, texts, dates or booleans.')


def frame_of(fields: Sequence[Column], values: NDArray[np.float64], layout: Layout = Layout()) -> Any:
    """Values of a table (n, columns) as a data frame: of polars where the table was one, else of pandas.

    Each column has the type that it has in the frame that the layout is of, else the one that its kind has in pandas.

    Returns:
        The frame; None where the library is not installed.
    """
    if wants_polars(layout):
        return polars_frame(fields, values, layout)
    if not has_pandas():
        return None
    import pandas as pd

    columns = {}
    for place, field in enumerate(fields):
        series = _series(pd, field, values[:, place])
        if layout.types:
            texts = [text or None for text in field.cells(values[:, place])]
            series = as_typed(pd, series, layout.types[place], texts, _levels(field, layout.levels[place]))
        columns[field.name] = series
    return pd.DataFrame(columns)


def _levels(field: Column, texts: tuple[str, ...]) -> dict[str, str]:
    """The texts of a category's levels, by the text that the column writes of each.

    None where two are written alike, and of an open column, whose samples are others as well.
    """
    if isinstance(field, Number) and field.open:
        return {}
    cells = field.cells(field.read(texts))
    levels = {cell or text: text for cell, text in zip(cells, texts, strict=True)}
    return levels if len(levels) == len(texts) else {}


def _series(pd: Any, field: Column, values: NDArray[np.float64]) -> Any:
    absent = np.isnan(values)
    if isinstance(field, Number) and field.kind == "date" and "%d" in field.form.pattern.replace("%-", "%"):
        return pd.to_datetime(pd.Series(np.where(absent, np.nan, values)), unit="s").dt.round("us")
    if isinstance(field, Number) and not field.form.pattern:
        rounded = field.form.rounded(values)
        if field.kind == "whole":
            return pd.Series(rounded).astype("Int64") if absent.any() else pd.Series(rounded.astype(np.int64))
        return pd.Series(rounded)
    texts = [None if missing else cell for cell, missing in zip(field.cells(values), absent, strict=True)]
    if isinstance(field, Category) and {name.lower() for name in field.names} == set(TRUTHS):
        truths = [None if text is None else TRUTHS[text.lower()] for text in texts]
        return pd.Series(truths, dtype="boolean" if absent.any() else bool)
    if isinstance(field, Category) and field.names and all(name.lstrip("-").isdecimal() for name in field.names):
        numbers = pd.Series(field.numbers(values))
        exact = all(str(int(name)) == name for name in field.names)
        return numbers.astype("Int64" if absent.any() else np.int64) if exact else pd.Series(texts)
    return pd.Series(texts)


def filled_frame(frame: Any, fields: Sequence[Column], values: NDArray[np.float64], missing: NDArray[np.bool_]) -> Any:
    """A data frame with its missing values filled in; columns keep their types where these can hold the values.

    Args:
        frame: The frame.
        fields: The columns that are filled in.
        values: Their values (n, columns).
        missing: Which are missing in the frame, (n, columns).
    """
    if is_polars(frame):
        return filled_polars(frame, fields, values, missing)
    import pandas as pd

    labels, filled = {str(label): label for label in frame.columns}, frame.copy()
    for place, field, rows in with_gaps(fields, missing):
        source = frame[labels[field.name]]
        cells = source.tolist()
        for row, cell in zip(rows.tolist(), _like(pd, source, field, values[rows, place]), strict=True):
            cells[row] = cell
        filled[labels[field.name]] = _typed(pd, cells, source)
    return filled


def _like(pd: Any, source: Any, field: Column, values: NDArray[np.float64]) -> list[Any]:
    """Values as a column of a frame holds them."""
    if pd.api.types.is_datetime64_any_dtype(source):
        return list(pd.to_datetime(pd.Series(values), unit="s").dt.round("us").dt.tz_localize(source.dt.tz))
    present = source.dropna()
    if any(isinstance(cell, str) for cell in present.tolist()):
        return field.cells(values)
    numeric = pd.api.types.is_numeric_dtype(source) and not pd.api.types.is_bool_dtype(source)
    if isinstance(field, Category) and len(present) and numeric:
        return field.numbers(values).tolist()
    return list(_series(pd, field, values))


def _typed(pd: Any, cells: list[Any], source: Any) -> Any:
    try:
        typed = pd.Series(cells, index=source.index, dtype=source.dtype)
    except (TypeError, ValueError):
        return pd.Series(cells, index=source.index)
    return typed if typed.notna().all() else pd.Series(cells, index=source.index)  # a category that the type does not have


def parquet_frame(path: Path) -> Any:
    """The pandas data frame of a Parquet file.

    Raises:
        MissingExtra: Where pandas or pyarrow is not installed.
        DataError: For a file that cannot be read.
    """
    pandas = for_parquet(path)
    try:
        return pandas.read_parquet(path, engine="pyarrow")
    except Exception as error:
        raise DataError(f"{path} cannot be read as a Parquet file: {error}.") from error


def read_parquet(path: Path) -> RawTable:
    """The table of a Parquet file; see `parquet_frame`."""
    return frame_table(parquet_frame(path))


def write_parquet(path: Path, frames: Sequence[Any]) -> None:
    """Write data frames below one another.

    Raises:
        MissingExtra: Where pandas or pyarrow is not installed.
    """
    if frames and is_polars(frames[0]):
        importlib.import_module("polars").concat(frames).write_parquet(path)
        return
    for_parquet(path).concat(frames, ignore_index=True).to_parquet(path, engine="pyarrow", index=False)


def for_parquet(path: Path) -> Any:
    """Pandas, which reads and writes Parquet files by pyarrow.

    Args:
        path: The file, for the message.

    Raises:
        MissingExtra: Where one of them is not installed.
    """
    needed = f"{path} needs a library that"
    imported("pyarrow", needed, "tables")
    return imported("pandas", needed, "tables")
