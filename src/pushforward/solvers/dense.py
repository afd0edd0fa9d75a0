"""A table as arrays: the same row again and again, so that one program serves any number of rows.

Registers that are needed after a call lie in slots, tensors of the shape of the state. A row is then

    estimate = denoiser(point . slots),    slots <- keep slots + fresh estimate + spread noise

with coefficients that are inputs of the program. Before the first row the slots hold multiples of the start and of noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from pushforward.denoisers import Condition, Predictor, TimeColumns, evaluate
from pushforward.errors import UsageError
from pushforward.solvers.table import Call, Row, Table

Vector = dict[tuple[str, int], float]
"""A value as a combination: ("slot", k), ("estimate", 0) and ("noise", m) -> coefficient."""
_NEUTRAL = {"state": 0.0, "output": 1.0, "scale": 1.0}
"""The neutral value of a column, for rows without it."""


@dataclass(frozen=True)
class Dense:
    """Arrays of N rows, W slots and at most M noises a row; float64.

    Args:
        columns: The predictions' coefficients that depend on the times, each (N,).
        point: (N, W), the state at which the denoiser is called.
        keep: (N, W, W), from slots to slots.
        fresh: (N, W), from the estimate to slots.
        spread: (N, W, M), from noise to slots.
        start: (W,), from the start to slots.
        first: (W, M), from the first noise to slots.
        kind: The estimate, where the denoiser cannot be called with columns.
        noises: How many of a row's M noises are drawn, the first number before the first row.
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

    def inputs(self, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
        """The arrays that `run` takes."""
        parts = {name: getattr(self, name) for name in ("columns", "point", "keep", "fresh", "spread", "start", "first")}
        return pytree.tree_map(lambda part: part.to(dtype), parts)


def run(
    denoiser: Predictor,
    kind: str,
    inputs: dict[str, Any],
    x: Tensor,
    condition: Condition,
    noise: Tensor,
    scan: Callable[..., Any],
) -> Tensor:
    """The solve from the state x (n, *shape), with arrays as inputs; the state lies in slot 0 at the end.

    Args:
        denoiser: Any predictor.
        kind: The table's.
        inputs: Of `Dense.inputs`.
        x: The state at the start, (n, *shape).
        condition: None or a dict of tensors of length n.
        noise: (N + 1, M, n, *shape), that of the first row before it.
        scan: As `torch._higher_order_ops.scan`.
    """

    def onto(weights: Tensor, parts: Tensor) -> Tensor:
        return torch.einsum("ab,b...->a...", weights, parts)

    def row(slots: Tensor, given: dict[str, Any]) -> tuple[Tensor, Tensor]:
        point = torch.einsum("b,b...->...", given["point"], slots)
        estimate = evaluate(denoiser, kind, point, given["columns"], condition)
        fresh = given["fresh"].reshape(-1, *(1,) * x.dim()) * estimate
        return onto(given["keep"], slots) + fresh + onto(given["spread"], given["noise"]), given["point"].sum()

    slots = inputs["start"].reshape(-1, *(1,) * x.dim()) * x + onto(inputs["first"], noise[0])
    rows = {name: inputs[name] for name in ("columns", "point", "keep", "fresh", "spread")}
    slots, _ = scan(row, slots, {**rows, "noise": noise[1:]})
    return slots[0]


def dense(table: Table, slots: int = 0, noises: int = 0) -> Dense:
    """The arrays of a table.

    Args:
        table: Of floats; every step of it calls the denoiser.
        slots: W; 0 for as many as are needed. Arrays of equal W and M are inputs of the same program.
        noises: M; 0 for as many as are drawn in one row, but at least 1.

    Raises:
        UsageError: For fewer slots or noises than are needed.
    """
    blocks = _blocks(table)
    calls = [call for call, _ in blocks if call is not None]
    needed = _needed(blocks)
    places = _places(needed)
    width = max([1, *(place + 1 for held in places for place in held.values())])
    most = max(1, *(sum(len(row.noises) for row in rows) for _, rows in blocks))
    if (slots and slots < width) or (noises and noises < most):
        raise UsageError(
            f"This table needs {width} slots and {most} noises; got {slots} and {noises}. Make the program from the flow that "
            "needs most: a learned table of N calls needs N + 1 slots."
        )
    width, most = slots or width, noises or most
    vectors = [_pushed(i, blocks, places) for i in range(len(blocks))]
    point = torch.zeros(len(calls), width, dtype=torch.float64)
    for number, call in enumerate(calls):
        point[number, places[number][call.point]] = 1.0
    arrays = [_filled(vector, places[i], width, most) for i, vector in enumerate(vectors)]
    first, rows = arrays[0], arrays[1:]
    drawn = tuple(sum(len(row.noises) for row in part) for _, part in blocks)
    stacked = {name: torch.stack([row[name] for row in rows]) for name in ("keep", "fresh", "spread")}
    kinds = {call.kind for call in calls}
    kind = kinds.pop() if len(kinds) == 1 else "data"
    columns = _stacked([call.columns or {} for call in calls])
    return Dense(columns, point, **stacked, start=first["keep"][:, 0], first=first["spread"], kind=kind, noises=drawn)


def _blocks(table: Table) -> list[tuple[Call | None, list[Row]]]:
    blocks: list[tuple[Call | None, list[Row]]] = [(None, [])]
    for row in table.rows:
        blocks[-1][1].append(row)
        if row.call is not None:
            blocks.append((row.call, []))
    return blocks


def _needed(blocks: list[tuple[Call | None, list[Row]]]) -> list[set[int]]:
    last = [row.state for _, rows in blocks for row in rows if row.state is not None][-1]
    needed, held = [], {last}
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
    """A slot for each needed register; one that stays needed keeps its slot, and the last state has slot 0."""
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


def _pushed(number: int, blocks: list[tuple[Call | None, list[Row]]], places: list[dict[int, int]]) -> dict[int, Vector]:
    """Each needed register after a block, in terms of the slots before it, the estimate and the noises."""
    call, rows = blocks[number]
    values: dict[int, Vector] = {0: {("slot", 0): 1.0}}
    if number:
        values = {register: {("slot", place): 1.0} for register, place in places[number - 1].items()}
    if call is not None:
        values[call.estimate] = {("estimate", 0): 1.0}
    count = 0
    for row in rows:
        for register in row.noises:
            values[register] = {("noise", count): 1.0}
            count += 1
        for update in row.updates:
            if all(source in values for source in update.sources):
                values[update.register] = _sum([values[source] for source in update.sources], update.weights)
    return {register: values[register] for register in places[number]}


def _sum(parts: list[Vector], weights: tuple[Any, ...]) -> Vector:
    total: Vector = {}
    for part, weight in zip(parts, weights, strict=True):
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + weight * value
    return total


def _filled(values: dict[int, Vector], places: dict[int, int], width: int, most: int) -> dict[str, Tensor]:
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
