"""Who is admitted: what a served model takes, within which limits, and the request that an engine makes of it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pushforward import spec
from pushforward.conditions.columns import Known
from pushforward.conditions.kind import names_of
from pushforward.denoisers.denoiser import Condition, has_jump
from pushforward.errors import UsageError
from pushforward.registries import SOLVERS
from pushforward.samples import configure
from pushforward.serving.engine import Busy, Engine, Request
from pushforward.serving.schedule import Schedule
from pushforward.solvers import as_solver
from pushforward.training import Run
from pushforward.transports import Flow, inner_of

SCHEDULES = 256  # Step tables that are kept for the next requests
COMPUTED = 8  # Step tables that wait to be computed at most


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Args:
        images: Images at most.
        rows: Rows of a table, or vectors, at most.
        steps: Solver steps at most; a run's own number of steps is allowed where that is larger.
        body: Bytes of a request's body at most.
    """

    images: int = 64
    rows: int = 1000
    steps: int = 250
    body: int = 1 << 16


@dataclass(frozen=True)
class Plan:
    """What decides a step table: equal keys have equal tables.

    Args:
        key: Solver, steps, grid and learned coefficients as text.
        flow: A flow with them; None for a one-call model.
    """

    key: str
    flow: Flow | None = field(compare=False)


@dataclass(frozen=True)
class Order:
    """A request that was checked, before anything is computed for it.

    Args:
        seeds: One for each sample.
        condition: Values by name, one for each sample.
        plan: What its step table is made from.
        scale: The guidance scale.
        warnings: Sentences for the client on given values that were replaced.
    """

    seeds: range
    condition: Condition
    plan: Plan
    scale: float
    warnings: tuple[str, ...]

    def request(self, schedule: Schedule | None) -> Request:
        """Return the engine's request under the table of its plan."""
        return Request(self.seeds, self.condition, schedule, self.scale)


class Model:
    """A run that is served.

    Args:
        run: With the sampler that requests get which name no other.
        name: By which requests ask for it; None for the run's.
        limits: Of requests.
        engine: Options of its engine.

    Attributes:
        most: Samples of one request at most.
        steps: Solver steps at most; None for a one-call model.
    """

    def __init__(self, run: Run, name: str | None = None, limits: Limits | None = None, **engine: int) -> None:
        limits = limits or Limits()
        self.run, self.name, self.space = run, name or run.name, run.transport.space
        self.engine = Engine(run.transport, **engine)
        self.most = min(limits.images if self.space.has_pixels else limits.rows, self.engine.queue)
        flow = self.engine.flow
        self.steps = None if flow is None else max(limits.steps, flow.steps)
        self.created = _written(run.folder / "spec.json")
        self.plan = lru_cache(SCHEDULES)(self._plan)
        self._schedules: dict[Plan, Future[Schedule | None]] = {}
        self._lock = threading.Lock()
        self._room = threading.Semaphore(COMPUTED)
        self._computer = ThreadPoolExecutor(1, "pushforward-tables")  # one at a time leaves the engine its processor
        self.schedule(self.plan()).result()

    @property
    def size(self) -> str | None:
        """WIDTHxHEIGHT of its images; None for other data."""
        return f"{self.space.shape[2]}x{self.space.shape[1]}" if self.space.has_pixels else None

    @property
    def columns(self) -> list[str]:
        """The names of a row's cells; empty for images."""
        named = self.space.names or self.space.columns
        return [] if self.space.has_pixels else list(named) or [f"x{i}" for i in range(self.space.size)]

    def described(self) -> dict[str, Any]:
        """What it is, makes and takes, plain values."""
        conditions, flow = self.space.conditions, self.engine.flow
        facts: dict[str, Any] = {"id": self.name, "object": "model", "owned_by": "pushforward", "recipe": self.run.spec["recipe"]}
        facts |= {"created": self.created, "data": self.space.noun, "n": self.most}
        given = [name for name in names_of(conditions) if name != "label"]
        others = {"size": self.size, "columns": self.columns, "labels": list(self.space.classes), "given": given}
        facts |= {name: value for name, value in others.items() if value}
        if flow is not None:
            usual = {"steps": flow.steps, "solver": type(flow.solver).__name__.lower(), "scale": self.engine.scale}
            facts |= {"steps": self.steps, "default": usual}
            known, jumps = {name: as_solver(name) for name in SOLVERS}, has_jump(flow.denoiser)
            facts["solvers"] = [name for name, solver in known.items() if not solver.adaptive and jumps >= solver.jumps]
        return facts

    def _plan(self, **sampler: Any) -> Plan:
        run = self.run
        configured = configure(run.transport, grids=run.learned_grid, tables=run.learned_table, name=self.name, **sampler)
        flow = inner_of(configured)
        if not isinstance(flow, Flow):
            return Plan("", None)
        return Plan(repr((spec.describe(flow.solver), flow.steps, flow.grid, flow.learned)), flow)

    def schedule(self, plan: Plan) -> Future[Schedule | None]:
        """Return the future step table of a plan; another thread computes it, unless an earlier request needed the same.

        Raises:
            Busy: If too many tables wait to be computed.
        """
        with self._lock:
            future = self._schedules.pop(plan, None)
            if future is None or (future.done() and future.exception() is not None):
                future = self._begun(plan)
            self._schedules[plan] = future  # the last one used is the last one dropped
            if len(self._schedules) > SCHEDULES:
                del self._schedules[next(iter(self._schedules))]
            return future

    def _begun(self, plan: Plan) -> Future[Schedule | None]:
        if not self._room.acquire(blocking=False):
            raise Busy(f"{COMPUTED} other requests wait for new step tables: ask again later, or use common steps and solvers.")
        future = self._computer.submit(self._computed, plan)
        future.add_done_callback(lambda _: self._room.release())
        return future

    def _computed(self, plan: Plan) -> Schedule | None:
        flow = plan.flow
        if flow is None:
            return None
        return Schedule(Flow(self.engine.denoiser, flow.solver, flow.steps, flow.grid, flow.learned))

    def order(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        label: str | None = None,
        given: Mapping[str, Any] | None = None,
        **sampler: Any,
    ) -> Order:
        """Check a request's words, without any computing that takes long.

        Args:
            n: The number of samples.
            seed: The seed of the first sample; None draws one.
            label: A class by name or number; None or an empty text draws classes as they occur.
            given: Other conditions by name.
            sampler: ``steps``, ``solver`` and ``scale``, as `Run.sample` takes them; None is the run's own.

        Raises:
            UsageError: For what the model does not take.
        """
        if not 1 <= n <= self.most:
            raise UsageError(f"`n` is from 1 to {self.most:,} for {self.name}, got {n:,}.")
        seed = secrets.randbelow(1 << 32) if seed is None else seed
        steps = sampler.get("steps")
        if steps is not None and self.steps is not None and not 1 <= steps <= self.steps:
            raise UsageError(f"`steps` is from 1 to {self.steps} for {self.name}, got {steps:,}.")
        plan = self.plan(**sampler)
        wanted, warnings = self._wanted(label, given or {})
        condition = self.run.transport.conditions(n, wanted, seed)
        scale = self.engine.scale if sampler.get("scale") is None else sampler["scale"]
        return Order(range(seed, seed + n), condition, plan, 1.0 if scale is None else scale, tuple(warnings))

    def request(self, n: int = 1, **words: Any) -> Request:
        """Return the engine's request for the words of `order`; nothing is computed by the network.

        Raises:
            UsageError: For what the model does not take.
            Busy: If too many step tables wait to be computed.
        """
        order = self.order(n, **words)
        return order.request(self.schedule(order.plan).result())

    def _wanted(self, label: str | None, given: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
        known = names_of(self.space.conditions)
        for name in given:
            if name not in known:
                raise UsageError(f'"{name}" cannot be given to {self.name}: it takes {", ".join(known) or "no conditions"}.')
        wanted = dict(given)
        warnings: list[str] = []
        for kind in self.space.conditions.values():
            if isinstance(kind, Known):
                for name in given.keys() & set(kind.entries):
                    wanted[name], sentences = kind.held(name, given[name])
                    warnings += sentences
        if label:
            if "label" in given:
                raise UsageError("The label is given twice, by name and in `given`: leave one of them out.")
            wanted["label"] = self.space.label_index(label)
        return wanted or None, warnings


def _written(path: Path) -> int:
    try:
        return int(path.stat().st_mtime)
    except OSError:  # a run in memory
        return int(time.time())
