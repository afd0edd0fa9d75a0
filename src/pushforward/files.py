"""Safe reading of files from anybody, atomic writing of files and folders, and stored results."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import shutil
import stat
import tempfile
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from io import BufferedReader
from pathlib import Path
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from pushforward.errors import CheckpointError, DataError, UsageError


def parse_json(content: str | bytes, infinite: bool = False) -> Any:
    """Parse strict JSON, without duplicate names.

    NaN and Infinity, as written by other libraries, are accepted if ``infinite`` is set.
    """
    constant = float if infinite else _refuse_constant
    try:
        return json.loads(content, object_pairs_hook=_object, parse_constant=constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("an object contains the same name twice")
    return named


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a finite number")


MOST_BYTES = 16 << 20  # Bytes of a JSON file
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


def refuse_links(paths: Iterable[Path]) -> None:
    """Raise an error if a path is a link, through which files could be written elsewhere."""
    for path in paths:
        if path.is_symlink():
            raise _not_plain(path)


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


def unused(folder: Path, stem: str, ending: str = "") -> Path:
    """Return a path that does not exist: STEM, STEM-2, STEM-3, ..."""
    path = folder / f"{stem}{ending}"
    number = 1
    while os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{ending}"
    return path


def check_absent(path: Path, overwrite: bool = False) -> None:
    """Raise an error if an output exists, unless it is to be replaced."""
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists. Choose another `out`, or add `overwrite=True`.")


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
    def from_plain(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a record from the result of `to_plain`.

        Missing and null fields get their defaults; unknown fields are ignored. A field whose
        metadata contains ``former`` is also read by that name.
        """
        values = {}
        for name, former, kind in _kinds(cls):  # type: ignore[arg-type]
            value = data.get(name, data.get(former))
            if value is not None:
                values[name] = _read(kind, value)
        return cls(**values)

    def to_json(self) -> str:
        """Convert to strict JSON, without NaN and infinity."""
        text = json.dumps(self.to_plain(), allow_nan=False, ensure_ascii=False, indent=1)
        return f"{text}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record from the text of `to_json`."""
        try:
            return cls.from_plain(parse_json(text))
        except CheckpointError:
            raise
        except (AttributeError, TypeError, ValueError) as error:
            raise CheckpointError(f"These results are damaged: {error}. Recreate them.") from error


@functools.cache
def _stored(cls: Any) -> tuple[Field[Any], ...]:
    chosen = tuple(field for field in fields(cls) if field.metadata.get("stored", True))
    for field in chosen:
        assert field.default is not MISSING or field.default_factory is not MISSING, cls
    return chosen


@functools.cache
def _kinds(cls: Any) -> tuple[tuple[str, str, Any], ...]:
    hints = get_type_hints(cls)
    kinds = []
    for field in _stored(cls):
        former = field.metadata.get("former", "")
        kinds.append((field.name, former, hints[field.name]))
    return tuple(kinds)


def _unpacked(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {name: _unpacked(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_unpacked(item) for item in value]
    return value


def _read(kind: Any, value: Any) -> Any:
    """Build the records in a value whose annotation is ``kind``."""
    if value is None:
        return None
    origin = get_origin(kind)
    parts = get_args(kind)
    if origin in (Union, types.UnionType):
        return _read(parts[0], value)
    if origin is tuple:
        return [_read(parts[0], item) for item in value if not _missing(parts[0], item)]
    if origin is Mapping:
        read = {}
        for name, item in value.items():
            if not _missing(parts[1], item):
                read[name] = _read(parts[1], item)
        return read
    if _is_record(kind):
        return kind.from_plain(value)
    return value


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _missing(kind: Any, value: Any) -> bool:
    return value is None and _is_record(kind)
