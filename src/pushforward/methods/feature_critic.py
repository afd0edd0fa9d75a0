"""A critic that sees examples through a frozen denoiser, and noise in them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pushforward.couplings import training_noise
from pushforward.denoiser import Denoiser
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.frozen import Freezing
from pushforward.methods.likeness import Featured
from pushforward.predictor import Condition, shaped

LEVEL = "noise_of_critic"
"""The entry of a condition that holds the times of the noise in the examples that a critic scores."""


class FeatureCritic(Freezing):
    """Small critics of the features of a denoiser (`look_through`), which stays frozen: only they learn.

    Real and generated examples are mixed with noise at a random time, (1 - t) x + t n on a straight path, which keeps the critic
    from telling them apart by their finest details alone; the denoiser knows t. So no penalty on the slope is needed.

    Args:
        heads: ``heads(features, None, condition)`` -> scores (n,).
        low: The least time, above 0.
        high: The greatest, below 1; times are uniform between them.

    Raises:
        UsageError: For times out of order.

    References:
        Sauer et al., Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion Distillation (2024), for the
        features and the noise; Xiao et al., Tackling the Generative Learning Trilemma with Denoising Diffusion GANs (2022).
    """

    def __init__(self, heads: nn.Module, *, low: float = 0.02, high: float = 0.5) -> None:
        super().__init__()
        if not 0 < low <= high < 1:
            raise UsageError(f"The times of the critic's noise need 0 < low <= high < 1, got low={low} and high={high}.")
        self.heads, self.low, self.high = heads, low, high
        self.teacher: Denoiser

    def look_through(self, teacher: Denoiser) -> None:
        """Take the denoiser whose features it sees, a frozen part of the method that it belongs to.

        Raises:
            UsageError: For a denoiser whose network shows no features (`UNet.features`).
        """
        if not isinstance(teacher.network, Featured):
            raise UsageError("The features of this network cannot be read, as those of a UNet can: choose another critic.")
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
        scores: Tensor = self.heads(features, None, given or None)
        return scores
