"""Checks of arguments: whole numbers and numbers, with errors that name the argument."""

from __future__ import annotations

import numbers
import operator
from typing import Any

from pushforward.errors import UsageError

__all__ = ["number", "whole"]


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
