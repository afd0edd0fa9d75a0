"""Training that goes on after a failure: back at its newest checkpoint, with half the learning rate or smaller parts of a batch.

A loss, gradient or weight that is not finite halves the rate, once in a training; memory that does not suffice splits batches
into more parts, as often as they can be split. The steps since the checkpoint are computed again.

``rollbacks.json`` in the run's folder is written before the steps are repeated, so that a run that is killed after that goes on
the same way. Checkpoints hold the rollbacks up to their step, and the row of the log of the first step after one has it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.draws import BLOCK
from pushforward.errors import CheckpointError, Diverged, OutOfMemory, UsageError
from pushforward.safe_files import read_json
from pushforward.training.budget import Clock
from pushforward.training.checkpoint.disk import write_json
from pushforward.training.checkpoint.integrity import step_name
from pushforward.training.failure import write_failure
from pushforward.training.skipping import DIVERGED, in_words
from pushforward.training.step import parts_of

if TYPE_CHECKING:
    from pushforward.methods.method import Method
    from pushforward.recipes.recipe import Training
    from pushforward.training.runs.log import Problem
    from pushforward.training.trainer import Trainer

__all__ = ["Recovery", "Rollback", "diverged", "failure_of"]

ADVICE = "Try a lower `lr`, `precision=float32`, or check the data with `pushforward data check`."
RATE = 0.5
"""The share of the learning rate with which a training goes on after something was not finite."""
MEMORY = "memory"
FORMAT, FILE = 1, "rollbacks.json"


@dataclass(frozen=True)
class Rollback:
    """A training went back to a checkpoint, and goes on from there with other settings.

    Args:
        cause: "diverged" for something that is not finite, "memory" for too little of that.
        step: The checkpoint's.
        at: The step that failed.
        rate: The share of the learning rate from here on.
        accumulate: The parts of a batch from here on, of all processes together.
        why: The failure, in words.
    """

    cause: str
    step: int
    at: int
    rate: float
    accumulate: int
    why: str

    def __post_init__(self) -> None:
        counts = all(isinstance(n, int) and n >= 0 for n in (self.step, self.at, self.accumulate - 1))
        if not counts or not isinstance(self.why, str) or self.cause not in (DIVERGED, MEMORY) or not 0 < self.rate <= 1:
            raise ValueError("no rollback")


def diverged(trainer: Trainer, problem: Problem) -> Diverged:
    """The error of a training that has diverged, with the step that stays."""
    trainer.saver.join()
    last_saved = f"; {trainer.folder}/checkpoints keeps step {trainer.saver.step}" if trainer.saved else ""
    return Diverged(f"{problem.what}{last_saved}. {problem.advice or ADVICE}", problem.step, problem.what)


def failure_of(trainer: Trainer, work: Callable[[], None]) -> Diverged | OutOfMemory | None:
    """Do some work of a trainer; the failure after which it may go back, without the tensors that the failed step held.

    Raises:
        Diverged: If the trainer has no checkpoint, or going back does not help.
        OutOfMemory: If the trainer has no checkpoint, or several processes would have to agree.
    """
    try:
        work()
    except (Diverged, OutOfMemory) as error:
        alone = isinstance(error, Diverged) or trainer.processes.count == 1
        if error.step is None or not trainer.saved or not alone:
            raise
        error.__context__ = None  # the allocator's error, whose traceback has the step's frames
        return error.with_traceback(None)
    return None


class Recovery:
    """The rollbacks of one training.

    Args:
        folder: The run's.
        writes: Whether this process writes the run's files.

    Attributes:
        rollbacks: Those up to the present step, in order.
        news: Those that the next row of the log has.
    """

    def __init__(self, folder: Path, writes: bool = True) -> None:
        self.path, self.writes = folder / FILE, writes
        self.rollbacks: list[Rollback] = []
        self.news: list[Rollback] = []
        self._recorded: tuple[list[Rollback], float] | None = None

    def state(self) -> dict[str, Any]:
        """Its state for checkpoints, JSON-ready; empty where there was no rollback."""
        return {"rollbacks": [asdict(rollback) for rollback in self.rollbacks]} if self.rollbacks else {}

    def row(self) -> dict[str, Any]:
        """What the next row of the log says of rollbacks."""
        news, self.news = self.news, []
        return {"rollback": [asdict(rollback) for rollback in news]} if news else {}

    def restore(self, trainer: Trainer, state: Mapping[str, Any]) -> None:
        """Take up the rollbacks of a checkpoint, and those to it that came later; the clock includes the steps given up.

        Raises:
            CheckpointError: If ``rollbacks.json`` or the checkpoint is damaged.
        """
        if self._recorded is None:
            self._recorded = _read(self.path)
        recorded, seconds = self._recorded
        before = _rollbacks(state.get("rollbacks", ()), self.path.parent / "checkpoints")
        self.news = []
        if recorded[: len(before)] == before:
            self.news = [rollback for rollback in recorded[len(before) :] if rollback.step == state["step"]]
        self.rollbacks = before + self.news
        if self.news:
            trainer.clock.seconds = max(trainer.clock.seconds, seconds)
        if self.rollbacks:
            trainer._step.change(self.rollbacks[-1].rate, _in_each_process(trainer, self.rollbacks))

    def through(self, trainer: Trainer, work: Callable[[], None]) -> None:
        """Do some work of a trainer, and do it again from its newest checkpoint after each failure that allows it."""
        while (error := failure_of(trainer, work)) is not None:
            self.go_back(trainer, error)
            del error

    def go_back(self, trainer: Trainer, error: Diverged | OutOfMemory) -> None:
        """Go back to the newest checkpoint after a failure, with settings that may avoid it.

        Raises:
            Diverged: If the rate was halved before; the failure's examples and statistics are in the run's folder.
            OutOfMemory: If batches cannot be split further.
            CheckpointError: If the checkpoint is damaged or the disk refuses.
        """
        assert error.step is not None
        trainer.saver.wait(trainer.processes)
        trainer.holding.reopen()
        trainer.journal.flush()
        where = write_failure(trainer, error)
        rate, accumulate = self._settings(trainer, error, where)
        cause = DIVERGED if isinstance(error, Diverged) else MEMORY
        parts = accumulate * trainer.processes.count
        step = trainer.processes.first(trainer.saver.step)  # where the disks of machines differ, so may what they hold newest
        rollback = Rollback(cause, step, error.step, rate, parts, error.what)
        self._record(trainer, rollback)
        for parameter in trainer.method.parameters():
            parameter.grad = None
        trainer.clock = Clock(trainer.budget, trainer.training.batch)
        trainer.observe()
        trainer.restore(trainer.folder / "checkpoints" / step_name(rollback.step))
        trainer.processes.agreed(True)  # so that no process goes on before all are back
        trainer.progress.say(f"{trainer.folder.name}: {in_words([{'rollback': [asdict(rollback)]}])}")

    def _settings(self, trainer: Trainer, error: Diverged | OutOfMemory, where: str) -> tuple[float, int]:
        """The share of the learning rate and the parts of a batch to go on with."""
        rate, accumulate = trainer._step.rate, trainer._step.training.accumulate
        if isinstance(error, OutOfMemory):
            return rate, _split_further(trainer, error, where)
        if (before := next((r for r in self.rollbacks if r.cause == DIVERGED), None)) is not None:
            again = f"It had gone back to step {before.step:,} with half the learning rate already. "
            raise Diverged(f"{error} {again}{where}", error.step, error.what) from None
        return rate * RATE, accumulate

    def _record(self, trainer: Trainer, rollback: Rollback) -> None:
        """Note it before its steps are repeated."""
        self._recorded = [*self.rollbacks, rollback], trainer.clock.seconds
        if not self.writes:
            return
        content = {"rollbacks": [asdict(each) for each in self._recorded[0]], "seconds": self._recorded[1]}
        write_json(self.path, {"format_version": FORMAT, **content})


def _split_further(trainer: Trainer, error: OutOfMemory, where: str) -> int:
    """Into how many parts a batch is split next: twice as many, or the next number into which it can be."""
    step = trainer._step
    present = step.training.accumulate
    with contextlib.suppress(UsageError):
        step.check_splits()
        if (further := _fitting(step.training, trainer.method, 2 * present)) is not None:
            return further
    tried = f"in {present} parts" if present > 1 else "at once"
    raise OutOfMemory(
        f"{error.what}; a batch of {step.training.batch:,} was computed {tried}, and it cannot be split further. Use a smaller "
        f"`batch`, `size=tiny`, or `precision=bfloat16`. {where}",
        error.step,
        error.what,
    ) from None


def _in_each_process(trainer: Trainer, rollbacks: list[Rollback]) -> int:
    """Into how many parts a process splits its share of a batch: the recipe's number, or as memory needed, as far as they fit."""
    own, processes = trainer.training, trainer.processes.count
    if all(rollback.cause != MEMORY for rollback in rollbacks):
        return own.accumulate
    least = max(own.accumulate, math.ceil(rollbacks[-1].accumulate / processes))
    return _fitting(own, trainer.method, least, processes) or own.accumulate


def _fitting(training: Training, method: Method, least: int, processes: int = 1) -> int | None:
    """The least number of parts, from ``least`` on, into which each process can split its share of a batch."""
    for accumulate in range(least, training.batch // (BLOCK * processes) + 1):
        with contextlib.suppress(UsageError):
            parts_of(dataclasses.replace(training, accumulate=accumulate), method, processes)
            return accumulate
    return None


def _read(path: Path) -> tuple[list[Rollback], float]:
    """The rollbacks that were noted, and the seconds of training at the last one."""
    if not path.is_file():
        return [], 0.0
    content = read_json(path)
    known = isinstance(content, dict) and isinstance(content.get("seconds"), int | float)
    return _rollbacks(content.get("rollbacks") if known else None, path), float(content["seconds"])


def _rollbacks(content: Any, where: Path) -> list[Rollback]:
    try:
        return [Rollback(**each) for each in content]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where} is damaged: it does not list how training went back. Restore it.") from error
