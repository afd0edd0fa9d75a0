"""A user's network of features."""

from __future__ import annotations

import torch
from torch import nn


class Means(nn.Module):
    """A user's network for examples: weighted sums of the 64 numbers of an example.

    Args:
        weight: A factor of all features.
        features: How many there are.
    """

    def __init__(self, weight: float = 1.0, features: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, features)
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, features)."""
        sums: torch.Tensor = self.weight * self.layer(x.flatten(1))
        return sums
