"""Learned times of a run (``grids.json``), and the default solver of a frozen part.

Times belong to the weights that they were learned for. With other weights they are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from pushforward import solvers, spec
from pushforward.errors import CheckpointError, UsageError
from pushforward.files import read_json
from pushforward.sampling_options import GUIDANCE, tuning
from pushforward.solvers import Solver
from pushforward.training.checkpoint.storage import write_json
from pushforward.transports import Flow, Transport, has_steps, inner_of

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

    def entry(self, steps: int, solver: Solver) -> dict[str, Any] | None:
        """Find the entry for a number of steps and a solver: for these weights, else for others."""
        wanted = (steps, spec.describe(solver))
        entries = [entry for entry in self.read() if _key(entry) == wanted]
        for entry in entries:
            if self.fits(entry):
                return entry
        if entries:
            return entries[-1]
        return None

    def fits(self, entry: dict[str, Any] | None) -> bool:
        return entry is not None and entry.get("weights") == self.weights

    def stale(self, transport: Transport, given: Mapping[str, Any]) -> list[str]:
        """Describe what was learned and is not used, such as a grid for other weights.

        Raises:
            UsageError: With this sentence, if the grid was given by name.
        """
        flow = inner_of(transport)
        named = isinstance(given.get("grid"), str) and given["grid"] == "learned"
        guided = any(name in given for name in GUIDANCE)
        by_steps = "grid" not in given and "steps" in given and not guided
        if not has_steps(flow) or not (named or by_steps):
            return []
        sentences = []
        table = self.folder / "tables.json"
        if table.is_file():
            sentences.append(f"{table} is not used: learned solver tables are no longer supported")
        steps = given.get("steps", flow.steps)
        entry = self.entry(steps, solvers.as_solver(given.get("solver", flow.solver)))
        if entry is None or self.fits(entry):
            return sentences
        sentence = (
            f"the grid learned for {steps} steps of {entry['solver']['part']} is not used: it "
            f"belongs to the weights of step {entry.get('checkpoint_step')}, not to those of "
            f"step {self.step:,}. "
            f"Learn it again: {tuning(str(self.folder), steps, given.get('solver'))}"
        )
        if named:
            raise UsageError(sentence)
        return [*sentences, sentence]

    def store(self, entry: dict[str, Any]) -> None:
        entry = {"checkpoint_step": self.step, **entry, "weights": self.weights}
        entries = []
        for other in self.read():
            if _key(other) != _key(entry) or not self.fits(other):
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
