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
Memory = Any  # The state that one step passes to the next: None at the start, else a tuple of tensors


class Solver(ABC):
    """Moves x_t from time t to time s < t (towards data) or s > t (towards noise, where deterministic).

    A solver holds its settings only: values of earlier steps are returned and passed in as ``memory``.
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


def ends_of(path: Path, x: Tensor, t: Tensor, s: Tensor) -> tuple[Coefficients, Coefficients]:
    """Compute the path's coefficients at both ends of a step, shaped to multiply x."""
    return path.at(t).over(x), path.at(s).over(x)


def noise_of(x: Tensor, draws: Draws | None) -> Tensor:
    """Fresh noise of the shape of x.

    Raises:
        UsageError: Without draws.
    """
    if draws is None:
        raise UsageError(
            "A stochastic solver needs random numbers with one seed per sample: flow(z, condition, ExampleDraws(seed, n))."
        )
    return draws.normal(x.shape[1:]).to(x)


def stepped(
    solver: Solver, denoiser: Predictor, x: Tensor, times: np.ndarray | Tensor, condition: Condition, draws: Draws | None
) -> Iterator[State]:
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
        raise UsageError(f"{solver} supports {name} {', '.join(map(str, allowed))}; got {value}.")
    return int(value)


def between(solver: str, name: str, value: float, low: float, high: float) -> float:
    """A number within [low, high].

    Raises:
        UsageError: For another one.
    """
    if not low <= value <= high:
        raise UsageError(f"{solver} needs {name} between {low:g} and {high:g}, got {value}.")
    return float(value)


def register(*solvers: type[Solver]) -> None:
    """Let sampling and the command line find further solvers by their lower-case names; one added before is replaced.

    Raises:
        UsageError: For a name that belongs to one of the package's own.
    """
    for solver in solvers:
        SOLVERS.add(solver.__name__.lower(), solver)


def named(name: str) -> Solver:
    """A solver by name, as the command line gives it; ``dpm:3`` and ``ddim:0.5`` set its first argument.

    Raises:
        UsageError: For an unknown name, or an argument that the solver does not take.
    """
    solver: Solver = from_text(SOLVERS, name)
    return solver


def name_of(solver: Solver) -> str:
    """The name by which `named` finds a solver, with its first argument where that is not the usual one."""
    word = type(solver).__name__.lower()
    first = next(iter(inspect.signature(type(solver)).parameters.values()), None)
    value = None if first is None else getattr(solver, first.name)
    return word if first is None or value == first.default else f"{word}:{value}"


def as_solver(solver: Any) -> Solver:
    """A solver; a name (`named`) and a class give the solver with its defaults.

    Raises:
        UsageError: For anything else.
    """
    if isinstance(solver, str):
        return named(solver)
    instance = solver() if isinstance(solver, type) and issubclass(solver, Solver) else solver
    if not isinstance(instance, Solver):
        raise UsageError(f'Expected a solver, such as pf.solvers.Heun() or "heun"; got {solver!r}.')
    return instance


Grid = Callable[[Path, int], np.ndarray]


def uniform_time(path: Path, steps: int) -> np.ndarray:
    """Equal steps in t from t_max to 0, or to t_min and then 0 where the last but one would fall below t_min."""
    times = (path.ends[1] * np.arange(steps, -1, -1) / steps).clip(max=path.ends[1])
    if steps == 1 or times[-2] >= path.ends[0]:
        return times
    return np.append(np.linspace(path.ends[1], path.ends[0], steps), 0.0)


def _inner(path: Path, log_snr: np.ndarray) -> np.ndarray:
    times = path.time(torch.from_numpy(log_snr)).numpy().clip(*path.ends)
    times[0] = path.ends[1]
    return np.append(times, 0.0)


def uniform_log_snr(path: Path, steps: int, low: float = -9.0, high: float = 9.0) -> np.ndarray:
    """From t_max to 0 with all but the first and last time at equal steps in log-SNR.

    The log-SNR is held within [low, high]: beyond them, x_t is noise or data to within one part in a hundred in standard
    deviation, and steps there are wasted.
    """
    high_end, low_end = path.log_snr_ends()
    return _inner(path, np.linspace(max(low, low_end), min(high, high_end), steps))


def karras(path: Path, steps: int, rho: float = 7.0) -> np.ndarray:
    """Equal steps in (sigma / alpha)^(1 / rho), within [0.002, 80] where the path reaches so far."""
    high_end, low_end = path.log_snr_ends()
    most, least = min(np.exp(-low_end / 2), 80.0), max(np.exp(-high_end / 2), 0.002)
    ratio = np.linspace(most ** (1 / rho), least ** (1 / rho), steps) ** rho
    return _inner(path, -2 * np.log(ratio))


def shifted(path: Path, steps: int, shift: float = 3.0) -> np.ndarray:
    """Equal steps in u with t = shift u / (1 + (shift - 1) u): more of them at high noise where shift > 1."""
    low, high = path.ends
    u = np.arange(steps, -1, -1) / steps
    times = (high * shift * u / (1 + (shift - 1) * u)).clip(max=high)
    if steps == 1 or times[-2] >= low:
        return times
    # with so many steps they would fall below t_min: equal steps in u end at t_min in its place
    u = np.linspace(1.0, low / (shift * high - (shift - 1) * low), steps)
    return np.append((high * shift * u / (1 + (shift - 1) * u)).clip(low, high), 0.0)


GRIDS: dict[str, Grid] = {"time": uniform_time, "log_snr": uniform_log_snr, "karras": karras, "shifted": shifted}


def grid_times(grid: str | Sequence[float], path: Path, steps: int) -> np.ndarray:
    """The N + 1 falling times of a named grid, or those given; ``shifted:1.5`` and ``karras:5`` set a grid's number.

    Raises:
        UsageError: For fewer than one step, an unknown grid, a number that it cannot take, or times that do not fall from
            within the path's ends to 0.
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
        raise UsageError(f'The grid "{grid}" needs a number between 0.001 and 1,000, as in shifted:1.5, got "{number}".')
    return GRIDS[name](path, steps, **{setting: value})  # type: ignore[call-arg]
