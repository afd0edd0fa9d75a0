"""When and what a training saves: its checkpoints, from the state of its trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import CheckpointError
from pushforward.training import checkpoint as checkpoints
from pushforward.training import shards
from pushforward.training.background import Background
from pushforward.training.going_back import state_of, stored_for, take_up
from pushforward.training.memory import free_memory, peak_memory
from pushforward.training.observing import held
from pushforward.training.run_spec import digest
from pushforward.training.space import bytes_of, tight
from pushforward.training.stages import stages_of
from pushforward.training.tensors import copied
from pushforward.training.verifying import all_in

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pushforward.training.processes import Processes
    from pushforward.training.trainer import Trainer

__all__ = ["Saver"]


SHARE = 0.5
"""The share of the memory that is available which the copy of a state may take; a larger one is written while training waits."""


class Saver:
    """Writes and restores the checkpoints of one trainer, which calls it between steps.

    A state is copied, and the copy is written beside the next steps; at most one is being written at a time. It holds no trainer:
    a trainer gives its folder back when it is deleted.

    Attributes:
        step: The step of the newest checkpoint, which may be being written; -1 where there is none.
        peak: The most memory used so far, bytes.
        beside: Whether checkpoints that nothing waits for are written beside the next steps.
        refused: Whether the disk of any process had refused such a checkpoint when all processes last told each other.
        weights_step: The step of the weights where training has ended with those of an earlier one (`go_back`); else None.
    """

    def __init__(self) -> None:
        self.step, self.peak, self._seconds, self.beside, self.refused = -1, 0, 0.0, True, False
        self._before = self.step, self._seconds
        self.weights_step: int | None = None
        self._writer = Background()
        self._asked = False
        self._reported: BaseException | None = None

    def due(self, trainer: Trainer) -> bool:
        """Whether a regular checkpoint is due."""
        return trainer.settings.due(trainer.clock, self._seconds)

    def note_memory(self, device: torch.device) -> None:
        """Include the memory used so far in the peak that checkpoints state."""
        self.peak = max(self.peak, peak_memory(device))

    def join(self) -> None:
        """Wait until nothing is being written; an error stays for `wait`."""
        if self._writer.join():
            self.step, self._seconds = self._before

    def close(self, trainer: Trainer) -> None:
        """Wait until nothing is being written, and report an error, which `wait` may never raise: as a warning, once."""
        self.join()
        error = self._writer.error
        if error is not None and error is not self._reported:
            self._reported = error
            trainer.progress.say(f"warning: {error}")

    def wait(self, processes: Processes) -> None:
        """Wait until the newest checkpoint is written; every process must call this.

        Raises:
            CheckpointError: If the disk of any process has refused it; the one before stays.
        """
        self.join()
        words = processes.failure(None if self._writer.error is None else str(self._writer.error))
        own: Exception | None = None
        try:
            self._writer.wait()
        except Exception as error:
            if processes.count == 1:
                raise
            own = error
        if words is not None:
            self.step, self._seconds = self._before
            raise CheckpointError(words) from own

    @property
    def failed(self) -> bool:
        """Whether this process could not write a checkpoint beside the last steps, which no `wait` has raised yet."""
        return not self._writer.busy and self._writer.error is not None

    def check(self, processes: Processes) -> None:
        """Raise the error of a checkpoint that could not be written beside the last steps, as `wait` does; do not wait."""
        if self.refused or (processes.count == 1 and self.failed):
            self.refused = False
            self.wait(processes)

    def ask_for_space(self, trainer: Trainer, samples: int) -> None:
        """Say once, before the first step, if the disk may become full; samples take so many bytes."""
        if self._asked or not trainer.holding.writes:
            return
        self._asked = True
        groups = state_of(trainer)
        parameters = [parameter for player in trainer.players.values() for parameter in player.parameters]
        moments = 0 if groups["optimizer"] else 2 * sum(parameter.nbytes for parameter in parameters)
        checkpoint = bytes_of(groups.values()) + moments
        existing = len(all_in(trainer.folder / "checkpoints"))
        warning = tight(trainer.folder, checkpoint, existing, samples)
        if warning is not None:
            trainer.progress.say(f"warning: {warning}")

    def save(self, trainer: Trainer, beside: bool = False) -> None:
        """Write a checkpoint of the present step, whose weights are known to be finite.

        ``beside``: training may go on while it is written. An error is then raised by `check` or `wait`.

        Raises:
            CheckpointError: If the disk refuses this one, or has refused the one before; earlier checkpoints stay.
        """
        self.wait(trainer.processes)
        tensors = state_of(trainer)
        if trainer.holding.writes or trainer.processes.sharded:
            beside = beside and self.beside and self.step >= 0 and _fits(tensors, trainer.processes)
            self._write(trainer, _copied(tensors, trainer.processes.sharded) if beside else tensors, beside)
        self._before = self.step, self._seconds
        self.step, self._seconds = trainer.clock.step, trainer.clock.seconds

    def _write(self, trainer: Trainer, tensors: dict[str, dict[str, Tensor]], beside: bool) -> None:
        where, stay = trainer.folder / "checkpoints", held(trainer.observers, trainer.method)
        try:
            if trainer.holding.writes:
                trainer.journal.settle()
                trainer.journal.sync()
            options: dict[str, Any] = {"after": self.step, "held": stay}
            step, state = trainer.clock.step, self._state(trainer)
            work = partial(checkpoints.save, where, step, tensors, state, **options)
            if trainer.processes.sharded:
                path, channel = where / checkpoints.step_name(step), trainer.processes.saving
                work = partial(shards.save, channel, path, tensors, state, **options)
            if beside:
                self._writer.start(work)
            else:
                work()
        except CheckpointError as error:
            if self.step >= 0:
                raise
            raise CheckpointError(
                f"{error} Nothing has been saved of this run yet; once there is space, start it: "
                f"pushforward resume {trainer.folder}"
            ) from error

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
            **({} if self.weights_step is None else {"weights_step": self.weights_step}),
            **trainer.store.state(),
            **trainer.recovery.state(),
        }

    def restore(self, trainer: Trainer, stored: Path | checkpoints.Checkpoint) -> None:
        """Take up a checkpoint, or the one in a folder: weights, averages, optimisers and counters.

        Later rows of the log are dropped, with the next save where this is not the newest checkpoint; observers read the others.
        """
        self.wait(trainer.processes)
        stored = stored_for(trainer.processes, stored, trainer.device) if isinstance(stored, Path) else stored
        take_up(trainer, stored)
        state = stored.state
        same = asdict(trainer.budget) == state.get("budget", trainer.content["budget"])
        trainer.clock.budget = trainer.store.restore(state, trainer.budget)
        trainer.clock.restore(state, stages_of(trainer.folder, state) if same else [])
        self.peak = int(2**20 * (state.get("peak_memory_mb") or 0))
        self.step, self._seconds, self.weights_step = state["step"], state["seconds"], state.get("weights_step")
        self._before = self.step, self._seconds
        trainer.recovery.restore(trainer, state)
        trainer.threads.resume(self.step)
        rows = trainer.journal.cut(state["step"], wait=checkpoints.latest(stored.folder.parent) != stored.folder)
        for row in rows:
            trainer.clock.mark(row["step"], row.get("seconds", 0.0))
        where = {"the step and the seconds of training to go on from": [trainer.clock.step, trainer.clock.seconds]}
        trainer.processes.compare(where)
        if (warning := trainer.journal.lost(rows, state["step"])) is not None:
            trainer.progress.say(f"warning: {warning}")


def _fits(tensors: Mapping[str, Mapping[str, Tensor]], processes: Processes) -> bool:
    """Whether memory has space for a copy of a state: that of each process where all write."""
    memory = free_memory()
    fits = memory is None or bytes_of(tensors.values()) <= SHARE * memory
    return not processes.agreed(not fits) if processes.sharded else fits


def _copied(tensors: Mapping[str, Mapping[str, Tensor]], sharded: bool) -> dict[str, dict[str, Tensor]]:
    return shards.copied(tensors) if sharded else {name: copied(group) for name, group in tensors.items()}
