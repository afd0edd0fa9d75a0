"""The last layer of a critic: features and label to one number."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pushforward.networks.checks import count, positive
from pushforward.networks.embedding import Condition, Conditioning

__all__ = ["ProjectionHead"]


class ProjectionHead(nn.Module):
    """Features phi to the score <w, phi> + b, and with labels <w, phi> + b + <e(label), phi>.

    The label speaks through the projection of the features onto its embedding e alone; rows without a label have a learned
    null embedding.

    Args:
        width: Number of features.
        classes: Number of classes; 0 for none.

    Raises:
        UsageError: A size is out of range.

    References:
        Miyato and Koyama, cGANs with Projection Discriminator, 2018, equation 4.
    """

    def __init__(self, width: int, classes: int = 0) -> None:
        super().__init__()
        positive(width=width)
        count(classes=classes)
        self.width = width
        self.classes = classes
        self.linear = nn.Linear(width, 1)
        self.conditioning = Conditioning(width, classes=classes, times=0)

    def forward(self, features: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Apply.

        Args:
            features: (n, width).
            t: None: a critic knows no time.
            condition: None, or {"label": int64 (n,), optionally "null": bool (n,)}.

        Returns:
            (n,), in float32 at least.

        Raises:
            UsageError: A time or label is unexpected or of the wrong shape.
        """
        label = self.conditioning(features.shape[0], features.device, t, condition)
        weight = self.linear.weight if label is None else self.linear.weight + label / math.sqrt(self.width)
        # Products and sums keep float32 under autocast, where a linear layer would round the score to three digits.
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return (features * weight).sum(1) + self.linear.bias
