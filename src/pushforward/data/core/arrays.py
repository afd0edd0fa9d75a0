"""Convert arrays of images, vectors, labels and attributes to examples, and check them."""

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
from pushforward.numbers import counted

MAX_CHANNELS = 4


def attributes(
    values: NDArray[Any], n: int, name: str, columns: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Convert continuous attributes to a float32 array (n, k).

    Args:
        values: Numbers of shape (n,) or (n, k).
        n: Number of examples.
        name: Name of the array, used in error messages.
        columns: Names of the k attributes, used in error messages; may be empty.

    Raises:
        DataError: If the shape or dtype is wrong, or a value is not finite in float32.
    """
    table = values[:, None] if values.ndim == 1 else values
    if table.ndim != 2 or len(table) != n or not table.shape[1] or table.dtype.kind not in "biuf":
        raise DataError(
            f"{name} has shape {values.shape} and dtype {values.dtype}; expected numbers of shape ({n},) or ({n}, k)."
        )
    with np.errstate(over="ignore"):
        table = np.ascontiguousarray(table, dtype=np.float32)
    if not np.isfinite(table).all():
        i, column = np.argwhere(~np.isfinite(table))[0]
        which = f'"{columns[column]}"' if column < len(columns) else f"{column + 1}"
        value = "missing (NaN)" if np.isnan(table[i, column]) else "not finite in float32"
        raise DataError(
            f"{name}: the value of column {which} in example {i + 1} of {n} is {value}. Fill it in or remove the example."
        )
    return table


def label_numbers(
    given: Sequence[NDArray[Any]],
    sizes: Sequence[int],
    classes: tuple[str, ...] = (),
    place: str = "labels",
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Convert the labels of one or more splits to class numbers.

    Args:
        given: Labels of each split, integers or strings.
        sizes: Number of examples in each split.
        classes: Class names, if labels are class numbers; if empty, every distinct label is a
            class.
        place: Name of the labels, used in error messages.

    Returns:
        Class numbers of all splits, concatenated, and the class names.

    Raises:
        DataError: If the shape or dtype is wrong, or a number has no class name.
    """
    for labels, n in zip(given, sizes, strict=True):
        if labels.shape != (n,) or labels.dtype.kind not in "biufUS":
            raise DataError(
                f"{place} has shape {labels.shape} and dtype {labels.dtype}; expected {n} integers or strings, of shape ({n},)."
            )
    values = np.concatenate(
        [np.char.decode(part, "utf-8") if part.dtype.kind == "S" else part for part in given]
    )
    if not classes:
        return numbered(values, place)
    if values.dtype.kind not in "biu" or values.min() < 0 or values.max() >= len(classes):
        raise DataError(
            f"{place} must be integers from 0 to {len(classes) - 1}, because {len(classes)} classes are named."
        )
    return values.astype(np.int64), classes


def numbered(values: NDArray[Any], place: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Convert labels to class numbers 0 to k - 1, and return the sorted class names.

    Args:
        values: Integers, strings, or floats without a fractional part.
        place: Name of the labels, used in error messages.

    Raises:
        DataError: If a label is not finite or has a fractional part, or there are too many
            distinct labels for classes.
    """
    if (
        values.dtype.kind == "f"
        and not ((values == np.rint(values)) & (np.abs(values) < 2**53)).all()
    ):
        raise DataError(
            f"{place}: a class label is missing or has a fractional part. Expected integers or strings."
        )
    if values.dtype.kind in "bf":
        values = values.astype(np.int64)
    kinds, numbers = np.unique(values, return_inverse=True)
    if len(kinds) > max(10, len(values) // 2) or len(kinds) > 10_000:
        raise DataError(
            f"{place}: found {len(kinds):,} distinct values in {len(values):,} examples, which are too many for class labels."
        )
    return numbers.astype(np.int64).reshape(-1), tuple(str(kind) for kind in kinds)


def example_array(x: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Convert images to uint8 (n, C, H, W) and vectors to float32, and find the integer columns.

    Args:
        x: Examples. An array that only the space of a plugin accepts stays unchanged.
        name: Name of the array, used in error messages.

    Returns:
        The examples, and the indices of columns that contain only integers.

    Raises:
        DataError: If the shape, dtype or value range is wrong.
    """
    if (
        x.dtype.kind not in "biuf"
        or not x.size
        or (x.ndim not in (2, 3, 4) and not any(kind.accepts(x) for kind in kinds()))
    ):
        others = "".join(f", or {kind.stores()}" for kind in kinds()[3:])
        raise DataError(
            f"{name} has shape {x.shape} and dtype {x.dtype}; expected numbers: vectors (n, d), "
            f"or images (n, H, W), (n, H, W, C) or (n, C, H, W){others}."
        )
    with np.errstate(over="ignore"):
        if x.dtype.kind == "f":
            finite = np.isfinite(x.astype(np.float32))
        else:
            finite = np.ones(1, dtype=bool)
    if not finite.all():
        bad = np.flatnonzero(~finite.reshape(len(x), -1).all(axis=1))
        raise DataError(
            f"{name}: {len(bad)} of {len(x)} examples contain values that are NaN, infinite or "
            f"too large for float32; the first is example {bad[0] + 1}. Replace the values or "
            "remove the examples."
        )
    if x.ndim == 2:
        integer = tuple(range(x.shape[1])) if x.dtype.kind in "iu" else ()
        for column in integer:
            refuse_rounding(x[:, column], f"{name}, column {column}")
        return np.ascontiguousarray(x, dtype=np.float32), integer
    return (_pixels(x, name) if x.ndim < 5 else np.ascontiguousarray(x)), ()


def refuse_rounding(values: NDArray[Any], place: str) -> None:
    """Refuse integers that float32 cannot represent, such as many above 2^24.

    Args:
        values: Integers (n,).
        place: Name of the column, used in the error message.

    Raises:
        DataError: If float32 rounds a value.
    """
    exact = values.astype(np.float64)
    lost = np.flatnonzero((exact.astype(np.float32) != exact) | (np.abs(exact) >= 2.0**53))
    if len(lost):
        raise DataError(
            f"{place}, row {lost[0] + 1}: float32 cannot represent the integer "
            f"{values[lost[0]]:.0f}. It represents all integers up to 16,777,216. Subtract the "
            "smallest value from the column, or use a larger unit (thousands instead of ones, "
            "days instead of seconds)."
        )


def _pixels(x: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[3] <= MAX_CHANNELS:
        x = x.transpose(0, 3, 1, 2)
    elif x.shape[1] > MAX_CHANNELS:
        raise DataError(
            f"{name} has shape {x.shape}; expected images with 1 to {MAX_CHANNELS} channels on the second or last axis."
        )
    low = float(x.min())
    high = float(x.max())
    floats = x.dtype.kind == "f"
    if low < (-1e-4 if floats else 0) or high > (1 + 1e-4 if floats else 255):
        expected = (
            "floats from 0 to 1 (use (x + 1) / 2 for values from -1 to 1) or integers from 0 to 255"
        )
        raise DataError(
            f"{name}: the pixels are {x.dtype} from {low:g} to {high:g}; expected {expected}."
        )
    if floats:
        return np.ascontiguousarray(np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8))
    pixels = np.ascontiguousarray(x).astype(np.uint8)
    if high <= 1:
        return pixels * np.uint8(255)
    return pixels


class ArrayOptions(TypedDict, total=False):
    """Options of `from_arrays`.

    Args:
        held_out: Held-out examples in the format of ``x``. By default a tenth of ``x`` is held out.
        held_out_labels: Labels of the held-out examples.
        name: Short name, used for run folders; "arrays" by default.
        classes: Class names, if labels are class numbers.
        columns: Column names, if examples are vectors.
        limit: Maximum number of training examples.
        given: Continuous attributes that condition the model, by name, each of shape (n,). Together
            they form the condition ``given``.
        held_out_given: Attributes of the held-out examples, by name.
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
    """Create a data set from arrays or tensors.

    To resume a run trained on this data set, pass the data set again: ``pf.resume(run, data=...)``.

    Args:
        x: Vectors (n, d) in their own units; or images (n, C, H, W), (n, H, W, C) or (n, H, W),
            either uint8 from 0 to 255 or floats from 0 to 1. If the layout is ambiguous, tensors
            have channels first and arrays have channels last.
        labels: Class of each example (n,), as integers or strings; None for data without labels.
        options: Options of `ArrayOptions`: held_out, held_out_labels, name, classes, columns,
            limit, given and held_out_given.

    Returns:
        The data set.

    Raises:
        UsageError: For an unknown option.
        DataError: For arrays of another shape, range or type, or labels that do not fit them.
    """
    refuse_unknown(options, ArrayOptions, "data.from_arrays")
    given = options.get("given") or {}
    held_out_given = options.get("held_out_given") or {}
    named = {
        "x": x,
        "x_test": options.get("held_out"),
        "label": labels,
        "label_test": options.get("held_out_labels"),
    }
    arrays = {name: _array(value) for name, value in named.items() if value is not None}
    if given:
        arrays |= {
            "given": np.column_stack([*map(_array, given.values())]),
            "given_names": np.array(list(given)),
        }
    if held_out_given:
        arrays["given_test"] = np.column_stack([_array(held_out_given[name]) for name in given])
    train, held_out, schema = splits_of(
        arrays, "", tuple(options.get("classes", ())), tuple(options.get("columns", ()))
    )
    return build(
        options.get("name", "arrays"), train, held_out, schema=schema, limit=options.get("limit")
    )


def splits_of(
    arrays: Mapping[str, NDArray[Any]],
    place: str = "",
    classes: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
) -> tuple[Split, Split | None, Schema]:
    """Build the training split, the held-out split if there is one, and their schema from named arrays.

    Args:
        arrays: Arrays by their names in a ``.npz`` file (`pushforward.data.readers.numpy_files`).
        place: Prefix of these names in error messages.
        classes: Class names, if labels are class numbers.
        columns: Column names, if examples are vectors.

    Raises:
        DataError: If an array has the wrong shape, dtype or value range, or arrays do not match.
    """
    parts = ["", "_test"] if "x_test" in arrays else [""]
    x, whole = zip(
        *(example_array(arrays[f"x{part}"], f"{place}x{part}") for part in parts), strict=True
    )
    sizes = list(map(len, x))
    shape = x[0].shape[1:]
    if x[-1].shape[1:] != shape:
        raise DataError(
            f"{place}held-out examples have shape {x[-1].shape[1:]}, but training examples have "
            f"shape {shape}. Both shapes must be equal."
        )
    if columns and (len(columns),) != shape:
        raise DataError(
            f"`columns` has {counted(len(columns), 'name')}, but examples have shape {shape}. Expected one name for each column."
        )
    for name in ("label", "given"):
        if (f"{name}_test" in arrays) != (name in arrays and len(parts) > 1):
            raise DataError(
                f"{place}{name} is missing in one split: pass it for both the training examples "
                "and the held-out examples, or for neither."
            )
    labels: Any = [None, None]
    given: Any = [{}, {}]
    kinds = {}
    if "label" in arrays:
        numbers, classes = label_numbers(
            [arrays[f"label{part}"] for part in parts], sizes, classes, f"{place}label"
        )
        labels = np.split(numbers, sizes[:1])
    if "given" in arrays:
        names = [
            str(name)
            for name in arrays.get(
                "given_names", [f"given_{i}" for i in range(arrays["given"][:1].size)]
            )
        ]
        named = [f"given{part}" for part in parts]
        values = [
            attributes(arrays[name], n, place + name, names)
            for name, n in zip(named, sizes, strict=True)
        ]
        if len(set(names)) < len(names) or any(part.shape[1] != len(names) for part in values):
            raise DataError(
                f"{place}given_names contains {', '.join(names)}; expected one distinct name for each column of given."
            )
        given = [{"given": part} for part in values]
        kinds = {"given": partial(Numbers.measure, columns=names)}
    splits = [Split(*side[:2], given=side[2]) for side in zip(x, labels, given, strict=False)]
    return (
        splits[0],
        splits[1] if len(splits) > 1 else None,
        Schema(classes, columns, whole[0], kinds=kinds),
    )


def _array(values: Any) -> NDArray[Any]:
    """An array, with the channels of images first instead of a tensor's."""
    import torch

    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    if values.is_floating_point():
        array = values.detach().cpu().float().numpy()
    else:
        array = values.detach().cpu().numpy()
    if array.ndim == 4 and array.shape[1] <= 4:
        return array.transpose(0, 2, 3, 1)
    return array
