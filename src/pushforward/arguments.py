"""Checks of integers, numbers and names, with errors that name the argument."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from pushforward.errors import UsageError, suggestion, unknown

BATCH = 256  # examples that are sampled or scored at a time by default


def whole(name: str, value: Any, least: int | None = None) -> int:
    """Validate an integer, at least ``least``, and return it."""
    try:
        result = operator.index(value)
    except TypeError:
        raise UsageError(f"`{name}` must be an integer, got {value!r}.") from None
    if least is not None and result < least:
        raise UsageError(f"`{name}` must be at least {least}, got {result}.")
    return result


def number(name: str, value: Any) -> float:
    """Validate a finite real number, and return it as a float."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UsageError(f"`{name}` must be a finite number, got {value!r}.")
    return float(value)


def weight(name: str, value: float) -> float:
    """Validate a weight, finite and at least 0, and return it."""
    if number(name, value) < 0:
        raise UsageError(f"`{name}` must be at least 0, got {value}.")
    return value


def share(name: str, value: float, of: str = "") -> float:
    """Validate a fraction of something, such as " of training", and return it."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name} must be a fraction{of} between 0 and 1, got {value}.")
    return value


def one_of(what: str, name: str, known: Iterable[str], of: str = "") -> str:
    """Validate a name of a kind of thing, and return it."""
    names = list(known)
    if name not in names:
        raise unknown(what, name, names, of)
    return name


def split_names(given: str | Iterable[Any]) -> list[Any]:
    """Split a text at commas, without spaces; return other items as a list."""
    if isinstance(given, str):
        return [word for word in given.replace(" ", "").split(",") if word]
    return list(given)


def given_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def refuse_unknown(
    names: Iterable[str],
    options: type,
    function: str,
    hints: Mapping[str, str] | None = None,
    also: Iterable[str] = (),
) -> None:
    """Raise an error for options that are neither in a TypedDict nor in ``also``.

    ``hints`` holds advice for names of other libraries.
    """
    known = sorted({*options.__annotations__, *also})
    for name in names:
        if name not in known:
            hint = (hints or {}).get(name) or suggestion(name, known)
            raise UsageError(
                f'{function} got an unexpected argument "{name}"; '
                f"expected {', '.join(known)}.{hint}"
            )
