"""Real data that samples of another program are compared with."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from pushforward.arguments import refuse_unknown
from pushforward.data.core.dataset import Dataset, Schema, Split, build
from pushforward.data.core.hashes import held_out_indices
from pushforward.data.core.load import LoadOptions, check_there, read, reading_of
from pushforward.data.readers.reader import Examples, examples_in
from pushforward.data.readers.tables import TABLES, read_pair
from pushforward.errors import DataError, UsageError

PARTS = 3  # one part is compared with samples, the others give the scores of real data


def real_data(
    real: str | os.PathLike[str],
    train: str | os.PathLike[str] | None = None,
    **options: Unpack[LoadOptions],
) -> Dataset:
    """Read real data to compare the samples of any program with.

    Args:
        real: A table, a folder of images, or an .npz or .npy file.
        train: The data that the program has learned from, in the same format; its examples become the training split, and all
            examples of ``real`` are held out. Without it a third of ``real`` is held out, and scores of copies and privacy,
            which need training examples, are not computed.
        options: Those of `load`. A .csv file of plain numbers is read as a table unless ``table`` is False.

    Returns:
        The dataset; its ``trained_on`` says whether ``train`` was given.

    Raises:
        UsageError: If an option does not apply, or if both files are the same.
        DataError: If a file cannot be read, or if the two differ in shape or columns.
    """
    refuse_unknown(options, LoadOptions, "data.real_data", also=["real", "train"])
    place = Path(real).expanduser()
    is_table = place.suffix.lower() in TABLES.endings and not options.get("given")
    defaults: dict[str, Any] = {"table": True} if is_table else {"stream": False}
    settings: Any = {**defaults, **options}
    if train is None:
        data = read(str(place), settings)
        every = data.train.followed_by(data.held_out)
        held = held_out_indices(every.hashes, every.labels, max(1, len(every) // PARTS))
        others = np.delete(np.arange(len(every)), held)
        return dataclasses.replace(data, train=every.take(others), held_out=every.take(held), trained_on=False)
    source = Path(train).expanduser()
    for path in (place, source):
        check_there(os.path.join(path.parent, path.name))
    if source.resolve() == place.resolve():
        raise UsageError(
            f"The real data and the training data are the same, {place}. Copy scores need real data that the program has not seen: "
            "split the data before it is learned from, or leave out `train`."
        )
    reading = reading_of(settings)
    if reading.table and source.suffix.lower() in TABLES.endings:
        data = read_pair(source, place, reading)
    else:
        data = _pair(place.stem, examples_in(source, reading), examples_in(place, reading))
    return dataclasses.replace(data, trained_on=True)


def _pair(name: str, train: Examples, held_out: Examples) -> Dataset:
    """Make a dataset of the examples of two sources; labels count where both have them."""
    split, classes, columns = train
    other, other_classes, other_columns = held_out
    if split.x.shape[1:] != other.x.shape[1:] or set(columns) != set(other_columns):
        shapes = f"{split.x.shape[1:]} and {other.x.shape[1:]}"
        raise DataError(
            f"The training data and the real data have examples of the shapes {shapes}, or other columns: expected the same. "
            "Scale images to one size with `resize=N`, and convert them with `channels=rgb` or `channels=grey`."
        )
    every = tuple(dict.fromkeys([*classes, *other_classes])) if classes and other_classes else ()
    order = [other_columns.index(column) for column in columns]
    sides = [_relabelled(split, classes, every), _relabelled(other, other_classes, every)]
    sides[1] = dataclasses.replace(sides[1], x=sides[1].x[:, order]) if columns else sides[1]
    return build(name, *sides, schema=Schema(every, columns))


def _relabelled(split: Split, classes: tuple[str, ...], every: tuple[str, ...]) -> Split:
    if split.labels is None or not every:
        return split.without_labels()
    places = np.array([every.index(name) for name in classes], dtype=np.int64)
    return dataclasses.replace(split, labels=places[split.labels])
