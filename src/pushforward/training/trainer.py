"""The training loop: one for every method."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
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
from pushforward.training.checks import check_fit, not_finite
from pushforward.training.ema import Average
from pushforward.training.generators import generators_kept
from pushforward.training.going_back import go_back
from pushforward.training.holding import Holding, begin, claimed
from pushforward.training.journal import Journal
from pushforward.training.lineage import with_ancestors
from pushforward.training.memory import reset_peak, synchronize
from pushforward.training.observers import bytes_of_samples, usual
from pushforward.training.observing import Moment, Observer, decide, ended, held, observing, passed
from pushforward.training.optimizers import players_of
from pushforward.training.parts import read_parts
from pushforward.training.preparing import sampler_of
from pushforward.training.processes import Processes
from pushforward.training.progress import Silent, Watcher
from pushforward.training.saving import Saver
from pushforward.training.settings import Settings, started_with
from pushforward.training.stages import write_stages
from pushforward.training.step import Step
from pushforward.training.storing import Store
from pushforward.training.threads import Threads, restoring

__all__ = ["Trainer"]

ALIKE = 1000
"""Steps after which several processes compare their weights, bit by bit."""
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
        self._place()
        self.holding = out if isinstance(out, Holding) else claimed(out, data.name, self.recipe.name, self.processes.rank == 0)
        self.folder, writes = self.holding.folder, self.holding.writes
        self.threads = Threads(self.folder, self.device, writes, alone=self.processes.count == 1)
        self.observers = usual(self.folder, data, self.training.batch, self.progress) if observers is None else tuple(observers)
        self.journal = Journal(self.folder / "metrics.jsonl", self.observers, writes)
        if content is not None:
            read_parts(self.folder, content, self.method, self.device)
        self.sampler = sampler_of(self.method, data, self.training.batch, settings=self.settings, folder=self.folder, keep=writes)
        self.store = Store(self.method, self.folder, writes, self.precision)
        self.clock.budget = budget.after(self.store.seconds)
        self.processes.compare({"data": data.fingerprint} | started_with(self.recipe, self.settings, method))
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
        self._step = Step(
            self.method, self.players, self.training, seed=self.settings.seed, device=self.device, processes=self.processes
        )

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

        `stop` is the number of a signal, or any other but 0; what it is in one process it is in all after the next step.

        A new run is saved before its first step, so that it can be resumed whenever it is killed. So is the step at which the
        number of steps of a budget in seconds is fixed. torch's generators are left as they were found.

        Raises:
            Diverged: If many steps were skipped, a weight is not finite, or the logit gap ran away; the last checkpoint stays.
            CheckpointError: If the disk refuses, or another training has taken the folder since this one was closed.
        """
        try:
            with self.processes.phase("training"):
                self._advance(seconds)
        except BaseException:
            self.close()
            raise

    def _advance(self, seconds: float) -> None:
        self.holding.reopen()
        self.saver.ask_for_space(self, bytes_of_samples(self.data))
        if not self.saved:
            self.save()
        stopped = lambda: self.processes.agreed(bool(self.stop))  # noqa: E731
        self.clock.budget = self.store.completed(self.folder.name, self.budget, self.progress, stopped)
        reset_peak(self.device)
        until, stopping = self.clock.seconds + seconds, stopped()
        with generators_kept(self.device):
            while not (self.done or stopping or self.clock.seconds >= until):
                stopping = self._advance_once()
        self.saver.note_memory(self.device)
        if self.done or stopping:
            self.finish()
        self.saver.wait()

    def _advance_once(self) -> bool:
        """Make a step with all that belongs to it; returns whether training stops here."""
        self.saver.check()
        before = self.clock.progress
        self.threads.before(self.clock.step)
        started = time.perf_counter()
        losses, health = self.step()
        synchronize(self.device)
        seconds, stop = self.processes.together(time.perf_counter() - started, self.stop)
        if stop:
            self.stop = stop
        self.threads.after(self.clock.step, seconds)
        stage = self.clock.tick(seconds)
        now = self.clock.step, before, self.clock.progress
        moment = Moment(self.folder, *now, self.method, self.average.method, self.data, self.holding.writes)
        at = {"step": self.clock.step, "samples": self.samples, "seconds": self.clock.seconds}
        self.journal.add(at, losses, health | self._looks(moment, late=False))
        if self.journal.full or decide(self.observers, moment):
            self._flush()
        self.progress(self.folder.name, self.clock, self.samples, self.journal.losses)
        if stage is not None and self.holding.writes:
            write_stages(self.folder, self.clock.stages)
        if self.clock.step % ALIKE == 0:
            self.processes.check_equal(list(self.method.state_dict().values()), self.clock.step)
        due = self.saver.due(self) or self.clock.stages == [stage]
        stays = self.clock.step in held(self.observers, self.method)
        good = passed(self.observers) == self.clock.step
        if self.ended is not None:
            self.saver.wait()
            go_back(self)
        elif good or ((due or stays) and self._sound()):
            self.saver.note_memory(self.device)
            self.save(beside=not (good or stays or self.done or self.stop))
        self._looks(moment, late=True)
        return bool(self.stop if self.processes.count == 1 else stop)

    def step(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Compute one step only: the losses of the players, and the method's notes."""
        with network_precision(self.precision):
            batch = self.sampler.batch(self.clock.step // self.method.reuse, self.device, self._step.index)
            losses, health = self._step(batch, self.clock)
        if self._step.moved:
            self.average.update(self.samples + self.training.batch, self.training.batch)
        return losses, health

    def _looks(self, moment: Moment, late: bool) -> dict[str, Any]:
        """The measures of the observers that are due, early or late."""
        due = [observer for observer in self.observers if observer.late == late and observer.due(moment)]
        if not due:
            return {}
        if late:
            self._flush()
            self._check_weights()
        with observing(moment.method, moment.average):
            return {name: value for observer in due for name, value in observer.look(moment).items()}

    def finish(self) -> None:
        """Write what is held, save the present step if that has not been done, and give the folder back (`close`)."""
        try:
            self.saver.wait()
            if self.journal.held or self.saver.step != self.clock.step:
                self.holding.reopen()
                self._flush()
                if self.saver.step != self.clock.step:
                    self.save()
        finally:
            self.close()

    def close(self) -> None:
        """Give the folder's lock back once nothing is being written; nothing more is saved. `advance` takes it again."""
        self.saver.join()
        self.holding.close()

    def _flush(self) -> None:
        if (problem := self.journal.flush(self.done)) is not None:
            raise self._diverged(*problem)

    def _diverged(self, what: str, advice: str | None = None) -> Diverged:
        self.saver.join()
        last_saved = f"; {self.folder}/checkpoints keeps step {self.saver.step}" if self.saved else ""
        return Diverged(f"{what}{last_saved}. {advice or ADVICE}")

    def _sound(self) -> bool:
        """Whether the present weights may take the place of earlier ones: not while the logit gap is running away."""
        self._flush()
        return not any(observer.suspect for observer in self.observers)

    def _check_weights(self) -> None:
        """An update may leave the range of numbers where loss and gradient do not."""
        if (name := not_finite({"weights": self.method, "averaged weights": self.average.method})) is not None:
            raise self._diverged(f"The {name} are not finite after step {self.clock.step}")

    def save(self, beside: bool = False) -> None:
        """Write a checkpoint of the present step.

        Args:
            beside: Whether training may go on while it is written; an error is then raised at a later step.

        Raises:
            Diverged: As `advance`; earlier checkpoints stay.
            CheckpointError: If the disk refuses.
        """
        with self.processes.phase("saving a checkpoint", ends_together=True):
            self.holding.reopen()
            self._flush()
            self._check_weights()
            self.saver.save(self, beside)

    def restore(self, stored: Path | Checkpoint) -> None:
        """Take up a checkpoint: weights, averages, optimisers and counters.

        Later rows of the log are dropped, with the next save where this is not the newest checkpoint; observers read the others.
        """
        with self.processes.phase("reading a checkpoint", ends_together=True):
            self.saver.restore(self, stored)
