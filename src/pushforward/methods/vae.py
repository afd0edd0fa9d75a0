"""Variational autoencoders: one player, the evidence lower bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pushforward.data import Batch, Space, TableSpace
from pushforward.draws import Draws
from pushforward.methods.class_prior import ClassPrior, FromPrior, ToPrior
from pushforward.methods.evidence_bound import EvidenceBound
from pushforward.methods.importance_weighting import (
    above_free_bits,
    active_units,
    divergences,
    explained,
    gaussian_log_prob,
    importance_bound,
    standard_log_prob,
)
from pushforward.methods.likelihoods import Gaussian, Likelihood, drawn_from, mean_of
from pushforward.methods.method import Method, Now
from pushforward.precision import call
from pushforward.predictor import Condition, condition_at
from pushforward.transports import Autoencoder, Map

NOTHING = -40.0
"""The log-variance of codes that are certain."""


class Deterministic(nn.Module):
    """An encoder whose codes are certain: that of a plain autoencoder, which learns no variances, or of one with a finite book.

    Args:
        network: ``network(x, None, condition) -> (n, 2 c, ...)``, or (n, c, ...) where it gives means alone.
        halved: Whether it gives log-variances as well, which are left out.
    """

    def __init__(self, network: nn.Module, halved: bool = True) -> None:
        super().__init__()
        self.network, self.halved = network, halved

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean = self.network(x, t, condition)
        mean = mean.chunk(2, dim=1)[0] if self.halved else mean
        return torch.cat([mean, torch.full_like(mean, NOTHING)], dim=1)


class VAE(Method):
    """Maximise E_q log p(x | z) - beta KL(q(z | x) | N(0, 1)), or a tighter bound by several codes.

    The loss is the negative bound in nats per entry of x. While it trains it notes the KL term and the log-likelihood (nats an
    example), the share of the variance about the mean that reconstructions explain, and how many units of the code are
    active.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 c, ...)``, means then log-variances along the first axis.
        decoder: ``decoder(z, None, condition) -> (n, *likelihood.outputs)``.
        space: The data's shape and units.
        latent: The shape of one code, or its length.
        likelihood: How data lies around the decoder's output; the default is `Gaussian`.
        classes: With 1 or more, a prior over codes is learned for each class (`ClassPrior`); with 0 it is N(0, I).
        bound: How its halves are weighed; the default is the plain bound, ``EvidenceBound()``.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes (2014); see `EvidenceBound`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        space: Space,
        *,
        latent: int | Sequence[int] = 16,
        likelihood: Likelihood | None = None,
        classes: int = 0,
        bound: EvidenceBound | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.space = encoder, decoder, space
        self.latent = latent if isinstance(latent, int) else tuple(latent)
        self.likelihood = Gaussian(space) if likelihood is None else likelihood
        self.bound, self.classes = bound or EvidenceBound(), classes
        absent = tuple(number for number, share in enumerate(space.frequencies) if share == 0)
        self.prior = ClassPrior(classes, self.code, absent) if classes and self.bound.beta else None

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"autoencoder": self}

    @property
    def group(self) -> int:
        return 64 if self.bound.free_bits else 1

    @property
    def code(self) -> tuple[int, ...]:
        """The shape of one code."""
        return (self.latent,) if isinstance(self.latent, int) else self.latent

    @property
    def discrete(self) -> bool:
        """The likelihood's; see `HasImportanceWeights`."""
        return self.likelihood.discrete

    @property
    def code_encoder(self) -> nn.Module:
        """The encoder, to codes whose prior is N(0, I)."""
        return self.encoder if self.prior is None else ToPrior(self.encoder, self.prior)

    @property
    def code_decoder(self) -> nn.Module:
        """The decoder, from codes whose prior is N(0, I)."""
        return self.decoder if self.prior is None else FromPrior(self.decoder, self.prior)

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor]]:
        beta, settings = self.bound.weight(now), self.bound
        mean, log_variance = self.posterior(batch.x, batch.condition)
        divergence = divergences(mean, log_variance)
        if settings.weighted:
            drawn = self._weights(batch.x, (mean, log_variance), settings.samples, now.draws, batch.condition, settings.dreg)
            log_likelihood, ratio, z, decoded = drawn
            bound = importance_bound(log_likelihood + beta * ratio, [z] if settings.dreg else None, beta)
        else:
            z = mean if settings.beta == 0 else mean + torch.exp(log_variance / 2) * now.draws.normal(self.code)
            decoded = call(self.code_decoder, z, None, batch.condition)
            log_likelihood = self.likelihood.log_prob(batch.x, decoded)
            bound = log_likelihood - (beta * above_free_bits(divergence, settings.free_bits) if settings.beta else 0)
        note_bound(now, batch.x, log_likelihood, (self.likelihood, decoded), divergence.flatten(1).sum(1), beta)
        note_code(now, mean, batch.condition)
        yield "autoencoder", -bound.mean() / math.prod(self.space.shape)

    def posterior(self, x: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (n, *code) each."""
        mean, log_variance = call(self.code_encoder, x, None, condition).chunk(2, dim=1)
        return mean, log_variance

    def log_weights(self, x: Tensor, samples: int, draws: Draws, condition: Condition = None) -> Tensor:
        """Log p(x, z) - log q(z | x) for codes drawn from q, nats (n, samples); see `HasImportanceWeights`."""
        log_likelihood, ratio, _, _ = self._weights(x, self.posterior(x, condition), samples, draws, condition)
        return log_likelihood + ratio

    def _weights(
        self, x: Tensor, posterior: tuple[Tensor, Tensor], samples: int, draws: Draws, condition: Condition, held: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Importance weights of codes drawn from q; ``held``: q's density is taken as constant.

        Returns:
            log p(x | z) and log p(z) - log q(z | x), nats (n, k); the codes (n, k, *code); the decoder's output (n k, ...).
        """
        mean, log_variance = (part.unsqueeze(1) for part in posterior)
        z = mean + torch.exp(log_variance / 2) * draws.normal((samples, *self.code))
        if held:
            mean, log_variance = mean.detach(), log_variance.detach()
        index = torch.arange(len(x), device=x.device).repeat_interleave(samples)
        decoded = call(self.code_decoder, z.flatten(0, 1), None, condition_at(condition, index))
        log_likelihood = self.likelihood.log_prob(x[index], decoded).unflatten(0, z.shape[:2])
        return log_likelihood, standard_log_prob(z, 2) - gaussian_log_prob(z, mean, log_variance, 2), z, decoded

    def autoencoder(self) -> Autoencoder:
        """Encoder and decoder, for latents."""
        encoder = self.code_encoder if self.bound.beta else Deterministic(self.encoder)
        drawn = self.likelihood if isinstance(self.space, TableSpace) else None
        return Autoencoder(encoder, mean_of(self.code_decoder, self.likelihood), self.space, likelihood=drawn)

    def transport(self) -> Map:
        """Codes drawn from the prior, decoded: draws from p(x | z), or its means for pictures (`drawn_from`)."""
        return Map(mean_of(self.code_decoder, self.likelihood), self.space, self.code, drawn_from(self.likelihood))


@torch.no_grad()
def note_bound(
    now: Now, x: Tensor, log_likelihood: Tensor, decoded: tuple[Likelihood, Tensor], divergence: Tensor, beta: float
) -> None:
    """Note both halves of the evidence bound in nats an example, the second's weight, and the share that is explained.

    Args:
        now: Where notes go.
        x: Data in model units, n examples.
        log_likelihood: Log p(x | z), nats (n,) or (n, k).
        decoded: The likelihood, and the decoder's output for each example, or for k codes of each example in turn.
        divergence: The KL term, nats, or an estimate of it by codes.
        beta: Its weight at this point of training.
    """
    now.notes["beta"] = x.new_tensor(beta)
    now.notes["kl"] = divergence.detach().mean()
    now.notes["log_likelihood"] = log_likelihood.detach().mean()
    if len(x) > 1:
        likelihood, outputs = decoded
        now.notes["explained"] = explained(x, likelihood.mean(outputs[:: len(outputs) // len(x)]))


@torch.no_grad()
def note_code(now: Now, mean: Tensor, condition: Condition = None) -> None:
    """Note how many units of the code are active, of how many; see `active_units`."""
    if len(mean) > 1:
        label = None if condition is None else condition.get("label")
        now.notes["active_units"] = active_units(mean, label).to(mean)
        now.notes["units"] = mean.new_tensor(mean[0].numel())
