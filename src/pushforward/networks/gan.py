"""Generators and critics of images: DCGAN, residual and textbook ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Kinds,
    append_minibatch_std,
    check_input,
    fold,
    grids,
    image_shape,
    kinds_of,
    level_widths,
    pad_to,
    size_choice,
    stem_of,
    unfold,
    vector_shape,
)


def halving(side: int) -> Tensor:
    """Return the matrix (ceil(side / 2), side) that smooths by [1, 2, 1] / 4 and keeps every second number, from the first.

    The ends are repeated outwards.
    """
    matrix = torch.zeros(-(-side // 2), side)
    for row in range(matrix.shape[0]):
        for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            matrix[row, min(max(2 * row + offset, 0), side - 1)] += weight
    return matrix


def doubling(side: int) -> Tensor:
    """Return the matrix (side, ceil(side / 2)) that inserts the mean between two numbers: upsampling by [1, 2, 1] / 2.

    The last input number is repeated outwards.
    """
    matrix = torch.zeros(side, -(-side // 2))
    for row in range(side):
        for column in (row // 2, -(-row // 2)):
            matrix[row, min(column, matrix.shape[1] - 1)] += 0.5
    return matrix


class Resample(nn.Module):
    """Resampling by one linear map along the height and one along the width: two matrix products.

    This takes a quarter to half of the time of pooling, slicing or depthwise convolution with channels last, forward,
    backward and twice backward.

    Args:
        rows: Matrix that resamples rows, (new height, height).
        columns: Matrix that resamples columns, (new width, width).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Resample images (n, c, height, width) to (n, c, new height, new width), channels last in memory."""
        n, c, height, width = x.shape
        new_height = self.rows.shape[0]
        new_width = self.columns.shape[0]
        h = self.rows.to(x.dtype) @ x.permute(0, 2, 3, 1).reshape(n, height, width * c)
        h = self.columns.to(x.dtype) @ h.reshape(n * new_height, width, c)
        return h.reshape(n, new_height, new_width, c).permute(0, 3, 1, 2)


class ProjectionHead(nn.Module):
    """Output layer with the score <w, phi> + b for features phi, or <w, phi> + b + <e(c), phi> with conditions c.

    Conditions enter only through the projection of the features onto their embedding e (of a label,
    numbers, or the sum of several). Unconditional examples have a learned null embedding.

    Args:
        width: Number of features.
        conditions: Kinds of condition by name; None for an unconditional network.

    References:
        Miyato and Koyama, cGANs with Projection Discriminator, 2018, equation 4.
    """

    def __init__(self, width: int, conditions: Kinds = None) -> None:
        super().__init__()
        self.width = width
        self.conditions = kinds_of(conditions)
        self.linear = nn.Linear(width, 1)
        self.conditioning = Conditioning(width, conditions=self.conditions, times=0)

    def forward(
        self, features: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute scores (n,), float32 or wider, from features (n, width)."""
        label = self.conditioning(features.shape[0], features.device, t, condition)
        if label is None:
            weight = self.linear.weight
        else:
            weight = self.linear.weight + label / math.sqrt(self.width)
        # Products and sums keep float32 under autocast, where a linear layer would round the score to three digits.
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return (features * weight).sum(1) + self.linear.bias


SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
GROUP = 16


def convolution(
    inputs: int, outputs: int, size: int, *, groups: int = 1, bias: bool = True, gain: float = 1.0
) -> nn.Conv2d:
    """Build a size-preserving convolution with normal weights of variance gain^2 / fan-in and zero bias at the start.

    ``gain`` is the ratio of output to input standard deviation; 0 gives zero weights.
    """
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=bias)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs // groups * size**2))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Build a variance-preserving linear layer without bias."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    return layer


class InvertedBlock(nn.Module):
    """Residual block x + (1x1 -> leaky ReLU -> grouped 3x3 -> leaky ReLU -> 1x1), twice as wide inside.

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
        return x + self.narrow(F.leaky_relu(self.mix(h), SLOPE))


def halvings(height: int, width: int) -> int:
    """Return how often an image is halved, rounding up: until no side is longer than 4, and at least twice."""
    side = max(height, width)
    number = 0
    while number < 2 or -(-side // 2**number) > 4:
        number += 1
    return number


def start(network: nn.Module) -> None:
    """Draw the weights of linear layers and convolutions from normal(0, 0.02), as in the paper; biases start at zero."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class DCGANGenerator(nn.Module):
    """Generator of images: a linear layer onto the coarsest grid, then 4 x 4 transposed convolutions that double its size.

    All layers but the last have batch normalisation and ReLU. The paper's last tanh is left out, since model units have no
    such bounds. An image of 64 x 64 starts at 4 x 4 as in the paper; other sizes are made at the next size that doublings
    reach and cropped at the bottom and right.

    Args:
        shape: Image shape (channels, height, width).
        latent: Length of the noise vector z.
        width: Channels before the last layer; each coarser grid has twice as many, up to eight times.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, as
            long as z, is appended to z.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, 2016.
    """

    def __init__(
        self, shape: Sequence[int], *, latent: int = 100, width: int = 64, conditions: Kinds = None
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.latent = latent
        self.width = width
        self.conditions = kinds_of(conditions)
        number = halvings(*self.shape[1:])
        channels = level_widths(width, number, 8)[::-1]
        height, breadth = (-(-side // 2**number) for side in self.shape[1:])
        self.grid = (channels[0], height, breadth)
        self.conditioning = Conditioning(latent, conditions=self.conditions, times=0)
        self.enter = nn.Linear(
            latent * (2 if conditions else 1), channels[0] * height * breadth, bias=False
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(w) for w in channels])
        self.grow = nn.ModuleList(
            [
                nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False)
                for a, b in pairwise(channels)
            ]
        )
        self.leave = nn.ConvTranspose2d(channels[-1], self.shape[0], 4, stride=2, padding=1)
        start(self)

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], latent: int = 100, conditions: Kinds = None
    ) -> DCGANGenerator:
        """Build one of three sizes: about 0.15, 0.9 and 3.5 million parameters at 28 x 28, labels apart."""
        return cls(shape, latent=latent, width=width_of(size, shape), conditions=conditions)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Generate images (n, *shape) in model units from standard normal noise x (n, latent); n at least 2 in training mode."""
        check_input(x, (self.latent,), "DCGANGenerator")
        z = self.conditioning.joined(x, t, condition)
        h = self.enter(z).unflatten(1, self.grid).contiguous(memory_format=torch.channels_last)
        h = F.relu(self.norms[0](h))
        for grow, norm in zip(self.grow, self.norms[1:], strict=True):
            h = F.relu(norm(grow(h)))
        return self.leave(h)[:, :, : self.shape[1], : self.shape[2]].to(x.dtype)


class DCGANCritic(nn.Module):
    """Critic of images: strided 4 x 4 convolutions with leaky ReLU (0.2), then a linear layer that returns one score.

    All convolutions but the first have batch normalisation. Images whose sides cannot be halved often enough are padded at
    the bottom and right by their last row and column. Labels enter by projection (`ProjectionHead`).

    Args:
        shape: Image shape (channels, height, width).
        width: Channels after the first layer; each coarser grid has twice as many, up to eight times.
        conditions: Kinds of condition by name; None for an unconditional network.
        minibatch_std: Group size for the standard deviation appended to the last features
            (`append_minibatch_std`); 0 leaves it out.
        normalise: Whether to use batch normalisation. Leave it out with gradient penalties, which
            need scores that do not depend on other samples, and with `Spectral`, whose bound it
            breaks.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, 2016;
        Gulrajani et al., Improved Training of Wasserstein GANs, 2017, section 4, on penalties and batch normalisation.
    """

    def __init__(
        self,
        shape: Sequence[int],
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
        number = halvings(*self.shape[1:])
        channels = level_widths(width, number, 8)
        self.multiple = 2**number
        area = -(-self.shape[1] // self.multiple) * -(-self.shape[2] // self.multiple)
        self.enter = nn.Conv2d(self.shape[0], channels[0], 4, stride=2, padding=1)
        self.shrink = nn.ModuleList(
            [
                nn.Conv2d(a, b, 4, stride=2, padding=1, bias=not normalise)
                for a, b in pairwise(channels)
            ]
        )
        self.norms = nn.ModuleList(
            [nn.BatchNorm2d(w) if normalise else nn.Identity() for w in channels[1:]]
        )
        self.leave = ProjectionHead((channels[-1] + (1 if minibatch_std else 0)) * area, conditions)
        start(self)

    @classmethod
    def sized(
        cls,
        size: str,
        *,
        shape: Sequence[int],
        conditions: Kinds = None,
        minibatch_std: int = 0,
        normalise: bool = True,
    ) -> DCGANCritic:
        """Build one of three sizes: about 0.04, 0.5 and 2.6 million parameters at 28 x 28."""
        width = width_of(size, shape)
        return cls(
            shape,
            width=width,
            conditions=conditions,
            minibatch_std=minibatch_std,
            normalise=normalise,
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute scores (n,) for images (n, channels, height, width); n at least 2 in training mode with batch normalisation."""
        check_input(x, self.shape, "DCGANCritic")
        padded = pad_to(x, self.multiple).contiguous(memory_format=torch.channels_last)
        h = F.leaky_relu(self.enter(padded), SLOPE)
        for shrink, norm in zip(self.shrink, self.norms, strict=True):
            h = F.leaky_relu(norm(shrink(h)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h.flatten(1), t, condition).to(x.dtype)


def width_of(size: str, shape: Sequence[int]) -> int:
    """Return the finest width of a named size; small images have fewer but wider grids."""
    width = size_choice(size, {"tiny": 16, "small": 56, "base": 128})
    if max(image_shape(shape)[1:]) >= 16:
        return width
    return 2 * width


def _levels(channels: Sequence[int], blocks: int) -> nn.ModuleList:
    total = blocks * len(channels)
    return nn.ModuleList(
        [nn.Sequential(*[InvertedBlock(w, total) for _ in range(blocks)]) for w in channels]
    )


def _changes(channels: Sequence[int]) -> nn.ModuleList:
    """What changes the number of channels between two levels, where it does."""
    return nn.ModuleList(
        [
            nn.Identity() if a == b else convolution(a, b, 1, bias=False)
            for a, b in pairwise(channels)
        ]
    )


class Generator(nn.Module):
    """Generator of images: a learned basis on the coarsest grid, weighted by a linear map of z, then blocks and doublings.

    Args:
        shape: Image shape (channels, height, width).
        latent: Length of the noise vector z.
        width: Channels at the finest level; each coarser one has twice as many, up to four times.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding is
            appended to z.
        stem: Side length in pixels of the patches that the last layer unfolds.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2024.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        latent: int,
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
        self.grids = grids(*self.shape[1:], stem)
        channels = level_widths(width, len(self.grids), 4)
        coarse_first = channels[::-1]
        self.conditioning = Conditioning(latent, conditions=self.conditions, times=0)
        self.basis = nn.Parameter(torch.randn(1, channels[-1], *self.grids[-1]))
        self.enter = linear(latent * (2 if conditions else 1), channels[-1])
        self.levels = _levels(coarse_first, blocks)
        self.change = _changes(coarse_first)
        self.resample = nn.ModuleList(
            [Resample(doubling(h), doubling(w)) for h, w in self.grids[-2::-1]]
        )
        self.leave = convolution(channels[0], self.shape[0] * stem**2, 1)

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], latent: int = 64, conditions: Kinds = None
    ) -> Generator:
        """Build one of three sizes: about 0.07, 0.2 and 2 million parameters at 28 x 28."""
        width, blocks, stem = proportions(size, shape)
        return cls(
            shape, latent=latent, width=width, blocks=blocks, conditions=conditions, stem=stem
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Generate images (n, channels, height, width) in model units from standard normal noise x (n, latent)."""
        check_input(x, (self.latent,), "Generator")
        z = self.conditioning.joined(x, t, condition)
        h = (self.enter(z)[:, :, None, None] * self.basis).contiguous(
            memory_format=torch.channels_last
        )
        for index, level in enumerate(self.levels):
            if index:
                h = self.resample[index - 1](self.change[index - 1](h))
            h = level(h)
        return unfold(self.leave(h), self.stem, self.shape).to(x.dtype)


class Critic(nn.Module):
    """Critic of images: blocks and halvings, a depthwise convolution over the coarsest grid, and a linear layer to one score.

    With labels, the score is the dot product of the features and the label embedding (a projection
    critic).

    Args:
        shape: Image shape (channels, height, width).
        width: Channels at the finest level; each coarser one has twice as many, up to four times.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network.
        stem: Side length in pixels of the patches that the first layer folds into channels.
        minibatch_std: Group size for the standard deviation appended to the last features
            (`append_minibatch_std`); 0 leaves it out.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2024;
        Miyato and Koyama, cGANs with Projection Discriminator, 2018.
    """

    def __init__(
        self,
        shape: Sequence[int],
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
        sizes = grids(*self.shape[1:], stem)
        channels = level_widths(width, len(sizes), 4)
        self.enter = convolution(self.shape[0] * stem**2, channels[0], 1)
        self.levels = _levels(channels, blocks)
        self.change = _changes(channels)
        self.resample = nn.ModuleList([Resample(halving(h), halving(w)) for h, w in sizes[:-1]])
        area = sizes[-1][0] * sizes[-1][1]
        features = channels[-1] + (1 if minibatch_std else 0)
        self.basis = nn.Parameter(torch.randn(features, *sizes[-1]) / math.sqrt(area))
        self.conditioning = Conditioning(channels[-1], conditions=self.conditions, times=0)
        self.leave = linear(features, channels[-1] if conditions else 1)

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, minibatch_std: int = 0
    ) -> Critic:
        """Build one of three sizes: about 0.06, 0.2 and 2 million parameters at 28 x 28."""
        width, blocks, stem = proportions(size, shape)
        return cls(
            shape,
            width=width,
            blocks=blocks,
            conditions=conditions,
            stem=stem,
            minibatch_std=minibatch_std,
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute scores (n,) for images (n, channels, height, width)."""
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
    """Return the width, blocks per level and stem of a generator or critic."""
    stem = stem_of(size, shape, 16)
    if max(shape[1:]) < 16:
        width, blocks = size_choice(size, {"tiny": (32, 1), "small": (64, 1), "base": (160, 2)})
    else:
        width, blocks = size_choice(size, {"tiny": (16, 1), "small": (32, 1), "base": (96, 2)})
    return width, blocks, stem


WIDTHS = {"tiny": 64, "small": 256, "base": 1024}


def example_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return an example shape, (d,) or (channels, height, width), as a tuple of int; see `vector_shape` and `image_shape`."""
    if len(shape) == 1:
        return (vector_shape(shape),)
    return image_shape(shape)


class TextbookGenerator(nn.Module):
    """Generator of data: linear, ReLU, linear, without normalisation; 100-256-784 for MNIST.

    Args:
        shape: Shape of one example: (d,), or (channels, height, width) for an image.
        latent: Length of the noise vector z.
        width: Hidden units.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, as
            long as z, is appended to z.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, whose perceptrons are larger.
    """

    def __init__(
        self, shape: Sequence[int], *, latent: int = 100, width: int = 256, conditions: Kinds = None
    ) -> None:
        super().__init__()
        self.shape = example_shape(shape)
        self.latent = latent
        self.width = width
        self.conditions = kinds_of(conditions)
        self.conditioning = Conditioning(latent, conditions=self.conditions, times=0)
        self.enter = nn.Linear(latent * (2 if conditions else 1), width)
        self.leave = nn.Linear(width, math.prod(self.shape))

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], latent: int = 100, conditions: Kinds = None
    ) -> TextbookGenerator:
        """Build one of three sizes: width 64, 256 or 1024; about 0.06, 0.2 and 0.9 million parameters at 28 x 28."""
        return cls(shape, latent=latent, width=size_choice(size, WIDTHS), conditions=conditions)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Generate examples (n, *shape) in model units from standard normal noise x (n, latent)."""
        check_input(x, (self.latent,), "TextbookGenerator")
        z = self.conditioning.joined(x, t, condition)
        return self.leave(F.relu(self.enter(z))).to(x.dtype).unflatten(1, self.shape)


class TextbookCritic(nn.Module):
    """Critic of data: linear, leaky ReLU (0.2), linear, without normalisation, to one score; 784-256-1 for MNIST.

    Labels enter by projection (`ProjectionHead`).

    Args:
        shape: Shape of one example: (d,), or (channels, height, width) for an image.
        width: Hidden units.
        conditions: Kinds of condition by name; None for an unconditional network.
        minibatch_std: Group size for the standard deviation appended to the hidden units
            (`append_minibatch_std`); 0 leaves it out.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, whose perceptrons are larger.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 256,
        conditions: Kinds = None,
        minibatch_std: int = 0,
    ) -> None:
        super().__init__()
        self.shape = example_shape(shape)
        self.width = width
        self.conditions = kinds_of(conditions)
        self.minibatch_std = minibatch_std
        self.enter = nn.Linear(math.prod(self.shape), width)
        self.leave = ProjectionHead(width + (1 if minibatch_std else 0), conditions)

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, minibatch_std: int = 0
    ) -> TextbookCritic:
        """Build one of three sizes: width 64, 256 or 1024; about 0.05, 0.2 and 0.8 million parameters at 28 x 28."""
        return cls(
            shape,
            width=size_choice(size, WIDTHS),
            conditions=conditions,
            minibatch_std=minibatch_std,
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute scores (n,) for examples (n, *shape)."""
        check_input(x, self.shape, "TextbookCritic")
        h = F.leaky_relu(self.enter(x.flatten(1)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h, t, condition).to(x.dtype)
