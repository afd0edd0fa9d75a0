"""Files that may come from somebody else: only regular files are opened, and only as much is read as such a file can hold.

A run folder, a checkpoint or a report may have been sent by anybody. Each file is opened without following a link and without
waiting (a pipe or a device would never end). JSON is parsed strictly and within limits, and the header of a file of tensors is
checked before its library sees it.
"""

from __future__ import annotations

import itertools
import math
import os
import stat
from collections.abc import Container, Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError, DataError
from pushforward.strict_json import parse_json

__all__ = ["check_tensors", "opened", "plain_path", "read_json", "read_object", "read_whole", "refuse_links"]

MOST_BYTES = 16 << 20
"""Bytes of a JSON file, and of the header of a file of tensors."""
MOST_ENTRIES = 100_000
"""Entries of a folder of a run."""
MOST_TENSORS, MOST_DIMENSIONS = 50_000, 16
"""Tensors of a file, and dimensions of a tensor."""
WIDTHS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
"""Bytes of a number, by the names that safetensors has for the types."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def opened(path: Path) -> BufferedReader:
    """A regular file, open for reading; links are not followed.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If the disk does not give it.
        CheckpointError: Without the permission; for a link, a folder, a pipe, a device or a name that no file can have.
    """
    try:
        handle = os.open(path, _FLAGS | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise CheckpointError(f"{path} may not be read by this user: permission is missing. Ask its owner.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or not _is_plain(path):
            raise _not_plain(path) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_plain(path)
    return os.fdopen(handle, "rb")


def _is_plain(path: Path) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)


def _not_plain(path: Path) -> CheckpointError:
    link = os.path.islink(path)
    what, whole = ("a link", "what it leads to") if link else ("a folder, a pipe or a device", "the file")
    return CheckpointError(f"{path} cannot be read: it is no regular file but {what}. Put a copy of {whole} in its place.")


def read_whole(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most so many bytes.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If the disk does not give it.
        CheckpointError: If it is no regular file, or larger.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
    if size > most or len(content) > most:
        raise CheckpointError(
            f"{path} has {size:,} bytes; such a file has at most {most:,}. Copy it again from where it came from."
        )
    return content


def plain_path(path: Path) -> Path:
    """The path of data, if it is there that of a regular file or a folder.

    Raises:
        DataError: For a pipe, a device or a socket, whose reading may never end.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{path} is a pipe, a device or a socket: expected a file or a folder. Write its content to one first.")
    return path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(itertools.islice(entries, MOST_ENTRIES + 1))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror or error}.") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        CheckpointError: With the file's name, if it is missing, no regular file, or no JSON within the limits (`parse_json`).
    """
    try:
        return parse_json(read_whole(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing. Restore it from a copy.") from error
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Check the path and its rights.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read: it is no JSON ({error}). Restore it from a copy.") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file (`read_json`); empty where there is none, or the file cannot be read."""
    try:
        content = read_json(path)
    except CheckpointError:
        return {}
    return content if isinstance(content, dict) else {}


def check_tensors(path: Path) -> None:
    """Check the header of a file of tensors (safetensors): types and shapes are known, and the tensors fill the file one by one.

    Raises:
        FileNotFoundError: If there is no file.
        OSError: If the disk does not give it.
        CheckpointError: If it is no regular file, or its header is damaged or larger than a method's can be.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if 2 <= length <= min(size - 8, MOST_BYTES) else b""
    try:
        if not header:
            raise ValueError(f"its header would have {length:,} bytes")
        entries = parse_json(header)
        if not isinstance(entries, dict) or len(entries) > MOST_TENSORS:
            raise ValueError("it lists no tensors, or too many")
        entries.pop("__metadata__", None)
        _check_filled([_place(name, entry) for name, entry in entries.items()], size - 8 - length)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as tensors (safetensors): {error}. Restore the file.") from error


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    width = WIDTHS.get(str(fields.get("dtype")))
    shape, place = fields.get("shape", ()), fields.get("data_offsets", ())
    if width is None or not _counts(shape) or not _counts(place) or len(shape) > MOST_DIMENSIONS or len(place) != 2:
        raise ValueError(f"the tensor {name[:80]!r} has no type, shape or place")
    if place[1] - place[0] != width * math.prod(shape):
        raise ValueError(f"the tensor {name[:80]!r} has another size than its shape")
    return place[0], place[1]


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _check_filled(places: Iterable[tuple[int, int]], size: int) -> None:
    end = 0
    for start, stop in sorted(places):
        if start != end:
            raise ValueError("its tensors overlap or leave gaps")
        end = stop
    if end != size:
        raise ValueError("its tensors do not end with the file")


def refuse_links(folder: Path, inside: Iterable[str], *, known: Container[str] | None = None) -> None:
    """Refuse a run folder among whose entries are links, pipes or devices: reading or training would leave it, or never end.

    Args:
        folder: The run's folder, which may be a link itself.
        inside: Its folders that are checked with all that they hold.
        known: The names of its entries that are checked, beside hidden ones; None checks all.

    Raises:
        CheckpointError: Naming the first; or if the disk does not list a folder.
    """
    waiting, names, count = [folder], set(inside), 0
    while waiting:
        place = waiting.pop()
        for entry in _entries(place):
            count += 1
            if count > MOST_ENTRIES:
                raise CheckpointError(f"{place} holds more than {MOST_ENTRIES:,} entries: it is no folder of a run.")
            if place == folder and known is not None and entry.name not in known and not entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if place != folder or entry.name in names:
                    waiting.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                raise _not_plain(Path(entry.path))
