"""Variational autoencoders: one player, the evidence lower bound."""

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
from pushforward.transports import Autoencoder, Map

__all__ = ["VAE", "Probabilities"]

LIKELIHOODS = ("gaussian", "bernoulli")
SPEED = 10.0
"""The log-variance is this many times its parameter, so that it keeps pace with the decoder at the decoder's learning rate."""


class Probabilities(nn.Module):
    """A decoder of logits, read as the mean of binary data in model units.

    Args:
        network: ``network(z, None, condition) -> logits``.
        space: Units of the data, which is 0 or 1.
    """

    def __init__(self, network: nn.Module, space: Space) -> None:
        super().__init__()
        self.network, self.space = network, space

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """to_model(sigmoid(logits))."""
        return self.space.to_model(torch.sigmoid(self.network(z, t, condition)))


class VAE(Method):
    """Maximise E_q log p(x | z) - beta KL(q(z | x) | N(0, 1)).

    The Gaussian likelihood has one variance for all entries, learned with the weights, which calibrates
    reconstruction against the KL term: there is no weight to tune. The loss is the negative bound in nats per entry.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 latent)``, means then log-variances.
        decoder: ``decoder(z, None, condition) -> x`` in model units, or logits where the likelihood is Bernoulli.
        space: The data's shape and units.
        latent: Numbers in one code.
        likelihood: "gaussian", or "bernoulli" for data of zeros and ones.
        beta: The weight of the KL term; 0 is the plain autoencoder, whose code is the encoder's mean.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes (2014); Higgins et al., beta-VAE (2017); Rybkin et al., Simple and
        Effective VAE Training with Calibrated Decoders (sigma-VAE, 2021).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        space: Space,
        *,
        latent: int = 16,
        likelihood: str = "gaussian",
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            hint = did_you_mean(likelihood, LIKELIHOODS)
            raise UsageError(f'Unknown likelihood "{likelihood}"; known: {", ".join(LIKELIHOODS)}.{hint}')
        if likelihood == "bernoulli" and not space.binary:
            raise UsageError("The Bernoulli likelihood needs data of zeros and ones; use the Gaussian one.")
        if not 0 <= beta < math.inf:
            raise UsageError(f"beta must be 0 or more and finite, got {beta}.")
        self.encoder, self.decoder, self.space = encoder, decoder, space
        self.latent, self.likelihood, self.beta = latent, likelihood, beta
        self.spread = nn.Parameter(torch.zeros(()))

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """One: encoder, decoder and variance together."""
        return {"autoencoder": self}

    @property
    def log_variance(self) -> Tensor:
        """The log-variance of the Gaussian likelihood, in model units."""
        return SPEED * self.spread

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor]]:
        """The negative evidence lower bound, nats per entry of x."""
        mean, log_variance = call(self.encoder, batch.x, None, batch.condition).chunk(2, dim=1)
        if self.beta == 0:
            z, divergence = mean, torch.zeros_like(mean[:, 0])
        else:
            z = mean + torch.exp(log_variance / 2) * now.draws.normal((self.latent,))
            divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        decoded = call(self.decoder, z, None, batch.condition)
        bound = self.log_likelihood(batch.x, decoded) - self.beta * divergence
        yield "autoencoder", -bound.mean() / math.prod(self.space.shape)

    def log_likelihood(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Log p(x | z) of each row, nats: in model units (Gaussian), or of the zeros and ones (Bernoulli).

        Args:
            x: Data, (n, *shape), model units.
            decoded: The decoder's output for it.
        """
        if self.likelihood == "bernoulli":
            bits = self.space.to_data(x).round()
            return -F.binary_cross_entropy_with_logits(decoded, bits, reduction="none").flatten(1).sum(1)
        errors = (x - decoded).square() * torch.exp(-self.log_variance)
        return -(errors + self.log_variance + math.log(2 * math.pi)).flatten(1).sum(1) / 2

    def _mean(self) -> nn.Module:
        return Probabilities(self.decoder, self.space) if self.likelihood == "bernoulli" else self.decoder

    def autoencoder(self) -> Autoencoder:
        """Encoder and decoder, for latents."""
        return Autoencoder(self.encoder, self._mean(), self.space)

    def transport(self) -> Map:
        """The decoder's mean at codes drawn from the prior."""
        return Map(self._mean(), self.space, (self.latent,))
