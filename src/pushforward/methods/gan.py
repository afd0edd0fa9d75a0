"""Generative adversarial networks: a generator learns from a critic that learns from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.data import Batch, Space
from pushforward.denoiser import Condition
from pushforward.errors import UsageError, did_you_mean
from pushforward.methods.method import Method, Now
from pushforward.precision import call
from pushforward.transports import Map

__all__ = ["GAN"]

GAMES = ("relativistic", "non_saturating")


class GAN(Method):
    """The adversarial game in one step from noise to data.

    relativistic (default): the critic sees pairs, L_D = softplus(-(D(x) - D(G(z)))) and L_G = softplus(-(D(G(z)) - D(x))), with
    zero-centred penalties on real and generated samples, gamma / 2 (|grad D(x)|^2 + |grad D(G(z))|^2), which make it converge.

    non_saturating: the original game, L_D = softplus(-D(x)) + softplus(D(G(z))), L_G = softplus(-D(G(z))); without penalties
    it is known to lose modes.

    Args:
        generator: ``generator(z, None, condition) -> x``, model units.
        critic: ``critic(x, None, condition) -> (n,)`` or (n, 1).
        space: The data's shape and units.
        latent: Numbers in one row of noise.
        game: "relativistic" or "non_saturating".
        gamma: The weight of the penalties at the start; 0 leaves them out.
        gamma_end: Their weight at the end of training, on a cosine; None keeps it.

    References:
        Goodfellow et al., Generative Adversarial Nets (2014); Jolicoeur-Martineau, The Relativistic Discriminator (2019);
        Huang et al., The GAN Is Dead; Long Live the GAN! (R3GAN, 2024), eq. 2 and section 2.2 for the pair R1 + R2.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        space: Space,
        *,
        latent: int = 64,
        game: str = "relativistic",
        gamma: float = 1.0,
        gamma_end: float | None = None,
    ) -> None:
        super().__init__()
        if game not in GAMES:
            raise UsageError(f'Unknown game "{game}"; known: {", ".join(GAMES)}.{did_you_mean(game, GAMES)}')
        for name, value in {"gamma": gamma, "gamma_end": gamma if gamma_end is None else gamma_end}.items():
            if not 0 <= value < math.inf:
                raise UsageError(f"The weight {name} of the gradient penalties must be 0 or more and finite, got {value}.")
        self.generator, self.critic, self.space = generator, critic, space
        self.latent, self.game, self.gamma, self.gamma_end = latent, game, gamma, gamma_end

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The critic moves first."""
        return {"critic": self.critic, "generator": self.generator}

    def _gamma(self, progress: float) -> float:
        end = self.gamma if self.gamma_end is None else self.gamma_end
        return end + (self.gamma - end) * (1 + math.cos(math.pi * progress)) / 2

    def _scores(self, x: Tensor, condition: Condition) -> Tensor:
        return call(self.critic, x, None, condition).reshape(len(x))

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor]]:
        """The critic's turn, then the generator's, on the same generated samples."""
        fake = call(self.generator, now.draws.normal((self.latent,)), None, batch.condition)
        yield "critic", self._critic_loss(batch.x, fake.detach(), batch.condition, self._gamma(now.progress))
        yield "generator", self._generator_loss(batch.x, fake, batch.condition)

    def _critic_loss(self, real: Tensor, fake: Tensor, condition: Condition, gamma: float) -> Tensor:
        both = torch.cat([real, fake]).requires_grad_(gamma > 0)
        scores = self._scores(both, _twice(condition))
        on_real, on_fake = scores.chunk(2)
        if self.game == "relativistic":
            loss = F.softplus(on_fake - on_real)
        else:
            loss = F.softplus(-on_real) + F.softplus(on_fake)
        if gamma > 0:
            (slope,) = torch.autograd.grad(scores.sum(), both, create_graph=True)
            first, second = slope.square().flatten(1).sum(1).chunk(2)
            loss = loss + gamma / 2 * (first + second)
        return loss.mean()

    def _generator_loss(self, real: Tensor, fake: Tensor, condition: Condition) -> Tensor:
        on_fake = self._scores(fake, condition)
        if self.game == "non_saturating":
            return F.softplus(-on_fake).mean()
        with torch.no_grad():
            on_real = self._scores(real, condition)
        return F.softplus(on_real - on_fake).mean()

    def transport(self) -> Map:
        """The generator."""
        return Map(self.generator, self.space, (self.latent,))


def _twice(condition: Condition) -> Condition:
    return None if condition is None else {name: torch.cat([rows, rows]) for name, rows in condition.items()}
