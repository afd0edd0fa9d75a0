"""Images in uncompressed tars: those that `pushforward.data.pack` writes, and those of other tools in WebDataset's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pushforward.data.building import Schema, build
from pushforward.data.census import described
from pushforward.data.dataset import Dataset, Files, Split
from pushforward.data.images import Folder, Way, read_images
from pushforward.data.packed import TAR, Packed, content_digest, indices_of
from pushforward.data.readers.reader import Examples, Reader
from pushforward.data.source import Reading
from pushforward.data.streamed import content_hashes
from pushforward.data.tar_store import TarStore
from pushforward.errors import DataError, UsageError

__all__ = ["SHARDS", "examples_of", "read_tars"]

_DIFFER = "differ from manifest.json, which was written when they were packed. Restore the tars, or pack the images again."


def read_tars(folder: Path, tars: list[Path], reading: Reading, packed: Packed | None = None) -> Dataset:
    """Read the images of tars that lie in a folder; those that were packed with both splits keep them.

    Raises:
        UsageError: an option that does not apply.
        DataError: images that training refuses, or tars that cannot be read.
    """
    reading.refuse_header(str(folder))
    if reading.target is not None:
        raise UsageError(f'`target="{reading.target}"` is for .csv files; the class of an image in a tar is its .cls.')
    options: dict[str, Any] = {"limit": reading.limit, "seed": reading.seed}
    if packed is None:
        content = read_images(TarStore(folder, indices_of(tars)), reading.images)
        name = tars[0].stem if len(tars) == 1 else folder.resolve().name
        both = _split(content)
        with described(content.census, content.skipped):
            return build(name, both, schema=Schema(content.classes), **options, **_files(content, both))
    content = read_images(_store(packed), reading.images)
    count = int(np.searchsorted(content.places, sum(len(index.names) for index in packed.train.values())))
    both = _split(content)
    train, held_out = both.take(slice(0, count)), both.take(slice(count, None))
    with described(content.census, content.skipped):
        _check_content(packed, content, reading.size)
        schema = Schema(content.classes, target=packed.target)
        return build(packed.name, train, held_out, schema=schema, **options, **_files(content, both))


def examples_of(folder: Path, tars: list[Path], reading: Reading, packed: Packed | None = None) -> Examples:
    """All images of tars, in their order."""
    way = Way(reading.size, stream=False)
    content = read_images(TarStore(folder, indices_of(tars)) if packed is None else _store(packed), way)
    if packed is not None:
        _check_content(packed, content, reading.size)
    return Split(content.x, content.labels), content.classes, ()


def _store(packed: Packed) -> TarStore:
    return TarStore(packed.folder, {**packed.train, **packed.held_out}, packed.classes, packed.hashes)


def _check_content(packed: Packed, content: Folder, size: tuple[int, int] | None) -> None:
    """Refuse packed images that are not those that were packed; of scaled ones only whether each can be used is known.

    Raises:
        DataError: with the first that cannot be used.
    """
    if content.skipped:
        file, reason = content.skipped[0]
        more = f", and {len(content.skipped) - 1} more cannot be used" if len(content.skipped) > 1 else ""
        raise DataError(f"{packed.folder / file} is damaged ({reason}){more}: the images in {packed.folder} {_DIFFER}")
    if size is None and packed.content and content_digest(content_hashes(content.x)) != packed.content:
        raise DataError(f"The images in {packed.folder} {_DIFFER}")


def _split(content: Folder) -> Split:
    return Split(content.x, content.labels, content.hashes)


def _files(content: Folder, both: Split) -> dict[str, Any]:
    names = ("skipped", "converted", "ignored", "census")
    return {name: getattr(content, name) for name in names} | {"files": Files(content.names, both.hashes)}


def _read(path: Path, reading: Reading) -> Dataset:
    return read_tars(path.parent, [path], reading)


def _examples(path: Path, reading: Reading) -> Examples:
    return examples_of(path.parent, [path], reading)


SHARDS = Reader((TAR,), _read, _examples)
