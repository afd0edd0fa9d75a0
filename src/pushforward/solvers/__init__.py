"""Solvers of the probability-flow ODE and its stochastic kin, discovered from the files of this folder."""

from __future__ import annotations

from pushforward.errors import UsageError, did_you_mean
from pushforward.solvers.ddim import DDIM, Ancestral
from pushforward.solvers.dpm import DPM
from pushforward.solvers.runge_kutta import RK4, Euler, Heun, Midpoint
from pushforward.solvers.solver import Solver
from pushforward.spec import classes

__all__ = ["DDIM", "DPM", "RK4", "Ancestral", "Euler", "Heun", "Midpoint", "Solver", "named", "registry"]


def registry() -> dict[str, type[Solver]]:
    """Every solver of this folder by its lower-case name."""
    return {name.lower(): part for name, part in classes("pushforward.solvers", Solver).items()}


def named(name: str) -> Solver:
    """A solver with its default settings by name, as the command line gives it.

    Raises:
        UsageError: For an unknown name.
    """
    known = registry()
    if name.lower() not in known:
        raise UsageError(f'Unknown solver "{name}"; known: {", ".join(known)}.{did_you_mean(name.lower(), known)}')
    return known[name.lower()]()
