"""Convert arrays of images, vectors, labels and attributes to examples, and check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pushforward.conditions.columns import Numbers
from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.hashes import Array, Integers, Pixels
from pushforward.data.spaces.space import kinds
from pushforward.errors import DataError
from pushforward.numbers import plural

MAX_CHANNELS = 4
MAX_CLASSES = 10_000


def numbered(values: Array, place: str) -> tuple[Integers, tuple[str, ...]]:
    """Convert labels to class numbers, and return the sorted class names."""
    if values.dtype.kind in "bf":
        with np.errstate(invalid="ignore"):
            numbers = values.astype(np.int64)
        if (numbers != values).any():
            raise DataError(
                f"{place}: a class label is missing or has a fractional part. Expected integers or "
                "strings."
            )
        values = numbers
    kinds, numbers = np.unique(values, return_inverse=True)
    if len(kinds) > min(MAX_CLASSES, max(10, len(values) // 2)):
        raise DataError(
            f"{place}: found {len(kinds):,} distinct values in {len(values):,} examples, which are "
            "too many for class labels."
        )
    return numbers.astype(np.int64).reshape(-1), tuple(str(kind) for kind in kinds)


def example_array(x: Array, name: str) -> tuple[Array, tuple[int, ...]]:
    """Convert images to uint8 (n, C, H, W) and vectors to float32, and find the integer columns."""
    known_shape = x.ndim in (2, 3, 4) or any(kind.accepts(x) for kind in kinds())
    if x.dtype.kind not in "biuf" or not x.size or not known_shape:
        raise DataError(
            f"{name} has shape {x.shape} and dtype {x.dtype}; expected numbers: vectors (n, d), "
            "or images (n, H, W), (n, H, W, C) or (n, C, H, W)."
        )
    if x.dtype.kind == "f":
        _check_finite(x, name)
    if x.ndim == 2:
        integer = tuple(range(x.shape[1])) if x.dtype.kind in "iu" else ()
        for column in integer:
            refuse_rounding(x[:, column], f"{name}, column {column}")
        return np.ascontiguousarray(x, dtype=np.float32), integer
    if x.ndim < 5:
        return _pixels(x, name), ()
    return np.ascontiguousarray(x), ()


def _check_finite(x: Array, name: str) -> None:
    with np.errstate(over="ignore"):
        finite = np.isfinite(x.astype(np.float32))
    if not finite.all():
        first = np.argwhere(~finite)[0, 0] + 1
        raise DataError(
            f"{name}: example {first} contains a value that is NaN, infinite or too large for "
            "float32. Replace all such values or remove the examples."
        )


def refuse_rounding(values: Array, place: str) -> None:
    """Raise an error if float32 rounds an integer of a column, such as many above 2^24."""
    exact = values.astype(np.float64)
    lost = np.flatnonzero((exact.astype(np.float32) != exact) | (np.abs(exact) >= 2.0**53))
    if len(lost):
        raise DataError(
            f"{place}, row {lost[0] + 1}: float32 cannot represent the integer "
            f"{values[lost[0]]:.0f}. It represents all integers up to 16,777,216. Subtract the "
            "smallest value from the column, or use a larger unit."
        )


def _pixels(x: Array, name: str) -> Pixels:
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[3] <= MAX_CHANNELS:
        x = x.transpose(0, 3, 1, 2)
    elif x.shape[1] > MAX_CHANNELS:
        raise DataError(
            f"{name} has shape {x.shape}; expected images with 1 to {MAX_CHANNELS} channels on the "
            "second or last axis."
        )
    low = float(x.min())
    high = float(x.max())
    floats = x.dtype.kind == "f"
    margin = 1e-4 if floats else 0
    most = 1 if floats else 255
    if low < -margin or high > most + margin:
        raise DataError(
            f"{name}: the pixels are {x.dtype} from {low:g} to {high:g}; expected floats from 0 to "
            "1 (use (x + 1) / 2 for values from -1 to 1) or integers from 0 to 255."
        )
    if floats:
        x = np.rint(np.clip(x, 0, 1) * 255)
    elif high <= 1:
        x = x * np.uint8(255)
    return np.ascontiguousarray(x).astype(np.uint8)


def from_arrays(
    x: Any,
    labels: Any = None,
    *,
    held_out: Any = None,
    held_out_labels: Any = None,
    name: str = "arrays",
    classes: Sequence[str] = (),
    columns: Sequence[str] = (),
    limit: int | None = None,
    given: Mapping[str, Any] | None = None,
    held_out_given: Mapping[str, Any] | None = None,
) -> Dataset:
    """Create a data set from arrays or tensors; pass it again to resume a run trained on it.

    Args:
        x: Vectors (n, d) in their own units; or images (n, C, H, W), (n, H, W, C) or (n, H, W),
            uint8 from 0 to 255 or floats from 0 to 1. If the layout is ambiguous, tensors have
            channels first and arrays have channels last.
        labels: Class of each example, as integers or strings.
        held_out: Held-out examples; a tenth of ``x`` by default.
        held_out_labels: Labels of the held-out examples.
        name: Short name, used for run folders.
        classes: Class names, if labels are class numbers.
        columns: Column names of vectors.
        limit: Maximum number of training examples.
        given: Continuous attributes (n,) by name, which form the condition ``given``.
        held_out_given: Attributes of the held-out examples.
    """
    named = {"x": x, "x_test": held_out, "label": labels, "label_test": held_out_labels}
    arrays = {key: _array(value) for key, value in named.items() if value is not None}
    if given:
        arrays["given"] = np.column_stack([_array(values) for values in given.values()])
        arrays["given_names"] = np.array(list(given))
        if held_out_given:
            arrays["given_test"] = np.column_stack([_array(held_out_given[key]) for key in given])
    train, rest, schema = splits_of(arrays, "", tuple(classes), tuple(columns))
    return build(name, train, rest, schema=schema, limit=limit)


def splits_of(
    arrays: Mapping[str, Array],
    place: str = "",
    classes: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
) -> tuple[Split, Split | None, Schema]:
    """Build the training split, the held-out split if there is one, and their schema.

    Args:
        arrays: Arrays by their names in a ``.npz`` file.
        place: Prefix of these names in error messages.
    """
    suffixes = ["", "_test"] if "x_test" in arrays else [""]
    for name in ("label", "given"):
        if len({name + end in arrays for end in suffixes}) > 1:
            raise DataError(
                f"{place}{name} is missing in one split: pass it for both the training examples "
                "and the held-out examples, or for neither."
            )
    converted = [example_array(arrays["x" + end], f"{place}x{end}") for end in suffixes]
    examples = [x for x, _ in converted]
    shape = examples[0].shape[1:]
    if columns and (len(columns),) != shape:
        raise DataError(
            f"`columns` has {plural(len(columns), 'name')}, but examples have shape {shape}. "
            "Expected one name for each column."
        )
    labels: Any = [None, None]
    if "label" in arrays:
        values = np.concatenate([arrays["label" + end] for end in suffixes])
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        if not classes:
            values, classes = numbered(values, f"{place}label")
        elif values.dtype.kind not in "biu" or values.min() < 0 or values.max() >= len(classes):
            raise DataError(
                f"{place}label must be integers from 0 to {len(classes) - 1}, because "
                f"{len(classes)} classes are named."
            )
        labels = np.split(values.astype(np.int64), [len(arrays["label"])])
    given: Any = [{}, {}]
    kinds = {}
    if "given" in arrays:
        names = [f"given_{i}" for i in range(arrays["given"][:1].size)]
        if "given_names" in arrays:
            names = list(map(str, arrays["given_names"]))
        given = [{"given": _attributes(arrays["given" + end], names, place)} for end in suffixes]
        kinds = {"given": partial(Numbers.measure, columns=names)}
    splits = [Split(x, labels[i], given=given[i]) for i, x in enumerate(examples)]
    held_out = splits[1] if len(splits) > 1 else None
    return splits[0], held_out, Schema(classes, columns, converted[0][1], kinds=kinds)


def _attributes(values: Array, names: Sequence[str], place: str) -> Array:
    _check_finite(values, f"{place}given")
    table = np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)
    if len(set(names)) != table.shape[1]:
        raise DataError(
            f"{place}given_names contains {', '.join(names)}; expected one distinct name for each "
            "column of given."
        )
    return table


def _array(values: Any) -> Array:
    import torch

    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    if values.is_floating_point():
        values = values.float()
    array = values.numpy()
    if array.ndim == 4 and array.shape[1] <= MAX_CHANNELS:
        return array.transpose(0, 2, 3, 1)
    return array
