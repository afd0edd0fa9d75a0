"""Files that are written whole and reach the disk: in one move, flushed, with one error for a disk that refuses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pushforward.replacing import disk, replacing
from pushforward.safe_files import opened, read_json

__all__ = ["appearing", "disk", "flush", "read_json", "sha256", "write_json", "write_text"]


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
        with replacing(path) as temporary:
            yield temporary
            flush(temporary)
        flush(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one move; see `appearing`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one move; see `appearing`."""
    with appearing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """The hash of a regular file, hex."""
    with opened(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
