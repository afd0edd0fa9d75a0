"""Solver tables as arrays, in a common form that a file can store.

Registers that are needed after a call lie in slots, tensors of the shape of the state. A row of a
dense table is then

    estimate = denoiser(point . slots),    slots <- keep slots + fresh estimate + spread noise

Before the first row the slots hold multiples of the start and of noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from pushforward.denoisers.denoiser import TimeColumns
from pushforward.solvers.table import Call, Row, SolverProgram

Vector = dict[
    tuple[str, int], float
]  # A value as a combination: ("slot", k), ("estimate", 0) and ("noise", m) -> coefficient
_NEUTRAL = {
    "state": 0.0,
    "output": 1.0,
    "scale": 1.0,
    "acts": 1.0,
}  # The neutral value of a column, for rows without it


@dataclass(frozen=True)
class Dense:
    """Arrays of N rows, W slots and at most M noise tensors per row; float64.

    Args:
        columns: The predictions' coefficients that depend on the times, each (N,).
        point: Coefficients of the state at which the denoiser is called, (N, W).
        keep: Coefficients from slots to slots, (N, W, W).
        fresh: Coefficients from the estimate to slots, (N, W).
        spread: Coefficients from noise to slots, (N, W, M).
        start: Coefficients from the start to slots, (W,).
        first: Coefficients from the first noise to slots, (W, M).
        kind: Estimate, if the denoiser cannot be called with columns.
        noises: Number of noise tensors drawn before the first row and after each row.
    """

    columns: TimeColumns
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
    calls = [call for call, _ in blocks if call is not None]
    needed = _needed(blocks)
    places = _places(needed)
    width = max([1, *(place + 1 for held in places for place in held.values())])
    most = max(sum(len(row.noises) for row in rows) for _, rows in blocks)
    vectors = [_pushed(i, blocks, places) for i in range(len(blocks))]
    point = torch.zeros(len(calls), width, dtype=torch.float64)
    for number, call in enumerate(calls):
        point[number, places[number][call.point]] = 1.0
    arrays = [_filled(vector, places[i], width, most) for i, vector in enumerate(vectors)]
    first = arrays[0]
    rows = arrays[1:]
    drawn = tuple(sum(len(row.noises) for row in part) for _, part in blocks)
    stacked = {
        name: torch.stack([row[name] for row in rows]) for name in ("keep", "fresh", "spread")
    }
    kinds = {call.kind for call in calls}
    kind = kinds.pop() if len(kinds) == 1 else "data"
    columns = _stacked([call.columns or {} for call in calls])
    return Dense(
        columns,
        point,
        **stacked,
        start=first["keep"][:, 0],
        first=first["spread"],
        kind=kind,
        noises=drawn,
    )


def _blocks(table: SolverProgram) -> list[tuple[Call | None, list[Row]]]:
    blocks: list[tuple[Call | None, list[Row]]] = [(None, [])]
    for row in table.rows:
        blocks[-1][1].append(row)
        if row.call is not None:
            blocks.append((row.call, []))
    return blocks


def _needed(blocks: list[tuple[Call | None, list[Row]]]) -> list[set[int]]:
    last = [row.state for _, rows in blocks for row in rows if row.state is not None][-1]
    needed = []
    held = {last}
    for call, rows in reversed(blocks):
        needed.append(set(held))
        for row in reversed(rows):
            for update in reversed(row.updates):
                if update.register in held:
                    held = (held - {update.register}) | set(update.sources)
            held -= set(row.noises)
        if call is not None:
            held = (held - {call.estimate}) | {call.point}
    return needed[::-1]


def _places(needed: list[set[int]]) -> list[dict[int, int]]:
    # a register that stays needed keeps its slot, and the last state has slot 0
    places: list[dict[int, int]] = []
    for held in needed:
        before = places[-1] if places else {}
        slots = {register: before[register] for register in held if register in before}
        free = (place for place in range(len(held) + len(slots)) if place not in slots.values())
        for register in sorted(held - slots.keys()):
            slots[register] = next(free)
        places.append(slots)
    places[-1] = dict.fromkeys(needed[-1], 0)
    return places


def _pushed(
    number: int, blocks: list[tuple[Call | None, list[Row]]], places: list[dict[int, int]]
) -> dict[int, Vector]:
    # registers in terms of the slots before the block, the estimate and the noises
    call, rows = blocks[number]
    values: dict[int, Vector] = {0: {("slot", 0): 1.0}}
    if number:
        values = {
            register: {("slot", place): 1.0} for register, place in places[number - 1].items()
        }
    if call is not None:
        values[call.estimate] = {("estimate", 0): 1.0}
    count = 0
    for row in rows:
        for register in row.noises:
            values[register] = {("noise", count): 1.0}
            count += 1
        for update in row.updates:
            if all(source in values for source in update.sources):
                values[update.register] = _sum(
                    [values[source] for source in update.sources], update.weights
                )
    return {register: values[register] for register in places[number]}


def _sum(parts: list[Vector], weights: tuple[Any, ...]) -> Vector:
    total: Vector = {}
    for part, weight in zip(parts, weights, strict=True):
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + weight * value
    return total


def _filled(
    values: dict[int, Vector], places: dict[int, int], width: int, most: int
) -> dict[str, Tensor]:
    zeros = {"keep": (width, width), "fresh": (width,), "spread": (width, most)}
    arrays = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in zeros.items()}
    for register, vector in values.items():
        for (name, index), value in vector.items():
            place = places[register]
            if name == "estimate":
                arrays["fresh"][place] = value
            else:
                arrays["keep" if name == "slot" else "spread"][place, index] = value
    return arrays


def _stacked(columns: list[TimeColumns]) -> TimeColumns:
    names = sorted({name for row in columns for name in row})
    done: TimeColumns = {}
    for name in names:
        parts = [row.get(name, _NEUTRAL.get(name)) for row in columns]
        inner = [part for part in parts if isinstance(part, dict)]
        done[name] = _stacked(inner) if inner else torch.tensor(parts, dtype=torch.float64)
    return done


@dataclass(frozen=True)
class RowLayout:
    """Layout of the rows of several tables as numbers: columns, point, keep, fresh and spread.

    Args:
        columns: Names of all columns, each with None, or a dict for columns of a wrapped predictor.
        slots: Maximum number W of slots over all tables.
        noises: Maximum number M of noise tensors per row over all tables; 0 if no table adds noise.
    """

    columns: dict[str, Any]
    slots: int
    noises: int

    @classmethod
    def of(cls, tables: Iterable[Dense]) -> RowLayout:
        """Build a layout for all of the tables."""
        columns: dict[str, Any] = {}
        slots = 1
        noises = 0
        for table in tables:
            columns = _joined(columns, table.columns)
            slots = max(slots, table.point.shape[1])
            noises = max(noises, table.first.shape[1])
        return cls(columns, slots, noises)

    def rows(self, table: Dense) -> Tensor:
        """Pack the rows of a table, (N, K) float64."""
        w = self.slots - table.point.shape[1]
        m = self.noises - table.first.shape[1]
        count = len(table.point)
        parts = [
            pad(table.point, (0, w)),
            pad(table.keep, (0, w, 0, w)),
            pad(table.fresh, (0, w)),
            pad(table.spread, (0, m, 0, w)),
        ]
        columns = [column[:, None] for column in _flat(table.columns, self.columns, count)]
        return torch.cat([*columns, *(part.reshape(count, -1) for part in parts)], dim=1)

    def start(self, table: Dense, width: float) -> Tensor:
        """Return the coefficients of start and noise of the initial slots, (W, 1 + M)."""
        w = self.slots - table.start.shape[0]
        m = self.noises - table.first.shape[1]
        return pad(torch.cat([table.start[:, None] * width, table.first], dim=1), (0, m, 0, w))

    def unpacked(self, rows: Tensor) -> tuple[TimeColumns, Tensor, Tensor, Tensor, Tensor]:
        """Unpack rows (..., K) to columns, point, keep, fresh and spread."""
        columns, at = _unflat(rows, self.columns)
        w = self.slots
        m = self.noises
        point, keep, fresh, spread = rows[..., at:].split([w, w * w, w, w * m], dim=-1)
        return (
            columns,
            point,
            keep.unflatten(-1, (w, w)),
            fresh,
            spread.unflatten(-1, (w, m)) if m else spread,
        )


def _joined(names: dict[str, Any], columns: TimeColumns) -> dict[str, Any]:
    joined = dict(names)
    for name, part in columns.items():
        joined[name] = _joined(joined.get(name) or {}, part) if isinstance(part, dict) else None
    return dict(sorted(joined.items()))


def _flat(columns: TimeColumns, names: dict[str, Any], count: int) -> list[Tensor]:
    parts: list[Tensor] = []
    for name, inner in names.items():
        part = columns.get(name)
        if inner is not None:
            parts += _flat(part or {}, inner, count)
        else:
            parts.append(
                torch.full((count,), _NEUTRAL[name], dtype=torch.float64) if part is None else part
            )
    return parts


def _unflat(rows: Tensor, names: dict[str, Any], at: int = 0) -> tuple[TimeColumns, int]:
    columns: TimeColumns = {}
    for name, inner in names.items():
        if inner is None:
            columns[name] = rows[..., at]
            at = at + 1
        else:
            columns[name], at = _unflat(rows, inner, at)
    return columns, at
