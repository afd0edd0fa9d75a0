"""Read image folders (subfolders are classes), folders of tars, and single tars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pushforward.data.core.dataset import Dataset, Schema, build
from pushforward.data.images.image_file import ENDINGS
from pushforward.data.images.image_set import Folder, read_images
from pushforward.data.images.image_store import FolderStore, content_hashes
from pushforward.data.images.tars import TAR, Packed, TarIndex, TarStore, content_digest, packed_in
from pushforward.data.readers.reader import FOLDER, DataOptions, Examples, Reader
from pushforward.errors import DataError


def tars_in(path: Path) -> list[Path]:
    """List the tars of a folder that contains neither images nor folders; sorted."""
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    if any(entry.is_dir() or entry.name.lower().endswith(ENDINGS) for entry in entries):
        return []
    return [entry for entry in entries if entry.name.lower().endswith(TAR)]


def _content(path: Path, reading: DataOptions) -> tuple[Folder, Packed | None]:
    tars = [path]
    packed = None
    if path.is_dir():
        tars = tars_in(path)
        if not tars:
            return read_images(FolderStore(path), reading), None
        packed = packed_in(path)
    if packed is None:
        index = TarIndex()
        for tar in tars:
            index.add(tar)
        return read_images(TarStore(index), reading), None
    classes = tuple(map(str, packed.manifest["classes"]))
    store = TarStore(packed.index, classes, packed.hashes)
    content = read_images(store, reading)
    digest = packed.manifest.get("content")
    same = bool(reading.conversion) or content_digest(content_hashes(content.examples.x)) == digest
    if content.skipped or not same:
        raise DataError(
            f"The images in {path} differ from manifest.json, which was written when they were "
            "packed. Restore the tars, or pack the images again.",
            content.skipped,
        )
    return content, packed


def _read(path: Path, reading: DataOptions) -> Dataset:
    reading.refuse_table(str(path))
    content, packed = _content(path, reading)
    examples = content.examples
    target = ""
    name = (path.stem if path.is_file() else path.resolve().name) or "images"
    splits = [examples]
    if packed is not None:
        count = int(np.searchsorted(content.places, packed.train))
        splits = [examples.take(slice(count)), examples.take(slice(count, None))]
        name = str(packed.manifest["name"])
        target = str(packed.manifest["target"])
    return build(
        name,
        *splits,
        schema=Schema(content.classes, target=target),
        limit=reading.limit,
        seed=reading.seed,
        skipped=content.skipped,
        converted=content.converted,
        ignored=content.ignored,
    )


def _examples(path: Path, reading: DataOptions) -> Examples:
    content, _ = _content(path, replace(reading, stream=False))
    return replace(content.examples, source_hashes=None), content.classes, ()


IMAGES = Reader((FOLDER, TAR), _read, _examples)
