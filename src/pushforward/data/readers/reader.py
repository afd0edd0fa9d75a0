"""What reads a kind of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pushforward.data.dataset import Dataset
from pushforward.data.source import Reading

__all__ = ["FOLDER", "MAX_BYTES", "Reader"]

FOLDER = "/"
"""The ending of folders."""
MAX_BYTES = 8 * 2**30
"""Of one file or array of numbers."""


@dataclass(frozen=True)
class Reader:
    """How files of some endings are read.

    Args:
        endings: such as (".csv",), in lower case.
        read: (path, reading) -> the data; it refuses the options of ``reading`` that do not apply.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, Reading], Dataset]
