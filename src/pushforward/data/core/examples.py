"""Read data sets of PyTorch, torchvision and Hugging Face into memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch.utils.data import DataLoader, IterableDataset, default_collate

from pushforward.data.core.arrays import from_arrays
from pushforward.errors import DataError, UsageError

DATA = ("image", "img", "pixel_values", "x")  # names of the field that holds an example's data
LABELS = ("label", "labels", "fine_label", "class", "y")  # names of the field that holds its class
BLOCK = 256  # examples read at a time


def from_examples(source: Any) -> Any:
    """Read all examples of a data set of another library; random transforms are applied once.

    Args:
        source: Array or tensor; tuple (x, labels); PyTorch ``Dataset`` or ``DataLoader``, whose
            sampler selects examples; Hugging Face ``Dataset``; or list of examples. An example is
            data, a pair (data, class), or a dict of these.

    Returns:
        The data set, or a data frame for rows of plain values.
    """
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return from_arrays(source)
    if isinstance(source, tuple):
        return from_arrays(*source)
    if isinstance(source, Mapping):
        raise UsageError(
            'Expected a single split, such as data["train"]; got a dict with '
            f"{', '.join(map(str, source))}."
        )
    parts = []
    for batch in _batches(source):
        has_data = not isinstance(batch, Mapping) or any(name in batch for name in DATA)
        if not has_data and hasattr(source, "to_pandas"):
            return source.to_pandas()
        parts.append(_parts_of(batch))
    if not parts:
        raise DataError(f"The {type(source).__name__} contains no examples.")
    columns = []
    for column in zip(*parts, strict=True):
        join: Any = torch.cat if torch.is_tensor(column[0]) else np.concatenate
        columns.append(join(column))
    return from_arrays(*columns, classes=_classes(source))


def batch_size_of(source: Any) -> int | None:
    """Return the batch size of a ``DataLoader``; None for other data, and for its default of 1."""
    if not isinstance(source, DataLoader) or source.batch_size == 1:
        return None
    return source.batch_size


def _batches(source: Any) -> Iterable[Any]:
    dataset = source
    collate: Any = _collated
    sampler = None
    if isinstance(source, DataLoader):
        dataset = source.dataset
        collate = source.collate_fn
    try:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
            dataset = list(dataset)
        elif isinstance(source, DataLoader):
            sampler = sorted(set(source.sampler))
        yield from DataLoader(dataset, BLOCK, sampler=sampler, collate_fn=collate)
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            "Expected data: a name or path, an array or tensor, a data frame, a PyTorch Dataset "
            "or DataLoader, or a Hugging Face Dataset, with examples of equal shape. The "
            f"{type(source).__name__} cannot be read: {error}"
        ) from error


def _collated(examples: Sequence[Any]) -> Any:
    return default_collate([_without_pictures(example) for example in examples])


def _without_pictures(example: Any) -> Any:
    if isinstance(example, Image):
        return np.array(example)
    if isinstance(example, Mapping):
        return {name: _without_pictures(part) for name, part in example.items()}
    if isinstance(example, tuple):
        return tuple(map(_without_pictures, example))
    return example


def _parts_of(batch: Any) -> Sequence[Any]:
    if isinstance(batch, Mapping):
        batch = [batch[name] for name in _fields(batch)]
    if not isinstance(batch, (tuple, list)):
        batch = [batch]
    if not 1 <= len(batch) <= 2:
        raise DataError(
            "Expected each example as data, as a pair (data, class), or as a dict with one of "
            f"these fields: {', '.join(DATA)}."
        )
    return batch


def _fields(names: Mapping[str, Any]) -> list[str]:
    found = []
    for known in (DATA, LABELS):
        found += [name for name in known if name in names][:1]
    return found


def _classes(source: Any) -> tuple[str, ...]:
    while hasattr(source, "dataset"):  # a loader or a subset
        source = source.dataset
    features = getattr(source, "features", None)
    if not isinstance(features, Mapping):
        classes = getattr(source, "classes", ())
        if isinstance(classes, (list, tuple)):
            return tuple(map(str, classes))
        return ()
    return tuple(getattr(features[_fields(features)[-1]], "names", ()))
