"""A variational autoencoder with two layers of codes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pushforward.data import Batch, Space
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.evidence_bound import EvidenceBound
from pushforward.methods.importance_weighting import constant, gaussian_log_prob, importance_bound, standard_log_prob
from pushforward.methods.likelihoods import Gaussian, Likelihood, drawn_from, mean_of
from pushforward.methods.method import Method, Now
from pushforward.methods.vae import note_bound, note_code
from pushforward.precision import call
from pushforward.predictor import Condition, condition_at
from pushforward.transports import Autoencoder, Map

WIDEST = 7.0
"""No log-variance lies further from 0: standard deviations from .03 to 33."""


def gaussian_of(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance from a network's output, (n, 2 c): 7 tanh(v / 7) for v, which is v where v is small.

    Below another code a code has no fixed scale: where the network above predicts it well, both densities gain by narrowing
    together until their ratio is one of rounding errors.
    """
    mean, log_variance = outputs.chunk(2, dim=1)
    return mean, WIDEST * torch.tanh(log_variance / WIDEST)


class Bounded(nn.Module):
    """An encoder as the densities see it, its log-variances within (-7, 7).

    Args:
        network: ``network(x, None, condition) -> (n, 2 c)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return torch.cat(gaussian_of(self.network(x, t, condition)), dim=1)


class Descent(nn.Module):
    """Noise to data through two layers: the upper code, the lower code given it, and the data's mean.

    Args:
        upper: ``upper(h, None, condition) -> (n, 2 lower)``, means then log-variances of the lower code.
        decoder: ``decoder(z, None, condition) -> x``.
        split: Numbers of z that are the upper code; the rest is the noise of the lower one.
    """

    def __init__(self, upper: nn.Module, decoder: nn.Module, split: int) -> None:
        super().__init__()
        self.upper, self.decoder, self.split = upper, decoder, split

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """Data in model units from noise (n, upper + lower)."""
        mean, log_variance = gaussian_of(self.upper(z[:, : self.split], None, condition))
        return self.decoder(mean + torch.exp(log_variance / 2) * z[:, self.split :], None, condition)


class _Weighted(NamedTuple):
    """Latents of n examples, k of each, and their importance weights."""

    log_likelihood: Tensor
    """Log p(x | h), nats (n, k)."""
    ratio: Tensor
    """Log p(h, u) - log q(h, u | x), nats (n, k)."""
    codes: list[Tensor]
    """Both codes as the densities see them, (n k, ...)."""
    mean: Tensor
    """Of each example's lower code, (n, lower)."""
    decoded: Tensor
    """The decoder's output for the codes, (n k, *likelihood.outputs)."""


class HierarchicalVAE(Method):
    """Two layers of codes: p(u) p(h | u) p(x | h), with q(h | x) q(u | h), trained by the importance-weighted bound.

    The lower code h is Gaussian given the upper code u, so that its distribution is as rich as the upper layer makes it; all
    means and variances are the networks', the latter within bounds (`gaussian_of`). The loss is the negative bound in nats per
    entry of x.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 lower)``, means then log-variances.
        decoder: ``decoder(h, None, condition) -> (n, *likelihood.outputs)``.
        upper_encoder: ``upper_encoder(h, None, condition) -> (n, 2 upper)``.
        upper_decoder: ``upper_decoder(u, None, condition) -> (n, 2 lower)``.
        space: The data's shape and units.
        latent: Numbers in the lower and in the upper code.
        likelihood: How data lies around the decoder's output; the default is `Gaussian`.
        bound: How its halves are weighed: beta is the weight of all that is not log p(x | h).

    Raises:
        UsageError: For free bits, or beta 0.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), the networks with two stochastic layers; Tucker et al. (2019),
        and Bauer and Mnih, Generalized Doubly Reparameterized Gradient Estimators (2021), for codes below codes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        upper_encoder: nn.Module,
        upper_decoder: nn.Module,
        space: Space,
        *,
        latent: Sequence[int] = (100, 50),
        likelihood: Likelihood | None = None,
        bound: EvidenceBound | None = None,
    ) -> None:
        super().__init__()
        self.bound = bound or EvidenceBound()
        if self.bound.beta == 0 or self.bound.free_bits:
            raise UsageError("beta must be above 0 here, and free_bits 0: without its prior the upper code has no meaning.")
        self.encoder, self.decoder, self.space = encoder, decoder, space
        self.upper_encoder, self.upper_decoder = upper_encoder, upper_decoder
        self.latent = (int(latent[0]), int(latent[1]))
        self.likelihood = Gaussian(space) if likelihood is None else likelihood

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"autoencoder": self}

    @property
    def discrete(self) -> bool:
        """The likelihood's; see `HasImportanceWeights`."""
        return self.likelihood.discrete

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor]]:
        beta, dreg = self.bound.weight(now), self.bound.dreg
        weighted = self._weights(batch.x, self.bound.samples, now.draws, batch.condition, dreg)
        bound = importance_bound(weighted.log_likelihood + beta * weighted.ratio, weighted.codes if dreg else None, beta)
        note_bound(now, batch.x, weighted.log_likelihood, (self.likelihood, weighted.decoded), -weighted.ratio, beta)
        note_code(now, weighted.mean, batch.condition)
        yield "autoencoder", -bound.mean() / math.prod(self.space.shape)

    def log_weights(self, x: Tensor, samples: int, draws: Draws, condition: Condition = None) -> Tensor:
        """Log p(x, h, u) - log q(h, u | x) for codes drawn from q, nats (n, samples); see `HasImportanceWeights`."""
        weighted = self._weights(x, samples, draws, condition)
        return weighted.log_likelihood + weighted.ratio

    def _weights(self, x: Tensor, samples: int, draws: Draws, condition: Condition, held: bool = False) -> _Weighted:
        """Importance weights of codes drawn from q; ``held``: q's densities are taken as constant."""
        n, (lower, upper) = len(x), self.latent
        index = torch.arange(n, device=x.device).repeat_interleave(samples)
        given, noise = condition_at(condition, index), draws.normal((samples, lower + upper)).flatten(0, 1)
        each = gaussian_of(call(self.encoder, x, None, condition))
        mean, log_variance = (part[index] for part in each)
        h = mean + torch.exp(log_variance / 2) * noise[:, :lower]
        above = gaussian_of(call(self.upper_encoder, h, None, given))
        u = above[0] + torch.exp(above[1] / 2) * noise[:, lower:]
        # copies, so that the weights act on the gradients of the densities, not on those from h to u
        seen_h, seen_u = h.clone(), u.clone()
        log_q = gaussian_log_prob(seen_h, *((mean.detach(), log_variance.detach()) if held else (mean, log_variance)))
        under = gaussian_of(call(constant(self.upper_encoder), seen_h, None, given)) if held else above
        log_q = log_q + gaussian_log_prob(seen_u, *under)
        prior = gaussian_of(call(self.upper_decoder, seen_u, None, given))
        log_p = gaussian_log_prob(seen_h, *prior) + standard_log_prob(seen_u)
        decoded = call(self.decoder, seen_h, None, given)
        log_likelihood = self.likelihood.log_prob(x[index], decoded).unflatten(0, (n, samples))
        return _Weighted(log_likelihood, (log_p - log_q).unflatten(0, (n, samples)), [seen_h, seen_u], each[0], decoded)

    def autoencoder(self) -> Autoencoder:
        """Encoder and decoder of the lower code, for latents."""
        return Autoencoder(Bounded(self.encoder), mean_of(self.decoder, self.likelihood), self.space, standard=False)

    def transport(self) -> Map:
        """Lower codes drawn through the upper ones, decoded: draws from p(x | h), or its means for pictures (`drawn_from`)."""
        lower, upper = self.latent
        network = Descent(self.upper_decoder, mean_of(self.decoder, self.likelihood), upper)
        return Map(network, self.space, (upper + lower,), drawn_from(self.likelihood))
