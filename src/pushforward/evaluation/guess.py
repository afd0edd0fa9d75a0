"""Bits per dimension without a model: of a uniform guess where values are levels, of a Gaussian where they have a density."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import torch

from pushforward.data import Dataset, TableSpace
from pushforward.evaluation.baseline import GaussianBaseline
from pushforward.evaluation.results import ModelResult
from pushforward.likelihood import bits_per_dim
from pushforward.metrics import Score

__all__ = ["guess", "levels_of"]

BLOCK = 1024
"""Examples that are read at a time."""


def guess(data: Dataset, n: int, *, discrete: bool = False, conditions: Collection[str] = ()) -> ModelResult | None:
    """What held-out examples cost without a model, which a model has to beat.

    Args:
        data: The data set.
        n: Its first n held-out examples are those that the model was measured on.
        discrete: Whether the model gives probabilities to values that are no images, as a decoder of zeros and ones does.
        conditions: Names of what the model is given.

    Returns:
        A name and the score "bpd", bits per dimension with its standard error over examples (None for a uniform guess, which is
        the same for all examples); None for vectors whose covariance is singular, for tables, and where the model is given
        more than labels, which the Gaussian is not.
    """
    if isinstance(data.space, TableSpace):
        return None
    if data.space.levels is not None or (discrete and data.space.binary):
        levels = levels_of(data)
        return ModelResult(f"uniform guess over {levels} levels", scores={"bpd": Score(math.log2(levels), n=n)})
    if set(conditions) - {"label"}:
        return None
    known = data if conditions else data.without_labels()
    labels = known.held_out.labels
    nats = GaussianBaseline.fit(known).log_prob(
        known.held_out.data_units(np.arange(n)), None if labels is None else torch.from_numpy(labels[:n])
    )
    if nats is None:
        return None
    bits = bits_per_dim(nats, data.space)
    error = float(bits.std() / math.sqrt(n)) if n > 1 else None
    name = "one Gaussian per class" if known.space.classes else "one Gaussian"
    return ModelResult(name, scores={"bpd": Score(float(bits.mean()), error, error, n=n)})


def levels_of(data: Dataset) -> int:
    """How many values a number takes: as many as in training examples, or all 256 where held-out examples have others."""
    if data.space.binary:
        return 2
    used, held = _values(data.train.x), _values(data.held_out.x)
    return max(2, int(used.sum())) if not (held & ~used).any() else 256


def _values(x: np.ndarray) -> np.ndarray:
    """Which of the 256 levels occur in images, bool (256,)."""
    present = np.zeros(256, dtype=bool)
    for start in range(0, len(x), BLOCK):
        present[np.unique(x[start : start + BLOCK])] = True
    return present
