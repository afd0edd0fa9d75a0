"""Checks and limits of requests to a served model, and their conversion for the engine."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

from pushforward import spec
from pushforward.conditions.kind import ConditionKind, names_of
from pushforward.denoisers.denoiser import has_jump
from pushforward.errors import UsageError
from pushforward.registries import SOLVERS
from pushforward.samples import columns_of
from pushforward.sampling_options import configure
from pushforward.serving.engine import Engine, Request, Schedule
from pushforward.solvers import as_solver
from pushforward.training import Run
from pushforward.transports import Flow, inner_of

SCHEDULES = 256  # step tables that are kept for the next requests


@dataclass(frozen=True)
class Limits:
    """Limits of one request: images, or rows and vectors; solver steps; and bytes of the body.

    A run's own number of steps is always allowed.
    """

    images: int = 64
    rows: int = 1000
    steps: int = 250
    body: int = 1 << 16


LIMITS = Limits()


class Model:
    """Served run.

    Args:
        run: Run, with the default sampler for requests.
        name: Model name in requests; None for the name of the run.
        limits: Limits of requests.
        engine: Options of the engine.
    """

    def __init__(
        self, run: Run, name: str | None = None, limits: Limits = LIMITS, **engine: int
    ) -> None:
        self.run = run
        self.name = name or run.name
        self.space = run.transport.space
        self.engine = Engine(run.transport, **engine)
        self.most = min(limits.images if self.space.has_pixels else limits.rows, self.engine.queue)
        flow = self.engine.flow
        self.steps = None if flow is None else max(limits.steps, flow.steps)
        self.created = int(time.time())
        self._schedules: WeakValueDictionary[str, Schedule] = WeakValueDictionary()
        self.schedule = lru_cache(SCHEDULES)(self._schedule)
        usual = self.schedule()
        if usual is not None:
            usual.compute()

    @property
    def size(self) -> str | None:
        """Image size as WIDTHxHEIGHT; None for other data."""
        if not self.space.has_pixels:
            return None
        _, height, width = self.space.shape
        return f"{width}x{height}"

    @property
    def columns(self) -> list[str]:
        """Column names of rows; empty for images."""
        if self.space.has_pixels:
            return []
        return columns_of(self.space)

    def described(self) -> dict[str, Any]:
        """Describe the model with its outputs and inputs, as plain values."""
        conditions = self.space.conditions
        flow = self.engine.flow
        facts = {
            "id": self.name,
            "object": "model",
            "owned_by": "pushforward",
            "recipe": self.run.spec["recipe"],
            "created": self.created,
            "data": self.space.noun,
            "n": self.most,
            "size": self.size,
            "columns": self.columns,
            "labels": list(self.space.classes),
            "given": [name for name in names_of(conditions) if name != "label"],
        }
        if flow is not None:
            usual = {
                "steps": flow.steps,
                "solver": type(flow.solver).__name__.lower(),
                "scale": self.engine.scale,
            }
            solvers = []
            for name in SOLVERS:
                solver = as_solver(name)
                if not solver.adaptive and (has_jump(flow.denoiser) or not solver.jumps):
                    solvers.append(name)
            facts |= {"steps": self.steps, "default": usual, "solvers": solvers}
        return {name: value for name, value in facts.items() if value}

    def _schedule(self, **sampler: Any) -> Schedule | None:
        run = self.run
        configured = configure(
            run.transport,
            grids=run.learned_grid,
            name=self.name,
            **sampler,
        )
        flow = inner_of(configured)
        if not isinstance(flow, Flow):
            return None
        same = Schedule(self.engine.denoiser, flow.solver, flow.steps, flow.grid)
        key = repr((spec.describe(flow.solver), flow.steps, flow.grid))
        return self._schedules.setdefault(key, same)  # one for all scales that have the same steps

    def request(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        label: str | None = None,
        given: Mapping[str, Any] | None = None,
        **sampler: Any,
    ) -> Request:
        """Check words and return the engine's request, without computing its table.

        Args:
            n: Number of samples.
            seed: Seed of the first sample; None for a random seed.
            label: Class by name or number; by default random, as frequent as in the training data.
            given: Other conditions by name.
            sampler: Options ``steps``, ``solver`` and ``scale``, as in `Run.sample`.
        """
        if not 1 <= n <= self.most:
            raise UsageError(f"`n` must be between 1 and {self.most:,}, got {n:,}.")
        if seed is None:
            seed = secrets.randbelow(1 << 32)
        steps = sampler.get("steps")
        if steps is not None and self.steps is not None and not 1 <= steps <= self.steps:
            raise UsageError(f"`steps` must be between 1 and {self.steps}, got {steps:,}.")
        schedule = self.schedule(**sampler)
        wanted, warnings = self._wanted(label, given or {})
        condition = self.run.transport.conditions(n, wanted, seed)
        scale = sampler.get("scale")
        if scale is None:
            scale = self.engine.scale
        if scale is None:
            scale = 1.0
        return Request(range(seed, seed + n), condition, schedule, scale, warnings)

    def _wanted(
        self, label: str | None, given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        kinds: dict[str, ConditionKind] = {}
        for name, kind in self.space.conditions.items():
            kinds |= dict.fromkeys(kind.entries or [name], kind)
        wanted = {}
        warnings = []
        for name, value in given.items():
            if name not in kinds:
                supported = ", ".join(kinds) or "no conditions"
                raise UsageError(f'Unknown condition "{name}"; supported: {supported}.')
            wanted[name], sentences = kinds[name].held(name, value)
            warnings += sentences
        if label:
            if "label" in given:
                raise UsageError("The label is given twice: by name and in `given`. Leave out one.")
            wanted["label"] = self.space.label_index(label)
        return wanted, warnings
