"""When and what a training saves: its checkpoints, from the state of its trainer."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import CheckpointError
from pushforward.training import checkpoint as checkpoints
from pushforward.training import shards
from pushforward.training.going_back import content_of, take_up
from pushforward.training.memory import peak_memory
from pushforward.training.observing import held
from pushforward.training.run_spec import digest
from pushforward.training.stages import stages_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pushforward.training.trainer import Trainer

__all__ = ["Saver"]


class Saver:
    """Writes and restores the checkpoints of one trainer, which calls it between steps.

    It holds no trainer: a trainer gives its folder back when it is deleted.

    Attributes:
        step: The step of the newest checkpoint; -1 where there is none.
        peak: The most memory used so far, bytes.
    """

    def __init__(self) -> None:
        self.step, self.peak, self._seconds = -1, 0, 0.0

    def due(self, trainer: Trainer) -> bool:
        """Whether a regular checkpoint is due."""
        return trainer.settings.due(trainer.clock, self._seconds)

    def note_memory(self, device: torch.device) -> None:
        """Include the memory used so far in the peak that checkpoints state."""
        self.peak = max(self.peak, peak_memory(device))

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint of the present step, whose weights are known to be finite.

        Raises:
            CheckpointError: If the disk refuses; earlier checkpoints stay.
        """
        tensors, where = content_of(trainer), trainer.folder / "checkpoints" / checkpoints.step_name(trainer.clock.step)
        try:
            if trainer.holding.writes:
                trainer.journal.settle()
            if trainer.processes.sharded:
                self._save_shards(trainer, tensors, where)
            elif trainer.holding.writes:
                with checkpoints.staged(where) as temporary:
                    checkpoints.fill(temporary, tensors, self._state(trainer))
                    checkpoints.commit(temporary, where)
            if trainer.holding.writes:
                checkpoints.prune(where, after=self.step, held=held(trainer.observers, trainer.method))
        except CheckpointError as error:
            if self.step >= 0:
                raise
            raise CheckpointError(
                f"{error} Nothing has been saved of this run yet; once there is space, start it: "
                f"pushforward resume {trainer.folder}"
            ) from error
        self.step, self._seconds = trainer.clock.step, trainer.clock.seconds

    def _save_shards(self, trainer: Trainer, tensors: dict[str, dict[str, Tensor]], where: Path) -> None:
        """Each process writes its part into one folder; the first one adds counters and hashes and makes it a checkpoint."""
        processes, writes = trainer.processes, trainer.holding.writes
        with checkpoints.staged(where) if writes else contextlib.nullcontext(where) as temporary:
            shared = Path(processes.first(str(temporary)))
            written = processes.gathered(shards.fill(shared, tensors, processes.rank))
            if writes:
                checkpoints.fill(shared, {}, self._state(trainer) | {"processes": processes.count})
                checkpoints.commit(shared, where, {name: entry for files in written for name, entry in files.items()})

    def _state(self, trainer: Trainer) -> dict[str, Any]:
        return {
            "format_version": checkpoints.FORMAT,
            **trainer.clock.state(),
            "samples": trainer.samples,
            "budget": asdict(trainer.budget),
            "spec_sha256": digest(trainer.content),
            "precision": trainer.precision,
            "batch": trainer.training.batch,
            "peak_memory_mb": self.peak / 2**20,
            **trainer.store.state(),
        }

    def restore(self, trainer: Trainer, folder: Path) -> None:
        """Take up a checkpoint: weights, averages, optimisers and counters.

        Later rows of the log are dropped, with the next save where this is not the newest checkpoint; observers read the others.
        """
        state = take_up(trainer, folder)
        same = asdict(trainer.budget) == state.get("budget", trainer.content["budget"])
        trainer.clock.budget = trainer.store.restore(state, trainer.budget)
        trainer.clock.restore(state, stages_of(trainer.folder, state) if same else [])
        self.peak = int(2**20 * (state.get("peak_memory_mb") or 0))
        self.step, self._seconds = state["step"], state["seconds"]
        trainer.threads.resume(self.step)
        for row in trainer.journal.cut(state["step"], wait=checkpoints.latest(folder.parent) != folder):
            trainer.clock.mark(row["step"], row.get("seconds", 0.0))
