"""Load data by name, or from an image folder or a file (`pushforward.data.readers`)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np

from pushforward.arguments import refuse_unknown
from pushforward.conditions.columns import Numbers
from pushforward.conditions.kind import ConditionKind, registry
from pushforward.conditions.label import Label
from pushforward.data import readers
from pushforward.data.core.dataset import Dataset, Schema, Split, build, given_conditions
from pushforward.data.core.hashes import held_out_indices
from pushforward.data.readers.reader import DataOptions, examples_in, is_frame
from pushforward.data.spaces.space import measure
from pushforward.errors import DataError, UsageError, did_you_mean, unknown
from pushforward.registries import READERS, SETS, at

PARTS = 3  # one part is compared with samples, the others give the scores of real data
ColumnKind = tuple[type[ConditionKind], Sequence[str]]  # kind and columns of a condition


def names() -> list[str]:
    """Return the names that `load` accepts."""
    return list(SETS)


def installed(name: str) -> bool:
    """Return whether the optional package that a named data set needs is installed."""
    package = SETS[name].package
    return not package or importlib.util.find_spec(package) is not None


def listing() -> list[dict[str, Any]]:
    """Describe the named data sets as plain values, without reading them."""
    described = []
    for name, source in SETS.items():
        train, held_out = source.counts
        described.append(
            {
                "name": name,
                "what": source.what,
                "shape": list(source.shape),
                "train": train,
                "held_out": held_out,
                "labels": list(source.classes),
                "labelled": source.labelled and bool(source.classes),
                "needs_download": source.needs_download,
                "extra": source.extra,
            }
        )
    return described


def load(name_or_path: Any, **options: Any) -> Dataset:
    """Read data and split it into training and held-out examples by their content.

    Args:
        name_or_path: Name (see `names`); path of an image folder, of packed images, or of a
            ``.tar``, ``.npz``, ``.npy``, ``.csv`` or other table; or data frame of pandas or
            polars. Write ``./digits`` for a folder with the name of a data set.
        options: Options of `DataOptions`. All sources support limit, seed, labelled, download and
            progress; images also resize, channels, background, stream and workers; tables also
            target, header, given, columns, drop, missing, schema, constraints, table, copies and
            rare.
    """
    data = read(name_or_path, options)
    if data.table is not None and data.table.sentences:
        warn("\n".join(data.table.sentences), stacklevel=2)
    return data


def reading_of(options: Mapping[str, Any]) -> DataOptions:
    """Check the options of `load`; None means the default."""
    refuse_unknown(options, DataOptions, "pf.data.load", also=["name_or_path"])
    given = {name: value for name, value in options.items() if value is not None}
    given.pop("name_or_path", None)  # of stored runs
    return DataOptions(**given)


def read(name_or_path: Any, options: Mapping[str, Any]) -> Dataset:
    """Read data as `load` does, without warnings."""
    reading = reading_of(options)
    if is_frame(name_or_path):
        data: Dataset = at("tables.reading.reader:frame_dataset")(name_or_path, reading)
        return data
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise UsageError(
            'Expected a name, a path or a data frame, such as "digits" or "./photos"; got a '
            f"{type(name_or_path).__name__}. Use pf.data.from_arrays(x, labels) for arrays and "
            "tensors, and pf.data.dataset_of(examples) for data sets of other libraries."
        )
    name = os.fspath(name_or_path)
    path = Path(name).expanduser()
    check_there(name)
    labelled = reading.labelled
    if name in SETS:
        source = SETS[name]
        data = source.dataset(reading)
        if labelled is None:
            labelled = source.labelled
    else:
        data = readers.read(path, reading)
        name = str(path.resolve())  # so that a run finds its data from another folder
    if reading.labelled and not data.space.classes:
        raise UsageError(
            f"{name_or_path} has no labels. Leave out `labelled`, or use `target=COLUMN` to name "
            "the label column of a .csv file."
        )
    if reading.given:
        data = given_columns(data, reading.given)
    data = replace(data, origin={"name_or_path": name, **reading.stored(data)})
    if labelled is False:
        return data.without_labels()
    return data


def check_there(text: str) -> None:
    """Raise an error for text that is neither the name of a data set nor an existing path."""
    path = Path(text).expanduser()
    if text in SETS or path.exists():
        return
    if os.sep in text or path.suffix:
        near = []
        if path.parent.is_dir():
            near = [other.name for other in path.parent.iterdir()]
        raise DataError(f"There is no file or folder {text}.{did_you_mean(path.name, near)}")
    raise UsageError(
        f'Unknown data set "{text}".{did_you_mean(text, names())} Expected a name '
        f"({', '.join(names())}) or the path of {readers.described()}. To use a data set of your "
        "own, pass the file that defines it: `plugins=[FILE.py]`."
    )


def given_columns(data: Dataset, columns: Sequence[str]) -> Dataset:
    """Turn columns of vectors into conditions, which models receive instead of generating them.

    Those written as NAME form one condition, ``given``; NAME:KIND is a condition of its own.
    """
    space = data.space
    added = _column_kinds(columns)
    wanted = [column for _, names in added.values() for column in names]
    for column in wanted:
        if column not in space.columns:
            hint = did_you_mean(column, space.columns)
            raise UsageError(
                f'{data.name} has no column "{column}" of numbers.{hint} Available columns: '
                f"{', '.join(space.columns) or 'none'}."
            )
    remaining = [i for i, column in enumerate(space.columns) if column not in wanted]
    if not remaining or len(remaining) + len(wanted) > len(space.columns):
        raise UsageError(
            f"`given` contains a column twice, or all columns of {data.name}. At least one must "
            "remain."
        )
    train = _with_given(data.train, space.columns, added, remaining)
    held_out = _with_given(data.held_out, space.columns, added, remaining)
    kinds = {name: partial(kind.measure, columns=names) for name, (kind, names) in added.items()}
    conditions = {**space.conditions, **given_conditions(train, kinds)}
    columns = [space.columns[i] for i in remaining]
    integer = [remaining.index(i) for i in space.integer if i in remaining]
    space = measure(train.x, conditions, columns=columns, integer=integer)
    return replace(data, space=space, train=train, held_out=held_out)


def _column_kinds(columns: Sequence[str]) -> dict[str, ColumnKind]:
    kinds: dict[str, ColumnKind] = {}
    plain = [column for column in columns if ":" not in column]
    if plain:
        kinds["given"] = Numbers, plain
    available = {
        name: kind for name, kind in registry().items() if kind is not Label and not kind.learned
    }
    for text in columns:
        column, colon, kind = text.partition(":")
        if not colon:
            continue
        if kind not in available:
            raise unknown("kind of condition of columns", kind, available)
        if column in (*kinds, "label"):
            raise UsageError(
                f'Two conditions are called "{column}" ("given" is the condition of all columns '
                'without a kind, "label" that of the target). Rename the column.'
            )
        kinds[column] = available[kind], [column]
    return kinds


def _with_given(
    split: Split,
    columns: Sequence[str],
    added: Mapping[str, ColumnKind],
    remaining: Sequence[int],
) -> Split:
    given = {}
    for condition, (_, names) in added.items():
        places = [columns.index(name) for name in names]
        given[condition] = split.x[:, places].copy()
    return Split(split.x[:, remaining].copy(), split.labels, split.hashes, given)


def real_data(
    real: str | Path,
    train: str | Path | None = None,
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
    settings = {"rare": "keep", "stream": False, **options}
    if read_pair is not None and not options.get("given"):
        settings = {"rare": "keep", "table": True, **options}
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


DataLike = Any
"Data that `pushforward.fit` accepts; see `dataset_of`."


def dataset_of(data: DataLike, **options: Any) -> Dataset:
    """Create a data set from any supported form of data.

    Args:
        data: A `Dataset`; a name, path or data frame, as for `load`; or arrays, tensors, or data
            sets of PyTorch and Hugging Face.
        options: Options of `DataOptions`, for names, paths and data frames.
    """
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, (str, os.PathLike)) and not is_frame(data):
        from pushforward.data.core.examples import from_examples

        data = from_examples(data)
        if isinstance(data, Dataset):
            return data
    return load(data, **options)
