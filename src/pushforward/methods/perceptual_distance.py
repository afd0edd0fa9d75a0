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
    """A network that shows its features."""

    def features(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> list[Tensor]:
        """Maps of features, each (n, channels, height, width)."""


@dataclass(frozen=True)
class Likeness:
    """A distance of images by the features of a frozen denoiser, and its weight in a loss.

    Both images receive the same noise. The features at one level are normalised in groups of 16 channels of one example, and
    their squared differences are averaged over entries and levels.

    Args:
        weight: Of the distance beside the squared error of the mean velocity, 0 or more.
        low: The least time of the noise in both, on the straight path, above 0.
        high: The greatest, below 1; the times are uniform between them.

    Raises:
        UsageError: For a negative weight.

    References:
        Lin and Yang, Diffusion Model with Perceptual Loss (2024), for the features of the denoiser itself.
    """

    weight: float = 1.0
    low: float = 0.02
    high: float = 0.4

    def __post_init__(self) -> None:
        weight("likeness", self.weight)

    def noised(self, shape: Sequence[int], draws: Draws, source: Source | None = None) -> tuple[Tensor, Tensor]:
        """A time (n,) and noise (n, *shape), standard normal or from a source, for each example of the draws."""
        at = self.low + (self.high - self.low) * draws.stream("time").uniform()
        return at, training_noise(source, shape, draws)

    def distance(
        self, denoiser: Denoiser, pair: tuple[Tensor, Tensor], noised: tuple[Tensor, Tensor], condition: Condition
    ) -> Tensor:
        """The mean squared difference of normalised features, (n,).

        Args:
            denoiser: Whose network shows its features (`Featured`).
            pair: The image that gradients go to, and the one that it is compared with, (n, *shape), model units.
            noised: Times and noise, of `noised`.
            condition: As networks take it.
        """
        at, noise = denoiser.path.time(Linear().log_snr(noised[0])).clamp(*denoiser.path.ends), noised[1]

        def features(x: Tensor) -> list[Tensor]:
            k = denoiser.coefficients(x, at)
            maps = denoiser.network_features(k.alpha * x + k.sigma * noise, at, condition)
            return [F.group_norm(h, max(1, h.shape[1] // GROUP)) for h in maps]

        with torch.no_grad():
            wanted = features(pair[1])
        levels = [(a - b).square().flatten(1).mean(1) for a, b in zip(features(pair[0]), wanted, strict=True)]
        return torch.stack(levels).mean(0)


# The entry of a condition that holds the times of the noise in the examples that a critic scores
LEVEL = "noise_of_critic"


class FeatureCritic(Freezing):
    """Small critics of the features of a denoiser (`look_through`), which stays frozen: only they learn.

    Real and generated examples are mixed with noise at a random time, (1 - t) x + t n on a straight path, which keeps the critic
    from telling them apart by their finest details alone; the denoiser knows t. So no penalty on the slope is needed.

    Args:
        heads: ``heads(features, None, condition)`` -> scores (n,).
        low: The least time, above 0.
        high: The greatest, below 1; times are uniform between them.

    References:
        Sauer et al., Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion Distillation (2024), for the
        features and the noise; Xiao et al., Tackling the Generative Learning Trilemma with Denoising Diffusion GANs (2022).
    """

    def __init__(self, heads: nn.Module, *, low: float = 0.02, high: float = 0.5) -> None:
        super().__init__()
        self.heads, self.low, self.high = heads, low, high

    def look_through(self, teacher: Denoiser) -> None:
        """Take the denoiser whose features it sees, a frozen part of the method that it belongs to.

        Raises:
            UsageError: For a denoiser whose network shows no features (`UNet.features`).
        """
        if not isinstance(teacher.network, Featured):
            raise UsageError("Only a UNet's features can be read, and this network is not a UNet. Choose another critic.")
        self._frozen.pop("teacher", None)
        self.freeze("teacher", teacher)

    def noised(
        self, condition: Condition, draws: Draws, transform: Callable[[Tensor], Tensor]
    ) -> tuple[Condition, Callable[[Tensor], Tensor]]:
        """A condition with times of noise, and a function that changes examples and mixes them with noise, anew in each call."""
        t = self.low + (self.high - self.low) * draws.stream("time of noise").uniform()
        stream = draws.stream("noise of critic")

        def mixed(x: Tensor) -> Tensor:
            share = shaped(t.to(x), x)
            return (1 - share) * transform(x) + share * training_noise(self.teacher.source, x.shape[1:], stream).to(x)

        return {**(condition or {}), LEVEL: t}, mixed

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        """Scores (n,) of examples (n, *shape), model units: with noise at the times that the condition holds, else without."""
        given = dict(condition or {})
        level = given.pop(LEVEL, None)
        time = torch.full((len(x),), self.low) if level is None else level
        features = self.teacher.network_features(x, time.to(x), given or None)
        return self.heads(features, None, given or None)
