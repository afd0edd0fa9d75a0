"""Likelihoods: of decoders, log p(x | z) in nats, and variational bounds on log p(x)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from pushforward.arguments import one_of, share, weight, whole
from pushforward.data import Space
from pushforward.denoisers import Condition
from pushforward.draws import BLOCK, Draws
from pushforward.errors import UsageError
from pushforward.methods.method import StepContext
from pushforward.registries import at

# The log-variance is this many times its parameter, so that it keeps pace with the decoder at the
# decoder's learning rate
SPEED = 10.0
START = (
    -0.2
)  # The parameter at which the log-variance starts on vectors: -2 in all. See `Gaussian`.
LEVELS = 256
LOG_TAU = math.log(2 * math.pi)  # Of the density of a standard normal number
# Logarithms of a logistic's scale, in units of half the range: from far below one level to far
# above the range
NARROWEST = -7.0
WIDEST = 4.0


class Likelihood(nn.Module, ABC):
    """Distribution of data given the output of a decoder.

    Args:
        space: Shape and units of the data.
    """

    # Whether it is a probability of data as files hold it, not a density in model units
    discrete: bool = True
    # Whether the mean has the form of data; the mean of two categories has not
    mean_is_data: bool = True

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    @property
    def outputs(self) -> tuple[int, ...]:
        """Return the shape of the decoder output for one example."""
        return self.space.shape

    @abstractmethod
    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Compute log p(x | z) of each example, in nats (n,).

        Args:
            x: Data in model units, (n, *shape).
            decoded: Decoder output, (n, *outputs).
        """

    @abstractmethod
    def mean(self, decoded: Tensor) -> Tensor:
        """Compute E[x | z] in model units, (n, *shape)."""

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        """Draw from p(x | z) in model units, (n, *shape); by default, return the mean.

        Args:
            mean: Mean E[x | z] in model units, (n, *shape).
            noise: Standard normal noise, (n, *shape).
        """
        return mean


class Gaussian(Likelihood):
    """Normal distributions around the output with one learned variance, in model units.

    On vectors the variance starts at exp(-2), because a start at the variance of each standardised
    column would collapse the posterior before anything is learned; on images, whose neighbouring
    pixels vary together, it starts at 1.

    References:
        Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders (sigma-VAE, 2021);
        Lucas et al., Don't Blame the ELBO! (2019), section 4.
    """

    discrete = False

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.spread = nn.Parameter(torch.tensor(START if len(space.shape) == 1 else 0.0))

    @property
    def log_variance(self) -> Tensor:
        """Log variance, in model units."""
        return SPEED * self.spread

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        errors = (x - decoded).square() * torch.exp(-self.log_variance)
        return -(errors + self.log_variance + LOG_TAU).flatten(1).sum(1) / 2

    def mean(self, decoded: Tensor) -> Tensor:
        return decoded

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        return mean + torch.exp(self.log_variance / 2) * noise


class Bernoulli(Likelihood):
    """Independent binary values; the decoder output holds their logits.

    Args:
        space: Shape and units of the data; values must be zeros and ones.

    Raises:
        UsageError: If the data has other values.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        if not space.binary:
            raise UsageError(
                "The Bernoulli likelihood needs binary data (zeros and ones). Use the Gaussian "
                "likelihood."
            )

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        bits = self.space.to_data(x).round()
        return (
            -F.binary_cross_entropy_with_logits(decoded, bits, reduction="none").flatten(1).sum(1)
        )

    def mean(self, decoded: Tensor) -> Tensor:
        return self.space.to_model(torch.sigmoid(decoded))

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        ones = torch.special.ndtr(noise) < self.space.to_data(mean)
        return self.space.to_model(ones.to(mean))


class LogisticMixture(Likelihood):
    """Mixture of logistic distributions per pixel, discretised to 256 levels.

    The channels of a pixel share the component, and are independent given it. The outer levels
    include everything beyond them.

    Raises:
        UsageError: If the data is not images.

    References:
        Salimans et al., PixelCNN++ (2017), eq. 1 and 2, without its regression of one channel on
        another.
    """

    def __init__(self, space: Space, components: int = 5) -> None:
        super().__init__(space)
        if space.levels != LEVELS or space.bounds is None:
            raise UsageError(
                "The logistic mixture likelihood supports only images with 256 levels. Use the "
                "Gaussian likelihood for vectors."
            )
        self.components = components

    @property
    def outputs(self) -> tuple[int, ...]:
        """Return the output shape: a logit per component, and locations and scales per channel."""
        channels, height, width = self.space.shape
        return (self.components * (1 + 2 * channels), height, width)

    def _parts(self, decoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # log weights (n, k, 1, H, W), locations and log scales (n, k, C, H, W)
        k = self.components
        channels = self.space.shape[0]
        logits, places, scales = decoded.split([k, k * channels, k * channels], dim=1)
        shaped = (k, channels)
        log_weights = torch.log_softmax(logits, 1).unsqueeze(2)
        # an output of zero has a scale of an eighth of the range, which no data is far from
        return (
            log_weights,
            places.unflatten(1, shaped),
            (scales.unflatten(1, shaped) - 1.4).clamp(NARROWEST, WIDEST),
        )

    def log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        log_weights, places, log_scales = self._parts(decoded)
        level = (self.space.to_data(x) * (LEVELS - 1)).round().unsqueeze(1)
        half = 1 / (LEVELS - 1)
        centred = level * (2 / (LEVELS - 1)) - 1 - places
        sharp = torch.exp(-log_scales)
        above = (centred + half) * sharp
        below = (centred - half) * sharp
        # P = sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)), which does not
        # cancel
        inside = (
            F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(-2 * half * sharp))
        )
        each = torch.where(
            level == 0,
            F.logsigmoid(above),
            torch.where(level == LEVELS - 1, F.logsigmoid(-below), inside),
        )
        return torch.logsumexp(log_weights + each.sum(2, keepdim=True), 1).flatten(1).sum(1)

    def mean(self, decoded: Tensor) -> Tensor:
        log_weights, places, _ = self._parts(decoded)
        middle = (log_weights.exp() * places.clamp(-1, 1)).sum(1)
        return self.space.to_model((middle + 1) / 2)


class Decoded(nn.Module):
    """Decoder that returns the mean of the data.

    Args:
        network: ``network(z, None, condition) -> (n, *outputs)``.
        likelihood: Likelihood that converts the output to the mean.
    """

    def __init__(self, network: nn.Module, likelihood: Likelihood) -> None:
        super().__init__()
        self.network = network
        self.likelihood = likelihood

    def forward(self, z: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        return self.likelihood.mean(self.network(z, t, condition))


def mean_of(decoder: nn.Module, likelihood: Likelihood) -> nn.Module:
    """Convert a decoder to a network that returns the mean of the data."""
    if isinstance(likelihood, Gaussian):
        return decoder
    return Decoded(decoder, likelihood)


def drawn_from(likelihood: Likelihood) -> Likelihood | None:
    """Return the likelihood to draw samples from; None for images, whose samples are means."""
    if likelihood.space.grid:
        return None
    return likelihood


# Likelihoods by name: where each is defined
LIKELIHOODS = {
    "gaussian": "methods.likelihoods:Gaussian",
    "bernoulli": "methods.likelihoods:Bernoulli",
    "logistic": "methods.likelihoods:LogisticMixture",
    "rows": "tables.coordinates:Rows",
}


def likelihood_of(name: str, space: Space) -> Likelihood:
    """Build a likelihood by name; "auto" is the one that suits the space.

    Raises:
        UsageError: If the name is unknown, or the likelihood does not suit the data.
    """
    one_of("likelihood", name, ("auto", *LIKELIHOODS))
    if name == "auto":
        name = space.likelihood
    return at(LIKELIHOODS[name])(space)


@dataclass(frozen=True)
class EvidenceBound:
    """Evidence lower bound E_q log p(x | z) - beta KL(q(z | x) | p(z)), or a tighter bound.

    Args:
        beta: Weight of the KL term; 0 for a plain autoencoder, whose latent is the encoder mean.
        warmup: Fraction of training over which the weight rises from 0 to beta.
        free_bits: Nats that each latent dimension may carry without cost (`above_free_bits`).
        samples: Number of latents per example for the importance-weighted bound.
        dreg: Whether to use the doubly reparameterised gradient.

    References:
        Higgins et al., beta-VAE (2017); Sønderby et al., Ladder VAE (2016), section 2.2; Burda et
        al., Importance Weighted Autoencoders (2016); Tucker et al., Doubly Reparameterized Gradient
        Estimators (2019).
    """

    beta: float = 1.0
    warmup: float = 0.0
    free_bits: float = 0.0
    samples: int = 1
    dreg: bool = False

    def __post_init__(self) -> None:
        weight("beta", self.beta)
        weight("free_bits", self.free_bits)
        share("warmup", self.warmup, " of training")
        whole("importance_samples", self.samples, 1)

    @property
    def weighted(self) -> bool:
        """Return whether the bound has no KL term in closed form."""
        return self.samples > 1 or self.dreg

    def weight(self, now: StepContext) -> float:
        """Return the weight of the KL term at this point of training."""
        if self.warmup:
            return self.beta * min(1.0, now.progress / self.warmup)
        return self.beta


# A unit of a code is active where its posterior mean varies over data by more than this (Burda et
# al. 2016, section 5.2).
ACTIVE = 0.01
# Degrees of freedom below which a variance within classes is too rough to call a unit inactive
FREEDOM = 8


@runtime_checkable
class HasImportanceWeights(Protocol):
    """Method that estimates log p(x) by importance sampling."""

    @property
    def discrete(self) -> bool:
        """Return whether the estimates are probabilities of the stored data, not densities."""

    def log_weights(
        self, x: Tensor, samples: int, draws: Draws, condition: Condition = None
    ) -> Tensor:
        """Compute log p(x, z) - log q(z | x) in nats for latents z drawn from q, (n, samples)."""


def gaussian_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor, first: int = 1) -> Tensor:
    """Compute log N(x; mean, variance), summed over the dimensions from ``first`` on, in nats."""
    each = (x - mean).square() * torch.exp(-log_variance) + log_variance + LOG_TAU
    return -each.flatten(first).sum(first) / 2


def standard_log_prob(z: Tensor, first: int = 1) -> Tensor:
    """Compute log N(z; 0, 1), summed over the dimensions from ``first`` on, in nats."""
    return -(z.square() + LOG_TAU).flatten(first).sum(first) / 2


def divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute KL(N(mean, variance) | N(0, 1)) of each latent dimension, in nats."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def above_free_bits(divergence: Tensor, free: float) -> Tensor:
    """Compute the KL term of each example (n,); ``free`` nats per dimension cost nothing.

    A dimension whose mean KL over a group of 64 examples is below ``free`` counts as ``free``.

    References:
        Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow (2016), eq.
        15.
    """
    flat = divergence.flatten(1)
    if free == 0:
        return flat.sum(1)
    return torch.cat(
        [group.mean(0).clamp(min=free).sum().expand(len(group)) for group in flat.split(BLOCK)]
    )


def explained(x: Tensor, reconstructed: Tensor) -> Tensor:
    """Compute the fraction of variance explained by reconstructions, at most 1."""
    return 1 - (x - reconstructed).square().sum() / (x - x.mean(0)).square().sum()


def active_units(mean: Tensor, label: Tensor | None = None) -> Tensor:
    """Count the latent dimensions whose variance over a batch is above 0.01.

    With labels (n,), variance is measured within classes, if at least `FREEDOM` examples are left
    beyond one per class.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), section 5.2.
    """
    mean = mean.flatten(1)
    groups = 1
    if label is not None and len(mean) - len(label.unique()) >= FREEDOM:
        present, group = label.unique(return_inverse=True)
        groups = len(present)
        sums = mean.new_zeros(groups, mean.shape[1]).index_add(0, group, mean)
        mean = mean - (sums / torch.bincount(group, minlength=groups)[:, None])[group]
    else:
        mean = mean - mean.mean(0)
    if len(mean) <= groups:
        return mean.new_zeros(())
    return (mean.square().sum(0) / (len(mean) - groups) > ACTIVE).sum()


def importance_bound(
    log_weights: Tensor, codes: Sequence[Tensor] | None = None, beta: float = 1.0
) -> Tensor:
    """Compute log mean_k w_k of each example (n,), the evidence bound for one latent.

    With ``codes``, the gradient is doubly reparameterised. The weights must then be computed from
    these latents with the encoder distribution held constant; where a decoder's gradient is
    weighted by the normalised weights w, an encoder's is by w (1 - beta + beta w).

    Args:
        log_weights: Log weights in nats, (n, k).
        codes: Latents (n, k, ...) or (n k, ...) between encoder and weights; None for the plain
            gradient.
        beta: Weight of the prior and the posterior within the log weights.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), eq. 8; Tucker et al., Doubly
        Reparameterized Gradient Estimators for Monte Carlo Objectives (2019), eq. 8 and algorithm
        1.
    """
    bound = torch.logsumexp(log_weights, 1) - math.log(log_weights.shape[1])
    if codes is None:
        return bound
    weights = torch.softmax(log_weights.detach(), 1)
    share = (1 - beta + beta * weights).reshape(-1, 1)
    for code in codes:
        if code.requires_grad:
            code.register_hook(
                lambda slope: (slope.reshape(len(share), -1) * share).reshape(slope.shape)
            )
    surrogate = (weights * log_weights).sum(1)
    return bound.detach() + surrogate - surrogate.detach()


def constant(network: nn.Module) -> Callable[..., Any]:
    """Return the network as a function whose weights receive no gradients.

    Raises:
        UsageError: If weights are sharded, because these would still receive gradients.
    """
    if hasattr(network, "unshard"):
        raise UsageError(
            "The doubly reparameterised gradient of two latent layers needs unsharded weights. Use "
            "`shard=False` or `dreg=False`."
        )
    held = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return lambda *inputs: functional_call(network, held, inputs)
