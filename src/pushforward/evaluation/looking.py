"""Looking into a latent space: reconstructions, walks from row to row, arithmetic between groups, and maps of the codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.edits import walk
from pushforward.errors import UsageError
from pushforward.evaluation.codes import chosen, encoded, reconstructed
from pushforward.transports import Autoencoder

__all__ = ["Map2D", "arithmetic", "code_map", "strip", "walk"]

MAPPED = 2000
"""Held-out rows on a map at most."""
GROUP = 500
"""Training rows of a class whose codes are averaged, at most."""


def strip(autoencoder: Autoencoder, data: Dataset, n: int = 10, seed: int = 0) -> Tensor:
    """Held-out rows, and below them their reconstructions.

    Returns:
        Data units, float32 (2, n, *shape).
    """
    x, condition = chosen(data.held_out, min(n, len(data.held_out)), bool(autoencoder.space.classes), seed)
    return torch.stack([x, reconstructed(autoencoder, x, condition)])


def arithmetic(autoencoder: Autoencoder, data: Dataset, a: int, b: int, rows: int = 6, frames: int = 7) -> Tensor:
    """Rows of one group moved by what tells another group from it: code + s (mean code of b - mean code of a), s from 0 to 1.5.

    The means are of training rows, the rows held out.

    Args:
        autoencoder: One without labels: with them, what tells the groups apart is not in the code.
        data: Labelled.
        a: The label of the rows.
        b: The label that they are moved towards.
        rows: How many.
        frames: Steps of each.

    Returns:
        Data units, float32 (rows, frames, *shape).

    Raises:
        UsageError: For data without labels, an autoencoder that is told them, or a group without rows.
    """
    if data.held_out.labels is None or data.train.labels is None:
        raise UsageError(f"{data.name} has no labels, so there are no groups to tell apart.")
    if autoencoder.space.classes:
        raise UsageError(
            "This autoencoder is told the labels, so its codes need not hold what tells the groups apart. Train one without "
            "labels: `labelled=False`."
        )
    space, where = autoencoder.space, autoencoder.device
    means = []
    for group in (a, b):
        picked = np.flatnonzero(data.train.labels == group)[:GROUP]
        if not len(picked):
            raise UsageError(f"There are no training rows of the group {data.space.classes[group]}.")
        with torch.no_grad():
            means.append(autoencoder.encode(space.to_model(data.train.data_units(picked).to(where))).mean(0))
    held = np.flatnonzero(data.held_out.labels == a)[:rows]
    if not len(held):
        raise UsageError(f"There are no held-out rows of the group {data.space.classes[a]}.")
    with torch.no_grad():
        codes = autoencoder.encode(space.to_model(data.held_out.data_units(held).to(where)))
        share = torch.linspace(0, 1.5, frames, device=where).reshape(1, -1, *(1,) * (codes.dim() - 1))
        moved = codes[:, None] + share * (means[1] - means[0])
        made = space.to_data(autoencoder.decode(moved.flatten(0, 1))).float().cpu()
    return made.unflatten(0, (len(held), frames))


@dataclass(frozen=True)
class Map2D:
    """Codes as points in the plane.

    Args:
        points: (n, 2): the codes themselves where they have two numbers, else their first two principal axes.
        labels: int64 (n,), or None.
        share: The share of the codes' variance that the plane holds.
    """

    points: np.ndarray
    labels: np.ndarray | None
    share: float


def code_map(autoencoder: Autoencoder, data: Dataset, n: int = MAPPED) -> Map2D | None:
    """Where held-out rows lie in the latent space; None for codes of a single number, which span no plane."""
    x, labels = chosen(data.held_out, min(n, len(data.held_out)), labelled=True)
    codes = encoded(autoencoder, x, labels if autoencoder.space.classes else None).flatten(1).numpy()
    if codes.shape[1] < 2:
        return None
    centred = codes - codes.mean(0)
    points, share = codes, 1.0
    if codes.shape[1] > 2:
        _, size, axes = np.linalg.svd(centred, full_matrices=False)
        points = centred @ axes[:2].T
        share = float((size[:2] ** 2).sum() / max(float((size**2).sum()), 1e-300))
    return Map2D(points, None if labels is None else labels["label"].numpy(), share)
