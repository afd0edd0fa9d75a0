"""Variational bounds on log p(x): their weights, Gaussian log densities, KL terms, importance weights and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pushforward.arguments import share, weight, whole
from pushforward.denoisers import Condition
from pushforward.draws import BLOCK, Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Now


@dataclass(frozen=True)
class EvidenceBound:
    """E_q log p(x | z) - beta KL(q(z | x) | p(z)), or a tighter bound by several latents.

    Args:
        beta: The weight of the KL term; 0 is the plain autoencoder, whose latent is the encoder's mean.
        warmup: The share of training over which the weight rises from 0 to beta.
        free_bits: Nats that each number of the latent may carry at no cost (`above_free_bits`).
        samples: Latents of each example, for the importance-weighted bound.
        dreg: Whether the gradient is the doubly reparameterised one (with one latent: "sticking the landing").

    Raises:
        UsageError: For a value out of range, or settings that exclude each other.

    References:
        Higgins et al., beta-VAE (2017); Sønderby et al., Ladder VAE (2016), section 2.2, for the warm-up; Burda et al.,
        Importance Weighted Autoencoders (2016); Tucker et al., Doubly Reparameterized Gradient Estimators (2019).
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
        if self.weighted and (self.free_bits or self.beta == 0):
            raise UsageError(
                "The importance-weighted bound has no KL term of its own: leave free_bits out, and give a beta above 0."
            )

    @property
    def weighted(self) -> bool:
        """Whether it is computed from log p(x, z) - log q(z | x), not from a KL term in closed form."""
        return self.samples > 1 or self.dreg

    def weight(self, now: Now) -> float:
        """The weight of the KL term at this point of training."""
        return self.beta * min(1.0, now.progress / self.warmup) if self.warmup else self.beta


# A unit of a code is active where its posterior mean varies over data by more than this (Burda et al. 2016, section 5.2).
ACTIVE = 0.01
FREEDOM = 8  # Degrees of freedom below which a variance within classes is too rough to call a unit inactive


@runtime_checkable
class HasImportanceWeights(Protocol):
    """A method that estimates log p(x) by importance sampling; more latents give a better estimate."""

    @property
    def discrete(self) -> bool:
        """Whether it estimates probabilities of data as files hold it, not densities in model units."""

    def log_weights(self, x: Tensor, samples: int, draws: Draws, condition: Condition = None) -> Tensor:
        """Log p(x, z) - log q(z | x) for codes z drawn from q, nats (n, samples).

        Args:
            x: Data in model units, (n, *shape).
            samples: Codes drawn for each example.
            draws: Of n examples.
            condition: None or a dict of tensors with n examples.
        """


def gaussian_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor, first: int = 1) -> Tensor:
    """Log N(x; mean, variance), summed over the dimensions from ``first`` on, nats."""
    each = (x - mean).square() * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)
    return -each.flatten(first).sum(first) / 2


def standard_log_prob(z: Tensor, first: int = 1) -> Tensor:
    """Log N(z; 0, 1), summed over the dimensions from ``first`` on, nats."""
    return -(z.square() + math.log(2 * math.pi)).flatten(first).sum(first) / 2


def divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) | N(0, 1)) of each number of each example's code, nats, of the shape of ``mean``."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def above_free_bits(divergence: Tensor, free: float) -> Tensor:
    """The KL term of each example (n,) where every number of the code has ``free`` nats that cost nothing.

    A number whose mean KL over a group of 64 examples is below ``free`` counts as ``free``, so that nothing pulls it further
    down.

    Args:
        divergence: Of each number of each example, (n, *latent), from `divergences`.
        free: Nats for each number of the code; 0 leaves the KL as it is.

    References:
        Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow (2016), eq. 15.
    """
    flat = divergence.flatten(1)
    if free == 0:
        return flat.sum(1)
    return torch.cat([group.mean(0).clamp(min=free).sum().expand(len(group)) for group in flat.split(BLOCK)])


def explained(x: Tensor, reconstructed: Tensor) -> Tensor:
    """The share of the variance of examples about their mean that reconstructions explain: 1, or less, or below 0."""
    return 1 - (x - reconstructed).square().sum() / (x - x.mean(0)).square().sum()


def active_units(mean: Tensor, label: Tensor | None = None) -> Tensor:
    """How many numbers of the code vary over the examples of a batch by a variance of more than 0.01.

    Args:
        mean: Mean codes, (n, *latent).
        label: Labels that encoder and decoder receive, (n,): variance is then that within the classes, as what the label
            says needs no code. With fewer than `FREEDOM` examples beyond one of each class, it is that over all examples.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), section 5.2.
    """
    mean, groups = mean.flatten(1), 1
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


def importance_bound(log_weights: Tensor, codes: Sequence[Tensor] | None = None, beta: float = 1.0) -> Tensor:
    """Log mean_k w_k of each example (n,): the evidence bound for one code, and tighter the more there are.

    With ``codes`` its gradient is the doubly reparameterised one, whose noise does not grow with the number of codes: the
    weights must then have been computed with the encoder's distribution held constant, and codes be those that they were computed
    from, so that all of an encoder's gradient comes through them. Where a decoder's is weighted by the normalised weights w, an
    encoder's is by w (1 - beta + beta w): of log w_k = log p(x | z) + beta log(p(z) / q(z | x)) only the second part has a
    density of q, whose gradient by its own parameters is turned into one through z.

    Args:
        log_weights: Nats, (n, k).
        codes: Tensors (n, k, ...) or (n k, ...) between encoder and weights; None for the plain gradient.
        beta: The weight of the prior and the posterior within the log weights.

    References:
        Burda et al., Importance Weighted Autoencoders (2016), eq. 8; Tucker et al., Doubly Reparameterized Gradient
        Estimators for Monte Carlo Objectives (2019), eq. 8 and algorithm 1.
    """
    bound = torch.logsumexp(log_weights, 1) - math.log(log_weights.shape[1])
    if codes is None:
        return bound
    weights = torch.softmax(log_weights.detach(), 1)
    share = (1 - beta + beta * weights).reshape(-1, 1)
    for code in codes:
        if code.requires_grad:
            code.register_hook(lambda slope: (slope.reshape(len(share), -1) * share).reshape(slope.shape))
    surrogate = (weights * log_weights).sum(1)
    return bound.detach() + surrogate - surrogate.detach()


def constant(network: nn.Module) -> Callable[..., Any]:
    """The network as a function of its inputs alone: gradients pass through it, and none reaches its weights.

    Raises:
        UsageError: For sharded weights, which take gradients all the same.
    """
    if hasattr(network, "unshard"):
        raise UsageError(
            "The doubly reparameterised gradient of two layers of codes needs whole weights in every process: "
            "`shard=False`. Or leave it out: `dreg=False`."
        )
    held = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return lambda *inputs: functional_call(network, held, inputs)
