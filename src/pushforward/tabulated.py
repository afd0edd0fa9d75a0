"""The path of a discrete schedule of noise levels, as DDPM has one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pushforward.errors import UsageError
from pushforward.paths import Coefficients, Path


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> list[float]:
    """The noise variances of DDPM, from ``first`` to ``last`` in equal steps (Ho et al. 2020, section 4)."""
    return [float(beta) for beta in np.linspace(first, last, steps)]


class Tabulated(Path):
    """A discrete DDPM schedule of T levels, made continuous: level i sits at t = i / T.

    Between levels the log-SNR is a monotone cubic (PCHIP) in t, so it has a continuous derivative and an inverse; the
    path preserves variance: alpha^2 = sigmoid(log_snr), sigma^2 = sigmoid(-log_snr). At the T levels the coefficients are the
    table's own.

    Args:
        betas: The T noise variances, each in (0, 1).

    References:
        Ho et al., Denoising Diffusion Probabilistic Models (2020); Fritsch and Butland (1984), for the interpolant.
    """

    def __init__(self, betas: Sequence[float]) -> None:
        self.betas = tuple(float(beta) for beta in betas)
        if len(self.betas) < 2 or not all(0 < beta < 1 for beta in self.betas):
            raise UsageError("Tabulated needs at least two betas, each between 0 and 1.")
        self.ends = (1 / len(self.betas), 1.0)

    @property
    def levels(self) -> int:
        """T, the number of noise levels."""
        return len(self.betas)

    @cached_property
    def _table(self) -> Tensor:
        """(5, T - 1) float64: the first knot's log-SNR and the cubic's three further coefficients, the next knot's log-SNR."""
        from scipy.interpolate import PchipInterpolator

        log_bar = np.cumsum(np.log1p(-np.array(self.betas)))
        knots = log_bar - np.log(-np.expm1(log_bar))
        cubic = PchipInterpolator(np.arange(1, self.levels + 1), knots).c  # highest power first, in units of one level
        return torch.from_numpy(np.stack([cubic[3], cubic[2], cubic[1], cubic[0], knots[1:]]))

    def _cubic(self, t: Tensor) -> tuple[Tensor, Tensor]:
        position = t.double() * self.levels - 1
        table = self._table.to(t.device)
        index = position.detach().floor().long().clamp(0, self.levels - 2)
        a, b, c, d, _ = table[:, index]
        u = position - index
        return a + u * (b + u * (c + u * d)), (b + u * (2 * c + u * 3 * d)) * self.levels

    def at(self, t: Tensor) -> Coefficients:
        value, slope = self._cubic(t)
        alpha, sigma = torch.sqrt(torch.sigmoid(value)), torch.sqrt(torch.sigmoid(-value))
        parts = alpha, sigma, alpha * sigma**2 * slope / 2, -sigma * alpha**2 * slope / 2
        return Coefficients(*(part.to(t.dtype) for part in parts))

    def log_snr(self, t: Tensor) -> Tensor:
        return self._cubic(t)[0].to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse: the level is found in the table, then the cubic is solved by Newton steps kept inside the level."""
        value, table = log_snr.double(), self._table.to(log_snr.device)
        index = torch.searchsorted(-table[4], -value.detach().contiguous()).clamp(0, self.levels - 2)
        a, b, c, d, following = table[:, index]
        u = (value - a) / (following - a)
        inside = (u >= 0) & (u <= 1)
        for _ in range(30):
            step = (a + u * (b + u * (c + u * d)) - value) / (b + u * (2 * c + u * 3 * d))
            moved = u - step
            u = torch.where(inside, moved.clamp(0, 1), moved)
        return ((u + index + 1) / self.levels).to(log_snr.dtype)
