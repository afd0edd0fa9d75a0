"""Distances and critics that compare images by features of a frozen denoiser."""

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
from pushforward.methods.method import Freezing
from pushforward.paths import Linear, Source, training_noise

# Number of channels that are normalised together
GROUP = 16


@runtime_checkable
class Featured(Protocol):
    """Network that returns its features."""

    def features(
        self, x: Tensor, t: Tensor | None = None, condition: Condition = None
    ) -> list[Tensor]:
        """Compute feature maps, each (n, channels, height, width)."""


@dataclass(frozen=True)
class FeatureDistance:
    """Image distance by features of a frozen denoiser, with a weight for use in a loss.

    Both images receive the same noise, at uniform times from ``low`` to ``high`` on the straight
    path. The features at one level are normalised in groups of 16 channels of one example, and
    their squared differences are averaged over entries and levels.

    References:
        Lin and Yang, Diffusion Model with Perceptual Loss (2024), for the features of the denoiser
        itself.
    """

    weight: float = 1.0
    low: float = 0.02
    high: float = 0.4

    def __post_init__(self) -> None:
        weight("likeness", self.weight)

    def noised(
        self, shape: Sequence[int], draws: Draws, source: Source | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw a time (n,) and noise (n, *shape) for each example."""
        at = self.low + (self.high - self.low) * draws.stream("time").uniform()
        return at, training_noise(source, shape, draws)

    def distance(
        self,
        denoiser: Denoiser,
        pair: tuple[Tensor, Tensor],
        noised: tuple[Tensor, Tensor],
        condition: Condition,
    ) -> Tensor:
        """Compute the mean squared difference of normalised features of two images, (n,).

        The first of the ``pair`` receives gradients; ``noised`` are times and noise.
        """
        levels, noise = noised
        path = denoiser.path
        at = path.time(Linear().log_snr(levels)).clamp(*path.ends)

        def features(x: Tensor) -> list[Tensor]:
            k = denoiser.coefficients(x, at)
            maps = denoiser.network_features(k.alpha * x + k.sigma * noise, at, condition)
            return [F.group_norm(h, max(1, h.shape[1] // GROUP)) for h in maps]

        sample, other = pair
        with torch.no_grad():
            wanted = features(other)
        differences = []
        for a, b in zip(features(sample), wanted, strict=True):
            differences.append((a - b).square().flatten(1).mean(1))
        return torch.stack(differences).mean(0)


# Entry of a condition with the times of the noise in the examples that a critic scores
LEVEL = "noise_of_critic"


class FeatureCritic(Freezing):
    """Small trainable critics on features of a frozen denoiser (`look_through`).

    Real and generated examples are mixed with noise at a uniform time, (1 - t) x + t n, so that the
    critic cannot tell them apart by their finest details alone; no gradient penalty is needed.

    References:
        Sauer et al., Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion
        Distillation (2024), for the features and the noise; Xiao et al., Tackling the Generative
        Learning Trilemma with Denoising Diffusion GANs (2022).
    """

    def __init__(self, heads: nn.Module, *, low: float = 0.02, high: float = 0.5) -> None:
        super().__init__()
        self.heads = heads
        self.low = low
        self.high = high

    def look_through(self, teacher: Denoiser) -> None:
        """Set the frozen denoiser whose features are used; its network must have them."""
        self.freeze("teacher", teacher)

    def noised(
        self, condition: Condition, draws: Draws, transform: Callable[[Tensor], Tensor]
    ) -> tuple[Condition, Callable[[Tensor], Tensor]]:
        """Return a condition with noise times, and a function that augments and adds noise."""
        t = self.low + (self.high - self.low) * draws.stream("time of noise").uniform()
        stream = draws.stream("noise of critic")

        def mixed(x: Tensor) -> Tensor:
            share = shaped(t.to(x), x)
            x = (1 - share) * transform(x)
            return x + share * training_noise(self.teacher.source, x.shape[1:], stream).to(x)

        return {**(condition or {}), LEVEL: t}, mixed

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        given = dict(condition or {})
        level = given.pop(LEVEL, None)
        if level is None:
            level = torch.full((len(x),), self.low)
        features = self.teacher.network_features(x, level.to(x), given or None)
        return self.heads(features, None, given or None)
