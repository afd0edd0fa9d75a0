"""Variational autoencoders of one and of two layers of codes, trained by the evidence bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pushforward.conditions.kind import mask_of
from pushforward.data import Batch, Space, TableSpace
from pushforward.denoisers.denoiser import Condition, call, condition_at
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.likelihoods import (
    SPEED,
    EvidenceBound,
    Gaussian,
    Likelihood,
    above_free_bits,
    active_units,
    constant,
    divergences,
    drawn_from,
    explained,
    gaussian_log_prob,
    importance_bound,
    mean_of,
    standard_log_prob,
)
from pushforward.methods.method import Method, Modules, Now, Turn
from pushforward.transports import Autoencoder, Map


class ClassPrior(nn.Module):
    """p(z | label) = N(mean, diag(std^2)), with a mean and a standard deviation per class and entry of the code.

    An encoder spreads the codes of each class differently, and a short training does not bring them all to N(0, I): samples
    drawn there are codes that the decoder has never decoded. A prior with parameters follows the codes instead. It is written
    as a change of variables, ``z = mean + std * w`` with ``w ~ N(0, I)``, so that everything outside sees the standard code w.

    Over the classes, means and log standard deviations average 0: encoder and decoder can shift and scale the codes of all
    classes together, and without a fixed scale a code that carries nothing would shrink. Examples without a label have N(0, I),
    and so have classes without training examples, which count in no average.

    Args:
        classes: Number of classes, at least 1.
        code: Shape of one code.
        absent: Numbers of the classes without training examples.

    References:
        Sohn et al., Learning Structured Output Representation using Deep Conditional Generative Models (2015), section 4.1: the
        conditional prior p(z | x).
    """

    def __init__(self, classes: int, code: Sequence[int], absent: Sequence[int] = ()) -> None:
        super().__init__()
        self.classes, self.code, self.absent = classes, tuple(code), tuple(absent)
        self.mean = nn.Parameter(torch.zeros(classes * math.prod(self.code)))
        self.log_std = nn.Parameter(torch.zeros(classes * math.prod(self.code)))

    def moments(self, condition: Condition, n: int) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation for each of n examples, (n, *code) each."""
        if condition is None or "label" not in condition:
            standard = self.mean.new_zeros(n, *self.code)
            return standard, standard
        label, null = condition["label"], condition.get(mask_of("label"))
        label = label if null is None else torch.where(null, self.classes, label)
        mean, log_std = (self._by_label(part)[label] for part in (self.mean, self.log_std))
        return mean, log_std

    def _by_label(self, part: Tensor) -> Tensor:
        by_class = SPEED * part.view(self.classes, *self.code)
        present = [label for label in range(self.classes) if label not in self.absent]
        centred = by_class - by_class[present].mean(0)
        if self.absent:
            centred = centred.index_fill(0, torch.tensor(self.absent, device=part.device), 0.0)
        return torch.cat([centred, torch.zeros_like(by_class[:1])])


class ToPrior(nn.Module):
    """An encoder whose codes are in the units of a prior: w = (z - mean) / std.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 c, ...)``, means then log-variances of z.
        prior: The prior of z.
    """

    def __init__(self, encoder: nn.Module, prior: ClassPrior) -> None:
        super().__init__()
        self.encoder, self.prior = encoder, prior

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean, log_variance = self.encoder(x, t, condition).chunk(2, dim=1)
        centre, log_std = self.prior.moments(condition, x.shape[0])
        return torch.cat([(mean - centre) * torch.exp(-log_std), log_variance - 2 * log_std], dim=1)


class FromPrior(nn.Module):
    """A decoder that takes codes in the units of a prior: z = mean + std w.

    Args:
        decoder: ``decoder(z, None, condition) -> (n, ...)``.
        prior: The prior of z.
    """

    def __init__(self, decoder: nn.Module, prior: ClassPrior) -> None:
        super().__init__()
        self.decoder, self.prior = decoder, prior

    def forward(self, w: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean, log_std = self.prior.moments(condition, w.shape[0])
        return self.decoder(mean + torch.exp(log_std) * w, t, condition)


NOTHING = -40.0  # The log-variance of codes that are certain


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
    def players(self) -> Modules:
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
        return self.likelihood.discrete

    @property
    def code_encoder(self) -> nn.Module:
        """The encoder, to codes whose prior is N(0, I)."""
        return self.encoder if self.prior is None else ToPrior(self.encoder, self.prior)

    @property
    def code_decoder(self) -> nn.Module:
        """The decoder, from codes whose prior is N(0, I)."""
        return self.decoder if self.prior is None else FromPrior(self.decoder, self.prior)

    def losses(self, batch: Batch, now: Now) -> Iterator[Turn]:
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


WIDEST = 7.0  # No log-variance lies further from 0: standard deviations from .03 to 33


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
        mean, log_variance = gaussian_of(self.upper(z[:, : self.split], None, condition))
        return self.decoder(mean + torch.exp(log_variance / 2) * z[:, self.split :], None, condition)


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
            raise UsageError(
                "beta must be above 0 and free_bits 0 here: the upper latent layer has no meaning without its prior."
            )
        self.encoder, self.decoder, self.space = encoder, decoder, space
        self.upper_encoder, self.upper_decoder = upper_encoder, upper_decoder
        self.latent = (int(latent[0]), int(latent[1]))
        self.likelihood = Gaussian(space) if likelihood is None else likelihood

    @property
    def players(self) -> Modules:
        return {"autoencoder": self}

    @property
    def discrete(self) -> bool:
        return self.likelihood.discrete

    def losses(self, batch: Batch, now: Now) -> Iterator[Turn]:
        beta, dreg = self.bound.weight(now), self.bound.dreg
        drawn = self._weights(batch.x, self.bound.samples, now.draws, batch.condition, dreg)
        log_likelihood, ratio, codes, mean, decoded = drawn
        bound = importance_bound(log_likelihood + beta * ratio, codes if dreg else None, beta)
        note_bound(now, batch.x, log_likelihood, (self.likelihood, decoded), -ratio, beta)
        note_code(now, mean, batch.condition)
        yield "autoencoder", -bound.mean() / math.prod(self.space.shape)

    def log_weights(self, x: Tensor, samples: int, draws: Draws, condition: Condition = None) -> Tensor:
        """Log p(x, h, u) - log q(h, u | x) for codes drawn from q, nats (n, samples); see `HasImportanceWeights`."""
        log_likelihood, ratio, *_ = self._weights(x, samples, draws, condition)
        return log_likelihood + ratio

    def _weights(
        self, x: Tensor, samples: int, draws: Draws, condition: Condition, held: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor]:
        """Importance weights of codes drawn from q; ``held``: q's densities are taken as constant.

        Returns:
            log p(x | h) and log p(h, u) - log q(h, u | x), nats (n, k); both codes as the densities see them, (n k, ...); the
            mean of each example's lower code, (n, lower); the decoder's output (n k, ...).
        """
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
        return log_likelihood, (log_p - log_q).unflatten(0, (n, samples)), [seen_h, seen_u], each[0], decoded

    def autoencoder(self) -> Autoencoder:
        return Autoencoder(Bounded(self.encoder), mean_of(self.decoder, self.likelihood), self.space, standard=False)

    def transport(self) -> Map:
        """Lower codes drawn through the upper ones, decoded: draws from p(x | h), or its means for pictures (`drawn_from`)."""
        lower, upper = self.latent
        network = Descent(self.upper_decoder, mean_of(self.decoder, self.likelihood), upper)
        return Map(network, self.space, (upper + lower,), drawn_from(self.likelihood))
