"""Uncompressed tars of images: where each image lies in them, and the manifest of those that `pushforward.data.pack` wrote.

The layout is WebDataset's: the members of an example share a name up to its first dot, and the rest says what each is:
``000000001.png`` and ``000000001.cls``. Nothing is written to disk, so names of members are names and no paths.
"""

from __future__ import annotations

import json
import sys
import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pushforward.data.core.hashes import Hashes
from pushforward.data.images.image_file import ARRAYS, ENDINGS
from pushforward.errors import DataError
from pushforward.files import plain_path

FORMAT, MANIFEST, TAR = "pushforward-images-1", "manifest.json", ".tar"
MAX_JSON = 256 * 2**20


MAX_HEADER = 2**20
MAX_CLASS = 100
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass
class TarIndex:
    """The images of a tar, in their order.

    Args:
        names: of the images.
        offsets: where the content of each begins, in bytes.
        sizes: bytes of each.
        labels: the class of each as its ``.cls`` says, empty for those without one.
        ignored: how many other members there are.
    """

    names: list[str] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)
    ignored: int = 0


def index_of(path: Path) -> TarIndex:
    """Index a tar by its headers.

    Raises:
        DataError: a file that is compressed, no tar, or cut off.
    """
    refuse_compressed(path)
    with open(plain_path(path), "rb") as file:
        try:
            return _indexed(file)
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is damaged or no tar: {str(error) or type(error).__name__}.") from error


def refuse_compressed(path: Path) -> None:
    """Refuse a file that is a compressed tar by its content.

    Raises:
        DataError: with the compression.
    """
    with open(plain_path(path), "rb") as file:
        start = file.read(6)
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise DataError(
                f"{path} is compressed ({name}): expected a plain tar, in which any image can be read. Unpack it first."
            )


def _indexed(file: BinaryIO) -> TarIndex:
    index, key, imaged, label = TarIndex(), None, None, ""
    for member, content in _members(file):
        folder, _, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        if (folder, stem) != key:
            key, label = (folder, stem), ""
        if ending == "cls" and member.size <= MAX_CLASS:
            label = content.read(member.size).decode("utf-8", "replace").strip()
            if imaged == key:
                index.labels[-1] = label
        elif f".{ending.lower()}".endswith((*ENDINGS, ARRAYS)) and imaged != key:
            index.names.append(member.name)
            index.offsets.append(member.offset_data)
            index.sizes.append(member.size)
            index.labels.append(label)
            imaged = key
        else:
            index.ignored += 1
    return index


def _members(file: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    end = file.seek(0, 2)
    file.seek(0)
    with tarfile.open(fileobj=_Capped(file), mode="r:", errors="replace") as archive:  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # or they would be held in memory
            if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
                if member.offset_data + member.size > end:
                    raise EOFError(f"it ends inside of {member.name[:100]}")
                file.seek(member.offset_data)
                yield member, file


class _Capped:
    """A file whose headers cannot ask for more than a megabyte of memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        """Bytes, of a size that a header may have."""
        if not 0 <= size <= MAX_HEADER:
            raise ValueError(f"a header says that it has {size:,} bytes")
        return self.file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


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
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path / MANIFEST} is damaged: {type(error).__name__} {error}. Pack the images again.") from error


def _packed(path: Path, content: dict[str, Any]) -> Packed:
    sides: dict[bool, dict[str, TarIndex]] = {False: {}, True: {}}
    hashes, classes = [], tuple(str(name) for name in content["classes"])
    numbers = {str(number) for number in range(len(classes))} or {""}
    for shard in sorted(content["shards"], key=lambda shard: bool(shard["held_out"])):
        file = path / str(shard["file"])
        if file.parent != path or file.suffix != TAR:
            raise ValueError(f"{str(shard['file'])[:100]} is no name of a tar")
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise DataError(f"{file} is missing, cut off or changed: manifest.json has {shard['bytes']:,} bytes. Restore it.")
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


def _index(file: Path) -> tuple[TarIndex, Hashes]:
    content, end = _json(file.with_suffix(".json")), file.stat().st_size
    names, labels = [str(name) for name in content["names"]], [sys.intern(str(label)) for label in content["labels"]]
    offsets, sizes = (array("q", content[name]) for name in ("offsets", "sizes"))
    hashes = np.array([int(word, 16) for word in content["hashes"]], dtype=np.uint64)
    if len({len(names), len(labels), len(offsets), len(sizes), len(hashes)}) > 1:
        raise ValueError(f"the lists of {file.stem}.json differ in length")
    if any(offset < 0 or size < 0 or offset + size > end for offset, size in zip(offsets, sizes, strict=True)):
        raise ValueError(f"{file.stem}.json names bytes beyond the end of the tar")
    return TarIndex(names, offsets, sizes, labels), hashes


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_JSON:
            raise DataError(f"{path} has more than {MAX_JSON >> 20} MB. Pack the images again.")
        return json.loads(path.read_bytes())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__} {error}. Pack the images again.") from error
