"""Solver tables as arrays, in a common form that a file can store.

Registers that are needed after a call lie in slots, tensors of the shape of the state. A row of a
dense table is then

    estimate = denoiser(point . slots),    slots <- keep slots + fresh estimate + spread noise

Before the first row the slots hold multiples of the start and of noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from pushforward.denoisers.denoiser import TimeColumns
from pushforward.solvers.table import Call, Row, SolverProgram

Block = tuple[Call | None, list[Row]]  # a call, and the rows up to the next one
FlatColumns = dict[tuple[str, ...], Tensor]
# The neutral value of a column, for rows without it
_NEUTRAL = {"state": 0.0, "output": 1.0, "scale": 1.0, "acts": 1.0}


@dataclass(frozen=True)
class Dense:
    """Arrays of N rows, W slots and at most M noise tensors per row; float64.

    Args:
        columns: Coefficients of the predictions that depend on the times, each (N,), by the names
            of the predictors around them and their own.
        point: Coefficients of the state at which the denoiser is called, (N, W).
        keep: Coefficients from slots to slots, (N, W, W).
        fresh: Coefficients from the estimate to slots, (N, W).
        spread: Coefficients from noise to slots, (N, W, M).
        start: Coefficients from the noise to the slots before the first row, (W,).
        first: Coefficients from noise tensors to these slots, (W, M).
        kind: Estimate, if the denoiser cannot be called with columns.
        noises: Number of noise tensors drawn before the first row and after each row.
    """

    columns: FlatColumns
    point: Tensor
    keep: Tensor
    fresh: Tensor
    spread: Tensor
    start: Tensor
    first: Tensor
    kind: str
    noises: tuple[int, ...]


def dense(table: SolverProgram) -> Dense:
    """Convert a table of floats to arrays; every step calls the denoiser."""
    blocks = _blocks(table)
    noises = tuple(sum(len(row.noises) for row in rows) for _, rows in blocks)
    held = _held(blocks)
    width = max(map(len, held))
    matrices = []
    before = [0]
    for block, after in zip(blocks, held, strict=True):
        matrix = _matrix(block, before, after, width, max(noises))
        matrices.append(pad(matrix, (0, 0, 0, width - len(after))))
        before = after
    stacked = torch.stack(matrices)
    keep, fresh, spread = stacked.split([width, 1, max(noises)], dim=-1)
    calls = [call for call, _ in blocks if call is not None]
    point = torch.zeros(len(calls), width, dtype=torch.float64)
    for number, call in enumerate(calls):
        point[number, held[number].index(call.point)] = 1.0
    kinds = {call.kind for call in calls}
    return Dense(
        _stacked([_flattened(call.columns) for call in calls]),
        point,
        keep[1:],
        fresh[1:, :, 0],
        spread[1:],
        start=keep[0, :, 0],
        first=spread[0],
        kind=kinds.pop() if len(kinds) == 1 else "data",
        noises=noises,
    )


def _blocks(table: SolverProgram) -> list[Block]:
    blocks: list[Block] = [(None, [])]
    for row in table.rows:
        blocks[-1][1].append(row)
        if row.call is not None:
            blocks.append((row.call, []))
    return blocks


def _held(blocks: list[Block]) -> list[list[int]]:
    """Return the registers in slots after each block; after the last one, the last state."""
    # Two steps of Euler's method, x1 = x0 + e0 and x2 = x1 + e1 with the estimates e0 and e1, hold
    # [x0], [x1], [x2]. If the second step also reads e0, they hold [x0], [e0, x1], [x2]
    last = [row.state for _, rows in blocks for row in rows if row.state is not None][-1]
    needed = {last}
    held = []
    for call, rows in reversed(blocks):
        held.append(sorted(needed))
        for row in reversed(rows):
            for update in reversed(row.updates):
                if update.register in needed:
                    needed = (needed - {update.register}) | set(update.sources)
            needed -= set(row.noises)
        if call is not None:
            needed = (needed - {call.estimate}) | {call.point}
    return held[::-1]


def _matrix(
    block: Block, before: Sequence[int], after: Sequence[int], width: int, most: int
) -> Tensor:
    """Compute registers after a block from the slots before, the estimate and the noises."""
    # The row of x1 = x0 - 0.5 e0 + 0.1 noise is [1, -0.5, 0.1]: one slot, estimate, one noise
    call, rows = block
    units = torch.eye(width + 1 + most, dtype=torch.float64)
    values = dict(zip(before, units, strict=False))
    if call is not None:
        values[call.estimate] = units[width]
    noises = iter(units[width + 1 :])
    for row in rows:
        for register in row.noises:
            values[register] = next(noises)
        for update in row.updates:
            total = torch.zeros_like(units[0])
            for source, weight in zip(update.sources, update.weights, strict=True):
                total = total + weight * values.get(source, 0.0)
            values[update.register] = total
    return torch.stack([values[register] for register in after])


def _flattened(columns: TimeColumns, outer: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    flat: dict[tuple[str, ...], float] = {}
    for name, part in columns.items():
        place = (*outer, name)
        if isinstance(part, dict):
            flat |= _flattened(part, place)
        else:
            flat[place] = part
    return flat


def _stacked(rows: Sequence[dict[tuple[str, ...], float]]) -> FlatColumns:
    stacked = {}
    for place in sorted(set().union(*rows)):
        values = [row.get(place, _NEUTRAL.get(place[-1])) for row in rows]
        stacked[place] = torch.tensor(values, dtype=torch.float64)
    return stacked


@dataclass(frozen=True)
class RowLayout:
    """Layout of the rows of several tables as numbers: columns, point, keep, fresh and spread.

    Args:
        columns: Names of all columns, as in `Dense`.
        slots: Maximum number W of slots over all tables.
        noises: Maximum number M of noise tensors per row over all tables; 0 if no table adds noise.
    """

    columns: tuple[tuple[str, ...], ...]
    slots: int
    noises: int

    @classmethod
    def of(cls, tables: Iterable[Dense]) -> RowLayout:
        """Build a layout for all of the tables."""
        layout = cls((), 1, 0)
        for table in tables:
            layout = layout.joined(table)
        return layout

    def joined(self, table: Dense) -> RowLayout:
        """Return the layout with room for another table."""
        slots, noises = table.first.shape
        columns = tuple(sorted({*self.columns, *table.columns}))
        return RowLayout(columns, max(self.slots, slots), max(self.noises, noises))

    def rows(self, table: Dense) -> Tensor:
        """Pack the rows of a table, (N, K) float64."""
        w = self.slots - table.point.shape[1]
        m = self.noises - table.first.shape[1]
        count = len(table.point)
        parts = []
        for place in self.columns:
            column = table.columns.get(place)
            if column is None:
                column = torch.full((count,), _NEUTRAL[place[-1]], dtype=torch.float64)
            parts.append(column)
        parts += [
            pad(table.point, (0, w)),
            pad(table.keep, (0, w, 0, w)),
            pad(table.fresh, (0, w)),
            pad(table.spread, (0, m, 0, w)),
        ]
        return torch.cat([part.reshape(count, -1) for part in parts], dim=1)

    def start(self, table: Dense, width: float) -> Tensor:
        """Return the coefficients of start and noise of the initial slots, (W, 1 + M)."""
        w = self.slots - table.start.shape[0]
        m = self.noises - table.first.shape[1]
        return pad(torch.cat([table.start[:, None] * width, table.first], dim=1), (0, m, 0, w))

    def unpacked(self, rows: Tensor) -> tuple[TimeColumns, Tensor, Tensor, Tensor, Tensor]:
        """Unpack rows (..., K) to columns, point, keep, fresh and spread."""
        columns: TimeColumns = {}
        for number, (*outer, name) in enumerate(self.columns):
            inner = columns
            for each in outer:
                inner = inner.setdefault(each, {})
            inner[name] = rows[..., number]
        w = self.slots
        m = self.noises
        arrays = rows[..., len(self.columns) :]
        point, keep, fresh, spread = arrays.split([w, w * w, w, w * m], dim=-1)
        if m:
            spread = spread.unflatten(-1, (w, m))
        return columns, point, keep.unflatten(-1, (w, w)), fresh, spread
