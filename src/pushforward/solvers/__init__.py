"""Solvers of the probability-flow ODE and its stochastic kin, discovered from the files of this folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pushforward.errors import UsageError, did_you_mean
from pushforward.solvers.ddim import DDIM, Ancestral, Jump
from pushforward.solvers.exponential import DEIS, DPM, IPNDM, SingleStep, UniPC
from pushforward.solvers.runge_kutta import RK4, Adaptive, Euler, Heun, Midpoint
from pushforward.solvers.solver import Solver
from pushforward.solvers.stochastic import DPMSDE, Churn, EulerMaruyama, PredictorCorrector
from pushforward.spec import check_names, classes, classes_of

__all__ = [
    "DDIM",
    "DEIS",
    "DPM",
    "DPMSDE",
    "IPNDM",
    "RK4",
    "Adaptive",
    "Ancestral",
    "Churn",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "Jump",
    "Midpoint",
    "PredictorCorrector",
    "SingleStep",
    "Solver",
    "UniPC",
    "adopt",
    "as_solver",
    "named",
    "register",
    "registry",
]

_ADDED: dict[str, type[Solver]] = {}


def _own() -> dict[str, type[Solver]]:
    return {name.lower(): part for name, part in classes("pushforward.solvers", Solver).items()}


def registry() -> dict[str, type[Solver]]:
    """Every solver by its lower-case name: those of this folder, then those that `register` added."""
    return _own() | _ADDED


def register(*solvers: type[Solver]) -> None:
    """Let sampling and the command line find further solvers by their lower-case names; one added before is replaced.

    Raises:
        UsageError: For a name that belongs to one of the package's own.
    """
    for solver in solvers:
        if solver.__name__.lower() in _own():
            raise UsageError(f'The name "{solver.__name__}" belongs to another solver. Choose another name.')
        _ADDED[solver.__name__.lower()] = solver


def adopt(module: ModuleType) -> list[str]:
    """Register the solvers that a module defines; their names."""
    solvers = {name.lower(): part for name, part in classes_of(module, Solver).items()}
    check_names("solver", solvers, _ADDED, module)
    register(*solvers.values())
    return list(solvers)


def named(name: str) -> Solver:
    """A solver by name, as the command line gives it; ``dpm:3`` and ``ddim:0.5`` set its first argument.

    Raises:
        UsageError: For an unknown name, or an argument that the solver does not take.
    """
    known, (word, _, number) = registry(), name.lower().partition(":")
    if word not in known:
        raise UsageError(f'Unknown solver "{name}"; known: {", ".join(known)}.{did_you_mean(word, known)}')
    if not number:
        return known[word]()
    arguments = list(inspect.signature(known[word]).parameters.values())
    if not arguments:
        raise UsageError(f'The solver "{word}" takes no argument; write `solver={word}`.')
    try:
        value = int(number) if isinstance(arguments[0].default, int) else float(number)
    except ValueError:
        raise UsageError(f'"{number}" in the solver "{name}" is no number; write for example dpm:3 or ddim:0.5.') from None
    factory: Callable[[float], Solver] = known[word]
    return factory(value)


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
