"""Arrays as examples: images, vectors, labels and attributes, with checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from pushforward.arguments import refuse_unknown
from pushforward.conditions.columns import Numbers
from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.spaces.space import kinds
from pushforward.errors import DataError

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
    given: Sequence[NDArray[Any]], sizes: Sequence[int], classes: tuple[str, ...] = (), place: str = "labels"
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of several parts as numbers, one part after the other, and the names of the classes.

    Args:
        given: the labels of each part, whole numbers or text.
        sizes: how many examples each part has.
        classes: names of the classes where labels are numbers from 0; else every different value is a class.
        place: what messages call the labels.

    Raises:
        DataError: labels of another shape or type, or numbers without a name.
    """
    for labels, n in zip(given, sizes, strict=True):
        if labels.shape != (n,) or labels.dtype.kind not in "biufUS":
            raise DataError(f"{place}: {labels.dtype} of shape {labels.shape}: expected whole numbers or text, ({n},).")
    values = np.concatenate([np.char.decode(part, "utf-8") if part.dtype.kind == "S" else part for part in given])
    if not classes:
        return numbered(values, place)
    if values.dtype.kind not in "biu" or values.min() < 0 or values.max() >= len(classes):
        raise DataError(f"{place} must be whole numbers from 0 to {len(classes) - 1} where {len(classes)} classes are named.")
    return values.astype(np.int64), classes


def numbered(values: NDArray[Any], place: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of any kind to 0 .. k-1 and their names, sorted.

    Raises:
        DataError: labels that are not finite, have fractions, or are too many to be classes.
    """
    if values.dtype.kind == "f" and not ((values == np.rint(values)) & (np.abs(values) < 2**53)).all():
        raise DataError(f"{place}: a label is a class: expected whole numbers or text, and none missing.")
    values = values.astype(np.int64) if values.dtype.kind in "bf" else values
    kinds, numbers = np.unique(values, return_inverse=True)
    if len(kinds) > max(10, len(values) // 2) or len(kinds) > 10_000:
        raise DataError(f"{place}: {len(kinds)} different values in {len(values)} examples are too many to be classes.")
    return numbers.astype(np.int64).reshape(-1), tuple(str(kind) for kind in kinds)


def example_array(x: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Images to uint8 NCHW, vectors to float32, what the space of a plug-in accepts unchanged, and the whole-number columns.

    Raises:
        DataError: arrays of another shape, type or range.
    """
    if x.dtype.kind not in "biuf" or not x.size or (x.ndim not in (2, 3, 4) and not any(kind.accepts(x) for kind in kinds())):
        others = "".join(f", or {kind.stores()}" for kind in kinds()[3:])
        raise DataError(
            f"{name} holds {x.dtype} of shape {x.shape}: expected numbers, as vectors (n, d) or images (n, H, W), "
            f"(n, H, W, C) or (n, C, H, W){others}."
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(x.astype(np.float32)) if x.dtype.kind == "f" else np.ones(1, dtype=bool)
    if not finite.all():
        bad = np.flatnonzero(~finite.reshape(len(x), -1).all(axis=1))
        raise DataError(
            f"{name}: examples that are not finite in float32 (NaN or infinite): {len(bad)} of {len(x)}; the first is example "
            f"{bad[0] + 1}. Remove or fill them."
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
    low, high, floats = float(x.min()), float(x.max()), x.dtype.kind == "f"
    if low < (-1e-4 if floats else 0) or high > (1 + 1e-4 if floats else 255):
        expected = "0 to 1 in floats ((x + 1) / 2 maps -1 to 1 there), or 0 to 255 as uint8"
        raise DataError(f"{name}: images of {x.dtype} from {low:g} to {high:g}: expected {expected}.")
    if floats:
        return np.ascontiguousarray(np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8))
    pixels = np.ascontiguousarray(x).astype(np.uint8)
    return pixels * np.uint8(255) if high <= 1 else pixels


class ArrayOptions(TypedDict, total=False):
    """The options of `from_arrays`.

    Args:
        held_out: Held-out examples, of the same kind as the others; by default a tenth of those is held out.
        held_out_labels: Their classes, where labels are given.
        name: A short name, used for run folders; "arrays" by default.
        classes: Names of the classes, where labels are numbers from 0.
        columns: Names of the columns of vectors.
        limit: At most so many training examples.
        given: Continuous attributes that models receive, (n,) each, by name: together the condition ``given``.
        held_out_given: Those of the examples of ``held_out``, where ``given`` are given.
    """

    held_out: Any
    held_out_labels: Any
    name: str
    classes: Sequence[str]
    columns: Sequence[str]
    limit: int | None
    given: Mapping[str, Any] | None
    held_out_given: Mapping[str, Any] | None


def from_arrays(x: Any, labels: Any = None, **options: Unpack[ArrayOptions]) -> Dataset:
    """Make a data set of arrays or tensors.

    A run that is trained on it needs it again to be resumed: ``pf.resume(run, data=...)``.

    Args:
        x: Vectors (n, d) in their own units; or images (n, C, H, W), (n, H, W, C) or (n, H, W), uint8 from 0 to 255 or floats
            from 0 to 1. Where both layouts are possible, channels are first in tensors and last in arrays.
        labels: One class for each example: whole numbers or text, (n,); None for data without labels.
        options: held_out, held_out_labels, name, classes, columns, limit, given and held_out_given: `ArrayOptions`.

    Returns:
        The data set.

    Raises:
        UsageError: For an unknown option.
        DataError: For arrays of another shape, range or type, or labels that do not fit them.
    """
    refuse_unknown(options, ArrayOptions, "data.from_arrays")
    held_out, columns = options.get("held_out"), options.get("columns", ())
    given, held_out_given = options.get("given"), options.get("held_out_given")
    train, integer = example_array(_array(x), "x")
    test = None if held_out is None else example_array(_array(held_out), "held_out")[0]
    if test is not None and test.shape[1:] != train.shape[1:]:
        raise DataError(f"held_out has examples of shape {test.shape[1:]}, x of shape {train.shape[1:]}: expected the same.")
    if columns and (train.ndim != 2 or len(columns) != train.shape[1]):
        raise DataError(f"{len(columns)} names in columns for examples of shape {train.shape[1:]}: expected one for each column.")
    others, sizes = options.get("held_out_labels"), [len(train)] if test is None else [len(train), len(test)]
    if (others is not None) != (labels is not None and test is not None) or (held_out_given or {}).keys() != (
        given if given and test is not None else {}
    ).keys():
        raise DataError(
            "Where held_out is given, held_out_labels and held_out_given belong to labels and given, else to nothing."
        )
    numbers, names = None, tuple[str, ...]()
    if labels is not None:
        parts = [_array(part) for part in (labels, others) if part is not None]
        numbers, names = label_numbers(parts, sizes, tuple(options.get("classes", ())))
    kinds = {"given": partial(Numbers.measure, columns=list(given))} if given else {}
    return build(
        options.get("name", "arrays"),
        Split(train, None if numbers is None else numbers[: len(train)], given=_given(given, train)),
        None
        if test is None
        else Split(test, None if numbers is None else numbers[len(train) :], given=_given(held_out_given, test)),
        schema=Schema(names, tuple(columns), integer, kinds=kinds),
        limit=options.get("limit"),
    )


def _given(given: Mapping[str, Any] | None, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    columns = [attributes(_array(values), len(x), name) for name, values in (given or {}).items()]
    return {"given": np.concatenate(columns, axis=1)} if columns else {}


def _array(values: Any) -> NDArray[Any]:
    """An array, with the channels of images first instead of a tensor's."""
    import torch

    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    array = values.detach().cpu().float().numpy() if values.is_floating_point() else values.detach().cpu().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[1] <= 4 else array
