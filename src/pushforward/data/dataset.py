"""Samples with their space: a training split, a fixed held-out split, and what is known about their truth."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.keys import permutation
from pushforward.data.space import Space
from pushforward.data.toy import Truth
from pushforward.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.data.stacked import Stack

__all__ = ["Dataset", "Split", "build", "held_out_rows"]

_SPLIT_KEY = 0x5EED_0F_5711


@dataclass(frozen=True)
class Split:
    """Rows of data as they are stored.

    Args:
        x: images uint8 (n, C, H, W), or vectors float32 (n, d) in data units.
        labels: int64 (n,), or None.
    """

    x: NDArray[Any]
    labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check what the rest of the library relies on.

        Raises:
            DataError: If it is not so.
        """
        if self.x.ndim not in (2, 4) or self.x.dtype != (np.uint8 if self.x.ndim == 4 else np.float32):
            raise DataError(
                f"Rows of type {self.x.dtype} and shape {self.x.shape}: expected float32 vectors (n, d), as x.astype(np.float32) "
                "makes them, or uint8 images (n, C, H, W), 0 to 255."
            )
        if self.labels is not None and (self.labels.dtype != np.int64 or self.labels.shape != (len(self.x),)):
            raise DataError(
                f"Labels of type {self.labels.dtype} and shape {self.labels.shape}: expected int64, one for each of "
                f"{len(self.x)} rows, as labels.astype(np.int64) makes them."
            )

    def __len__(self) -> int:
        """How many rows."""
        return len(self.x)

    def data_units(self, index: Any = None) -> Tensor:
        """Rows in data units.

        Args:
            index: which rows (slice, integer or boolean array); None for all.

        Returns:
            Images float32 (n, C, H, W) in [0, 1]; vectors float32 (n, d).
        """
        import torch

        rows = self.x if index is None else self.x[index]
        if rows.dtype == np.uint8:
            return torch.from_numpy(np.ascontiguousarray(rows)).to(torch.float32).div_(255)
        return torch.from_numpy(np.array(rows, dtype=np.float32))

    def take(self, index: Any) -> Split:
        """The rows of an index (slice, integer or boolean array), in its order."""
        return Split(np.ascontiguousarray(self.x[index]), None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """A source of data, read and split.

    Args:
        name: a short name, used for run folders.
        space: units, shape and names, measured on the training split.
        train: what models learn from.
        held_out: what they are judged against; fixed for each source.
        truth: what is known about the distribution, for toys and stacked images.
        skipped: (file, reason) of every file left out.
        converted: (file, what was done) of every file that was not plain.
        header: whether the first line of a table was taken as column names; None for data that is no table.
        ignored: how many hidden files and files with other endings lay in the folder.
        origin: the arguments of `pushforward.data.load` that read it; None for data made in Python. Runs store it.
        probabilities: grey images from which training rows of zeros and ones are drawn anew in every epoch, uint8 of the shape
            of ``train.x``, which is one such draw; None for data that stays as it is.
    """

    name: str
    space: Space
    train: Split
    held_out: Split
    truth: Truth | Stack | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    header: bool | None = None
    origin: Mapping[str, Any] | None = None
    probabilities: NDArray[np.uint8] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the rows, labels, class and column names and shape of both splits; not of the name."""
        digest = hashlib.sha256()
        names = {"shape": self.space.shape, "classes": self.space.classes, "columns": self.space.columns}
        digest.update(json.dumps(names).encode())
        for split in (self.train, self.held_out):
            for array in (split.x, split.labels):
                if array is None:
                    digest.update(b"none")
                    continue
                little = array.astype(array.dtype.newbyteorder("<"), copy=False)
                digest.update(f"{little.dtype.str}{little.shape}".encode())
                digest.update(np.ascontiguousarray(little).data)
        return digest.hexdigest()

    @cached_property
    def rows_fingerprint(self) -> str:
        """sha256 (hex) of the rows, column names and shape of both splits, the same with labels and without them."""
        return self.without_labels().fingerprint

    def describe(self) -> dict[str, Any]:
        """A plain dict for manifests and reports: name, kind, shape, rows, classes, columns, fingerprint, files."""
        return {
            "name": self.name,
            "kind": self.space.kind,
            "shape": list(self.space.shape),
            "train": len(self.train),
            "held_out": len(self.held_out),
            "classes": list(self.space.classes),
            "columns": list(self.space.columns),
            "binary": self.space.binary,
            "truth": self.truth is not None,
            "skipped": len(self.skipped),
            "converted": len(self.converted),
            "fingerprint": self.fingerprint,
        }

    def without_labels(self) -> Dataset:
        """The same rows without labels, in a space without classes."""
        return dataclasses.replace(
            self,
            space=self.space.with_labels(False),
            train=Split(self.train.x),
            held_out=Split(self.held_out.x),
            origin=self.origin and {**self.origin, "labelled": False},
        )


def held_out_rows(n: int, labels: NDArray[np.int64] | None = None, count: int | None = None) -> NDArray[np.int64]:
    """Choose the held-out rows: the same ones for the same n and labels, in the classes' proportions.

    Every class keeps at least one row to train on, so that fewer are held out where classes are as small as that.

    Args:
        n: number of rows, at least 2.
        labels: label numbers (n,), or None.
        count: how many to hold out; by default a tenth, at least 1 and at most 10,000.

    Returns:
        Sorted row numbers, int64 (count,).

    Raises:
        DataError: fewer than two rows, or no class with two.
    """
    if n < 2:
        raise DataError(f"The data has {n} row{'s' * (n != 1)}; at least 2 are needed: one to train on, one held out.")
    count = min(max(1, round(n / 10)), 10_000) if count is None else count
    order = permutation(n, _SPLIT_KEY)
    if labels is None:
        return np.sort(order[:count])
    sizes = np.bincount(labels)
    if sizes.max() < 2:
        raise DataError("Every label has a single row, so none can be held out: leave the labels out, or add rows.")
    quota = _shares(sizes, count)
    ordered = labels[order]
    chosen = [order[ordered == label][: quota[label]] for label in range(len(sizes))]
    return np.sort(np.concatenate(chosen))


def _shares(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Split a count in proportion to sizes, by largest remainders (ties: the first class), leaving one of each."""
    exact = sizes * count / sizes.sum()
    quota = np.floor(exact).astype(np.int64)
    largest = np.argsort(-(exact - quota), kind="stable")
    quota[largest[: count - quota.sum()]] += 1
    spare = np.maximum(sizes - 1, 0)
    short = int(np.maximum(quota - spare, 0).sum())
    quota = np.minimum(quota, spare)
    for _ in range(min(short, int((spare - quota).sum()))):
        quota[np.argmax(spare - quota)] += 1
    return quota


def build(
    name: str,
    train: Split,
    held_out: Split | None = None,
    *,
    classes: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    integer: tuple[int, ...] = (),
    target: str = "",
    held_out_count: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    **extra: Any,
) -> Dataset:
    """Make a dataset: hold rows out where the source has no split of its own, shorten, measure the space.

    Args:
        name: the dataset's name.
        train: training rows, or all rows if ``held_out`` is None.
        held_out: the source's own held-out rows.
        classes: class names; labels are dropped when empty.
        columns: column names.
        integer: numbers of the whole-number columns.
        target: name of the column that became the label.
        held_out_count: how many rows to hold out, see `held_out_rows`.
        limit: at most so many training rows, chosen by ``seed``.
        seed: chooses the rows that ``limit`` keeps; the held-out rows never depend on it.
        extra: truth, skipped, converted, ignored and header of `Dataset`.

    Returns:
        The dataset.

    Raises:
        DataError: fewer than two rows.
        UsageError: a limit below 1.
    """
    if held_out is None:
        held = held_out_rows(len(train), train.labels, held_out_count)
        keep = np.ones(len(train), dtype=bool)
        keep[held] = False
        train, held_out = train.take(keep), train.take(held)
    if not len(train) or not len(held_out):
        raise DataError(f"{len(train)} training and {len(held_out)} held-out rows: both splits need at least one.")
    if limit is not None:
        if limit < 1:
            raise UsageError(f"`limit={limit}` leaves nothing to train on: give at least 1.")
        if limit < len(train):
            train = train.take(np.sort(permutation(len(train), _SPLIT_KEY, seed)[:limit]))
    if not classes:
        train, held_out = Split(train.x), Split(held_out.x)
    space = Space.measure(train.x, train.labels, classes=classes, columns=columns, integer=integer, target=target)
    return Dataset(name, space, train, held_out, **extra)
