"""When and what a training saves: its checkpoints, from the state of its trainer."""

from __future__ import annotations

import contextlib
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
from pushforward.training.space import bytes_of, check_space, tight
from pushforward.training.stages import stages_of
from pushforward.training.tensors import copied
from pushforward.training.verifying import all_in

if TYPE_CHECKING:
    import torch
    from torch import Tensor

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
        weights_step: The step of the weights where training has ended with those of an earlier one (`go_back`); else None.
    """

    def __init__(self) -> None:
        self.step, self.peak, self._seconds, self.beside = -1, 0, 0.0, True
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

    def wait(self) -> None:
        """Wait until the newest checkpoint is written.

        Raises:
            CheckpointError: If the disk has refused it; the one before stays.
        """
        self.join()
        self._writer.wait()

    def check(self) -> None:
        """Raise the error of a checkpoint that could not be written beside the last steps, as `wait` does; do not wait."""
        if not self._writer.busy:
            self.wait()

    def ask_for_space(self, trainer: Trainer, samples: int) -> None:
        """Say once, before the first step, if the disk may become full.

        Args:
            trainer: The trainer.
            samples: Bytes of the samples that it writes.
        """
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

        Args:
            trainer: The trainer.
            beside: Whether training may go on while it is written. An error is then raised by `check` or `wait`.

        Raises:
            CheckpointError: If the disk refuses this one, or has refused the one before; earlier checkpoints stay.
        """
        self.wait()
        tensors = state_of(trainer)
        if trainer.holding.writes or trainer.processes.sharded:
            beside = beside and self.beside and self.step >= 0 and trainer.processes.count == 1 and _fits(tensors)
            self._write(trainer, {name: copied(group) for name, group in tensors.items()} if beside else tensors, beside)
        self._before = self.step, self._seconds
        self.step, self._seconds = trainer.clock.step, trainer.clock.seconds

    def _write(self, trainer: Trainer, tensors: dict[str, dict[str, Tensor]], beside: bool) -> None:
        where, stay = trainer.folder / "checkpoints", held(trainer.observers, trainer.method)
        try:
            if trainer.holding.writes:
                trainer.journal.settle()
                trainer.journal.sync()
            options: dict[str, Any] = {"after": self.step, "held": stay}
            if trainer.processes.sharded:
                self._write_shards(trainer, tensors, where / checkpoints.step_name(trainer.clock.step), options)
                return
            work = partial(checkpoints.save, where, trainer.clock.step, tensors, self._state(trainer), **options)
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

    def _write_shards(
        self, trainer: Trainer, tensors: dict[str, dict[str, Tensor]], where: Path, options: Mapping[str, Any]
    ) -> None:
        """Each process writes its part into one folder; the first one adds counters and hashes and makes it a checkpoint."""
        processes, writes = trainer.processes, trainer.holding.writes
        if writes:
            check_space(where, bytes_of(tensors.values()))
        with checkpoints.staged(where) if writes else contextlib.nullcontext(where) as temporary:
            shared = Path(processes.first(str(temporary)))
            written = processes.gathered(shards.fill(shared, tensors, processes.rank, processes.control))
            if writes:
                checkpoints.fill(shared, {}, self._state(trainer) | {"processes": processes.count})
                checkpoints.commit(shared, where, {name: entry for files in written for name, entry in files.items()})
        if writes:
            checkpoints.prune(where, **options)

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
        self.wait()
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


def _fits(tensors: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether memory has space for a copy of a state."""
    memory = free_memory()
    return memory is None or bytes_of(tensors.values()) <= SHARE * memory
