"""A trainer's hold on its run folder: locked while it trains, given back and taken again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import BaseFileLock

from pushforward.data import Dataset
from pushforward.data.core.train_hashes import seen_in_training
from pushforward.errors import CheckpointError
from pushforward.recipes.recipe import Recipe
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.budget import Budget
from pushforward.training.claiming import note
from pushforward.training.data_files import write_files
from pushforward.training.folders import claim, hold
from pushforward.training.lineage import write_seen
from pushforward.training.parts import write_parts
from pushforward.training.run_spec import described, write_new
from pushforward.training.settings import Settings

__all__ = ["Holding", "begin", "claimed"]


class Holding:
    """A run's folder, locked by one trainer: no other one, here or in another process, writes to it meanwhile.

    The lock is held until it is given back, or this object is deleted.

    Args:
        folder: The run's folder.
        lock: Its lock; None where it cannot be locked, or nothing is written.
        content: The spec of a run that is taken up; None for a new one.
        writes: Whether anything is written to the folder.
    """

    def __init__(
        self, folder: Path, lock: BaseFileLock | None, content: dict[str, Any] | None = None, writes: bool = True
    ) -> None:
        self.folder, self.content, self.writes = folder, content, writes
        self._lock, self._open = lock, True
        self._closed_at: tuple[Path | None, int] = (None, 0)

    def close(self) -> None:
        """Give the lock back."""
        if self._open:
            self._open, self._closed_at = False, self._standing()
            if self._lock is not None:
                self._lock.release()

    def reopen(self) -> None:
        """Take the lock again after `close`.

        Raises:
            CheckpointError: If another training holds the folder, or has changed the run.
        """
        if self._open:
            return
        lock = hold(self.folder) if self.writes else None
        if self._closed_at != self._standing():
            if lock is not None:
                lock.release()
            raise CheckpointError(
                f"{self.folder} has been trained further since this trainer was closed. Go on from there: pf.resume(...)."
            )
        self._lock, self._open = lock, True

    def _standing(self) -> tuple[Path | None, int]:
        """The newest checkpoint, and the last step in the log, which another training changes before it saves."""
        return checkpoints.latest(self.folder / "checkpoints"), log.last_step(self.folder / "metrics.jsonl")


def claimed(folder: Path, data: str, recipe: str, writes: bool = True) -> Holding:
    """A new run's folder; a process that writes nothing takes no lock.

    Raises:
        UsageError: If the folder exists.
        CheckpointError: If a training is writing to it, or the disk refuses.
    """
    return Holding(folder, claim(folder, data, recipe).lock if writes else None, writes=writes)


def begin(
    holding: Holding, recipe: Recipe, data: Dataset, budget: Budget, settings: Settings, method: dict[str, Any]
) -> dict[str, Any]:
    """Write the files of a new run's folder before its first step; returns its spec, with this description of the method.

    Raises:
        CheckpointError: If the disk refuses.
    """
    stored = settings.stored() | ({"samplers": dict(recipe.samplers)} if recipe.samplers else {})
    if holding.writes:
        note(holding.folder, "rows.safetensors", "files.json", "spec.json", "manifest.json", "checkpoints/latest.json")
        stored["parts"] = write_parts(holding.folder, recipe.method)
        stored["rows"] = write_seen(holding.folder, seen_in_training(data, recipe.builds_on))
    content = described(recipe, data, budget, stored | {"method": method}, settings.plugins)
    if holding.writes:
        write_files(holding.folder, data)
        write_new(holding.folder, content, data)
    return content
