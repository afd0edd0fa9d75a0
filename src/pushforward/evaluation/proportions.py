"""Classes in proportion: how they are drawn for scores, so that no score depends on which classes came more often by chance."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward.conditions.label import Label
from pushforward.data.dataset import Dataset, Split
from pushforward.denoiser import Condition
from pushforward.transports import Transport

__all__ = ["IN_PROPORTION", "in_proportion", "labels_for"]

IN_PROPORTION = "in proportion"
"""How classes are drawn, as a protocol names it."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it modulo 1 fill the unit interval evenly: any stretch of them does."""


def labels_for(transport: Transport, data: Dataset, n: int, seed: int) -> Condition:
    """Labels of n samples in proportion to the training examples', within about two of each class; None without labels.

    They are the same for every model, and the label of sample i comes from ``seed + i`` alone.
    """
    own, label = transport.space.label, data.space.label
    if own is None or label is None or not label.frequencies or own.channels != label.channels:
        return None
    places = torch.from_numpy((seed + np.arange(n)) * GOLDEN % 1)
    return {"label": label.draw(places, places)}


def in_proportion(
    examples: NDArray[np.int64], split: Split, label: Label | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Numbers of a split's examples in an order by chance, of which the first n have classes in proportion, whatever n is."""
    order = random.permutation(examples)
    if label is None or split.labels is None or not label.frequencies:
        return order
    own = split.labels[order]
    by_class = np.argsort(own, kind="stable")
    rank = np.empty(len(own))
    rank[by_class] = np.arange(len(own)) - np.searchsorted(own[by_class], own[by_class])
    shares, start = np.maximum(label.frequencies, 1e-12), random.random(len(label.frequencies))
    return order[np.argsort((rank + start[own]) / shares[own], kind="stable")]
