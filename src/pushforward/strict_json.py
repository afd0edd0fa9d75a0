"""JSON of files that may come from somebody else: strict, and within limits."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["parse_json"]

MOST_OBJECTS, MOST_ITEMS, DEEPEST = 250_000, 2_000_000, 64
"""Lists and objects of a JSON file, their items, and how deep they are nested."""
MOST_DIGITS = 100
"""Digits of a whole number."""


def parse_json(content: str | bytes, infinite: bool = False) -> Any:
    """A JSON text within the limits of this module.

    Args:
        content: The text.
        infinite: Whether NaN and Infinity are numbers, as other libraries write them.

    Raises:
        ValueError: If it is no strict JSON in UTF-8 (a mark of byte order, NaN, an infinite or overlong number, a name that
            stands twice or half a character are none), or is too large or nested too deeply.
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    if text.count("[") + text.count("{") > MOST_OBJECTS or text.count(",") > MOST_ITEMS:
        raise ValueError("it holds too many values")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=float if infinite else _constant, parse_float=_float, parse_int=_whole
        )
    except RecursionError:
        raise ValueError(_DEEP) from None
    _check_depth(value)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError is a ValueError
    return value


_DEEP = f"it is nested more than {DEEPEST} deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return named


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number has more than {MOST_DIGITS} digits")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [part for part in item.values() if isinstance(part, (dict, list))]
            elif isinstance(item, list):
                inner += [part for part in item if isinstance(part, (dict, list))]
        if not inner:
            return
        level = inner
    raise ValueError(_DEEP)
