"""Images that torchvision downloads: MNIST, Fashion-MNIST and CIFAR-10.

Files of the first two that are there are read without torchvision, which takes seconds to import.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np

from pushforward.data.core.dataset import Split
from pushforward.data.core.named_set import Source, folder
from pushforward.data.readers.idx import idx_array
from pushforward.errors import DataError

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
        return _stored(folder() / kind / "raw") or (
            _fetched(kind, True, download),
            _fetched(kind, False, download),
        )
    except Exception as error:  # a download or a damaged file may raise anything
        what = "could not be downloaded to" if download else "was not found in"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{name} {what} {folder()} ({reason}). Set PUSHFORWARD_DATA to the folder that "
            "contains it, or download it once with `download=True`."
        ) from error


def _fetched(kind: str, train: bool, download: bool) -> Split:
    from torchvision import datasets

    with contextlib.redirect_stdout(sys.stderr):
        data = getattr(datasets, kind)(str(folder()), train=train, download=download)
    x = np.asarray(data.data)
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
    return Split(np.ascontiguousarray(x), np.asarray(data.targets, dtype=np.int64))


def _stored(raw: Path) -> tuple[Split, Split] | None:
    files = [
        raw / f"{split}-{what}-ubyte"
        for split in ("train", "t10k")
        for what in ("images-idx3", "labels-idx1")
    ]
    if not all(file.is_file() for file in files):
        return None
    x, labels, x_test, labels_test = (
        idx_array(file, dimensions) for file, dimensions in zip(files, (3, 1, 3, 1), strict=True)
    )
    return Split(x[:, None], labels.astype(np.int64)), Split(
        x_test[:, None], labels_test.astype(np.int64)
    )


def _set(
    name: str, kind: str, what: str, shape: tuple[int, ...], n: int, classes: tuple[str, ...]
) -> Source:
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
