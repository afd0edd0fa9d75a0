"""The policy of checkpoints: when, where and how a training run is saved."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait as wait_for
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import CheckpointError
from pushforward.training.checkpoint import storage
from pushforward.training.checkpoint.storage import (
    FORMAT,
    GROUPS,
    bytes_of,
    latest,
    step_name,
    step_of,
    write_latest,
)
from pushforward.training.checkpoint.tensors import Checkpoint, Groups, fitting, load, unsharded
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.callbacks import Action, CallbackRequest, numbers_in
from pushforward.training.loop.machine import free_memory
from pushforward.training.loop.state import Clock, TrainState, check_weights
from pushforward.training.runs.log import Journal

CHECKPOINT_SECONDS = 120.0
"""Training seconds between checkpoints if ``checkpoint_every`` is not given; at most a quarter of a
budget in seconds."""
SHARE = 0.5
"""Fraction of the available memory that a copy of the state may take. A larger state is written
while training waits."""

_writing: weakref.WeakSet[Future[None]] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):  # a process is not forked in the middle of a save
    os.register_at_fork(before=lambda: wait_for(list(_writing)))


def in_background(work: Callable[[], Any]) -> Future[None]:
    """Run work in a separate thread; the future holds its error."""
    thread = ThreadPoolExecutor(1, "pushforward-save")
    future = thread.submit(work)
    _writing.add(future)
    thread.shutdown(wait=False)
    return future


@dataclass(eq=False)
class Checkpointer:
    """Policy of checkpoints: decides when to save, and saves and restores; `storage.save` prunes.

    Regular checkpoints are copied and written during the next steps; the first, the last and
    requested ones are waited for.

    Args:
        folder: Folder of the checkpoints.
        writes: Whether this process writes files.
        every: Steps between checkpoints; None for `CHECKPOINT_SECONDS`.
        facts: Further entries of ``state.json``.
        journal: Log, which is flushed to disk before each checkpoint.

    Attributes:
        background: Whether regular checkpoints are written during the next steps.
        failed_anywhere: Whether a pending write has failed in any process.
        step: Step of the newest checkpoint; -1 if there is none.
        weights_step: Step of the weights after a return to earlier ones; otherwise None.
    """

    folder: Path
    clock: Clock
    processes: Processes
    writes: bool
    every: int | None
    facts: dict[str, Any]
    journal: Journal

    def __post_init__(self) -> None:
        self.step = -1
        self.background = True
        self.failed_anywhere = False
        self.weights_step: int | None = None
        self._seconds = 0.0
        self._before = (self.step, self._seconds)
        self._written: Future[None] | None = None

    def due(self) -> bool:
        """Return whether a regular checkpoint is due after the current step."""
        if self.every is not None:
            return self.clock.step % self.every == 0
        interval = CHECKPOINT_SECONDS
        if self.clock.budget.seconds is not None:
            interval = min(interval, self.clock.budget.seconds / 4)
        return self.clock.seconds - self._seconds >= interval

    def maybe_save(self, state: TrainState, requests: Iterable[CallbackRequest]) -> None:
        """Save if a checkpoint is due or requested, or return to an earlier one if requested."""
        requests = list(requests)
        returns = numbers_in(requests, Action.RETURN)
        if returns:
            self.go_back(state, returns[0])
        elif state.step in numbers_in(requests, Action.CHECKPOINT):
            self.save(state, requests)
        elif self.due() and not numbers_in(requests, Action.WITHHOLD):
            self.save(state, requests, background=not self.clock.done)

    def save(
        self, state: TrainState, requests: Iterable[CallbackRequest] = (), background: bool = False
    ) -> None:
        """Write a checkpoint of the current step; with ``background``, during the next steps.

        Raises:
            Diverged: If a weight is not finite; earlier checkpoints are kept.
            CheckpointError: If writing fails, now or for the checkpoint before.
        """
        with self.processes.phase("saving a checkpoint"):
            check_weights(state, self.processes, state.step)
            self.wait()
            tensors = self._gathered(state)
            if self.writes:
                self.journal.sync()
                kept = numbers_in(requests, Action.CHECKPOINT)
                self._write(tensors, kept, background and self.background and self.step >= 0)
            self._before = (self.step, self._seconds)
            self.step = state.step
            self._seconds = state.seconds

    def _gathered(self, state: TrainState) -> Groups:
        content = state.state_dict()
        if not self.processes.sharded:
            return {group: content[group] for group in GROUPS}
        gathered: dict[str, dict[str, Tensor]] = {}
        for group in GROUPS:
            gathered[group] = {}
            for name, tensor in content[group].items():
                value = unsharded(tensor.detach())
                if self.writes:
                    gathered[group][name] = value.to("cpu")
        return gathered

    def _write(self, tensors: Groups, kept: list[int], background: bool) -> None:
        if background:
            memory = free_memory()
            background = memory is None or bytes_of(tensors.values()) <= SHARE * memory
        if background:
            tensors = _copied(tensors)
        content = {
            "format_version": FORMAT,
            "step": self.clock.step,
            "seconds": self.clock.seconds,
            "total": self.clock.total,
            "samples": self.clock.samples,
            **self.facts,
        }
        if self.weights_step is not None:
            content["weights_step"] = self.weights_step
        work = partial(
            storage.save,
            self.folder,
            self.clock.step,
            tensors,
            content,
            previous=self.step,
            held=kept,
        )
        if background:
            self._written = in_background(work)
        else:
            work()

    def finish_write(self) -> BaseException | None:
        """Wait for a pending write and return its error, which stays for `wait`."""
        error = None if self._written is None else self._written.exception()
        if error is not None:
            self.step, self._seconds = self._before
        return error

    def close(self, say: Callable[[str], None]) -> None:
        """Wait for pending writes, and report an error as a warning."""
        error = self.finish_write()
        if error is not None:
            say(f"warning: {error}")
        self._written = None

    def wait(self) -> None:
        """Wait for a pending write and raise its error; all processes must call this."""
        error = self.finish_write()
        self._written = None
        words = self.processes.failure(None if error is None else str(error))
        if words is None:
            return
        self.step, self._seconds = self._before
        if error is not None and self.processes.count == 1:
            raise error
        raise CheckpointError(words) from error

    @property
    def write_failed(self) -> bool:
        """Return whether a pending write has failed in this process."""
        if self._written is None or not self._written.done():
            return False
        return self._written.exception() is not None

    def check_write(self) -> None:
        """Raise the error of a failed write, like `wait`, but without waiting."""
        if self.failed_anywhere or (self.processes.count == 1 and self.write_failed):
            self.failed_anywhere = False
            self.wait()

    def restore(self, state: TrainState, stored: Checkpoint) -> None:
        """Restore a checkpoint, which becomes the newest."""
        self.wait()
        with fitting(stored.folder):
            state.load_state_dict({**stored.state, **stored.tensors})
        self.step = state.step
        self._seconds = state.seconds
        self._before = (self.step, self._seconds)
        self.weights_step = stored.state.get("weights_step")
        if self.writes and latest(self.folder) != stored.folder:
            write_latest(self.folder, stored.folder.name)

    def go_back(self, state: TrainState, step: int) -> None:
        """Restore the weights of an earlier step, or of the newest checkpoint if it is gone."""
        self.wait()
        folder = self.folder / step_name(step)
        if not folder.is_dir():
            folder = latest(self.folder) or folder
        device = next(state.method.parameters()).device
        stored = load(folder, device)
        counters = {"step": state.step, "seconds": state.seconds}
        with fitting(folder):
            state.load_state_dict({**stored.tensors, **counters})
        self.weights_step = step_of(folder)

    @property
    def newest(self) -> str:
        """Return a sentence that names the newest checkpoint; empty if there is none."""
        if self.step < 0:
            return ""
        return f"In {self.folder}, step {self.step} is saved."


def _copied(tensors: Groups) -> Groups:
    copies: dict[str, dict[str, Tensor]] = {}
    for group, part in tensors.items():
        copies[group] = {}
        for name, tensor in part.items():
            copies[group][name] = tensor.detach().to(
                "cpu", copy=True, memory_format=torch.contiguous_format
            )
    return copies
