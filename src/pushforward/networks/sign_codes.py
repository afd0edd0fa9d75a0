"""Discrete noise for a generator: the signs of its numbers, so that it can jump from one mode to the next."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.errors import UsageError
from pushforward.networks.checks import positive
from pushforward.networks.embedding import Condition

MOST = 16
"""Signs that a table may have, one vector for each of their patterns."""


class SignCodes(nn.Module):
    """A generator that receives z scaled down, and beside it a learned code for the pattern of the signs of its first numbers.

    A continuous map takes connected noise to connected samples: between modes that data keeps apart it must leave bridges, as
    thin as its slope is steep. The signs, fair coins, make it continuous in pieces only, one for each of 2^signs patterns, and
    the pieces can lie apart. A pattern's code starts as the signs themselves and learns alone, so that each piece can leave one
    mode for another without its neighbours. Within a piece z could still decide between two modes and leave a bridge; so it is
    scaled down: the code selects the mode, z the place within it. For its user z stays standard normal: seeds, interpolation and
    truncation mean what they mean elsewhere; a path through z jumps where a sign changes.

    Args:
        network: ``network(z, None, condition)`` for z of latent + signs numbers.
        latent: Length of z.
        sign_codes: How many of its numbers show their signs, at most ``latent`` and 16.
        scale: Factor of z; 1 leaves it unchanged.

    Raises:
        UsageError: A number is out of range.

    References:
        Khayatkhoei, Elgammal, Singh, Disconnected Manifold Learning for GANs (2018), and Tanielian et al., Learning
        Disconnected Manifolds: a No GAN's Land (2020), for what continuity costs; Gurumurthy et al., DeLiGAN (2017), for noise
        from a mixture whose parts are learned.
    """

    powers: Tensor

    def __init__(self, network: nn.Module, latent: int, sign_codes: int, scale: float = 0.3) -> None:
        super().__init__()
        positive(latent=latent, sign_codes=sign_codes)
        if sign_codes > min(latent, MOST):
            raise UsageError(f"z has {latent} numbers and cannot show {sign_codes} signs; expected at most {min(latent, MOST)}.")
        if not 0 < scale < math.inf:
            raise UsageError(f"scale is {scale}; expected a number above 0.")
        self.network, self.latent, self.sign_codes, self.scale = network, latent, sign_codes, scale
        self.register_buffer("powers", 2 ** torch.arange(sign_codes), persistent=False)
        patterns = torch.arange(2**sign_codes)[:, None].bitwise_and(self.powers) > 0
        self.codes = nn.Parameter(2.0 * patterns - 1.0)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """``network`` on ``scale`` z and the code of its signs, for noise x (n, latent)."""
        pattern = ((x[:, : self.sign_codes] > 0) * self.powers).sum(1)
        return self.network(torch.cat([self.scale * x, F.embedding(pattern, self.codes)], dim=1), t, condition)
