"""Where the steps fall: N + 1 times from t_max down to 0, as float64 numbers fixed before a solve begins.

References:
    Karras et al., EDM (2022), eq. 5; Esser et al., Stable Diffusion 3 (2024), eq. 23, for the shift.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from pushforward.errors import UsageError, did_you_mean
from pushforward.paths import Path

__all__ = ["GRIDS", "karras", "shifted", "times", "uniform_log_snr", "uniform_time"]

Grid = Callable[[Path, int], np.ndarray]


def uniform_time(path: Path, steps: int) -> np.ndarray:
    """Equal steps in t from t_max to 0."""
    return path.ends[1] * np.arange(steps, -1, -1) / steps


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
    if shift <= 0:
        raise UsageError(f"A shift must be positive, got {shift}.")
    u = np.arange(steps, -1, -1) / steps
    return path.ends[1] * shift * u / (1 + (shift - 1) * u)


GRIDS: dict[str, Grid] = {"time": uniform_time, "log_snr": uniform_log_snr, "karras": karras, "shifted": shifted}


def times(grid: str, path: Path, steps: int) -> np.ndarray:
    """The N + 1 falling times of a named grid; ``shifted:1.5`` and ``karras:5`` set a grid's number.

    Raises:
        UsageError: For fewer than one step or an unknown grid.
    """
    if steps < 1:
        raise UsageError(f"A solve needs at least one step, got {steps}.")
    name, _, number = grid.partition(":")
    if name not in GRIDS:
        raise UsageError(f'Unknown grid "{name}"; known: {", ".join(GRIDS)}.{did_you_mean(name, GRIDS)}')
    made = GRIDS[name]
    if number:
        setting = {"karras": "rho", "shifted": "shift"}.get(name)
        if setting is None:
            raise UsageError(f'The grid "{name}" takes no number.')
        made = partial(made, **{setting: float(number)})  # type: ignore[call-arg]
    return made(path, steps)
