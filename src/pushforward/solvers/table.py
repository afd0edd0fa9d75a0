"""A solve as a table of numbers, and the loop that runs all of them.

A row is one network call: noises are drawn, registers are updated by affine combinations, and the network is called at one of
them. Register 0 holds the state that the solve starts from, and every other is written once.

References:
    Shaul et al., Bespoke Non-Stationary Solvers (2024), for solvers as tables of coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.predictor import Condition, Predictor, TimeColumns, evaluate
from pushforward.solvers.solver import noise_of


@dataclass(frozen=True)
class Update:
    """A register is set to a combination of others.

    Args:
        register: Which.
        sources: The registers that it combines.
        weights: As many coefficients: floats, or tensors without dimensions that are differentiated through.
    """

    register: int
    sources: tuple[int, ...]
    weights: tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """A call of the denoiser.

    Args:
        kind: A prediction, or "jump" for the state at ``to``.
        point: The register that holds where.
        estimate: The register that takes the answer.
        t: The time, float64 without dimensions.
        to: The second time, of a jump.
        columns: The prediction's coefficients (`pushforward.predictor.columns_of`).
    """

    kind: str
    point: int
    estimate: int
    t: Any
    to: Any = None
    columns: TimeColumns | None = None


@dataclass(frozen=True)
class Row:
    """In this order: noises are drawn, registers are updated, a step ends, the denoiser is called, registers are dropped.

    Args:
        noises: Registers that take fresh noise.
        updates: In their order.
        stop: The time at which a step ends here; None where none does.
        state: The register that holds the state there.
        call: None where a step ends without another call.
        dropped: Registers that nothing needs any more.
    """

    noises: tuple[int, ...] = ()
    updates: tuple[Update, ...] = ()
    stop: float | None = None
    state: int | None = None
    call: Call | None = None
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """A solver's steps on a grid as numbers (`pushforward.solvers.tracing.compile_table` makes it).

    Args:
        rows: In the order in which they are run.
    """

    rows: tuple[Row, ...]

    def calls(self, denoiser: Predictor) -> int:
        """Network evaluations of one sample, guidance included."""
        return sum(denoiser.calls(float(row.call.t)) for row in self.rows if row.call is not None)

    def walk(self, denoiser: Predictor, x: Tensor, condition: Condition, draws: Draws | None) -> Iterator[tuple[float, Tensor]]:
        """Run the rows from the state x (n, *shape); yields (time, state) after each step.

        Raises:
            UsageError: If it draws noise and there are no draws.
        """
        values = {0: x}
        for row in self.rows:
            for register in row.noises:
                values[register] = noise_of(x, draws)
            for update in row.updates:
                values[update.register] = _combined([values[source] for source in update.sources], update.weights)
            if row.stop is not None and row.state is not None:
                yield row.stop, values[row.state]
            if row.call is not None:
                call = row.call
                assert call.columns is not None
                values[call.estimate] = evaluate(denoiser, call.kind, values[call.point], call.columns, condition)
            for register in row.dropped:
                del values[register]


def _combined(values: list[Tensor], weights: tuple[Any, ...]) -> Tensor:
    out = _times(values[0], weights[0])
    for value, weight in zip(values[1:], weights[1:], strict=True):
        out = out + _times(value, weight) if isinstance(weight, Tensor) else torch.add(out, value, alpha=weight)
    return out


def _times(value: Tensor, weight: Any) -> Tensor:
    if isinstance(weight, Tensor):
        return value * weight.to(value)
    return value if weight == 1.0 else value * weight


def with_drops(rows: list[Row]) -> tuple[Row, ...]:
    """The rows, each dropping the registers that are not used after it."""
    last: dict[int, int] = {0: 0}
    for number, row in enumerate(rows):
        used = [*row.noises, *(register for update in row.updates for register in (update.register, *update.sources))]
        used += [] if row.state is None else [row.state]
        used += [] if row.call is None else [row.call.point, row.call.estimate]
        last.update(dict.fromkeys(used, number))
    ends: dict[int, list[int]] = {}
    for register, number in last.items():
        ends.setdefault(number, []).append(register)
    return tuple(replace(row, dropped=tuple(ends.get(number, ()))) for number, row in enumerate(rows))
