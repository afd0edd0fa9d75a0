"""Images as a frozen denoiser sees them: a distance in its features, and a critic of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.arguments import weight
from pushforward.denoisers.denoiser import Condition, Denoiser, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Freezing
from pushforward.paths import Linear, Source, training_noise

GROUP = 16  # Channels that are normalised together


@runtime_checkable
class Featured(Protocol):
    """Network that returns its features."""

    def features(
        self, x: Tensor, t: Tensor | None = None, condition: Condition = None
    ) -> list[Tensor]:
        """Compute feature maps, each (n, channels, height, width)."""


@dataclass(frozen=True)
class Likeness:
    """Image distance by features of a frozen denoiser, with a weight for use in a loss.

    Both images receive the same noise. The features at one level are normalised in groups of 16 channels of one example, and
    their squared differences are averaged over entries and levels.

    Args:
        weight: Weight of the distance relative to the squared error of the mean velocity, at least
            0.
        low: Smallest time of the noise on the straight path, above 0.
        high: Largest time, below 1; times are uniform between the two.

    Raises:
        UsageError: If the weight is negative.

    References:
        Lin and Yang, Diffusion Model with Perceptual Loss (2024), for the features of the denoiser itself.
    """

    weight: float = 1.0
    low: float = 0.02
    high: float = 0.4

    def __post_init__(self) -> None:
        weight("likeness", self.weight)

    def noised(
        self, shape: Sequence[int], draws: Draws, source: Source | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw a time (n,) and noise (n, *shape), standard normal or from a source, for each example of the draws."""
        at = self.low + (self.high - self.low) * draws.stream("time").uniform()
        return at, training_noise(source, shape, draws)

    def distance(
        self,
        denoiser: Denoiser,
        pair: tuple[Tensor, Tensor],
        noised: tuple[Tensor, Tensor],
        condition: Condition,
    ) -> Tensor:
        """Compute the mean squared difference of normalised features, (n,).

        Args:
            denoiser: Denoiser whose network returns features (`Featured`).
            pair: Image that receives gradients, and image to compare with, (n, *shape), in model
                units.
            noised: Times and noise from `noised`.
            condition: Conditions, as networks take them.
        """
        at = denoiser.path.time(Linear().log_snr(noised[0])).clamp(*denoiser.path.ends)
        noise = noised[1]

        def features(x: Tensor) -> list[Tensor]:
            k = denoiser.coefficients(x, at)
            maps = denoiser.network_features(k.alpha * x + k.sigma * noise, at, condition)
            return [F.group_norm(h, max(1, h.shape[1] // GROUP)) for h in maps]

        with torch.no_grad():
            wanted = features(pair[1])
        levels = [
            (a - b).square().flatten(1).mean(1)
            for a, b in zip(features(pair[0]), wanted, strict=True)
        ]
        return torch.stack(levels).mean(0)


# The entry of a condition that holds the times of the noise in the examples that a critic scores
LEVEL = "noise_of_critic"


class FeatureCritic(Freezing):
    """Small trainable critics on features of a frozen denoiser (`look_through`).

    Real and generated examples are mixed with noise at a random time, (1 - t) x + t n on a straight
    path, so that the critic cannot tell them apart by their finest details alone; the denoiser
    knows t. Therefore no gradient penalty is needed.

    Args:
        heads: ``heads(features, None, condition)`` -> scores (n,).
        low: Smallest time, above 0.
        high: Largest time, below 1; times are uniform between the two.

    References:
        Sauer et al., Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion Distillation (2024), for the
        features and the noise; Xiao et al., Tackling the Generative Learning Trilemma with Denoising Diffusion GANs (2022).
    """

    def __init__(self, heads: nn.Module, *, low: float = 0.02, high: float = 0.5) -> None:
        super().__init__()
        self.heads = heads
        self.low = low
        self.high = high

    def look_through(self, teacher: Denoiser) -> None:
        """Set the denoiser whose features are used, a frozen part of the method.

        Raises:
            UsageError: If the denoiser's network has no features (`UNet.features`).
        """
        if not isinstance(teacher.network, Featured):
            raise UsageError(
                "Only a UNet's features can be read, and this network is not a UNet. Choose another critic."
            )
        self._frozen.pop("teacher", None)
        self.freeze("teacher", teacher)

    def noised(
        self, condition: Condition, draws: Draws, transform: Callable[[Tensor], Tensor]
    ) -> tuple[Condition, Callable[[Tensor], Tensor]]:
        """Return a condition with noise times, and a function that augments examples and adds noise, anew in each call."""
        t = self.low + (self.high - self.low) * draws.stream("time of noise").uniform()
        stream = draws.stream("noise of critic")

        def mixed(x: Tensor) -> Tensor:
            share = shaped(t.to(x), x)
            return (1 - share) * transform(x) + share * training_noise(
                self.teacher.source, x.shape[1:], stream
            ).to(x)

        return {**(condition or {}), LEVEL: t}, mixed

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """Compute scores (n,) for examples (n, *shape), in model units, with noise if the condition holds noise times."""
        given = dict(condition or {})
        level = given.pop(LEVEL, None)
        time = torch.full((len(x),), self.low) if level is None else level
        features = self.teacher.network_features(x, time.to(x), given or None)
        return self.heads(features, None, given or None)
