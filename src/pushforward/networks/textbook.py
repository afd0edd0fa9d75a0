"""Generator and critic of the textbook: perceptrons with one hidden layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.checks import check_input, count, image_shape, positive, size_choice, vector_shape
from pushforward.networks.embedding import Condition, Conditioning, Kinds, kinds_of
from pushforward.networks.minibatch_std import append_minibatch_std
from pushforward.networks.projection import ProjectionHead

SLOPE = 0.2
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
        positive(latent=latent, width=width)
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
        """Build one of three sizes: width 64, 256 or 1024; about 0.05, 0.2 and 0.8 million parameters at 28 x 28."""
        return cls(shape, width=size_choice(size, WIDTHS), conditions=conditions, minibatch_std=minibatch_std)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,) of examples (n, *shape)."""
        check_input(x, self.shape, "TextbookCritic")
        h = F.leaky_relu(self.enter(x.flatten(1)), SLOPE)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h, t, condition).to(x.dtype)
