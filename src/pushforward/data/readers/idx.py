"""Read IDX files, the format of MNIST, with their files of labels."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from pushforward.data.core.arrays import numbered
from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.hashes import Pixels
from pushforward.data.core.named_set import resized
from pushforward.data.readers.reader import IDX, DataOptions, Examples, Reader
from pushforward.errors import DataError

SMALL = 64 << 20  # bytes that any file may unpack to
RATIO = 200  # of a larger unpacked file to its size
WHAT = {1: "labels (1 dimension)", 3: "images (3 dimensions)"}


def idx_array(path: Path, dimensions: int) -> Pixels:
    """Read an IDX file of unsigned bytes: 1 dimension for labels, 3 for images.

    Raises:
        DataError: If the file is damaged, or holds something else.

    References:
        LeCun et al., the MNIST database, "File formats for the MNIST database".
    """
    start = 4 + 4 * dimensions
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            content = bytearray(file.read(max(SMALL, RATIO * path.stat().st_size)))
        sides = np.frombuffer(content[4:start], dtype=">u4").tolist()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cannot be read: {error}.") from error
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) - start != math.prod(sides):
        raise DataError(f"{path} is damaged, or is not an IDX file of {WHAT[dimensions]}.")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sides)


def _examples(path: Path, reading: DataOptions) -> Examples:
    images = idx_array(path, 3)[:, None]
    labels = None
    classes = tuple[str, ...]()
    beside = _renamed(path, "images", "labels")
    if beside is not None:
        labels, classes = numbered(idx_array(beside, 1), str(beside))
    return resized(Split(images, labels), reading.resize), classes, ()


def _renamed(path: Path, part: str, other: str) -> Path | None:
    plain = path.name.removesuffix(".gz")
    name = plain.replace(part, other)
    if other == "labels":
        name = name.replace("idx3", "idx1")
    for file in (path.with_name(name), path.with_name(f"{name}.gz")):
        if name != plain and file.is_file():
            return file
    return None


def _read(path: Path, reading: DataOptions) -> Dataset:
    reading.refuse_table(str(path))
    reading.refuse_stream(str(path))
    train, classes, _ = _examples(path, reading)
    held_out = None
    test = _renamed(path, "train", "t10k")
    if test is not None:
        held_out = _held_out(test, classes, reading)
    name = re.split("[.-]", path.name)[0]
    return build(
        name, train, held_out, schema=Schema(classes), limit=reading.limit, seed=reading.seed
    )


def _held_out(path: Path, classes: tuple[str, ...], reading: DataOptions) -> Split:
    split, own, _ = _examples(path, reading)
    if not own or not classes:
        return split
    if not set(own) <= set(classes):
        raise DataError(f"{path} has classes that the training images do not have.")
    numbers = np.array([classes.index(name) for name in own])
    return replace(split, labels=numbers[split.labels])


IDX_FILES = Reader((IDX,), _read, _examples)
