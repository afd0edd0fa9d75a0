"""Bits per dimension without a model: of a uniform guess where values are levels, of a Gaussian where they have a density."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from pushforward.data import Dataset
from pushforward.evaluation.baseline import GaussianBaseline
from pushforward.likelihood import bits_per_dim

__all__ = ["guess", "levels_of"]


def guess(data: Dataset, n: int, *, discrete: bool = False, labelled: bool = False) -> dict[str, Any] | None:
    """What held-out rows cost without a model, which a model has to beat.

    Args:
        data: The data set.
        n: Its first n held-out rows are those that the model was measured on.
        discrete: Whether the model gives probabilities to values that are no images, as a decoder of zeros and ones does.
        labelled: Whether the model is given the labels.

    Returns:
        name, mean (bits per dimension) and spread (standard error over rows; None for a uniform guess, which is the same for all
        rows); None for vectors whose covariance is singular.
    """
    if data.space.kind == "image" or (discrete and data.space.binary):
        levels = levels_of(data)
        return {"name": f"uniform guess over {levels} levels", "mean": math.log2(levels), "spread": None}
    known = data if labelled else data.without_labels()
    labels = known.held_out.labels
    nats = GaussianBaseline.fit(known).log_prob(
        known.held_out.data_units(np.arange(n)), None if labels is None else torch.from_numpy(labels[:n])
    )
    if nats is None:
        return None
    bits = bits_per_dim(nats, data.space)
    spread = float(bits.std() / math.sqrt(n)) if n > 1 else None
    name = "one Gaussian per class" if known.space.classes else "one Gaussian"
    return {"name": name, "mean": float(bits.mean()), "spread": spread}


def levels_of(data: Dataset) -> int:
    """How many values the numbers of a row take: those of the training rows, or all 256 where held-out rows have others."""
    if data.space.binary:
        return 2
    used, held = _values(data.train.x), _values(data.held_out.x)
    return max(2, int(used.sum())) if not (held & ~used).any() else 256


def _values(x: np.ndarray) -> np.ndarray:
    """Which of the 256 levels occur in images, bool (256,)."""
    found = np.zeros(256, dtype=bool)
    for row in x:
        found[row.ravel()] = True
    return found
