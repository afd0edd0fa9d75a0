"""Files that are written whole and reach the disk: in one move, flushed, with one error for a disk that refuses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError
from pushforward.safe_files import opened, read_json

__all__ = ["appearing", "disk", "flush", "read_json", "sha256", "write_json", "write_text"]


@contextlib.contextmanager
def disk(what: Path) -> Iterator[None]:
    """Within this context a refusal of the disk is a `CheckpointError` that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{what} could not be written: {error.strerror or error}. "
            "Free space or choose another `out`; what was saved before is intact."
        ) from error


def flush(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary file, which is flushed and renamed over ``path`` if all goes well, and vanishes if not.

    Raises:
        CheckpointError: If the disk refuses; an existing file stays.
    """
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        try:
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        flush(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one move; see `appearing`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one move; see `appearing`."""
    with appearing(path) as temporary:
        temporary.write_text(text)


def sha256(path: Path) -> str:
    """The hash of a regular file, hex."""
    with opened(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
