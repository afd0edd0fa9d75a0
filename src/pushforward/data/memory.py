"""Data sets of arrays in memory, and data sets given by name or path."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from pushforward.arguments import refuse_unknown
from pushforward.conditions.numbers import Numbers
from pushforward.data.arrays import attributes, example_array, label_numbers
from pushforward.data.building import Schema, build
from pushforward.data.dataset import Dataset, Split
from pushforward.data.sources import load
from pushforward.errors import DataError, UsageError

__all__ = ["ArrayOptions", "dataset_of", "from_arrays"]


def dataset_of(data: Any) -> Dataset:
    """A data set, or the one of a name or path.

    Args:
        data: A `Dataset`, or a name or path for `load`.

    Raises:
        UsageError: For anything else.
        DataError: If it cannot be read.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, (str, os.PathLike)):
        return load(data)
    hint = " Make one of arrays: pf.data.from_arrays(x, labels)." if hasattr(data, "shape") else ""
    raise UsageError(
        f'Expected a data set (pf.data.load), or its name or path such as "digits"; got a {type(data).__name__}.{hint}'
    )


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
    for name, columns_given in {"given": given, "held_out_given": held_out_given}.items():
        if columns_given is not None and not isinstance(columns_given, Mapping):
            raise UsageError(f'`{name}` is a mapping from names to columns, such as {{"age": ages}}.')
    train, integer = example_array(_array(x), "x")
    test = None if held_out is None else example_array(_array(held_out), "held_out")[0]
    if test is not None and test.shape[1:] != train.shape[1:]:
        raise DataError(f"held_out has examples of shape {test.shape[1:]}, x of shape {train.shape[1:]}: expected the same.")
    if columns and (train.ndim != 2 or len(columns) != train.shape[1]):
        raise DataError(f"{len(columns)} names in columns for examples of shape {train.shape[1:]}: expected one for each column.")
    others, n_test = options.get("held_out_labels"), None if test is None else len(test)
    numbers, names, test_numbers = _labels(labels, others, len(train), n_test, options.get("classes", ()))
    expected = None if test is None or given is None else list(given)
    if (None if held_out_given is None else list(held_out_given)) != expected:
        raise DataError("given and held_out_given belong together where held_out is given: the same names in the same order.")
    kinds = {"given": partial(Numbers.measure, columns=list(given))} if given else {}
    return build(
        options.get("name", "arrays"),
        Split(train, numbers, given=_given(given, len(train))),
        None if test is None else Split(test, test_numbers, given=_given(held_out_given, len(test))),
        schema=Schema(names, tuple(columns), integer, kinds=kinds),
        limit=options.get("limit"),
    )


def _given(given: Mapping[str, Any] | None, n: int) -> dict[str, NDArray[Any]]:
    columns = [attributes(_array(values), n, name) for name, values in (given or {}).items()]
    return {"given": np.concatenate(columns, axis=1)} if columns else {}


def _array(values: Any) -> NDArray[Any]:
    """An array, with the channels of images first instead of a tensor's."""
    import torch

    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    array = values.detach().cpu().float().numpy() if values.is_floating_point() else values.detach().cpu().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[1] <= 4 else array


def _labels(
    labels: Any, others: Any, n: int, held: int | None, classes: Sequence[str]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...], NDArray[np.int64] | None]:
    """Label numbers of the examples, class names, and label numbers of the held-out examples."""
    if (labels is None or held is None) != (others is None):
        raise DataError("labels and held_out_labels belong together where held_out is given: give both or neither.")
    if labels is None:
        return None, (), None
    given = [_array(array) for array in (labels, others) if array is not None]
    sizes = [n] if held is None else [n, held]
    numbers, names = label_numbers(given, sizes, tuple(classes))
    return numbers[:n], names, None if held is None else numbers[n:]
