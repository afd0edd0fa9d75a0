"""Read arrays from ``.npz`` and ``.npy`` files, without unpickling objects, and from IDX files.

A ``.npz`` file contains ``x`` and optionally ``label`` (or ``y``), ``given`` (n, k) with
``given_names``, and held-out arrays with the suffix ``_test``; see `from_arrays` for their formats.
"""

from __future__ import annotations

import gzip
import math
import re
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from pushforward.data.core.arrays import numbered, splits_of
from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.hashes import Array, Pixels
from pushforward.data.core.named_set import resized
from pushforward.data.readers.reader import IDX, DataOptions, Examples, Reader
from pushforward.errors import DataError

_NAMES = ("x", "label", "given", "given_names", "x_test", "label_test", "given_test")
_ALIASES = {"y": "label", "y_test": "label_test"}
_UNUSED = f"not used; these arrays are read: {', '.join(_NAMES)}"

SMALL = 64 << 20  # bytes that any file may unpack to
RATIO = 200  # of a larger unpacked file to its size
WHAT = {1: "labels (1 dimension)", 3: "images (3 dimensions)"}


def _read(path: Path, reading: DataOptions) -> Dataset:
    reading.refuse_table(str(path))
    reading.refuse_stream(str(path))
    arrays, unused = _members(path)
    train, held_out, schema = splits_of(arrays, f"{path.name}: ")
    return build(
        path.stem,
        resized(train, reading.resize),
        held_out and resized(held_out, reading.resize),
        schema=schema,
        skipped=tuple((f"{path.name}: {name}", _UNUSED) for name in unused),
        limit=reading.limit,
        seed=reading.seed,
    )


def _examples(path: Path, reading: DataOptions) -> Examples:
    arrays, _ = _members(path)
    split, _, schema = splits_of(arrays, f"{path.name}: ")
    return resized(split, reading.resize), schema.classes, schema.columns


def _members(path: Path) -> tuple[dict[str, Array], list[str]]:
    try:
        if path.suffix.lower() == ".npy":
            with open(path, "rb") as file:
                return {"x": np.lib.format.read_array(file, allow_pickle=False)}, []
        with zipfile.ZipFile(path) as archive:
            return _zipped(archive, path)
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile file may raise anything
        raise DataError(
            f"{path} cannot be read: {type(error).__name__} {error}. Expected plain arrays of "
            "numbers, as saved by np.save or np.savez."
        ) from error


def _zipped(archive: zipfile.ZipFile, path: Path) -> tuple[dict[str, Array], list[str]]:
    inside = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if list(inside) == ["arr_0"]:
        inside = {"x": inside["arr_0"]}
    if "x" not in inside:
        raise DataError(
            f'{path} does not contain an array "x"; it contains {", ".join(inside) or "nothing"}. '
            "Rename the array of examples to x and the labels to label: "
            f"np.savez(file, x={next(iter(inside), '...')}, label=...)."
        )
    members = {}
    unused = []
    for spelling, info in inside.items():
        name = _ALIASES.get(spelling, spelling)
        if name not in _NAMES or (name != spelling and name in inside):
            unused.append(spelling)
            continue
        if info.file_size > max(SMALL, RATIO * info.compress_size):
            raise DataError(
                f"{path}: {info.filename} would expand to {info.file_size:,} bytes and may be a "
                "decompression bomb. If the data is real, save it with np.savez instead of "
                "np.savez_compressed."
            )
        with archive.open(info) as member:
            members[name] = np.lib.format.read_array(member, allow_pickle=False)
    return members, unused


NUMPY = Reader((".npz", ".npy"), _read, _examples)


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


def _idx_examples(path: Path, reading: DataOptions) -> Examples:
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


def _read_idx(path: Path, reading: DataOptions) -> Dataset:
    reading.refuse_table(str(path))
    reading.refuse_stream(str(path))
    train, classes, _ = _idx_examples(path, reading)
    held_out = None
    test = _renamed(path, "train", "t10k")
    if test is not None:
        held_out = _held_out(test, classes, reading)
    name = re.split("[.-]", path.name)[0]
    return build(
        name, train, held_out, schema=Schema(classes), limit=reading.limit, seed=reading.seed
    )


def _held_out(path: Path, classes: tuple[str, ...], reading: DataOptions) -> Split:
    split, own, _ = _idx_examples(path, reading)
    if not own or not classes:
        return split
    if not set(own) <= set(classes):
        raise DataError(f"{path} has classes that the training images do not have.")
    numbers = np.array([classes.index(name) for name in own])
    return replace(split, labels=numbers[split.labels])


IDX_FILES = Reader((IDX,), _read_idx, _idx_examples)
