"""Where the steps fall: N + 1 times from t_max down to 0, as float64 numbers fixed before a solve begins.

References:
    Karras et al., EDM (2022), eq. 5; Esser et al., Stable Diffusion 3 (2024), eq. 23, for the shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from pushforward.errors import UsageError, unknown
from pushforward.paths import Path

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
        raise UsageError(f"A solve needs at least one step, got {steps}.")
    if not isinstance(grid, str):
        given, (low, high) = np.asarray(grid, dtype=np.float64), path.ends
        falls = given.shape == (steps + 1,) and given[-1] == 0 and (np.diff(given) < 0).all()
        if not falls or not low <= given[-2] <= given[0] <= high:
            raise UsageError(
                f"{steps} steps need {steps + 1} times that fall from {high:g} at most to {low:g} at least, and then 0; got "
                f"{given.tolist()}."
            )
        return given
    name, _, number = grid.partition(":")
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    if not number:
        return GRIDS[name](path, steps)
    setting = {"karras": "rho", "shifted": "shift"}.get(name)
    if setting is None:
        raise UsageError(f'The grid "{name}" takes no number.')
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 1e-3 <= value <= 1e3:
        raise UsageError(f'"{number}" in the grid "{grid}" must be a number between 0.001 and 1,000, as in shifted:1.5.')
    return GRIDS[name](path, steps, **{setting: value})  # type: ignore[call-arg]
