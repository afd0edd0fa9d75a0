"""Solvers compiled to tables: a step is run once on symbols, and its calls and updates are recorded.

Coefficients are computed in float64 and rounded once. Times given as a tensor that requires a gradient are differentiated
through; all other coefficients become plain numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from pushforward.draws import Draws
from pushforward.predictions import check
from pushforward.predictor import Condition, Predictor, TimeColumns, columns_of, mapped
from pushforward.solvers.solver import Solver
from pushforward.solvers.symbols import NotAffine, Symbol
from pushforward.solvers.table import Call, Row, Table, Update, with_drops


def compile_table(solver: Solver, times: Tensor, denoiser: Predictor) -> Table:
    """A solver's steps along given times, as a table.

    Args:
        solver: Of fixed steps, each of them affine in the state, the estimates made so far and fresh noise.
        times: (N + 1,) float64 on the CPU; a last time of 0 is reached by `Solver.last`.
        denoiser: Whose path, space and columns are used; no estimate is computed.

    Returns:
        The table; its coefficients are floats, or tensors where the times require a gradient.

    Raises:
        NotAffine: For an adaptive solver, or a step that is not affine.
    """
    if solver.adaptive:
        raise NotAffine("it chooses its own steps")
    with torch.set_grad_enabled(times.requires_grad):
        try:
            rows = _traced(solver, times, denoiser)
        except NotAffine:
            raise
        except Exception as error:  # an error in the step appears when it is run on tensors
            raise NotAffine(f"{type(error).__name__}: {error}") from error
        return Table(with_drops(with_columns(rows, denoiser)))


def _traced(solver: Solver, times: Tensor, denoiser: Predictor) -> list[Row]:
    tracer = _Tracer(denoiser)
    noise: Any = _Noise(tracer)
    x: Any = Symbol.of(0, tracer.shape)
    memory: Any = None
    for i, stop in enumerate(times.tolist()[1:]):
        t, s = times[i : i + 1], times[i + 1 : i + 2]
        arguments = tracer, x, t, s, tracer.condition, noise, memory
        if stop == 0:
            x = solver.last(*arguments)  # type: ignore[arg-type]
        else:
            x, memory = solver.step(*arguments)  # type: ignore[arg-type]
        tracer.ends(x, stop, memory)
    return tracer.finished()


class _Tracer:
    """The stand-in for the denoiser: it returns a symbol for each estimate and records the calls."""

    def __init__(self, denoiser: Predictor) -> None:
        self.path, self.space, self._denoiser = denoiser.path, denoiser.space, denoiser
        self.shape = tuple(denoiser.space.shape)
        self.condition: Any = _Opaque()
        self._rows: list[Row] = []
        self._count = 0
        self._open()

    def _open(self) -> None:
        self._noises: list[int] = []
        self._updates: list[Update] = []
        self._end: tuple[float, int] | None = None

    def _close(self, call: Call | None) -> None:
        stop, state = self._end or (None, None)
        self._rows.append(Row(tuple(self._noises), tuple(self._updates), stop, state, call))
        self._open()

    def fresh(self) -> int:
        self._count += 1
        return self._count

    def drawn(self) -> Symbol:
        register = self.fresh()
        self._noises.append(register)
        return Symbol.of(register, self.shape)

    def _register(self, value: Any) -> int:
        if not isinstance(value, Symbol):
            raise NotAffine(f"a {type(value).__name__} takes the place of a state")
        if value.register is None:
            register = self.fresh()
            self._updates.append(Update(register, tuple(value.terms), tuple(value.terms.values())))
            value.settle(register)
        assert value.register is not None
        return value.register

    def _asked(self, kind: str, x: Any, t: Tensor, condition: Any, to: Tensor | None = None) -> Symbol:
        if condition is not self.condition:
            raise NotAffine("the condition is changed")
        point, estimate = self._register(x), self.fresh()
        self._close(Call(kind, point, estimate, t.reshape(()), None if to is None else to.reshape(())))
        return Symbol.of(estimate, self.shape)

    def predict(self, kind: str, x_t: Any, t: Tensor, condition: Condition = None) -> Any:
        return self._asked(check(kind), x_t, t, condition)

    def jump(self, x_t: Any, t: Tensor, s: Tensor, condition: Condition = None) -> Any:
        return self._asked("jump", x_t, t, condition, s)

    def calls(self, t: float = 0.5) -> int:
        return self._denoiser.calls(t)

    def ends(self, state: Any, stop: float, memory: Any) -> None:
        if self._end is not None:
            self._close(None)
        register = self._register(state)
        for part in pytree.tree_leaves(memory):
            if isinstance(part, Symbol):
                self._register(part)
        self._end = stop, register

    def finished(self) -> list[Row]:
        self._close(None)
        return self._rows


class _Opaque:
    """The condition while a step is traced: a step passes it on unread."""


class _Noise(Draws):
    rows = 1

    def __init__(self, tracer: _Tracer) -> None:
        self._tracer = tracer

    def normal(self, shape: Sequence[int]) -> Any:
        if tuple(shape) != self._tracer.shape:
            raise NotAffine(f"noise of shape {tuple(shape)} is drawn")
        return self._tracer.drawn()

    def uniform(self) -> Tensor:
        raise NotAffine("uniform numbers are drawn")

    def stream(self, name: str, interval: int = 1) -> Draws:
        raise NotAffine("another stream of numbers is drawn from")


def with_columns(rows: list[Row], denoiser: Predictor) -> list[Row]:
    """The rows with the columns of their calls that this denoiser needs, computed for all calls of one kind at once."""
    kinds: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        if row.call is not None:
            kinds.setdefault(row.call.kind, []).append(number)
    done = list(rows)
    for kind, numbers in kinds.items():
        calls = [call for number in numbers if (call := rows[number].call) is not None]
        t = torch.stack([call.t for call in calls])
        to = None if calls[0].to is None else torch.stack([call.to for call in calls])
        columns = _listed(columns_of(denoiser, kind, t, to))
        for place, (number, call) in enumerate(zip(numbers, calls, strict=True)):
            done[number] = replace(rows[number], call=replace(call, columns=_at(columns, place)))
    return done


def _listed(columns: TimeColumns) -> TimeColumns:
    return mapped(columns, lambda part: part if part.requires_grad else part.tolist())


def _at(columns: TimeColumns, place: int) -> TimeColumns:
    return mapped(columns, lambda part: part[place])
