"""Classification accuracy score: train on samples alone, test on real examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.core.dataset import Split
from pushforward.data.core.keys import permutation
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.features import quantised
from pushforward.extractors.classifier import SEEN, accuracy, named, train_classifier
from pushforward.extractors.labels import labelled
from pushforward.metrics.uncertainty import Errors, share_error

__all__ = ["accuracy_errors", "check_labelled", "classification_accuracy", "real_accuracy"]

PARTS, FEWEST = 5, 10
"""Of the error over new samples: the parts of them that train a classifier each, and the samples of a part at least."""


def classification_accuracy(x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> float:
    """The accuracy on held-out examples of a classifier that is trained on samples alone.

    Args:
        x: Samples in data units, (n, *shape); images are rounded as files hold them.
        labels: The class that each was asked to be, int64 (n,).
        data: Its held-out examples are the test, and its classes those of the labels.

    Raises:
        DataError: If the data has no labels, or held-out ones without any.
        UsageError: If there are not as many labels as samples, or fewer than two.
        Diverged: If samples are not finite.

    References:
        Ravuri and Vinyals, Classification accuracy score for conditional generative models, 2019,
        arXiv:1905.10887.
    """
    check_labelled(data)
    if len(x) != len(labels) or len(x) < 2:
        raise UsageError(f"Expected a label for each of at least two samples, got {len(labels)} labels for {len(x)} samples.")
    return accuracy(train_classifier(_taught(x, labels, data)), data.space, data.held_out)


def _taught(x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> Dataset:
    """The data set with samples in place of its training examples."""
    examples, levels = quantised(x, data.space), data.space.levels
    stored = examples.numpy() if levels is None else (examples * (levels - 1)).round().to(torch.uint8).numpy()
    return replace(data, train=Split(stored, np.asarray(labels, np.int64)))


def accuracy_errors(value: float, x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset) -> Errors | None:
    """The standard error of a classification accuracy score over new samples and held-out examples, and over the latter alone.

    Held-out examples are independent given the classifier, so theirs is that of a share. That of the samples comes from
    classifiers that fifths of them train: the variance of their accuracies, less what these few held-out examples add to it, is
    that of a fifth of the samples; that of all is a fifth of it, or less, as it falls at least like 1/n.

    Args:
        value: The accuracy.
        x: As for `classification_accuracy`.
        labels: Likewise.
        data: Likewise.

    Returns:
        None for fewer than 50 samples.

    References:
        Scheffé, The Analysis of Variance, 1959, chapter 7: two ways, of which both are drawn.
    """
    n, m = len(labels), len(data.held_out)
    if n < PARTS * FEWEST:
        return None
    samples, order = _taught(x, labels, data), permutation(n, 0)
    parts = (train_classifier(samples, order[at::PARTS], seen=SEEN // PARTS) for at in range(PARTS))
    right = np.stack([named(part, data.space, data.held_out) for part in parts]).astype(np.float64)
    accuracies = right.mean(1)
    together = right - right.mean(0) - accuracies[:, None] + right.mean()
    of_few = float((together**2).sum()) / ((PARTS - 1) * max(m - 1, 1)) / m
    of_samples = max(0.0, float(np.var(accuracies, ddof=1)) - of_few) / PARTS
    of_held_out = share_error(value * m, m)
    return math.hypot(of_held_out, math.sqrt(of_samples)), of_held_out


def real_accuracy(data: Dataset, n: int) -> float:
    """The same of a classifier that n real training examples train: what perfect samples reach.

    Args:
        data: With labels.
        n: How many of the training examples, from 2; they are drawn by a fixed permutation.

    Raises:
        DataError: If the data has no labels.
        UsageError: If there are fewer training examples.
    """
    check_labelled(data)
    if not 2 <= n <= len(data.train):
        raise UsageError(f"`n` must be from 2 to {len(data.train)}, the training examples of {data.name}; got {n}.")
    return accuracy(train_classifier(data, permutation(len(data.train), 0)[:n]), data.space, data.held_out)


def check_labelled(data: Dataset) -> None:
    """Refuse data in which there is nothing to classify.

    Raises:
        DataError: Saying so.
    """
    if not labelled(data) or data.held_out.labels is None:
        raise DataError(f"cas: {data.name} has no labels of two classes or more, which a classification accuracy score needs.")
