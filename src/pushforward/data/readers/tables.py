"""Tables of numbers: ``.csv``."""

from __future__ import annotations

from pathlib import Path

from pushforward.data.arrays import read_csv
from pushforward.data.dataset import Dataset, build
from pushforward.data.readers.reader import Reader
from pushforward.data.source import Reading
from pushforward.errors import UsageError

__all__ = ["CSV"]


def _read(path: Path, reading: Reading) -> Dataset:
    if reading.size:
        raise UsageError("`resize` is for images, but a .csv holds vectors: leave it out.")
    content = read_csv(path, reading.target, reading.header)
    return build(
        path.stem,
        content.train,
        classes=content.classes,
        columns=content.columns,
        integer=content.integer,
        target=reading.target or "",
        header=content.header,
        limit=reading.limit,
        seed=reading.seed,
    )


CSV = Reader((".csv",), _read)
