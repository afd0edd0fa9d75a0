"""The last layer of a critic: features and label to one number."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pushforward.networks.checks import positive
from pushforward.networks.embedding import Condition, Conditioning, Kinds, kinds_of


class ProjectionHead(nn.Module):
    """Features phi to the score <w, phi> + b, and with conditions c <w, phi> + b + <e(c), phi>.

    Conditions enter through the projection of the features onto their embedding e alone (a label's, numbers', or the sum of
    several); examples without have a learned null embedding.

    Args:
        width: Number of features.
        conditions: Kinds of condition by name; None for an unconditional network.

    References:
        Miyato and Koyama, cGANs with Projection Discriminator, 2018, equation 4.
    """

    def __init__(self, width: int, conditions: Kinds = None) -> None:
        super().__init__()
        positive(width=width)
        self.width = width
        self.conditions = kinds_of(conditions)
        self.linear = nn.Linear(width, 1)
        self.conditioning = Conditioning(width, conditions=self.conditions, times=0)

    def forward(self, features: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,), float32 at least, of features (n, width)."""
        label = self.conditioning(features.shape[0], features.device, t, condition)
        weight = self.linear.weight if label is None else self.linear.weight + label / math.sqrt(self.width)
        # Products and sums keep float32 under autocast, where a linear layer would round the score to three digits.
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return (features * weight).sum(1) + self.linear.bias
