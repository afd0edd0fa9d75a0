"""One evaluation a step, for maps between two times."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.predictor import Condition, Predictor
from pushforward.solvers.solver import Memory, Solver, between, noise_of


class Jump(Solver):
    """x_s = map(x_t, t, s): the solver of a `pushforward.denoiser.FlowMap`, exact in any number of steps for an exact map.

    The last step is a jump to t = 0, so one step goes from noise to data in one evaluation.

    Args:
        renoise: How much of the noise at s is fresh, in [0, 1]: a step jumps to the lower noise level sqrt(1 - renoise^2)
            sigma_s / alpha_s and adds noise up to s. With 1 it jumps to data, as a consistency model has to, which knows no
            other end.

    References:
        Kim et al., Consistency Trajectory Models (2024), section 3.3, whose gamma is ``renoise``; Song et al., Consistency Models
        (2023), algorithm 1, for 1; Boffi et al., Flow Map Matching (2024), for 0.
    """

    order = 1
    jumps = True

    def __init__(self, renoise: float = 0.0) -> None:
        self.renoise = between("Jump", "renoise", renoise, 0, 1)
        self.stochastic = renoise > 0

    @classmethod
    def of(cls, denoiser: Predictor) -> Jump:
        """The jumps that a map has learned: with new noise between them where it knows no other end than data."""
        return cls(1.0 if getattr(denoiser, "only_to_data", False) else 0.0)

    def step(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """One jump from t to s, or to a lower level and back to s by noise."""
        if self.renoise == 0:
            return denoiser.jump(x, t, s, condition), None  # type: ignore[attr-defined]  # a flow refuses those without
        path, whole = denoiser.path, self.renoise == 1
        lower = torch.zeros_like(s) if whole else path.time(path.log_snr(s) - math.log1p(-(self.renoise**2)))
        here, there = path.at(lower).over(x), path.at(s).over(x)
        landed = denoiser.jump(x, t, lower, condition)  # type: ignore[attr-defined]
        return there.alpha / here.alpha * landed + self.renoise * there.sigma * noise_of(x, draws), None

    def last(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> Tensor:
        return denoiser.jump(x, t, s, condition)  # type: ignore[attr-defined]
