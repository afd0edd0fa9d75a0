"""Samples beside the training examples that are nearest to them: is it new, or is it a copy?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset, TableSpace
from pushforward.errors import UsageError
from pushforward.evaluation.features import quantised
from pushforward.evaluation.rows import Raw
from pushforward.metrics.memorisation import near_copies

BLOCK = 1024
"""Training examples that are compared at a time."""
SPARE = 4
"""More candidates than asked for, since the search by a matrix product is not exact to the last digits."""


@dataclass(frozen=True)
class Nearest:
    """Samples and their nearest training examples.

    Args:
        x: The samples, (n, *shape), data units, rounded as files hold them.
        examples: Numbers of the nearest training examples, int64 (n, k), the nearest first.
        distances: Theirs, float64 (n, k): Euclidean, in standard deviations of the data.
        copies: Which samples are near-copies, bool (n,): no farther from a training example than the threshold.
        threshold: A quarter of the median distance from held-out examples to their nearest training examples; 0 where more than
            half of them are copies of training examples.
    """

    x: Tensor
    examples: np.ndarray
    distances: np.ndarray
    copies: np.ndarray
    threshold: float


def nearest(x: Tensor, data: Dataset, k: int = 1) -> Nearest:
    """Find the training examples nearest to samples, by the distance with which an evaluation counts near-copies.

    Args:
        x: Samples in data units, (n, *shape), n at least 1.
        data: The data set that the model was trained on.
        k: How many examples for each sample; equally near ones come in their order in the data.

    Returns:
        Numbers, distances and near-copies.

    Raises:
        UsageError: If k is less than 1, or more than there are training examples.
        Diverged: If samples are not finite.
    """
    if not 1 <= k <= len(data.train):
        raise UsageError(f"`k` must be from 1 to {len(data.train)}, the number of training examples; got {k}.")
    samples, raw = quantised(x, data.space), Raw(data)
    points = raw.of(samples, data.space.values(x) if isinstance(data.space, TableSpace) else None)
    held_out = (
        raw.at(data.held_out, slice(None))
        if isinstance(data.space, TableSpace)
        else data.held_out.x.reshape(len(data.held_out), -1)
    )
    scale = np.ones(points.shape[1], np.float32) if raw.scale is None else raw.scale
    copies, threshold = near_copies(points, raw.training, held_out, scale)
    examples, distances = nearest_examples(torch.from_numpy(points) / torch.from_numpy(scale), data, k, scale)
    return Nearest(samples, examples, distances, copies, threshold)


def nearest_examples(samples: Tensor, data: Dataset, k: int, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest training examples of each sample: found by a matrix product, measured by the difference.

    Args:
        samples: (n, d), as `pushforward.evaluation.rows.Raw` has them, over ``scale``.
        data: Its training split is searched.
        k: How many.
        scale: What each column is divided by, (d,).

    Returns:
        Their numbers and distances, (n, k), the nearest first.
    """
    unit, candidates, raw = torch.from_numpy(scale), min(k + SPARE, len(data.train)), Raw(data)
    squares, at = torch.empty(len(samples), 0), torch.empty(len(samples), 0, dtype=torch.int64)
    for start in range(0, len(data.train), BLOCK):
        examples = torch.from_numpy(raw.at(data.train, slice(start, start + BLOCK))) / unit
        squares = torch.cat([squares, examples.square().sum(1) - 2 * samples @ examples.T], 1)
        at = torch.cat([at, torch.arange(start, start + len(examples)).expand(len(samples), -1)], 1)
        squares, best = squares.topk(min(candidates, squares.shape[1]), largest=False)
        at = at.gather(1, best)
    at = at.sort(1).values
    distances = torch.stack([_distances(sample, raw, where, unit) for sample, where in zip(samples, at, strict=True)])
    distances, order = distances.sort(dim=1, stable=True)
    return at.gather(1, order)[:, :k].numpy(), distances[:, :k].numpy()


def _distances(sample: Tensor, raw: Raw, where: Tensor, unit: Tensor) -> Tensor:
    examples = torch.from_numpy(raw.at(raw.dataset.train, where.numpy())) / unit
    distances: Tensor = torch.linalg.vector_norm((examples - sample).double(), dim=1)
    return distances
