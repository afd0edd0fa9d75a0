"""Checks of arguments: whole numbers, numbers and names of options, with errors that name the argument."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from pushforward.errors import UsageError, did_you_mean


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
        raise UsageError(f"`{name}` must be an integer, got {value!r}.") from None
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


def weight(name: str, value: float) -> float:
    """A weight, as it was given.

    Args:
        name: The argument's name, for the message.
        value: What was given.

    Raises:
        UsageError: Below 0, or not finite.
    """
    if not 0 <= number(name, value) < math.inf:
        raise UsageError(f"`{name}` must be finite and at least 0, got {value}.")
    return value


def share(name: str, value: float, of: str = "") -> float:
    """A share, as it was given.

    Args:
        name: The argument's name, for the message.
        value: What was given.
        of: What it is a share of, for the message, such as " of training".

    Raises:
        UsageError: Outside of [0, 1].
    """
    if not 0 <= value <= 1:
        raise UsageError(f"{name} must be a fraction{of} between 0 and 1, got {value}.")
    return value


def one_of(what: str, name: str, known: Iterable[str], of: str = "") -> str:
    """A name, as it was given, of a kind of thing such as "network".

    Args:
        what: The kind, for the message.
        name: What was given.
        known: The names that there are.
        of: What the thing is of, for the message, such as " for a table".

    Raises:
        UsageError: For a name that is none of the known ones, with the one that was meant, where that is clear.
    """
    names = list(known)
    if name not in names:
        raise UsageError(f'Unknown {what} "{name}"{of}; choose {", ".join(names)}.{did_you_mean(name, names)}')
    return name


def refuse_unknown(
    names: Iterable[str], options: type, function: str, hints: Mapping[str, str] | None = None, also: Iterable[str] = ()
) -> None:
    """Refuse options that a function does not have.

    Args:
        names: What was given.
        options: The function's options, a TypedDict such as `pushforward.training.api.FitOptions`.
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
            raise UsageError(f'pf.{function} got an unexpected argument "{name}"; expected {", ".join(known)}.{hint}')
