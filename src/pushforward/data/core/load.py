"""Load data by name, or from an image folder or a file (`pushforward.data.readers`)."""

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
from pushforward.registries import SETS, at

# The values of options that are names.
CHOICES = {
    "channels": ("rgb", "grey", "gray"),
    "copies": ("together", "apart"),
    "rare": ("replace", "keep"),
}
CHANNELS = {None: None, "rgb": 3, "grey": 1, "gray": 1}
WORKERS = 1  # threads that decode ahead, by default: a second one takes more from a training on two cores than it gives


def names() -> list[str]:
    """Return the names that `load` accepts."""
    return list(SETS)


def installed(name: str) -> bool:
    """Return whether the optional package with a named data set is installed; True if none is needed."""
    package = SETS[name].package
    return not package or importlib.util.find_spec(package) is not None


def listing() -> list[dict[str, Any]]:
    """Describe the named data sets, without reading them.

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
    """Options of `load`.

    Args:
        target: Column of a table to predict, used as the label in a ``.csv`` of plain numbers.
        header: Whether the first line of a table contains column names. By default this is decided
            by comparing it with the rows below (`pushforward.tables.reading.csv_dialect`); `check` and
            ``Dataset.header`` report the choice.
        resize: Image size in pixels, as one side, (height, width) or "HEIGHTxWIDTH". Images are
            scaled to cover this size (antialiased bicubic) and cropped at the centre.
        channels: Colour mode, "rgb" or "grey", that the images of a folder or a tar are converted
            to; transparent images are put on a background. By default images are grey if all of
            them are, RGBA if any has transparent pixels, and RGB otherwise.
        background: Colour that replaces transparency in the images of a folder or a tar, such as
            "white" or "#808080".
        limit: Maximum number of training examples, chosen by ``seed``; the held-out examples stay
            the same.
        seed: Seed that chooses the examples kept by ``limit``; 0 by default.
        labelled: True requires labels, False drops them. By default all sources keep their labels,
            except toys, which are meant for unconditional models.
        given: Columns of a ``.csv`` that condition the model instead of being generated, as a list
            or separated by commas; see `given_columns`.
        download: Whether to download a named data set that is missing.
        stream: Whether images of a folder or of packed tars stay on disk and are decoded per batch,
            with the same order and values as in memory. By default images stay on disk if they
            would take more than 4 GB.
        workers: Number of threads that decode the next batches during training, if images stay on
            disk; 1 by default. With 0, each batch is decoded when it is needed.
        progress: Function called while images are read, with the number of images read and their
            total.
        columns: Columns of a table to keep, or the names of all its columns if the file has no
            header, as a list or separated by commas.
        drop: Columns of a table to leave out, as a list or separated by commas.
        missing: Texts that denote a missing value, besides an empty cell, as a list or separated by
            commas. By default `pushforward.tables.reading.string_columns.MISSING`.
        schema: Description of a table's columns: a JSON file (`pushforward.tables.reading.schema`) or
            its content.
        constraints: Comparisons that hold for every row and every sample of a table, such as
            ``["end >= start"]``; see `pushforward.tables.constraints.Constraint`.
        table: True reads a ``.csv`` of plain numbers as a table, False as vectors.
        copies: "together" keeps equal rows of a table on one side of the split, "apart" splits each
            row independently, as for a survey. The default is "apart" if more than 5 % of the rows
            repeat and no column is a date or an open number. A resumed run keeps its setting.
        rare: Treatment of texts in a table that at most one training row has. "replace", the
            default, replaces each by another text of its column, drawn by ``seed``; "keep" learns
            them. A resumed run keeps its setting.
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
    """Read data and split it into training and held-out examples.

    The content of an example decides whether it is held out (`held_out_indices`). Columns of a
    table that are left out because of their content cause a warning.

    Args:
        name_or_path: Name (see `names`); path of an image folder, of packed images
            (`pushforward.data.pack`), or of a ``.tar``, ``.npz``, ``.npy``, ``.csv`` or other
            table; or data frame of pandas or polars. Names take precedence: write ``./digits`` for
            a folder with that name.
        options: Options of `LoadOptions`. All sources support limit, seed, labelled, download and
            progress; images also support resize, channels, background, stream and workers; tables
            also support target, header, given, columns, drop, missing, schema, constraints, table,
            copies and rare.

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
        data: Dataset = at("tables.reading.reader:frame_dataset")(name_or_path, reading_of(options))
        return data
    if not isinstance(name_or_path, (str, os.PathLike)):
        kind = type(name_or_path).__name__
        raise UsageError(
            'Expected a name, a path or a data frame, such as "digits" or "./photos"; got a '
            f"{kind}. Use pf.data.from_arrays(x, labels) for arrays and tensors, and "
            "pf.data.dataset_of(examples) for data sets of other libraries."
        )
    text = os.fspath(name_or_path)
    known = SETS
    reading = reading_of(options)
    check_there(text)
    if text in known:
        data = known[text].dataset(reading)
    else:
        data = readers.read(Path(text).expanduser(), reading)
    labelled = options.get("labelled")
    if labelled and not data.space.classes:
        raise UsageError(
            f"{text} has no labels. Leave out `labelled`, or use `target=COLUMN` to name the label column of a .csv file."
        )
    # paths are kept whole, so that a run finds its data again from another folder
    name = text if text in known else str(Path(text).expanduser().resolve())
    if reading.given:
        data = given_columns(data, reading.given)
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
    data = dataclasses.replace(
        data, origin={name: value for name, value in origin.items() if value is not None}
    )
    if labelled is None:
        labelled = text not in known or known[text].labelled
    if labelled:
        return data
    return data.without_labels()


def reading_of(options: LoadOptions) -> Reading:
    """Check the options of `load` and return them as a `Reading`."""
    target = options.get("target")
    limit = options.get("limit")
    copies = options.get("copies")
    words = {
        name: _words(name, options.get(name)) for name in ("given", "columns", "drop", "missing")
    }
    given = tuple(filter(None, words["given"] or ()))
    if target is not None and any(column.partition(":")[0] == target for column in given):
        raise UsageError(
            f'`target` and `given` both contain "{target}". A column can be the label or a condition, not both.'
        )
    workers = whole("workers", options.get("workers", WORKERS), 0)
    for name, choices in CHOICES.items():
        value = options.get(name)
        if value is not None and value not in choices:
            raise UsageError(
                f"`{name}={value!r}` is not supported: expected one of {', '.join(choices)}."
            )
    constraints = options.get("constraints") or ()
    schema = options.get("schema")
    if schema is not None:
        schema = at("tables.reading.schema:read_schema")(schema)
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
        rare=options.get("rare") or "replace",
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
        raise UsageError(f"`{name}` must be a list of strings; got {value!r:.60}.")
    return tuple(words)


def check_there(text: str) -> None:
    """Refuse text that is neither the name of a data set nor an existing path, without reading anything.

    Raises:
        UsageError: If the name is unknown.
        DataError: If the path does not exist.
    """
    if text in SETS or Path(text).expanduser().exists():
        return
    if os.sep in text or Path(text).suffix:
        parent = Path(text).expanduser().parent
        near = [path.name for path in parent.iterdir()] if parent.is_dir() else []
        raise DataError(f"There is no file or folder {text}.{did_you_mean(Path(text).name, near)}")
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
            f"`background={background}` is not a colour: expected a name or a hex code, such as white or #808080."
        ) from None


def _size(resize: int | tuple[int, int] | str | None) -> Size | None:
    if resize is None:
        return None
    words = str(resize).strip("()[]").replace(",", "x").split("x")
    sides = [int(word) for word in words if word.strip().isdecimal()]
    if len(sides) != len(words) or len(sides) > 2 or not all(1 <= side <= 4096 for side in sides):
        raise UsageError(
            f"`resize={resize}` is not an image size: expected 1 to 4096 pixels per side, as N, (height, width) or HEIGHTxWIDTH."
        )
    return sides[0], sides[-1]


DataLike = Any
"Data that `pushforward.fit` accepts; see `dataset_of`."


def dataset_of(data: DataLike, **options: Unpack[LoadOptions]) -> Dataset:
    """Create a data set from any supported form of data.

    Args:
        data: A `Dataset`; a name, path or data frame, as for `load`; or arrays, tensors, or data
            sets of PyTorch and Hugging Face (`pushforward.data.core.examples.from_examples`).
        options: Options of `load`, for names, paths and data frames.

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
    if is_frame(found):
        return load(found, **options)
    return found
