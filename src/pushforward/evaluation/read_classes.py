"""The classes of samples and of held-out examples, for metrics that compare them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward.data.dataset import Dataset, Split
from pushforward.evaluation.features import Features
from pushforward.evaluation.naming import Choice
from pushforward.extractors.classifier import EXAMPLES

__all__ = ["class_fields", "classes_of", "reads_classes"]


def reads_classes(choice: Choice, dataset: Dataset, features: Features) -> bool:
    """Whether a metric wants classes (``reads_classes``), and a classifier and labels give them."""
    wanted = any(getattr(metric, "reads_classes", False) for metric, _ in choice)
    return wanted and features.classifies and dataset.held_out.labels is not None


def classes_of(split: Split, index: np.ndarray, features: Features) -> np.ndarray:
    """The class of examples as the classifier reads it, int64, one for each of ``index``."""
    parts = [index[start : start + EXAMPLES] for start in range(0, len(index), EXAMPLES)]
    return np.concatenate([features.classify(split.data_units(part)) for part in parts])


def class_fields(generated: np.ndarray, dataset: Dataset, reference: np.ndarray) -> dict[str, Any]:
    """The fields of `pushforward.metrics.Samples` that hold classes.

    Args:
        generated: The class of each generated example, (n,).
        dataset: With labels.
        reference: Numbers of the held-out examples that are compared.
    """
    labels = dataset.held_out.labels
    assert labels is not None, "reads_classes says whether there are labels"
    return {"generated_classes": generated, "reference_classes": labels[reference], "classes": len(dataset.space.classes)}
