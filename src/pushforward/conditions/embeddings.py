"""Values of conditions as vectors that networks learn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Frequencies in radians of a standardised value: slow ones, whose extrapolation stays smooth
FREQUENCIES = (0.5, 1.0, 2.0)


class LabelEmbedding(nn.Module):
    """Embedding of labels: one learned vector per class and a null vector."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.width = width
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=1 / math.sqrt(width))

    def forward(self, values: Tensor, null: Tensor | None = None) -> Tensor:
        label = values.to(torch.int64)
        if null is not None:
            label = torch.where(null, self.classes, label)
        return self.table(label)


class NumbersEmbedding(nn.Module):
    """Embedding of numbers: standardised values with sines and cosines, and a null vector."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], width: int) -> None:
        super().__init__()
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.width = width
        hidden = max(32, width)
        features = len(self.mean) * (1 + 2 * len(FREQUENCIES))
        self.inner = nn.Linear(features, hidden)
        self.outer = nn.Linear(hidden, width)
        nn.init.normal_(self.outer.weight, std=math.sqrt(3 / (hidden * width)))
        self.null = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def forward(self, values: Tensor, null: Tensor | None = None) -> Tensor:
        values = values.to(self.inner.weight.dtype)
        mean = values.new_tensor(self.mean)
        std = values.new_tensor(self.std)
        u = (values - mean) / std
        parts = [u]
        for frequency in FREQUENCIES:
            angle = u * frequency
            parts += [angle.sin(), angle.cos()]
        vector = self.outer(F.silu(self.inner(torch.cat(parts, dim=1))))
        if null is None:
            return vector
        return torch.where(null[:, None], self.null.to(vector.dtype), vector)
