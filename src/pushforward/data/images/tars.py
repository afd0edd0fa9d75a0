"""Read images from uncompressed tars in the WebDataset layout, and the files that `pushforward.data.pack` adds to them.

The layout is WebDataset's: the members of an example share a name up to its first dot, and the rest says what each is:
``000000001.png`` and ``000000001.cls``. Nothing is written to disk, so names of members are names and no paths.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pushforward.data.core.hashes import Hashes
from pushforward.data.images.image_file import ARRAYS, ENDINGS, UnusableError
from pushforward.data.images.image_store import ImageStore
from pushforward.errors import DataError
from pushforward.files import plain_path

FORMAT = "pushforward-images-1"
MANIFEST = "manifest.json"
TAR = ".tar"
MAX_CLASS = 100
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
MAX_MEMBER = 256 * 2**20  # bytes of a member that is read


@dataclass
class TarIndex:
    """The images of a tar, in order.

    Args:
        names: Names of the images.
        offsets: Start of each image in bytes.
        sizes: Size of each image in bytes.
        labels: Class of each image from its ``.cls`` member; empty for images without one.
        ignored: Number of other members.
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
    try:
        with (
            open(plain_path(path), "rb") as file,
            tarfile.open(fileobj=file, mode="r:", errors="replace") as archive,
        ):
            return _indexed(file, archive, path.stat().st_size)
    except (tarfile.TarError, OSError, ValueError, EOFError, MemoryError) as error:
        raise DataError(
            f"{path} is damaged or is not a tar file: {str(error) or type(error).__name__}."
        ) from error


def refuse_compressed(path: Path) -> None:
    """Raise an error if the content of a file is a compressed tar.

    Raises:
        DataError: with the compression.
    """
    with open(plain_path(path), "rb") as file:
        start = file.read(6)
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise DataError(
                f"{path} is compressed ({name}), so images cannot be read in random order: "
                "expected an uncompressed tar. Decompress it first."
            )


def _indexed(file: BinaryIO, archive: tarfile.TarFile, end: int) -> TarIndex:
    index = TarIndex()
    key = None
    imaged = None
    label = ""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # or they would be held in memory
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            continue
        if member.offset_data + member.size > end:
            raise EOFError(f"the file ends inside {member.name[:100]}")
        folder, _, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        if (folder, stem) != key:
            key = (folder, stem)
            label = ""
        if ending == "cls" and member.size <= MAX_CLASS:
            file.seek(member.offset_data)
            label = file.read(member.size).decode("utf-8", "replace").strip()
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


@dataclass(frozen=True)
class Packed:
    """A folder of packed images.

    Args:
        folder: Path of the folder.
        name: Name of the data set.
        classes: Class names, in the order of their numbers; empty without classes.
        target: Name of the column or attribute that defines the classes; may be empty.
        train: Indices of the tars with training examples, by file name.
        held_out: Indices of the tars with held-out examples, by file name.
        hashes: Hashes of all source images, training examples first, uint64 (n,).
        manifest: Content of ``manifest.json``.
    """

    folder: Path
    name: str
    classes: tuple[str, ...]
    target: str
    train: dict[str, TarIndex]
    held_out: dict[str, TarIndex]
    hashes: Hashes
    manifest: dict[str, Any]


def packed_in(path: Path) -> Packed | None:
    """Read the index of a folder written by `pushforward.data.pack`; None for tars of other tools.

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
        raise DataError(
            f"{path / MANIFEST} is damaged: {type(error).__name__} {error}. Pack the images again."
        ) from error


def _packed(path: Path, content: dict[str, Any]) -> Packed:
    sides: dict[bool, dict[str, TarIndex]] = {False: {}, True: {}}
    hashes = []
    classes = tuple(str(name) for name in content["classes"])
    numbers = {str(number) for number in range(len(classes))} or {""}
    for shard in sorted(content["shards"], key=lambda shard: bool(shard["held_out"])):
        file = path / str(shard["file"])
        if file.parent != path or file.suffix != TAR:
            raise ValueError(f"{str(shard['file'])[:100]} is not the name of a tar file")
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise DataError(
                f"{file} is missing, incomplete or changed: according to manifest.json, it has "
                f"{shard['bytes']:,} bytes. Restore it."
            )
        index, known = _index(file)
        if not numbers.issuperset(index.labels):
            raise ValueError(f"{file.stem}.json refers to undefined classes")
        sides[bool(shard["held_out"])][file.name] = index
        hashes.append(known)
    if not sides[False] or not sides[True]:
        raise ValueError("one of the splits has no tars")
    name = str(content["name"])
    target = str(content["target"])
    return Packed(
        path, name, classes, target, sides[False], sides[True], np.concatenate(hashes), content
    )


def content_digest(hashes: Hashes) -> str:
    """Compute sha256 (hex) of the hashes of decoded images (`content_hashes`), training examples first."""
    return sha256(hashes.astype("<u8").tobytes()).hexdigest()


def _index(file: Path) -> tuple[TarIndex, Hashes]:
    content = _json(file.with_suffix(".json"))
    end = file.stat().st_size
    names = [str(name) for name in content["names"]]
    labels = [sys.intern(str(label)) for label in content["labels"]]
    offsets, sizes = (array("q", content[name]) for name in ("offsets", "sizes"))
    hashes = np.array([int(word, 16) for word in content["hashes"]], dtype=np.uint64)
    if len({len(names), len(labels), len(offsets), len(sizes), len(hashes)}) > 1:
        raise ValueError(f"the lists in {file.stem}.json have different lengths")
    if any(
        offset < 0 or size < 0 or offset + size > end
        for offset, size in zip(offsets, sizes, strict=True)
    ):
        raise ValueError(f"{file.stem}.json refers to bytes beyond the end of the tar")
    return TarIndex(names, offsets, sizes, labels), hashes


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read: {type(error).__name__} {error}. Pack the images again."
        ) from error


class TarStore(ImageStore):
    """Images of one or more tars, in order; they have classes if all images have one.

    Args:
        place: Folder of the tars.
        shards: Index of each tar by file name.
        names: Class names in the order of their numbers, if known.
        hashes: Hashes of the source images, uint64 (n,); None for images that were not packed.

    Raises:
        DataError: no images.
    """

    def __init__(
        self,
        place: Path,
        shards: Mapping[str, TarIndex],
        names: tuple[str, ...] = (),
        hashes: Hashes | None = None,
    ) -> None:
        labels = [label for index in shards.values() for label in index.labels]
        images = [f"{shard}/{name}" for shard, index in shards.items() for name in index.names]
        if not images:
            raise DataError(
                f"There are no images in {place / next(iter(shards))}: expected members such as 000000001.png."
            )
        super().__init__(
            place, images, sum(index.ignored for index in shards.values()), labelled=all(labels)
        )
        self.shards = tuple(shards)
        self.class_names = names
        self.hashes = hashes
        self.source = place / self.shards[0] if len(shards) == 1 else place
        self._labels = labels
        self._shard = np.repeat(
            np.arange(len(shards), dtype=np.int32), [len(index.names) for index in shards.values()]
        )
        self._offsets = np.concatenate(
            [np.array(index.offsets, dtype=np.int64) for index in shards.values()]
        )
        self._sizes = np.concatenate(
            [np.array(index.sizes, dtype=np.int64) for index in shards.values()]
        )

    def open(self, i: int) -> BinaryIO:
        size = int(self._sizes[i])
        if size > MAX_MEMBER:
            raise UnusableError(f"{size:,} bytes exceed the limit of {MAX_MEMBER >> 20} MB")
        with open(self.file(i), "rb", buffering=0) as file:
            file.seek(int(self._offsets[i]))
            return io.BytesIO(file.read(size))

    def label(self, i: int) -> str:
        label = self._labels[i]
        if self.class_names:
            return self.class_names[int(label)]
        return label

    def file(self, i: int) -> Path:
        return self.place / self.shards[self._shard[i]]

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        if self.class_names:
            return self.class_names
        labels = set(labels)
        numbers = all(label.isdecimal() for label in labels)
        return tuple(sorted(labels, key=lambda label: (int(label) if numbers else 0, label)))
