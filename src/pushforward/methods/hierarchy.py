"""A variational autoencoder with two layers of codes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pushforward.data import Batch, Space
from pushforward.denoiser import Condition, rows_of
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.bounds import constant, gaussian_log_prob, importance_bound, standard_log_prob
from pushforward.methods.likelihoods import Gaussian, Likelihood, mean_of
from pushforward.methods.method import Method, Now
from pushforward.methods.vae import check_weights, note_code, warmed
from pushforward.precision import call
from pushforward.transports import Autoencoder, Map

__all__ = ["Bounded", "Descent", "HierarchicalVAE"]

WIDEST = 7.0
"""No log-variance lies further from 0: standard deviations from .03 to 33."""


class Bounded(nn.Module):
    """A network of means and log-variances whose log-variances cannot run away: 7 tanh(v / 7), which is v where v is small.

    Below another code a code has no fixed scale: where the network above tells it well, both densities gain by narrowing
    together until their ratio is one of rounding errors.

    Args:
        network: ``network(x, None, condition) -> (n, 2 c)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """Its means, and its log-variances within (-7, 7)."""
        mean, log_variance = self.network(x, t, condition).chunk(2, dim=1)
        return torch.cat([mean, WIDEST * torch.tanh(log_variance / WIDEST)], dim=1)


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
        mean, log_variance = self.upper(z[:, : self.split], None, condition).chunk(2, dim=1)
        return self.decoder(mean + torch.exp(log_variance / 2) * z[:, self.split :], None, condition)


class HierarchicalVAE(Method):
    """Two layers of codes: p(u) p(h | u) p(x | h), with q(h | x) q(u | h), trained by the importance-weighted bound.

    The lower code h is Gaussian given the upper code u, so that its distribution is as rich as the upper layer makes it; all
    means and variances are the networks', the latter within bounds (`Bounded`). The loss is the negative bound in nats per
    entry of x.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 lower)``, means then log-variances.
        decoder: ``decoder(h, None, condition) -> (n, *likelihood.outputs)``.
        upper_encoder: ``upper_encoder(h, None, condition) -> (n, 2 upper)``.
        upper_decoder: ``upper_decoder(u, None, condition) -> (n, 2 lower)``.
        space: The data's shape and units.
        latent: Numbers in the lower and in the upper code.
        likelihood: How data lies around the decoder's output; the default is `Gaussian`.
        beta: The weight of all that is not log p(x | h).
        warmup: The share of training over which it rises from 0 to beta.
        samples: Codes for each row.
        doubly: Whether the gradient is the doubly reparameterised one.

    Raises:
        UsageError: For a value out of range.

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
        beta: float = 1.0,
        warmup: float = 0.0,
        samples: int = 1,
        doubly: bool = False,
    ) -> None:
        super().__init__()
        check_weights(beta, warmup, samples)
        if beta == 0:
            raise UsageError("beta must be above 0 here: without its prior the upper code has no meaning.")
        self.encoder, self.decoder, self.space = Bounded(encoder), decoder, space
        self.upper_encoder, self.upper_decoder = Bounded(upper_encoder), Bounded(upper_decoder)
        self.latent = (int(latent[0]), int(latent[1]))
        self.likelihood = Gaussian(space) if likelihood is None else likelihood
        self.beta, self.warmup, self.samples, self.doubly = beta, warmup, samples, doubly

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """One: all networks together."""
        return {"autoencoder": self}

    @property
    def discrete(self) -> bool:
        """The likelihood's; see `Weighing`."""
        return self.likelihood.discrete

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor]]:
        """The negative bound, nats per entry of x."""
        beta = warmed(self.beta, self.warmup, now)
        weights, codes, upper = self._weights(batch.x, beta, self.samples, now.draws, batch.condition, self.doubly)
        note_code(now, *upper, beta)
        bound = importance_bound(weights, codes if self.doubly else None)
        yield "autoencoder", -bound.mean() / math.prod(self.space.shape)

    def log_weights(self, x: Tensor, samples: int, draws: Draws, condition: Condition = None) -> Tensor:
        """Log p(x, h, u) - log q(h, u | x) for codes drawn from q, nats (n, samples); see `Weighing`."""
        return self._weights(x, 1.0, samples, draws, condition)[0]

    def _weights(
        self, x: Tensor, beta: float, samples: int, draws: Draws, condition: Condition, held: bool = False
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, Tensor]]:
        """Log weights (n, k), both codes as the weights see them, and the upper posterior of each row's first code."""
        n, (lower, upper) = len(x), self.latent
        index = torch.arange(n, device=x.device).repeat_interleave(samples)
        given = rows_of(condition, index)
        mean, log_variance = (part[index] for part in call(self.encoder, x, None, condition).chunk(2, dim=1))
        h = mean + torch.exp(log_variance / 2) * draws.normal((samples, lower)).flatten(0, 1)
        above = call(self.upper_encoder, h, None, given).chunk(2, dim=1)
        u = above[0] + torch.exp(above[1] / 2) * draws.stream("upper").normal((samples, upper)).flatten(0, 1)
        # copies, so that weighting the gradients of what the densities see leaves the way from h to u alone
        seen_h, seen_u = h.clone(), u.clone()
        log_q = gaussian_log_prob(seen_h, *((mean.detach(), log_variance.detach()) if held else (mean, log_variance)))
        under = call(constant(self.upper_encoder), seen_h, None, given).chunk(2, dim=1) if held else above
        log_q = log_q + gaussian_log_prob(seen_u, under[0], under[1])
        prior = call(self.upper_decoder, seen_u, None, given).chunk(2, dim=1)
        log_p = gaussian_log_prob(seen_h, prior[0], prior[1]) + standard_log_prob(seen_u)
        told = self.likelihood.log_prob(x[index], call(self.decoder, seen_h, None, given))
        first = above[0][::samples], above[1][::samples]
        weights = (told + beta * (log_p - log_q)).unflatten(0, (n, samples))
        return weights, [seen_h, seen_u], first

    def autoencoder(self) -> Autoencoder:
        """Encoder and decoder of the lower code, for latents."""
        return Autoencoder(self.encoder, mean_of(self.decoder, self.likelihood), self.space)

    def transport(self) -> Map:
        """The decoder's mean at lower codes drawn through the upper ones."""
        lower, upper = self.latent
        return Map(Descent(self.upper_decoder, mean_of(self.decoder, self.likelihood), upper), self.space, (upper + lower,))
