"""The interface of solvers: one stateless step from time t to time s; solvers by name; and time grids.

A grid of N steps is N + 1 times from t_max down to 0, as float64 numbers fixed before a solve begins.

References:
    Karras et al., EDM (2022), eq. 5; Esser et al., Stable Diffusion 3 (2024), eq. 23, for the shift.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.denoisers.denoiser import Condition, Predictor, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError, unknown
from pushforward.paths import Coefficients, Path
from pushforward.registries import SOLVERS, from_text

State = tuple[float, Tensor]  # A time and x there
Memory = (
    Any  # The state that one step passes to the next: None at the start, else a tuple of tensors
)


class Solver(ABC):
    """Base class of solvers: moves x_t from t to s < t (towards data) or, if deterministic, to s > t (towards noise).

    A solver only stores its settings: values of earlier steps are passed and returned as
    ``memory``.
    """

    order: int
    """The global order of accuracy on a grid uniform in log-SNR: halving the step divides the error by 2^order. For a stochastic
    solver, the weak order (of means and covariances)."""
    grid: str = "time"
    """The time grid that suits the solver: a name in `pushforward.solvers.solver.GRIDS`."""
    stochastic: bool = False
    """Whether a step draws noise. If not, the solver also runs from data to noise (`Flow.encode`)."""
    adaptive: bool = False
    """Whether the solver chooses its own steps between the times of the grid."""
    jumps: bool = False
    """Whether the solver makes jumps, which only a map between two times supports."""
    calls_per_step: int = 1
    """Number of predictions per step."""

    @abstractmethod
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
        """Take one step.

        Args:
            denoiser: Denoiser that predicts data, noise or velocity at x and t.
            x: State at t, (n, *shape), in model units.
            t: Current time, (n,).
            s: Target time, (n,), within the range of the path.
            condition: None or a dict of tensors of length n.
            draws: Random numbers for each sample, unused by deterministic solvers.
            memory: Memory returned by the previous step; None at the first step.

        Returns:
            State at s, and memory for the next step.
        """

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
        """Take the last step to t = 0, where the log-SNR is infinite: predict the data at x and t, in model units.

        Arguments are those of `step`; s is zeros (n,).
        """
        return denoiser.predict("data", x, t, condition)

    def calls(self, steps: int) -> int:
        """Return the number of predictions for ``steps`` steps, the last of which goes to t = 0 by one data prediction."""
        return (steps - 1) * self.calls_per_step + 1


def half_log_snr(k: Coefficients) -> Tensor:
    """Compute lambda = log(alpha / sigma), the coordinate of the exponential integrators."""
    return torch.log(k.alpha) - torch.log(k.sigma)


def over(values: Tensor, x: Tensor) -> Tensor:
    """Reshape numbers (n,) to multiply a batch of the shape of x, in its dtype."""
    return shaped(values.to(x.dtype), x)


def ends_of(path: Path, x: Tensor, t: Tensor, s: Tensor) -> tuple[Coefficients, Coefficients]:
    """Compute the path's coefficients at both ends of a step, shaped to multiply x."""
    return path.at(t).over(x), path.at(s).over(x)


def noise_of(x: Tensor, draws: Draws | None) -> Tensor:
    """Draw fresh noise of the shape of x.

    Raises:
        UsageError: If there are no draws.
    """
    if draws is None:
        raise UsageError(
            "A stochastic solver needs random numbers with one seed per sample: flow(z, condition, ExampleDraws(seed, n))."
        )
    return draws.normal(x.shape[1:]).to(x)


def stepped(
    solver: Solver,
    denoiser: Predictor,
    x: Tensor,
    times: np.ndarray | Tensor,
    condition: Condition,
    draws: Draws | None,
) -> Iterator[State]:
    """Yield (time, state) after each step from the state x at the first time, using the solver's own steps.

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
    """Validate that an integer is one of a few allowed values.

    Raises:
        UsageError: If the value is not allowed.
    """
    if value not in allowed:
        raise UsageError(f"{solver} supports {name} {', '.join(map(str, allowed))}; got {value}.")
    return int(value)


def between(solver: str, name: str, value: float, low: float, high: float) -> float:
    """Validate that a number is within [low, high].

    Raises:
        UsageError: If the value is not allowed.
    """
    if not low <= value <= high:
        raise UsageError(f"{solver} needs {name} between {low:g} and {high:g}, got {value}.")
    return float(value)


def register(*solvers: type[Solver]) -> None:
    """Register solvers for sampling and the command line by lower-case names, replacing earlier ones of the same name.

    Raises:
        UsageError: If the name belongs to a solver of the package.
    """
    for solver in solvers:
        SOLVERS.add(solver.__name__.lower(), solver)


def named(name: str) -> Solver:
    """Build a solver by name, as on the command line; ``dpm:3`` and ``ddim:0.5`` set the first argument.

    Raises:
        UsageError: If the name is unknown, or the solver does not take the argument.
    """
    solver: Solver = from_text(SOLVERS, name)
    return solver


def name_of(solver: Solver) -> str:
    """Return the name of a solver for `named`, including its first argument unless it is the default."""
    word = type(solver).__name__.lower()
    first = next(iter(inspect.signature(type(solver)).parameters.values()), None)
    value = None if first is None else getattr(solver, first.name)
    if first is None or value == first.default:
        return word
    return f"{word}:{value}"


def as_solver(solver: Any) -> Solver:
    """Convert a solver, a name (see `named`) or a solver class to a solver.

    Raises:
        UsageError: If this is something else.
    """
    if isinstance(solver, str):
        return named(solver)
    instance = solver() if isinstance(solver, type) and issubclass(solver, Solver) else solver
    if not isinstance(instance, Solver):
        raise UsageError(f'Expected a solver, such as pf.solvers.Heun() or "heun"; got {solver!r}.')
    return instance


Grid = Callable[[Path, int], np.ndarray]


def uniform_time(path: Path, steps: int) -> np.ndarray:
    """Compute equal steps in t from t_max to 0, or to t_min and then 0 if the second last time would be below t_min."""
    times = (path.ends[1] * np.arange(steps, -1, -1) / steps).clip(max=path.ends[1])
    if steps == 1 or times[-2] >= path.ends[0]:
        return times
    return np.append(np.linspace(path.ends[1], path.ends[0], steps), 0.0)


def _inner(path: Path, log_snr: np.ndarray) -> np.ndarray:
    times = path.time(torch.from_numpy(log_snr)).numpy().clip(*path.ends)
    times[0] = path.ends[1]
    return np.append(times, 0.0)


def uniform_log_snr(path: Path, steps: int, low: float = -9.0, high: float = 9.0) -> np.ndarray:
    """Compute times from t_max to 0, with equal steps in log-SNR except for the first and last time.

    The log-SNR is limited to [low, high]: beyond, x_t is noise or data to within one percent in
    standard deviation, so steps there are wasted.
    """
    high_end, low_end = path.log_snr_ends()
    return _inner(path, np.linspace(max(low, low_end), min(high, high_end), steps))


def karras(path: Path, steps: int, rho: float = 7.0) -> np.ndarray:
    """Compute equal steps in (sigma / alpha)^(1 / rho), within [0.002, 80] as far as the path allows."""
    high_end, low_end = path.log_snr_ends()
    most = min(np.exp(-low_end / 2), 80.0)
    least = max(np.exp(-high_end / 2), 0.002)
    ratio = np.linspace(most ** (1 / rho), least ** (1 / rho), steps) ** rho
    return _inner(path, -2 * np.log(ratio))


def shifted(path: Path, steps: int, shift: float = 3.0) -> np.ndarray:
    """Compute equal steps in u with t = shift u / (1 + (shift - 1) u): more steps at high noise if shift > 1."""
    low, high = path.ends
    u = np.arange(steps, -1, -1) / steps
    times = (high * shift * u / (1 + (shift - 1) * u)).clip(max=high)
    if steps == 1 or times[-2] >= low:
        return times
    # with so many steps they would fall below t_min: equal steps in u end at t_min in its place
    u = np.linspace(1.0, low / (shift * high - (shift - 1) * low), steps)
    return np.append((high * shift * u / (1 + (shift - 1) * u)).clip(low, high), 0.0)


GRIDS: dict[str, Grid] = {
    "time": uniform_time,
    "log_snr": uniform_log_snr,
    "karras": karras,
    "shifted": shifted,
}


def grid_times(grid: str | Sequence[float], path: Path, steps: int) -> np.ndarray:
    """Compute the N + 1 falling times of a named grid, or validate given times; ``shifted:1.5`` sets a grid's number.

    Raises:
        UsageError: If there are no steps, the grid or its number is invalid, or times do not fall
            from within the path's ends to 0.
    """
    if steps < 1:
        raise UsageError(f"Sampling needs at least one step, got {steps}.")
    if not isinstance(grid, str):
        given, (low, high) = np.asarray(grid, dtype=np.float64), path.ends
        falls = given.shape == (steps + 1,) and given[-1] == 0 and (np.diff(given) < 0).all()
        if not falls or not low <= given[-2] <= given[0] <= high:
            raise UsageError(
                f"{steps} steps need {steps + 1} times that fall from at most {high:g} to at least {low:g} and end with "
                f"0; got {given.tolist()}."
            )
        return given
    name, _, number = grid.partition(":")
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    if not number:
        return GRIDS[name](path, steps)
    setting = {"karras": "rho", "shifted": "shift"}.get(name)
    if setting is None:
        raise UsageError(f'The grid "{name}" does not take a number.')
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 1e-3 <= value <= 1e3:
        raise UsageError(
            f'The grid "{grid}" needs a number between 0.001 and 1,000, as in shifted:1.5, got "{number}".'
        )
    return GRIDS[name](path, steps, **{setting: value})  # type: ignore[call-arg]
