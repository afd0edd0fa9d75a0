"""Samples of many requests, made together: each network call moves rows of any steps and solvers.

A row is one sample. What a solver does between two calls is a row of numbers
(`pushforward.export.dense_program`). Rows with the fewest calls left go first, with a bonus for
waiting.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from pushforward.denoisers import AtScale, Guided
from pushforward.denoisers.denoiser import (
    SCALE,
    Condition,
    Predictor,
    evaluate,
    guidance_range,
    network_precision,
    neutral,
    over,
)
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged, PushforwardError, UsageError
from pushforward.export.dense_program import RowLayout, dense
from pushforward.export.program import mixed
from pushforward.transports import Flow, Latent, Transport, inner_of
from pushforward.transports.redrawing import HOPELESS, REDRAWS, named_constraints
from pushforward.transports.transport import finite

AGEING = 8  # network calls of waiting that count as one call less left
NUMBERS = 1 << 24  # numbers of one slot of all rows that have begun


class Busy(PushforwardError):
    """Raised if too many rows are waiting."""


class Schedule:
    """Network calls of a flow's solver; `compute` builds their table, which may take half a second.

    Args:
        flow: Arguments of a `Flow` whose solver has a table.

    Attributes:
        ready: Whether the table has been computed; the other attributes are set then.
        kinds: Estimate in each call: "jump", "data", or for a denoiser without columns the
            prediction.
        noises: Number of noise tensors drawn before the first call and after each call.
    """

    def __init__(self, *flow: Any) -> None:
        self._flow = flow
        self.ready = False
        self._packed: dict[str, tuple[RowLayout, Tensor]] = {}

    def compute(self) -> None:
        """Compute the table, unless it is ready."""
        if self.ready:
            return
        flow = Flow(*self._flow)  # not kept: its table is large
        self.table = dense(flow.program)
        self.width = flow.width
        self.noises = self.table.noises
        apart = any(place[-1] == "t" for place in self.table.columns)
        kinds = (row.call.kind for row in flow.program.rows if row.call is not None)
        self.kinds = tuple(kind if apart or kind == "jump" else "data" for kind in kinds)
        self.ready = True

    def row(self, number: int, layout: RowLayout) -> Tensor:
        """Return the coefficients of a call, (K,) float32, packed by the layout of its kind."""
        kind = self.kinds[number]
        if kind not in self._packed or self._packed[kind][0] != layout:
            self._packed[kind] = layout, layout.rows(self.table).float()
        _, rows = self._packed[kind]
        return rows[number]

    def start(self, layout: RowLayout) -> Tensor:
        """Return the initial slots, (W, 1 + M), from z and the first noise tensors."""
        return layout.start(self.table, self.width).float()


@dataclass(eq=False)
class Request:
    """Request for samples.

    Args:
        seeds: One seed per sample.
        condition: Values by name, n each.
        schedule: Network calls of each sample; None for a one-call model.
        scale: Guidance scale.
        warnings: Sentences for the client.
        answer: Future of the samples (n, *shape) in data units, or of the error.
        gone: Whether the client is gone.
    """

    seeds: Sequence[int]
    condition: Any = None
    schedule: Schedule | None = None
    scale: float = 1.0
    warnings: Sequence[str] = ()
    answer: Future[Tensor] = field(default_factory=Future, init=False)
    gone: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._samples: dict[int, Tensor] = {}
        self._refused = 0

    @cached_property
    def rows(self) -> list[_Row]:
        if self.schedule:
            self.schedule.compute()
        return [_Row(self, number) for number in range(len(self.seeds))]

    def cancel(self) -> None:
        """Cancel the request: the engine drops its rows before the next call."""
        self.gone = True
        self.answer.cancel()

    def end(self, result: Tensor | Exception) -> None:
        """Answer with the samples or an error, if the client is still waiting."""
        if not self.gone and self.answer.set_running_or_notify_cancel():
            if isinstance(result, Exception):
                self.answer.set_exception(result)
            else:
                self.answer.set_result(result)
        self.gone = True

    def take(self, number: int, x: Tensor) -> None:
        """Add a finished sample; the last sample ends the request."""
        self._samples[number] = x
        if len(self._samples) == len(self.seeds):
            self.end(torch.stack([self._samples[i] for i in range(len(self.seeds))]))

    def refused(self, turn: int) -> bool:
        """Return whether the request is hopeless after another violated constraint."""
        self._refused += 1
        none_met = not self._samples and self._refused >= HOPELESS
        return none_met or turn >= REDRAWS


class _Row:
    def __init__(self, request: Request, number: int) -> None:
        self.request = request
        self.schedule: Any = request.schedule
        self.number = number
        self.seed = request.seeds[number]
        self.turn = 0
        self.at = 0
        self.done = False
        self.rank = 0.0
        self.place = -1
        self.draws = ExampleDraws([])
        self.kinds = ("once",) if request.schedule is None else request.schedule.kinds

    @property
    def stream(self) -> str:
        if self.turn:
            return f"sample/again {self.turn}"
        return "sample"


def scaled(denoiser: Predictor) -> tuple[Predictor, float] | None:
    """Return a denoiser with a guidance scale per example, and its neutral scale, if supported."""
    scales = guidance_range(denoiser)
    if isinstance(denoiser, (AtScale, Guided)):
        return denoiser, denoiser.scale
    if scales is not None:
        return denoiser, neutral(scales)
    try:
        return Guided(denoiser, 1.0), 1.0
    except UsageError:
        return None


class Engine:
    """Waiting and active rows of one model; `tick` makes one network call.

    Requests may come from any thread; one thread calls `tick`.

    Args:
        transport: Model, whose weights must not change.
        batch: Maximum number of rows per call.
        begun: Maximum number of active rows.
        queue: Maximum number of rows in total.
    """

    def __init__(
        self, transport: Transport, *, batch: int = 16, begun: int = 256, queue: int = 4096
    ) -> None:
        self.transport = transport.eval()
        self.space = transport.space
        self.device = transport.device
        self.flow: Flow | None = None
        self.denoiser: Any = None
        self.scale: float | None = None
        flow = inner_of(transport)
        if isinstance(flow, Flow):
            self.flow = flow
            self.denoiser = flow.denoiser
            guided = scaled(flow.denoiser)
            if guided is not None:
                self.denoiser, self.scale = guided
        size = max(math.prod(transport.noise_shape), self.space.size)
        places = max(batch, min(begun, NUMBERS // size))
        self.batch = batch
        self.places = places
        self.queue = max(places, min(queue, 4 * NUMBERS // size))
        self.calls = 0
        self.moved = 0
        self.made = 0
        self.woken: Callable[[], object] = lambda: None
        self._rows: list[_Row] = []
        self._free = list(range(places))
        self._lock = threading.Lock()
        self._layouts: dict[str, RowLayout] = {}
        self._slots = torch.zeros(places, 0, *transport.noise_shape, device=self.device)
        self._scales = torch.ones(places, device=self.device)
        self._values = {}
        for name, kind in self.space.conditions.items():
            self._values[name] = kind.blank(places, self.device)

    @property
    def rows(self) -> int:
        """Number of unfinished rows."""
        return sum(not row.done for row in self._rows)

    @property
    def active(self) -> int:
        """Number of active rows."""
        return self.places - len(self._free)

    def check_room(self, more: int) -> None:
        """Raise an error if the queue is full.

        Raises:
            Busy: With the number of waiting rows.
        """
        waiting = self.rows
        if waiting + more > self.queue:
            raise Busy(
                f"Too many requests: {waiting:,} rows are waiting, and at most {self.queue:,} may "
                "wait. Try again later."
            )

    def submit(self, request: Request) -> None:
        """Accept a request.

        Raises:
            Busy: If there are too many rows.
        """
        with self._lock:
            self.check_room(len(request.rows))
            for row in request.rows:
                row.rank = self.calls / AGEING + len(row.kinds)
            self._rows += request.rows
        self.woken()

    @torch.no_grad()
    def tick(self) -> None:
        """Drop rows of cancelled requests, then make a network call for the first rows."""
        rows = self._chosen()
        if not rows:
            return
        try:
            for row in rows:
                if row.place < 0:
                    self._begin(row)
            if self.flow is not None:
                self._advance(rows)
            self.calls += 1
            self.moved += len(rows)
            ended: dict[int, list[_Row]] = {}
            for row in rows:
                row.at += 1
                row.rank -= 1
                if row.at == len(row.kinds):
                    ended.setdefault(row.turn, []).append(row)
            for together in ended.values():
                self._finish(together)
        except Exception as error:  # it is answered, and other requests go on
            for row in rows:
                row.request.end(error)

    def _chosen(self) -> list[_Row]:
        with self._lock:
            alive = []
            for row in self._rows:
                if row.done or row.request.gone:  # asked once: another thread may cancel in between
                    self._release(row)
                else:
                    alive.append(row)
            self._rows = sorted(alive, key=attrgetter("rank"))
            chosen: list[_Row] = []
            kind = None
            free = len(self._free)
            for row in self._rows:
                if len(chosen) == self.batch:
                    break
                if kind is not None and row.kinds[row.at] != kind:
                    continue
                if row.place < 0:
                    if not free:
                        continue
                    free -= 1
                kind = row.kinds[row.at]
                chosen.append(row)
            return chosen

    def _release(self, row: _Row) -> None:
        if row.place >= 0:
            self._free.append(row.place)
            row.place = -1

    def _begin(self, row: _Row) -> None:
        row.place = self._free.pop()
        request = row.request
        self._scales[row.place] = request.scale
        for name, values in self._values.items():
            values[row.place] = request.condition[name][row.number]
        if self.flow is None:
            return
        self._include(row.schedule)
        row.draws = ExampleDraws([row.seed], name=row.stream)
        layout = self._layouts[row.kinds[0]]
        z = self.flow.noise(row.draws).to(self.device)
        start = row.schedule.start(layout).to(self.device)
        drawn = torch.cat([z, self._noise(row, row.schedule.noises[0], layout.noises)])
        self._slots[row.place] = 0
        self._slots[row.place, : layout.slots] = mixed(start, drawn)

    def _include(self, schedule: Schedule) -> None:
        for kind in set(schedule.kinds):
            layout = self._layouts.get(kind, RowLayout((), 1, 0))
            self._layouts[kind] = layout.joined(schedule.table)
        missing = max(layout.slots for layout in self._layouts.values()) - self._slots.shape[1]
        if missing > 0:
            more = self._slots.new_zeros(self.places, missing, *self._slots.shape[2:])
            self._slots = torch.cat([self._slots, more], dim=1)

    def _noise(self, row: _Row, count: int, places: int) -> Tensor:
        shape = self._slots.shape[2:]
        noise = torch.zeros(places, *shape)
        for number in range(count):
            noise[number] = row.draws.normal(shape)[0]
        return noise.to(self.device)

    def _advance(self, rows: list[_Row]) -> None:
        kind = rows[0].kinds[rows[0].at]
        index, condition = self._at(rows)
        layout = self._layouts[kind]
        packed = torch.stack([row.schedule.row(row.at, layout) for row in rows])
        columns, point, keep, fresh, spread = layout.unpacked(packed.to(self.device))
        slots = self._slots[index, : layout.slots].flatten(2)
        state = torch.bmm(point[:, None], slots).reshape(len(rows), *self._slots.shape[2:])
        if self.scale is not None:
            condition = {**(condition or {}), SCALE: self._scales[index]}
        estimate = evaluate(self.denoiser, kind, state, over(columns, state), condition)
        added = fresh[:, :, None] * estimate.flatten(1)[:, None]
        moved = torch.baddbmm(added, keep, slots).unflatten(2, state.shape[1:])
        for number, row in enumerate(rows):
            count = row.schedule.noises[row.at + 1]
            if count:
                noise = self._noise(row, count, layout.noises)
                moved[number] += mixed(spread[number], noise)
        self._slots[index, : layout.slots] = moved

    def _at(self, rows: list[_Row]) -> tuple[Tensor, Condition]:
        index = torch.tensor([row.place for row in rows], device=self.device)
        condition = {name: values[index] for name, values in self._values.items()}
        return index, condition or None

    def _finish(self, rows: list[_Row]) -> None:
        index, condition = self._at(rows)
        seeds = [row.seed for row in rows]
        draws = ExampleDraws(seeds, name=rows[0].stream, device=self.device)
        if self.flow is None:
            model = self.transport(self.transport.noise(draws), condition, draws)
        else:
            model = self._slots[index, 0]
            if isinstance(self.transport, Latent):
                model = self.transport.decoded(model, condition, draws)
        x = self.space.to_data(model).float().cpu()
        x = self.space.finished(x, condition, draws.stream("digits").normal)
        valid = self.space.valid(x)
        for number, row in enumerate(rows):
            self._release(row)
            try:
                finite(model[number : number + 1])
            except Diverged as error:
                row.request.end(error)
            if valid is None or valid[number]:
                row.done = True
                self.made += 1
                row.request.take(row.number, x[number].clone())
            elif row.request.refused(row.turn):
                what = named_constraints(self.space)
                message = f"Hardly any generated rows satisfy {what}, so the request was stopped."
                row.request.end(Diverged(f"{message} Train for longer."))
            else:
                row.turn += 1
                row.at = 0
                row.rank += len(row.kinds) + 1  # after other first draws


@contextmanager
def working(engines: Sequence[Engine], precision: str = "float32") -> Iterator[None]:
    """Context in which a thread makes the network calls of engines, in rounds."""
    woken = threading.Event()
    ending = threading.Event()

    def work() -> None:
        with network_precision(precision):
            while not ending.is_set():
                busy = [engine for engine in engines if engine.rows]
                for engine in busy:
                    engine.tick()
                if not busy:
                    woken.wait()
                    woken.clear()

    thread = threading.Thread(target=work, name="pushforward-engine", daemon=True)
    for engine in engines:
        engine.woken = woken.set
    thread.start()
    try:
        yield
    finally:
        ending.set()
        woken.set()
        thread.join()
