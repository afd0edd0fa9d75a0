"""Arrays as examples: images, vectors, labels and attributes, with checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.spaces.registry import kinds
from pushforward.errors import DataError

__all__ = ["attributes", "example_array", "label_numbers", "label_values", "numbered", "refuse_rounding"]

MAX_CHANNELS = 4


def attributes(values: NDArray[Any], n: int, name: str, columns: Sequence[str] = ()) -> NDArray[np.float32]:
    """Continuous attributes of n examples as float32 (n, k); ``columns`` are their names, where they have any, for errors.

    Raises:
        DataError: arrays of another shape or type, or that are not finite in float32.
    """
    table = values[:, None] if values.ndim == 1 else values
    if table.ndim != 2 or len(table) != n or not table.shape[1] or table.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {values.dtype} of shape {values.shape}: expected numbers ({n},) or ({n}, k).")
    with np.errstate(over="ignore"):
        table = np.ascontiguousarray(table, dtype=np.float32)
    if not np.isfinite(table).all():
        i, column = np.argwhere(~np.isfinite(table))[0]
        which = f'"{columns[column]}"' if column < len(columns) else f"{column + 1}"
        value = "missing (NaN)" if np.isnan(table[i, column]) else "not finite in float32"
        raise DataError(f"{name}: column {which} of example {i + 1} of {n} is {value}. Fill it in or remove the example.")
    return table


def label_numbers(
    given: Sequence[NDArray[Any]], sizes: Sequence[int], classes: tuple[str, ...] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of several parts as numbers, one part after the other, and the names of the classes.

    Args:
        given: the labels of each part, whole numbers or text.
        sizes: how many examples each part has.
        classes: names of the classes where labels are numbers from 0; else every different value is a class.

    Raises:
        DataError: labels of another shape or type, or numbers without a name.
    """
    values = np.concatenate([label_values(labels, n, "labels") for labels, n in zip(given, sizes, strict=True)])
    if not classes:
        return numbered(values, "the arrays", "labels")
    if values.dtype.kind not in "biu" or values.min() < 0 or values.max() >= len(classes):
        raise DataError(f"labels must be whole numbers from 0 to {len(classes) - 1} where {len(classes)} classes are named.")
    return values.astype(np.int64), classes


def label_values(label: NDArray[Any], n: int, name: str) -> NDArray[Any]:
    """Labels of n examples, whole numbers or text.

    Raises:
        DataError: labels of another shape or type.
    """
    if label.shape != (n,):
        raise DataError(f"{name} has shape {label.shape}: expected ({n},), one label per example.")
    if label.dtype.kind not in "biufUS":
        raise DataError(f"{name} holds {label.dtype}: expected whole numbers or text.")
    return np.char.decode(label, "utf-8") if label.dtype.kind == "S" else label


def numbered(values: NDArray[Any], place: str, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of any kind to 0 .. k-1 and their names, sorted.

    Raises:
        DataError: labels that are not finite, have fractions, or are too many to be classes.
    """
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            number = np.flatnonzero(~np.isfinite(values))[0] + 1
            raise DataError(f"{place}: {name} is not finite in example {number}. Fill it in or remove the example.")
        if (values != np.rint(values)).any() or np.abs(values).max() >= 2**53:
            raise DataError(f"{place}: {name} holds numbers with fractions. A label is a class: expected whole numbers or text.")
        values = values.astype(np.int64)
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    kinds, numbers = np.unique(values, return_inverse=True)
    if len(kinds) > max(10, len(values) // 2) or len(kinds) > 10_000:
        raise DataError(f"{place}: {name} has {len(kinds)} different values in {len(values)} examples: too many to be classes.")
    return numbers.astype(np.int64).reshape(-1), tuple(str(kind) for kind in kinds)


def example_array(x: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Images to uint8 NCHW, vectors to float32, what the space of a plug-in accepts unchanged, and the whole-number columns.

    Raises:
        DataError: arrays of another shape, type or range.
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {x.dtype}: expected numbers.")
    if x.ndim not in (2, 3, 4) and not any(kind.accepts(x) for kind in kinds()):
        others = "".join(f", or {kind.stores()}" for kind in kinds()[2:])
        raise DataError(
            f"{name} has shape {x.shape}: expected vectors (n, d) or images (n, H, W), (n, H, W, C) or (n, C, H, W){others}."
        )
    if not x.size:
        raise DataError(f"{name} is empty: its shape is {x.shape}.")
    with np.errstate(over="ignore"):
        finite = np.isfinite(x.astype(np.float32)) if x.dtype.kind == "f" else np.ones(1, dtype=bool)
    if not finite.all():
        bad = np.flatnonzero(~finite.reshape(len(x), -1).all(axis=1))
        raise DataError(
            f"{name} has {len(bad)} example{'s' * (len(bad) != 1)} of {len(x)} that are not finite in float32 "
            f"(NaN or infinite); the first is example {bad[0] + 1}. Remove or fill them."
        )
    if x.ndim == 2:
        integer = tuple(range(x.shape[1])) if x.dtype.kind in "iu" else ()
        for column in integer:
            refuse_rounding(x[:, column], f"{name}, column {column}")
        return np.ascontiguousarray(x, dtype=np.float32), integer
    return (_pixels(_channels_first(x, name), name) if x.ndim < 5 else np.ascontiguousarray(x)), ()


def refuse_rounding(values: NDArray[Any], place: str) -> None:
    """Whole numbers beyond 2^24 have no float32 of their own, so that samples would be of other numbers.

    Raises:
        DataError: where there are such.
    """
    exact = values.astype(np.float64)
    lost = np.flatnonzero((exact.astype(np.float32) != exact) | (np.abs(exact) >= 2.0**53))
    if len(lost):
        raise DataError(
            f"{place}, row {lost[0] + 1}: {values[lost[0]]:.0f} is a whole number that float32 rounds; it holds all up to "
            "16,777,216. Subtract the smallest value from the column, or give it in a larger unit (thousands, days for seconds)."
        )


def _channels_first(x: NDArray[Any], name: str) -> NDArray[Any]:
    if x.ndim == 3:
        return x[:, None]
    if x.shape[3] <= MAX_CHANNELS:
        return x.transpose(0, 3, 1, 2)
    if x.shape[1] <= MAX_CHANNELS:
        return x
    raise DataError(f"{name} has shape {x.shape}: neither the second nor the last axis has 1 to {MAX_CHANNELS} channels.")


def _pixels(x: NDArray[Any], name: str) -> NDArray[np.uint8]:
    low, high = float(x.min()), float(x.max())
    if x.dtype.kind == "f":
        if low < -1e-4 or high > 1 + 1e-4:
            hint = " Use (x + 1) / 2." if low >= -1.0001 and high <= 1.0001 else " Save 0 to 255 as uint8." if low >= 0 else ""
            raise DataError(f"{name}: float images from {low:g} to {high:g}: expected 0 to 1.{hint}")
        scaled = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
        return np.ascontiguousarray(scaled)
    if low < 0 or high > 255:
        raise DataError(f"{name}: whole-number images from {low:g} to {high:g}: expected 0 to 255.")
    pixels = np.ascontiguousarray(x).astype(np.uint8)
    return pixels * np.uint8(255) if high <= 1 else pixels
