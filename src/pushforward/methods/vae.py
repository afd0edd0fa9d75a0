"""Variational autoencoders with one and two latent layers, trained by the evidence bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pushforward.conditions.kind import mask_of
from pushforward.data import Batch, Space
from pushforward.denoisers.denoiser import Condition, call, condition_at
from pushforward.draws import Draws
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
from pushforward.methods.method import Method, Modules, StepContext, Turn, reparameterised
from pushforward.transports import Autoencoder, Map

Moments = tuple[Tensor, Tensor]  # Means of a Gaussian, and their log-variances or log stds


class ClassPrior(nn.Module):
    """Learned prior p(z | label) = N(mean, diag(std^2)) per class, z = mean + std * w.

    Averaged over classes, means and log standard deviations are 0, so that the scale is fixed.
    Examples without a label and ``absent`` classes have N(0, I).

    References:
        Sohn et al., Learning Structured Output Representation using Deep Conditional Generative
        Models (2015), section 4.1: the conditional prior p(z | x).
    """

    def __init__(self, classes: int, code: Sequence[int], absent: Sequence[int] = ()) -> None:
        super().__init__()
        self.classes = classes
        self.code = tuple(code)
        self.absent = tuple(absent)
        size = classes * math.prod(code)
        self.mean = nn.Parameter(torch.zeros(size))
        self.log_std = nn.Parameter(torch.zeros(size))

    def moments(self, condition: Condition, n: int) -> Moments:
        """Compute mean and log standard deviation for each of n examples."""
        if condition is None or "label" not in condition:
            standard = self.mean.new_zeros(n, *self.code)
            return standard, standard
        label = condition["label"]
        null = condition.get(mask_of("label"))
        if null is not None:
            label = torch.where(null, self.classes, label)
        return self._by_label(self.mean)[label], self._by_label(self.log_std)[label]

    def _by_label(self, part: Tensor) -> Tensor:
        by_class = SPEED * part.view(self.classes, *self.code)
        present = [label for label in range(self.classes) if label not in self.absent]
        centred = by_class - by_class[present].mean(0)
        if self.absent:
            absent = torch.tensor(self.absent, device=part.device)
            centred = centred.index_fill(0, absent, 0.0)
        return torch.cat([centred, torch.zeros_like(by_class[:1])])


class ToPrior(nn.Module):
    """Encoder that returns latents in units of a prior: w = (z - mean) / std."""

    def __init__(self, encoder: nn.Module, prior: ClassPrior) -> None:
        super().__init__()
        self.encoder = encoder
        self.prior = prior

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean, log_variance = self.encoder(x, t, condition).chunk(2, dim=1)
        centre, log_std = self.prior.moments(condition, x.shape[0])
        return torch.cat([(mean - centre) * torch.exp(-log_std), log_variance - 2 * log_std], dim=1)


class FromPrior(nn.Module):
    """Decoder that takes latents in units of a prior: z = mean + std w."""

    def __init__(self, decoder: nn.Module, prior: ClassPrior) -> None:
        super().__init__()
        self.decoder = decoder
        self.prior = prior

    def forward(self, w: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean, log_std = self.prior.moments(condition, w.shape[0])
        return self.decoder(mean + torch.exp(log_std) * w, t, condition)


# Log-variance of latents without variance
NOTHING = -40.0


class Deterministic(nn.Module):
    """Encoder without variances; ``halved`` if the network also returns log-variances."""

    def __init__(self, network: nn.Module, halved: bool = True) -> None:
        super().__init__()
        self.network = network
        self.halved = halved

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean = self.network(x, t, condition)
        if self.halved:
            mean = mean.chunk(2, dim=1)[0]
        return torch.cat([mean, torch.full_like(mean, NOTHING)], dim=1)


class BoundedVAE(Method):
    """Base class of variational autoencoders, with the evidence bound and a likelihood."""

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        space: Space,
        likelihood: Likelihood | None,
        bound: EvidenceBound | None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.space = space
        self.likelihood = likelihood or Gaussian(space)
        self.bound = bound or EvidenceBound()

    @property
    def players(self) -> Modules:
        return {"autoencoder": self}

    @property
    def discrete(self) -> bool:
        return self.likelihood.discrete


class VAE(BoundedVAE):
    """Variational autoencoder: maximises E_q log p(x | z) - beta KL(q(z | x) | N(0, 1)).

    The loss is the negative bound, or a tighter bound, in nats per entry of x.

    Args:
        encoder: Network from data to means then log-variances of latents, along axis 1.
        decoder: Network from latents to ``likelihood.outputs``.
        space: Shape and units of the data.
        latent: Shape or length of one latent.
        likelihood: Distribution of data around the decoder output; `Gaussian` by default.
        classes: Number of classes with a learned prior each (`ClassPrior`); 0 for N(0, I).
        bound: Evidence bound and its weights.

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
        super().__init__(encoder, decoder, space, likelihood, bound)
        self.latent = latent if isinstance(latent, int) else tuple(latent)
        self.classes = classes
        self.prior: ClassPrior | None = None
        if classes and self.bound.beta:
            absent = [number for number, share in enumerate(space.frequencies) if share == 0]
            self.prior = ClassPrior(classes, self.code, absent)

    @property
    def group(self) -> int:
        if self.bound.free_bits:
            return 64
        return 1

    @property
    def code(self) -> tuple[int, ...]:
        if isinstance(self.latent, int):
            return (self.latent,)
        return self.latent

    @property
    def code_encoder(self) -> nn.Module:
        """Return the encoder to latents with the prior N(0, I)."""
        if self.prior is None:
            return self.encoder
        return ToPrior(self.encoder, self.prior)

    @property
    def code_decoder(self) -> nn.Module:
        """Return the decoder from latents with the prior N(0, I)."""
        if self.prior is None:
            return self.decoder
        return FromPrior(self.decoder, self.prior)

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Turn]:
        x = batch.x
        condition = batch.condition
        bound = self.bound
        beta = bound.weight(now)
        posterior = self.posterior(x, condition)
        mean, log_variance = posterior
        divergence = divergences(mean, log_variance)
        if bound.weighted:
            log_likelihood, ratio, z, decoded = self._weights(
                x, posterior, bound.samples, now.draws, condition, bound.dreg
            )
            codes = [z] if bound.dreg else None
            evidence = importance_bound(log_likelihood + beta * ratio, codes, beta)
        else:
            z = mean
            if bound.beta:
                z = reparameterised(mean, log_variance, now.draws.normal(self.code))
            decoded = call(self.code_decoder, z, None, condition)
            log_likelihood = self.likelihood.log_prob(x, decoded)
            evidence = log_likelihood
            if bound.beta:
                evidence = evidence - beta * above_free_bits(divergence, bound.free_bits)
        total = divergence.flatten(1).sum(1)
        note_bound(now, x, log_likelihood, (self.likelihood, decoded), total, beta)
        note_code(now, mean, condition)
        yield "autoencoder", -evidence.mean() / self.space.size

    def posterior(self, x: Tensor, condition: Condition = None) -> Moments:
        """Compute mean and log-variance of q(z | x)."""
        mean, log_variance = call(self.code_encoder, x, None, condition).chunk(2, dim=1)
        return mean, log_variance

    def log_weights(
        self, x: Tensor, samples: int, draws: Draws, condition: Condition = None
    ) -> Tensor:
        """Compute log p(x, z) - log q(z | x) for latents drawn from q, in nats (n, samples)."""
        posterior = self.posterior(x, condition)
        log_likelihood, ratio, _, _ = self._weights(x, posterior, samples, draws, condition)
        return log_likelihood + ratio

    def _weights(
        self,
        x: Tensor,
        posterior: Moments,
        samples: int,
        draws: Draws,
        condition: Condition,
        held: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw latents from q, whose density is constant if ``held``.

        Returns log p(x | z) and log p(z) - log q(z | x), nats (n, k); latents (n, k, *code);
        decoder output (n k, ...).
        """
        mean, log_variance = (part.unsqueeze(1) for part in posterior)
        z = reparameterised(mean, log_variance, draws.normal((samples, *self.code)))
        if held:
            mean = mean.detach()
            log_variance = log_variance.detach()
        index = torch.arange(len(x), device=x.device).repeat_interleave(samples)
        decoded = call(self.code_decoder, z.flatten(0, 1), None, condition_at(condition, index))
        log_likelihood = self.likelihood.log_prob(x[index], decoded).unflatten(0, z.shape[:2])
        ratio = standard_log_prob(z, 2) - gaussian_log_prob(z, mean, log_variance, 2)
        return log_likelihood, ratio, z, decoded

    def autoencoder(self) -> Autoencoder:
        encoder = self.code_encoder if self.bound.beta else Deterministic(self.encoder)
        drawn = None if self.likelihood.mean_is_data else self.likelihood
        decoder = mean_of(self.code_decoder, self.likelihood)
        return Autoencoder(encoder, decoder, self.space, likelihood=drawn)

    def transport(self) -> Map:
        decoder = mean_of(self.code_decoder, self.likelihood)
        return Map(decoder, self.space, self.code, drawn_from(self.likelihood))


@torch.no_grad()
def note_bound(
    now: StepContext,
    x: Tensor,
    log_likelihood: Tensor,
    decoded: tuple[Likelihood, Tensor],
    divergence: Tensor,
    beta: float,
) -> None:
    """Log both terms of the evidence bound in nats, the KL weight, and the variance explained.

    ``decoded`` is the likelihood, and the decoder output for k latents of each example in turn.
    """
    now.notes["beta"] = x.new_tensor(beta)
    now.notes["kl"] = divergence.detach().mean()
    now.notes["log_likelihood"] = log_likelihood.detach().mean()
    if len(x) > 1:
        likelihood, outputs = decoded
        first = outputs[:: len(outputs) // len(x)]
        now.notes["explained"] = explained(x, likelihood.mean(first))


@torch.no_grad()
def note_code(now: StepContext, mean: Tensor, condition: Condition = None) -> None:
    """Log the number of active latent units and of all units; see `active_units`."""
    if len(mean) > 1:
        label = None if condition is None else condition.get("label")
        now.notes["active_units"] = active_units(mean, label).to(mean)
        now.notes["units"] = mean.new_tensor(mean[0].numel())


# Largest absolute value of a log-variance: standard deviations from .03 to 33
WIDEST = 7.0


def gaussian_of(outputs: Tensor) -> Moments:
    """Split a network's output (n, 2 c) into mean and log-variance, bounded by 7 tanh(v / 7).

    Without bounds, two densities of latents can narrow together until their ratio consists of
    rounding errors.
    """
    mean, log_variance = outputs.chunk(2, dim=1)
    return mean, WIDEST * torch.tanh(log_variance / WIDEST)


class Bounded(nn.Module):
    """Encoder whose log-variances are bounded to (-7, 7)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return torch.cat(gaussian_of(self.network(x, t, condition)), dim=1)


class Descent(nn.Module):
    """Decoder with two layers: from noise to the upper latent, the lower latent and the data.

    The first ``split`` entries of z are the upper latent; the rest is noise of the lower latent.
    """

    def __init__(self, upper: nn.Module, decoder: nn.Module, split: int) -> None:
        super().__init__()
        self.upper = upper
        self.decoder = decoder
        self.split = split

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean, log_variance = gaussian_of(self.upper(z[:, : self.split], None, condition))
        h = reparameterised(mean, log_variance, z[:, self.split :])
        return self.decoder(h, None, condition)


class HierarchicalVAE(BoundedVAE):
    """Variational autoencoder with two latent layers, p(u) p(h | u) p(x | h) and q(h | x) q(u | h).

    The loss is the negative importance-weighted bound in nats per entry of x; beta is the weight of
    all terms except log p(x | h).

    Args:
        encoder: Network from x to moments of h, (n, 2 lower).
        decoder: Network from h to ``likelihood.outputs``.
        upper_encoder: Network from h to moments of u, (n, 2 upper).
        upper_decoder: Network from u to moments of h, (n, 2 lower).
        space: Shape and units of the data.
        latent: Dimensions of the lower and of the upper latent.
        likelihood: Distribution of data around the decoder output; `Gaussian` by default.
        bound: Evidence bound, with beta above 0 and without free bits.

    References:
        Burda et al., Importance Weighted Autoencoders (2016); Tucker et al. (2019), and Bauer and
        Mnih, Generalized Doubly Reparameterized Gradient Estimators (2021), for several latent
        layers.
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
        super().__init__(encoder, decoder, space, likelihood, bound)
        self.upper_encoder = upper_encoder
        self.upper_decoder = upper_decoder
        # stored optimiser states number the parameters, those of the likelihood last
        likelihood = self.likelihood
        del self.likelihood
        self.likelihood = likelihood
        lower, upper = map(int, latent)
        self.latent = (lower, upper)

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Turn]:
        bound = self.bound
        beta = bound.weight(now)
        log_likelihood, ratio, latents, mean, decoded = self._weights(
            batch.x, bound.samples, now.draws, batch.condition, bound.dreg
        )
        codes = latents if bound.dreg else None
        evidence = importance_bound(log_likelihood + beta * ratio, codes, beta)
        note_bound(now, batch.x, log_likelihood, (self.likelihood, decoded), -ratio, beta)
        note_code(now, mean, batch.condition)
        yield "autoencoder", -evidence.mean() / self.space.size

    def log_weights(
        self, x: Tensor, samples: int, draws: Draws, condition: Condition = None
    ) -> Tensor:
        """Compute log p(x, h, u) - log q(h, u | x) for latents drawn from q."""
        log_likelihood, ratio, *_ = self._weights(x, samples, draws, condition)
        return log_likelihood + ratio

    def _weights(
        self, x: Tensor, samples: int, draws: Draws, condition: Condition, held: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor]:
        """Draw latents from q, whose densities are constant if ``held``.

        Returns log p(x | h) and log p(h, u) - log q(h, u | x), nats (n, k); both latents as the
        densities see them, (n k, ...); the mean of each lower latent, (n, lower); decoder output
        (n k, ...).
        """
        n = len(x)
        lower, upper = self.latent
        index = torch.arange(n, device=x.device).repeat_interleave(samples)
        given = condition_at(condition, index)
        noise = draws.normal((samples, lower + upper)).flatten(0, 1)
        posterior = gaussian_of(call(self.encoder, x, None, condition))
        mean, log_variance = (part[index] for part in posterior)
        h = reparameterised(mean, log_variance, noise[:, :lower])
        above = gaussian_of(call(self.upper_encoder, h, None, given))
        u = reparameterised(*above, noise[:, lower:])
        # copies, so that weights act on the gradients of the densities, not on those from h to u
        seen_h = h.clone()
        seen_u = u.clone()
        if held:
            mean = mean.detach()
            log_variance = log_variance.detach()
        log_q = gaussian_log_prob(seen_h, mean, log_variance)
        if held:
            above = gaussian_of(call(constant(self.upper_encoder), seen_h, None, given))
        log_q = log_q + gaussian_log_prob(seen_u, *above)
        prior = gaussian_of(call(self.upper_decoder, seen_u, None, given))
        log_p = gaussian_log_prob(seen_h, *prior) + standard_log_prob(seen_u)
        decoded = call(self.decoder, seen_h, None, given)
        log_likelihood = self.likelihood.log_prob(x[index], decoded).unflatten(0, (n, samples))
        ratio = (log_p - log_q).unflatten(0, (n, samples))
        return log_likelihood, ratio, [seen_h, seen_u], posterior[0], decoded

    def autoencoder(self) -> Autoencoder:
        decoder = mean_of(self.decoder, self.likelihood)
        return Autoencoder(Bounded(self.encoder), decoder, self.space, standard=False)

    def transport(self) -> Map:
        lower, upper = self.latent
        network = Descent(self.upper_decoder, mean_of(self.decoder, self.likelihood), upper)
        return Map(network, self.space, (upper + lower,), drawn_from(self.likelihood))
