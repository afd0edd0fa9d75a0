"""The classes of samples and of real examples: how they are drawn for scores, and how metrics that compare them read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward.conditions.label import Label
from pushforward.data.core.dataset import Dataset, Split
from pushforward.denoisers import Condition
from pushforward.evaluation.features import Features
from pushforward.evaluation.naming import Choice
from pushforward.extractors.classifier import EXAMPLES
from pushforward.transports import Transport

__all__ = ["class_fields", "classes_of", "in_proportion", "labels_for", "reads_classes"]

GOLDEN = (5**0.5 - 1) / 2  # multiples of it modulo 1 fill the unit interval evenly, and so does any stretch of them


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
