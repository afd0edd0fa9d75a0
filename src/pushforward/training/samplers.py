"""How the run of a frozen part samples by default: its solver, steps and grid, in the spec of the run that holds the part."""

from __future__ import annotations

from typing import Any

from pushforward import spec
from pushforward.errors import CheckpointError, UsageError
from pushforward.solvers import Solver
from pushforward.training.rebuilding import check_counts
from pushforward.transports import Flow, Transport, inner_of

__all__ = ["by_default", "described_sampler"]


def described_sampler(transport: Transport) -> dict[str, Any] | None:
    """Solver, steps and grid as JSON; None for a model without steps."""
    flow = inner_of(transport)
    return {"solver": spec.describe(flow.solver), "steps": flow.steps, "grid": flow.grid} if isinstance(flow, Flow) else None


def by_default(content: Any, part: str, flow: Flow) -> Flow | None:
    """A frozen part by the default sampler of its own run, as the spec of the run that holds it says.

    Returns:
        None where the run does not say.

    Raises:
        CheckpointError: If it says what is no sampler.
    """
    try:
        stored = (content.get("samplers") or {}).get(part)
        if stored is None:
            return None
        check_counts(stored["solver"])
        solver = spec.build(stored["solver"])
        if not isinstance(solver, Solver):
            raise TypeError(f"{type(solver).__name__} is no solver")
        return flow.with_solver(solver, stored["steps"], stored["grid"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, UsageError, ValueError) as error:
        raise CheckpointError(
            f"The run's spec.json describes no sampler of its frozen part {part}: {str(error).rstrip('.')}. Restore the file."
        ) from error
