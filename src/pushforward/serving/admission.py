"""Who is admitted: what a served model takes, within which limits, and the request that an engine makes of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushforward.arguments import whole
from pushforward.conditions.kind import names_of
from pushforward.errors import UsageError
from pushforward.registries import SOLVERS
from pushforward.serving.engine import Engine, Request
from pushforward.solvers import as_solver
from pushforward.training import Run
from pushforward.transports import inner_of

MOST_SEED = (1 << 63) - 1


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
        if flow is not None:
            self.engine.schedules.of(flow)

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
        """What it makes and takes, plain values."""
        conditions, flow = self.space.conditions, self.engine.flow
        facts: dict[str, Any] = {"data": self.space.noun, "n": self.most, "recipe": self.run.spec["recipe"]}
        facts |= {"size": self.size} if self.space.has_pixels else {"columns": self.columns}
        facts |= {"labels": list(self.space.classes)} if self.space.classes else {}
        given = [name for name in names_of(conditions) if name != "label"]
        facts |= {"given": given} if given else {}
        if flow is not None:
            solver = type(flow.solver).__name__.lower()
            facts |= {"steps": self.steps, "default": {"steps": flow.steps, "solver": solver, "scale": self.engine.scale}}
            facts["solvers"] = [name for name in SOLVERS if self._takes(name)]
        return facts

    def _takes(self, solver: str) -> bool:
        assert self.engine.flow is not None
        try:
            return not as_solver(solver).adaptive and bool(self.engine.flow.with_solver(solver, 2))
        except UsageError:
            return False

    def request(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        label: str | None = None,
        given: Mapping[str, Any] | None = None,
        **sampler: Any,
    ) -> Request:
        """What an engine makes of a request's words; nothing is computed by the network.

        Args:
            n: How many samples.
            seed: That of the first; None draws one.
            label: A class by name or number; None or an empty text draws them as they occur.
            given: Other conditions by name.
            sampler: ``steps``, ``solver`` and ``scale``, as `Run.sample` takes them; None is the run's own.

        Raises:
            UsageError: For what the model does not take.
        """
        if not 1 <= n <= self.most:
            raise UsageError(f"`n` is from 1 to {self.most:,} for {self.name}, got {n:,}.")
        seed = secrets.randbelow(1 << 32) if seed is None else whole("seed", seed)
        if abs(seed) > MOST_SEED:
            raise UsageError(f"`seed` is at most {MOST_SEED}.")
        steps = sampler.get("steps")
        if steps is not None and self.steps is not None and not 1 <= steps <= self.steps:
            raise UsageError(f"`steps` is from 1 to {self.steps} for {self.name}, got {steps:,}.")
        flow = inner_of(self.run.configured(**sampler).transport)
        schedule = None if self.engine.flow is None else self.engine.schedules.of(flow)  # type: ignore[arg-type]
        condition = self.run.transport.conditions(n, self._wanted(label, given or {}), seed)
        scale = sampler.get("scale")
        scale = (1.0 if self.engine.scale is None else self.engine.scale) if scale is None else float(scale)
        return Request(range(seed, seed + n), condition, schedule, scale)

    def _wanted(self, label: str | None, given: Mapping[str, Any]) -> dict[str, Any] | None:
        known = names_of(self.space.conditions)
        for name in given:
            if name not in known:
                raise UsageError(f'"{name}" cannot be given to {self.name}: it takes {", ".join(known) or "no conditions"}.')
        wanted = dict(given)
        if label:
            wanted["label"] = self.space.label_index(label)
        return wanted or None


def created(model: Model) -> int:
    """When a model's run was begun, in seconds since 1970."""
    return int(Path(model.run.folder, "spec.json").stat().st_mtime)
