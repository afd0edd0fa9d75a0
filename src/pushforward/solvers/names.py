"""Solvers by name."""

from __future__ import annotations

from typing import Any

from pushforward.errors import UsageError
from pushforward.registries import SOLVERS, from_text
from pushforward.solvers.solver import Solver


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
