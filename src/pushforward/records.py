"""Results as frozen dataclasses that are written to JSON and read back equal."""

from __future__ import annotations

import functools
import json
import math
import os
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from pushforward.errors import CheckpointError
from pushforward.files import parse_json


class Damaged(CheckpointError):
    """Results that are not what a record writes.

    Args:
        fault: What is wrong, as a part of a sentence.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(f"These results are damaged: {fault}. Make them anew.")


Reader = Callable[[Any, str], Any]
"""A JSON value and its place in the file, to what it stands for."""


def _plain(value: Any) -> Any:
    """JSON-ready data: NumPy numbers and arrays become Python's, lists become tuples, numbers that are not finite become None.

    Raises:
        TypeError: For objects that JSON cannot hold.
    """
    if value is None or isinstance(value, (bool, int, Record)):
        return value
    if isinstance(value, str):
        # file names may hold half a surrogate pair
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return tuple([_plain(item) for item in value])
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"A result holds plain data; {type(value).__name__} is not.")


@dataclass(frozen=True)
class Record:
    """Base of result classes: every field has a default and is stored, unless its metadata holds ``stored=False``.

    Field values are made plain on construction, so that a record read back from JSON equals the one written.
    """

    def __post_init__(self) -> None:
        """Make the stored fields plain."""
        for field in _stored(type(self)):  # type: ignore[arg-type]
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))

    def to_plain(self) -> dict[str, Any]:
        """Nested dicts, lists, strings and numbers, ready for `json.dumps`."""
        return {field.name: _unpacked(getattr(self, field.name)) for field in _stored(type(self))}  # type: ignore[arg-type]

    @classmethod
    def from_plain(cls, data: object, where: str = "") -> Self:
        """Rebuild a record from the result of `to_plain`.

        Missing and null fields get their defaults. Unknown fields are left out, and null items where they have no meaning.

        Args:
            data: A dict.
            where: The place of ``data`` in the file, for messages.

        Raises:
            Damaged: If a field has another type than its declaration.
        """
        if not isinstance(data, Mapping):
            raise _wrong(where or cls.__name__, "an object", data)
        inside = where + "." if where else ""
        values = ((name, read, data.get(name)) for name, read in _readers(cls))  # type: ignore[arg-type]
        return cls(**{name: read(value, inside + name) for name, read, value in values if value is not None})

    def to_json(self, indent: int | None = 1) -> str:
        """Strict JSON: no NaN, no infinity."""
        return json.dumps(self.to_plain(), allow_nan=False, ensure_ascii=False, indent=indent) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record from the text of `to_json`.

        Raises:
            Damaged: If the text is not JSON, or does not fit the class.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise Damaged(f"they are not JSON, {error}") from error
        return cls.from_plain(data)


@functools.cache
def _stored(cls: Any) -> tuple[Field[Any], ...]:
    chosen = tuple(field for field in fields(cls) if field.metadata.get("stored", True))
    assert all(field.default is not MISSING or field.default_factory is not MISSING for field in chosen), cls
    return chosen


@functools.cache
def _readers(cls: Any) -> tuple[tuple[str, Reader], ...]:
    hints = get_type_hints(cls)
    return tuple((field.name, _reader(hints[field.name])) for field in _stored(cls))


def _unpacked(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {name: _unpacked(item) for name, item in value.items()}
    return [_unpacked(item) for item in value] if isinstance(value, tuple) else value


@functools.cache
def _reader(kind: Any) -> Reader:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value, where: value
    if origin in (Union, types.UnionType):
        return functools.partial(_read_any, parts)
    if origin is Literal:
        return functools.partial(_checked, lambda value: value in parts, " or ".join(map(repr, parts)))
    if origin is tuple:
        return functools.partial(_read_items, parts[0])
    if origin is not None and issubclass(origin, Mapping):
        return functools.partial(_read_named, parts[1])
    if issubclass(kind, Record):
        read: Reader = kind.from_plain
        return read
    accepted = (int, float) if kind is float else kind
    wanted = {float: "a number", int: "a whole number", str: "text"}.get(kind, "a value")
    return functools.partial(
        _checked, lambda value: isinstance(value, accepted) and isinstance(value, bool) == (kind is bool), wanted
    )


def _read_items(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(where, "a list", value)
    read, nullable = _reader(kind), _nullable(kind)
    return tuple([read(item, f"{where}[{number}]") for number, item in enumerate(value) if item is not None or nullable])


def _read_named(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    read, nullable = _reader(kind), _nullable(kind)
    return {str(name): read(item, f"{where}.{name}") for name, item in value.items() if item is not None or nullable}


def _checked(fits: Callable[[Any], bool], wanted: str, value: Any, where: str) -> Any:
    if not fits(value):
        raise _wrong(where, wanted, value)
    return value


@functools.cache
def _nullable(kind: Any) -> bool:
    return kind is Any or type(None) in get_args(kind)


def _read_any(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """A JSON value as the first of several types that it fits; a single type besides None names its own fault."""
    if value is None and type(None) in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not type(None)]
    for kind in wanted[:-1]:
        try:
            return _reader(kind)(value, where)
        except CheckpointError:
            continue
    return _reader(wanted[-1])(value, where)


def _wrong(where: str, wanted: str, value: Any) -> CheckpointError:
    return Damaged(f"{where} must be {wanted}, got {json.dumps(value, default=str)[:80]}")
