"""Real data for scoring samples of other programs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.data.core.dataset import Dataset, Schema, build
from pushforward.data.core.hashes import held_out_indices
from pushforward.data.core.load import check_there, read, reading_of
from pushforward.data.readers.reader import DataOptions, examples_in
from pushforward.errors import DataError, UsageError
from pushforward.registries import READERS

PARTS = 3  # one part is compared with samples, the others give the scores of real data


def real_data(
    real: str | os.PathLike[str],
    train: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Dataset:
    """Read real data to compare the samples of any program with.

    Args:
        real: Table, image folder, or .npz or .npy file.
        train: Training data of the program; all of ``real`` is then held out. Without it, a third
            of ``real`` is held out, and copy and privacy scores are not computed.
        options: Options of `DataOptions`; by default, .csv files are read as tables, and rare texts
            are kept.
    """
    place = Path(real).expanduser()
    reader = READERS.get(place.suffix.lower())
    read_pair = getattr(reader, "pair", None)
    is_table = read_pair is not None and not options.get("given")
    settings: Any = {"table": True} if is_table else {"stream": False}
    settings |= options
    settings["rare"] = options.get("rare") or "keep"
    if train is None:
        data = read(str(place), settings)
        examples = data.train.followed_by(data.held_out)
        n = len(examples)
        held = held_out_indices(examples.hashes, examples.labels, max(1, n // PARTS))
        return replace(
            data,
            train=examples.take(np.delete(np.arange(n), held)),
            held_out=examples.take(held),
            trained_on=False,
        )
    source = Path(train).expanduser()
    if source.resolve() == place.resolve():
        raise UsageError(
            f"{train} is also the real data. Samples are compared with examples that the program "
            "was not trained on: divide the data into two files, or leave out `train`."
        )
    for path in (place, source):
        check_there(os.path.join(path.parent, path.name))
    reading = reading_of(settings)
    pair = _pair
    if reading.table and read_pair is not None:
        pair = read_pair
    data = pair(source, place, reading)
    return replace(data, trained_on=True, origin={"name_or_path": str(place), **options})


def _pair(train: Path, held_out: Path, reading: DataOptions) -> Dataset:
    first, classes, columns = examples_in(train, reading)
    second, other_classes, other_columns = examples_in(held_out, reading)
    if columns != other_columns:
        raise DataError(f"{train} and {held_out} have different columns; expected the same.")
    if classes != other_classes:
        classes = ()  # labels count if both have the same classes
    return build(held_out.stem, first, second, schema=Schema(classes, columns))
