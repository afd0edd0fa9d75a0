"""Handwritten digits included in scikit-learn."""

from __future__ import annotations

import numpy as np

from pushforward.data.core.dataset import Split
from pushforward.data.core.named_set import Source, whole_numbers


def _read(download: bool) -> tuple[Split, None]:
    rows = whole_numbers("sklearn", "datasets/data/digits.csv.gz")
    if rows is None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        rows = np.column_stack([digits.data, digits.target]).astype(np.int64)
    pixels = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8)
    return Split(pixels.reshape(-1, 1, 8, 8), rows[:, 64].copy()), None


DIGITS = Source(
    name="digits",
    what="handwritten digits, included in scikit-learn",
    shape=(1, 8, 8),
    counts=(1437, 360),
    read=_read,
    classes=tuple("0123456789"),
    held_out=360,
)
