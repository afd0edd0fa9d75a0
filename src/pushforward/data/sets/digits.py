"""Handwritten digits that are embedded in scikit-learn."""

from __future__ import annotations

import numpy as np

from pushforward.data.dataset import Split
from pushforward.data.source import Source

__all__ = ["DIGITS"]


def _read(download: bool) -> tuple[Split, None]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Split(pixels[:, None], digits.target.astype(np.int64)), None


DIGITS = Source(
    name="digits",
    what="handwritten digits, embedded in scikit-learn",
    shape=(1, 8, 8),
    counts=(1437, 360),
    read=_read,
    classes=tuple("0123456789"),
    held_out=360,
)
