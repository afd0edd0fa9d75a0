"""The training loop: one for every method."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward import spec
from pushforward.data import Batch, Dataset
from pushforward.data.images.image_store import Streamed
from pushforward.denoisers.precision import network_precision, resolve_precision
from pushforward.errors import DataError, Diverged
from pushforward.plugins import plugin_options
from pushforward.recipes.recipe import Recipe
from pushforward.training.checkpoint import Checkpoint
from pushforward.training.checkpoint.saver import Saver, go_back
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.budget import Budget, Clock
from pushforward.training.loop.callbacks import Moment, Observer, decide, due_at, ended, held, measures, passed
from pushforward.training.loop.memory import in_step, reset_peak, synchronize
from pushforward.training.loop.model_setup import check_fit, placed
from pushforward.training.loop.nonfinite import not_finite, players_in, seems_finite
from pushforward.training.loop.progress import Silent, Watcher
from pushforward.training.loop.threads import Threads, threads_kept
from pushforward.training.loop.time_budget import write_stages
from pushforward.training.loop.torch_generators import generators_kept
from pushforward.training.monitor.standard_callbacks import usual
from pushforward.training.monitor.tracking import beside
from pushforward.training.options import Settings, started_with
from pushforward.training.runs.folder import claimed
from pushforward.training.runs.frozen_modules import read_parts
from pushforward.training.runs.log import Journal, Problem
from pushforward.training.runs.precompute import Store, sampler_of
from pushforward.training.runs.provenance import with_ancestors
from pushforward.training.runs.run_lock import Holding
from pushforward.training.runs.spec import begin

ADVICE = "Try a lower `lr`, `precision=float32`, or check the data with `pushforward data check`."


class Trainer:
    """A training that can be advanced in turns, stopped between steps and taken up again.

    It holds its folder's lock until it has ended, raised an error, been closed or been deleted. It computes steps (`Step`), saves
    and restores; everything else that happens while it trains is an `Observer`, which can only read.

    Args:
        recipe: The method and its settings.
        data: Of the training.
        budget: When it ends.
        out: The run's folder, which must not exist; or a folder that is held already.
        settings: Of the training.
        progress: The progress display.
        observers: Who looks at it; None takes those of every training.
        processes: The processes that train it together.

    Raises:
        UsageError: For a method of another space, or settings that do not fit each other.
        CheckpointError: If another training holds the folder, or the disk refuses.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        budget: Budget,
        *,
        out: Path | Holding,
        settings: Settings | None = None,
        progress: Watcher | None = None,
        observers: Sequence[Observer] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.settings, self.processes = settings or Settings(), processes or Processes()
        check_fit(recipe, data, budget, self.settings.checkpoint_every, self.processes.count)
        content = out.content if isinstance(out, Holding) else None
        self.recipe = recipe if content is not None else with_ancestors(recipe)
        self.data, self.budget, self.progress = data, budget, progress or Silent()
        self.training, self.device = recipe.training, torch.device(self.settings.device)
        self.precision = resolve_precision(self.training.precision, self.device)
        self.clock, self.stop = Clock(budget, self.training.batch), 0
        self.saver = Saver()
        method = spec.describe(recipe.method)  # sharding changes the modules' classes
        here = placed(recipe, data, self.settings, self.processes)
        self.method, self.players, self.average, self._step, self._moving = here
        self.holding = out if isinstance(out, Holding) else claimed(out, data.name, self.recipe.name, self.processes.rank == 0)
        self.folder, writes = self.holding.folder, self.holding.writes
        self.threads = Threads(self.folder, self.device, writes, alone=self.processes.count == 1)
        players, trackers = self.players, self.settings.trackers if writes else ()
        usually = usual(self.folder, data, self.training.batch, self.progress) if observers is None else observers
        self.observers = beside(usually, self.folder, trackers, lambda: {name: each.rate for name, each in players.items()})
        self.journal = Journal(self.folder / "metrics.jsonl", self.observers, writes)
        if content is not None:
            read_parts(self.folder, content, self.method, self.device)
        self.sampler = sampler_of(self.method, data, self.training.batch, settings=self.settings, folder=self.folder, keep=writes)
        self.store = Store(self.method, self.folder, writes, self.precision, self.processes)
        self.clock.budget = budget.after(self.store.seconds)
        self.processes.compare({"data": data.fingerprint} | started_with(self.recipe, self.settings, method))
        self.content = content or self.processes.first(begin(self.holding, self.recipe, data, budget, self.settings, method))

    @property
    def samples(self) -> int:
        """Training examples drawn so far."""
        return self.clock.step * self.training.batch

    @property
    def saved(self) -> bool:
        """Whether the run has a checkpoint."""
        return self.saver.step >= 0

    @property
    def done(self) -> bool:
        """Whether the budget is used up, or training has `ended` by itself."""
        return self.clock.done or self.ended is not None

    @property
    def ended(self) -> str | None:
        """Why training has ended before its budget was used up, such as lost variety; None where it has not."""
        return ended(self.observers)

    def advance(self, seconds: float = math.inf) -> None:
        """Train until it is `done`, `stop` is set, or about ``seconds`` have gone into steps; then return.

        `stop` is the number of a signal, or any other but 0; what it is in one process it is in all after the next step.

        A new run is saved before its first step, so that it can be resumed whenever it is killed. So is the step at which the
        number of steps of a budget in seconds is fixed. torch's generators are left as they were found.

        Raises:
            Diverged: If three steps in a row were skipped, more than ten of the last 1,000, a weight is not finite, or the logit
                gap ran away; the last checkpoint stays.
            OutOfMemory: If memory does not suffice for a step.
            CheckpointError: If the disk refuses, or another training has taken the folder since this one was closed.
        """
        try:
            with self.processes.phase("training"), threads_kept():
                self._advance(seconds)
        except BaseException as error:
            self.close("failed" if isinstance(error, Exception) else "stopped")
            raise

    def _advance(self, seconds: float) -> None:
        self.holding.reopen()
        if not self.saved:
            self.save()  # a kill before the first step loses nothing
        self.clock.budget = self.store.completed(self.folder.name, self.budget, self.progress, self._stopping)
        reset_peak(self.device)
        until, stopping = self.clock.seconds + seconds, self._stopping()
        with generators_kept(self.device):
            while not (self.done or stopping or self.clock.seconds >= until):
                stopping = self._advance_once()
            self.saver.note_memory(self.device)
            if self.done or stopping:
                self.finish()
            self.saver.wait(self.processes)

    def _stopping(self) -> bool:
        return self.processes.agreed(bool(self.stop))

    def _advance_once(self) -> bool:
        """Make a step with all that belongs to it; returns whether training stops here."""
        self.saver.check(self.processes)
        before = self.clock.progress
        self.threads.before(self.clock.step)
        started = time.perf_counter()
        losses, health = self.step()
        synchronize(self.device)
        seconds = time.perf_counter() - started
        seconds, stop, self.saver.refused = self.processes.together(seconds, self.stop, self.saver.failed)
        self.stop = stop or self.stop
        self.threads.after(self.clock.step, seconds)
        stage = self.clock.tick(seconds)
        moment = self._moment(before)
        at = {"step": self.clock.step, "samples": self.samples, "seconds": self.clock.seconds}
        self.journal.add(at, losses, health | self._looks(moment, late=False))
        if self.journal.full or players_in(health) or decide(self.observers, moment):
            self._flush()
        self.progress(self.folder.name, self.clock, self.samples, self.journal.losses)
        if stage is not None and self.holding.writes:
            write_stages(self.folder, self.clock.stages)
        self._save_if_due(first_stage=self.clock.stages == [stage], stop=bool(stop))
        self._looks(moment, late=True)
        return bool(self.stop if self.processes.count == 1 else stop)

    def _moment(self, before: float) -> Moment:
        now = self.clock.step, before, self.clock.progress
        return Moment(self.folder, *now, self.method, self.average.method, self.data, self.holding.writes)

    def _save_if_due(self, first_stage: bool, stop: bool) -> None:
        """Save where it is due, or the step is to stay; or go back to the last good weights, where training has ended."""
        stays = self.clock.step in held(self.observers, self.method)
        good = passed(self.observers) == self.clock.step
        if self.ended is not None:
            self.saver.wait(self.processes)
            go_back(self)
        elif good or ((first_stage or stays or self.saver.due(self)) and self._sound()):
            self.saver.note_memory(self.device)
            self.save(beside=not (good or stays or self.done or stop))

    def step(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Compute one step only: the losses of the players, and the method's notes.

        Raises:
            OutOfMemory, DataError: If memory does not suffice, or data cannot be read any more.
            Diverged: If a weight is not finite after it; the average does not follow.
        """
        with network_precision(self.precision), in_step(self.clock.step + 1):
            losses, health = self._step(self._batch(), self.clock)
            if self._step.moved:
                # several processes look where they save, together
                if self.processes.count == 1 and not seems_finite(self._moving):
                    self._check_weights(self.clock.step + 1)
                self.average.update(self.samples + self.training.batch, self.training.batch)
        return losses, health

    def _batch(self) -> Batch:
        """The examples of the next step that this process computes; where data cannot be read, the steps before are saved."""
        batch, words = None, None
        try:
            batch = self.sampler.batch(self.clock.step // self.method.reuse, self.device, self._step.index)
        except DataError as error:
            words = str(error)
        if isinstance(self.data.train.x, Streamed):  # no other data are read in a step
            words = self.processes.failure(words)
        if words is None and batch is not None:
            return batch
        self.finish()
        again = f"pushforward resume {shlex.quote(str(self.folder))}{plugin_options(self.content)}"
        raise DataError(f"{words} Step {self.saver.step:,} is saved. Once the data is restored, go on: {again}")

    def _looks(self, moment: Moment, late: bool) -> dict[str, Any]:
        due = due_at(self.observers, moment, late)
        if due and late:
            self._flush()
            self._check_weights(self.clock.step)
        return measures(due, moment, None if late else self.processes)

    def finish(self) -> None:
        """Write what is held, save the present step if that has not been done, and give the folder back (`close`)."""
        try:
            self.saver.wait(self.processes)
            if self.journal.held or self.saver.step != self.clock.step:
                self.holding.reopen()
                self._flush()
                if self.saver.step != self.clock.step:
                    self.save()
        except BaseException:
            self.close("failed")
            raise
        self.close()

    def close(self, status: str | None = None) -> None:
        """Give the folder's lock back once nothing is being written; nothing more is saved. `advance` takes it again.

        Args:
            status: What trackers receive: "finished", "stopped" or "failed"; None goes by whether training is `done`.
        """
        self.saver.close(self)
        for observer in self.observers:
            observer.close(status or ("finished" if self.done else "stopped"))
        self.holding.close()

    def _flush(self) -> None:
        if (problem := self.journal.flush(self.done)) is not None:
            raise self._diverged(problem)

    def _diverged(self, problem: Problem) -> Diverged:
        self.saver.join()
        last_saved = f"; {self.folder}/checkpoints keeps step {self.saver.step}" if self.saved else ""
        return Diverged(f"{problem.what}{last_saved}. {problem.advice or ADVICE}", problem.step, problem.what)

    def _sound(self) -> bool:
        """Whether the present weights may take the place of earlier ones: not after a skipped step, nor while a gap runs away."""
        self._flush()
        return self.journal.skips.last != self.clock.step and not any(observer.suspect for observer in self.observers)

    def _check_weights(self, step: int) -> None:
        """An update may leave the range of numbers where loss and gradient do not; processes that hold shares agree."""
        name = not_finite({"weights": self.method, "averaged weights": self.average.method})
        if self.processes.agreed(name is not None):
            raise self._diverged(Problem(f"The {name or 'weights'} are not finite after step {step}", step=step))

    def save(self, beside: bool = False) -> None:
        """Write a checkpoint of the present step; ``beside``: training may go on meanwhile, and a later step raises its error.

        Raises:
            Diverged: As `advance`; earlier checkpoints stay.
            CheckpointError: If the disk refuses.
        """
        with self.processes.phase("saving a checkpoint"):
            self.holding.reopen()
            self._flush()
            self._check_weights(self.clock.step)
            self.saver.save(self, beside)

    def restore(self, stored: Path | Checkpoint) -> None:
        """Take up a checkpoint, or the one in a folder; see `Saver.restore`."""
        with self.processes.phase("reading a checkpoint"):
            self.saver.restore(self, stored)
