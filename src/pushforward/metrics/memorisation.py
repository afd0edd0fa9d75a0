"""Near-copies: generated rows that are training rows with a little noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pushforward.metrics.score import Samples, Score

__all__ = ["Memorisation", "near_copies", "nearest_distance"]

JUDGES = 1000
"""Held-out rows whose distance to the training rows sets the threshold."""
BLOCK = 4096
"""Training rows that are compared at a time."""
SKETCH = 32
"""Dimensions of the projection that rules out most pairs."""


def _rows(x: np.ndarray, scale: np.ndarray | None) -> Tensor:
    rows = torch.from_numpy(np.ascontiguousarray(x))
    rows = rows.float() / 255 if rows.dtype == torch.uint8 else rows.float()
    return rows if scale is None else rows / torch.as_tensor(scale, dtype=torch.float32)


def _blocks(x: np.ndarray, scale: np.ndarray | None) -> Iterator[Tensor]:
    for start in range(0, len(x), BLOCK):
        yield _rows(x[start : start + BLOCK], scale)


def _squared(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances (n, m), without the three-dimensional array; exact to about 1e-6 of the squared lengths."""
    return torch.addmm(x.square().sum(1)[:, None] + y.square().sum(1), x, y.T, alpha=-2)


def nearest_distance(x: np.ndarray, training: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    """The distance from each row of x (n, d) to its nearest training row, (n,) float64, in units of ``scale``.

    Blocks of a matrix product find the neighbour; its distance is then computed from the difference, so an exact copy is
    at exactly 0.
    """
    rows = _rows(x, scale)
    best, where = torch.full((len(rows),), torch.inf), torch.zeros(len(rows), dtype=torch.int64)
    for number, block in enumerate(_blocks(training, scale)):
        low, at = _squared(rows, block).min(1)
        closer = low < best
        best, where = torch.where(closer, low, best), torch.where(closer, at + number * BLOCK, where)
    return (rows - _rows(training[where.numpy()], scale)).double().norm(dim=1).numpy()


def near_copies(
    generated: np.ndarray, training: np.ndarray, held_out: np.ndarray, scale: np.ndarray | None = None, part: float = 0.25
) -> tuple[np.ndarray, float]:
    """Which generated rows are near-copies, (n,) bool, and the threshold.

    A near-copy is closer to a training row than ``part`` of the median distance from held-out rows to theirs.

    Args:
        generated: (n, d).
        training: (k, d), float32, or uint8 where 255 stands for 1.
        held_out: (m, d); the first 1000 are used.
        scale: What each column is divided by, (d,).
        part: Share of the median distance.
    """
    threshold = part * float(np.median(nearest_distance(held_out[:JUDGES], training, scale)))
    suspects = np.flatnonzero(_suspects(generated, training, scale, threshold))
    copies = np.zeros(len(generated), bool)
    if len(suspects):
        copies[suspects] = nearest_distance(generated[suspects], training, scale) < threshold
    return copies, threshold


def _suspects(generated: np.ndarray, training: np.ndarray, scale: np.ndarray | None, threshold: float) -> np.ndarray:
    """Rows that may be near-copies: a projection never lengthens a distance, so it can only acquit."""
    d = generated.shape[1]
    if d <= 2 * SKETCH:
        return np.ones(len(generated), bool)
    axes = _axes(training, scale)
    rows = _rows(generated, scale) @ axes
    shortest = torch.full((len(rows),), torch.inf)
    lengths = rows.square().sum(1)
    for block in _blocks(training, scale):
        there = block @ axes
        shortest = torch.minimum(shortest, _squared(rows, there).min(1).values)
    slack = 1e-5 * (1 + lengths)  # what float32 may add to a squared distance by cancellation
    return (shortest < threshold**2 + slack).numpy()


def _axes(training: np.ndarray, scale: np.ndarray | None) -> Tensor:
    """Orthonormal directions (d, SKETCH) in which the training rows vary much: any would be right, these rule out most."""
    some = _rows(training[:: max(1, len(training) // 2000)][:2000], scale)
    some = some - some.mean(0)
    mix = torch.from_numpy(np.random.Generator(np.random.Philox(0)).standard_normal((len(some), SKETCH))).float()
    axes = torch.linalg.qr(some.T @ mix).Q
    return torch.linalg.qr(some.T @ (some @ axes)).Q


class Memorisation:
    """Share of generated rows that are near-copies of training rows, by raw distance in model units.

    Args:
        part: A near-copy is closer than this share of the median distance from held-out rows to training rows.
    """

    scores: ClassVar[tuple[str, ...]] = ("near_copies",)
    about: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "near_copies": {
            "label": "Near-copies",
            "better": "lower",
            "what": "Share of samples closer to a training example than a quarter of the distance that is usual for new data.",
        }
    }

    def __init__(self, part: float = 0.25) -> None:
        self.part = part

    def applies(self, samples: Samples) -> bool:
        """Always."""
        return True

    def __call__(self, samples: Samples) -> list[Score]:
        """One score, "near_copies"; ``extra`` has the threshold."""
        copies, threshold = near_copies(samples.generated, samples.training, samples.reference, samples.scale, self.part)
        return [Score("near_copies", float(copies.mean()), "lower", extra={"threshold": threshold})]
