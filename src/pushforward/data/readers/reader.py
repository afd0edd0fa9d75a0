"""The interface of readers of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.core.reading import Reading

FOLDER = "/"  # the ending of folders
MAX_BYTES = 8 * 2**30  # of one file or array of numbers


# Examples as they are stored, the names of their classes, and those of their columns, which may be none.
Examples = tuple[Split, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Reader:
    """How files of some endings are read.

    Args:
        endings: such as (".csv",), in lower case.
        read: (path, reading) -> the data; it refuses the options of ``reading`` that do not apply.
        examples: (path, reading) -> every example of the file in its order, none held out and none left out as a copy, as
            samples of a model are read; None takes all that ``read`` has.
        left_out: path -> what else the file holds, each with its shape.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, Reading], Dataset]
    examples: Callable[[Path, Reading], Examples] | None = None
    left_out: Callable[[Path], tuple[str, ...]] | None = None
