"""The interface of solvers: one stateless step from time t to time s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.denoisers import Condition, Predictor, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.paths import Coefficients

Memory = Any
"""The state that one step passes to the next: None at the start, else a tuple of tensors."""


class Solver(ABC):
    """Moves x_t from time t to time s < t (towards data) or s > t (towards noise, where deterministic).

    A solver holds its settings only: values of earlier steps are returned and passed in as ``memory``.
    """

    order: int
    """The global order of accuracy on a grid uniform in log-SNR: halving the step divides the error by 2^order. Of a stochastic
    solver it is the weak order, that of means and covariances."""
    grid: str = "time"
    """The time grid that suits it, a name in `pushforward.solvers.grids.GRIDS`."""
    stochastic: bool = False
    """Whether a step draws noise; if not, the solver can run towards noise as well (`Flow.encode`)."""
    adaptive: bool = False
    """Whether it chooses its own steps between the times of the grid."""
    jumps: bool = False
    """Whether it calls a denoiser for jumps, which only a map between two times has."""
    calls_per_step: int = 1
    """Predictions that one step costs."""

    @abstractmethod
    def step(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """One step.

        Args:
            denoiser: Predicts data, noise or velocity at x and t.
            x: The state at t, (n, *shape), model units.
            t: Where it is, (n,).
            s: Where to go, (n,), inside the path's ends.
            condition: None or a dict of tensors of length n.
            draws: Randomness for each sample; deterministic solvers ignore it.
            memory: Returned by the step before; None at the first.

        Returns:
            The state at s and the memory for the next step.
        """

    def last(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> Tensor:
        """The step to t = 0, where the log-SNR is infinite: the data predicted at x and t, model units.

        Arguments are those of `step`; s is zeros (n,).
        """
        return denoiser.predict("data", x, t, condition)

    def calls(self, steps: int) -> int:
        """Predictions for a solve of ``steps`` steps, the last of which goes to t = 0 by one data prediction."""
        return (steps - 1) * self.calls_per_step + 1


def half_log_snr(k: Coefficients) -> Tensor:
    """Lambda = log(alpha / sigma), the coordinate of the exponential integrators."""
    return torch.log(k.alpha) - torch.log(k.sigma)


def over(values: Tensor, x: Tensor) -> Tensor:
    """Numbers of shape (n,), shaped to multiply a batch of the shape of x and of its type."""
    return shaped(values.to(x.dtype), x)


def noise_of(x: Tensor, draws: Draws | None) -> Tensor:
    """Fresh noise of the shape of x.

    Raises:
        UsageError: Without draws.
    """
    if draws is None:
        raise UsageError("A stochastic solver needs draws, a seed for each sample: flow(z, condition, ExampleDraws(seed, n)).")
    return draws.normal(x.shape[1:]).to(x)


def stepped(
    solver: Solver, denoiser: Predictor, x: Tensor, times: np.ndarray | Tensor, condition: Condition, draws: Draws | None
) -> Iterator[tuple[float, Tensor]]:
    """(time, state) after each step from the state x at the first time, by the solver's own steps.

    A table (`pushforward.solvers.table`) gives the same result; steps that are not affine are run here.
    """
    memory: Memory = None
    along = times if isinstance(times, Tensor) else torch.from_numpy(np.array(times))
    batch_times = along.to(x)[:, None].expand(-1, len(x))
    for i, stop in enumerate(along.tolist()[1:]):
        arguments = denoiser, x, batch_times[i], batch_times[i + 1], condition, draws, memory
        if stop == 0:
            x = solver.last(*arguments)
        else:
            x, memory = solver.step(*arguments)
        yield stop, x


def whole(solver: str, name: str, value: int, allowed: tuple[int, ...]) -> int:
    """A whole number of a few allowed ones.

    Raises:
        UsageError: For another one.
    """
    if value not in allowed:
        raise UsageError(f"{solver} comes with {name} {', '.join(map(str, allowed))}; got {value}.")
    return int(value)


def between(solver: str, name: str, value: float, low: float, high: float) -> float:
    """A number within [low, high].

    Raises:
        UsageError: For another one.
    """
    if not low <= value <= high:
        raise UsageError(f"{solver} needs {name} between {low:g} and {high:g}, got {value}.")
    return float(value)
