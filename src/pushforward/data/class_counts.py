"""How many examples of each class lie on either side of the split, and which classes have too few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pushforward.data.tables.faults import some

if TYPE_CHECKING:
    from pushforward.data.dataset import Dataset, Split

__all__ = ["FEW", "class_counts", "rare_classes"]

FEW = 20
"""Training examples of a class below which a model can hardly learn the class."""
NAMED = 12


def class_counts(data: Dataset) -> dict[str, tuple[int, int]]:
    """The training and the held-out examples of each class; empty for data without labels."""
    sides = [_counts(split, len(data.space.classes)) for split in (data.train, data.held_out)]
    return dict(zip(data.space.classes, zip(*sides, strict=True), strict=True))


def _counts(split: Split, classes: int) -> list[int]:
    labels = np.zeros(0, dtype=np.int64) if split.labels is None else split.labels
    return [int(count) for count in np.bincount(labels, minlength=classes)[:classes]]


def rare_classes(data: Dataset) -> tuple[str, ...]:
    """Warnings about classes with few training examples, or with none on one side, in sentences; usually none."""
    counts = class_counts(data)
    few = [f"{name} ({train})" for name, (train, _) in counts.items() if train < FEW]
    unseen = [name for name, (_, held_out) in counts.items() if not held_out]
    sentences = []
    if few:
        sentences.append(
            f"fewer than {FEW} training examples of {some(few, NAMED)}: samples of such a class will be poor. Add examples, or "
            "leave the class out."
        )
    if unseen:
        sentences.append(f"no held-out examples of {some(unseen, NAMED)}: scores say nothing of such a class. Add examples.")
    return tuple(sentences)
