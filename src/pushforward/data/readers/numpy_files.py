"""Arrays of numpy: ``.npz`` and ``.npy``, vectors or images."""

from __future__ import annotations

from pathlib import Path

from pushforward.data.arrays import read_numpy
from pushforward.data.dataset import Dataset, build
from pushforward.data.readers.reader import Reader
from pushforward.data.source import Reading, resized
from pushforward.errors import UsageError

__all__ = ["NUMPY"]


def _read(path: Path, reading: Reading) -> Dataset:
    reading.refuse_header(str(path))
    if reading.target is not None:
        raise UsageError(f'`target="{reading.target}"` is for .csv files; a .npz holds its labels as "label".')
    content = read_numpy(path)
    train, held_out = content.train, content.held_out
    if reading.size:
        if train.x.ndim != 4:
            raise UsageError(f"`resize` is for images, but {path} holds vectors: leave it out.")
        train, held_out = resized(train, reading.size), held_out and resized(held_out, reading.size)
    return build(
        path.stem,
        train,
        held_out,
        classes=content.classes,
        integer=content.integer,
        kinds=content.kinds,
        skipped=tuple((f"{path.name}: {name}", reason) for name, reason in content.unused),
        limit=reading.limit,
        seed=reading.seed,
    )


NUMPY = Reader((".npz", ".npy"), _read)
