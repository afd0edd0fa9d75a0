"""Discrete noise for a generator: the signs of its numbers, so that it can jump from one mode to the next."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pushforward.errors import UsageError
from pushforward.networks.checks import positive
from pushforward.networks.embedding import Condition

__all__ = ["Signs"]


class Signs(nn.Module):
    """A generator that is shown z quietly, and beside it the signs of its first numbers, which are fair coins.

    A continuous map takes connected noise to connected samples: between modes that data keeps apart it must leave bridges, as
    thin as its slope is steep. The signs make it continuous in pieces only, one for each of 2^signs patterns, and the pieces can
    lie apart. A pattern near the border of two modes still leaves a bridge where z itself decides between them; so z is scaled
    down: the signs say which mode, z where in it. For its user z stays standard normal, so seeds, interpolation and truncation
    mean what they mean elsewhere; a path through z jumps where a sign changes.

    Args:
        network: ``network(z, None, condition)`` for z of latent + signs numbers.
        latent: Length of z.
        signs: How many of its numbers show their signs, at most ``latent``.
        scale: What z is multiplied by; 1 shows it as it is.

    Raises:
        UsageError: A number is out of range.

    References:
        Khayatkhoei, Elgammal, Singh, Disconnected Manifold Learning for GANs (2018), and Tanielian et al., Learning
        Disconnected Manifolds: a No GAN's Land (2020), for what continuity costs.
    """

    def __init__(self, network: nn.Module, latent: int, signs: int, scale: float = 0.3) -> None:
        super().__init__()
        positive(latent=latent, signs=signs)
        if signs > latent:
            raise UsageError(f"z has {latent} numbers and cannot show {signs} signs; expected at most {latent}.")
        if not 0 < scale < math.inf:
            raise UsageError(f"scale is {scale}; expected a number above 0.")
        self.network, self.latent, self.signs, self.scale = network, latent, signs, scale

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """``network`` on ``scale`` z and its signs.

        Args:
            x: Noise z, (n, latent).
            t: None: a generator knows no time.
            condition: As the network takes it.
        """
        return self.network(torch.cat([self.scale * x, torch.sign(x[:, : self.signs])], dim=1), t, condition)
