"""A solve as a table of numbers, and the loop that runs all of them.

A row is one network call: noise is drawn, registers are updated by affine combinations, and the
network is called at one of them. Register 0 holds the state that the solve starts from, and every
other is written once.

References:
    Shaul et al., Bespoke Non-Stationary Solvers (2024), for solvers as tables of coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
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


@dataclass(frozen=True)
class Update:
    """Instruction that sets a register to a combination of others.

    Args:
        register: Target register.
        sources: Registers to combine.
        weights: One coefficient per source: floats, or scalar tensors with gradients.
    """

    register: int
    sources: tuple[int, ...]
    weights: tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """Instruction that calls the denoiser.

    Args:
        kind: Prediction, or "jump" for the state at ``to``.
        point: Register with the input state.
        estimate: Register for the result.
        t: Time, a float64 scalar tensor.
        to: Target time of a jump.
        columns: Coefficients of the prediction (`pushforward.denoisers.denoiser.columns_of`).
    """

    kind: str
    point: int
    estimate: int
    t: Any
    to: Any = None
    columns: TimeColumns | None = None


@dataclass(frozen=True)
class Row:
    """Table row: draws noise, updates registers, ends a step, calls the denoiser and drops registers, in this order.

    Args:
        noises: Registers for fresh noise.
        updates: Updates, in order.
        stop: Time at which a step ends here; None if no step ends.
        state: Register with the state at that time.
        call: Call of the denoiser; None if a step ends without another call.
        dropped: Registers that are no longer needed.
    """

    noises: tuple[int, ...] = ()
    updates: tuple[Update, ...] = ()
    stop: float | None = None
    state: int | None = None
    call: Call | None = None
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """Steps of a solver on a grid as numbers, built by `pushforward.solvers.table.compile_table`.

    Args:
        rows: Rows, in order of execution.
    """

    rows: tuple[Row, ...]

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
                values[update.register] = _combined(
                    [values[source] for source in update.sources], update.weights
                )
            if row.stop is not None and row.state is not None:
                yield row.stop, values[row.state]
            if row.call is not None:
                call = row.call
                assert call.columns is not None
                values[call.estimate] = evaluate(
                    denoiser, call.kind, values[call.point], call.columns, condition
                )
            for register in row.dropped:
                del values[register]


def _combined(values: list[Tensor], weights: tuple[Any, ...]) -> Tensor:
    out = _times(values[0], weights[0])
    for value, weight in zip(values[1:], weights[1:], strict=True):
        if isinstance(weight, Tensor):
            out = out + _times(value, weight)
        else:
            out = torch.add(out, value, alpha=weight)
    return out


def _times(value: Tensor, weight: Any) -> Tensor:
    if isinstance(weight, Tensor):
        return value * weight.to(value)
    if weight == 1.0:
        return value
    return value * weight


def with_drops(rows: list[Row]) -> tuple[Row, ...]:
    """Return the rows, each dropping the registers that are not used afterwards."""
    last: dict[int, int] = {0: 0}
    for number, row in enumerate(rows):
        used = [
            *row.noises,
            *(
                register
                for update in row.updates
                for register in (update.register, *update.sources)
            ),
        ]
        used += [] if row.state is None else [row.state]
        used += [] if row.call is None else [row.call.point, row.call.estimate]
        last.update(dict.fromkeys(used, number))
    ends: dict[int, list[int]] = {}
    for register, number in last.items():
        ends.setdefault(number, []).append(register)
    return tuple(
        replace(row, dropped=tuple(ends.get(number, ()))) for number, row in enumerate(rows)
    )


Number = float | Tensor


class NotAffine(Exception):
    """Raised if a step is not a sum of states, estimates and noise with coefficients that depend only on times."""


def _number(value: Any) -> Number:
    if isinstance(value, Tensor) and value.numel() == 1:
        if value.requires_grad:
            return value.double().reshape(())
        return float(value)
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Tensor):
        what = f"an array of shape {tuple(value.shape)}"
    else:
        what = type(value).__name__
    raise NotAffine(f"it multiplies a state by {what}")


class Symbol:
    """Linear combination of registers that replaces a batch of one example.

    Additions, and products with single numbers, give another symbol; anything else raises
    `NotAffine`. A term stays even if its coefficient is 0, so that the coefficient keeps its
    gradient.

    Args:
        terms: Coefficients by register: floats, or float64 scalar tensors if gradients are needed.
        shape: Shape of one example.
    """

    __array_priority__ = 1000
    dtype = torch.float64
    device = torch.device("cpu")

    def __init__(self, terms: dict[int, Number], shape: tuple[int, ...]) -> None:
        self.terms, self.shape, self.ndim = terms, torch.Size((1, *shape)), len(shape) + 1
        self.register: int | None = None

    @classmethod
    def of(cls, register: int, shape: tuple[int, ...]) -> Symbol:
        """Build the symbol of a register."""
        symbol = cls({register: 1.0}, shape)
        symbol.register = register
        return symbol

    def settle(self, register: int) -> None:
        """Replace the symbol by one register to which its value has been written."""
        self.terms = {register: 1.0}
        self.register = register

    def dim(self) -> int:
        """Return the number of dimensions, including the batch dimension."""
        return self.ndim

    def to(self, *_: Any, **__: Any) -> Symbol:
        """Return the symbol itself, which has no dtype and no device."""
        return self

    def _scaled(self, by: Any) -> Symbol:
        factor = _number(by)
        return Symbol(
            {register: weight * factor for register, weight in self.terms.items()}, self.shape[1:]
        )

    def _plus(self, other: Any, sign: float = 1.0) -> Symbol:
        if not isinstance(other, Symbol):
            if isinstance(other, (int, float)) and other == 0:
                return self
            raise NotAffine("it adds something other than a state, an estimate or noise")
        terms = dict(self.terms)
        for register, weight in other.terms.items():
            coefficient = terms.get(register)
            terms[register] = sign * weight if coefficient is None else coefficient + sign * weight
        return Symbol(terms, self.shape[1:])

    def __add__(self, other: Any) -> Symbol:
        return self._plus(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Symbol:
        return self._plus(other, -1.0)

    def __rsub__(self, other: Any) -> Symbol:
        return self._scaled(-1.0)._plus(other)

    def __neg__(self) -> Symbol:
        return self._scaled(-1.0)

    def __mul__(self, other: Any) -> Symbol:
        return self._scaled(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Symbol:
        return self._scaled(1 / _number(other))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotAffine(f"it reads `{name}` of a state")

    def __bool__(self) -> bool:
        raise NotAffine("it branches on a state")

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Symbol:
        name = getattr(func, "__name__", "").strip("_")
        if name in _OPERATIONS and not kwargs:
            return _OPERATIONS[name](*args)
        raise NotAffine(f"it passes a state to `{name}`")


# torch's functions on symbols; tensors of one number stand on either side
_OPERATIONS: dict[str, Callable[..., Symbol]] = {
    **dict.fromkeys(("add", "radd"), lambda a, b: a + b if isinstance(a, Symbol) else b + a),
    **dict.fromkeys(
        ("mul", "rmul", "multiply"), lambda a, b: a * b if isinstance(a, Symbol) else b * a
    ),
    **dict.fromkeys(("sub", "subtract"), lambda a, b: a - b if isinstance(a, Symbol) else -b + a),
    **dict.fromkeys(("div", "truediv", "true_divide"), lambda a, b: a / b),
    "rsub": lambda a, b: -a + b,
    "neg": lambda a: -a,
}


def compile_table(solver: Solver, times: Tensor, denoiser: Predictor) -> Table:
    """Compile the steps of a solver along given times to a table.

    Args:
        solver: Solver with fixed steps, each affine in the state, earlier estimates and fresh
            noise.
        times: Times (N + 1,), float64, on the CPU; a last time of 0 is reached by `Solver.last`.
        denoiser: Denoiser whose path, space and columns are used; no estimate is computed.

    Returns:
        Table with coefficients that are floats, or tensors if the times require gradients.

    Raises:
        NotAffine: If the solver is adaptive, or a step is not affine.
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
        t = times[i : i + 1]
        s = times[i + 1 : i + 2]
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
        self.path = denoiser.path
        self.space = denoiser.space
        self._denoiser = denoiser
        self.shape = tuple(denoiser.space.shape)
        self.condition: Any = object()  # a step passes it on unread
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
            raise NotAffine(f"it uses a {type(value).__name__} as a state")
        if value.register is None:
            register = self.fresh()
            self._updates.append(Update(register, tuple(value.terms), tuple(value.terms.values())))
            value.settle(register)
        assert value.register is not None
        return value.register

    def _asked(
        self, kind: str, x: Any, t: Tensor, condition: Any, to: Tensor | None = None
    ) -> Symbol:
        if condition is not self.condition:
            raise NotAffine("it changes the condition")
        point = self._register(x)
        estimate = self.fresh()
        self._close(
            Call(kind, point, estimate, t.reshape(()), None if to is None else to.reshape(()))
        )
        return Symbol.of(estimate, self.shape)

    def predict(self, kind: str, x_t: Any, t: Tensor, condition: Condition = None) -> Any:
        """Compute the estimate; noise is computed from v, because it hardly differs from x_t if alpha is small."""
        if check(kind) != "noise":
            return self._asked(kind, x_t, t, condition)
        k = self.path.at(t)
        share = (k.sigma / k.r**2) * x_t  # before x_t is a register: what it was made of cancels
        return share + (k.alpha / k.r) * self._asked("v", x_t, t, condition)

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


class _Noise(Draws):
    def __init__(self, tracer: _Tracer) -> None:
        self._tracer = tracer

    def normal(self, shape: Sequence[int]) -> Any:
        if tuple(shape) != self._tracer.shape:
            raise NotAffine(f"it draws noise of shape {tuple(shape)}")
        return self._tracer.drawn()

    def uniform(self) -> Tensor:
        raise NotAffine("it draws uniform numbers")

    def stream(self, name: str, interval: int = 1) -> Draws:
        raise NotAffine("it draws from another random stream")


def with_columns(rows: list[Row], denoiser: Predictor) -> list[Row]:
    """Add the columns that this denoiser needs to the calls of the rows, computed at once for all calls of one kind."""
    kinds: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        if row.call is not None:
            kinds.setdefault(row.call.kind, []).append(number)
    done = list(rows)
    for kind, numbers in kinds.items():
        calls = [call for number in numbers if (call := rows[number].call) is not None]
        t = torch.stack([call.t for call in calls])
        to = None if calls[0].to is None else torch.stack([call.to for call in calls])
        columns = mapped(
            columns_of(denoiser, kind, t, to),
            lambda part: part if part.requires_grad else part.tolist(),
        )
        for place, (number, call) in enumerate(zip(numbers, calls, strict=True)):
            done[number] = replace(
                rows[number], call=replace(call, columns=mapped(columns, itemgetter(place)))
            )
    return done


TABLES = 8  # How many tables are kept: those of a flow's own times and of the last solves, encodings and variations
Times = np.ndarray | Tensor


class TableCache:
    """Cache of the tables of one solver: a table is compiled once for the same times, denoiser and settings.

    Replacing an attribute of solver or denoiser, such as the guidance scale, compiles another
    table. Changes inside an attribute, such as in the attributes of a path, are not noticed.

    Args:
        solver: Any solver.
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._tables: dict[bytes, tuple[list[Any], Table | NotAffine]] = {}

    def table(self, denoiser: Predictor, times: Times) -> Table | NotAffine:
        """Return the table for these times from a cache of the latest tables, or the reason why there is none."""
        if isinstance(times, Tensor) and times.requires_grad:
            return self._compiled(denoiser, times.cpu())
        along = np.array(times, dtype=np.float64)
        key = along.tobytes()
        settings = [*_settings(self.solver), *_settings(denoiser)]
        if key in self._tables and list(map(id, self._tables[key][0])) == list(map(id, settings)):
            return self._tables[key][1]
        while len(self._tables) >= TABLES:
            self._tables.pop(next(iter(self._tables)))
        self._tables[key] = settings, self._compiled(denoiser, torch.from_numpy(along))
        return self._tables[key][1]

    def _compiled(self, denoiser: Predictor, times: Tensor) -> Table | NotAffine:
        try:
            return compile_table(self.solver, times, denoiser)
        except NotAffine as reason:
            if not self.solver.adaptive:
                warn(
                    f"The step of {type(self.solver).__name__} is not affine ({reason}), so the solver runs without a table.",
                    stacklevel=2,
                )
            return reason


def _settings(part: object) -> list[Any]:
    """The identity of a part: its attributes by name, and those of the predictors inside.

    A module is known by the dicts that it holds, which it shares with what torch.export puts instead of a module that is
    used twice.
    """
    held = {
        name: value for name, value in getattr(part, "__dict__", {}).items() if name != "training"
    }
    inner = [
        value
        for value in (*held.values(), *held.get("_modules", {}).values())
        if isinstance(value, Predicting)
    ]
    identity = [] if isinstance(part, nn.Module) else [part]
    return [*identity, *chain(*held.items()), *chain(*map(_settings, inner))]
