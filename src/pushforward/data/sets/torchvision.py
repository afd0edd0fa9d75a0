"""Images that torchvision fetches: MNIST, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

import contextlib
import sys

import numpy as np

from pushforward.data.dataset import Split
from pushforward.data.source import Source, folder
from pushforward.errors import DataError

__all__ = ["MNIST", "SETS"]

_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _read(name: str, kind: str, download: bool) -> tuple[Split, Split]:
    from torchvision import datasets

    splits = []
    for train in (True, False):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                data = getattr(datasets, kind)(str(folder()), train=train, download=download)
            x, labels = np.asarray(data.data), np.asarray(data.targets, dtype=np.int64)
        except Exception as error:  # a download or a damaged file may raise anything
            raise _not_there(name, download, error) from error
        x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
        splits.append(Split(np.ascontiguousarray(x), labels))
    return splits[0], splits[1]


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
