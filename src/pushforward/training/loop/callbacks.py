"""Observers of a training run, their requests, and how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch

from pushforward.data import Dataset
from pushforward.methods.method import Method
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.display import Watcher
from pushforward.training.loop.machine import generators_kept
from pushforward.training.loop.state import Clock, check_weights
from pushforward.training.loop.step import StepResult
from pushforward.training.runs.log import FLUSH, Journal, players_in


@dataclass(frozen=True)
class StateView:
    """Read-only state of a training run after a step.

    Args:
        folder: Run folder.
        step: Steps done.
        before: Fraction of the budget used before this step.
        progress: Fraction of the budget used now.
        method: Method with the current weights.
        average: Average of the weights, as used for sampling.
        data: Training data.
        writes: Whether this process writes files.
        elapsed: Seconds that this step took, 0 before the first one; None if nothing is trained.
    """

    folder: Path
    step: int
    before: float
    progress: float
    method: Method
    average: Method
    data: Dataset
    writes: bool = True
    elapsed: float | None = None


class Action(Enum):
    """What an observer may ask for; `CallbackRequest.number` in brackets."""

    CHECKPOINT = "keep the checkpoint of a step, and write it if this is the step [step]"
    WITHHOLD = "do not write a regular checkpoint of this step"
    STOP = "end training"
    RETURN = "restore the weights of an earlier checkpoint [step]"
    THREADS = "use this number of threads for the next step [number of threads]"


@dataclass(frozen=True)
class CallbackRequest:
    """Request of an observer, which the checkpointer or the loop carries out.

    Args:
        action: What is asked for.
        reason: Reason, in a sentence for users.
        number: Step or number of threads, if the action needs one.
    """

    action: Action
    reason: str
    number: int = 0


def numbers_in(requests: Iterable[CallbackRequest], action: Action) -> list[int]:
    """Return the numbers of all requests for an action."""
    return [request.number for request in requests if request.action is action]


class Observer:
    """Callback that observes training; it cannot change training, but request something.

    If several processes train together, requests must not depend on the process.

    Attributes:
        late: Whether to observe after the step is logged and all weights are known to be finite;
            measures are then not logged.
        decides: Whether measures may lead to a request, so that the log is read at once.
    """

    late: bool = False
    decides: bool = False

    def due(self, view: StateView) -> bool:
        """Return whether to observe after this step, depending only on step and budget."""
        return False

    def observe(self, view: StateView) -> Mapping[str, Any]:
        """Return measures by name for the log; called after the steps that are `due`."""
        return {}

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        """Read a row of the log, in order, and return additions to the row.

        Args:
            row: The row.
            again: Whether the row is read from the file because the run is resumed.
        """
        return {}

    def requests(self, view: StateView) -> Iterable[CallbackRequest]:
        """Return the present requests; called before the first step and after every step."""
        return ()

    def close(self, status: str) -> None:
        """Called when the trainer releases its folder, possibly several times.

        Args:
            status: "finished", "stopped" (training can go on) or "failed".
        """


@dataclass(eq=False)
class Callbacks:
    """The observers, the log and the progress display of a training run."""

    observers: Sequence[Observer]
    journal: Journal
    watcher: Watcher
    clock: Clock
    processes: Processes

    def after_step(
        self, view: StateView, result: StepResult, saving: bool
    ) -> list[CallbackRequest]:
        """Measure, log and show a step, and return the requests of all observers.

        With ``saving``, a checkpoint is due, so the log is written first.
        """
        clock = self.clock
        early = [each for each in self.observers if not each.late and each.due(view)]
        health = result.health | measures(early, view, self.processes)
        self.journal.add(clock.step, clock.samples, clock.seconds, result.losses, health)
        deciding = any(each.decides for each in early)
        if saving or deciding or len(self.journal.held) >= FLUSH or players_in(health):
            self.journal.flush(clock.done)
        self.watcher(view.folder.name, clock, clock.samples, self.journal.losses)
        late = [each for each in self.observers if each.late and each.due(view)]
        if late:
            self.journal.flush(clock.done)
            check_weights(clock.state, self.processes, clock.step)
            measures(late, view)
        requests = self.requests(view)
        if view.step in numbers_in(requests, Action.CHECKPOINT):
            self.journal.flush(clock.done)
        return requests

    def requests(self, view: StateView) -> list[CallbackRequest]:
        """Return the requests of all observers and of the log."""
        requests = [request for each in self.observers for request in each.requests(view)]
        if view.step and self.journal.skips.last == view.step:
            requests.append(CallbackRequest(Action.WITHHOLD, "the step was skipped"))
        return requests

    def close(self, status: str) -> None:
        for observer in self.observers:
            observer.close(status)


def measures(
    observers: Sequence[Observer], view: StateView, processes: Processes | None = None
) -> dict[str, Any]:
    """Collect the measures of observers at a step by name, without gradients."""
    if not observers:
        return {}
    measured: dict[str, Any] = {}
    device = next(view.method.parameters()).device
    with generators_kept(device), torch.no_grad():
        for observer in observers:
            measured |= observer.observe(view)
    if processes is None:
        return measured
    return processes.first(measured)
