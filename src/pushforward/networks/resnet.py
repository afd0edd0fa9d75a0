"""Generator and critic of a GAN: residual networks without normalisation layers, after R3GAN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pushforward.networks.checks import check_input, count, image_shape, level_widths, positive, size_choice, stem_of
from pushforward.networks.embedding import Condition, Conditioning, Kinds, kinds_of
from pushforward.networks.folding import fold, pad_to, unfold
from pushforward.networks.inverted_block import InvertedBlock, convolution, linear
from pushforward.networks.minibatch_std import append_minibatch_std
from pushforward.networks.resampling import Resample, doubling, halving


def grids(height: int, width: int, stem: int) -> list[tuple[int, int]]:
    """Sizes (height, width) of the feature maps, at least one, finest first: halved, rounding up, until no side is longer than 4.

    ``stem`` is the side of the patches that are folded into channels first.
    """
    sizes = [(-(-height // stem), -(-width // stem))]
    while max(sizes[-1]) > 4:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


class Generator(nn.Module):
    """Noise to images: a learned basis on the coarsest grid, weighted by a linear map of z, then blocks and doublings.

    Args:
        shape: (channels, height, width) of one image.
        latent: Length of the noise vector z.
        width: Channels at the finest level; each coarser one has twice as many, up to four times.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding is joined to z.
        stem: Pixels per side of the patches that the last layer unfolds.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2024.
    """

    def __init__(
        self, shape: Sequence[int], *, latent: int, width: int, blocks: int, conditions: Kinds = None, stem: int = 1
    ) -> None:
        super().__init__()
        positive(latent=latent, width=width, blocks=blocks, stem=stem)
        self.shape = image_shape(shape)
        self.latent, self.width, self.blocks = latent, width, blocks
        self.conditions = kinds_of(conditions)
        self.stem = stem
        self.grids = grids(*self.shape[1:], stem)
        channels = level_widths(width, len(self.grids), 4)
        total = blocks * len(channels)
        self.conditioning = Conditioning(latent, conditions=self.conditions, times=0)
        self.basis = nn.Parameter(torch.randn(1, channels[-1], *self.grids[-1]))
        self.enter = linear(latent * (2 if conditions else 1), channels[-1])
        self.levels = nn.ModuleList(
            [nn.Sequential(*[InvertedBlock(w, total) for _ in range(blocks)]) for w in reversed(channels)]
        )
        coarse_first = channels[::-1]
        self.change = nn.ModuleList(
            [nn.Identity() if a == b else convolution(a, b, 1, bias=False) for a, b in pairwise(coarse_first)]
        )
        self.resample = nn.ModuleList([Resample(doubling(h), doubling(w)) for h, w in self.grids[-2::-1]])
        self.leave = convolution(channels[0], self.shape[0] * stem**2, 1)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], latent: int = 64, conditions: Kinds = None) -> Generator:
        """Build one of three sizes: about 0.07, 0.2 and 2 million parameters at 28 x 28."""
        width, blocks, stem = proportions(size, shape)
        return cls(shape, latent=latent, width=width, blocks=blocks, conditions=conditions, stem=stem)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Images (n, channels, height, width) in model units of standard normal noise x (n, latent)."""
        check_input(x, (self.latent,), "Generator")
        z = self.conditioning.joined(x, t, condition)
        h = (self.enter(z)[:, :, None, None] * self.basis).contiguous(memory_format=torch.channels_last)
        for index, level in enumerate(self.levels):
            if index:
                h = self.resample[index - 1](self.change[index - 1](h))
            h = level(h)
        return unfold(self.leave(h), self.stem, self.shape).to(x.dtype)


class Critic(nn.Module):
    """Images to one number: blocks and halvings, a depthwise convolution over the coarsest grid, a linear layer.

    With labels the number is the dot product of the features and the label's embedding (a projection critic).

    Args:
        shape: (channels, height, width) of one image.
        width: Channels at the finest level; each coarser one has twice as many, up to four times.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network.
        stem: Pixels per side of the patches that the first layer folds into channels.
        minibatch_std: Examples in a group whose deviation joins the last features (`append_minibatch_std`); 0 leaves it out.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2024;
        Miyato and Koyama, cGANs with Projection Discriminator, 2018.
    """

    def __init__(
        self, shape: Sequence[int], *, width: int, blocks: int, conditions: Kinds = None, stem: int = 1, minibatch_std: int = 0
    ) -> None:
        super().__init__()
        positive(width=width, blocks=blocks, stem=stem)
        count(minibatch_std=minibatch_std)
        self.shape = image_shape(shape)
        self.width, self.blocks = width, blocks
        self.conditions = kinds_of(conditions)
        self.stem, self.minibatch_std = stem, minibatch_std
        sizes = grids(*self.shape[1:], stem)
        channels = level_widths(width, len(sizes), 4)
        total = blocks * len(channels)
        self.enter = convolution(self.shape[0] * stem**2, channels[0], 1)
        self.levels = nn.ModuleList([nn.Sequential(*[InvertedBlock(w, total) for _ in range(blocks)]) for w in channels])
        self.change = nn.ModuleList(
            [nn.Identity() if a == b else convolution(a, b, 1, bias=False) for a, b in pairwise(channels)]
        )
        self.resample = nn.ModuleList([Resample(halving(h), halving(w)) for h, w in sizes[:-1]])
        area = sizes[-1][0] * sizes[-1][1]
        features = channels[-1] + (1 if minibatch_std else 0)
        self.basis = nn.Parameter(torch.randn(features, *sizes[-1]) / math.sqrt(area))
        self.conditioning = Conditioning(channels[-1], conditions=self.conditions, times=0)
        self.leave = linear(features, channels[-1] if conditions else 1)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, minibatch_std: int = 0) -> Critic:
        """Build one of three sizes: about 0.06, 0.2 and 2 million parameters at 28 x 28."""
        width, blocks, stem = proportions(size, shape)
        return cls(shape, width=width, blocks=blocks, conditions=conditions, stem=stem, minibatch_std=minibatch_std)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,) of images (n, channels, height, width)."""
        check_input(x, self.shape, "Critic")
        label = self.conditioning(x.shape[0], x.device, t, condition)
        h = self.enter(fold(pad_to(x, self.stem), self.stem))
        for index, level in enumerate(self.levels):
            if index:
                h = self.change[index - 1](self.resample[index - 1](h))
            h = level(h)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        # A depthwise convolution whose kernel is the whole grid. Products and sums keep float32 under autocast, where
        # a linear layer would round the score to three digits.
        features = (h * self.basis).sum(dim=(2, 3))
        if label is None:
            return (features * self.leave.weight[0]).sum(1).to(x.dtype)
        return (self.leave(features) * label).sum(1).to(x.dtype) / math.sqrt(label.shape[1])


def proportions(size: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Width, blocks per level and stem of a generator or critic."""
    stem = stem_of(size, shape, 16)
    if max(shape[1:]) < 16:
        width, blocks = size_choice(size, {"tiny": (32, 1), "small": (64, 1), "base": (160, 2)})
    else:
        width, blocks = size_choice(size, {"tiny": (16, 1), "small": (32, 1), "base": (96, 2)})
    return width, blocks, stem
