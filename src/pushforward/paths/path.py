"""Paths from data to noise, x_t = alpha(t) x + sigma(t) z, with their times and weights.

References:
    Kingma et al., Variational Diffusion Models (2021), for log-SNR as the coordinate in which paths
    differ only by scale, and stratified times; Albergo, Boffi, Vanden-Eijnden, Stochastic
    Interpolants (2023); Esser et al., Stable Diffusion 3 (2024), for logit-normal times; Karras et
    al., EDM (2022), for log-normal noise levels; Hang et al., Min-SNR (2023).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pushforward.arguments import one_of
from pushforward.draws import Draws
from pushforward.errors import UsageError


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of a path, each of the shape of t; dalpha and dsigma are derivatives in t."""

    alpha: Tensor
    sigma: Tensor
    dalpha: Tensor
    dsigma: Tensor

    @property
    def r(self) -> Tensor:
        """Return hypot(alpha, sigma), the standard deviation of x_t."""
        return torch.hypot(self.alpha, self.sigma)

    def over(self, x: Tensor) -> Coefficients:
        """Reshape the coefficients to multiply a batch of the shape of x."""
        shape = (-1, *[1] * (x.dim() - 1))
        parts = (self.alpha, self.sigma, self.dalpha, self.dsigma)
        return Coefficients(*(part.reshape(shape) for part in parts))

    def state(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute x_t = alpha x + sigma z."""
        return self.alpha * x + self.sigma * z

    @property
    def growth(self) -> Tensor:
        """Return the derivative of log r in t."""
        return (self.alpha * self.dalpha + self.sigma * self.dsigma) / self.r**2

    @property
    def dlog_snr(self) -> Tensor:
        """Return the derivative of the log-SNR in t, which is negative."""
        return 2 * (self.dalpha / self.alpha - self.dsigma / self.sigma)


class Path(ABC):
    """Base class of paths x_t = alpha(t) x + sigma(t) z.

    Attributes:
        ends: (t_min, t_max), between which training times lie and all conversions are defined.
    """

    ends: tuple[float, float]

    @abstractmethod
    def at(self, t: Tensor) -> Coefficients:
        """Compute the coefficients at times t of any shape, in [0, 1]."""

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor:
        """Compute log(alpha^2 / sigma^2), which decreases in t."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """Compute the inverse of `log_snr`."""

    def time_within(self, log_snr: Tensor) -> Tensor:
        """Compute the time with a log-SNR, limited to the ends of the path."""
        return self.time(log_snr).clamp(*self.ends)

    def log_snr_ends(self) -> tuple[float, float]:
        """Return the log-SNR at (t_min, t_max), the larger first."""
        high, low = self.log_snr(torch.tensor(self.ends, dtype=torch.float64)).tolist()
        return high, low


class Linear(Path):
    """Straight path of flow matching: alpha = 1 - t, sigma = t; its velocity is z - x.

    References:
        Lipman et al., Flow Matching for Generative Modeling (2023); Liu et al., Rectified Flow
        (2023).
    """

    ends = (1e-3, 1 - 1e-3)

    def at(self, t: Tensor) -> Coefficients:
        ones = torch.ones_like(t)
        return Coefficients(1 - t, t, -ones, ones)

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log1p(-t) - torch.log(t))

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


class Cosine(Path):
    """Trigonometric path with constant variance: alpha = cos(pi t / 2), sigma = sin(pi t / 2).

    References:
        Nichol and Dhariwal, Improved DDPM (2021); Albergo and Vanden-Eijnden (2023).
    """

    ends = (1e-3, 1 - 1e-3)

    def at(self, t: Tensor) -> Coefficients:
        half = math.pi / 2
        # sin of the complement keeps alpha exact near t = 1
        alpha = torch.sin(half * (1 - t))
        sigma = torch.sin(half * t)
        return Coefficients(alpha, sigma, -half * sigma, half * alpha)

    def log_snr(self, t: Tensor) -> Tensor:
        half = math.pi / 2
        return 2 * (torch.log(torch.sin(half * (1 - t))) - torch.log(torch.sin(half * t)))

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi)


@dataclass(eq=False)
class VP(Path):
    """Variance-preserving path: log alpha = -t^2 (b1 - b0) / 4 - t b0 / 2, for rates b of noising.

    References:
        Song et al., Score-Based Generative Modeling through SDEs (2021), eq. 33.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    ends = (1e-3, 1.0)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -t * (t * (self.beta_max - self.beta_min) / 4 + self.beta_min / 2)

    def at(self, t: Tensor) -> Coefficients:
        log_alpha = self._log_alpha(t)
        alpha = torch.exp(log_alpha)
        sigma = torch.sqrt(-torch.expm1(2 * log_alpha))
        dalpha = -alpha * (t * (self.beta_max - self.beta_min) + self.beta_min) / 2
        return Coefficients(alpha, sigma, dalpha, -alpha * dalpha / sigma)

    def log_snr(self, t: Tensor) -> Tensor:
        log_alpha = self._log_alpha(t)
        return 2 * log_alpha - torch.log(-torch.expm1(2 * log_alpha))

    def time(self, log_snr: Tensor) -> Tensor:
        c = -F.logsigmoid(log_snr) / 2
        b = self.beta_min / 2
        a = (self.beta_max - self.beta_min) / 4
        return 2 * c / (b + torch.sqrt(b * b + 4 * a * c))


class VE(Path):
    """Variance-exploding path of EDM: alpha = 1, sigma = sigma_max t.

    ``sigma_min`` is the smallest noise level, in model units (data has unit variance).

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models (2022).
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.ends = (sigma_min / sigma_max, 1.0)

    def at(self, t: Tensor) -> Coefficients:
        ones = torch.ones_like(t)
        sigma = self.sigma_max * t
        return Coefficients(ones, sigma, torch.zeros_like(t), self.sigma_max * ones)

    def log_snr(self, t: Tensor) -> Tensor:
        return -2 * torch.log(self.sigma_max * t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr / 2) / self.sigma_max


class Shifted(Path):
    """Same path with shifted times: sigma / alpha is multiplied by ``shift``.

    On the straight path that is t -> shift t / (1 + (shift - 1) t).

    References:
        Hoogeboom et al., Simple Diffusion (2023), eq. 4; Esser et al., Stable Diffusion 3 (2024),
        eq. 23.
    """

    def __init__(self, path: Path, shift: float) -> None:
        self.path = path
        self.shift = float(shift)
        self._gap = 2 * math.log(shift)
        log_snr = torch.tensor(path.log_snr_ends(), dtype=torch.float64)
        low, high = path.time_within(log_snr + self._gap).tolist()
        self.ends = (low, high)

    def at(self, t: Tensor) -> Coefficients:
        k = self.path.at(self.path.time(self.log_snr(t)))
        here = self.path.at(t)
        rate = here.dlog_snr / k.dlog_snr
        return Coefficients(k.alpha, k.sigma, k.dalpha * rate, k.dsigma * rate)

    def log_snr(self, t: Tensor) -> Tensor:
        return self.path.log_snr(t) - self._gap

    def time(self, log_snr: Tensor) -> Tensor:
        return self.path.time(log_snr + self._gap)


class Narrowed(Path):
    """Path with narrower ends, for a model that supports only some of its noise levels."""

    def __init__(self, path: Path, low: float, high: float) -> None:
        self.path = path
        self.low = float(low)
        self.high = float(high)
        self.ends = (self.low, self.high)

    def at(self, t: Tensor) -> Coefficients:
        return self.path.at(t)

    def log_snr(self, t: Tensor) -> Tensor:
        return self.path.log_snr(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return self.path.time(log_snr)


# Predictions a x + b z: name -> (a, b). On variance-preserving paths, v is that of Salimans and Ho;
# it is never singular.
ROWS: dict[str, Callable[[Coefficients], tuple[Tensor, Tensor]]] = {
    "data": lambda k: (torch.ones_like(k.alpha), torch.zeros_like(k.alpha)),
    "noise": lambda k: (torch.zeros_like(k.alpha), torch.ones_like(k.alpha)),
    "velocity": lambda k: (k.dalpha, k.dsigma),
    "v": lambda k: (-k.sigma / k.r, k.alpha / k.r),
    "score": lambda k: (torch.zeros_like(k.alpha), -1 / k.sigma),
}


def check(kind: str) -> str:
    """Return ``kind`` if it is the name of a prediction, else raise `UsageError`."""
    return one_of("prediction", kind, ROWS)


def target(kind: str, x: Tensor, z: Tensor, k: Coefficients) -> Tensor:
    """Compute the training target of a kind in `ROWS`, a x + b z."""
    a, b = ROWS[kind](k)
    return a * x + b * z


def _determinant(kind: str, k: Coefficients) -> Tensor:
    a, b = ROWS[kind](k)
    return k.alpha * b - k.sigma * a


def solve(kind: str, y: Tensor, x_t: Tensor, k: Coefficients) -> tuple[Tensor, Tensor]:
    """Find (x, z) with a x + b z = y and alpha x + sigma z = x_t."""
    a, b = ROWS[kind](k)
    det = _determinant(kind, k)
    x = (b * x_t - k.sigma * y) / det
    z = (k.alpha * y - a * x_t) / det
    return x, z


def convert(kind: str, to: str, y: Tensor, x_t: Tensor, k: Coefficients) -> Tensor:
    """Convert an output of one kind to another at the same x_t."""
    if kind == to:
        return y
    x, z = solve(kind, y, x_t, k)
    return target(to, x, z, k)


def affine(kind: str, to: str, k: Coefficients) -> tuple[Tensor, Tensor]:
    """Return (p, q) such that an output y of ``kind``, converted to ``to``, is p x_t + q y."""
    zeros = torch.zeros_like(k.alpha)
    ones = torch.ones_like(k.alpha)
    return convert(kind, to, zeros, ones, k), convert(kind, to, ones, zeros, k)


def gain(kind: str, to: str, k: Coefficients) -> Tensor:
    """Compute the growth of an error in ``kind`` when converted to ``to`` at fixed x_t."""
    return _determinant(to, k) / _determinant(kind, k)


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> list[float]:
    """Return the noise variances of DDPM (Ho et al. 2020, section 4)."""
    return np.linspace(first, last, steps).tolist()


class Tabulated(Path):
    """Discrete DDPM schedule with T levels, made continuous: level i is at t = i / T.

    Between levels the log-SNR is a monotone cubic (PCHIP) in t. The path preserves variance:
    alpha^2 = sigmoid(log_snr).

    References:
        Ho et al., Denoising Diffusion Probabilistic Models (2020); Fritsch and Butland (1984).
    """

    def __init__(self, betas: Sequence[float]) -> None:
        self.betas = tuple(map(float, betas))
        if len(self.betas) < 2 or not all(0 < beta < 1 for beta in self.betas):
            raise UsageError("Tabulated needs at least two betas, all between 0 and 1.")
        self.ends = (1 / len(self.betas), 1.0)

    @property
    def levels(self) -> int:
        """Return T, the number of noise levels."""
        return len(self.betas)

    @cached_property
    def _table(self) -> Tensor:
        from scipy.interpolate import PchipInterpolator

        log_bar = np.cumsum(np.log1p(-np.array(self.betas)))
        knots = log_bar - np.log(-np.expm1(log_bar))
        cubics = PchipInterpolator(np.arange(1, self.levels + 1), knots).c  # highest power first
        return torch.from_numpy(np.stack([*cubics[::-1], knots[1:]]))

    def _cubic(self, t: Tensor) -> tuple[Tensor, Tensor]:
        position = t.double() * self.levels - 1
        table = self._table.to(t.device)
        index = position.detach().floor().long().clamp(0, self.levels - 2)
        a, b, c, d, _ = table[:, index]
        value, derivative = _polynomial(position - index, a, b, c, d)
        return value, derivative * self.levels

    def at(self, t: Tensor) -> Coefficients:
        value, derivative = self._cubic(t)
        alpha = torch.sqrt(torch.sigmoid(value))
        sigma = torch.sqrt(torch.sigmoid(-value))
        dalpha = alpha * sigma**2 * derivative / 2
        dsigma = -sigma * alpha**2 * derivative / 2
        return Coefficients(*(part.to(t.dtype) for part in (alpha, sigma, dalpha, dsigma)))

    def log_snr(self, t: Tensor) -> Tensor:
        value, _ = self._cubic(t)
        return value.to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        wanted = log_snr.double()
        table = self._table.to(log_snr.device)
        index = torch.searchsorted(-table[4], -wanted.detach().contiguous())
        index = index.clamp(0, self.levels - 2)
        a, b, c, d, following = table[:, index]
        u = (wanted - a) / (following - a)
        inside = (u >= 0) & (u <= 1)
        for _ in range(30):
            value, derivative = _polynomial(u, a, b, c, d)
            moved = u - (value - wanted) / derivative
            u = torch.where(inside, moved.clamp(0, 1), moved)
        return ((u + index + 1) / self.levels).to(log_snr.dtype)


def _polynomial(u: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    return a + u * (b + u * (c + u * d)), b + u * (2 * c + u * 3 * d)


class Times(ABC):
    """Distribution of training times; ``group`` examples are drawn together."""

    group = 1

    def __call__(self, draws: Draws, path: Path) -> Tensor:
        return self.quantile(self.numbers(draws), path).clamp(*path.ends)

    def numbers(self, draws: Draws) -> Tensor:
        """Draw the uniform numbers that are converted to times."""
        return draws.uniform()

    @abstractmethod
    def quantile(self, u: Tensor, path: Path) -> Tensor:
        """Compute the time below, or above, which a fraction u of training times falls."""


def _normal_quantile(u: Tensor) -> Tensor:
    return torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))


class Uniform(Times):
    """Uniform distribution between the path's ends."""

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        low, high = path.ends
        return low + u * (high - low)


@dataclass(eq=False)
class Levels(Times):
    """Uniform distribution over the integer levels i / T, as in discrete DDPM."""

    levels: int = 1000

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        level = torch.floor(u * self.levels) + 1
        return level.clamp(max=self.levels) / self.levels


@dataclass(eq=False)
class LogitNormal(Times):
    """t = sigmoid(mean + std n) for a standard normal n; mass in the middle of the path."""

    mean: float = 0.0
    std: float = 1.0

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return torch.sigmoid(self.mean + self.std * _normal_quantile(u))


@dataclass(eq=False)
class LogNormal(Times):
    """log(sigma / alpha) = mean + std n for a standard normal n: EDM's noise levels, on any path.

    EDM's mean -1.2 is for data with standard deviation 0.5; in model units it is -1.2 + log 2.
    """

    mean: float = -1.2
    std: float = 1.2

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return path.time(-2 * (self.mean + self.std * _normal_quantile(u)))


@dataclass(eq=False)
class LogSNR(Times):
    """Uniform in log-SNR: with a flat weight on the noise, the loss is the likelihood bound.

    References:
        Kingma et al. (2021), eq. 18.
    """

    low: float = -7.0
    high: float = 12.5

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return path.time(self.high - u * (self.high - self.low))


@dataclass(eq=False)
class Stratified(Times):
    """Stratified distribution: one draw in each of ``group`` intervals lowers the loss variance."""

    times: Times
    group: int = 64

    def numbers(self, draws: Draws) -> Tensor:
        parts = []
        for part in draws.uniform().split(self.group):
            interval = torch.arange(len(part), device=part.device)
            parts.append((interval + part) / len(part))
        return torch.cat(parts)

    def quantile(self, u: Tensor, path: Path) -> Tensor:
        return self.times.quantile(u, path)


class Weight(ABC):
    """Weight of the squared error of one prediction, converted to others by `gain`."""

    def __call__(self, kind: str, k: Coefficients) -> Tensor:
        return self.on_data(k) * gain(kind, "data", k) ** 2

    @abstractmethod
    def on_data(self, k: Coefficients) -> Tensor:
        """Compute the weight for the squared error of the data prediction."""


@dataclass(eq=False)
class Flat(Weight):
    """Weight 1 for one kind of prediction; None for the network's own."""

    kind: str | None = None

    def __call__(self, kind: str, k: Coefficients) -> Tensor:
        if self.kind is None or self.kind == kind:
            return torch.ones_like(k.alpha)
        return gain(kind, self.kind, k) ** 2

    def on_data(self, k: Coefficients) -> Tensor:
        return self("data", k)


class SNR(Weight):
    """alpha^2 / sigma^2 on the data error, which is a flat weight on the noise error."""

    def on_data(self, k: Coefficients) -> Tensor:
        return (k.alpha / k.sigma) ** 2


@dataclass(eq=False)
class MinSNR(Weight):
    """min(SNR, gamma) on the data error."""

    gamma: float = 5.0

    def on_data(self, k: Coefficients) -> Tensor:
        return ((k.alpha / k.sigma) ** 2).clamp(max=self.gamma)


class EDMWeight(Weight):
    """EDM's (sigma^2 + 1) / sigma^2 on the data error at sigma / alpha; a flat weight on v."""

    def on_data(self, k: Coefficients) -> Tensor:
        return (k.r / k.sigma) ** 2
