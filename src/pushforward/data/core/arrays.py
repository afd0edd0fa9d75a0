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
    return (_pixels(x, name) if x.ndim < 5 else np.ascontiguousarray(x)), ()


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


def _pixels(x: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[3] <= MAX_CHANNELS:
        x = x.transpose(0, 3, 1, 2)
    elif x.shape[1] > MAX_CHANNELS:
        raise DataError(f"{name} has shape {x.shape}: neither the second nor the last axis has 1 to {MAX_CHANNELS} channels.")
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
    given, held_out_given = options.get("given") or {}, options.get("held_out_given") or {}
    named = {"x": x, "x_test": options.get("held_out"), "label": labels, "label_test": options.get("held_out_labels")}
    arrays = {name: _array(value) for name, value in named.items() if value is not None}
    if given:
        arrays |= {"given": np.column_stack([*map(_array, given.values())]), "given_names": np.array(list(given))}
    if held_out_given:
        arrays["given_test"] = np.column_stack([_array(held_out_given[name]) for name in given])
    train, held_out, schema = splits_of(arrays, "", tuple(options.get("classes", ())), tuple(options.get("columns", ())))
    return build(options.get("name", "arrays"), train, held_out, schema=schema, limit=options.get("limit"))


def splits_of(
    arrays: Mapping[str, NDArray[Any]], place: str = "", classes: tuple[str, ...] = (), columns: tuple[str, ...] = ()
) -> tuple[Split, Split | None, Schema]:
    """Training examples (all where there are no held-out ones), held-out ones, and their description.

    Args:
        arrays: by the names that they have in a ``.npz`` (`pushforward.data.readers.numpy_files`).
        place: what stands before these names in messages.
        classes: names of the classes where labels are numbers from 0.
        columns: names of the columns of vectors.

    Raises:
        DataError: arrays of the wrong shape, type or range, or that do not belong together.
    """
    parts = ["", "_test"] if "x_test" in arrays else [""]
    x, whole = zip(*(example_array(arrays[f"x{part}"], f"{place}x{part}") for part in parts), strict=True)
    sizes, shape = list(map(len, x)), x[0].shape[1:]
    if x[-1].shape[1:] != shape:
        raise DataError(f"{place}held-out examples have the shape {x[-1].shape[1:]}, the others {shape}: expected the same.")
    if columns and (len(columns),) != shape:
        raise DataError(f"{len(columns)} names in columns for examples of shape {shape}: expected one for each column.")
    for name in ("label", "given"):
        if (f"{name}_test" in arrays) != (name in arrays and len(parts) > 1):
            raise DataError(f"{place}held-out {name}s belong to {name}s of held-out examples: give both or neither.")
    labels: Any = [None, None]
    given: Any = [{}, {}]
    kinds = {}
    if "label" in arrays:
        numbers, classes = label_numbers([arrays[f"label{part}"] for part in parts], sizes, classes, f"{place}label")
        labels = np.split(numbers, sizes[:1])
    if "given" in arrays:
        names = [str(name) for name in arrays.get("given_names", [f"given_{i}" for i in range(arrays["given"][:1].size)])]
        named = [f"given{part}" for part in parts]
        values = [attributes(arrays[name], n, place + name, names) for name, n in zip(named, sizes, strict=True)]
        if len(set(names)) < len(names) or any(part.shape[1] != len(names) for part in values):
            raise DataError(f"{place}given_names holds {', '.join(names)}; expected a different name for each column of given.")
        given, kinds = [{"given": part} for part in values], {"given": partial(Numbers.measure, columns=names)}
    splits = [Split(*side[:2], given=side[2]) for side in zip(x, labels, given, strict=False)]
    return splits[0], splits[1] if len(splits) > 1 else None, Schema(classes, columns, whole[0], kinds=kinds)


def _array(values: Any) -> NDArray[Any]:
    """An array, with the channels of images first instead of a tensor's."""
    import torch

    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    array = values.detach().cpu().float().numpy() if values.is_floating_point() else values.detach().cpu().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[1] <= 4 else array
