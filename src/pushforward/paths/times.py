"""Which times are trained, and how much each counts: laws of t, and weights of the squared error.

References:
    Esser et al., Stable Diffusion 3 (2024), logit-normal times; Karras et al., EDM (2022), log-normal noise levels and their
    weight; Hang et al., Min-SNR (2023); Kingma et al., VDM (2021), stratified times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.paths.path import Coefficients, Path, gain


class Times(ABC):
    """A law of training times, given as the inverse of its distribution function."""

    group = 1
    """Examples that are drawn together; parts of a batch hold whole groups."""

    def __call__(self, draws: Draws, path: Path) -> Tensor:
        """Times of shape (n,), float32, inside the path's ends."""
        return self.quantile(self.numbers(draws), path).clamp(*path.ends)

    def numbers(self, draws: Draws) -> Tensor:
        """The uniform numbers that become times."""
        return draws.uniform()

    @abstractmethod
    def quantile(self, u: Tensor, path: Path) -> Tensor:
        """The time below which a share u of training times falls (or above which, where that is simpler)."""


def _normal_quantile(u: Tensor) -> Tensor:
    return torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))


class Uniform(Times):
    """Uniform between the path's ends."""

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        low, high = path.ends
        return low + u * (high - low)


class Levels(Times):
    """Uniform over the integer levels i / T, as the discrete DDPM draws them.

    Args:
        levels: T.
    """

    def __init__(self, levels: int = 1000) -> None:
        self.levels = levels

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return (torch.floor(u * self.levels) + 1).clamp(max=self.levels) / self.levels


class LogitNormal(Times):
    """t = sigmoid(mean + std n) for a standard normal n; mass in the middle of the path."""

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        self.mean, self.std = mean, std

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return torch.sigmoid(self.mean + self.std * _normal_quantile(u))


class LogNormal(Times):
    """log(sigma / alpha) = mean + std n for a standard normal n: EDM's law of noise levels, on any path.

    Args:
        mean: The mean of log(sigma / alpha). EDM's -1.2 is for data of standard deviation 0.5; in model units, where it is
            1, the same law has mean -1.2 + log 2 = -0.51.
        std: Its standard deviation, above 0.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2) -> None:
        self.mean, self.std = mean, std

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return path.time(-2 * (self.mean + self.std * _normal_quantile(u)))


class LogSNR(Times):
    """Uniform in log-SNR: with a flat weight on the noise, the loss is the likelihood bound (Kingma et al. 2021, eq. 18).

    Args:
        low: The least log-SNR, where x_t is all but noise.
        high: The greatest, where it is all but data.
    """

    def __init__(self, low: float = -7.0, high: float = 12.5) -> None:
        self.low, self.high = low, high

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return path.time(self.high - u * (self.high - self.low))


class Stratified(Times):
    """Another law with one draw in each of ``group`` equal shares, which lowers the variance of the loss for free.

    Args:
        times: The law.
        group: Examples that share a stratification; a batch that is no multiple leaves a smaller last group.
    """

    def __init__(self, times: Times, group: int = 64) -> None:
        self.times, self.group = times, group

    def numbers(self, draws: Draws) -> Tensor:
        parts = [(torch.arange(len(part), device=part.device) + part) / len(part) for part in draws.uniform().split(self.group)]
        return torch.cat(parts)

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return self.times.quantile(u, path)


class Weight(ABC):
    """A weight of the squared error; each is stated for one prediction and moved to others by `gain`."""

    def __call__(self, kind: str, k: Coefficients) -> Tensor:
        """The weight for the squared error of ``kind``, of the shape of k's parts."""
        return self.on_data(k) * gain(kind, "data", k) ** 2

    @abstractmethod
    def on_data(self, k: Coefficients) -> Tensor:
        """The weight for the squared error in the data prediction."""


class Flat(Weight):
    """Weight 1 for one kind of prediction.

    Args:
        kind: The prediction whose error counts equally at all times; None means the network's own.
    """

    def __init__(self, kind: str | None = None) -> None:
        self.kind = kind

    def __call__(self, kind: str, k: Coefficients) -> Tensor:
        """gain(kind, self.kind)^2."""
        return torch.ones_like(k.alpha) if self.kind in (None, kind) else gain(kind, self.kind or kind, k) ** 2

    def on_data(self, k: Coefficients) -> Tensor:
        return self("data", k)


class SNR(Weight):
    """alpha^2 / sigma^2 on the data error, which is a flat weight on the noise error."""

    def on_data(self, k: Coefficients) -> Tensor:
        return (k.alpha / k.sigma) ** 2


class MinSNR(Weight):
    """min(SNR, gamma) on the data error.

    Args:
        gamma: Where the weight stops growing.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        self.gamma = gamma

    def on_data(self, k: Coefficients) -> Tensor:
        return ((k.alpha / k.sigma) ** 2).clamp(max=self.gamma)


class EDMWeight(Weight):
    """EDM's (sigma^2 + 1) / sigma^2 on the data error at sigma / alpha; a flat weight on v."""

    def on_data(self, k: Coefficients) -> Tensor:
        return (k.r / k.sigma) ** 2
