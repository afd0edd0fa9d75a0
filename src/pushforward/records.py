"""Results as frozen dataclasses that are written to JSON and read back equal."""

from __future__ import annotations

import json
import math
import os
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from pushforward.errors import CheckpointError
from pushforward.strict_json import parse_json

__all__ = ["Damaged", "Record", "plain"]


class Damaged(CheckpointError):
    """Results that are not what a record writes.

    Args:
        fault: What is wrong, as a part of a sentence.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(f"These results are damaged: {fault}. Make them anew.")
        self.fault = fault


_HINTS: dict[type[Record], dict[str, Any]] = {}
_STORED: dict[type[Record], tuple[Field[Any], ...]] = {}


def plain(value: Any) -> Any:
    """JSON-ready data: NumPy numbers and arrays become Python's, lists become tuples, numbers that are not finite become None.

    Raises:
        TypeError: For objects that JSON cannot hold.
    """
    if value is None or isinstance(value, (bool, int, Record)):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # file names may hold half a surrogate pair
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(plain(item) for item in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"A result holds plain data; {type(value).__name__} is not.")


@dataclass(frozen=True)
class Record:
    """Base of result classes: every field has a default and is stored, unless its metadata holds ``stored=False``.

    Field values are made plain (`plain`) on construction, so that a record read back from JSON equals the one written.
    """

    def __post_init__(self) -> None:
        """Make the stored fields plain."""
        for field in _stored(type(self)):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))

    def to_plain(self) -> dict[str, Any]:
        """Nested dicts, lists, strings and numbers, ready for `json.dumps`."""
        return {field.name: _unpacked(getattr(self, field.name)) for field in _stored(type(self))}

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
        hints = _hints(cls)
        known = {field.name: data[field.name] for field in _stored(cls) if data.get(field.name) is not None}
        return cls(**{name: _read(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in known.items()})

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


def _stored(cls: type[Record]) -> tuple[Field[Any], ...]:
    if cls not in _STORED:
        chosen = tuple(field for field in fields(cls) if field.metadata.get("stored", True))
        assert all(field.default is not MISSING or field.default_factory is not MISSING for field in chosen), cls
        _STORED[cls] = chosen
    return _STORED[cls]


def _hints(cls: type[Record]) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls)
    return _HINTS[cls]


def _unpacked(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {name: _unpacked(item) for name, item in value.items()}
    return [_unpacked(item) for item in value] if isinstance(value, tuple) else value


def _read(kind: Any, value: Any, where: str) -> Any:
    """A JSON value as a declared type."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _read_any(parts, value, where)
    if origin is Literal:
        return value if value in parts else _refuse(where, " or ".join(map(repr, parts)), value)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, "a list", value)
        items = [(number, item) for number, item in enumerate(value) if item is not None or _nullable(parts[0])]
        return tuple(_read(parts[0], item, f"{where}[{number}]") for number, item in items)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        named = {str(name): item for name, item in value.items() if item is not None or _nullable(parts[1])}
        return {name: _read(parts[1], item, f"{where}.{name}") for name, item in named.items()}
    if issubclass(kind, Record):
        return kind.from_plain(value, where)
    accepted = (int, float) if kind is float else kind
    fits = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)
    return value if fits else _refuse(where, {float: "a number", int: "a whole number", str: "text"}.get(kind, "a value"), value)


def _nullable(kind: Any) -> bool:
    """Whether a list or dict of this type may hold null; elsewhere its null items are left out."""
    return kind is Any or type(None) in get_args(kind)


def _read_any(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """A JSON value as the first of several types that it fits; a single type besides None names its own fault."""
    if value is None and type(None) in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not type(None)]
    for kind in wanted[:-1]:
        try:
            return _read(kind, value, where)
        except CheckpointError:
            continue
    return _read(wanted[-1], value, where)


def _refuse(where: str, wanted: str, value: Any) -> Any:
    raise _wrong(where, wanted, value)


def _wrong(where: str, wanted: str, value: Any) -> CheckpointError:
    return Damaged(f"{where} must be {wanted}, got {json.dumps(value, default=str)[:80]}")
