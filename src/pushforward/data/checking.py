"""A plain report of a data set: `check`."""

from __future__ import annotations

import os
from typing import Any, Unpack

import numpy as np

from pushforward.data.class_counts import class_counts, rare_classes
from pushforward.data.example_hashes import example_hashes
from pushforward.data.seen import shared_examples
from pushforward.data.sources import LoadOptions, load

__all__ = ["check"]


def check(name_or_path: str | os.PathLike[str], **options: Unpack[LoadOptions]) -> dict[str, Any]:
    """Read data as training would, and report on it.

    Args:
        name_or_path: as for `load`.
        options: as for `load`.

    Returns:
        A plain dict: that of `Dataset.describe`, with ``classes`` and ``held_out_classes`` as {name: number of examples},
        ``range`` (lowest, highest value in data units), ``mean`` and ``std`` per channel or column, ``constant`` columns,
        ``integer`` columns, ``header`` (of a table: whether its first line was taken as column names; else None), ``repeated``
        (held-out examples that are also training examples, which only those of many copies are), ``repeats`` (examples of both
        splits that are copies of an earlier one), ``removed`` (training examples left out because they equal a held-out one),
        ``warnings`` (sentences, where held-out examples are training examples or classes have few), ``skipped`` and ``converted``
        as lists of {file, reason}, and ``ignored``.

    Raises:
        UsageError, DataError: as for `load`.
    """
    data = load(name_or_path, **options)
    space, x = data.space, data.train.x
    scale = 255 if x.dtype == np.uint8 else 1
    counts = class_counts(data)
    flat, hashes, held_out = x.reshape(len(x), -1), example_hashes(x), example_hashes(data.held_out.x)
    constant = [i for i in range(flat.shape[1]) if (flat[:, i] == flat[0, i]).all()] if len(space.shape) == 1 else []
    return {
        **data.describe(),
        "classes": {name: train for name, (train, _) in counts.items()},
        "held_out_classes": {name: held_out for name, (_, held_out) in counts.items()},
        "range": [float(x.min()) / scale, float(x.max()) / scale],
        "mean": list(space.units.get("mean", ())),
        "std": list(space.units.get("std", ())),
        "constant": [_column(space.columns, i) for i in constant],
        "integer": [_column(space.columns, i) for i in space.integer],
        "header": data.header,
        "repeated": int(np.isin(held_out, hashes).sum()),
        "repeats": len(x) + len(held_out) - len(np.unique(np.concatenate([hashes, held_out]))),
        "warnings": [*shared_examples(data), *rare_classes(data)],
        "skipped": [{"file": file, "reason": reason} for file, reason in data.skipped],
        "converted": [{"file": file, "reason": reason} for file, reason in data.converted],
        "ignored": data.ignored,
    }


def _column(columns: tuple[str, ...], index: int) -> str:
    return columns[index] if columns else str(index)
