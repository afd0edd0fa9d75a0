"""Read arrays of vectors or images from ``.npz`` and ``.npy`` files, without unpickling objects.

A ``.npz`` file contains ``x`` and optionally ``label`` (or ``y``), ``given`` (n, k) with
``given_names``, and held-out arrays with the suffix ``_test``; see `from_arrays` for their formats.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pushforward.data.core.arrays import splits_of
from pushforward.data.core.dataset import Dataset, build
from pushforward.data.core.hashes import Array
from pushforward.data.core.named_set import resized
from pushforward.data.readers.reader import DataOptions, Examples, Reader
from pushforward.errors import DataError

_NAMES = ("x", "label", "given", "given_names", "x_test", "label_test", "given_test")
_ALIASES = {"y": "label", "y_test": "label_test"}
_UNUSED = f"not used; these arrays are read: {', '.join(_NAMES)}"


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
        if name in _NAMES and (name == spelling or name not in inside):
            members[name] = _member(archive, info, path)
        else:
            unused.append(spelling)
    return members, unused


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Array:
    if info.file_size > max(64 * 2**20, 200 * info.compress_size):
        raise DataError(
            f"{path}: {info.filename} would expand to {info.file_size:,} bytes and may be a "
            "decompression bomb. If the data is real, save it with np.savez instead of "
            "np.savez_compressed."
        )
    with archive.open(info) as member:
        array: Array = np.lib.format.read_array(member, allow_pickle=False)
    return array


NUMPY = Reader((".npz", ".npy"), _read, _examples)
