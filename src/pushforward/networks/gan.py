"""Generators and critics of images: DCGAN, residual and textbook ones, critics of patches, packs of examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.conditions.kind import ConditionKind
from pushforward.errors import UsageError
from pushforward.networks.blocks import (
    SLOPE,
    InvertedBlock,
    ProjectionHead,
    Resample,
    Spectral,
    append_minibatch_std,
    convolution,
    doubling,
    fold,
    halving,
    linear,
    pad_to,
    unfold,
)
from pushforward.networks.checks import (
    check_input,
    image_shape,
    level_widths,
    size_choice,
    stem_of,
    vector_shape,
)
from pushforward.networks.embedding import Condition, Conditioning, Kinds, check_condition, kinds_of, values_of


def halvings(height: int, width: int) -> int:
    """How often an image is halved, rounding up: until no side is longer than 4, and at least twice."""
    side, number = max(height, width), 0
    while number < 2 or -(-side // 2**number) > 4:
        number += 1
    return number


def start(network: nn.Module) -> None:
    """Draw the weights of linear layers and convolutions from normal(0, 0.02), as the paper does; biases start at zero."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class DCGANGenerator(nn.Module):
    """Noise to images: a linear layer onto the coarsest grid, then transposed convolutions 4 x 4 that double it.

    All layers but the last have batch normalisation and ReLU. The paper's last tanh is left out, since model units have no
    such bounds. An image of 64 x 64 starts at 4 x 4 as in the paper; other sizes are made at the next size that doublings
    reach and cropped at the bottom and right.

    Args:
        shape: (channels, height, width) of one image.
        latent: Length of the noise vector z.
        width: Channels before the last layer; each coarser grid has twice as many, up to eight times.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, as long as z, is joined to z.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, 2016.
    """

    def __init__(self, shape: Sequence[int], *, latent: int = 100, width: int = 64, conditions: Kinds = None) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.latent, self.width = latent, width
        self.conditions = kinds_of(conditions)
        number = halvings(*self.shape[1:])
        channels = level_widths(width, number, 8)[::-1]
        height, breadth = (-(-side // 2**number) for side in self.shape[1:])
        self.grid = (channels[0], height, breadth)
        self.conditioning = Conditioning(latent, conditions=self.conditions, times=0)
        self.enter = nn.Linear(latent * (2 if conditions else 1), channels[0] * height * breadth, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(w) for w in channels])
        self.grow = nn.ModuleList([nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False) for a, b in pairwise(channels)])
        self.leave = nn.ConvTranspose2d(channels[-1], self.shape[0], 4, stride=2, padding=1)
        start(self)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], latent: int = 100, conditions: Kinds = None) -> DCGANGenerator:
        """Build one of three sizes: about 0.15, 0.9 and 3.5 million parameters at 28 x 28, labels apart."""
        return cls(shape, latent=latent, width=width_of(size, shape), conditions=conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Images (n, *shape) in model units of standard normal noise x (n, latent); n at least 2 in training mode."""
        check_input(x, (self.latent,), "DCGANGenerator")
        z = self.conditioning.joined(x, t, condition)
        h = self.enter(z).unflatten(1, self.grid).contiguous(memory_format=torch.channels_last)
        h = F.relu(self.norms[0](h))
        for grow, norm in zip(self.grow, self.norms[1:], strict=True):
            h = F.relu(norm(grow(h)))
        return self.leave(h)[:, :, : self.shape[1], : self.shape[2]].to(x.dtype)


class DCGANCritic(nn.Module):
    """Images to one number: strided convolutions 4 x 4 with leaky ReLU of slope 0.2, then a linear layer.

    All convolutions but the first have batch normalisation. Images whose sides cannot be halved often enough are padded at
    the bottom and right by their last row and column. Labels enter by projection (`ProjectionHead`).

    Args:
        shape: (channels, height, width) of one image.
        width: Channels after the first layer; each coarser grid has twice as many, up to eight times.
        conditions: Kinds of condition by name; None for an unconditional network.
        minibatch_std: Examples in a group whose deviation joins the last features (`append_minibatch_std`); 0 leaves it out.
        normalise: Whether there is batch normalisation. Leave it out beside gradient penalties, which are meant for the slope
            of one sample's score, and beside `Spectral`, whose bound it breaks.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, 2016;
        Gulrajani et al., Improved Training of Wasserstein GANs, 2017, section 4, on penalties and batch normalisation.
    """

    def __init__(
        self, shape: Sequence[int], *, width: int = 64, conditions: Kinds = None, minibatch_std: int = 0, normalise: bool = True
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.width = width
        self.conditions = kinds_of(conditions)
        self.minibatch_std, self.normalise = minibatch_std, normalise
        number = halvings(*self.shape[1:])
        channels = level_widths(width, number, 8)
        self.multiple = 2**number
        area = -(-self.shape[1] // self.multiple) * -(-self.shape[2] // self.multiple)
        self.enter = nn.Conv2d(self.shape[0], channels[0], 4, stride=2, padding=1)
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 4, stride=2, padding=1, bias=not normalise) for a, b in pairwise(channels)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(w) if normalise else nn.Identity() for w in channels[1:]])
        self.leave = ProjectionHead((channels[-1] + (1 if minibatch_std else 0)) * area, conditions)
        start(self)

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, minibatch_std: int = 0, normalise: bool = True
    ) -> DCGANCritic:
        """Build one of three sizes: about 0.04, 0.5 and 2.6 million parameters at 28 x 28."""
        width = width_of(size, shape)
        return cls(shape, width=width, conditions=conditions, minibatch_std=minibatch_std, normalise=normalise)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,) of images (n, channels, height, width); n at least 2 in training mode with batch normalisation."""
        check_input(x, self.shape, "DCGANCritic")
        padded = pad_to(x, self.multiple).contiguous(memory_format=torch.channels_last)
        h = F.leaky_relu(self.enter(padded), SLOPE)
        for shrink, norm in zip(self.shrink, self.norms, strict=True):
            h = F.leaky_relu(norm(shrink(h)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h.flatten(1), t, condition).to(x.dtype)


def width_of(size: str, shape: Sequence[int]) -> int:
    """The finest width of a named size; small images have few grids, which are wider."""
    width = size_choice(size, {"tiny": 16, "small": 56, "base": 128})
    return width if max(image_shape(shape)[1:]) >= 16 else 2 * width


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


WIDTHS = {"tiny": 64, "small": 256, "base": 1024}


def example_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one example, (d,) or (channels, height, width), as a tuple of int; see `vector_shape` and `image_shape`."""
    return (vector_shape(shape),) if len(shape) == 1 else image_shape(shape)


class TextbookGenerator(nn.Module):
    """Noise to data: linear, ReLU, linear, without normalisation; 100-256-784 for MNIST.

    Args:
        shape: Shape of one example: (d,), or (channels, height, width) of one image.
        latent: Length of the noise vector z.
        width: Hidden units.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, as long as z, is joined to z.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, whose perceptrons are larger.
    """

    def __init__(self, shape: Sequence[int], *, latent: int = 100, width: int = 256, conditions: Kinds = None) -> None:
        super().__init__()
        self.shape = example_shape(shape)
        self.latent, self.width = latent, width
        self.conditions = kinds_of(conditions)
        self.conditioning = Conditioning(latent, conditions=self.conditions, times=0)
        self.enter = nn.Linear(latent * (2 if conditions else 1), width)
        self.leave = nn.Linear(width, math.prod(self.shape))

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], latent: int = 100, conditions: Kinds = None) -> TextbookGenerator:
        """Build one of three sizes: width 64, 256 or 1024; about 0.06, 0.2 and 0.9 million parameters at 28 x 28."""
        return cls(shape, latent=latent, width=size_choice(size, WIDTHS), conditions=conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Examples (n, *shape) in model units of standard normal noise x (n, latent)."""
        check_input(x, (self.latent,), "TextbookGenerator")
        z = self.conditioning.joined(x, t, condition)
        return self.leave(F.relu(self.enter(z))).to(x.dtype).unflatten(1, self.shape)


class TextbookCritic(nn.Module):
    """Data to one number: linear, leaky ReLU of slope 0.2, linear, without normalisation; 784-256-1 for MNIST.

    Labels enter by projection (`ProjectionHead`).

    Args:
        shape: Shape of one example: (d,), or (channels, height, width) of one image.
        width: Hidden units.
        conditions: Kinds of condition by name; None for an unconditional network.
        minibatch_std: Examples in a group whose deviation joins the hidden units (`append_minibatch_std`); 0 leaves it out.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, whose perceptrons are larger.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 256, conditions: Kinds = None, minibatch_std: int = 0) -> None:
        super().__init__()
        self.shape = example_shape(shape)
        self.width = width
        self.conditions = kinds_of(conditions)
        self.minibatch_std = minibatch_std
        self.enter = nn.Linear(math.prod(self.shape), width)
        self.leave = ProjectionHead(width + (1 if minibatch_std else 0), conditions)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, minibatch_std: int = 0) -> TextbookCritic:
        """Build one of three sizes: width 64, 256 or 1024; about 0.05, 0.2 and 0.8 million parameters at 28 x 28."""
        return cls(shape, width=size_choice(size, WIDTHS), conditions=conditions, minibatch_std=minibatch_std)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,) of examples (n, *shape)."""
        check_input(x, self.shape, "TextbookCritic")
        h = F.leaky_relu(self.enter(x.flatten(1)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h, t, condition).to(x.dtype)


class PatchCritic(nn.Module):
    """A score for every patch of an image: is it real, or put out by a decoder?

    Convolutions of 4 x 4, halving the sides but for the last, with leaky ReLU and spectral normalisation, so that no penalty
    is needed. It also gives the features on the way, in which reconstructions can be compared.

    Args:
        shape: (channels, height, width) of one image.
        width: Channels after the first convolution, doubled after each further one up to eight times.
        depth: Convolutions that halve the sides; each doubles, and more, the side of a patch.

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, section 3.2.2; Miyato et al., 2018.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.width, self.depth = width, depth
        widths = [self.shape[0], *level_widths(width, depth, 8)]
        self.halve = nn.ModuleList([nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)])
        self.mix = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.leave = nn.Conv2d(widths[-1], 1, 1)
        Spectral(self.halve)
        Spectral(self.mix)
        Spectral(self.leave)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int]) -> PatchCritic:
        """Build one of three sizes: 16, 32 or 64 channels at first; 2 halvings, 3 in base."""
        width, depth = size_choice(size, {"tiny": (16, 2), "small": (32, 2), "base": (64, 3)})
        return cls(shape, width=width, depth=depth)

    def features(self, x: Tensor) -> list[Tensor]:
        """The features after each convolution, finest first, and last the scores (n, 1, h, w).

        Args:
            x: (n, channels, height, width), model units.

        Raises:
            UsageError: The shape does not fit.
        """
        check_input(x, self.shape, "PatchCritic")
        h, maps = fold(self._padded(x), 1), []
        for layer in (*self.halve, self.mix):
            h = F.leaky_relu(layer(h), SLOPE)
            maps.append(h)
        return [*maps, self.leave(h)]

    def _padded(self, x: Tensor) -> Tensor:
        """Sides of whole halvings, of which the last starts from at least 4 numbers.

        (oneDNN's bfloat16 convolution now and then gives NaN where the kernel is wider than what it goes over.)
        """
        height, width = (max(side, 2 ** (self.depth + 1)) for side in x.shape[2:])
        grown = F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), mode="replicate")
        return pad_to(grown, 2**self.depth)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n, patches) of images (n, channels, height, width) in model units; it takes no condition."""
        check_condition(condition, {}, x.shape[0])
        return self.features(x)[-1].flatten(1).to(x.dtype)


class Packed(nn.Module):
    """A critic of packs: each ``pack`` consecutive examples are joined on the channel (or feature) axis and get one score.

    Conditions are appended to their examples first, as channels: labels one-hot, numbers standardised, all zero where there are
    none. The inner network is then built without conditions.

    Args:
        network: A critic built for examples of `Packed.shape` and without conditions: ``network(x, None, None)`` gives one number
            per example.
        pack: Examples in a pack, at least 1.
        conditions: Kinds of condition by name; None for an unconditional network.

    Raises:
        UsageError: For a condition that cannot become channels.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018.
    """

    def __init__(self, network: nn.Module, pack: int, conditions: Kinds = None) -> None:
        super().__init__()
        self.network, self.pack = network, pack
        self.conditions = kinds_of(conditions)
        _channels(self.conditions)

    @staticmethod
    def shape(shape: Sequence[int], pack: int, conditions: Kinds = None) -> tuple[int, ...]:
        """The shape of one example that the inner network must be built for.

        Args:
            shape: Shape of one example of the data: (d,), or (channels, height, width).
            pack: Examples in a pack.
            conditions: Kinds of condition by name; None for an unconditional network.

        Returns:
            (pack (d + c),), or (pack (channels + c), height, width), with c channels for conditions.
        """
        return (pack * (int(shape[0]) + _channels(kinds_of(conditions))), *(int(side) for side in shape[1:]))

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n / pack,), one for each pack, of x (n, channels, height, width) or (n, d), n a multiple of ``pack``."""
        n = x.shape[0]
        if t is not None:
            raise UsageError("Got a time t, but a packed critic is built without one. Pass t=None.")
        if x.ndim < 2 or n % self.pack:
            raise UsageError(
                f"Got x of shape {tuple(x.shape)}; expected (n, channels, ...) with n a multiple of pack={self.pack}. "
                "Choose a batch, and parts of it, that packs divide."
            )
        check_condition(condition, self.conditions, n)
        for name, kind in self.conditions.items():
            values, null = values_of(name, kind, n, x.device, condition)
            channels = kind.as_channels(values).to(x.dtype)
            channels = channels if null is None else torch.where(null[:, None], 0.0, channels)
            x = torch.cat([x, channels.unflatten(1, (-1, *[1] * (x.ndim - 2))).expand(-1, -1, *x.shape[2:])], dim=1)
        packs = x.reshape(n // self.pack, self.pack * x.shape[1], *x.shape[2:])
        return self.network(packs, None, None).reshape(n // self.pack)


def _channels(kinds: Mapping[str, ConditionKind]) -> int:
    for name, kind in kinds.items():
        if not kind.channels:
            raise UsageError(f'A packed critic cannot take the condition "{name}" ({type(kind).__name__}); leave pack out.')
    return sum(kind.channels for kind in kinds.values())
