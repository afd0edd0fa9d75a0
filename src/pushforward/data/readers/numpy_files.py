"""Arrays of numpy: ``.npz`` and ``.npy`` (never pickled objects), vectors or images."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.kind import ConditionKind
from pushforward.conditions.numbers import Numbers
from pushforward.data.array_headers import array_header
from pushforward.data.arrays import attributes, example_array, label_values, numbered
from pushforward.data.building import Schema, build
from pushforward.data.dataset import Dataset, Split
from pushforward.data.readers.reader import MAX_BYTES, Examples, Reader
from pushforward.data.reading import Reading
from pushforward.data.source import resized
from pushforward.errors import DataError, UsageError

__all__ = ["NUMPY"]

MAX_RATIO = 200
SMALL_BYTES = 64 * 2**20
_NAMES = {"x": ("x",), "label": ("label", "y"), "x_test": ("x_test",), "label_test": ("label_test", "y_test")}
_NAMES |= {name: (name,) for name in ("given", "given_test", "given_names")}

Unused = tuple[tuple[str, str], ...]
"""(array, reason) of each array that is not read."""


def _read(path: Path, reading: Reading) -> Dataset:
    reading.refuse_header(str(path))
    reading.refuse_stream(str(path))
    if reading.target is not None:
        raise UsageError(f'`target="{reading.target}"` is for .csv files; a .npz holds its labels as "label".')
    train, held_out, schema, unused = _contents(path)
    if reading.size:
        if train.x.ndim != 4:
            raise UsageError(f"`resize` is for images, but {path} holds vectors: leave it out.")
        train, held_out = resized(train, reading.size), held_out and resized(held_out, reading.size)
    skipped = tuple((f"{path.name}: {name}", reason) for name, reason in unused)
    return build(path.stem, train, held_out, schema=schema, skipped=skipped, limit=reading.limit, seed=reading.seed)


def _examples(path: Path, reading: Reading) -> Examples:
    split, _, schema, _ = _contents(path)
    return resized(split, reading.size) if reading.size else split, schema.classes, schema.columns


def _left_out(path: Path) -> tuple[str, ...]:
    """The arrays that are neither the examples nor their labels or given values."""
    if path.suffix.lower() == ".npy":
        return ()
    with zipfile.ZipFile(path) as archive:
        inside = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        examples = {"x" if "x" in inside else "arr_0", "label" if "label" in inside else "y", "given", "given_names"}
        return tuple(_shapes(archive, {name: info for name, info in inside.items() if name not in examples}))


def _contents(path: Path) -> tuple[Split, Split | None, Schema, Unused]:
    """Read a ``.npy`` (one array) or a ``.npz`` (``x``; optionally ``label`` or ``y``, ``given``, ``x_test``, ...).

    ``given`` holds continuous attributes (n, k) that models receive as conditions, and ``given_names`` their names; the arrays of
    held-out examples are called ``x_test``, ``label_test`` and ``given_test``.

    ``x`` is one of: uint8 images (n, H, W, C), (n, C, H, W) or (n, H, W), 0 to 255 (0 and 1 alone are read as black
    and white); float images in [0, 1], which are rounded to 256 levels; vectors (n, d) of any numbers. Where both
    layouts are possible, channels are last.

    Args:
        path: the file.

    Returns:
        Training examples (all examples where the file has no held-out ones), held-out examples, their description, and the
        arrays that are not used.

    Raises:
        DataError: pickled objects, arrays that are empty, of the wrong shape, not finite, out of range, damaged, or
            far too large.
    """
    arrays, unused = _members(path)
    train, integer = example_array(arrays["x"], f"{path.name}: x")
    held = example_array(arrays["x_test"], f"{path.name}: x_test")[0] if "x_test" in arrays else None
    if held is not None and held.shape[1:] != train.shape[1:]:
        raise DataError(
            f"{path}: x_test has examples of shape {held.shape[1:]}, x of shape {train.shape[1:]}: expected the same."
        )
    label, label_test = arrays.get("label"), arrays.get("label_test")
    _check_label_arrays(path, arrays)
    given, given_test, kinds = _given_arrays(path, arrays, len(train), None if held is None else len(held))
    labels, labels_test = None, None
    classes: tuple[str, ...] = ()
    if label is not None:
        both = [label_values(label, len(train), f"{path.name}: label")]
        if held is not None and label_test is not None:
            both.append(label_values(label_test, len(held), f"{path.name}: label_test"))
        numbers, classes = numbered(np.concatenate(both), str(path), "label")
        labels, labels_test = numbers[: len(train)], numbers[len(train) :]
    test = None if held is None else Split(held, labels_test, given=given_test)
    return Split(train, labels, given=given), test, Schema(classes, integer=integer, kinds=kinds), unused


def _given_arrays(
    path: Path, members: dict[str, NDArray[Any]], n: int, held: int | None
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]], dict[str, Callable[[NDArray[Any]], ConditionKind]]]:
    """The condition ``given`` of the training and the held-out examples, and the function that makes its kind."""
    if "given" not in members:
        if "given_test" in members or "given_names" in members:
            raise DataError(f"{path} has names or held-out values of given attributes but no array given: add it.")
        return {}, {}, {}
    if (held is None) == ("given_test" in members):
        raise DataError(f"{path}: expected both x_test and given_test beside given, or neither.")
    named = [str(name) for name in members.get("given_names", ())]
    values = attributes(members["given"], n, f"{path.name}: given", named)
    names = named if "given_names" in members else [f"given_{i}" for i in range(values.shape[1])]
    if len(names) != values.shape[1] or len(set(names)) < len(names):
        raise DataError(f"{path}: given_names holds {', '.join(names)}; expected {values.shape[1]} different names.")
    test = {} if held is None else {"given": attributes(members["given_test"], held, f"{path.name}: given_test", names)}
    if test and test["given"].shape[1] != values.shape[1]:
        raise DataError(f"{path}: given_test has {test['given'].shape[1]} columns, given {values.shape[1]}: expected as many.")
    return {"given": values}, test, {"given": partial(Numbers.measure, columns=names)}


def _check_label_arrays(path: Path, members: dict[str, NDArray[Any]]) -> None:
    """Labels come for all examples or for none."""
    needed = {"label": ("label_test",) if "x_test" in members else (), "label_test": ("label", "x_test")}
    for name, others in needed.items():
        for other in others:
            if name in members and other not in members:
                raise DataError(f"{path} has {name} but no {other}: expected both or neither. Add {other}, or leave {name} out.")


def _members(path: Path) -> tuple[dict[str, NDArray[Any]], Unused]:
    """The arrays of a file under the names of this module, sizes checked before anything is unpacked, and those not used."""
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
            members = {}
            for name, spellings in _NAMES.items():
                for info in (inside[s] for s in spellings if s in inside):
                    _refuse_bomb(path, info)
                    with archive.open(info) as member:
                        members[name] = _array(member, info.file_size, f"{path.name}: {info.filename}")
                    break
            return members, _unused(archive, inside, members)
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile file may raise anything
        raise DataError(
            f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}."
        ) from error


def _unused(archive: zipfile.ZipFile, inside: dict[str, zipfile.ZipInfo], arrays: dict[str, NDArray[Any]]) -> Unused:
    """The arrays of other names, and a second one of the same meaning, with suggestions."""
    read = {next(s for s in _NAMES[name] if s in inside) for name in arrays}
    others = {name: info for name, info in inside.items() if name not in read}
    label = "" if "label" in arrays else "; if it holds the labels, rename it to label"
    known = "x, label (or y), given, given_names, x_test, label_test (or y_test) and given_test"
    reason = f"not used: the arrays that are read are {known}{label}"
    return tuple((array, reason) for array in _shapes(archive, others))


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


def _refuse_bomb(path: Path, info: zipfile.ZipInfo) -> None:
    ratio = info.file_size / max(1, info.compress_size)
    if info.file_size > SMALL_BYTES and ratio > MAX_RATIO:
        raise DataError(
            f"{path}: {info.filename} unpacks to {info.file_size / 2**20:,.0f} MB, {ratio:,.0f} times its packed size: "
            f"taken for a decompression bomb. If the data is real, use np.savez, not np.savez_compressed."
        )


def _array(file: Any, size: int, name: str) -> NDArray[Any]:
    """One array in numpy's format; refused unread if its header promises objects or too much."""
    try:
        shape, fortran, dtype = array_header(file)
    except ValueError as error:
        raise DataError(f"{name} cannot be read: {error}.") from error
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects (pickled), which are never unpacked: save plain numbers.")
    needed = math.prod(shape) * dtype.itemsize
    if needed > MAX_BYTES:
        raise DataError(
            f"{name} says it holds {shape} of {dtype}, {needed / 2**30:,.1f} GB: expected at most {MAX_BYTES >> 30} GB."
        )
    if needed > size:
        raise DataError(f"{name} says it holds {shape} of {dtype}, {needed:,} bytes, but has {size:,}: it is cut off or damaged.")
    content = np.empty(needed, dtype=np.uint8)
    view, filled = memoryview(content.data), 0
    while filled < needed and (got := file.readinto(view[filled:])):
        filled += got
    if filled < needed:
        raise DataError(f"{name} ends after {filled:,} of {needed:,} bytes: it is cut off.")
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")


NUMPY = Reader((".npz", ".npy"), _read, _examples, _left_out)
