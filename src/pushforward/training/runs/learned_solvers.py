"""Learned times of a run (``grids.json``), and the default solver of a frozen part.

Times belong to the weights that they were learned for. With other weights they are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from pushforward import spec
from pushforward.errors import CheckpointError
from pushforward.files import read_json
from pushforward.solvers import Solver
from pushforward.training.checkpoint.storage import write_json
from pushforward.transports import Flow, Transport, inner_of

KEY = ("steps", "solver")
FORMAT = 4


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[field] for field in KEY)


@dataclass(frozen=True)
class Learned:
    """Results of `pushforward tune` for a run.

    Args:
        folder: Run folder.
        weights: Hash of the weights in the checkpoint's manifest.
        step: Step of the checkpoint.
    """

    folder: Path
    weights: str
    step: int

    @property
    def path(self) -> Path:
        return self.folder / "grids.json"

    def read(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        try:
            entries = list(read_json(self.path)["grids"])
            assert all(entry.keys() >= {*KEY, "times"} for entry in entries)
        except (AssertionError, AttributeError, LookupError, TypeError) as error:
            raise CheckpointError(
                f"{self.path} is damaged: it contains no learned grids. "
                "Delete it and run pushforward tune again."
            ) from error
        return entries

    def times(self, steps: int, solver: Solver) -> list[float] | None:
        """Return the times learned for a number of steps of a solver and these weights."""
        wanted = (steps, spec.describe(solver))
        for entry in self.read():
            if _key(entry) == wanted and entry.get("weights") == self.weights:
                return list(entry["times"])
        return None

    def store(self, entry: dict[str, Any]) -> None:
        entry = {"checkpoint_step": self.step, **entry, "weights": self.weights}
        entries = []
        for other in self.read():
            if _key(other) != _key(entry) or other.get("weights") != self.weights:
                entries.append(other)
        entries.append(entry)
        content = {"format_version": FORMAT, "grids": sorted(entries, key=itemgetter("steps"))}
        write_json(self.path, content)


def described_sampler(transport: Transport) -> dict[str, Any] | None:
    """Describe solver, steps and grid as JSON; None for a model without steps."""
    flow = inner_of(transport)
    if isinstance(flow, Flow):
        return {"solver": spec.describe(flow.solver), "steps": flow.steps, "grid": flow.grid}
    return None
