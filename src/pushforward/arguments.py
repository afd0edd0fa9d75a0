"""Checks of arguments: whole numbers, numbers and names of options, with errors that name the argument."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from pushforward.errors import UsageError, did_you_mean

__all__ = ["number", "refuse_unknown", "whole"]


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number as an int.

    Args:
        name: The argument's name, for the message.
        value: What was given.
        least: The smallest number allowed; None for no limit.

    Raises:
        UsageError: For anything else, such as text or 4.0.
    """
    try:
        result = operator.index(value)
    except TypeError:
        raise UsageError(f"`{name}` must be a whole number, got {value!r}.") from None
    if least is not None and result < least:
        raise UsageError(f"`{name}` must be at least {least}, got {result}.")
    return result


def number(name: str, value: Any) -> float:
    """A real number as a float.

    Args:
        name: The argument's name, for the message.
        value: What was given.

    Raises:
        UsageError: For anything else, such as text.
    """
    if not isinstance(value, numbers.Real):
        raise UsageError(f"`{name}` must be a number, got {value!r}.")
    return float(value)


def refuse_unknown(
    names: Iterable[str], options: type, function: str, hints: Mapping[str, str] | None = None, also: Iterable[str] = ()
) -> None:
    """Refuse options that a function does not have.

    Args:
        names: What was given.
        options: The function's options, a TypedDict such as `pushforward.training.fit_options.FitOptions`.
        function: Its name.
        hints: For names of other libraries that are too far from ours to be recognised.
        also: Names of its other arguments, which are in its signature.

    Raises:
        UsageError: With the option that was meant, where that is clear.
    """
    known = sorted({*options.__annotations__, *also})
    for name in names:
        if name not in known:
            hint = (hints or {}).get(name) or did_you_mean(name, known)
            raise UsageError(f'pf.{function} has no argument "{name}"; it takes: {", ".join(known)}.{hint}')
