"""Images that torchvision downloads: MNIST, Fashion-MNIST and CIFAR-10.

Files of the first two that are there are read without torchvision, which takes seconds to import.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.dataset import Split
from pushforward.data.core.named_set import Source, folder
from pushforward.data.readers.idx import idx_array
from pushforward.errors import DataError

_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _read(name: str, kind: str, download: bool) -> tuple[Split, Split]:
    splits = []
    for train in (True, False):
        try:
            x, labels = _stored(folder() / kind / "raw", train) or _fetched(kind, train, download)
        except Exception as error:  # a download or a damaged file may raise anything
            what = "could not be downloaded to" if download else "was not found in"
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{name} {what} {folder()} ({reason}). Set PUSHFORWARD_DATA to the folder that "
                "contains it, or download it once with `download=True`."
            ) from error
        x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
        splits.append(Split(np.ascontiguousarray(x), labels))
    return splits[0], splits[1]


def _fetched(kind: str, train: bool, download: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from torchvision import datasets

    with contextlib.redirect_stdout(sys.stderr):
        data = getattr(datasets, kind)(str(folder()), train=train, download=download)
    return np.asarray(data.data), np.asarray(data.targets, dtype=np.int64)


def _stored(raw: Path, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    images, labels, *others = (
        raw / f"{split}-{what}-ubyte"
        for split in ("train", "t10k")[:: 1 if train else -1]
        for what in ("images-idx3", "labels-idx1")
    )
    if not all(file.is_file() for file in (images, labels, *others)):
        return None
    return idx_array(images, 3), idx_array(labels, 1).astype(np.int64)


def _set(name: str, kind: str, what: str, shape: tuple[int, ...], n: int, classes: tuple[str, ...]) -> Source:
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
