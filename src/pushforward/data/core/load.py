"""Where data comes from: a name, or a path to an image folder or a file (`pushforward.data.readers`)."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack
from warnings import warn

from pushforward.arguments import refuse_unknown, whole
from pushforward.data import readers
from pushforward.data.core.dataset import Dataset, given_columns
from pushforward.data.images.image_file import Conversion, Size
from pushforward.data.readers.reader import Reading, is_frame
from pushforward.errors import DataError, UsageError, did_you_mean
from pushforward.registries import SETS

CHANNELS = {None: None, "rgb": 3, "grey": 1, "gray": 1}
WORKERS = 1  # threads that decode ahead, by default: a second one takes more from a training on two cores than it gives


def names() -> list[str]:
    """The names that `load` knows."""
    return list(SETS)


def installed(name: str) -> bool:
    """Whether the optional package that holds a named source is installed; True for sources that need none."""
    package = SETS[name].package
    return not package or importlib.util.find_spec(package) is not None


def listing() -> list[dict[str, Any]]:
    """The named data sets, without reading them.

    Returns:
        One dict per named source: name, what, shape, train, held_out, labels (class names), labelled (by default),
        needs_download, extra (the extra of pushforward that it needs, or an empty string).
    """
    return [
        {
            "name": name,
            "what": source.what,
            "shape": list(source.shape),
            "train": source.counts[0],
            "held_out": source.counts[1],
            "labels": list(source.classes),
            "labelled": source.labelled and bool(source.classes),
            "needs_download": source.needs_download,
            "extra": source.extra,
        }
        for name, source in SETS.items()
    ]


class LoadOptions(TypedDict, total=False):
    """The options of `load`.

    Args:
        target: the column of a table that a predictor would predict; of a ``.csv`` of plain numbers it becomes the label.
        header: whether the first line of a table holds column names. By default this is decided by comparing it with the
            rows below (`pushforward.data.tables.csv_dialect`); `check` and ``Dataset.header`` report the choice.
        resize: images are scaled (antialiased bicubic) to cover this many pixels, a side, (height, width) or
            "HEIGHTxWIDTH", and cropped in the middle.
        channels: "rgb" or "grey" converts the images of a folder or a tar, and puts transparent ones on a background. By default
            images are grey if all of them are, RGBA if any is transparent somewhere, else RGB.
        background: the colour that replaces transparency in the images of a folder or a tar, such as "white" or "#808080".
        limit: at most so many training examples, chosen by ``seed``; the held-out examples stay.
        seed: chooses the examples that ``limit`` keeps; 0 by default.
        labelled: True requires labels, False drops them. By default toys have none (they are for unconditional
            models), and all other sources carry theirs where they have any.
        given: columns of a ``.csv`` that models receive as conditions instead of making them, in a list or between commas; see
            `given_columns`.
        download: fetch a named set that is not there.
        stream: whether images stay on disk and are decoded when a batch needs them, in the same order and bit for bit as from
            memory: for folders of images and for packed ones. By default images do that would take more than 4 GB.
        workers: threads that decode the next batches while a model trains, where images stay on disk; 1 by default, with 0 each
            batch is decoded when it is needed.
        progress: called with the number of images that have been read, and that of all, where images are read.
        columns: the columns of a table to keep; the names of all its columns where it has none. In a list or between commas.
        drop: columns of a table to leave out, in a list or between commas.
        missing: texts that mean that there is no value, beside an empty cell; in a list or between commas. By default
            `pushforward.data.tables.string_columns.MISSING`.
        schema: what the columns of a table hold: a file of `pushforward.data.tables.schema`, or its content.
        constraints: comparisons that every row of a table meets, and every sample, such as ``["end >= start"]``; see
            `pushforward.data.tables.constraints.Constraint`.
        table: True reads a ``.csv`` of plain numbers as a table, as other tables are read, False as vectors.
        copies: "together" keeps equal rows of a table on one side of the split, "apart" splits each by itself, as draws of a
            survey. By default "apart" where more than 5 % of the rows repeat and no column is a date or an open number; a run
            goes on with what it was trained with.
        rare: "replace" does not learn texts of a table that at most one training row has: each becomes another text of its
            column, drawn by ``seed``. "keep" learns them. "replace" by default; a run goes on with what it was trained with.
    """

    target: str | None
    header: bool | None
    resize: int | tuple[int, int] | str | None
    channels: str | None
    background: str | None
    limit: int | None
    seed: int
    labelled: bool | None
    given: str | Sequence[str]
    download: bool
    stream: bool | None
    workers: int
    progress: Callable[[int, int], None] | None
    columns: str | Sequence[str] | None
    drop: str | Sequence[str] | None
    missing: str | Sequence[str] | None
    schema: str | os.PathLike[str] | Mapping[str, Any] | None
    constraints: str | Sequence[str] | None
    table: bool | None
    copies: str | None
    rare: str


def load(name_or_path: Any, **options: Unpack[LoadOptions]) -> Dataset:
    """Read data and split it; which examples are held out is a function of their content (`held_out_indices`).

    What is left out of a table for what it holds is a warning.

    Args:
        name_or_path: a name (see `names`), or the path of a folder of images or of packed ones (`pushforward.data.pack`),
            ``.tar``, ``.npz``, ``.npy``, ``.csv`` or another table. A name wins over a path: write ``./digits`` for a folder of
            that name. Or a data frame of pandas or polars.
        options: target, header, limit, seed, labelled, given, download and progress; of images also resize, channels,
            background, stream and workers; of tables also columns, drop, missing, schema, constraints, table, copies and rare:
            `LoadOptions`.

    Returns:
        The dataset.

    Raises:
        UsageError: an unknown name or option, or an option that does not apply to the source.
        DataError: data that cannot be found, read, or trained on.
    """
    data = read(name_or_path, options)
    if data.table is not None and data.table.sentences:
        warn("\n".join(data.table.sentences), stacklevel=2)
    return data


def read(name_or_path: Any, options: LoadOptions) -> Dataset:
    """Read data as `load` does, without warnings."""
    refuse_unknown(options, LoadOptions, "data.load", also=["name_or_path"])
    if is_frame(name_or_path):
        from pushforward.data.tables.table_dataset import frame_dataset

        return frame_dataset(name_or_path, reading_of(options))
    if not isinstance(name_or_path, (str, os.PathLike)):
        kind = type(name_or_path).__name__
        raise UsageError(
            f'Expected a name, a path or a data frame, such as "digits" or "./photos"; got a {kind}. Arrays and tensors become '
            "a data set with pf.data.from_arrays(x, labels), and examples of other libraries with pf.data.dataset_of(examples)."
        )
    text, known = os.fspath(name_or_path), SETS
    reading = reading_of(options)
    check_there(text)
    data = known[text].dataset(reading) if text in known else readers.read(Path(text).expanduser(), reading)
    labelled = options.get("labelled")
    if labelled and not data.space.classes:
        raise UsageError(f"{text} has no labels: leave `labelled` out, or name a column of a .csv: `target=COLUMN`.")
    # paths are kept whole, so that a run finds its data again from another folder
    name = text if text in known else str(Path(text).expanduser().resolve())
    data = given_columns(data, reading.given) if reading.given else data
    origin = {
        "name_or_path": name,
        "target": reading.target,
        "header": reading.header,
        "limit": reading.limit,
        "labelled": labelled,
        "resize": list(reading.size) if reading.size else None,
        "channels": options.get("channels"),
        "background": reading.conversion.background or None,
        "given": list(reading.given) or None,
        "seed": reading.seed if reading.limit or reading.seed else None,
        "stream": reading.stream,
        "workers": reading.workers if reading.stream and reading.workers != WORKERS else None,
        **reading.of_tables,
        "copies": {None: reading.copies, True: "apart", False: "together"}[data.apart],
        "rare": None if data.table is None else reading.rare,
    }
    data = dataclasses.replace(data, origin={name: value for name, value in origin.items() if value is not None})
    if labelled is None:
        labelled = text not in known or known[text].labelled
    return data if labelled else data.without_labels()


def reading_of(options: LoadOptions) -> Reading:
    """Check the options of `load`, and return them as a `Reading`."""
    target, limit, copies = options.get("target"), options.get("limit"), options.get("copies")
    words = {name: _words(name, options.get(name)) for name in ("given", "columns", "drop", "missing")}
    given = tuple(filter(None, words["given"] or ()))
    if target is not None and any(column.partition(":")[0] == target for column in given):
        raise UsageError(f'`target` and `given` both name "{target}": a column is the label, or a number that is given.')
    workers = whole("workers", options.get("workers", WORKERS), 0)
    if copies not in (None, "together", "apart"):
        raise UsageError(f'`copies={copies!r}` is neither "together" nor "apart".')
    rare = options.get("rare") or "replace"
    if rare not in ("replace", "keep"):
        raise UsageError(f'`rare={rare!r}` is not an option: expected "replace" or "keep".')
    constraints, schema = options.get("constraints") or (), options.get("schema")
    if schema is not None:
        from pushforward.data.tables.schema import read_schema

        schema = read_schema(schema)
    return Reading(
        target=target,
        header=options.get("header"),
        conversion=_conversion(options),
        limit=None if limit is None else whole("limit", limit),
        seed=options.get("seed", 0),
        download=options.get("download", False),
        given=given,
        stream=options.get("stream"),
        workers=workers,
        progress=options.get("progress"),
        copies=copies,
        rare=rare,
        columns=words["columns"] or (),
        drop=words["drop"] or (),
        missing=words["missing"],
        schema=schema or {},
        constraints=(constraints,) if isinstance(constraints, str) else tuple(constraints),
        table=options.get("table"),
    )


def _words(name: str, value: Any) -> tuple[str, ...] | None:
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
    if words is None:
        return None
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"`{name}` is a list of texts, got {value!r:.60}.")
    return tuple(words)


def check_there(text: str) -> None:
    """Refuse what is neither the name of a data set nor a path that exists; nothing is read.

    Raises:
        UsageError: For an unknown name.
        DataError: For a path where nothing is.
    """
    if text in SETS or Path(text).expanduser().exists():
        return
    if os.sep in text or Path(text).suffix:
        parent = Path(text).expanduser().parent
        near = [path.name for path in parent.iterdir()] if parent.is_dir() else []
        raise DataError(f"There is no file or folder {text}.{did_you_mean(Path(text).name, near)}")
    raise UsageError(
        f'Unknown data "{text}".{did_you_mean(text, names())} Known: {", ".join(names())}; or the path of {readers.described()}. '
        "A set of your own is known once the file that defines it is named: `plugins=[FILE.py]`."
    )


def _conversion(options: LoadOptions) -> Conversion:
    channels = options.get("channels")
    background = options.get("background") or ""
    if channels not in CHANNELS:
        raise UsageError(f'`channels={channels!r}` is not supported: expected "rgb" or "grey".')
    size = _size(options.get("resize"))
    try:
        return Conversion(size, CHANNELS[channels], background)
    except ValueError:
        raise UsageError(f'"{background}" is not a colour: expected one such as white or #808080.') from None


def _size(resize: int | tuple[int, int] | str | None) -> Size | None:
    if resize is None:
        return None
    words = str(resize).strip("()[]").replace(",", "x").split("x")
    sides = [int(word) for word in words if word.strip().isdecimal()]
    if len(sides) != len(words) or len(sides) > 2 or not all(1 <= side <= 4096 for side in sides):
        raise UsageError(f"`resize={resize}` is not a size: expected 1 to 4096 pixels, as N, (height, width) or HEIGHTxWIDTH.")
    return sides[0], sides[-1]


DataLike = Any
"""Data as `pushforward.fit` takes it; see `dataset_of`."""


def dataset_of(data: DataLike, **options: Unpack[LoadOptions]) -> Dataset:
    """Return a data set for whatever holds examples.

    Args:
        data: A `Dataset`; a name or path, or a data frame, for `load`; or arrays, tensors, and data sets of PyTorch and Hugging
            Face (`pushforward.data.core.examples.from_examples`).
        options: Options of `load`, for all but data sets that are made already.

    Raises:
        UsageError: For anything else.
        DataError: If it cannot be read.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, (str, os.PathLike)) or is_frame(data):
        return load(data, **options)
    from pushforward.data.core.examples import from_examples

    found = from_examples(data)
    return load(found, **options) if is_frame(found) else found
