"""Counts of the 256 levels of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["level_counts"]


def level_counts(x: NDArray[np.uint8], axis: int = 1) -> NDArray[np.int64]:
    """How often each of the 256 levels occurs at each place along an axis, (places, 256)."""
    places = range(x.shape[axis])
    return np.stack([np.bincount(x.take(place, axis).ravel(), minlength=256) for place in places]).astype(np.int64)
