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
from pushforward.conditions.kind import names_of
from pushforward.denoisers.denoiser import has_jump
from pushforward.errors import UsageError
from pushforward.registries import SOLVERS
from pushforward.sampling_options import configure
from pushforward.serving.engine import Engine, Request
from pushforward.serving.schedule import Schedule
from pushforward.solvers import as_solver
from pushforward.training import Run
from pushforward.transports import Flow, inner_of

SCHEDULES = 256  # Step tables that are kept for the next requests


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Args:
        images: Maximum number of images.
        rows: Maximum number of rows of a table, or vectors.
        steps: Maximum number of solver steps; a run's own number of steps is always allowed.
        body: Maximum size of a request body in bytes.
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

    Attributes:
        most: Maximum number of samples per request.
        steps: Maximum number of solver steps; None for a one-call model.
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
        if usual := self.schedule():
            usual.compute()

    @property
    def size(self) -> str | None:
        """Return the image size as WIDTHxHEIGHT; None for other data."""
        if self.space.has_pixels:
            return f"{self.space.shape[2]}x{self.space.shape[1]}"
        return None

    @property
    def columns(self) -> list[str]:
        """Return the column names of rows; empty for images."""
        named = self.space.names or self.space.columns
        if self.space.has_pixels:
            return []
        return list(named) or [f"x{i}" for i in range(self.space.size)]

    def described(self) -> dict[str, Any]:
        """Describe the model with its outputs and inputs, as plain values."""
        conditions = self.space.conditions
        flow = self.engine.flow
        facts: dict[str, Any] = {
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
            jumps = has_jump(flow.denoiser)
            solvers = [
                name
                for name in SOLVERS
                if not (known := as_solver(name)).adaptive and jumps >= known.jumps
            ]
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
        """Return the engine's request for checked words; neither its table nor anything by the network is computed.

        Args:
            n: Number of samples.
            seed: Seed of the first sample; None for a random seed.
            label: Class by name or number; None or an empty text for random classes with the
                frequencies of the training data.
            given: Other conditions by name.
            sampler: Options ``steps``, ``solver`` and ``scale``, as in `Run.sample`; None for the
                run's own.

        Raises:
            UsageError: If the model does not support the request.
        """
        if not 1 <= n <= self.most:
            raise UsageError(f"`n` must be between 1 and {self.most:,} for {self.name}, got {n:,}.")
        if seed is None:
            seed = secrets.randbelow(1 << 32)
        steps = sampler.get("steps")
        if steps is not None and self.steps is not None and not 1 <= steps <= self.steps:
            raise UsageError(
                f"`steps` must be between 1 and {self.steps} for {self.name}, got {steps:,}."
            )
        schedule = self.schedule(**sampler)
        wanted, warnings = self._wanted(label, given or {})
        condition = self.run.transport.conditions(n, wanted, seed)
        scale = sampler.get("scale")
        if scale is None:
            scale = self.engine.scale
        return Request(
            range(seed, seed + n), condition, schedule, 1.0 if scale is None else scale, warnings
        )

    def _wanted(
        self, label: str | None, given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        kinds = {
            word: kind
            for name, kind in self.space.conditions.items()
            for word in kind.entries or (name,)
        }
        wanted: dict[str, Any] = {}
        warnings: list[str] = []
        for name, value in given.items():
            if name not in kinds:
                raise UsageError(
                    f'{self.name} does not support the condition "{name}"; it supports {", ".join(kinds) or "no conditions"}.'
                )
            wanted[name], sentences = kinds[name].held(name, value)
            warnings += sentences
        if label:
            if "label" in given:
                raise UsageError("The label is given twice: by name and in `given`. Leave out one.")
            wanted["label"] = self.space.label_index(label)
        return wanted, warnings
