"""Safe reading of files from anybody, atomic writing of files and folders, and stored results."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import re
import shutil
import stat
import tempfile
import types
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from pushforward.errors import CheckpointError, DataError, UsageError

# Lists and objects of a JSON file, their items, and how deep they are nested
MOST_OBJECTS = 250_000
MOST_ITEMS = 2_000_000
DEEPEST = 64
MOST_DIGITS = 100  # Digits of a whole number


def parse_json(content: str | bytes, infinite: bool = False) -> Any:
    """Parse strict JSON of limited size and depth, without duplicate names and overlong numbers.

    NaN and Infinity, as written by other libraries, are accepted if ``infinite`` is set.
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    if text.count("[") + text.count("{") > MOST_OBJECTS or text.count(",") > MOST_ITEMS:
        raise ValueError("it contains too many values")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=float if infinite else _float,
            parse_float=_float,
            parse_int=_integer,
        )
        depth = _depth(value)
    except RecursionError:
        depth = DEEPEST + 1
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError is a ValueError
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("an object contains the same name twice")
    return named


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits:.20} is not a finite number")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer has more than {MOST_DIGITS} digits")
    return int(digits)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    return 1 + max((_depth(part) for part in value if isinstance(part, (dict, list))), default=0)


MOST_BYTES = 16 << 20  # Bytes of a JSON file, and of the header of a file of tensors
MOST_ENTRIES = 100_000  # Entries of a folder of a run
_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


def opened(path: Path) -> BufferedReader:
    """Open a regular file for reading, without following links or waiting for a pipe."""
    try:
        handle = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise CheckpointError(
            f"{path} cannot be read: permission denied. Change its permissions, or ask its owner."
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and stat.S_ISREG(os.lstat(path).st_mode):
            raise
        raise _not_plain(path) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_plain(path)
    return os.fdopen(handle, "rb")


def _not_plain(path: Path) -> CheckpointError:
    what = "a link" if os.path.islink(path) else "a folder, a pipe or a device"
    return CheckpointError(
        f"{path} cannot be read: it is not a regular file but {what}. Replace it with a copy of "
        "the file."
    )


def read_whole(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read a regular file with a limited number of bytes."""
    with opened(path) as file:
        content = file.read(most + 1)
        size = os.fstat(file.fileno()).st_size
    if len(content) > most:
        raise CheckpointError(
            f"{path} has {size:,} bytes, above the limit of {most:,} for such a file. "
            "Copy it again from the original."
        )
    return content


def plain_path(path: Path) -> Path:
    """Return a path of data, unless it is a pipe, a device or a socket."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(
            f"{path} is a pipe, a device or a socket; expected a file or a folder. Save its "
            "content as a file first."
        )
    return path


def read_json(path: Path) -> Any:
    """Read a JSON file; errors name it."""
    try:
        return parse_json(read_whole(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing. Restore it from a copy.") from error
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not valid JSON: {error}. Restore it from a copy."
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file; empty if that is impossible."""
    try:
        content = read_json(path)
    except CheckpointError:
        return {}
    if isinstance(content, dict):
        return content
    return {}


def check_tensors(path: Path) -> None:
    """Check that a safetensors file has a valid header, whose tensors fill it."""
    from safetensors import SafetensorError, safe_open

    with opened(path) as file:
        length = int.from_bytes(file.read(8), "little")
    try:
        if length > MOST_BYTES:
            raise SafetensorError(f"its header would have {length:,} bytes")
        with safe_open(path, "np"):
            return
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file: {error}. Restore the file."
        ) from error


def refuse_links(
    folder: Path, inside: Iterable[str], *, known: Container[str] | None = None
) -> None:
    """Raise an error if a run folder contains links, pipes or devices.

    Checks the folders ``inside`` completely; of other entries, the hidden and the ``known`` ones.
    """
    names = set(inside)
    left = MOST_ENTRIES
    waiting = []
    for entry in _entries(folder, left):
        left -= 1
        if known is not None and entry.name not in known and not entry.name.startswith("."):
            continue
        if _is_folder(entry) and entry.name in names:
            waiting.append(Path(entry.path))
    while waiting:
        for entry in _entries(waiting.pop(), left):
            left -= 1
            if _is_folder(entry):
                waiting.append(Path(entry.path))


def _entries(folder: Path, most: int) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listed:
            entries = list(itertools.islice(listed, most + 1))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror or error}.") from error
    if len(entries) > most:
        raise CheckpointError(
            f"{folder} is not a run folder: it has more than {MOST_ENTRIES:,} entries."
        )
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    folder = entry.is_dir(follow_symlinks=False)
    if not folder and not entry.is_file(follow_symlinks=False):
        raise _not_plain(Path(entry.path))
    return folder


TEMPORARY = ".tmp-"  # How the names of temporary folders begin
_PNG = re.compile(r"(\d+)(-[\w -]*)?\.png")


@contextlib.contextmanager
def disk(what: Path) -> Iterator[None]:
    """Convert file system errors to a `CheckpointError`."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{what} could not be written: {error.strerror or error}. Free space or choose another "
            "`out`. Everything saved before is intact."
        ) from error


@contextlib.contextmanager
def private(parent: Path) -> Iterator[Path]:
    """Create a temporary folder that nobody else can write to."""
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove temporaries of killed processes below a folder."""
    for left in list(folder.rglob(f"{TEMPORARY}*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Context that yields a temporary path, which replaces ``path`` on success."""
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with private(path.parent) as folder:
            temporary = folder / path.name
            yield temporary
            if path.is_dir():
                _replace_folder(path, temporary)
            else:
                os.replace(temporary, path)


@contextlib.contextmanager
def replacing_files(folder: Path) -> Iterator[Path]:
    """Context that yields a temporary folder, whose files move into ``folder`` on success."""
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with private(folder) as temporary:
            yield temporary
            files = sorted(temporary.iterdir())
            for file in files:
                if (folder / file.name).is_dir():
                    raise CheckpointError(
                        f"{folder / file.name} is a folder, not a file. Remove it, or choose "
                        "another `out`."
                    )
            for file in files:
                os.replace(file, folder / file.name)


def _replace_folder(path: Path, temporary: Path) -> None:
    check_replaceable(path)
    aside = Path(tempfile.mkdtemp(prefix=".old-", dir=path.parent))
    try:
        os.rename(path, aside / path.name)
        os.rename(temporary, path)
    except OSError:
        if not os.path.lexists(path):
            os.rename(aside / path.name, path)
        aside.rmdir()
        raise
    shutil.rmtree(aside)


def check_replaceable(path: Path) -> None:
    """Raise an error unless a folder contains only samples (numbered PNGs)."""
    names = sorted(entry.name for entry in path.iterdir())
    numbered = True
    for number, name in enumerate(names):
        match = _PNG.fullmatch(name)
        numbered = numbered and match is not None and int(match[1]) == number
    if path.suffix or not numbered:
        raise UsageError(
            f"{path} is not overwritten: the folder contains more than earlier samples (numbered "
            "PNGs). Choose another `out`, or remove the folder yourself."
        )


class Damaged(CheckpointError):
    """Raised if stored results are damaged; ``fault`` is a part of the message."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"These results are damaged: {fault}. Recreate them.")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, Record)):
        return value
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-8", "replace").decode()  # names of files can be undecodable
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return None
    if isinstance(value, (list, tuple)):
        return tuple([_plain(item) for item in value])
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"Results may only contain plain data, not {type(value).__name__}.")


@dataclass(frozen=True)
class Record:
    """Base class of results: a frozen dataclass that can be written to JSON and read again.

    Every field has a default and is stored, unless its metadata contains ``stored=False``. Values
    become plain data on construction.
    """

    def __post_init__(self) -> None:
        for field in _stored(type(self)):  # type: ignore[arg-type]
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))

    def to_plain(self) -> dict[str, Any]:
        """Convert to nested dicts, lists, strings and numbers for `json.dumps`."""
        stored = _stored(type(self))  # type: ignore[arg-type]
        return {field.name: _unpacked(getattr(self, field.name)) for field in stored}

    @classmethod
    def from_plain(cls, data: object, where: str = "") -> Self:
        """Rebuild a record from the result of `to_plain`; ``where`` is its place in the file.

        Missing and null fields get their defaults; unknown fields are ignored.
        """
        _check(isinstance(data, Mapping), where or cls.__name__, "an object", data)
        inside = f"{where}." if where else ""
        values = {}
        for name, kind in _kinds(cls):  # type: ignore[arg-type]
            value = data.get(name)  # type: ignore[attr-defined]
            if value is not None:
                values[name] = _read(kind, value, inside + name)
        return cls(**values)

    def to_json(self) -> str:
        """Convert to strict JSON, without NaN and infinity."""
        text = json.dumps(self.to_plain(), allow_nan=False, ensure_ascii=False, indent=1)
        return f"{text}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record from the text of `to_json`."""
        try:
            data = parse_json(text)
        except ValueError as error:
            raise Damaged(f"they are not valid JSON: {error}") from error
        return cls.from_plain(data)


@functools.cache
def _stored(cls: Any) -> tuple[Field[Any], ...]:
    chosen = tuple(field for field in fields(cls) if field.metadata.get("stored", True))
    for field in chosen:
        assert field.default is not MISSING or field.default_factory is not MISSING, cls
    return chosen


@functools.cache
def _kinds(cls: Any) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in _stored(cls))


def _unpacked(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {name: _unpacked(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_unpacked(item) for item in value]
    return value


_SCALARS: dict[Any, tuple[str, Any]] = {
    bool: ("a value", bool),
    float: ("a number", (int, float)),
    int: ("an integer", int),
    str: ("text", str),
}


@functools.cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(kind), get_args(kind)


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind in _SCALARS:
        wanted, accepted = _SCALARS[kind]
        fits = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)
        _check(fits, where, wanted, value)
        return value
    origin, parts = _parts(kind)
    if origin in (Union, types.UnionType):
        return _read_any(parts, value, where)
    if origin is Literal:
        _check(value in parts, where, " or ".join(map(repr, parts)), value)
        return value
    if origin is tuple:
        _check(isinstance(value, (list, tuple)), where, "a list", value)
        known = _known(parts[0], enumerate(value))
        return tuple([_read(parts[0], item, f"{where}[{number}]") for number, item in known])
    if origin is not None and issubclass(origin, Mapping):
        _check(isinstance(value, Mapping), where, "an object", value)
        known = _known(parts[1], value.items())
        return {str(name): _read(parts[1], item, f"{where}.{name}") for name, item in known}
    return kind.from_plain(value, where)


def _known(kind: Any, items: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Leave out null items, unless their type allows them."""
    if kind is Any or type(None) in _parts(kind)[1]:
        return list(items)
    return [(place, item) for place, item in items if item is not None]


def _read_any(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    *others, last = (kind for kind in kinds if kind is not type(None))
    for kind in others:
        try:
            return _read(kind, value, where)
        except CheckpointError:
            continue
    return _read(last, value, where)


def _check(fits: bool, where: str, wanted: str, value: Any) -> None:
    if not fits:
        got = json.dumps(value, default=str)[:80]
        raise Damaged(f"{where} must be {wanted}, got {got}")
