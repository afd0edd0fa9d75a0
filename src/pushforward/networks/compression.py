"""Images to small maps and back: the two halves of an autoencoder for latents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.errors import UsageError
from pushforward.networks.autoencoder import SIZES
from pushforward.networks.blocks import Level, Norm
from pushforward.networks.checks import check_input, image_shape, level_widths, positive, size_choice
from pushforward.networks.embedding import Condition, Conditioning, Kinds, Modulation, films_of, kinds_of
from pushforward.networks.folding import fold, pad_to, unfold

FACTORS = (1, 2, 4, 8)


def map_shape(shape: Sequence[int], channels: int, factor: int) -> tuple[int, int, int]:
    """The shape of the map that images become; sides that the factor does not divide are rounded up.

    Args:
        shape: (channels, height, width) of one image.
        channels: Of the map.
        factor: Pixels of the image for one of the map, along a side.

    Raises:
        UsageError: A factor that is none of 1, 2, 4 and 8, or one larger than both sides.
    """
    positive(channels=channels)
    _, height, width = image_shape(shape)
    if factor not in FACTORS:
        raise UsageError(f"factor is {factor}; expected one of {', '.join(map(str, FACTORS))}.")
    if factor > max(height, width):
        raise UsageError(f"Images of {height} x {width} pixels cannot be made smaller {factor} times: expected a smaller factor.")
    return channels, -(-height // factor), -(-width // factor)


class _Trunk(NamedTuple):
    stem: int
    channels: list[int]
    conditioning: Conditioning
    modulation: Modulation | None
    levels: nn.ModuleList


def _trunk(width: int, blocks: int, factor: int, conditions: Kinds, rising: bool = False) -> _Trunk:
    """The side of the patches that are folded, and levels in their order: finest first, or coarsest first where sides rise."""
    positive(width=width, blocks=blocks)
    stem = min(factor, 2)
    number = (factor // stem).bit_length()
    channels = level_widths(width, number, 2)[:: -1 if rising else 1]
    order = [w for w in channels for _ in range(blocks)]
    conditioning = Conditioning(2 * width, conditions=conditions, times=0)
    modulation = Modulation.films(2 * width, order) if conditions else None
    return _Trunk(stem, channels, conditioning, modulation, nn.ModuleList([Level(w, blocks) for w in channels]))


class Compressor(nn.Module):
    """Images to maps ``factor`` times smaller: patches of 2 x 2 folded into channels, then residual blocks and halvings.

    Images whose sides the factor does not divide are padded by repeating their last row and column.

    Args:
        shape: (channels, height, width) of one image.
        outputs: Channels of the map: twice a code's where it holds means and log-variances.
        factor: 1, 2, 4 or 8.
        width: Channels at the finest level; coarser ones have twice as many.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network.

    References:
        Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022.
    """

    def __init__(
        self, shape: Sequence[int], *, outputs: int, factor: int, width: int, blocks: int = 1, conditions: Kinds = None
    ) -> None:
        super().__init__()
        positive(outputs=outputs)
        self.shape = image_shape(shape)
        self.map = map_shape(shape, outputs, factor)
        self.outputs, self.factor, self.width, self.blocks = outputs, factor, width, blocks
        self.conditions = kinds_of(conditions)
        self.stem, channels, self.conditioning, self.modulation, levels = _trunk(width, blocks, factor, self.conditions)
        self.enter = nn.Conv2d(self.shape[0] * self.stem**2, channels[0], 3, padding=1)
        self.levels = levels
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels)])
        self.norm = Norm(channels[-1])
        self.leave = nn.Conv2d(channels[-1], outputs, 3, padding=1)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], outputs: int = 8, factor: int = 4, conditions: Kinds = None) -> Compressor:
        """Build one of three sizes: 24, 48 or 96 channels at the finest level."""
        width, blocks = size_choice(size, SIZES)
        return cls(shape, outputs=outputs, factor=factor, width=width, blocks=blocks, conditions=conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Maps (n, outputs, height / factor, width / factor), sides rounded up, of images x in model units."""
        check_input(x, self.shape, "Compressor")
        vector = self.conditioning(x.shape[0], x.device, t, condition)
        films = iter(films_of(self.modulation, vector, self.blocks * len(self.levels)))
        h = self.enter(fold(pad_to(x, self.factor), self.stem))
        for index, level in enumerate(self.levels):
            if index:
                h = self.shrink[index - 1](h)
            h = level(h, films)
        return self.leave(F.silu(self.norm(h))).to(x.dtype)


class Expander(nn.Module):
    """Maps to images ``factor`` times larger: the mirror image of `Compressor`.

    Args:
        shape: (channels, height, width) of the output.
        inputs: Channels of the map.
        factor: 1, 2, 4 or 8.
        width: Channels at the finest level; coarser ones have twice as many.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network.

    References:
        Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022.
    """

    def __init__(
        self, shape: Sequence[int], *, inputs: int, factor: int, width: int, blocks: int = 1, conditions: Kinds = None
    ) -> None:
        super().__init__()
        positive(inputs=inputs)
        self.shape = image_shape(shape)
        self.map = map_shape(shape, inputs, factor)
        self.inputs, self.factor, self.width, self.blocks = inputs, factor, width, blocks
        self.conditions = kinds_of(conditions)
        self.stem, channels, self.conditioning, self.modulation, levels = _trunk(
            width, blocks, factor, self.conditions, rising=True
        )
        self.enter = nn.Conv2d(inputs, channels[0], 3, padding=1)
        self.levels = levels
        self.grow = nn.ModuleList([nn.Conv2d(a, 4 * b, 1) for a, b in pairwise(channels)])
        self.norm = Norm(channels[-1])
        self.leave = nn.Conv2d(channels[-1], self.shape[0] * self.stem**2, 3, padding=1)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], inputs: int = 4, factor: int = 4, conditions: Kinds = None) -> Expander:
        """Build one of three sizes: 24, 48 or 96 channels at the finest level."""
        width, blocks = size_choice(size, SIZES)
        return cls(shape, inputs=inputs, factor=factor, width=width, blocks=blocks, conditions=conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Images (n, channels, height, width) of maps x (n, inputs, height / factor, width / factor), sides rounded up."""
        check_input(x, self.map, "Expander")
        vector = self.conditioning(x.shape[0], x.device, t, condition)
        films = iter(films_of(self.modulation, vector, self.blocks * len(self.levels)))
        h = self.enter(x.contiguous(memory_format=torch.channels_last))
        for index, level in enumerate(self.levels):
            if index:
                h = F.pixel_shuffle(self.grow[index - 1](h), 2).contiguous(memory_format=torch.channels_last)
            h = level(h, films)
        return unfold(self.leave(F.silu(self.norm(h))), self.stem, self.shape).to(x.dtype)
