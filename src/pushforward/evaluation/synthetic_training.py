"""Classification accuracy score: train on samples alone, test on real examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.dataset import Split
from pushforward.data.keys import permutation
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.features import quantised
from pushforward.extractors.classifier import accuracy, train_classifier
from pushforward.extractors.labels import labelled
from pushforward.metrics.uncertainty import Errors, share_error

__all__ = ["accuracy_errors", "check_labelled", "classification_accuracy", "real_accuracy"]

TAUGHT = 3.1
"""The variance of a classifier's true accuracy over new samples to learn from, times their number, over that of a single answer.
It depends on the samples: .1 for Gaussian classes in 2 and 8 dimensions, .2 and .5 for 300 and 100 digits, 3.1 for 300 digits of
which 30 % have wrong labels (12 to 14 trainings each). This is the largest; intervals of good samples are too wide."""


def classification_accuracy(x: Tensor | np.ndarray, labels: np.ndarray, data: Dataset, seed: int = 0) -> float:
    """The accuracy on held-out examples of a classifier that is trained on samples alone.

    Args:
        x: Samples in data units, (n, *shape); images are rounded as files hold them.
        labels: The class that each was asked to be, int64 (n,).
        data: Its held-out examples are the test, and its classes those of the labels.
        seed: Of the classifier.

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
    examples, levels = quantised(x, data.space), data.space.levels
    stored = examples.numpy() if levels is None else (examples * (levels - 1)).round().to(torch.uint8).numpy()
    samples = replace(data, train=Split(stored, np.asarray(labels, np.int64)))
    return accuracy(train_classifier(samples, seed=seed), data.space, data.held_out)


def accuracy_errors(value: float, n: int, m: int) -> Errors:
    """The standard error of a classification accuracy score over new samples and held-out examples, and over the latter alone.

    Held-out examples are independent given the classifier, so theirs is that of a share. That of the samples is measured
    (`TAUGHT`).

    Args:
        value: The accuracy.
        n: Samples that the classifier was trained on.
        m: Held-out examples.
    """
    of_held_out = share_error(value * m, m)
    return math.hypot(of_held_out, math.sqrt(TAUGHT) * share_error(value * n, n)), of_held_out


def real_accuracy(data: Dataset, n: int, seed: int = 0) -> float:
    """The same of a classifier that n real training examples train: what perfect samples reach.

    Args:
        data: With labels.
        n: How many of the training examples, from 2; they are drawn by a fixed permutation.
        seed: Of the classifier.

    Raises:
        DataError: If the data has no labels.
        UsageError: If there are fewer training examples.
    """
    check_labelled(data)
    if not 2 <= n <= len(data.train):
        raise UsageError(f"n must be from 2 to {len(data.train)}, the training examples of {data.name}; got {n}.")
    return accuracy(train_classifier(data, permutation(len(data.train), 0)[:n], seed), data.space, data.held_out)


def check_labelled(data: Dataset) -> None:
    """Refuse data in which there is nothing to classify.

    Raises:
        DataError: Saying so.
    """
    if not labelled(data) or data.held_out.labels is None:
        raise DataError(f"{data.name} has no labels of two classes or more, which a classification accuracy score needs.")
