"""Data frames of polars: the types of their columns, and samples in these types."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.tables.frame_types import TRUTHS
from pushforward.data.tables.layout import Layout
from pushforward.data.tables.number import Number
from pushforward.table_column import Column, with_gaps

__all__ = ["filled_polars", "is_polars", "polars_frame", "polars_type", "wants_polars"]

PREFIX = "polars "
"""Of the types of a polars frame, as a layout holds them."""
NUMBERS = ("Int8", "Int16", "Int32", "Int64", "Int128", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")


def is_polars(value: object) -> bool:
    """Whether a value is a frame of polars, which is not imported."""
    return type(value).__name__ == "DataFrame" and type(value).__module__.partition(".")[0] == "polars"


def wants_polars(layout: Layout) -> bool:
    """Whether a table was a polars frame, and polars is installed."""
    return any(kind.startswith(PREFIX) for kind in layout.types) and importlib.util.find_spec("polars") is not None


def polars_type(series: Any) -> tuple[str, tuple[str, ...]]:
    """The type of a series of polars as a layout holds it, and the texts of its levels where it is an Enum."""
    dtype = series.dtype
    name = type(dtype).__name__
    if name in ("Categorical", "Enum"):
        levels = tuple(dtype.categories.to_list()) if name == "Enum" else ()
        return f"{PREFIX}category:{name}", levels
    details = {"Datetime": ("time_unit", "time_zone"), "Decimal": ("precision", "scale")}.get(name, ())
    return PREFIX + " ".join([name, *(str(getattr(dtype, detail) or "-") for detail in details)]), ()


def polars_frame(fields: Sequence[Column], values: NDArray[np.float64], layout: Layout) -> Any:
    """Values of a table (n, columns) as a polars frame, each column in the type that it has in the training frame.

    A column has its texts where the type cannot hold a value.
    """
    import polars

    columns = zip(fields, values.T, layout.types, layout.levels, strict=True)
    return polars.DataFrame([_series(polars, field, column, kind, levels) for field, column, kind, levels in columns])


def filled_polars(frame: Any, fields: Sequence[Column], values: NDArray[np.float64], missing: NDArray[np.bool_]) -> Any:
    """A polars frame with its missing values filled in; columns keep their types where these can hold the values.

    Args:
        frame: The frame.
        fields: The columns that are filled in.
        values: Their values (n, columns).
        missing: Which are missing in the frame, (n, columns).
    """
    import polars

    filled = {name: frame[name] for name in frame.columns}
    for place, field, rows in with_gaps(fields, missing):
        source = frame[field.name]
        drawn = _series(polars, field, values[rows, place], *polars_type(source))
        filled[field.name] = _with_cells(polars, source, rows, drawn)
    return polars.DataFrame(list(filled.values()))


def _with_cells(pl: Any, source: Any, rows: NDArray[np.int64], drawn: Any) -> Any:
    """A column with other cells in some rows; all its cells are texts where its type cannot hold these."""
    try:
        return source.clone().scatter(rows, drawn.cast(source.dtype))
    except pl.exceptions.PolarsError:
        return source.cast(pl.String).scatter(rows, drawn.cast(pl.String))


def _series(pl: Any, field: Column, values: NDArray[np.float64], kind: str, levels: Sequence[str]) -> Any:
    """A column of samples."""
    absent = np.isnan(values)
    texts = [None if gone else cell for cell, gone in zip(field.cells(values), absent, strict=True)]
    try:
        return _typed(pl, field, values, texts, kind.removeprefix(PREFIX), levels).alias(field.name)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        return pl.Series(field.name, texts, dtype=pl.String)


def _typed(pl: Any, field: Column, values: NDArray[np.float64], texts: list[str | None], kind: str, levels: Sequence[str]) -> Any:
    name, *details = kind.split(" ")
    if name in NUMBERS:
        return _numbers(pl, field, values, texts, getattr(pl, name))
    if name in ("Date", "Datetime"):
        return _dates(pl, values, name, details)
    readers: dict[str, tuple[Any, Callable[[str], Any]]] = {
        "Boolean": (pl.Boolean, lambda text: TRUTHS[text.lower()]),
        "Time": (pl.Time, time.fromisoformat),
        "category:Categorical": (pl.Categorical, str),
        "category:Enum": (pl.Enum(list(levels)), str),
        "Decimal": (pl.Decimal(*map(int, details or (38, 0))) if name == "Decimal" else None, Decimal),
    }
    dtype, read = readers.get(name, (pl.String, str))
    return pl.Series([None if text is None else read(text) for text in texts], dtype=dtype)


def _numbers(pl: Any, field: Column, values: NDArray[np.float64], texts: list[str | None], dtype: Any) -> Any:
    if isinstance(field, Number):
        numbers = field.form.rounded(values)
    else:
        numbers = np.array([np.nan if text is None else float(text) for text in texts])
    cells = [None if np.isnan(number) else number for number in numbers.tolist()]
    if dtype.is_integer():
        cells = [None if cell is None else int(cell) for cell in cells]
    return pl.Series(cells, dtype=dtype)


def _dates(pl: Any, values: NDArray[np.float64], name: str, details: list[str]) -> Any:
    moments = [None if np.isnan(value) else round(value * 1e6) for value in values.tolist()]
    series = pl.Series(moments, dtype=pl.Int64).cast(pl.Datetime("us"))
    if name == "Date":
        return series.cast(pl.Date)
    unit, zone = details
    return series.cast(pl.Datetime(unit)) if zone == "-" else _zoned(pl, series, zone).cast(pl.Datetime(unit, zone))


def _zoned(pl: Any, series: Any, zone: str) -> Any:
    """Local times in a zone; a time that its clocks skip is the first moment after the gap, as pandas shifts forward."""

    def placed(times: Any) -> Any:
        moment = pl.col("x").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return times.to_frame("x").select(moment)["x"]

    moments = placed(series)
    skipped = moments.is_null() & series.is_not_null()
    last = series.filter(skipped).dt.truncate("1s")
    for power in reversed(range(18)):  # to the last second of the gap, which may be a day long
        later = last + timedelta(seconds=2**power)
        last = last.zip_with(placed(later).is_not_null(), later)
    return moments.scatter(skipped.arg_true(), placed(last + timedelta(seconds=1)))
