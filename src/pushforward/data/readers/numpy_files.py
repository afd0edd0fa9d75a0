"""Arrays of numpy: ``.npz`` and ``.npy`` (never pickled objects), vectors or images.

A ``.npy`` is the array of examples. A ``.npz`` holds ``x``, and where there are any ``label`` (or ``y``), ``given`` (n, k), the
continuous attributes that models receive as conditions, and ``given_names``; the arrays of held-out examples are ``x_test``,
``label_test`` (or ``y_test``) and ``given_test``.

``x`` is one of: uint8 images (n, H, W, C), (n, C, H, W) or (n, H, W), 0 to 255 (0 and 1 alone are read as black and white); float
images in [0, 1], which are rounded to 256 levels; vectors (n, d) of any numbers. Where both layouts are possible, channels are
last.
"""

from __future__ import annotations

import math
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.columns import Numbers
from pushforward.data.core.arrays import attributes, example_array, label_numbers
from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.named_set import resized
from pushforward.data.images.image_file import array_header
from pushforward.data.readers.reader import MAX_BYTES, Examples, Reader, Reading
from pushforward.errors import DataError, UsageError

MAX_RATIO = 200
SMALL_BYTES = 64 * 2**20
_NAMES = {"x": ("x",), "label": ("label", "y"), "x_test": ("x_test",), "label_test": ("label_test", "y_test")}
_NAMES |= {name: (name,) for name in ("given", "given_test", "given_names")}


def _read(path: Path, reading: Reading) -> Dataset:
    reading.refuse_table(str(path))
    reading.refuse_stream(str(path))
    train, held_out, schema, unused = _contents(path)
    if reading.size:
        if train.x.ndim != 4:
            raise UsageError(f"`resize` is for images, but {path} holds vectors: leave it out.")
        train, held_out = resized(train, reading.size), held_out and resized(held_out, reading.size)
    known = "x, label (or y), given, given_names, x_test, label_test (or y_test) and given_test"
    skipped = tuple((f"{path.name}: {name}", f"not used: the arrays that are read are {known}") for name in unused)
    return build(path.stem, train, held_out, schema=schema, skipped=skipped, limit=reading.limit, seed=reading.seed)


def _examples(path: Path, reading: Reading) -> Examples:
    split, _, schema, _ = _contents(path)
    return resized(split, reading.size) if reading.size else split, schema.classes, schema.columns


def _left_out(path: Path) -> tuple[str, ...]:
    if path.suffix.lower() == ".npy":
        return ()
    with zipfile.ZipFile(path) as archive:
        inside = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        examples = {"x" if "x" in inside else "arr_0", "label" if "label" in inside else "y", "given", "given_names"}
        return tuple(_shapes(archive, {name: info for name, info in inside.items() if name not in examples}))


def _contents(path: Path) -> tuple[Split, Split | None, Schema, tuple[str, ...]]:
    """Training examples (all where the file has no held-out ones), held-out ones, their description, and arrays not used.

    Raises:
        DataError: pickled objects, arrays that are empty, of the wrong shape, not finite, damaged, or far too large.
    """
    arrays, unused = _members(path)
    train, integer = example_array(arrays["x"], f"{path.name}: x")
    held = example_array(arrays["x_test"], f"{path.name}: x_test")[0] if "x_test" in arrays else None
    if held is not None and held.shape[1:] != train.shape[1:]:
        raise DataError(
            f"{path}: x_test has examples of shape {held.shape[1:]}, x of shape {train.shape[1:]}: expected the same."
        )
    for name in ("label", "given"):
        if (f"{name}_test" in arrays) != (name in arrays and held is not None):
            raise DataError(
                f"{path}: {name} and {name}_test belong to x and x_test: expected both beside x_test, and none without."
            )
    sizes = {"": len(train)} if held is None else {"": len(train), "_test": len(held)}
    labels, classes = None, tuple[str, ...]()
    if "label" in arrays:
        labels, classes = label_numbers(
            [arrays[f"label{part}"] for part in sizes], list(sizes.values()), place=f"{path.name}: label"
        )
    given, kinds = _given(path, arrays, sizes)
    test = None if held is None else Split(held, None if labels is None else labels[len(train) :], given=given[1])
    schema = Schema(classes, integer=integer, kinds=kinds)
    return Split(train, None if labels is None else labels[: len(train)], given=given[0]), test, schema, unused


def _given(
    path: Path, arrays: dict[str, NDArray[Any]], sizes: dict[str, int]
) -> tuple[list[dict[str, NDArray[Any]]], dict[str, Any]]:
    """The condition ``given`` of each split, and the function that makes its kind."""
    if "given" not in arrays:
        return [{} for _ in range(2)], {}
    known = [str(name) for name in arrays.get("given_names", ())]
    values = [attributes(arrays[f"given{part}"], n, f"{path.name}: given{part}", known) for part, n in sizes.items()]
    names = known if "given_names" in arrays else [f"given_{i}" for i in range(values[0].shape[1])]
    if len(set(names)) < len(names) or any(part.shape[1] != len(names) for part in values):
        raise DataError(f"{path}: given_names holds {', '.join(names)}; expected a different name for each column of given.")
    return [{"given": part} for part in values], {"given": partial(Numbers.measure, columns=names)}


def _members(path: Path) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The arrays of a file under the names of this module, sizes checked before anything is unpacked, and others."""
    try:
        if path.suffix.lower() == ".npy":
            with open(path, "rb") as file:
                return {"x": _array(file, path.stat().st_size, path.name)}, ()
        with zipfile.ZipFile(path) as archive:
            inside = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if "x" not in inside and list(inside) == ["arr_0"]:
                inside = {"x": inside["arr_0"]}
            if "x" not in inside:
                raise DataError(
                    f'{path} has no array "x"; it holds: {", ".join(_shapes(archive, inside)) or "nothing"}. Rename the array of '
                    f"examples to x, and labels to label: np.savez(file, x={next(iter(inside), '...')}, label=...)."
                )
            members, read = {}, set()
            for name, spellings in _NAMES.items():
                for spelling in [s for s in spellings if s in inside][:1]:
                    info = inside[spelling]
                    if info.file_size > SMALL_BYTES and info.file_size > MAX_RATIO * info.compress_size:
                        raise DataError(
                            f"{path}: {info.filename} unpacks to {info.file_size:,} bytes: taken for a decompression bomb. "
                            "If the data is real, use np.savez, not np.savez_compressed."
                        )
                    with archive.open(info) as member:
                        members[name] = _array(member, info.file_size, f"{path.name}: {info.filename}")
                    read.add(spelling)
            return members, tuple(_shapes(archive, {name: info for name, info in inside.items() if name not in read}))
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile file may raise anything
        raise DataError(f"{path} cannot be read: {type(error).__name__} {error}.") from error


def _shapes(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> list[str]:
    """Such as ``images (100, 8, 8)``, from headers alone, of at most 12 arrays."""
    shapes = []
    for name, info in list(members.items())[:12]:
        try:
            with archive.open(info) as member:
                shapes.append(f"{name} {array_header(member).shape}")
        except Exception:  # an array that is not read may be anything
            shapes.append(name)
    return shapes


def _array(file: Any, size: int, name: str) -> NDArray[Any]:
    """One array in numpy's format; refused unread if its header promises objects or too much."""
    try:
        shape, fortran, dtype = array_header(file)
    except ValueError as error:
        raise DataError(f"{name} cannot be read: {error}.") from error
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects (pickled), which are never unpacked: save plain numbers.")
    needed = math.prod(shape) * dtype.itemsize
    if needed > min(size, MAX_BYTES):
        raise DataError(
            f"{name} says it holds {shape} of {dtype}, {needed:,} bytes, but has {size:,} (at most {MAX_BYTES >> 30} GB): "
            "it is cut off, damaged or too large."
        )
    content = np.empty(needed, dtype=np.uint8)
    view, filled = memoryview(content.data), 0
    while filled < needed and (got := file.readinto(view[filled:])):
        filled += got
    if filled < needed:
        raise DataError(f"{name} ends after {filled:,} of {needed:,} bytes: it is cut off.")
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")


NUMPY = Reader((".npz", ".npy"), _read, _examples, _left_out)
