"""How alike two images are to a denoiser: the distance of its own features, which needs no other network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from pushforward.arguments import number
from pushforward.couplings import Source, training_noise
from pushforward.denoiser import Denoiser
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.paths import Linear
from pushforward.predictor import Condition

GROUP = 16
"""Channels that are normalised together."""


@runtime_checkable
class Featured(Protocol):
    """A network that shows its features."""

    def features(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> list[Tensor]:
        """Maps of features, each (n, channels, height, width)."""
        ...


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
        UsageError: For a negative weight, or times out of order.

    References:
        Lin and Yang, Diffusion Model with Perceptual Loss (2024), for the features of the denoiser itself.
    """

    weight: float = 1.0
    low: float = 0.02
    high: float = 0.4

    def __post_init__(self) -> None:
        if not number("weight", self.weight) >= 0:
            raise UsageError(f"The weight of a likeness cannot be negative, got {self.weight}.")
        if not 0 < self.low <= self.high < 1:
            raise UsageError(f"The times of a likeness need 0 < low <= high < 1, got low={self.low} and high={self.high}.")

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
        with torch.no_grad():
            wanted = self._features(denoiser, pair[1], (at, noise), condition)
        given = self._features(denoiser, pair[0], (at, noise), condition)
        levels = [(a - b).square().flatten(1).mean(1) for a, b in zip(given, wanted, strict=True)]
        return torch.stack(levels).mean(0)

    def _features(self, denoiser: Denoiser, x: Tensor, noised: tuple[Tensor, Tensor], condition: Condition) -> list[Tensor]:
        at, noise = noised
        k = denoiser.coefficients(x, at)
        maps = denoiser.network_features(k.alpha * x + k.sigma * noise, at, condition)
        return [F.group_norm(h, max(1, h.shape[1] // GROUP)) for h in maps]
