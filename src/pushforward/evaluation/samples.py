"""Existing samples of any program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.data import DataOptions, Dataset, Split
from pushforward.data.core.hashes import permutation
from pushforward.data.core.load import reading_of
from pushforward.data.readers import examples_in
from pushforward.data.readers.reader import is_frame
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.features import quantised
from pushforward.evaluation.results import REPEAT_SEEDS
from pushforward.files import plain_path

# Fewest samples, and tolerance for images outside of [0, 1]
LEAST = 2
SLACK = 1e-3


class ExternalSamples:
    """Existing samples of any program, which are divided into samplings.

    Args:
        name: Name of their file, or "samples".
        x: Samples in data units, float32 (n, *shape).
        labels: Class numbers, int64 (n,); None if unknown.
        notes: Warnings about the samples.
        values: Values of table rows, float64 (n, columns); None if only coordinates are known.
    """

    def __init__(
        self,
        name: str,
        x: Tensor,
        labels: np.ndarray | None,
        notes: Sequence[str],
        values: np.ndarray | None,
    ) -> None:
        order = permutation(len(x), 0)  # a folder or a file may be sorted by class
        self.name = name
        self.x = x[torch.from_numpy(order)]
        self.notes = tuple(notes)
        self.labels = _at(labels, order)
        self.values = _at(values, order)

    def __len__(self) -> int:
        return len(self.x)

    def part(self, n: int, seed: int) -> tuple[Tensor, np.ndarray | None, np.ndarray | None]:
        """Return n samples with labels and values, for the seed of a sampling."""
        first = max(0, seed // REPEAT_SEEDS - 1) * n
        part = slice(first, first + n)
        return self.x[part], _at(self.labels, part), _at(self.values, part)


def _at(values: np.ndarray | None, index: np.ndarray | slice) -> np.ndarray | None:
    if values is None:
        return None
    return values[index]


def given_samples(samples: Any, data: Dataset) -> ExternalSamples:
    """Read existing samples and check that they fit the data.

    Args:
        samples: File (.npz, .npy, .csv or another table) or folder of images, data frame with the
            columns of the data, or array (n, *shape) in data units; images may be uint8. In an .npz
            file, ``x`` and ``label`` or ``y`` are read.
    """
    if isinstance(samples, ExternalSamples):
        return samples
    space = data.space
    name = "samples"
    classes = tuple[str, ...]()
    labels = None
    read = None
    if isinstance(samples, (str, Path)):
        name = Path(samples).name
        split, classes = _read(plain_path(Path(samples)), data)
        read = split.x, split.table_values
        labels = split.labels
    elif is_frame(samples):
        read = space.read_frame(samples)
    elif isinstance(samples, Tensor):
        read = samples.detach().cpu().numpy(), None
    elif isinstance(samples, np.ndarray):
        read = samples, None
    if read is None:
        raise UsageError(
            "Samples must be a path, an array, a tensor, or a data frame with the columns of the "
            "data, got "
            f"{type(samples).__name__}."
        )
    x, values = read
    _check_samples(name, x, data)
    examples = quantised(x, space)
    notes = []
    if labels is not None and set(classes) <= set(space.classes):
        places = [space.classes.index(each) for each in classes]
        labels = np.array(places, np.int64)[labels]
    elif labels is not None:
        labels = None
        notes.append(f"their labels are not classes of {data.name}, so labels are not scored.")
    if values is not None:
        notes += space.notes(values, data.name)
    return ExternalSamples(name, examples, labels, notes, values)


def _check_samples(name: str, x: np.ndarray, data: Dataset) -> None:
    shape = data.space.shape
    if x.shape[1:] != shape or len(x) < LEAST:
        hint = ""
        if data.space.has_pixels:
            hint = " Convert both with `resize=N` and `channels=rgb` or `channels=grey`."
        raise DataError(
            f"{name} contains {len(x)} samples of shape {x.shape[1:]}; expected at least "
            f"{LEAST} of shape {shape}, as in {data.name}.{hint}"
        )
    wrong = np.count_nonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
    if wrong:
        raise DataError(
            f"{wrong} of {len(x)} samples in {name} contain NaN or infinite values. Remove them."
        )
    low = x.min()
    high = x.max()
    fits = x.dtype.kind == "f" and low >= -SLACK and high <= 1 + SLACK
    if data.space.levels is not None and x.dtype != np.uint8 and not fits:
        raise DataError(
            f"{name} contains images of type {x.dtype} with values from {low:g} to {high:g}; "
            "expected uint8 from 0 to 255, or floats from 0 to 1."
        )


def _read(path: Path, data: Dataset) -> tuple[Split, tuple[str, ...]]:
    space = data.space
    own = tuple(space.columns)
    known = space.read(path)
    if known is not None:
        x, values = known
        return Split(x, table_values=values), ()
    origin = data.origin or {}
    given = set[str]()
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first_line = file.readline().replace('"', "")
        names = {cell.strip() for cell in re.split("[,;\\t]", first_line)}
        known_label = space.label.target if space.label is not None else None
        target = next((name for name in (known_label, "label") if name in names - set(own)), None)
        entries = chain.from_iterable(kind.entries for kind in space.conditions.values())
        given = names.intersection(entries) - set(own)
        header = origin.get("header")
        if target or given or names >= set(own) > set():
            header = True
        reading = DataOptions(target=target, header=header)
    else:
        pixels = ("resize", "channels", "background") if space.has_pixels else ()
        options = {name: origin[name] for name in pixels if name in origin}
        reading = reading_of(options)
    split, classes, columns = examples_in(path, reading)
    keep = [name for name in columns if name not in given]  # conditions are not compared
    if own and columns and set(keep) != set(own):
        raise DataError(
            f"{path} has the columns {', '.join(keep)}; expected the columns of {data.name}: "
            f"{', '.join(own)}."
        )
    wanted = own if own and columns else keep
    if list(wanted) != list(columns):
        split = replace(split, x=split.x[:, [columns.index(name) for name in wanted]])
    return split, classes
