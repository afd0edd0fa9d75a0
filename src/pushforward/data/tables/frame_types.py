"""The types of a data frame's columns as text, and columns of samples in these types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["TRUTHS", "as_typed", "is_ordered", "type_of"]

TRUTHS = {"true": True, "false": False}
_CATEGORY = re.compile(r"(ordered )?category:(\w+(?:\[\w+(?:, [\w/+:-]+)?\])?)$")
_KNOWN = re.compile(r"(?:u?int|float)\d+|(?:U?Int|Float)\d+|bool|boolean|str|string|object|datetime64\[\w+(?:, [\w/+:-]+)?\]$")


def type_of(series: Any) -> str:
    """The type of a pandas series: its name, or "category:int64" or "ordered category:str" with that of its categories."""
    name = str(series.dtype)
    if name != "category":
        return name if _KNOWN.match(name) else ""
    return f"{'ordered ' * series.cat.ordered}category:{series.cat.categories.dtype}"


def is_ordered(kind: str) -> bool:
    """Whether a column's type has ordered levels: an ordered category of pandas, or an Enum of polars."""
    return kind.startswith("ordered ") or kind.endswith("category:Enum")


def as_typed(pd: Any, series: Any, kind: str, texts: list[str | None], levels: Mapping[str, str] = MappingProxyType({})) -> Any:
    """A pandas series of samples in the type of the training frame; as it is where the type cannot hold it.

    Args:
        pd: pandas.
        series: Values in the type that their column has by itself.
        kind: The type, as `type_of` writes it; empty for none.
        texts: The values as text, None where missing.
        levels: A category's levels in their order: from the text that the column writes of each to that of the frame.
    """
    try:
        if match := _CATEGORY.match(kind):
            if not levels.keys() >= set(texts) - {None}:
                return series
            codes = pd.Categorical(texts, categories=list(levels), ordered=bool(match[1]))
            return pd.Series(codes.rename_categories(_labels(pd, tuple(levels.values()), match[2])))
        if not _KNOWN.match(kind):
            return series
        if kind in ("bool", "boolean"):
            return pd.Series([None if text is None else TRUTHS[text.lower()] for text in texts], dtype=kind)
        if kind.startswith("datetime64"):
            zone = kind.partition(", ")[2].rstrip("]")
            first = np.ones(len(series), dtype=bool)
            dates = series.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward") if zone else series
            return dates.astype(kind)
        return series.astype(kind)
    except (AttributeError, KeyError, TypeError, ValueError):
        return series


def _labels(pd: Any, levels: tuple[str, ...], kind: str) -> Any:
    """Levels as the frame has them."""
    return [TRUTHS[level.lower()] for level in levels] if kind == "bool" else pd.Index(levels).astype(kind)
