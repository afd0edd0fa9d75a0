"""The interface of solvers, solvers by name, and time grids.

References:
    Karras et al., EDM (2022), eq. 5; Esser et al., Stable Diffusion 3 (2024), eq. 23, for the
    shift.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.denoisers.denoiser import Condition, Predictor, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError, unknown
from pushforward.paths import Coefficients, Path
from pushforward.registries import SOLVERS, from_text

State = tuple[float, Tensor]  # a time and x there
Memory = Any  # what a step passes to the next: None at the start, then a tuple of tensors
StepResult = tuple[Tensor, Memory]  # the state after a step, and memory for the next one


class Solver(ABC):
    """Base class of solvers, which move x_t from t to s; settings are their only state.

    Attributes:
        order: Global order of accuracy in log-SNR; for a stochastic solver, the weak order.
        grid: Time grid that suits the solver, a name in `GRIDS`.
        stochastic: Whether a step draws noise. If not, the solver also runs from data to noise.
        adaptive: Whether the solver chooses its own steps between the times of the grid.
        jumps: Whether the solver needs a map between two times.
        calls_per_step: Number of predictions per step.
    """

    order: int
    grid: str = "time"
    stochastic: bool = False
    adaptive: bool = False
    jumps: bool = False
    calls_per_step: int = 1

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
    ) -> StepResult:
        """Take one step.

        Args:
            denoiser: Denoiser that predicts data, noise or velocity at x and t.
            x: State at t, (n, *shape), in model units.
            t: Current time, (n,).
            s: Target time, (n,), within the range of the path.
            condition: None or a dict of tensors of length n.
            draws: Random numbers for each sample.
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
        """Take the last step to t = 0, where the log-SNR is infinite: predict the data."""
        return denoiser.predict("data", x, t, condition)

    def calls(self, steps: int) -> int:
        """Return the number of predictions for ``steps`` steps; the last one is one prediction."""
        return (steps - 1) * self.calls_per_step + 1


def half_log_snr(k: Coefficients) -> Tensor:
    """Compute lambda = log(alpha / sigma), the coordinate of the exponential integrators."""
    return torch.log(k.alpha) - torch.log(k.sigma)


def over(values: Tensor, x: Tensor) -> Tensor:
    """Reshape numbers (n,) to multiply a batch x, in its dtype."""
    return shaped(values.to(x.dtype), x)


def ends_of(path: Path, x: Tensor, t: Tensor, s: Tensor) -> tuple[Coefficients, Coefficients]:
    """Compute coefficients at both ends of a step, shaped to multiply x."""
    return path.at(t).over(x), path.at(s).over(x)


def noise_of(x: Tensor, draws: Draws | None) -> Tensor:
    """Draw fresh noise of the shape of x, or raise a `UsageError` if there are no draws."""
    if draws is None:
        raise UsageError(
            "A stochastic solver needs random numbers with one seed per sample: "
            "flow(z, condition, ExampleDraws(seed, n))."
        )
    return draws.normal(x.shape[1:]).to(x)


def run_steps(
    solver: Solver,
    denoiser: Predictor,
    x: Tensor,
    times: np.ndarray | Tensor,
    condition: Condition,
    draws: Draws | None,
) -> Iterator[State]:
    """Yield (time, state) after each of the solver's own steps from x at the first time."""
    memory = None
    along = times if isinstance(times, Tensor) else torch.from_numpy(np.array(times))
    batch_times = along.to(x)[:, None].expand(-1, len(x))
    stops = along.tolist()[1:]
    for stop, (t, s) in zip(stops, pairwise(batch_times), strict=True):
        arguments = denoiser, x, t, s, condition, draws, memory
        if stop == 0:
            x = solver.last(*arguments)
        else:
            x, memory = solver.step(*arguments)
        yield stop, x


def whole(solver: str, name: str, value: int, allowed: tuple[int, ...]) -> int:
    """Return an integer, or raise a `UsageError` if it is not one of the allowed values."""
    if value not in allowed:
        values = ", ".join(map(str, allowed))
        raise UsageError(f"{solver} supports {name} {values}; got {value}.")
    return int(value)


def between(solver: str, name: str, value: float, low: float, high: float) -> float:
    """Return a number, or raise a `UsageError` if it is not within [low, high]."""
    if not low <= value <= high:
        raise UsageError(f"{solver} needs {name} between {low:g} and {high:g}, got {value}.")
    return float(value)


def register(*solvers: type[Solver]) -> None:
    """Register solvers by the lower-case name of the class.

    Raises:
        UsageError: If the name belongs to a solver of the package.
    """
    for solver in solvers:
        SOLVERS.add(solver.__name__.lower(), solver)


def named(name: str) -> Solver:
    """Build a solver by name; ``dpm:3`` and ``ddim:0.5`` set the first argument.

    Raises:
        UsageError: If the name or argument is unknown.
    """
    return from_text(SOLVERS, name)


def name_of(solver: Solver) -> str:
    """Return the name of a solver for `named`, with its first argument unless it is the default."""
    word = type(solver).__name__.lower()
    parameters = list(inspect.signature(type(solver)).parameters.values())
    if not parameters:
        return word
    first = parameters[0]
    value = getattr(solver, first.name)
    if value == first.default:
        return word
    return f"{word}:{value}"


def as_solver(solver: Any) -> Solver:
    """Convert a solver, a name or a class to a solver, or raise a `UsageError`."""
    if isinstance(solver, str):
        return named(solver)
    if isinstance(solver, type) and issubclass(solver, Solver):
        return solver()
    if isinstance(solver, Solver):
        return solver
    raise UsageError(f'Expected a solver, such as pf.solvers.Heun() or "heun"; got {solver!r}.')


Grid = Callable[[Path, int], np.ndarray]


def uniform_time(path: Path, steps: int) -> np.ndarray:
    """Compute equal steps in t from t_max to 0; many steps end at t_min before 0."""
    low, high = path.ends
    times = (high * np.arange(steps, -1, -1) / steps).clip(max=high)
    if steps == 1 or times[-2] >= low:
        return times
    return np.append(np.linspace(high, low, steps), 0.0)


def _inner(path: Path, log_snr: np.ndarray) -> np.ndarray:
    times = path.time(torch.from_numpy(log_snr)).numpy().clip(*path.ends)
    times[0] = path.ends[1]
    return np.append(times, 0.0)


def uniform_log_snr(path: Path, steps: int) -> np.ndarray:
    """Compute equal steps in log-SNR within [-9, 9]; the first time is t_max, the last 0."""
    high_end, low_end = path.log_snr_ends()
    return _inner(path, np.linspace(max(-9.0, low_end), min(9.0, high_end), steps))


def karras(path: Path, steps: int, rho: float = 7.0) -> np.ndarray:
    """Compute equal steps in (sigma / alpha)^(1 / rho), within [0.002, 80] and the path's ends."""
    high_end, low_end = path.log_snr_ends()
    most = min(np.exp(-low_end / 2), 80.0)
    least = max(np.exp(-high_end / 2), 0.002)
    ratio = np.linspace(most ** (1 / rho), least ** (1 / rho), steps) ** rho
    return _inner(path, -2 * np.log(ratio))


def shifted(path: Path, steps: int, shift: float = 3.0) -> np.ndarray:
    """Compute equal steps in u with t = shift u / (1 + (shift - 1) u): more noise if shift > 1."""
    low, high = path.ends

    def at(u: np.ndarray) -> np.ndarray:
        return high * shift * u / (1 + (shift - 1) * u)

    times = at(np.arange(steps, -1, -1) / steps).clip(max=high)
    if steps == 1 or times[-2] >= low:
        return times
    # many steps end at t_min before 0
    least = low / (shift * high - (shift - 1) * low)
    return np.append(at(np.linspace(1.0, least, steps)).clip(low, high), 0.0)


GRIDS: dict[str, Grid] = {
    "time": uniform_time,
    "log_snr": uniform_log_snr,
    "karras": karras,
    "shifted": shifted,
}
SETTINGS = {"karras": "rho", "shifted": "shift"}  # arguments of grids that take a number


def grid_times(grid: str | Sequence[float], path: Path, steps: int) -> np.ndarray:
    """Compute the N + 1 falling times of a named grid, such as shifted:1.5, or check given times.

    Raises:
        UsageError: If the grid, its number or its times are invalid.
    """
    if steps < 1:
        raise UsageError(f"Sampling needs at least one step, got {steps}.")
    if not isinstance(grid, str):
        return _checked_times(grid, path, steps)
    name, _, number = grid.partition(":")
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    if not number:
        return GRIDS[name](path, steps)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if name not in SETTINGS or not 1e-3 <= value <= 1e3:
        numbered = ", ".join(SETTINGS)
        raise UsageError(
            f'Unknown grid "{grid}": {numbered} take a number between 0.001 and 1,000, as in '
            "shifted:1.5."
        )
    return GRIDS[name](path, steps, **{SETTINGS[name]: value})  # type: ignore[call-arg]


def _checked_times(times: Sequence[float], path: Path, steps: int) -> np.ndarray:
    low, high = path.ends
    given = np.asarray(times, dtype=np.float64)
    falls = given.shape == (steps + 1,) and given[-1] == 0 and (np.diff(given) < 0).all()
    if falls and low <= given[-2] <= given[0] <= high:
        return given
    raise UsageError(
        f"{steps} steps need {steps + 1} times that fall from at most {high:g} to at least "
        f"{low:g} and end with 0; got {given.tolist()}."
    )
