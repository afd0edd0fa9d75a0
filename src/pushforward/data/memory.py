"""Data sets of arrays in memory, and what functions take in the place of a data set: its name or path."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.conditions.numbers import Numbers
from pushforward.data.arrays import attributes, label_numbers, rows_of
from pushforward.data.dataset import Dataset, Split, build
from pushforward.data.sources import load
from pushforward.errors import DataError, UsageError

__all__ = ["dataset_of", "from_arrays"]


def dataset_of(data: Any) -> Dataset:
    """A data set, or the one that a name or a path stands for.

    Args:
        data: A `Dataset`, or what `load` reads.

    Raises:
        UsageError: For anything else, saying what was expected.
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
    """Make a data set of arrays or tensors.

    A run that is trained on it needs it again to be resumed: ``pf.resume(run, data=...)``.

    Args:
        x: Vectors (n, d) in their own units; or images (n, C, H, W), (n, H, W, C) or (n, H, W), uint8 from 0 to 255 or floats
            from 0 to 1. Where both layouts are possible, channels are first in tensors and last in arrays.
        labels: One class for each row: whole numbers or text, (n,); None for data without labels.
        held_out: Rows to judge models by, of the same kind as ``x``; None holds a tenth of ``x`` out.
        held_out_labels: Their classes, where ``labels`` are given.
        name: A short name, used for run folders.
        classes: Names of the classes, where labels are numbers from 0.
        columns: Names of the columns of vectors.
        limit: At most so many training rows.
        given: Continuous attributes that models receive, (n,) each, by name: together the condition ``given``.
        held_out_given: Those of the rows of ``held_out``, where ``given`` are given.

    Returns:
        The data set.

    Raises:
        DataError: For arrays of another shape, range or type, or labels that do not fit them.
    """
    rows, integer = rows_of(_array(x), "x")
    test = None if held_out is None else rows_of(_array(held_out), "held_out")[0]
    if test is not None and test.shape[1:] != rows.shape[1:]:
        raise DataError(f"held_out has rows of shape {test.shape[1:]}, x of shape {rows.shape[1:]}: expected the same.")
    if columns and (rows.ndim != 2 or len(columns) != rows.shape[1]):
        raise DataError(f"{len(columns)} names in columns for rows of shape {rows.shape[1:]}: expected one for each column.")
    numbers, names, test_numbers = _labels(labels, held_out_labels, len(rows), None if test is None else len(test), classes)
    expected = None if test is None or given is None else list(given)
    if (None if held_out_given is None else list(held_out_given)) != expected:
        raise DataError("given and held_out_given belong together where held_out is given: the same names in the same order.")
    return build(
        name,
        Split(rows, numbers, given=_given(given, len(rows))),
        None if test is None else Split(test, test_numbers, given=_given(held_out_given, len(test))),
        kinds={"given": partial(Numbers.measure, columns=list(given))} if given else None,
        classes=names,
        columns=tuple(columns),
        integer=integer,
        limit=limit,
    )


def _given(given: Mapping[str, Any] | None, n: int) -> dict[str, NDArray[Any]]:
    columns = [attributes(_array(values), n, name) for name, values in (given or {}).items()]
    return {"given": np.concatenate(columns, axis=1)} if columns else {}


def _array(values: Any) -> NDArray[Any]:
    """An array, with the channels of images first in the place of a tensor's."""
    import torch

    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    array = values.detach().cpu().float().numpy() if values.is_floating_point() else values.detach().cpu().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[1] <= 4 else array


def _labels(
    labels: Any, others: Any, n: int, held: int | None, classes: Sequence[str]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...], NDArray[np.int64] | None]:
    """Label numbers of the rows, class names, and label numbers of the held-out rows."""
    if (labels is None or held is None) != (others is None):
        raise DataError("labels and held_out_labels belong together where held_out is given: give both or neither.")
    if labels is None:
        return None, (), None
    given = [_array(one) for one in (labels, others) if one is not None]
    sizes = [n] if held is None else [n, held]
    numbers, names = label_numbers(given, sizes, tuple(classes))
    return numbers[:n], names, None if held is None else numbers[n:]
