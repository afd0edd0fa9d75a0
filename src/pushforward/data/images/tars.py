"""Read images from uncompressed tars in the WebDataset layout."""

from __future__ import annotations

import io
import json
import tarfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from operator import itemgetter
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
MAX_MEMBER = 256 * 2**20  # bytes of a member that is read


@dataclass
class TarIndex:
    """Images of some tars in order, with their classes, which may be empty."""

    tars: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: array[int] = field(default_factory=lambda: array("q"))  # tar, offset and size of each
    ignored: int = 0

    def add(self, path: Path) -> None:
        """Add the images of a tar, found by its headers."""
        self.tars.append(path)
        try:
            with (
                open(plain_path(path), "rb") as file,
                tarfile.open(fileobj=file, mode="r:", errors="replace") as archive,
            ):
                self._add(file, archive, path.stat().st_size)
        except (tarfile.TarError, OSError, ValueError, EOFError, MemoryError) as error:
            raise DataError(
                f"{path} is damaged, compressed, or not a tar file: "
                f"{str(error) or type(error).__name__}. Expected an uncompressed tar, so that "
                "images can be read in random order."
            ) from error

    def _add(self, file: BinaryIO, archive: tarfile.TarFile, end: int) -> None:
        key = None
        imaged = None
        label = ""
        number = len(self.tars) - 1
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # or they would be held in memory
            if not member.isreg() or member.issparse():
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
                    self.labels[-1] = label
            elif f".{ending.lower()}".endswith((*ENDINGS, ARRAYS)) and imaged != key:
                self.names.append(f"{self.tars[number].name}/{member.name}")
                self.labels.append(label)
                self.places.extend([number, member.offset_data, member.size])
                imaged = key
            else:
                self.ignored += 1


@dataclass(frozen=True)
class Packed:
    """A folder of packed images.

    Args:
        manifest: Content of the manifest.
        index: Index of all tars, those of the training split first.
        train: Number of training images.
        hashes: Hashes of all images.
    """

    manifest: dict[str, Any]
    index: TarIndex
    train: int
    hashes: Hashes


def packed_in(path: Path) -> Packed | None:
    """Index a folder of packed images; None for tars of other tools."""
    if not (path / MANIFEST).is_file():
        return None
    try:
        content = json.loads((path / MANIFEST).read_bytes())
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            return None
        return _packed(path, content)
    except DataError:
        raise
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{path / MANIFEST} is damaged: {type(error).__name__} {error}. Pack the images again."
        ) from error


def _packed(path: Path, content: dict[str, Any]) -> Packed:
    index = TarIndex()
    hashes: list[int] = []
    train = 0
    classes = {str(number) for number in range(len(content["classes"]))} or {""}
    for shard in sorted(content["shards"], key=itemgetter("held_out")):
        file = path / str(shard["file"])
        if file.parent != path or file.suffix != TAR:
            raise ValueError(f"{str(shard['file'])[:100]} is not the name of a tar file")
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise DataError(
                f"{file} is missing, incomplete or changed: according to manifest.json, it has "
                f"{shard['bytes']:,} bytes. Restore it."
            )
        index.add(file)
        own = json.loads(file.with_suffix(".json").read_bytes())
        hashes += [int(word, 16) for word in own["hashes"]]
        if len(hashes) != len(index.names):
            raise ValueError(f"{file.name} contains other images")
        if not shard["held_out"]:
            train = len(hashes)
    if not 0 < train < len(hashes) or not classes.issuperset(index.labels):
        raise ValueError("a split has no images, or undefined classes")
    return Packed(content, index, train, np.array(hashes, dtype=np.uint64))


def content_digest(hashes: Hashes) -> str:
    """Compute sha256 (hex) of the hashes of decoded images, training examples first."""
    return sha256(hashes.astype("<u8").tobytes()).hexdigest()


class TarStore(ImageStore):
    """Images of one or more tars, in order, with classes if all images have one."""

    def __init__(
        self, index: TarIndex, names: tuple[str, ...] = (), hashes: Hashes | None = None
    ) -> None:
        first = index.tars[0]
        if not index.names:
            raise DataError(
                f"There are no images in {first}: expected members such as 000000001.png."
            )
        super().__init__(first.parent, index.names, index.ignored, labelled=all(index.labels))
        self.index = index
        self.class_names = names
        self.hashes = hashes
        if len(index.tars) == 1:
            self.source = first

    def open(self, i: int) -> BinaryIO:
        _, offset, size = self.index.places[3 * i : 3 * i + 3]
        if size > MAX_MEMBER:
            raise UnusableError(f"{size:,} bytes exceed the limit of {MAX_MEMBER >> 20} MB")
        with open(self.file(i), "rb", buffering=0) as file:
            file.seek(offset)
            return io.BytesIO(file.read(size))

    def label(self, i: int) -> str:
        label = self.index.labels[i]
        if self.class_names:
            return self.class_names[int(label)]
        return label

    def file(self, i: int) -> Path:
        return self.index.tars[self.index.places[3 * i]]

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        if self.class_names:
            return self.class_names
        names = sorted(labels)
        if all(name.isdecimal() for name in names):
            names.sort(key=int)
        return tuple(names)
