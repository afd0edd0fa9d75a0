"""Small critics of the features of another network, one for each depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import UsageError
from pushforward.networks.checks import positive
from pushforward.networks.embedding import Condition, Kinds, kinds_of
from pushforward.networks.projected import ScaleCritic
from pushforward.networks.unet import UNet


class FeatureHeads(nn.Module):
    """Maps of features to one score: the sum of those of a small critic for each map.

    Args:
        widths: Channels of each map.
        sides: Height or width of each map, the greater.
        hidden: Channels inside the small critics.
        conditions: Kinds of condition by name; None for an unconditional network.

    Raises:
        UsageError: A size is out of range, or there are not as many widths as sides.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, section 3.2.
    """

    def __init__(self, widths: Sequence[int], sides: Sequence[int], hidden: int = 64, conditions: Kinds = None) -> None:
        super().__init__()
        positive(hidden=hidden)
        if len(widths) != len(sides) or not widths:
            raise UsageError(f"Each map of features has a width and a side, got widths {widths} and sides {sides}.")
        self.widths, self.sides, self.hidden = tuple(widths), tuple(sides), hidden
        self.conditions = kinds_of(conditions)
        self.critics = nn.ModuleList([ScaleCritic(w, s, hidden, conditions) for w, s in zip(widths, sides, strict=True)])

    @classmethod
    def of(cls, network: UNet, hidden: int = 64) -> FeatureHeads:
        """For `UNet.features` of a network, with its conditions."""
        levels = len(network.widths) - 1
        coarsest = -(-max(network.shape[1:]) // (network.stem * 2**levels))
        sides = [coarsest * 2 ** (levels - level) for level in range(levels + 1)]
        return cls(network.widths, sides, hidden, network.conditions)

    def forward(self, features: Sequence[Tensor], t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,), float32 at least, of feature maps, each (n, width, height, width of the map)."""
        scores = [critic(h, t, condition) for critic, h in zip(self.critics, features, strict=True)]
        return torch.stack(scores).sum(0)
