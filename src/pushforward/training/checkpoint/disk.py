"""Files that appear whole and reach the disk, and the space that it has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import CheckpointError
from pushforward.files import disk, opened, replacing

if TYPE_CHECKING:
    from torch import Tensor

BESIDE = 1 << 16
"""Bytes of a checkpoint beside its tensors, at most."""


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


def bytes_of(groups: Iterable[Mapping[str, Tensor]]) -> int:
    """Bytes of a checkpoint with these tensors, whole where they are sharded."""
    return BESIDE + sum(tensor.numel() * tensor.element_size() for group in groups for tensor in group.values())


def check_space(final: Path, needed: int) -> None:
    """Refuse to write where it cannot fit.

    Raises:
        CheckpointError: If fewer bytes are free on its disk.
    """
    there = next(folder for folder in (final, *final.absolute().parents) if folder.exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise CheckpointError(
            f"{final} was not written: it takes {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free on its disk. "
            "Free space or choose another `out`; what was saved before is intact."
        )
