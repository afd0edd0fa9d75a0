"""Learned time grids and tables of a run."""

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

FIELDS = {"grids": ("steps", "solver", "times"), "tables": ("steps", "solver", "guidance", "table")}
"""The fields of each entry, by file name; the last field is the result, the others are its key."""
GRIDS, TABLES = FIELDS
FORMAT = 4


def _key(kind: str, entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[field] for field in FIELDS[kind][:-1])


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

    def read(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / f"{kind}.json"
        if not path.is_file():
            return []
        try:
            entries = list(read_json(path)[kind])
            assert all(entry.keys() >= set(FIELDS[kind]) for entry in entries)
        except (AssertionError, AttributeError, LookupError, TypeError) as error:
            raise self.damaged(kind) from error
        return entries

    def damaged(self, kind: str) -> CheckpointError:
        path = self.folder / f"{kind}.json"
        return CheckpointError(
            f"{path} is damaged: it contains no learned {kind}. Delete it and run pushforward tune "
            "again."
        )

    def entry(
        self, kind: str, steps: int, solver: Solver, guidance: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Return the entry learned for these weights, otherwise one for other weights, or None."""
        key = (steps, spec.describe(solver), spec.describe(dict(guidance or {})))
        wanted = key[: len(FIELDS[kind]) - 1]
        found = None
        for entry in self.read(kind):
            if _key(kind, entry) == wanted:
                found = entry
                if self.fits(entry):
                    return entry
        return found

    def fits(self, entry: dict[str, Any] | None) -> bool:
        return entry is not None and entry.get("weights") == self.weights

    def stale(self, transport: Transport, given: Mapping[str, Any]) -> list[str]:
        """Return warnings about entries that were learned for other weights."""
        flow = inner_of(transport)
        grid = given.get("grid")
        named = isinstance(grid, str) and grid in ("learned", "table")
        if not has_steps(flow) or not (named or (grid is None and "steps" in given)):
            return []
        steps = given.get("steps", flow.steps)
        solver = solvers.as_solver(given.get("solver", flow.solver))
        guidance = {name: given[name] for name in GUIDANCE if name in given}
        kinds: dict[str, dict[str, Any] | None] = {}
        if grid != "learned" and "weaker" not in guidance:
            kinds[TABLES] = guidance
        if grid == "learned" or not (named or guidance):
            kinds[GRIDS] = None
        sentences = []
        for kind, guided in kinds.items():
            entry = self.entry(kind, steps, solver, guided)
            if entry is None:
                continue
            if self.fits(entry):
                break
            again = tuning(str(self.folder), steps, given.get("solver"), guided)
            sentences.append(
                f"the {kind.removesuffix('s')} learned for {steps} steps of "
                f"{entry['solver']['part']} is not used: it belongs to the weights of step "
                f"{entry.get('checkpoint_step')}, not to those of step {self.step:,}. Learn it "
                f"again: {again}"
            )
        if named and sentences:
            raise UsageError(sentences[0])
        return sentences

    def store(self, kind: str, entry: dict[str, Any]) -> None:
        entry = {"checkpoint_step": self.step, **entry, "weights": self.weights}
        entries = []
        for other in self.read(kind):
            if _key(kind, other) != _key(kind, entry) or not self.fits(other):
                entries.append(other)
        entries.append(entry)
        content = {"format_version": FORMAT, kind: sorted(entries, key=itemgetter("steps"))}
        write_json(self.folder / f"{kind}.json", content)


def described_sampler(transport: Transport) -> dict[str, Any] | None:
    """Describe solver, steps and grid as JSON; None for a model without steps."""
    flow = inner_of(transport)
    if isinstance(flow, Flow):
        return {"solver": spec.describe(flow.solver), "steps": flow.steps, "grid": flow.grid}
    return None
