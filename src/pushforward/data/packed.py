"""The manifest of packed images: which tars there are, what each holds, and where in it."""

from __future__ import annotations

import json
import sys
from array import array
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.data.example_hashes import Hashes
from pushforward.data.image_files import ENDINGS
from pushforward.data.tar_index import TarIndex, index_of
from pushforward.errors import DataError

__all__ = [
    "FORMAT",
    "MANIFEST",
    "TAR",
    "Packed",
    "content_digest",
    "manifest_differences",
    "packed_in",
    "tars_in",
]

FORMAT, MANIFEST, TAR = "pushforward-images-1", "manifest.json", ".tar"
MAX_JSON = 256 * 2**20


@dataclass(frozen=True)
class Packed:
    """A folder of packed images.

    Args:
        folder: where it is.
        name: of the data.
        classes: names of the classes in the order of their numbers; empty without classes.
        target: the name of the column or attribute that the classes are values of, which may be empty.
        train: indices of the tars with training examples, by file name.
        held_out: those of held-out examples.
        hashes: of all images as their source held them, training examples first, uint64 (n,).
        manifest: what ``manifest.json`` holds.
    """

    folder: Path
    name: str
    classes: tuple[str, ...]
    target: str
    train: dict[str, TarIndex]
    held_out: dict[str, TarIndex]
    hashes: Hashes
    manifest: dict[str, Any]


def tars_in(path: Path) -> list[Path]:
    """The tars of a folder that holds them and neither images nor folders; sorted."""
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    if any(entry.is_dir() or entry.name.lower().endswith(ENDINGS) for entry in entries):
        return []
    return [entry for entry in entries if entry.name.lower().endswith(TAR)]


def packed_in(path: Path) -> Packed | None:
    """What `pushforward.data.pack` has written into a folder; None for tars of other tools.

    Raises:
        DataError: a manifest that is damaged, or that names tars which are not there.
    """
    if not (path / MANIFEST).is_file():
        return None
    content = _json(path / MANIFEST)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    try:
        return _packed(path, content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path / MANIFEST} is damaged: {type(error).__name__} {error}. Pack the images again.") from error


def _packed(path: Path, content: dict[str, Any]) -> Packed:
    sides: dict[bool, dict[str, TarIndex]] = {False: {}, True: {}}
    hashes, classes = [], tuple(str(name) for name in content["classes"])
    numbers = {str(number) for number in range(len(classes))} or {""}
    for shard in sorted(content["shards"], key=lambda shard: bool(shard["held_out"])):
        file = path / str(shard["file"])
        if file.parent != path or file.suffix != TAR:
            raise ValueError(f"{str(shard['file'])[:100]} is no name of a tar")
        if not file.is_file():
            raise DataError(f"{file} is missing, which manifest.json names. Restore it, or pack the images again.")
        if (size := file.stat().st_size) != shard["bytes"]:
            what = f"{file} has {size:,} bytes, and manifest.json says {shard['bytes']:,}"
            how = "it is cut off" if size < shard["bytes"] else "it has been changed"
            raise DataError(f"{what}: {how}. Restore it, or pack the images again.")
        index, known = _index(file)
        if not numbers.issuperset(index.labels):
            raise ValueError(f"{file.stem}.json names classes that are not there")
        sides[bool(shard["held_out"])][file.name] = index
        hashes.append(known)
    if not sides[False] or not sides[True]:
        raise ValueError("it names no tars of one of the splits")
    name, target = str(content["name"]), str(content["target"])
    return Packed(path, name, classes, target, sides[False], sides[True], np.concatenate(hashes), content)


def content_digest(hashes: Hashes) -> str:
    """sha256 (hex) of the hashes of images as they are read (`content_hashes`), training examples first."""
    return sha256(hashes.astype("<u8").tobytes()).hexdigest()


def manifest_differences(packed: Packed, fingerprint: str | None) -> list[str]:
    """What the manifest and the indices of packed images say that their tars do not hold, in sentences.

    Args:
        packed: the images.
        fingerprint: of the data that is read from them; None where it is not that of all packed images.

    Raises:
        DataError: a tar that cannot be read.
    """
    content, sentences, counts = packed.manifest, [], {}
    noted = {str(shard["file"]): shard.get("images") for shard in content["shards"]}
    for side, tars in (("train", packed.train), ("held_out", packed.held_out)):
        for file, known in tars.items():
            index = index_of(packed.folder / file)
            other = [name for name in ("names", "offsets", "sizes", "labels") if getattr(index, name) != getattr(known, name)]
            sentences += [f"{Path(file).with_suffix('.json')} has other {other[0]} than {file}"] if other else []
            counts[file] = len(index.names)
        total, stated = sum(counts[file] for file in tars), content.get(side)
        sentences += [f"{MANIFEST} counts {stated} examples of {side}, and the tars hold {total}"] if stated != total else []
    wrong = [(file, count) for file, count in noted.items() if count != counts[file]]
    sentences += [f"{MANIFEST} counts {count} images in {file}, which holds {counts[file]}" for file, count in wrong]
    if fingerprint is not None and content.get("fingerprint") != fingerprint:
        sentences.append(f"{MANIFEST} has another fingerprint than the images")
    return sentences


def _index(file: Path) -> tuple[TarIndex, Hashes]:
    """The index beside a tar, and the hashes of its images as their source held them."""
    content, end = _json(file.with_suffix(".json")), file.stat().st_size
    names, labels = [str(name) for name in content["names"]], [sys.intern(str(label)) for label in content["labels"]]
    originals = [str(name) for name in content.get("originals", ())]
    offsets, sizes = (array("q", content[name]) for name in ("offsets", "sizes"))
    hashes = np.array([int(word, 16) for word in content["hashes"]], dtype=np.uint64)
    if len({len(names), len(labels), len(offsets), len(sizes), len(hashes), len(originals) or len(names)}) > 1:
        raise ValueError(f"the lists of {file.stem}.json differ in length")
    if any(offset < 0 or size < 0 or offset + size > end for offset, size in zip(offsets, sizes, strict=True)):
        raise ValueError(f"{file.stem}.json names bytes beyond the end of the tar")
    return TarIndex(names, offsets, sizes, labels, originals=originals), hashes


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_JSON:
            raise DataError(f"{path} has more than {MAX_JSON >> 20} MB. Pack the images again.")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read: {type(error).__name__} {error}. Pack the images again.") from error
