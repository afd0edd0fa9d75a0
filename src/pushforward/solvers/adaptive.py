"""The probability-flow ODE to a tolerance, by torchdiffeq's Dormand-Prince method."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.predictions import convert
from pushforward.predictor import Condition, Predictor
from pushforward.solvers.solver import Memory, Solver, between, over


class Adaptive(Solver):
    """Dormand-Prince 5(4) between the times of the grid, with as many calls as the tolerances need.

    It solves x / hypot(alpha, sigma) over log-SNR, where both are of order one. Examples of a batch share their steps, so an
    example agrees with itself in another batch to within the tolerance only. Two steps, to the grid's last time and to 0, are
    enough.

    Args:
        rtol: The error allowed in one step, relative to the state.
        atol: The same, absolute, in units of the state's standard deviation.

    References:
        Dormand and Prince (1980); Chen, torchdiffeq (2018).
    """

    order = 5
    grid = "log_snr"
    adaptive = True

    def __init__(self, rtol: float = 1e-4, atol: float = 1e-4) -> None:
        self.rtol = between("Adaptive", "rtol", rtol, 1e-12, 1)
        self.atol = between("Adaptive", "atol", atol, 1e-12, 1)

    def step(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """From t to s in as many steps as are needed; all examples must be at the same time."""
        from torchdiffeq import odeint

        path = denoiser.path

        def slope(log_snr: Tensor, y: Tensor) -> Tensor:
            now = path.time(log_snr).clamp(*path.ends).expand(len(y))
            k = path.at(now).over(y)
            state = y * k.r.to(y)
            v = denoiser.predict("v", state, now.to(y), condition)
            moved = convert("v", "velocity", v.double(), state.double(), k) / k.r
            # d log r / dt
            growth = (k.alpha * k.dalpha + k.sigma * k.dsigma) / k.r**2
            return ((moved - growth * y) / k.dlog_snr).to(y)

        ends = path.log_snr(torch.stack([t[0], s[0]]).double())
        y = odeint(slope, x / over(path.at(t).r, x), ends, rtol=self.rtol, atol=self.atol, method="dopri5")[-1]
        return y * over(path.at(s).r, x), None
