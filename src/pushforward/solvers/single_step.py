"""DPM-Solver: exponential Runge-Kutta methods in log-SNR, several calls a step and no memory."""

from __future__ import annotations

from torch import Tensor

from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.predictor import Condition, Predictor
from pushforward.solvers.exponential_step import exponential_step, lambda_at, time_at
from pushforward.solvers.solver import Memory, Solver, whole


class SingleStep(Solver):
    """DPM-Solver-2 and -3: estimates within the step, at a half, or at one and two thirds of it in log-SNR.

    Args:
        order: 2 or 3, which is also the number of calls in a step.
        of: The interpolated estimate, "noise" (DPM-Solver) or "data" (DPM-Solver++, better under strong guidance).

    Raises:
        UsageError: For another order or kind.

    References:
        Lu et al., DPM-Solver (2022), algorithms 1 and 2; DPM-Solver++ (2022), algorithm 1.
    """

    grid = "log_snr"

    def __init__(self, order: int = 3, of: str = "noise") -> None:
        if of not in ("noise", "data"):
            raise UsageError(f'SingleStep interpolates "noise" or "data", got "{of}".')
        self.order, self.of = whole("SingleStep", "order", order, (2, 3)), of

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        """As many as the order."""
        return self.order

    def step(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """One step from t to s; memory is the estimate at t, with which a multistep method can go on."""
        start = lambda_at(denoiser, t)
        gap = lambda_at(denoiser, s) - start
        first = (start, denoiser.predict(self.of, x, t, condition))
        node = first
        for i in range(1, self.order):
            at = start + gap * i / self.order
            inner = time_at(denoiser, at, t)
            state = exponential_step(denoiser, self.of, x, t, inner, [first] if i == 1 else [first, node])
            node = (at, denoiser.predict(self.of, state, inner, condition))
        return exponential_step(denoiser, self.of, x, t, s, [node] if self.order == 2 else [first, node]), (first,)
