"""What `pushforward tune` keeps with a run: learned times in ``grids.json``, learned tables in ``tables.json``.

What was learned belongs to the weights that it was learned for. With others, of a run that was trained on, of another checkpoint,
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

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of what is learned.

    Args:
        name: Its file, without the ending, and the key of its rows.
        fields: What every row holds; the last is what was learned, the others say what for.
        words: What messages call it.
        single: What they call a single row.
        command: The verb and options that learn it.
    """

    name: str
    fields: tuple[str, ...]
    words: str
    single: str
    command: str

    def key(self, row: Row) -> tuple[Any, ...]:
        """What a row was learned for."""
        return tuple(row[field] for field in self.fields[:-1])


GRIDS = Kind("grids", ("steps", "solver", "times"), "learned grids", "grid", "pushforward tune {}")
TABLES = Kind("tables", ("steps", "solver", "guidance", "table"), "learned tables", "table", "pushforward tune {} --what table")


def read(folder: Path, kind: Kind) -> list[Row]:
    """All rows of a kind that a run holds.

    Raises:
        CheckpointError: If the file is damaged.
    """
    path = folder / f"{kind.name}.json"
    if not path.is_file():
        return []
    content = checkpoints.read_json(path)
    rows = content.get(kind.name) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(kind.fields) for row in rows):
        raise damaged(folder, kind)
    return rows


def damaged(folder: Path, kind: Kind) -> CheckpointError:
    """The error for a file that cannot be used."""
    path = folder / f"{kind.name}.json"
    return CheckpointError(f"{path} is damaged: it holds no {kind.words}. Delete it and run: {kind.command.format(folder)}")


def weights_of(checkpoint: Path, raw: bool = False) -> str:
    """The hash of a checkpoint's averaged weights, or of its last ones, as its manifest has it."""
    content = checkpoints.read_json(checkpoint / "MANIFEST.json")
    return str(content["files"][f"{'method' if raw else 'average'}.safetensors"]["sha256"])


def _row(run: Run, kind: Kind, steps: int, solver: Solver, guidance: Mapping[str, Any] | None = None) -> Row | None:
    """The row that was learned for so many steps of a solver: for the run's weights, else for others."""
    wanted = (steps, spec.describe(solver), spec.describe(dict(guidance or {})))[: len(kind.fields) - 1]
    rows = [row for row in read(run.folder, kind) if kind.key(row) == wanted]
    return next((row for row in rows if _belongs(row, run)), rows[-1] if rows else None)


def _belongs(row: Row, run: Run) -> bool:
    """Whether a row was learned for a run's weights."""
    if run.weights is not None and "weights" in row:
        return bool(row["weights"] == run.weights)
    return bool(row.get("checkpoint_step", run.state["step"]) == run.state["step"])


def fresh(run: Run, kind: Kind, steps: int, solver: Solver, guidance: Mapping[str, Any] | None = None) -> Row | None:
    """The row that was learned for so many steps of a solver, a guidance and the run's weights; None where there is none."""
    row = _row(run, kind, steps, solver, guidance)
    return row if row is not None and _belongs(row, run) else None


def stale(run: Run, given: Mapping[str, Any]) -> list[str]:
    """What sampling with some options would use if it had been learned for the run's weights, each in a sentence with the fix.

    Args:
        run: The run.
        given: Options of `pushforward.sampling_options.Sampling`.

    Raises:
        UsageError: With that sentence, where the grid or table was asked for by name.
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
        row = _row(run, kind, steps, solver, guidance if kind is TABLES else None)
        if row is not None and _belongs(row, run):
            break
        if row is not None:
            sentences.append(_sentence(run, kind, row, given.get("solver"), guidance))
    if named and sentences:
        raise UsageError(sentences[0])
    return sentences


def _sentence(run: Run, kind: Kind, row: Row, solver: Solver | str | None, guidance: Mapping[str, Any]) -> str:
    step, then = run.state["step"], row.get("checkpoint_step")
    whose = f"other weights than these of step {step:,}"
    if then not in (None, step):
        whose = f"the weights of step {then:,}, and these are of step {step:,}"
    again = tuning(str(run.folder), row["steps"], solver, guidance if kind is TABLES else None)
    what = f"the {kind.single} learned for {row['steps']} steps of {row['solver']['part']}"
    return f"{what} belongs to {whose}: it is not used. Learn it again: {again}{_which(run)}"


def _which(run: Run) -> str:
    """The options that choose a run's weights, where they are not the average of the newest checkpoint."""
    inside = run.folder / "checkpoints"
    newest, own = checkpoints.latest(inside), inside / checkpoints.step_name(run.state["step"])
    elder = f" --checkpoint {own.name}" if newest != own else ""
    return elder + (" --raw" if own.is_dir() and weights_of(own, raw=True) == run.weights else "")


def store(run: Run, kind: Kind, row: Row) -> None:
    """Keep a row with a run, for its weights, in place of an earlier one that was learned for the same.

    Raises:
        CheckpointError: If the disk refuses, or the file is damaged.
    """
    row = {"checkpoint_step": run.state["step"], **row, **({} if run.weights is None else {"weights": run.weights})}
    identity = (kind.key(row), row.get("weights"))
    others = [other for other in read(run.folder, kind) if (kind.key(other), other.get("weights")) != identity]
    content = {"format_version": FORMAT, kind.name: sorted([*others, row], key=itemgetter("steps"))}
    checkpoints.write_json(run.folder / f"{kind.name}.json", content)
