"""Which data has labels that a classifier can learn."""

from __future__ import annotations

from pushforward.data.core.dataset import Dataset

__all__ = ["labelled"]


def labelled(dataset: Dataset) -> bool:
    """Whether there is a classifier: from two classes, and two examples in each half."""
    return dataset.train.labels is not None and len(dataset.space.classes) > 1 and len(dataset.train) > 3
