"""Explicit Runge-Kutta methods on the probability-flow ODE dx/dt = velocity(x, t).

References:
    Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.1.
"""

from __future__ import annotations

from torch import Tensor

from pushforward.draws import Draws
from pushforward.predictor import Condition, Predictor, shaped
from pushforward.solvers.solver import Memory, Solver


class _Explicit(Solver):
    """An explicit method from its Butcher tableau; subclasses name the tableau."""

    nodes: tuple[float, ...]
    """c: where in the step each stage is taken."""
    stages: tuple[tuple[float, ...], ...]
    """a: how earlier slopes make each stage's state."""
    weights: tuple[float, ...]
    """b: how the slopes make the step."""

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        """One prediction for each stage."""
        return len(self.nodes)

    def step(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """X + h sum_i b_i k_i with k_i = velocity(x + h sum_j a_ij k_j, t + c_i h)."""
        gap = s - t
        h = shaped(gap, x)
        slopes: list[Tensor] = []
        for node, row in zip(self.nodes, self.stages, strict=True):
            at = x + h * sum(a * k for a, k in zip(row, slopes, strict=True)) if row else x
            slopes.append(denoiser.predict("velocity", at, t + node * gap, condition))
        return x + h * sum(b * k for b, k in zip(self.weights, slopes, strict=True)), None


class Euler(_Explicit):
    """x + h velocity(x, t)."""

    order = 1
    nodes, stages, weights = (0.0,), ((),), (1.0,)


class Midpoint(_Explicit):
    """The slope at half the step."""

    order = 2
    nodes, stages, weights = (0.0, 0.5), ((), (0.5,)), (0.0, 1.0)


class Heun(_Explicit):
    """The mean of the slopes at both ends; EDM's deterministic sampler on its own path and grid.

    References:
        Karras et al., EDM (2022), algorithm 1.
    """

    order = 2
    nodes, stages, weights = (0.0, 1.0), ((), (1.0,)), (0.5, 0.5)


class RK4(_Explicit):
    """The classical method of four stages."""

    order = 4
    nodes = (0.0, 0.5, 0.5, 1.0)
    stages = ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
