"""A solve as a table of numbers, and the loop that runs it.

A row is one network call. Register 0 holds the state that the solve starts from; every other
register is written once.

References:
    Shaul et al., Bespoke Non-Stationary Solvers (2024), for solvers as tables of coefficients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from types import NoneType
from typing import Any
from warnings import warn

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from pushforward.denoisers.denoiser import (
    Condition,
    Predicting,
    Predictor,
    TimeColumns,
    columns_of,
    evaluate,
    mapped,
)
from pushforward.draws import Draws
from pushforward.paths import check
from pushforward.solvers.solver import Solver, State, noise_of

Number = float | Tensor
Times = np.ndarray | Tensor


@dataclass(frozen=True)
class Update:
    """Instruction that sets a register to a combination of others.

    Args:
        register: Target register.
        terms: Coefficients by register: floats, or scalar tensors with gradients.
    """

    register: int
    terms: dict[int, Number]


@dataclass
class Call:
    """Instruction that calls the denoiser.

    Args:
        kind: Prediction, or "jump" for the state at ``to``.
        point: Register with the input state.
        estimate: Register for the result.
        t: Time, a float64 scalar tensor.
        to: Target time of a jump.
        columns: Coefficients of the prediction (`columns_of`).
    """

    kind: str
    point: int
    estimate: int
    t: Tensor
    to: Tensor | None = None
    columns: TimeColumns = field(default_factory=dict)


@dataclass
class Row:
    """Table row: in this order, draws noise, updates registers, ends a step and calls the denoiser.

    Args:
        noises: Registers for fresh noise.
        updates: Updates, in order.
        stop: Time at which a step ends here.
        state: Register with the state at that time; None if no step ends.
        call: Call of the denoiser, if any.
        dropped: Registers that are not needed afterwards.
    """

    noises: list[int] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    stop: float = 0.0
    state: int | None = None
    call: Call | None = None
    dropped: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class SolverProgram:
    """Steps of a solver on a grid as numbers, built by `compile_table`."""

    rows: Sequence[Row]

    def calls(self, denoiser: Predictor) -> int:
        """Return the number of network evaluations per sample, including guidance."""
        return sum(denoiser.calls(float(row.call.t)) for row in self.rows if row.call is not None)

    def walk(
        self, denoiser: Predictor, x: Tensor, condition: Condition, draws: Draws | None
    ) -> Iterator[State]:
        """Run the rows from the state x (n, *shape), and yield (time, state) after each step.

        Raises:
            UsageError: If the table draws noise and there are no draws.
        """
        values = {0: x}
        for row in self.rows:
            for register in row.noises:
                values[register] = noise_of(x, draws)
            for update in row.updates:
                values[update.register] = _combined(values, update)
            if row.state is not None:
                yield row.stop, values[row.state]
            call = row.call
            if call is not None:
                values[call.estimate] = evaluate(
                    denoiser, call.kind, values[call.point], call.columns, condition
                )
            for register in row.dropped:
                del values[register]


def _combined(values: dict[int, Tensor], update: Update) -> Tensor:
    out: Tensor | None = None
    for source, weight in update.terms.items():
        value = values[source]
        if out is None:
            out = _scaled(value, weight)
        elif isinstance(weight, Tensor):
            out = out + _scaled(value, weight)
        else:
            out = torch.add(out, value, alpha=weight)
    assert out is not None
    return out


def _scaled(value: Tensor, weight: Number) -> Tensor:
    if isinstance(weight, Tensor):
        return value * weight.to(value)
    if weight == 1.0:
        return value
    return value * weight


class NotAffine(Exception):
    """Raised if a step is not a sum of states, estimates and noise weighted by numbers."""


def compile_table(solver: Solver, times: Tensor, denoiser: Predictor) -> SolverProgram:
    """Compile the steps of a solver along times (N + 1,), float64, without any estimate.

    Raises:
        NotAffine: If the solver is adaptive, or a step is not affine.
    """
    if solver.adaptive:
        raise NotAffine("it chooses its own steps")
    with torch.set_grad_enabled(times.requires_grad):
        try:
            rows = _traced(solver, times, denoiser)
            first = times.detach()[: CHECKED + 1]
            mirrored = _traced(solver, first, denoiser, mirrored=True)
        except NotAffine:
            raise
        except Exception as error:  # an error in the step appears when it is run on tensors
            raise NotAffine(f"{type(error).__name__}: {error}") from error
        expected = _updates(mirrored)
        if _updates(rows)[: len(expected)] != expected:
            raise NotAffine("its coefficients depend on the states")
        _add_columns(rows, denoiser)
    return SolverProgram(rows)


def _updates(rows: list[Row]) -> list[Update]:
    return [update for row in rows for update in row.updates]


def _traced(
    solver: Solver, times: Tensor, denoiser: Predictor, mirrored: bool = False
) -> list[Row]:
    tracer = _Tracer(solver, denoiser, mirrored)
    x = tracer.unit(0)
    memory: Any = None
    for i, stop in enumerate(times.tolist()[1:]):
        t = times[i : i + 1]
        s = times[i + 1 : i + 2]
        arguments: Any = (tracer, x, t, s, tracer.condition, tracer, memory)
        if stop == 0:
            x = solver.last(*arguments)
        else:
            x, memory = solver.step(*arguments)
        x, memory = tracer.end_step(x, stop, memory)
    for register, number in tracer.last_rows.items():
        tracer.rows[number].dropped.append(register)
    return tracer.rows


def _add_columns(rows: list[Row], denoiser: Predictor) -> None:
    """Compute the columns of all calls, at once for all calls of one kind."""
    calls_of: dict[str, list[Call]] = defaultdict(list)
    for row in rows:
        if row.call is not None:
            calls_of[row.call.kind].append(row.call)
    for kind, calls in calls_of.items():
        t = torch.stack([call.t for call in calls])
        targets = [call.to for call in calls if call.to is not None]
        to = torch.stack(targets) if targets else None
        columns = mapped(columns_of(denoiser, kind, t, to), _numbers)
        for place, call in enumerate(calls):
            call.columns = mapped(columns, itemgetter(place))


def _numbers(column: Tensor) -> Any:
    if column.requires_grad:
        return column
    return column.tolist()


class _Tracer:
    """Denoiser and random numbers of a traced step, whose states are vectors of coefficients.

    Each register that a step can use has a place in these vectors. Mirrored vectors are reversed
    and very large: the coefficients of an affine step remain the same.
    """

    def __init__(self, solver: Solver, denoiser: Predictor, mirrored: bool) -> None:
        self.path = denoiser.path
        self.space = denoiser.space
        self.calls = denoiser.calls
        self.condition: Any = object()  # a step passes it on unread
        self.rows = [Row()]
        self.last_rows: dict[int, int] = {}  # by register
        width = 16 + 4 * solver.calls_per_step
        self.shape = (*(1 for _ in denoiser.space.shape[1:]), width)
        self._places = list(range(width))
        self._size = 1.0
        if mirrored:
            self._places.reverse()
            self._size = MIRRORED
        self._free = iter(self._places)
        self._registers: dict[int, int] = {}
        self._count = 0
        self._estimates: list[Tensor] = []

    def unit(self, register: int) -> Tensor:
        """Return the vector of a register, which takes the next free place."""
        place = next(self._free)
        self._registers[place] = register
        vector = torch.zeros(1, *self.shape, dtype=torch.float64)
        vector[..., place] = self._size
        return vector

    def _used(self, *registers: int) -> None:
        self.last_rows.update(dict.fromkeys(registers, len(self.rows) - 1))

    def _new_register(self) -> int:
        self._count += 1
        self._used(self._count)
        return self._count

    def _register(self, vector: Tensor) -> int:
        """Return the register of a vector, a new one for a sum."""
        weights = vector.flatten() / self._size
        terms: dict[int, Number] = {}
        for place, number in enumerate(weights.tolist()):
            if number:
                source = self._registers[place]
                terms[source] = weights[place] if vector.requires_grad else number
        if list(terms.values()) == [1.0] and not vector.requires_grad:
            return source
        register = self._new_register()
        self._used(*terms)
        self.rows[-1].updates.append(Update(register, terms))
        return register

    def normal(self, shape: Sequence[int]) -> Tensor:
        if tuple(shape) not in (self.shape, tuple(self.space.shape)):
            raise NotAffine(f"it draws noise of shape {tuple(shape)}")
        register = self._new_register()
        self.rows[-1].noises.append(register)
        return self.unit(register)

    def _call(
        self, kind: str, x: Tensor, t: Tensor, condition: Any, to: Tensor | None = None
    ) -> Tensor:
        if condition is not self.condition:
            raise NotAffine("it changes the condition")
        if to is not None:
            to = to.reshape(())
        point = self._register(x)
        if point not in self._registers.values():
            x.copy_(self.unit(point))
        register = self._new_register()
        self._used(point)
        self.rows[-1].call = Call(kind, point, register, t.reshape(()), to)
        self.rows.append(Row())
        return self.unit(register)

    def predict(self, kind: str, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        if check(kind) == "noise":
            k = self.path.at(t)
            kept = (k.sigma / k.r**2) * x_t.clone()  # before x_t is a register: its terms cancel
            estimate = kept + (k.alpha / k.r) * self._call("v", x_t, t, condition)
        else:
            estimate = self._call(kind, x_t, t, condition)
        self._estimates.append(estimate)
        return estimate

    def jump(self, x_t: Tensor, t: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        return self._call("jump", x_t, t, condition, s)

    def end_step(self, x: Tensor, stop: float, memory: Any) -> tuple[Tensor, Any]:
        """End a step; return state and memory as vectors of the next step."""
        if self.rows[-1].state is not None:
            self.rows.append(Row())
        parts, structure = pytree.tree_flatten((x, memory))
        held = {}
        for index, part in enumerate(parts):
            if not isinstance(part, (Tensor, int, float, NoneType)):
                raise NotAffine(f"its memory contains a {type(part).__name__}")
            if isinstance(part, Tensor) and part.shape == (1, *self.shape):
                held[index] = self._register(part)
        self._used(*held.values())
        self.rows[-1].stop = stop
        self.rows[-1].state = held[0]
        # sums of the next step start with states, its first estimate and earlier estimates
        estimates = {id(estimate) for estimate in self._estimates}
        states = [index for index in held if id(parts[index]) not in estimates]
        free = list(self._places)
        free.insert(len(held), free.pop(len(states)))
        self._free = iter(free)
        self._registers = {}
        self._estimates = []
        for index, register in held.items():
            parts[index] = self.unit(register)
            if index not in states:
                self._estimates.append(parts[index])
        return pytree.tree_unflatten(parts, structure)


CHECKED = 3  # steps whose coefficients are compared with those of mirrored states
MIRRORED = -(2.0**100)
TABLES = 8  # tables that are kept: for a flow's own times, and for recent solves and encodings


class TableCache:
    """Cache of the tables of one solver, by times, denoiser and settings.

    Replacing an attribute of solver or denoiser compiles another table. Changes inside an
    attribute are not noticed.
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._tables: dict[bytes, tuple[list[Any], SolverProgram | NotAffine]] = {}

    def table(self, denoiser: Predictor, times: Times) -> SolverProgram | NotAffine:
        """Return the table for these times, or the reason why there is none."""
        if isinstance(times, Tensor) and times.requires_grad:
            return self._compiled(denoiser, times.cpu())
        along = np.array(times, dtype=np.float64)
        key = along.tobytes()
        settings = [*_settings(self.solver), *_settings(denoiser)]
        if key in self._tables:
            known, table = self._tables[key]
            if list(map(id, known)) == list(map(id, settings)):
                return table
        while len(self._tables) >= TABLES:
            oldest = next(iter(self._tables))
            del self._tables[oldest]
        table = self._compiled(denoiser, torch.from_numpy(along))
        self._tables[key] = (settings, table)
        return table

    def _compiled(self, denoiser: Predictor, times: Tensor) -> SolverProgram | NotAffine:
        try:
            return compile_table(self.solver, times, denoiser)
        except NotAffine as reason:
            if not self.solver.adaptive:
                warn(
                    f"The step of {type(self.solver).__name__} is not affine ({reason}), so the "
                    "solver runs without a table.",
                    stacklevel=2,
                )
            return reason


def _settings(part: object) -> list[Any]:
    settings: list[Any] = [] if isinstance(part, nn.Module) else [part]
    inner = []
    for name, value in vars(part).items():
        if name == "training":
            continue
        settings += [name, value]
        inner.append(value)
        if name == "_modules":
            inner += value.values()
    for value in inner:
        if isinstance(value, Predicting):
            settings += _settings(value)
    return settings
