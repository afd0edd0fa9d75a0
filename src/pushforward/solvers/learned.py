"""Solvers of which every coefficient is learned: a table in its most general form, and how a table is brought into it.

Each call of a deterministic solver is made at a combination of the start and of the estimates before it, and so is each state:

    x_k = a_k x_start + sum_{j<k} b_kj f_j,    f_k = estimate at x_k and t_k

A table in this form has (K + 1)(K + 2) / 2 coefficients and K times for K calls.

References:
    Shaul et al., Bespoke Non-Stationary Solvers (2024), theorem 3.2, for the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from warnings import warn

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.denoisers import Predicting, Predictor
from pushforward.errors import UsageError
from pushforward.solvers.solver import Solver
from pushforward.solvers.table import Call, NotAffine, Row, Table, Update, compile_table, with_columns, with_drops


@dataclass(frozen=True)
class General:
    """A table in the general form, with gradients where its coefficients have them.

    Args:
        kinds: The estimate of each of the K calls.
        times: (K,) float64, when.
        weights: (K + 1, K + 1) float64, lower triangular: row k makes the point of call k, the last row the data, of the start
            (the first column) and the estimates.
        stops: For each step but the last: the call that is made at its end.
    """

    kinds: tuple[str, ...]
    times: Tensor
    weights: Tensor
    stops: tuple[int, ...]

    def table(self, denoiser: Predictor, grid: Sequence[float]) -> Table:
        """The table for this denoiser on a grid of N + 1 falling times; numbers that have no gradient become floats."""
        calls = len(self.kinds)
        rows, ends = [], dict(zip(self.stops, grid[1:-1], strict=True))
        for k in range(calls + 1):
            point = 2 * k + 1
            row = self.weights[k, : k + 1]
            sources = (0, *(2 * j + 2 for j in range(k)))
            update = Update(point, sources, tuple(row if row.requires_grad else row.tolist()))
            call = Call(self.kinds[k], point, point + 1, self.times[k]) if k < calls else None
            stop = ends.get(k) if k < calls else grid[-1]
            rows.append(Row((), (update,), stop, None if stop is None else point, call))
        return Table(with_drops(with_columns(rows, denoiser)))


def general(table: Table) -> General:
    """A table of a deterministic solver in the general form; it does the same, to rounding.

    Raises:
        UsageError: For a table that draws noise or makes jumps, or whose steps do not begin with a call where they are.
    """
    calls = [row.call for row in table.rows if row.call is not None]
    count = len(calls)
    unit = torch.eye(count + 1, dtype=torch.float64)
    values, points, stops = {0: unit[0]}, [], []
    state, number = None, 0
    for row in table.rows:
        if row.noises or (row.call is not None and row.call.kind == "jump"):
            raise UsageError("A table is learned for a solver that draws no noise and makes no jumps.")
        for update in row.updates:
            parts = [values[source] * weight for source, weight in zip(update.sources, update.weights, strict=True)]
            values[update.register] = torch.stack(parts).sum(0)
        if row.state is not None:
            state = row.state
            if row.call is not None and row.call.point == state:
                stops.append(number)
            elif row.stop != 0:
                raise UsageError("A table is learned for a solver whose steps begin with a call at their start.")
        if row.call is not None:
            points.append(values[row.call.point])
            number += 1
            values[row.call.estimate] = unit[number]
    assert state is not None
    times = torch.stack([torch.as_tensor(call.t, dtype=torch.float64) for call in calls])
    return General(tuple(call.kind for call in calls), times, torch.stack([*points, values[state]]), tuple(stops))


@dataclass(frozen=True)
class LearnedTable:
    """A table that was learned for a number of steps of a solver and one model.

    Args:
        kinds: The estimate of each of the K calls, names in `pushforward.paths.ROWS`.
        times: The K times of the calls.
        weights: K + 1 rows; row k has k + 1 numbers: those of the start and of the estimates before call k. The last makes the
            data.
        stops: For each step but the last, the call that is made at its end, in rising order.
        grid: N + 1 falling times, where the steps end, the last of them 0.

    Raises:
        UsageError: For parts whose numbers do not fit together, or numbers that are not finite.
    """

    kinds: Sequence[str]
    times: Sequence[float]
    weights: Sequence[Sequence[float]]
    stops: Sequence[int]
    grid: Sequence[float]

    def __post_init__(self) -> None:
        calls = len(self.kinds)
        fits = len(self.times) == calls > 0 and [len(row) for row in self.weights] == list(range(1, calls + 2))
        inner = list(self.stops) == sorted(set(self.stops)) and all(0 < stop < calls for stop in self.stops)
        if not (fits and inner and len(self.grid) == len(self.stops) + 2):
            raise UsageError(
                f"A table of {calls} calls has {calls} times and {calls + 1} rows of 1 to {calls + 1} weights, and a grid of two "
                f"times more than stops; got {len(self.times)} times, rows of {[len(row) for row in self.weights]} weights, "
                f"{len(self.grid)} times of the grid and stops {list(self.stops)}."
            )
        if not np.isfinite([*self.times, *self.grid, *(weight for row in self.weights for weight in row)]).all():
            raise UsageError("A learned table holds a number that is not finite: learn it again.")

    @classmethod
    def of(cls, table: General, grid: Sequence[float]) -> LearnedTable:
        """The numbers of a table in the general form."""
        weights = [row[: k + 1] for k, row in enumerate(table.weights.tolist())]
        return cls(list(table.kinds), table.times.tolist(), weights, list(table.stops), [float(t) for t in grid])

    def table(self, denoiser: Predictor) -> Table:
        """The table for this denoiser."""
        size = len(self.weights)
        weights = torch.zeros(size, size, dtype=torch.float64)
        for k, row in enumerate(self.weights):
            weights[k, : k + 1] = torch.tensor(row, dtype=torch.float64)
        times = torch.tensor(self.times, dtype=torch.float64)
        return General(tuple(self.kinds), times, weights, tuple(self.stops)).table(denoiser, self.grid)


TABLES = 8
"""How many tables are kept: those of a flow's own times and of the last solves, encodings and variations."""
Times = np.ndarray | Tensor


class TableCache:
    """The tables of one solver: one is compiled once for the same times, denoiser and settings of both.

    An attribute of the solver or the denoiser that is replaced, such as the scale of guidance, makes another table. What is
    changed inside an attribute, such as a path's own attributes, is not noticed.

    Args:
        solver: Any.
        learned: A table to use along its own times.
    """

    def __init__(self, solver: Solver, learned: LearnedTable | None = None) -> None:
        self.solver, self.learned = solver, learned
        self._tables: dict[bytes, tuple[list[Any], Table | NotAffine]] = {}

    def table(self, denoiser: Predictor, times: Times) -> Table | NotAffine:
        """The table of these times, from the last few that were compiled, or why there is none."""
        if isinstance(times, Tensor) and times.requires_grad:
            return self._compiled(denoiser, times.cpu())
        along = np.array(times, dtype=np.float64)
        key, settings = along.tobytes(), [*_settings(self.solver), *_settings(denoiser)]
        if key in self._tables and list(map(id, self._tables[key][0])) == list(map(id, settings)):
            return self._tables[key][1]
        while len(self._tables) >= TABLES:
            self._tables.pop(next(iter(self._tables)))
        self._tables[key] = settings, self._compiled(denoiser, torch.from_numpy(along))
        return self._tables[key][1]

    def _compiled(self, denoiser: Predictor, times: Tensor) -> Table | NotAffine:
        if self.learned is not None and not times.requires_grad and times.tolist() == list(self.learned.grid):
            return self.learned.table(denoiser)
        try:
            return compile_table(self.solver, times, denoiser)
        except NotAffine as reason:
            if not self.solver.adaptive:
                warn(
                    f"The step of {type(self.solver).__name__} is not affine ({reason}): it is run as it is, without a table.",
                    stacklevel=2,
                )
            return reason


def _settings(part: object) -> list[Any]:
    """The identity of a part: its attributes by name, and those of the predictors inside.

    A module is known by the dicts that it holds, which it shares with what torch.export puts instead of a module that is
    used twice.
    """
    held = {name: value for name, value in getattr(part, "__dict__", {}).items() if name != "training"}
    inner = [value for value in (*held.values(), *held.get("_modules", {}).values()) if isinstance(value, Predicting)]
    identity = [] if isinstance(part, nn.Module) else [part]
    return [*identity, *chain(*held.items()), *chain(*map(_settings, inner))]
