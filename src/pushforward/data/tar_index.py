"""Where the images of an uncompressed tar lie: names, offsets, sizes and classes of its members, without unpacking it.

The layout is WebDataset's: the members of an example share a name up to its first dot, and the rest says what each is:
``000000001.png`` and ``000000001.cls``. Nothing is written to disk, so names of members are names and no paths.
"""

from __future__ import annotations

import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pushforward.data.image_files import ARRAYS, ENDINGS
from pushforward.errors import DataError
from pushforward.safe_files import plain_path

__all__ = ["TarIndex", "index_of", "refuse_compressed"]

MAX_HEADER = 2**20
MAX_CLASS = 100
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")


@dataclass
class TarIndex:
    """The images of a tar, in their order.

    Args:
        names: of the images.
        offsets: where the content of each begins, in bytes.
        sizes: bytes of each.
        labels: the class of each as its ``.cls`` says, empty for those without one.
        ignored: how many other members there are.
        originals: the file that each was packed from, empty where that is not known; empty for all where none is.
    """

    names: list[str] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)
    ignored: int = 0
    originals: list[str] = field(default_factory=list)


def index_of(path: Path) -> TarIndex:
    """Index a tar by its headers.

    Raises:
        DataError: a file that is compressed, no tar, or cut off.
    """
    with open(plain_path(path), "rb") as file:
        _refuse_compressed(path, file)
        try:
            return _indexed(file)
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is damaged or no tar: {str(error) or type(error).__name__}.") from error


def refuse_compressed(path: Path) -> None:
    """Refuse a file that is a compressed tar by its name and its content.

    Raises:
        DataError: with the compression.
    """
    if path.is_file() and path.name.lower().endswith(_ENDINGS):
        with open(path, "rb") as file:
            _refuse_compressed(path, file)


def _refuse_compressed(path: Path, file: BinaryIO) -> None:
    start = file.read(6)
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise DataError(
                f"{path} is compressed ({name}), so that no image in it can be read by itself: expected a plain tar. Unpack it "
                "first; images are compressed already."
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
    """The plain files of a tar, each with the file at its content."""
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
