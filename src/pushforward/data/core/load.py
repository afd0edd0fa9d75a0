"""Load data by name, or from an image folder or a file (`pushforward.data.readers`)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack
from warnings import warn

import numpy as np

from pushforward.arguments import refuse_unknown, whole
from pushforward.conditions.columns import Columns, Numbers
from pushforward.conditions.kind import ConditionKind, registry
from pushforward.conditions.label import Label
from pushforward.data import readers
from pushforward.data.core.dataset import Dataset, Split
from pushforward.data.images.image_file import Conversion, Size
from pushforward.data.readers.reader import DataOptions, Progress, is_frame
from pushforward.data.spaces.space import measure
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.registries import SETS, at

# Values of options that are names.
CHOICES = {
    "channels": ("rgb", "grey", "gray"),
    "copies": ("together", "apart"),
    "rare": ("replace", "keep"),
}
CHANNELS = {None: None, "rgb": 3, "grey": 1, "gray": 1}
ColumnKind = tuple[type[ConditionKind], Sequence[str]]  # kind and columns of a condition
WORKERS = 1  # threads that decode ahead; a second one would slow down training on two cores


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


class LoadOptions(TypedDict, total=False):
    """Options of `load`.

    Args:
        target: Column of a table to predict, used as the label in a ``.csv`` of plain numbers.
        header: Whether the first line of a table contains column names; None decides by the rows
            below.
        resize: Image size, as one side, (height, width) or "HEIGHTxWIDTH", that images are scaled
            to cover (antialiased bicubic) and cropped to at the centre.
        channels: "rgb" or "grey" converts image files. By default images are grey if all of them
            are, RGBA if any has transparent pixels, and RGB otherwise.
        background: Colour that replaces transparency in image files, such as "white" or "#808080".
        limit: Maximum number of training examples, chosen by ``seed``.
        seed: Seed of ``limit``; 0 by default.
        labelled: True requires labels, False drops them; None drops the labels of toys.
        given: Columns of a ``.csv`` that condition the model, as a list or separated by commas; see
            `given_columns`.
        download: Whether to download a named data set that is missing.
        stream: Whether images of files stay on disk; None if they would take more than 4 GB.
        workers: Number of threads that decode such images ahead; 1 by default.
        progress: Function called with the number of images read, and their total.
        columns: Columns of a table to keep, or the names of all columns of a file without header.
        drop: Columns of a table to leave out.
        missing: Texts that denote a missing value, besides an empty cell.
        schema: Description of a table's columns, as a JSON file or its content.
        constraints: Comparisons that hold for every row and sample of a table, such as
            ``["end >= start"]``.
        table: True reads a ``.csv`` of plain numbers as a table, False as vectors.
        copies: "together" keeps equal rows of a table on one side of the split, "apart" splits each
            row independently; None decides by the rows (`draws_repeat`).
        rare: "replace", the default, replaces each text that at most one training row has by
            another text of its column; "keep" learns it.
    """

    target: str | None
    header: bool | None
    resize: int | Size | str | None
    channels: str | None
    background: str | None
    limit: int | None
    seed: int
    labelled: bool | None
    given: str | Sequence[str]
    download: bool
    stream: bool | None
    workers: int
    progress: Progress | None
    columns: str | Sequence[str] | None
    drop: str | Sequence[str] | None
    missing: str | Sequence[str] | None
    schema: str | os.PathLike[str] | Mapping[str, Any] | None
    constraints: str | Sequence[str] | None
    table: bool | None
    copies: str | None
    rare: str


def load(name_or_path: Any, **options: Unpack[LoadOptions]) -> Dataset:
    """Read data and split it into training and held-out examples by their content.

    Args:
        name_or_path: Name (see `names`); path of an image folder, of packed images, or of a
            ``.tar``, ``.npz``, ``.npy``, ``.csv`` or other table; or data frame of pandas or
            polars. Write ``./digits`` for a folder with the name of a data set.
        options: Options of `LoadOptions`. All sources support limit, seed, labelled, download and
            progress; images also resize, channels, background, stream and workers; tables also
            target, header, given, columns, drop, missing, schema, constraints, table, copies and
            rare.
    """
    data = read(name_or_path, options)
    if data.table is not None and data.table.sentences:
        warn("\n".join(data.table.sentences), stacklevel=2)
    return data


def read(name_or_path: Any, options: LoadOptions) -> Dataset:
    """Read data as `load` does, without warnings."""
    refuse_unknown(options, LoadOptions, "data.load", also=["name_or_path"])
    if is_frame(name_or_path):
        data: Dataset = at("tables.reading.reader:frame_dataset")(name_or_path, reading_of(options))
        return data
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise UsageError(
            'Expected a name, a path or a data frame, such as "digits" or "./photos"; got a '
            f"{type(name_or_path).__name__}. Use pf.data.from_arrays(x, labels) for arrays and "
            "tensors, and pf.data.dataset_of(examples) for data sets of other libraries."
        )
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    source = SETS.get(text)
    reading = reading_of(options)
    check_there(text)
    if source is None:
        data = readers.read(path, reading)
        name = str(path.resolve())  # so that a run finds its data from another folder
        labelled_by_default = True
    else:
        data = source.dataset(reading)
        name = text
        labelled_by_default = source.labelled
    labelled = options.get("labelled")
    if labelled and not data.space.classes:
        raise UsageError(
            f"{text} has no labels. Leave out `labelled`, or use `target=COLUMN` to name the label "
            "column of a .csv file."
        )
    if reading.given:
        data = given_columns(data, reading.given)
    data = replace(data, origin={"name_or_path": name, **_stored(options, reading, data)})
    if labelled is None:
        labelled = labelled_by_default
    if labelled:
        return data
    return data.without_labels()


def _stored(options: LoadOptions, reading: DataOptions, data: Dataset) -> dict[str, Any]:
    seed = None
    if reading.limit or reading.seed:
        seed = reading.seed
    workers = None
    if reading.stream and reading.workers != WORKERS:
        workers = reading.workers
    copies = reading.copies
    if data.apart is not None:
        copies = "apart" if data.apart else "together"
    rare = None
    if data.table is not None:
        rare = reading.rare
    stored = {
        "target": reading.target,
        "header": reading.header,
        "limit": reading.limit,
        "labelled": options.get("labelled"),
        "resize": reading.size and list(reading.size),
        "channels": options.get("channels"),
        "background": reading.conversion.background or None,
        "given": list(reading.given) or None,
        "seed": seed,
        "stream": reading.stream,
        "workers": workers,
        **reading.of_tables,
        "copies": copies,
        "rare": rare,
    }
    return {name: value for name, value in stored.items() if value is not None}


def reading_of(options: LoadOptions) -> DataOptions:
    """Check the options of `load` and return them as a `DataOptions`."""
    for name, choices in CHOICES.items():
        value = options.get(name)
        if value is not None and value not in choices:
            raise UsageError(
                f"`{name}={value!r}` is not supported: expected one of {', '.join(choices)}."
            )
    settings: Any = dict(options)
    for name in ("name_or_path", "labelled", "resize", "channels", "background"):
        settings.pop(name, None)
    for name in ("given", "columns", "drop", "missing"):
        settings[name] = _words(options, name)
    target = options.get("target")
    given = tuple(filter(None, settings["given"] or ()))
    for column in given:
        if column.partition(":")[0] == target:
            raise UsageError(
                f'`target` and `given` both contain "{target}". A column can be the label or a '
                "condition, not both."
            )
    limit = options.get("limit")
    if limit is not None:
        limit = whole("limit", limit)
    constraints = options.get("constraints") or ()
    if isinstance(constraints, str):
        constraints = [constraints]
    schema = options.get("schema")
    if schema is not None:
        schema = at("tables.reading.schema:read_schema")(schema)
    settings |= {
        "conversion": _conversion(options),
        "limit": limit,
        "given": given,
        "workers": whole("workers", options.get("workers", WORKERS), 0),
        "rare": options.get("rare") or "replace",
        "columns": settings["columns"] or (),
        "drop": settings["drop"] or (),
        "schema": schema or {},
        "constraints": tuple(constraints),
    }
    return DataOptions(**settings)


def _words(options: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    words = options.get(name)
    if words is None:
        return None
    if isinstance(words, str):
        return tuple(word.strip() for word in words.split(","))
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"`{name}` must be a list of strings; got {words!r:.60}.")
    return tuple(words)


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


def _conversion(options: LoadOptions) -> Conversion:
    background = options.get("background") or ""
    size = _size(options.get("resize"))
    try:
        return Conversion(size, CHANNELS[options.get("channels")], background)
    except ValueError:
        raise UsageError(
            f"`background={background}` is not a colour: expected a name or a hex code, such as "
            "white or #808080."
        ) from None


def _size(resize: int | Size | str | None) -> Size | None:
    if resize is None:
        return None
    words = str(resize).strip("()[]").replace(",", "x").split("x")
    sides = [int(word) for word in words if word.strip().isdecimal()]
    if len(sides) != len(words) or len(sides) > 2 or not all(1 <= side <= 4096 for side in sides):
        raise UsageError(
            f"`resize={resize}` is not an image size: expected 1 to 4096 pixels per side, as N, "
            "(height, width) or HEIGHTxWIDTH."
        )
    return sides[0], sides[-1]


def given_columns(data: Dataset, columns: Sequence[str]) -> Dataset:
    """Turn columns of vectors into conditions, which models receive instead of generating them.

    Those written as NAME form one condition, ``given``; NAME:KIND is a condition of its own.
    """
    space = data.space
    added = _column_kinds(columns)
    for name in added:
        if name in space.conditions:
            raise UsageError(f"{data.name} already has a condition {name}. Rename the column.")
    wanted = [column for _, names in added.values() for column in names]
    for column in wanted:
        if column not in space.columns:
            known = ", ".join(space.columns) or "none, because `given` needs a table of numbers"
            hint = did_you_mean(column, space.columns)
            raise UsageError(
                f'{data.name} has no column "{column}".{hint} Available columns: {known}.'
            )
    remaining = [i for i, column in enumerate(space.columns) if column not in wanted]
    if not remaining or len(remaining) + len(wanted) > len(space.columns):
        raise UsageError(
            f"`given` contains a column twice, or all columns of {data.name}: "
            f"{', '.join(wanted)}. At least one column must remain."
        )
    train = _with_given(data.train, space.columns, added, remaining)
    held_out = _with_given(data.held_out, space.columns, added, remaining)
    kinds: dict[str, ColumnKind] = {}
    for name, condition in space.conditions.items():
        if name in data.train.given:
            kinds[name] = type(condition), condition.entries
    kinds |= added
    values = [train.given[name] for name in kinds]
    examples = Columns.evenly(np.concatenate(values, axis=1), train.labels)
    conditions = dict(space.conditions)
    for name, (kind, names) in kinds.items():
        conditions[name] = kind.measure(train.given[name], names, examples)
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
            raise UsageError(
                f'There is no kind of condition "{kind}" for columns; available kinds: '
                f"{', '.join(available)}.{did_you_mean(kind, available)} Use `target` for a "
                "label, and `plugins=[FILE]` for a kind of your own."
            )
        if column in kinds:
            raise UsageError(
                f'The name "{column}" occurs twice among the conditions of `given` ("given" is '
                "the condition of all columns without a kind)."
            )
        kinds[column] = available[kind], [column]
    return kinds


def _with_given(
    split: Split,
    columns: Sequence[str],
    added: Mapping[str, ColumnKind],
    remaining: Sequence[int],
) -> Split:
    given = dict(split.given)
    for condition, (_, names) in added.items():
        places = [columns.index(name) for name in names]
        given[condition] = split.x[:, places].copy()
    return Split(split.x[:, remaining].copy(), split.labels, split.hashes, given)


DataLike = Any
"Data that `pushforward.fit` accepts; see `dataset_of`."


def dataset_of(data: DataLike, **options: Unpack[LoadOptions]) -> Dataset:
    """Create a data set from any supported form of data.

    Args:
        data: A `Dataset`; a name, path or data frame, as for `load`; or arrays, tensors, or data
            sets of PyTorch and Hugging Face.
        options: Options of `load`, for names, paths and data frames.
    """
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, (str, os.PathLike)) and not is_frame(data):
        from pushforward.data.core.examples import from_examples

        data = from_examples(data)
        if isinstance(data, Dataset):
            return data
    return load(data, **options)
