"""Generators and critics of images: DCGAN, residual and textbook ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Kinds,
    Shape,
    Times,
    append_minibatch_std,
    check_input,
    fold,
    grids,
    image_shape,
    kinds_of,
    level_widths,
    longer_side,
    pad_to,
    patches,
    size_choice,
    stem_of,
    unfold,
)
from pushforward.networks.unet import UNet


def halving(side: int) -> Tensor:
    """Return the matrix (ceil(side / 2), side) that smooths by [1, 2, 1] / 4 and halves a side.

    The ends are repeated outwards.
    """
    matrix = torch.zeros(patches(side, 2), side)
    for row in range(len(matrix)):
        for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            column = min(max(2 * row + offset, 0), side - 1)
            matrix[row, column] += weight
    return matrix


def doubling(side: int) -> Tensor:
    """Return the matrix (side, ceil(side / 2)) that inserts the mean between two numbers.

    The last input number is repeated outwards.
    """
    half = patches(side, 2)
    matrix = torch.zeros(side, half)
    for row in range(side):
        for column in (row // 2, patches(row, 2)):
            matrix[row, min(column, half - 1)] += 0.5
    return matrix


class Resample(nn.Module):
    """Resampling by matrices (new height, height) and (new width, width), faster than pooling."""

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        new_height = self.rows.shape[0]
        new_width = self.columns.shape[0]
        h = x.permute(0, 2, 3, 1).reshape(n, height, width * c)
        h = self.rows.to(x.dtype) @ h
        h = self.columns.to(x.dtype) @ h.reshape(n * new_height, width, c)
        return h.reshape(n, new_height, new_width, c).permute(0, 3, 1, 2)


class ProjectionHead(nn.Module):
    """Output layer with the score <w, phi> + b + <e(c), phi> for features phi and conditions c.

    Unconditional examples have a learned null embedding.

    References:
        Miyato and Koyama, cGANs with Projection Discriminator, 2018, equation 4.
    """

    def __init__(self, width: int, conditions: Kinds = None) -> None:
        super().__init__()
        self.width = width
        self.conditions = kinds_of(conditions)
        self.linear = nn.Linear(width, 1)
        self.conditioning = Conditioning(width, conditions)

    def forward(self, features: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Compute scores (n,), float32 or wider, from features (n, width)."""
        label = self.conditioning(features, t, condition)
        weight = self.linear.weight
        if label is not None:
            weight = weight + label / math.sqrt(self.width)
        # under autocast, a linear layer would round the score to three digits
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return (features * weight).sum(1) + self.linear.bias


SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
GROUP = 16


def convolution(
    inputs: int, outputs: int, size: int, *, groups: int = 1, bias: bool = True, gain: float = 1.0
) -> nn.Conv2d:
    """Build a size-preserving convolution with normal weights of variance gain^2 / fan-in.

    ``gain`` is the ratio of output to input standard deviation; 0 gives zero weights.
    """
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=bias)
    fan_in = inputs // groups * size**2
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Build a variance-preserving linear layer without bias."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    return layer


class InvertedBlock(nn.Module):
    """Residual block x + (1x1 -> leaky ReLU -> grouped 3x3 -> leaky ReLU -> 1x1), wider inside.

    The last layer starts at zero; the two before it are scaled by ``total`` ^ (-1/4), for the
    number of blocks of a network.

    References:
        Zhang et al., Fixup Initialization, 2019; Huang et al., The GAN is dead; long live the GAN!,
        2024.
    """

    def __init__(self, width: int, total: int) -> None:
        super().__init__()
        self.width = width
        self.total = total
        inner = 2 * width
        groups = max(1, inner // GROUP)
        while inner % groups:
            groups -= 1
        gain = GAIN * total**-0.25
        self.widen = convolution(width, inner, 1, gain=gain)
        self.mix = convolution(inner, inner, 3, groups=groups, gain=gain)
        self.narrow = convolution(inner, width, 1, bias=False, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.widen(x), SLOPE)
        h = F.leaky_relu(self.mix(h), SLOPE)
        return x + self.narrow(h)


def halvings(height: int, width: int) -> int:
    """Return how often to halve an image until no side is longer than 4, at least twice."""
    number = 2
    while patches(max(height, width), 2**number) > 4:
        number += 1
    return number


def start(network: nn.Module) -> None:
    """Draw weights from normal(0, 0.02), as in the DCGAN paper; biases start at zero."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class DCGANGenerator(nn.Module):
    """Generator of images: a linear layer, then 4 x 4 transposed convolutions that double the size.

    Images are cropped at the bottom and right. The embedding of conditions is appended to z.

    Args:
        width: Channels before the last layer; each coarser grid has twice as many, up to eight
            times.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks, 2016.
    """

    def __init__(
        self, shape: Shape, *, latent: int = 100, width: int = 64, conditions: Kinds = None
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.latent = latent
        self.width = width
        self.conditions = kinds_of(conditions)
        _, height, breadth = self.shape
        number = halvings(height, breadth)
        channels = level_widths(width, number, 8)[::-1]
        self.grid = (channels[0], patches(height, 2**number), patches(breadth, 2**number))
        self.conditioning = Conditioning(latent, conditions)
        inputs = 2 * latent if conditions else latent
        self.enter = nn.Linear(inputs, math.prod(self.grid), bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(w) for w in channels])
        self.grow = nn.ModuleList()
        for a, b in pairwise(channels):
            self.grow.append(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False))
        self.leave = nn.ConvTranspose2d(channels[-1], self.shape[0], 4, stride=2, padding=1)
        start(self)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        """Build one of three sizes: about 0.15, 0.9 and 3.5 million parameters at 28 x 28."""
        return cls(shape, width=width_of(size, shape), **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Generate images (n, *shape) from noise x (n, latent); n at least 2 in training mode."""
        check_input(x, (self.latent,), "DCGANGenerator")
        z = self.conditioning.joined(x, t, condition)
        h = self.enter(z).unflatten(1, self.grid).contiguous(memory_format=torch.channels_last)
        h = F.relu(self.norms[0](h))
        for grow, norm in zip(self.grow, self.norms[1:], strict=True):
            h = F.relu(norm(grow(h)))
        return unfold(self.leave(h), 1, self.shape).to(x.dtype)


class DCGANCritic(nn.Module):
    """Critic of images: strided 4 x 4 convolutions with leaky ReLU (0.2), then a linear layer.

    Leave batch normalisation out (``normalise``) with gradient penalties and with `Spectral`.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks, 2016; Gulrajani et al., Improved Training of Wasserstein GANs, 2017,
        section 4.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        width: int = 64,
        conditions: Kinds = None,
        minibatch_std: int = 0,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.width = width
        self.conditions = kinds_of(conditions)
        self.minibatch_std = minibatch_std
        self.normalise = normalise
        pixels, height, breadth = self.shape
        number = halvings(height, breadth)
        channels = level_widths(width, number, 8)
        self.multiple = 2**number
        area = patches(height, self.multiple) * patches(breadth, self.multiple)
        self.enter = nn.Conv2d(pixels, channels[0], 4, stride=2, padding=1)
        self.shrink = nn.ModuleList()
        self.norms = nn.ModuleList()
        for a, b in pairwise(channels):
            self.shrink.append(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=not normalise))
            self.norms.append(nn.BatchNorm2d(b) if normalise else nn.Identity())
        features = channels[-1] + bool(minibatch_std)
        self.leave = ProjectionHead(features * area, conditions)
        start(self)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        """Build one of three sizes: about 0.04, 0.5 and 2.6 million parameters at 28 x 28."""
        return cls(shape, width=width_of(size, shape), **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Compute scores (n,) for images; with normalisation, n is at least 2 in training mode."""
        check_input(x, self.shape, "DCGANCritic")
        padded = pad_to(x, self.multiple).contiguous(memory_format=torch.channels_last)
        h = F.leaky_relu(self.enter(padded), SLOPE)
        for shrink, norm in zip(self.shrink, self.norms, strict=True):
            h = F.leaky_relu(norm(shrink(h)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h.flatten(1), t, condition).to(x.dtype)


def width_of(size: str, shape: Shape) -> int:
    """Return the finest width of a named size; small images have fewer but wider grids."""
    width = size_choice(size, {"tiny": 16, "small": 56, "base": 128})
    if longer_side(shape) >= 16:
        return width
    return 2 * width


def _levels(channels: Sequence[int], blocks: int) -> nn.ModuleList:
    total = blocks * len(channels)
    levels = nn.ModuleList()
    for width in channels:
        levels.append(nn.Sequential(*[InvertedBlock(width, total) for _ in range(blocks)]))
    return levels


def _changes(channels: Sequence[int]) -> nn.ModuleList:
    changes = nn.ModuleList()
    for a, b in pairwise(channels):
        changes.append(nn.Identity() if a == b else convolution(a, b, 1, bias=False))
    return changes


class Generator(nn.Module):
    """Generator of images: a basis on the coarsest grid weighted by a linear map of z, then blocks.

    The embedding of conditions is appended to z.

    Args:
        width: Channels at the finest level; each coarser one has twice as many, up to four times.
        blocks: Residual blocks per level.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2024.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        latent: int = 64,
        width: int,
        blocks: int,
        conditions: Kinds = None,
        stem: int = 1,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.latent = latent
        self.width = width
        self.blocks = blocks
        self.conditions = kinds_of(conditions)
        self.stem = stem
        pixels, height, breadth = self.shape
        self.grids = grids(height, breadth, stem)
        channels = level_widths(width, len(self.grids), 4)
        coarse_first = channels[::-1]
        self.conditioning = Conditioning(latent, conditions)
        self.basis = nn.Parameter(torch.randn(1, channels[-1], *self.grids[-1]))
        self.enter = linear(2 * latent if conditions else latent, channels[-1])
        self.levels = _levels(coarse_first, blocks)
        self.change = _changes(coarse_first)
        self.resample = nn.ModuleList()
        for h, w in self.grids[-2::-1]:
            self.resample.append(Resample(doubling(h), doubling(w)))
        self.leave = convolution(channels[0], pixels * stem**2, 1)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        """Build one of three sizes: about 0.07, 0.2 and 2 million parameters at 28 x 28."""
        width, blocks, stem = proportions(size, shape)
        return cls(shape, width=width, blocks=blocks, stem=stem, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, (self.latent,), "Generator")
        z = self.conditioning.joined(x, t, condition)
        h = self.enter(z)[:, :, None, None] * self.basis
        levels = iter(self.levels)
        h = next(levels)(h.contiguous(memory_format=torch.channels_last))
        for resample, change, level in zip(self.resample, self.change, levels, strict=True):
            h = level(resample(change(h)))
        return unfold(self.leave(h), self.stem, self.shape).to(x.dtype)


class Critic(nn.Module):
    """Critic of images: blocks and halvings, a depthwise convolution on the coarsest grid, linear.

    With labels, the score is the dot product of the features and the label embedding.

    Args:
        width: Channels at the finest level; each coarser one has twice as many, up to four times.
        blocks: Residual blocks per level.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2024;
        Miyato and Koyama, cGANs with Projection Discriminator, 2018.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        width: int,
        blocks: int,
        conditions: Kinds = None,
        stem: int = 1,
        minibatch_std: int = 0,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.width = width
        self.blocks = blocks
        self.conditions = kinds_of(conditions)
        self.stem = stem
        self.minibatch_std = minibatch_std
        pixels, height, breadth = self.shape
        sizes = grids(height, breadth, stem)
        channels = level_widths(width, len(sizes), 4)
        self.enter = convolution(pixels * stem**2, channels[0], 1)
        self.levels = _levels(channels, blocks)
        self.change = _changes(channels)
        self.resample = nn.ModuleList([Resample(halving(h), halving(w)) for h, w in sizes[:-1]])
        coarsest = sizes[-1]
        features = channels[-1] + bool(minibatch_std)
        basis = torch.randn(features, *coarsest) / math.sqrt(math.prod(coarsest))
        self.basis = nn.Parameter(basis)
        self.conditioning = Conditioning(channels[-1], conditions)
        self.leave = linear(features, channels[-1] if conditions else 1)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        """Build one of three sizes: about 0.06, 0.2 and 2 million parameters at 28 x 28."""
        width, blocks, stem = proportions(size, shape)
        return cls(shape, width=width, blocks=blocks, stem=stem, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, self.shape, "Critic")
        label = self.conditioning(x, t, condition)
        h = self.enter(fold(pad_to(x, self.stem), self.stem))
        levels = iter(self.levels)
        h = next(levels)(h)
        for resample, change, level in zip(self.resample, self.change, levels, strict=True):
            h = level(change(resample(h)))
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        # A depthwise convolution whose kernel is the whole grid. Products and sums keep float32
        # under autocast, where a linear layer would round the score to three digits.
        features = (h * self.basis).sum(dim=(2, 3))
        if label is None:
            return (features * self.leave.weight[0]).sum(1).to(x.dtype)
        scores = (self.leave(features) * label).sum(1)
        return scores.to(x.dtype) / math.sqrt(label.shape[1])


def proportions(size: str, shape: Shape) -> tuple[int, int, int]:
    """Return the width, blocks per level and stem of a generator or critic."""
    stem = stem_of(size, shape, 16)
    sizes = {"tiny": (16, 1), "small": (32, 1), "base": (96, 2)}
    if longer_side(shape) < 16:
        sizes = {"tiny": (32, 1), "small": (64, 1), "base": (160, 2)}
    width, blocks = size_choice(size, sizes)
    return width, blocks, stem


WIDTHS = {"tiny": 64, "small": 256, "base": 1024}


class TextbookGenerator(nn.Module):
    """Generator of data: linear, ReLU, linear, without normalisation; 100-256-784 for MNIST.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, with larger perceptrons.
    """

    def __init__(
        self, shape: Shape, *, latent: int = 100, width: int = 256, conditions: Kinds = None
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.latent = latent
        self.width = width
        self.conditions = kinds_of(conditions)
        self.conditioning = Conditioning(latent, conditions)
        self.enter = nn.Linear(2 * latent if conditions else latent, width)
        self.leave = nn.Linear(width, math.prod(self.shape))

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        """Build one of three sizes: width 64, 256 or 1024."""
        return cls(shape, width=size_choice(size, WIDTHS), **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, (self.latent,), "TextbookGenerator")
        z = self.conditioning.joined(x, t, condition)
        h = F.relu(self.enter(z))
        return self.leave(h).to(x.dtype).unflatten(1, self.shape)


class TextbookCritic(nn.Module):
    """Critic of data: linear, leaky ReLU (0.2), linear, without normalisation; 784-256-1 for MNIST.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, with larger perceptrons.
    """

    def __init__(
        self, shape: Shape, *, width: int = 256, conditions: Kinds = None, minibatch_std: int = 0
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.width = width
        self.conditions = kinds_of(conditions)
        self.minibatch_std = minibatch_std
        self.enter = nn.Linear(math.prod(self.shape), width)
        self.leave = ProjectionHead(width + bool(minibatch_std), conditions)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        """Build one of three sizes: width 64, 256 or 1024."""
        return cls(shape, width=size_choice(size, WIDTHS), **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, self.shape, "TextbookCritic")
        h = F.leaky_relu(self.enter(x.flatten(1)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h, t, condition).to(x.dtype)


class ScaleCritic(nn.Module):
    """Critic of features of one depth: 4 x 4 convolutions of stride 2 down to a side of 4, a head.

    Features that are already that small get one 3 x 3 convolution.
    """

    def __init__(self, features: int, side: int, width: int, conditions: Kinds) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        channels = features
        while side > 4:
            self.convolutions.append(nn.Conv2d(channels, width, 4, stride=2, padding=1))
            channels = width
            side = side // 2
        if not self.convolutions:
            self.convolutions.append(nn.Conv2d(features, width, 3, padding=1))
        self.leave = ProjectionHead(width, conditions)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), SLOPE)
        return self.leave(x.mean((2, 3)), t, condition)


class FeatureHeads(nn.Module):
    """Critic of feature maps: the sum of the scores of one small critic per map.

    References:
        Sauer et al., Projected GANs Converge Faster, 2021, section 3.2.
    """

    def __init__(
        self, widths: Shape, sides: Shape, hidden: int = 64, conditions: Kinds = None
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.sides = tuple(sides)
        self.hidden = hidden
        self.conditions = kinds_of(conditions)
        self.critics = nn.ModuleList()
        for width, side in zip(widths, sides, strict=True):
            self.critics.append(ScaleCritic(width, side, hidden, conditions))

    @classmethod
    def of(cls, network: UNet, hidden: int = 64) -> FeatureHeads:
        """Build heads for `UNet.features` of a network, with its conditions."""
        levels = len(network.widths) - 1
        coarsest = patches(max(network.shape[1:]), network.stem * 2**levels)
        sides = [coarsest * 2 ** (levels - level) for level in range(levels + 1)]
        return cls(network.widths, sides, hidden, network.conditions)

    def forward(
        self, features: Sequence[Tensor], t: Times = None, condition: Condition = None
    ) -> Tensor:
        scores = []
        for critic, h in zip(self.critics, features, strict=True):
            scores.append(critic(h, t, condition))
        return torch.stack(scores).sum(0)
