"""Samples that are there already, as files hold them: read and checked before anything slow is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.label import Label
from pushforward.data import Dataset, TableSpace
from pushforward.data.core.dataset import Split
from pushforward.data.core.reading import Reading
from pushforward.data.readers import examples_in, left_out
from pushforward.data.readers.reader import Examples
from pushforward.data.readers.tables import TABLES, read_rows
from pushforward.errors import DataError
from pushforward.numbers import counted
from pushforward.safe_files import plain_path

__all__ = ["StoredSamples", "check_samples", "is_run", "read_samples"]

LEAST, SLACK = 2, 1e-3
"""The fewest samples, and how far outside of [0, 1] images may lie."""


@dataclass(frozen=True)
class StoredSamples:
    """Samples of a file or a folder, which fit the data that they are to be compared with.

    Args:
        path: Where they are.
        x: (n, *shape), images uint8, vectors float32.
        labels: The number of each one's class in ``classes``, int64 (n,); None where there are none.
        classes: Names of the classes.
        unread: The arrays of the file that are no part of the samples, with their shapes.
        values: The rows of a table as the file holds them, float64 (n, columns), which ``x`` may round; None for other samples.
    """

    path: Path
    x: NDArray[np.generic]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    values: NDArray[np.float64] | None = None


def is_run(path: str | Path) -> bool:
    """Whether a path is meant as a run: it is no file or folder of samples."""
    folder = Path(path)
    return (folder / "spec.json").exists() or not folder.exists()


def read_samples(path: str | Path, data: Dataset) -> StoredSamples:
    """Samples of a file or a folder of images, checked against the data.

    Args:
        path: An .npz, .npy or .csv file, another table, or a folder of images. Of an .npz ``x`` and ``label`` (or ``y``) are
            read.
        data: What they are to be compared with.

    Raises:
        DataError: For files that cannot be read, examples of another shape, fewer than two, or values that are not finite.
    """
    path = plain_path(Path(path))
    split, classes = _read(path, data)
    check_samples(str(path), split.x, data)
    known = {name for kind in data.space.conditions for name in (kind, f"{kind}_names")}
    unread = tuple(array for array in left_out(path) if array.partition(" ")[0] not in known)
    return StoredSamples(path, split.x, split.labels, classes, unread, split.table_values)


def check_samples(name: str, x: np.ndarray, data: Dataset) -> None:
    """Refuse samples that cannot be compared with the data.

    Args:
        name: What messages call them.
        x: (n, *shape) in data units; images may be uint8.
        data: The data.

    Raises:
        DataError: For examples of another shape, fewer than two, or values that are not finite or out of range.
    """
    shape, images = tuple(data.space.shape), data.space.levels is not None
    if tuple(x.shape[1:]) != shape:
        raise DataError(
            f'"{name}" holds samples of shape {tuple(x.shape[1:])}, and {data.name} has examples of shape {shape}: expected the '
            "same size and channels, in the layout of that data."
        )
    if len(x) < LEAST:
        raise DataError(f'"{name}" holds {counted(len(x), "sample")}; scores need at least {LEAST}.')
    finite = np.isfinite(x.reshape(len(x), -1)).all(1) if x.dtype.kind == "f" else np.ones(len(x), bool)
    if not finite.all():
        raise DataError(f"{int((~finite).sum())} of {len(x)} samples of {name} hold NaN or infinite values: remove them.")
    outside = x.dtype.kind == "f" and (x.min() < -SLACK or x.max() > 1 + SLACK)
    if images and (outside or (x.dtype.kind != "f" and x.dtype != np.uint8)):
        raise DataError(
            f'"{name}" holds images of type {x.dtype} from {x.min():g} to {x.max():g}: expected uint8 from 0 to 255, or floats '
            "from 0 to 1."
        )


def _read(path: Path, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    if isinstance(data.space, TableSpace) and path.suffix.lower() in TABLES:
        values = read_rows(path, data.space)
        return Split(data.space.encoded(values, foreign=True), table_values=values), ()
    if path.suffix.lower() != ".csv":
        return _in_order(path, examples_in(path, Reading()), data)
    names, own = _header(path), tuple(data.space.columns)
    target, given = _label_column(names, data), _given_columns(names, data)
    header = True if target or given or (own and set(own) <= set(names)) else (data.origin or {}).get("header")
    split, classes, columns = examples_in(path, Reading(target=target, header=header))
    keep = [place for place, name in enumerate(columns) if name not in given]
    if len(keep) < len(columns):
        split, columns = replace(split, x=split.x[:, keep]), tuple(columns[place] for place in keep)
    return _in_order(path, (split, classes, columns), data)


def _header(path: Path) -> list[str]:
    """The cells of the first line of a table."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return [cell.strip() for cell in re.split("[,;\\t]", file.readline().strip().replace('"', ""))]


def _label_column(names: Sequence[str], data: Dataset) -> str | None:
    """The column of samples that is their label: called as the data's label is, or "label"."""
    kind = data.space.conditions.get("label")
    called = [kind.target] if isinstance(kind, Label) and kind.target else []
    return next((name for name in (*called, "label") if name in names and name not in data.space.columns), None)


def _given_columns(names: Sequence[str], data: Dataset) -> tuple[str, ...]:
    """The columns of samples that hold what the model received, which is not compared."""
    entries = {entry for kind in data.space.conditions.values() for entry in kind.entries}
    return tuple(name for name in names if name in entries and name not in data.space.columns)


def _in_order(path: Path, examples: Examples, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    """The examples with their columns in the data's order."""
    (split, classes, columns), wanted = examples, tuple(data.space.columns)
    if not columns or not wanted or columns == wanted:
        return split, classes
    if set(columns) != set(wanted):
        raise DataError(
            f"{path} has the columns {', '.join(columns)}, and {data.name} has {', '.join(wanted)}: expected the same."
        )
    return replace(split, x=split.x[:, [columns.index(name) for name in wanted]]), classes
