"""Scores that ask a model: what its samples teach a classifier, and the bits that it needs."""

from __future__ import annotations

import numpy as np
import torch

from interval_cases.clouds import RING
from pushforward.conditions import Label
from pushforward.data import Dataset, VectorSpace
from pushforward.data.core.dataset import Split
from pushforward.evaluation.model_metrics import accuracy_errors, bits, classification_accuracy
from pushforward.metrics import Score
from pushforward.paths import VP
from pushforward.solvers import Euler
from pushforward.testing.solvers import Mixture
from pushforward.transports import Flow

__all__ = ["of_classes", "of_density", "true_bits"]

WIDE = 1.2
SHIFT = 0.3
"""Standard deviation of the model's density where data has 1, and by how much the mean of the data
is beside it.
"""


def labelled(n: int, scale: float, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points around eight centres, and which of them."""
    labels = draw.integers(0, len(RING), n)
    return (RING[labels] + scale * draw.standard_normal((n, 2))).astype(np.float32), labels


def of_classes(n: int, repeat: int) -> list[dict[str, Score]]:
    """A classifier that samples taught, whose classes overlap more than those of the data."""
    draw = np.random.Generator(np.random.Philox(key=[repeat, 8]))
    names = tuple("abcdefgh")
    space = VectorSpace(
        (2,),
        (0.0, 0.0),
        (1.0, 1.0),
        conditions={"label": Label(names, (1 / len(names),) * len(names))},
    )
    held_out = Split(*labelled(n, 0.3, draw))
    x, labels = labelled(n, 0.4, draw)
    data = Dataset("points", space, held_out, held_out)
    value = classification_accuracy(torch.from_numpy(x), labels, data)
    error, shared = accuracy_errors(value, x, labels, data) or (None, None)
    return [{"cas": Score(value, error=error, reference_error=shared)}]


def of_density(n: int, repeat: int) -> list[dict[str, Score]]:
    """Bits per dimension of a model whose density is a Gaussian."""
    draw = np.random.Generator(np.random.Philox(key=[repeat, 9]))
    model = Flow(Mixture(VP(), [[0.0, 0.0]], WIDE), Euler(), 10)
    held_out = Split((SHIFT + draw.standard_normal((n, 2))).astype(np.float32))
    return [{"bpd": bits(model, Dataset("points", model.space, held_out, held_out))}]


def true_bits() -> float:
    """Bits per dimension that the model of `of_density` has in the mean."""
    return float((np.log(2 * np.pi * WIDE**2) + (1 + SHIFT**2) / WIDE**2) / (2 * np.log(2)))
