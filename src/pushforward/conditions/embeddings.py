"""Values of conditions as vectors that networks learn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# of the sines and cosines of a standardised value, in radians: slow ones, whose extrapolation stays smooth
FREQUENCIES = (0.5, 1.0, 2.0)


class LabelEmbedding(nn.Module):
    """Embedding of labels: one learned vector per class and a null vector.

    Args:
        classes: Number of classes.
        width: Length of the embedding, at least 1.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.width = width
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=1 / math.sqrt(width))

    def forward(self, values: Tensor, null: Tensor | None = None) -> Tensor:
        """Compute embeddings.

        Args:
            values: Label numbers (n,).
            null: bool (n,), True for examples without a label.

        Returns:
            (n, width).
        """
        label = values.to(torch.int64)
        return self.table(label if null is None else torch.where(null, self.classes, label))


class NumbersEmbedding(nn.Module):
    """Embedding of numbers: standardised values with their sines and cosines, two linear layers, and a learned null vector.

    Args:
        mean: Mean of each of k numbers.
        std: Standard deviation of each number, above 0.
        width: Length of the embedding, at least 1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], width: int) -> None:
        super().__init__()
        self.mean, self.std, self.width = tuple(mean), tuple(std), width
        hidden = max(32, width)
        self.inner = nn.Linear(len(self.mean) * (1 + 2 * len(FREQUENCIES)), hidden)
        self.outer = nn.Linear(hidden, width)
        nn.init.normal_(self.outer.weight, std=math.sqrt(3 / (hidden * width)))
        self.null = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, values: Tensor, null: Tensor | None = None) -> Tensor:
        """Compute embeddings.

        Args:
            values: Values (n, k), in their own units.
            null: bool (n,), True for examples without values.

        Returns:
            (n, width).
        """
        like = values.to(self.inner.weight.dtype)
        mean, std = (
            torch.tensor(part, dtype=like.dtype, device=like.device)
            for part in (self.mean, self.std)
        )
        u = (like - mean) / std
        angles = [u * frequency for frequency in FREQUENCIES]
        features = torch.cat(
            [u, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))], dim=1
        )
        vector = self.outer(F.silu(self.inner(features)))
        if null is None:
            return vector
        return torch.where(null[:, None], self.null.to(vector.dtype), vector)
