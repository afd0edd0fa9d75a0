"""Generator and critic of the textbook: perceptrons with one hidden layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.checks import check_input, count, image_shape, positive, size_choice, vector_shape
from pushforward.networks.embedding import Condition, Conditioning, Kinds, kinds_of
from pushforward.networks.minibatch_std import append_minibatch_std
from pushforward.networks.projection import ProjectionHead

__all__ = ["TextbookCritic", "TextbookGenerator"]

SLOPE = 0.2
WIDTHS = {"tiny": 64, "small": 256, "base": 1024}


def example_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Read the shape of one example, a vector or an image.

    Args:
        shape: (d,) or (channels, height, width), each at least 1.

    Returns:
        The same numbers as a tuple of int.

    Raises:
        UsageError: The shape has another rank, or a side below 1.
    """
    return (vector_shape(shape),) if len(shape) == 1 else image_shape(shape)


class TextbookGenerator(nn.Module):
    """Noise to data: linear, ReLU, linear, without normalisation; 100-256-784 for MNIST.

    Args:
        shape: Shape of one example: (d,), or (channels, height, width) of one image.
        latent: Length of the noise vector z.
        width: Hidden units.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, as long as z, is joined to z.

    Raises:
        UsageError: A size is out of range.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, whose perceptrons are larger.
    """

    def __init__(self, shape: Sequence[int], *, latent: int = 100, width: int = 256, conditions: Kinds = None) -> None:
        super().__init__()
        positive(latent=latent, width=width)
        self.shape = example_shape(shape)
        self.latent = latent
        self.width = width
        self.conditions = kinds_of(conditions)
        self.conditioning = Conditioning(latent, conditions=self.conditions, times=0)
        self.enter = nn.Linear(latent * (2 if conditions else 1), width)
        self.leave = nn.Linear(width, math.prod(self.shape))

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], latent: int = 100, conditions: Kinds = None) -> TextbookGenerator:
        """Build one of three sizes.

        Args:
            size: "tiny", "small" or "base": width 64, 256 or 1024; about 0.06, 0.2 and 0.9 million parameters at 28 x 28.
            shape: Shape of one example.
            latent: Length of z.
            conditions: Kinds of condition by name; None for an unconditional network.

        Returns:
            The network.

        Raises:
            UsageError: No such size, or ``shape`` is neither a vector nor an image.
        """
        return cls(shape, latent=latent, width=size_choice(size, WIDTHS), conditions=conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Apply.

        Args:
            x: Noise z, (n, latent), standard normal.
            t: None: a generator knows no time.
            condition: None, or values and masks by name; see `Conditioning`.

        Returns:
            (n, *shape), in model units and in the type of ``x``.

        Raises:
            UsageError: A shape does not fit, or a time or label is unexpected.
        """
        check_input(x, (self.latent,), "TextbookGenerator")
        label = self.conditioning(x.shape[0], x.device, t, condition)
        z = x if label is None else torch.cat([x, label.to(x.dtype)], dim=1)
        return self.leave(F.relu(self.enter(z))).to(x.dtype).unflatten(1, self.shape)


class TextbookCritic(nn.Module):
    """Data to one number: linear, leaky ReLU of slope 0.2, linear, without normalisation; 784-256-1 for MNIST.

    Labels enter by projection (`ProjectionHead`).

    Args:
        shape: Shape of one example: (d,), or (channels, height, width) of one image.
        width: Hidden units.
        conditions: Kinds of condition by name; None for an unconditional network.
        minibatch_std: Examples in a group whose deviation joins the hidden units (`append_minibatch_std`); 0 leaves it out.

    Raises:
        UsageError: A size is out of range.

    References:
        Goodfellow et al., Generative Adversarial Nets, 2014, section 5, whose perceptrons are larger.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 256, conditions: Kinds = None, minibatch_std: int = 0) -> None:
        super().__init__()
        positive(width=width)
        count(minibatch_std=minibatch_std)
        self.shape = example_shape(shape)
        self.width = width
        self.conditions = kinds_of(conditions)
        self.minibatch_std = minibatch_std
        self.enter = nn.Linear(math.prod(self.shape), width)
        self.leave = ProjectionHead(width + (1 if minibatch_std else 0), conditions)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, minibatch_std: int = 0) -> TextbookCritic:
        """Build one of three sizes.

        Args:
            size: "tiny", "small" or "base": width 64, 256 or 1024; about 0.05, 0.2 and 0.8 million parameters at 28 x 28.
            shape: Shape of one example.
            conditions: Kinds of condition by name; None for an unconditional network.
            minibatch_std: Examples in a group whose deviation the critic receives; 0 leaves it out.

        Returns:
            The network.

        Raises:
            UsageError: No such size, or ``shape`` is neither a vector nor an image.
        """
        return cls(shape, width=size_choice(size, WIDTHS), conditions=conditions, minibatch_std=minibatch_std)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Apply.

        Args:
            x: (n, *shape).
            t: None: a critic knows no time.
            condition: None, or values and masks by name; see `Conditioning`.

        Returns:
            (n,), in the type of ``x``.

        Raises:
            UsageError: A shape does not fit, or a time or label is unexpected.
        """
        check_input(x, self.shape, "TextbookCritic")
        h = F.leaky_relu(self.enter(x.flatten(1)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h, t, condition).to(x.dtype)
