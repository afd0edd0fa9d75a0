"""The training loop: one for every method."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward import spec
from pushforward.data import Dataset
from pushforward.devices import laid_out
from pushforward.errors import Diverged
from pushforward.precision import network_precision, resolve_precision
from pushforward.recipes.recipe import Recipe
from pushforward.training.budget import Budget, Clock
from pushforward.training.checkpoint import Checkpoint
from pushforward.training.checks import check_fit, not_finite, seems_finite
from pushforward.training.ema import Average
from pushforward.training.generators import generators_kept
from pushforward.training.going_back import go_back
from pushforward.training.holding import Holding, begin, claimed
from pushforward.training.journal import Journal, Problem
from pushforward.training.lineage import with_ancestors
from pushforward.training.memory import in_step, reset_peak, synchronize
from pushforward.training.observers import bytes_of_samples, usual
from pushforward.training.observing import Moment, Observer, decide, ended, held, observing, passed
from pushforward.training.optimizers import players_of
from pushforward.training.parts import read_parts
from pushforward.training.preparing import sampler_of
from pushforward.training.processes import Processes
from pushforward.training.progress import Silent, Watcher
from pushforward.training.recovering import Recovery, failure_of
from pushforward.training.saving import Saver
from pushforward.training.settings import Settings
from pushforward.training.skipping import players_in
from pushforward.training.stages import write_stages
from pushforward.training.step import Step
from pushforward.training.storing import Store
from pushforward.training.tensors import local
from pushforward.training.threads import Threads, restoring
from pushforward.training.tracking import tracked

__all__ = ["Trainer"]

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
        self.clock, self.stop = Clock(budget, self.training.batch), False
        self.saver, self._looking = Saver(), observers
        method = spec.describe(recipe.method)  # sharding changes the modules' classes
        self._place()
        self.holding = out if isinstance(out, Holding) else claimed(out, data.name, self.recipe.name, self.processes.rank == 0)
        self.folder, writes = self.holding.folder, self.holding.writes
        self.threads = Threads(self.folder, self.device, writes)
        self.recovery, self._tracked = Recovery(self.folder, writes), tracked(self)
        self.observe()
        if content is not None:
            read_parts(self.folder, content, self.method, self.device)
        self.sampler = sampler_of(self.method, data, self.training.batch, settings=self.settings, folder=self.folder, keep=writes)
        self.store = Store(self.method, self.folder, writes, self.precision)
        self.clock.budget = budget.after(self.store.seconds)
        self.content = content or begin(self.holding, self.recipe, data, budget, self.settings, method)

    def _place(self) -> None:
        """Bring the method to its device and processes, with its players, its average and its step."""
        method = laid_out(self.recipe.method.to(self.device), self.data.space.memory_format).train()
        # sharded weights cannot be copied, so the average begins as a copy of the whole ones
        twin = copy.deepcopy(method) if self.processes.count > 1 else None
        self.method = self.processes.distribute(method)
        self.players = players_of(self.method, self.training)
        build = None if twin is None else lambda: self.processes.distribute(twin)
        self.average = Average(self.method, self.training.ema, self.training.ema_share, build)
        self._moving = [local(value) for value in self.method.state_dict().values() if value.is_floating_point()]
        self._step = Step(
            self.method, self.players, self.training, seed=self.settings.seed, device=self.device, processes=self.processes
        )

    def observe(self) -> None:
        """Begin the log, and what the observers know, anew."""
        usually = usual(self.folder, self.data, self.training.batch, self.progress) if self._looking is None else self._looking
        self.observers: tuple[Observer, ...] = (*usually, *self._tracked)
        self.journal = Journal(self.folder / "metrics.jsonl", self.observers, self.holding.writes)

    @property
    def samples(self) -> int:
        """Training samples so far."""
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

    @restoring
    def advance(self, seconds: float = math.inf) -> None:
        """Train until it is `done`, `stop` is set, or about ``seconds`` have gone into steps; then return.

        A new run is saved before its first step, so that it can be resumed whenever it is killed. So is the step at which the
        number of steps of a budget in seconds is fixed. torch's generators are left as they were found.

        Where three steps in a row were skipped, more than ten of the last 1,000, or a weight is not finite, training goes back
        to the newest checkpoint, once, and on with half the learning rate; where memory does not suffice, with smaller parts of
        batches.

        Raises:
            Diverged: If that happens again, or the logit gap ran away; the last checkpoint stays.
            OutOfMemory: If a batch cannot be split further.
            CheckpointError: If the disk refuses, or another training has taken the folder since this one was closed.
        """
        try:
            self.holding.reopen()
            self.saver.ask_for_space(self, bytes_of_samples(self.data))
            if not self.saved:
                self.save()
            self.clock.budget = self.store.completed(self.folder.name, self.budget, self.progress, lambda: self.stop)
            reset_peak(self.device)
            until = self.clock.seconds + seconds
            with generators_kept(self.device):
                while (error := failure_of(self, partial(self._advance_until, until))) is not None:
                    self.recovery.go_back(self, error)
            self.saver.wait()
        except BaseException as error:
            self.close("failed" if isinstance(error, Exception) else "stopped")
            raise

    def _advance_until(self, until: float) -> None:
        while not (self.done or self.stop or self.clock.seconds >= until):
            self._advance_once()
        self.saver.note_memory(self.device)
        if self.done or self.stop:
            self.finish()

    def _advance_once(self) -> None:
        self.saver.check()
        before = self.clock.progress
        self.threads.before(self.clock.step)
        started = time.perf_counter()
        losses, health = self.step()
        synchronize(self.device)
        seconds = time.perf_counter() - started
        self.threads.after(self.clock.step, seconds)
        stage = self.clock.tick(seconds)
        now = self.clock.step, before, self.clock.progress
        moment = Moment(self.folder, *now, self.method, self.average.method, self.data, self.holding.writes)
        at = {"step": self.clock.step, "samples": self.samples, "seconds": self.clock.seconds, **self.recovery.row()}
        self.journal.add(at, losses, health | self._looks(moment, late=False))
        if self.journal.full or players_in(health) or decide(self.observers, moment):
            self._flush()
        self.progress(self.folder.name, self.clock, self.samples, self.journal.losses)
        if stage is not None:
            write_stages(self.folder, self.clock.stages)
        due = self.processes.agreed(self.saver.due(self) or self.clock.stages == [stage])
        stays = self.clock.step in held(self.observers, self.method)
        good = passed(self.observers) == self.clock.step
        if self.ended is not None:
            self.saver.wait()
            go_back(self)
        elif good or ((due or stays) and self._sound()):
            self.saver.note_memory(self.device)
            self.save(beside=not (good or stays or self.done or self.stop))
        self._looks(moment, late=True)

    def step(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Compute one step only: the losses of the players, and the method's notes.

        Raises:
            OutOfMemory: If memory does not suffice.
            Diverged: If a weight is not finite after it; the average does not follow.
        """
        with network_precision(self.precision), in_step(self.clock.step + 1):
            batch = self.sampler.batch(self.clock.step // self.method.reuse, self.device, self._step.index)
            losses, health = self._step(batch, self.clock)
            if self._step.moved:
                self._check_moved()
                self.average.update(self.samples + self.training.batch, self.training.batch)
        return losses, health

    def _check_moved(self) -> None:
        # several processes look where they save, together
        if self.processes.count == 1 and not seems_finite(self._moving):
            self._check_weights(self.clock.step + 1)

    def _looks(self, moment: Moment, late: bool) -> dict[str, Any]:
        """The measures of the observers that are due, early or late."""
        due = [observer for observer in self.observers if observer.late == late and observer.due(moment)]
        if not due:
            return {}
        if late:
            self._flush()
            self._check_weights(self.clock.step)
        with observing(moment.method, moment.average):
            return {name: value for observer in due for name, value in observer.look(moment).items()}

    def finish(self) -> None:
        """Write what is held, save the present step if that has not been done, and give the folder back (`close`)."""
        status: str | None = "failed"
        try:
            self.saver.wait()
            if self.journal.held or self.saver.step != self.clock.step:
                self.holding.reopen()
                self._flush()
                if self.saver.step != self.clock.step:
                    self.save()
            status = None
        finally:
            self.close(status)

    def close(self, status: str | None = None) -> None:
        """Give the folder's lock back once nothing is being written; nothing more is saved. `advance` takes it again.

        Args:
            status: What trackers are told: "finished", "stopped" or "failed"; None goes by whether training is `done`.
        """
        self.saver.join()
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
        skipped = self.journal.skips.last == self.clock.step
        return not (skipped or any(observer.suspect for observer in self.observers))

    def _check_weights(self, step: int) -> None:
        """An update may leave the range of numbers where loss and gradient do not; processes that hold shares agree."""
        name = not_finite({"weights": self.method, "averaged weights": self.average.method})
        if self.processes.agreed(name is not None):
            raise self._diverged(Problem(f"The {name or 'weights'} are not finite after step {step}", step=step))

    def save(self, beside: bool = False) -> None:
        """Write a checkpoint of the present step.

        Args:
            beside: Whether training may go on while it is written; an error is then raised at a later step.

        Raises:
            Diverged: As `advance`; earlier checkpoints stay.
            CheckpointError: If the disk refuses.
        """
        self.holding.reopen()
        self._flush()
        self._check_weights(self.clock.step)
        self.saver.save(self, beside)

    def restore(self, stored: Path | Checkpoint) -> None:
        """Take up a checkpoint: weights, averages, optimisers and counters.

        Later rows of the log are dropped, with the next save where this is not the newest checkpoint; observers read the others.
        """
        self.saver.restore(self, stored)
