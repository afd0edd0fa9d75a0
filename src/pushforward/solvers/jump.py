"""One evaluation a step, for maps between two times."""

from __future__ import annotations

from torch import Tensor

from pushforward.draws import Draws
from pushforward.predictor import Condition, Predictor
from pushforward.solvers.solver import Memory, Solver

__all__ = ["Jump"]


class Jump(Solver):
    """x_s = map(x_t, t, s): the solver of a `pushforward.denoiser.FlowMap`, exact in any number of steps for an exact map.

    The last step is a jump to t = 0, so one step goes from noise to data in one evaluation.

    References:
        Kim et al., Consistency Trajectory Models (2024), sampling with gamma = 0; Boffi et al., Flow Map Matching (2024).
    """

    order = 1
    jumps = True

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
        """One jump from t to s."""
        return denoiser.jump(x, t, s, condition), None  # type: ignore[attr-defined]  # a flow refuses those without

    def last(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> Tensor:
        """One jump from t to 0."""
        return denoiser.jump(x, t, s, condition)  # type: ignore[attr-defined]
