"""Whether values fit the annotations of a constructor's arguments, as far as these can be checked."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WIDER: dict[Any, tuple[type, ...]] = {float: (int, float), tuple: (tuple, list)}
"""What JSON gives for a type."""


def misfit(part: type, arguments: Mapping[str, Any]) -> str | None:
    """The first argument that does not fit its annotation, as ``name=value``; None where all do, or nothing is known."""
    hints = _hints(part)
    wrong = [name for name, value in arguments.items() if name in hints and not _fits(value, hints[name])]
    return f"{wrong[0]}={arguments[wrong[0]]!r:.60}" if wrong else None


@functools.cache
def _hints(part: type) -> dict[str, Any]:
    try:
        hints = get_type_hints(part.__init__)  # type: ignore[misc]
        return {name: hint for name, hint in hints.items() if name in inspect.signature(part).parameters}
    except (NameError, TypeError, ValueError, AttributeError):
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    kind = hint if origin is None else origin
    if not inspect.isclass(kind) or kind is object:
        return value is None or kind is not type(None)
    if isinstance(value, bool) and kind in (int, float):
        return kind is int  # True is stored where a whole number was meant
    try:
        known = isinstance(value, _WIDER.get(kind, kind))
    except TypeError:  # a protocol, which says nothing at run time
        return True
    return known and _hold(value, kind, parts)


def _hold(value: Any, kind: type, parts: tuple[Any, ...]) -> bool:
    if not parts or isinstance(value, str):
        return not (isinstance(value, str) and kind is Sequence)
    if isinstance(value, Mapping):
        return all(_fits(name, parts[0]) and _fits(item, parts[-1]) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        several = kind is tuple and len(parts) > 1 and parts[1] is not Ellipsis
        if several:
            return len(value) == len(parts) and all(map(_fits, value, parts))
        return all(_fits(item, parts[0]) for item in value)
    return True
