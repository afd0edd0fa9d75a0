"""Generator and critic of DCGAN: strided convolutions with batch normalisation.

In training mode batch normalisation mixes the examples of a batch (each part of an accumulated one by itself) and follows their
mean and variance in buffers, which rules out `torch.func.jvp`; in evaluation mode examples are independent and every law of the
other networks holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.checks import check_input, count, image_shape, level_widths, positive, size_choice
from pushforward.networks.embedding import Condition, Conditioning, Kinds, kinds_of
from pushforward.networks.folding import pad_to
from pushforward.networks.minibatch_std import append_minibatch_std
from pushforward.networks.projection import ProjectionHead

SLOPE = 0.2


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
        positive(latent=latent, width=width)
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
        positive(width=width)
        count(minibatch_std=minibatch_std)
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
