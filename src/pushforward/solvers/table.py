"""A solve as a table of numbers, and the loop that runs it.

A row is one network call. Register 0 holds the state that the solve starts from; every other
register is written once.

References:
    Shaul et al., Bespoke Non-Stationary Solvers (2024), for solvers as tables of coefficients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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

Number = float | Tensor
Times = np.ndarray | Tensor


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
    weights: tuple[Number, ...]


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

    @property
    def registers(self) -> list[int]:
        """Return the registers that the row reads or writes."""
        registers = list(self.noises)
        for update in self.updates:
            registers += [update.register, *update.sources]
        if self.state is not None:
            registers.append(self.state)
        if self.call is not None:
            registers += [self.call.point, self.call.estimate]
        return registers


@dataclass(frozen=True)
class SolverProgram:
    """Steps of a solver on a grid as numbers, built by `compile_program`."""

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
    out = None
    for source, weight in zip(update.sources, update.weights, strict=True):
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


def _number(value: Any) -> Number:
    if isinstance(value, Tensor) and value.numel() == 1:
        if value.requires_grad:
            return value.double().reshape(())
        return float(value)
    if isinstance(value, (int, float)):
        return float(value)
    what = type(value).__name__
    if isinstance(value, Tensor):
        what = f"an array of shape {tuple(value.shape)}"
    raise NotAffine(f"it multiplies a state by {what}")


class LinearExpression:
    """Linear combination of registers that replaces a batch of one example.

    Additions, and products with single numbers, give another expression; anything else raises
    `NotAffine`.
    """

    __array_priority__ = 1000
    dtype = torch.float64
    device = torch.device("cpu")

    def __init__(self, terms: dict[int, Number], shape: tuple[int, ...]) -> None:
        self.terms = terms
        self.shape = torch.Size((1, *shape))
        self.ndim = len(self.shape)
        self.register: int | None = None

    @classmethod
    def of(cls, register: int, shape: tuple[int, ...]) -> LinearExpression:
        """Build the symbol of a register."""
        symbol = cls({}, shape)
        symbol.settle(register)
        return symbol

    def settle(self, register: int) -> None:
        """Become a register."""
        self.terms = {register: 1.0}
        self.register = register

    def dim(self) -> int:
        return self.ndim

    def to(self, *_: Any, **__: Any) -> LinearExpression:
        return self

    def __mul__(self, other: Any) -> LinearExpression:
        factor = _number(other)
        terms = {register: weight * factor for register, weight in self.terms.items()}
        return LinearExpression(terms, self.shape[1:])

    __rmul__ = __mul__

    def __add__(self, other: Any) -> LinearExpression:
        if isinstance(other, (int, float)) and other == 0:
            return self
        if not isinstance(other, LinearExpression):
            raise NotAffine("it adds something other than a state, an estimate or noise")
        terms = dict(self.terms)
        for register, weight in other.terms.items():
            terms[register] = terms[register] + weight if register in terms else weight
        return LinearExpression(terms, self.shape[1:])

    __radd__ = __add__

    def __neg__(self) -> LinearExpression:
        return self * -1.0

    def __sub__(self, other: Any) -> LinearExpression:
        return self + -other

    def __rsub__(self, other: Any) -> LinearExpression:
        return -self + other

    def __truediv__(self, other: Any) -> LinearExpression:
        return self * (1 / _number(other))

    def __rtruediv__(self, other: Any) -> LinearExpression:
        raise NotAffine("it divides by a state")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotAffine(f"it reads `{name}` of a state")

    def __bool__(self) -> bool:
        raise NotAffine("it branches on a state")

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> LinearExpression:
        name = getattr(func, "__name__", "").strip("_")
        if name not in _OPERATIONS or kwargs:
            raise NotAffine(f"it passes a state to `{name}`")
        operation = _OPERATIONS[name]
        first, *rest = args
        if isinstance(first, LinearExpression):
            return getattr(first, f"__{operation}__")(*rest)
        (symbol,) = rest
        return getattr(symbol, f"__r{operation}__")(first)


# Operations of symbols by the names of torch's functions
_OPERATIONS = {
    "add": "add",
    "sub": "sub",
    "subtract": "sub",
    "mul": "mul",
    "multiply": "mul",
    "div": "truediv",
    "divide": "truediv",
    "true_divide": "truediv",
    "neg": "neg",
}


def compile_program(solver: Solver, times: Tensor, denoiser: Predictor) -> SolverProgram:
    """Compile the steps of a solver along times (N + 1,), float64, without any estimate.

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
        _add_columns(rows, denoiser)
    _add_drops(rows)
    return SolverProgram(rows)


def _traced(solver: Solver, times: Tensor, denoiser: Predictor) -> list[Row]:
    tracer = _Tracer(denoiser)
    noise: Any = _Noise(tracer)
    x: Any = LinearExpression.of(0, tracer.shape)
    memory: Any = None
    for i, stop in enumerate(times.tolist()[1:]):
        t = times[i : i + 1]
        s = times[i + 1 : i + 2]
        arguments: Any = (tracer, x, t, s, tracer.condition, noise, memory)
        if stop == 0:
            x = solver.last(*arguments)
        else:
            x, memory = solver.step(*arguments)
        tracer.end_step(x, stop, memory)
    return tracer.rows


def _add_columns(rows: list[Row], denoiser: Predictor) -> None:
    """Compute the columns of all calls, at once for all calls of one kind."""
    calls_of = defaultdict(list)
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


def _add_drops(rows: list[Row]) -> None:
    last_use = {0: 0}
    for number, row in enumerate(rows):
        last_use.update(dict.fromkeys(row.registers, number))
    for register, number in last_use.items():
        rows[number].dropped.append(register)


class _Tracer:
    def __init__(self, denoiser: Predictor) -> None:
        self.path = denoiser.path
        self.space = denoiser.space
        self.calls = denoiser.calls
        self.shape = denoiser.space.shape
        self.condition: Any = object()  # a step passes it on unread
        self.rows = [Row()]
        self._count = 0

    def _new_register(self) -> int:
        self._count += 1
        return self._count

    def _register(self, value: Any) -> int:
        if not isinstance(value, LinearExpression):
            raise NotAffine(f"it uses a {type(value).__name__} as a state")
        if value.register is None:
            register = self._new_register()
            update = Update(register, tuple(value.terms), tuple(value.terms.values()))
            self.rows[-1].updates.append(update)
            value.settle(register)
            return register
        return value.register

    def draw(self) -> LinearExpression:
        register = self._new_register()
        self.rows[-1].noises.append(register)
        return LinearExpression.of(register, self.shape)

    def _call(
        self, kind: str, x: Any, t: Tensor, condition: Any, to: Tensor | None = None
    ) -> LinearExpression:
        if condition is not self.condition:
            raise NotAffine("it changes the condition")
        if to is not None:
            to = to.reshape(())
        point = self._register(x)
        estimate = self._new_register()
        self.rows[-1].call = Call(kind, point, estimate, t.reshape(()), to)
        self.rows.append(Row())
        return LinearExpression.of(estimate, self.shape)

    def predict(self, kind: str, x_t: Any, t: Tensor, condition: Condition = None) -> Any:
        if check(kind) != "noise":
            return self._call(kind, x_t, t, condition)
        k = self.path.at(t)
        kept = (k.sigma / k.r**2) * x_t  # before x_t is a register: its terms cancel
        return kept + (k.alpha / k.r) * self._call("v", x_t, t, condition)

    def jump(self, x_t: Any, t: Tensor, s: Tensor, condition: Condition = None) -> Any:
        return self._call("jump", x_t, t, condition, s)

    def end_step(self, state: Any, stop: float, memory: Any) -> None:
        if self.rows[-1].state is not None:
            self.rows.append(Row())
        register = self._register(state)
        for part in pytree.tree_leaves(memory):
            if isinstance(part, LinearExpression):
                self._register(part)
        self.rows[-1].stop = stop
        self.rows[-1].state = register


class _Noise(Draws):
    def __init__(self, tracer: _Tracer) -> None:
        self._tracer = tracer

    def normal(self, shape: Sequence[int]) -> Any:
        if tuple(shape) != self._tracer.shape:
            raise NotAffine(f"it draws noise of shape {tuple(shape)}")
        return self._tracer.draw()

    def uniform(self) -> Tensor:
        raise NotAffine("it draws uniform numbers")

    def stream(self, name: str) -> Draws:
        raise NotAffine("it draws from another random stream")


PROGRAMS = 8  # programs kept: for a flow's own times, and for recent solves and encodings


class ProgramCache:
    """Cache of the programs of one solver, by times, denoiser and settings.

    Replacing an attribute of solver or denoiser compiles another program. Changes inside an
    attribute are not noticed.
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._programs: dict[bytes, tuple[list[Any], SolverProgram | NotAffine]] = {}

    def program(self, denoiser: Predictor, times: Times) -> SolverProgram | NotAffine:
        """Return the program for these times, or the reason why there is none."""
        if isinstance(times, Tensor) and times.requires_grad:
            return self._compile(denoiser, times.cpu())
        along = np.array(times, dtype=np.float64)
        key = along.tobytes()
        settings = [*_settings(self.solver), *_settings(denoiser)]
        if key in self._programs:
            known, program = self._programs[key]
            if list(map(id, known)) == list(map(id, settings)):
                return program
        while len(self._programs) >= PROGRAMS:
            oldest = next(iter(self._programs))
            del self._programs[oldest]
        program = self._compile(denoiser, torch.from_numpy(along))
        self._programs[key] = (settings, program)
        return program

    def _compile(self, denoiser: Predictor, times: Tensor) -> SolverProgram | NotAffine:
        try:
            return compile_program(self.solver, times, denoiser)
        except NotAffine as reason:
            if not self.solver.adaptive:
                warn(
                    f"The step of {type(self.solver).__name__} is not affine ({reason}), so the "
                    "solver runs without a table.",
                    stacklevel=2,
                )
            return reason


def _settings(part: object) -> list[Any]:
    """List what a program depends on: it is valid while all of these are the same objects."""
    settings = [] if isinstance(part, nn.Module) else [part]
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
