"""DPM-Solver++(2M): the exponential Adams-Bashforth method on the data prediction in log-SNR."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.denoiser import Condition, Predictor
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.solvers.solver import Memory, Solver, half_log_snr

__all__ = ["DPM"]


class DPM(Solver):
    """x_s = (sigma_s / sigma_t) x - alpha_s expm1(-h) D, with D the data extrapolated from this step and the one before.

    h is the step in lambda = log(alpha / sigma). The first step has no predecessor and is of order 1.

    Args:
        order: 2, or 1 for the method without memory, which is DDIM.

    References:
        Lu et al., DPM-Solver++ (2022), algorithm 2.
    """

    grid = "log_snr"

    def __init__(self, order: int = 2) -> None:
        if order not in (1, 2):
            raise UsageError(f"DPM comes in orders 1 and 2, got {order}.")
        self.order = order

    def step(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> tuple[Tensor, Memory]:
        """One step from t to s; memory is (the data predicted at the step before, its step in lambda)."""
        here, there = denoiser.path.at(t).over(x), denoiser.path.at(s).over(x)
        h = half_log_snr(there) - half_log_snr(here)
        data = denoiser.predict("data", x, t, condition)
        extrapolated = data
        if memory is not None and self.order == 2:
            before, h_before = memory
            extrapolated = data + (data - before) * (h / (2 * h_before))
        x_s = (there.sigma / here.sigma) * x - there.alpha * torch.expm1(-h) * extrapolated
        return x_s, (data, h)
