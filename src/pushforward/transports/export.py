"""Samplers as `torch.export` programs: tensors in, data out, for any number of samples, without this library.

`exported` unrolls the steps of a transport. `exported_scan` holds one step of a flow, whose table is an input (`Dense`): the same
program then serves any number of steps, and any solver of as many slots. A learned table is such an input for its own number of
steps; a program that is made from a flow with a table of N calls takes any table of at most N calls.

In a dense table, registers that are needed after a call lie in slots, tensors of the shape of the state. A row is then

    estimate = denoiser(point . slots),    slots <- keep slots + fresh estimate + spread noise

with coefficients that are inputs of the program. Before the first row the slots hold multiples of the start and of noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from pushforward.denoisers.denoiser import Condition, Predictor, TimeColumns, evaluate
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.solvers.table import Call, Row, Table
from pushforward.transports import Flow, Latent, Map, Transport, inner_of, with_inner

Vector = dict[tuple[str, int], float]  # A value as a combination: ("slot", k), ("estimate", 0) and ("noise", m) -> coefficient
_NEUTRAL = {"state": 0.0, "output": 1.0, "scale": 1.0}  # The neutral value of a column, for rows without it


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


BATCH = 3  # Batch size of the inputs that a program is traced with; it takes any


class GivenNoise(Draws):
    """Draws given as a tensor: call k returns the k-th part.

    Args:
        noise: (calls, n, *shape).
    """

    def __init__(self, noise: Tensor) -> None:
        self.noise, self.n, self._calls = noise, noise.shape[1], 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        self._calls += 1
        return self.noise[self._calls - 1]

    def uniform(self) -> Tensor:
        raise UsageError("A sampler that is exported draws normal numbers only.")

    def stream(self, name: str, interval: int = 1) -> Draws:
        raise UsageError("A sampler that is exported draws from one stream only.")


class Sampler(nn.Module):
    """A transport as a function of tensors: (z, condition, noise) -> data in data units.

    Args:
        transport: Any; its flows' solvers have tables.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.transport = transport
        for part in transport.modules():
            if isinstance(part, Flow):
                _ = part.table  # compiled before tensors are stand-ins

    def forward(self, z: Tensor, condition: dict[str, Tensor] | None = None, noise: Tensor | None = None) -> Tensor:
        """Samples (n, *shape), data units.

        Args:
            z: (n, *noise_shape), standard normal; of a flow from a source, examples of it in model units.
            condition: Values by name, n values each, such as {"label": int64 (n,)}; None for a model without conditions.
            noise: (`noise_count`, n, *shape), standard normal, for a stochastic solver, or for a decoder whose samples are drawn
                around its means (a VAE of vectors).
        """
        x = self.transport(z, condition, None if noise is None else GivenNoise(noise))
        return self.transport.space.to_data(x)


def _free(condition: Condition, n: Any) -> dict[str, dict[int, Any]] | None:
    return None if condition is None else {name: {0: n} for name in condition}


def noise_count(transport: Transport) -> int:
    """How often a transport draws noise of the shape of its inner data in one solve, beside z."""
    inner = inner_of(transport)
    if hasattr(inner, "inner"):  # truncated
        return noise_count(inner.inner)  # type: ignore[arg-type]
    if isinstance(inner, Flow):
        return sum(len(row.noises) for row in inner.table.rows)
    return int(isinstance(inner, Map) and inner.likelihood is not None)


def exported(transport: Transport) -> ExportedProgram:
    """The whole of a sampler, from noise to data, as one program; see `Sampler` for its inputs.

    Args:
        transport: Any; a flow under a solver that has a table.

    Returns:
        ``program.module()(z, condition, noise)``, with None for inputs that the model does not take.

    Raises:
        UsageError: For an adaptive solver or one whose steps are not affine, and for a model on codes of a table.
    """
    if isinstance(transport, Latent) and transport.autoencoder.likelihood is not None:
        raise UsageError(
            "This model draws rows around decoded codes, and a program cannot draw them: export a model that is trained on the "
            "table itself."
        )
    device, n, draws = transport.device, Dim("n", min=1), noise_count(transport)
    z = torch.randn(BATCH, *transport.noise_shape, device=device)
    condition = transport.conditions(BATCH, None, 0)
    noise = torch.randn(draws, BATCH, *inner_of(transport).space.shape, device=device) if draws else None
    dynamic = {
        "z": {0: n},
        "condition": _free(condition, n),
        "noise": None if noise is None else {1: n},
    }
    with torch.no_grad():
        return torch.export.export(Sampler(transport).eval(), (z, condition, noise), dynamic_shapes=dynamic)


class ScanSampler(nn.Module):
    """A flow with its table as an input: (z, inputs, condition, noise) -> data in data units, by a scan over the table's rows.

    Args:
        transport: A flow under a solver that has a table, or one in a latent space.

    Raises:
        UsageError: For another transport.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        flow = inner_of(transport)
        if not isinstance(flow, Flow):
            raise UsageError(f"A {type(flow).__name__} has no steps to scan over; export it whole.")
        self.flow, self.transport, self.kind = flow, with_inner(transport, _Ended(flow)), dense(flow.table).kind

    def forward(
        self, z: Tensor, inputs: dict[str, Any], condition: dict[str, Tensor] | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Samples (n, *shape), data units.

        Args:
            z: (n, *noise_shape), standard normal; of a flow from a source, examples of it in model units.
            inputs: Of `scan_inputs`, for any number of steps.
            condition: Values by name, n values each, or None.
            noise: (rows + 1, M, n, *noise_shape), standard normal.
        """
        from torch._higher_order_ops import scan

        assert noise is not None
        x = run(self.flow.denoiser, self.kind, inputs, z * inputs["width"], condition, noise, scan)
        return self.transport.space.to_data(self.transport(x, condition))


class _Ended(Transport):
    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.space, self.noise_shape = flow.space, flow.noise_shape

    def forward(self, z: Tensor, condition: Any = None, draws: Draws | None = None) -> Tensor:
        return z

    @property
    def calls(self) -> int:
        return 0


def scan_inputs(transport: Transport, slots: int = 0, noises: int = 0) -> tuple[dict[str, Any], Dense]:
    """The table of a flow as the inputs of a `ScanSampler`'s program.

    Args:
        transport: The same model under any number of steps, or with a learned table, which holds for its own number alone.
        slots: The program's, where the flow needs fewer; see `pushforward.transports.export.dense`.
        noises: Likewise.

    Raises:
        UsageError: For a table that needs more slots or noises than the program has.
    """
    flow = inner_of(transport)
    assert isinstance(flow, Flow)
    arrays = dense(flow.table, slots, noises)
    width = flow._at_start(torch.ones((), dtype=torch.float64)).float()
    return {**arrays.inputs(), "width": width}, arrays


def exported_scan(transport: Transport) -> ExportedProgram:
    """One step of a flow as a program that takes tables of any number of rows; see `ScanSampler` for its inputs.

    Args:
        transport: A flow, or one in a latent space. Its number of steps sets the number of slots of the program: take one with at
            least as many steps as the solver looks back. A learned table of N calls looks back to the start: N + 1 slots.
    """
    n, rows = Dim("n", min=1), Dim("rows", min=1)
    inputs, arrays = scan_inputs(transport)
    z = torch.randn(BATCH, *transport.noise_shape)
    condition = transport.conditions(BATCH, None, 0)
    noise = torch.randn(len(arrays.point) + 1, arrays.first.shape[1], *z.shape)
    fixed = ("start", "first", "width")
    dynamic: dict[str, Any] = {
        "z": {0: n},
        "inputs": {k: None if k in fixed else pytree.tree_map(lambda part: {0: rows}, part) for k, part in inputs.items()},
        "condition": _free(condition, n),
        "noise": {0: rows + 1, 2: n},
    }
    with torch.no_grad():
        return torch.export.export(ScanSampler(transport).eval(), (z, inputs, condition, noise), dynamic_shapes=dynamic)
