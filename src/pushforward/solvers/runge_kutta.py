"""Explicit Runge-Kutta solvers, of fixed steps and with step-size control."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pushforward.denoisers.denoiser import Condition, Predictor, shaped
from pushforward.draws import Draws
from pushforward.paths import convert
from pushforward.solvers.solver import Memory, Solver, StepResult, between, over


class _Explicit(Solver):
    nodes: tuple[float, ...]  # c: the position of each stage within the step
    stages: tuple[tuple[float, ...], ...]  # a: the weights of earlier velocities in each stage
    weights: tuple[float, ...]  # b: the weights of the velocities in the step

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        return len(self.nodes)

    def step(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> StepResult:
        gap = s - t
        h = shaped(gap, x)
        velocities: list[Tensor] = []
        for node, row in zip(self.nodes, self.stages, strict=True):
            at = x
            if row:
                at = x + h * _weighted(row, velocities)
            velocities.append(denoiser.predict("velocity", at, t + node * gap, condition))
        return x + h * _weighted(self.weights, velocities), None


def _weighted(weights: tuple[float, ...], velocities: list[Tensor]) -> Any:
    return sum(weight * v for weight, v in zip(weights, velocities, strict=True))


class Euler(_Explicit):
    """Euler's method: x + h velocity(x, t)."""

    order = 1
    nodes = (0.0,)
    stages = ((),)
    weights = (1.0,)


class Midpoint(_Explicit):
    """Midpoint method: the velocity at half the step."""

    order = 2
    nodes = (0.0, 0.5)
    stages = ((), (0.5,))
    weights = (0.0, 1.0)


class Heun(_Explicit):
    """Heun's method: the mean of the velocities at both ends.

    On EDM's path and grid it is EDM's deterministic sampler.

    References:
        Karras et al., EDM (2022), algorithm 1.
    """

    order = 2
    nodes = (0.0, 1.0)
    stages = ((), (1.0,))
    weights = (0.5, 0.5)


class RK4(_Explicit):
    """Classical fourth-order Runge-Kutta method."""

    order = 4
    nodes = (0.0, 0.5, 0.5, 1.0)
    stages = ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


def scaled_velocity(
    denoiser: Predictor, log_snr: Tensor, y: Tensor, condition: Condition, dtype: torch.dtype
) -> Tensor:
    """Compute the derivative of y = x / hypot(alpha, sigma) in log-SNR; dtype is the network's."""
    path = denoiser.path
    t = path.time_within(log_snr).expand(len(y)).to(y.device)
    k = path.at(t).over(y)
    state = y * k.r.to(y)
    v = denoiser.predict("v", state.to(dtype), t.to(dtype), condition)
    moved = convert("v", "velocity", v.double(), state.double(), k) / k.r
    return ((moved - k.growth * y) / k.dlog_snr).to(y)


class Adaptive(Solver):
    """Adaptive Dormand-Prince 5(4) method between the times of the grid.

    It solves for x / hypot(alpha, sigma) over log-SNR. Examples of a batch share their steps.

    Args:
        rtol: Error allowed per step, relative to the state.
        atol: Absolute error allowed per step, in standard deviations of the state.

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
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> StepResult:
        from torchdiffeq import odeint

        path = denoiser.path

        def derivative(log_snr: Tensor, y: Tensor) -> Tensor:
            return scaled_velocity(denoiser, log_snr, y, condition, y.dtype)

        ends = path.log_snr(torch.stack([t[0], s[0]]).double())
        start = x / over(path.at(t).r, x)
        y = odeint(derivative, start, ends, rtol=self.rtol, atol=self.atol, method="dopri5")[-1]
        return y * over(path.at(s).r, x), None
