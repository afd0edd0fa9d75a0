"""How a variational autoencoder weighs the two halves of its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pushforward.arguments import share
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
        for name, weight in {"beta": self.beta, "free_bits": self.free_bits}.items():
            if not 0 <= weight < math.inf:
                raise UsageError(f"{name} must be 0 or more and finite, got {weight}.")
        share("warmup", self.warmup, " of training")
        if self.samples < 1:
            raise UsageError(f"A bound needs at least one latent of each example, got samples={self.samples}.")
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
