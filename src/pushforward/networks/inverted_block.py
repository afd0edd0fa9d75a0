"""The residual block of R3GAN without normalisation, and layers that draw their weights for it."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
GROUP = 16


def convolution(inputs: int, outputs: int, size: int, *, groups: int = 1, bias: bool = True, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the size, with normal weights of variance gain^2 / fan-in and no bias at the start.

    ``gain`` is the standard deviation of the result over that of the input; 0 makes zero weights.
    """
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=bias)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs // groups * size**2))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that keeps the variance, without bias."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    return layer


class InvertedBlock(nn.Module):
    """x + (1x1 -> leaky ReLU -> grouped 3x3 -> leaky ReLU -> 1x1), twice as wide inside.

    The last layer starts at zero; the two before it are scaled by ``total`` ^ (-1/4), so that the sum over all blocks
    of a network changes by as much in one step as a single block would.

    Args:
        width: Number of channels.
        total: Number of blocks in the whole network.

    References:
        Zhang et al., Fixup Initialization, 2019; Huang et al., The GAN is dead; long live the GAN!, 2024.
    """

    def __init__(self, width: int, total: int) -> None:
        super().__init__()
        self.width, self.total = width, total
        inner = 2 * width
        groups = max(1, inner // GROUP)
        while inner % groups:
            groups -= 1
        gain = GAIN * total**-0.25
        self.widen = convolution(width, inner, 1, gain=gain)
        self.mix = convolution(inner, inner, 3, groups=groups, gain=gain)
        self.narrow = convolution(inner, width, 1, bias=False, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Of features (n, width, h, w), of the same shape."""
        h = F.leaky_relu(self.widen(x), SLOPE)
        return x + self.narrow(F.leaky_relu(self.mix(h), SLOPE))
