"""What a checkpoint holds, and when a training saves one."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import CheckpointError
from pushforward.training.checkpoint import storage
from pushforward.training.checkpoint.storage import (
    FORMAT,
    bytes_of,
    latest,
    read_state,
    step_name,
    step_of,
    write_latest,
)
from pushforward.training.checkpoint.tensors import (
    Checkpoint,
    copied_shards,
    has_shards,
    load,
    restore,
    restore_shards,
    save_shards,
)
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.callbacks import kept_steps, passed
from pushforward.training.loop.machine import free_memory
from pushforward.training.runs.run import digest

CHECKPOINT_SECONDS = 120.0
"""Training seconds between checkpoints if ``checkpoint_every`` is not given; at most a quarter of a budget in seconds."""
SHARE = 0.5
"""Fraction of the available memory that a copy of the state may take. A larger state is written while training waits."""

_writing: weakref.WeakSet[Future[None]] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):  # a process is not forked in the middle of a save
    os.register_at_fork(before=lambda: wait_for(list(_writing)))


def beside(work: Callable[[], Any]) -> Future[None]:
    """Run work in a separate thread; the future holds its error."""
    thread = ThreadPoolExecutor(1, "pushforward-save")
    future = thread.submit(work)
    _writing.add(future)
    thread.shutdown(wait=False)
    return future


class Saver:
    """Writer and reader of the checkpoints of one trainer, which calls it between steps.

    A state is copied, and the copy is written beside the next steps; at most one is being written at a time. It holds no trainer:
    a trainer gives its folder back when it is deleted.

    Attributes:
        step: Step of the newest checkpoint, which may still be written; -1 if there is none.
        beside: Whether checkpoints are written during the next steps if nothing waits for them.
        refused: Whether any process had failed to write such a checkpoint at the last
            synchronisation.
        weights_step: Step of the weights if training ended with earlier weights (`go_back`);
            otherwise None.
    """

    def __init__(self) -> None:
        self.step = -1
        self._seconds = 0.0
        self.beside = True
        self.refused = False
        self._before = self.step, self._seconds
        self.weights_step: int | None = None
        self._written: Future[None] | None = None

    def due(self, trainer: Any) -> bool:
        every = trainer.settings.checkpoint_every
        clock = trainer.clock
        limit = trainer.clock.budget.seconds
        if every is not None:
            return bool(clock.step % every == 0)
        return bool(
            clock.seconds - self._seconds
            >= min(CHECKPOINT_SECONDS, math.inf if limit is None else limit / 4)
        )

    def join(self) -> BaseException | None:
        """Wait until nothing is being written; its error, which stays for `wait`."""
        error = None if self._written is None else self._written.exception()
        if error is not None:
            self.step, self._seconds = self._before
        return error

    def close(self, trainer: Any) -> None:
        """Wait for pending writes. Report an error as a warning, because no later call of `wait` may raise it."""
        if (error := self.join()) is not None:
            trainer.progress.say(f"warning: {error}")
        self._written = None

    def wait(self, processes: Processes) -> None:
        """Wait until the newest checkpoint is written; every process must call this.

        Raises:
            CheckpointError: If the disk of any process has refused it; the one before stays.
        """
        error = self.join()
        self._written = None
        if (words := processes.failure(None if error is None else str(error))) is not None:
            self.step, self._seconds = self._before
            if error is not None and processes.count == 1:
                raise error
            raise CheckpointError(words) from error

    @property
    def failed(self) -> bool:
        """Return whether this process failed to write a checkpoint in the background, with the error not yet raised by `wait`."""
        return (
            self._written is not None
            and self._written.done()
            and self._written.exception() is not None
        )

    def check(self, processes: Processes) -> None:
        """Raise the error of a background checkpoint that could not be written, like `wait`, but without waiting."""
        if self.refused or (processes.count == 1 and self.failed):
            self.refused = False
            self.wait(processes)

    def save(self, trainer: Any, meanwhile: bool = False) -> None:
        """Write a checkpoint of the current step of a `Trainer` with finite weights.

        Args:
            trainer: The trainer.
            meanwhile: Whether training may go on while it is written. An error is then raised by `check` or `wait`.

        Raises:
            CheckpointError: If the disk refuses this one, or has refused the one before; earlier checkpoints stay.
        """
        processes = trainer.processes
        self.wait(processes)
        tensors = state_of(trainer)
        if trainer.holding.writes:
            trainer.journal.sync()
        if trainer.holding.writes or processes.sharded:
            meanwhile = meanwhile and self.beside and self.step >= 0
            if meanwhile:
                memory = free_memory()
                meanwhile = memory is None or bytes_of(tensors.values()) <= SHARE * memory
                if processes.sharded:
                    meanwhile = not processes.agreed(not meanwhile)
            if meanwhile:
                plain = torch.contiguous_format
                copy = lambda value: value.detach().to("cpu", copy=True, memory_format=plain)  # noqa: E731
                whole = {} if processes.sharded else tensors
                copies = {
                    group: {name: copy(value) for name, value in part.items()}
                    for group, part in whole.items()
                }
                tensors = copies or copied_shards(tensors)
            where = trainer.folder / "checkpoints"
            state = {
                "format_version": FORMAT,
                **trainer.clock.state(),
                "samples": trainer.samples,
                "budget": asdict(trainer.budget),
                "spec_sha256": digest(trainer.content),
                "precision": trainer.precision,
                "batch": trainer.training.batch,
                **({} if self.weights_step is None else {"weights_step": self.weights_step}),
                **trainer.store.state(),
            }
            options: dict[str, Any] = {
                "after": self.step,
                "held": kept_steps(trainer.observers, trainer.method),
            }
            work = partial(storage.save, where, trainer.clock.step, tensors, state, **options)
            if processes.sharded:
                work = partial(
                    save_shards,
                    processes.saving,
                    where / step_name(trainer.clock.step),
                    tensors,
                    state,
                    **options,
                )
            if meanwhile:
                self._written = beside(work)
            else:
                work()
        self._before = self.step, self._seconds
        self.step = trainer.clock.step
        self._seconds = trainer.clock.seconds

    def restore(self, trainer: Any, stored: Path | Checkpoint) -> None:
        """Restore weights, averages, optimisers and counters from a checkpoint, or from the one in a folder.

        It becomes the newest, and later rows of the log are dropped; observers read the others.
        """
        self.wait(trainer.processes)
        if isinstance(stored, Path):
            stored = stored_for(trainer.processes, stored, trainer.device)
        take_up(trainer, stored)
        state = stored.state
        inside = stored.folder.parent
        same = asdict(trainer.budget) == state.get("budget", trainer.content["budget"])
        trainer.clock.budget = trainer.store.restore(state, trainer.budget)
        trainer.clock.restore(state["step"], state["seconds"])
        limit = trainer.clock.budget.seconds
        if same and limit is not None and state["total"] == state["step"]:
            # earlier versions fixed the number of steps, and ended a little before the time
            trainer.clock.restore(state["step"], max(state["seconds"], limit))
        self.step, self._seconds, self.weights_step = (
            state["step"],
            state["seconds"],
            state.get("weights_step"),
        )
        self._before = self.step, self._seconds
        trainer.threads.resume(self.step)
        if trainer.holding.writes and latest(inside) != stored.folder:
            write_latest(inside, stored.folder.name)
        trainer.journal.cut(state["step"])
        where = {
            "the step and training seconds to resume from": [
                trainer.clock.step,
                trainer.clock.seconds,
            ]
        }
        trainer.processes.compare(where)


def state_of(trainer: Any) -> dict[str, dict[str, Tensor]]:
    """Return the weights, averages and optimisers of a trainer, sharded or whole."""
    optimizers = {
        name: value for player in trainer.players.values() for name, value in player.state().items()
    }
    return {
        "method": trainer.method.state_dict(),
        "average": trainer.average.state_dict(),
        "optimizer": optimizers,
    }


def stored_for(processes: Processes, folder: Path, device: torch.device) -> Checkpoint:
    """Verify and read a checkpoint for `take_up`; without tensors if each process reads its own shards then.

    Raises:
        CheckpointError: If it is damaged.
    """
    if not (processes.sharded and has_shards(folder)):
        return load(folder, device)
    # one process verifies all files
    return Checkpoint(
        folder, {}, dict(processes.first(read_state(folder) if processes.rank == 0 else None))
    )


def take_up(trainer: Any, stored: Checkpoint) -> None:
    """Restore the weights, averages and optimisers of a trainer from a checkpoint, but not its counters.

    Raises:
        CheckpointError: If they do not fit.
    """
    if not stored.tensors:
        restore_shards(trainer, stored.folder)
        return
    restore(trainer.method, stored.tensors["method"], stored.folder)
    restore(trainer.average.method, stored.weights(), stored.folder)
    for player in trainer.players.values():
        player.restore(stored.tensors["optimizer"])


def go_back(trainer: Any) -> None:
    """Restore the weights of the last good step, which are then saved as weights of the current step.

    If that checkpoint is gone, because an older one was resumed, the newest checkpoint is used.

    Raises:
        CheckpointError: If it is damaged.
    """
    inside = trainer.folder / "checkpoints"
    good = inside / step_name(passed(trainer.observers) or 0)
    where = good if good.is_dir() else latest(inside) or good
    take_up(trainer, stored_for(trainer.processes, where, trainer.device))
    trainer.saver.weights_step = step_of(where)
