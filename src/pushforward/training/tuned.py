"""The results of `pushforward tune` in a run's folder: learned times in ``grids.json``, learned tables in ``tables.json``.

A grid or table belongs to the weights that it was learned for. With others, of a run that was trained on, of another checkpoint,
or the last ones in place of their average, it is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward import solvers, spec
from pushforward.errors import CheckpointError, UsageError
from pushforward.sampling_options import GUIDANCE, tuning
from pushforward.solvers.solver import Solver
from pushforward.training import checkpoint as checkpoints
from pushforward.training.run_spec import FORMAT
from pushforward.transports import has_steps, inner_of

if TYPE_CHECKING:
    from pushforward.training.run import Run

__all__ = ["GRIDS", "TABLES", "Kind", "damaged", "fresh", "read", "stale", "store", "weights_of"]

Entry = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of result: grids or tables.

    Args:
        name: Its file, without the ending, and the key of its entries.
        fields: Of every entry; the last is the result, the others its key.
        words: Its name in messages.
        single: The name of a single entry in messages.
        command: The verb and options that learn it.
    """

    name: str
    fields: tuple[str, ...]
    words: str
    single: str
    command: str

    def key(self, entry: Entry) -> tuple[Any, ...]:
        """The key of an entry."""
        return tuple(entry[field] for field in self.fields[:-1])


GRIDS = Kind("grids", ("steps", "solver", "times"), "learned grids", "grid", "pushforward tune {}")
TABLES = Kind("tables", ("steps", "solver", "guidance", "table"), "learned tables", "table", "pushforward tune {} --what table")


def read(folder: Path, kind: Kind) -> list[Entry]:
    """All entries of a kind that a run holds.

    Raises:
        CheckpointError: If the file is damaged.
    """
    path = folder / f"{kind.name}.json"
    if not path.is_file():
        return []
    content = checkpoints.read_json(path)
    entries = content.get(kind.name) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and entry.keys() >= set(kind.fields) for entry in entries
    ):
        raise damaged(folder, kind)
    return entries


def damaged(folder: Path, kind: Kind) -> CheckpointError:
    """The error for a file that cannot be used."""
    path = folder / f"{kind.name}.json"
    return CheckpointError(f"{path} is damaged: it holds no {kind.words}. Delete it and run: {kind.command.format(folder)}")


def weights_of(checkpoint: Path, raw: bool = False) -> str:
    """The hash of a checkpoint's averaged weights, or of its last ones, as its manifest has it."""
    content = checkpoints.read_json(checkpoint / "MANIFEST.json")
    return str(checkpoints.weights_hash(content["files"], raw))


def _entry(run: Run, kind: Kind, steps: int, solver: Solver, guidance: Mapping[str, Any] | None = None) -> Entry | None:
    """The entry that was learned for so many steps of a solver: for the run's weights, else for others."""
    wanted = (steps, spec.describe(solver), spec.describe(dict(guidance or {})))[: len(kind.fields) - 1]
    entries = [entry for entry in read(run.folder, kind) if kind.key(entry) == wanted]
    return next((entry for entry in entries if _belongs(entry, run)), entries[-1] if entries else None)


def _belongs(entry: Entry, run: Run) -> bool:
    """Whether an entry was learned for a run's weights."""
    return bool(entry.get("weights") == run.weights)


def fresh(run: Run, kind: Kind, steps: int, solver: Solver, guidance: Mapping[str, Any] | None = None) -> Entry | None:
    """The entry that was learned for so many steps of a solver, a guidance and the run's weights; None where there is none."""
    entry = _entry(run, kind, steps, solver, guidance)
    return entry if entry is not None and _belongs(entry, run) else None


def stale(run: Run, given: Mapping[str, Any]) -> list[str]:
    """The grids and tables that sampling would use if they had been learned for these weights: sentences with the fix.

    Raises:
        UsageError: With that sentence, where the grid or table was given by name.
    """
    flow, grid = inner_of(run.transport), given.get("grid")
    named = grid in ("learned", "table") if isinstance(grid, str) else False
    if not has_steps(flow) or not (named or (grid is None and "steps" in given)):
        return []
    steps, solver = given.get("steps", flow.steps), solvers.as_solver(given.get("solver", flow.solver))
    guidance = {name: given[name] for name in GUIDANCE if name in given}
    kinds = {TABLES: grid != "learned" and "weaker" not in guidance, GRIDS: grid == "learned" or not (named or guidance)}
    sentences = []
    for kind in (kind for kind, used in kinds.items() if used):
        entry = _entry(run, kind, steps, solver, guidance if kind is TABLES else None)
        if entry is not None and _belongs(entry, run):
            break
        if entry is not None:
            sentences.append(_sentence(run, kind, entry, given.get("solver"), guidance))
    if named and sentences:
        raise UsageError(sentences[0])
    return sentences


def _sentence(run: Run, kind: Kind, entry: Entry, solver: Solver | str | None, guidance: Mapping[str, Any]) -> str:
    step, then = run.state["step"], entry.get("checkpoint_step")
    whose = f"other weights than these of step {step:,}"
    if then not in (None, step):
        whose = f"the weights of step {then:,}, and these are of step {step:,}"
    again = tuning(str(run.folder), entry["steps"], solver, guidance if kind is TABLES else None)
    what = f"the {kind.single} learned for {entry['steps']} steps of {entry['solver']['part']}"
    return f"{what} belongs to {whose}: it is not used. Learn it again: {again}{_which(run)}"


def _which(run: Run) -> str:
    """The options that choose a run's weights, where they are not the average of the newest checkpoint."""
    inside = run.folder / "checkpoints"
    newest, current = checkpoints.latest(inside), inside / checkpoints.step_name(run.state["step"])
    elder = f" --checkpoint {current.name}" if newest != current else ""
    return elder + (" --raw" if current.is_dir() and weights_of(current, raw=True) == run.weights else "")


def store(run: Run, kind: Kind, entry: Entry) -> None:
    """Keep an entry with a run, for its weights, in place of an earlier one that was learned for the same.

    Raises:
        CheckpointError: If the disk refuses, or the file is damaged.
    """
    entry = {"checkpoint_step": run.state["step"], **entry, "weights": run.weights}
    identity = (kind.key(entry), run.weights)
    others = [other for other in read(run.folder, kind) if (kind.key(other), other.get("weights")) != identity]
    content = {"format_version": FORMAT, kind.name: sorted([*others, entry], key=itemgetter("steps"))}
    checkpoints.write_json(run.folder / f"{kind.name}.json", content)
