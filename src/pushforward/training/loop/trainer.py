"""The training loop: batch, step, callbacks, checkpoint."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from enum import Enum
from typing import Any

import torch

from pushforward import spec
from pushforward.data import Batch, Dataset
from pushforward.data.images.image_store import Streamed
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.errors import DataError, Diverged, OutOfMemory
from pushforward.files import read_json
from pushforward.methods.method import Method
from pushforward.plugins import resume_command
from pushforward.recipes.recipe import Recipe
from pushforward.runtime import laid_out
from pushforward.training.checkpoint import Checkpoint
from pushforward.training.checkpoint.checkpointer import Checkpointer
from pushforward.training.checkpoint.storage import step_name, weights_of
from pushforward.training.checkpoint.tensors import load, local, restore
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.budget import Budget, Settings
from pushforward.training.loop.callbacks import (
    Action,
    CallbackRequest,
    Callbacks,
    Observer,
    StateView,
    numbers_in,
)
from pushforward.training.loop.display import Silent, Watcher
from pushforward.training.loop.machine import generators_kept, lacks_memory, version
from pushforward.training.loop.model_setup import TrajectoryStore, check_fit, sampler_of
from pushforward.training.loop.optimizers import Average, PlayerOptimizer
from pushforward.training.loop.signals import interruptible
from pushforward.training.loop.state import Clock, TrainState, check_weights
from pushforward.training.loop.step import Rounds, Statistics, StepResult
from pushforward.training.monitor.health import Diversity, FixedNoise
from pushforward.training.monitor.standard_callbacks import Alarms, Pictures, Tracked
from pushforward.training.monitor.threads import Threads
from pushforward.training.runs.folder import RunLock
from pushforward.training.runs.log import MARK, Journal
from pushforward.training.runs.provenance import with_ancestors
from pushforward.training.runs.run import Run, pick
from pushforward.training.runs.spec_file import begin, digest, read_parts

NORM_STEPS = 10  # steps between gradient norms


class StopReason(Enum):
    """Why a trainer has stopped."""

    BUDGET = "the budget is used up"
    REQUEST = "a callback has ended training"
    SIGNAL = "training was asked to stop"
    TURN = "the seconds of this turn are used up"


class Trainer:
    """Training run that can be advanced for some seconds, stopped between steps and resumed.

    Args:
        recipe: Method with its training settings.
        data: Training data.
        budget: Training budget.
        out: Run folder, which is held.
        settings: Settings of the training run.
        progress: Progress display.
        observers: Observers; None for the standard observers.
        processes: Processes that train together.

    Attributes:
        stop: Number of a signal; any number but 0 stops training after the current step.

    Raises:
        UsageError: If the method is for another space, or settings do not fit each other.
        CheckpointError: If another training run uses the folder, or writing fails.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        budget: Budget,
        *,
        out: RunLock,
        settings: Settings | None = None,
        progress: Watcher | None = None,
        observers: Sequence[Observer] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.processes = processes or Processes()
        check_fit(recipe, data, budget, self.settings.checkpoint_every, self.processes.count)
        content = out.content
        self.recipe = recipe if content is not None else with_ancestors(recipe)
        self.data = data
        self.budget = budget
        self.training = recipe.training
        self.device = torch.device(self.settings.device)
        self.precision = resolve_precision(self.training.precision, self.device)
        self.stop = 0
        self._agreed_stop = 0
        described = spec.describe(recipe.method)  # sharding changes the modules' classes
        self.state = self._initial_state(recipe.method)
        self.clock = Clock(self.state, budget, self.training.batch)
        self._set_up_step()
        self.holding = out
        self.folder = out.folder
        writes = out.writes
        self.threads = Threads(self.folder, self.device, writes, alone=self.processes.count == 1)
        watcher = progress or Silent()
        if observers is None:
            observers = self._standard_observers(watcher)
        observers = [*observers, self.threads]
        readers = [observer.row for observer in observers]
        self.journal = Journal(self.folder / "metrics.jsonl", readers, writes)
        self.callbacks = Callbacks(observers, self.journal, watcher, self.clock, self.processes)
        if content is not None:
            read_parts(self.folder, content, self.method, self.device)
        self.sampler = sampler_of(
            self.method,
            data,
            self.training.batch,
            settings=self.settings,
            folder=self.folder,
            keep=writes,
        )
        self.trajectory_store = TrajectoryStore(
            self.method, self.folder, writes, self.precision, self.processes
        )
        self.clock.budget = budget.after(self.trajectory_store.seconds)
        self._check_processes(described)
        if content is None:
            content = begin(self.holding, self.recipe, data, budget, self.settings, described)
            content = self.processes.first(content)
        self.content = content
        facts = {
            "budget": asdict(budget),
            "spec_sha256": digest(content),
            "precision": self.precision,
            "batch": self.training.batch,
            **self.trajectory_store.state(),
        }
        self.checkpointer = Checkpointer(
            self.folder / "checkpoints",
            self.clock,
            self.processes,
            writes=writes,
            every=self.settings.checkpoint_every,
            facts=facts,
            journal=self.journal,
        )

    def advance(self, seconds: float = math.inf) -> StopReason:
        """Train until the budget is used up, until `stop` is set, or for about ``seconds``.

        A new run is saved before its first step. torch's generators are left as they were found.

        Raises:
            Diverged: If three steps in a row were skipped, a weight is not finite, or the logit gap
                ran away; the last checkpoint stays.
            OutOfMemory: If a step runs out of memory.
            CheckpointError: If writing fails, or another training run has used the folder.
        """
        with self._ending_on_errors(), self._environment():
            self._begin()
            until = self.state.seconds + seconds
            requests = self.callbacks.requests(self._view(self.clock.progress, elapsed=0.0))
            while (reason := self._stop_reason(requests, until)) is None:
                self.checkpointer.check_write()
                progress = self.clock.progress
                started = time.perf_counter()
                for number in numbers_in(requests, Action.THREADS):
                    torch.set_num_threads(number)
                batch = self.next_batch()
                result = self.train_step(batch)
                elapsed = self._synchronise(time.perf_counter() - started)
                self.state.advance(elapsed)
                view = self._view(progress, elapsed)
                saving = self.checkpointer.due()
                requests = self.callbacks.after_step(view, result, saving)
                self.checkpointer.maybe_save(self.state, requests)
            if reason is not StopReason.TURN:
                self._finish()
            self.checkpointer.wait()
        return reason

    def train_step(self, batch: Batch) -> StepResult:
        """Train on a batch: in each round, one network is updated with its gradients.

        A network whose loss or gradient is not finite is not updated; other state of the method,
        such as running statistics, is then restored.
        """
        with self._memory_errors(), network_precision(self.precision):
            self.statistics.remember()
            now = self.rounds.begin(batch, self.state.step, self.clock.progress)
            rate = self.training.schedule.rate(self.clock, now)
            losses = {}
            norms = {}
            updated = []
            for name, loss in self.rounds.backward():
                losses[name] = self.processes.sum([loss])[0]
                optimizer = self.state.optimizers[name]
                self.processes.add_gradients(optimizer.parameters)
                norm, finite = optimizer.update(rate, losses[name])
                norms[f"gradient_norm/{name}"] = norm
                updated.append((name, finite))
            health = self.rounds.notes()
            if self.state.step % NORM_STEPS == 0:
                health |= norms
            health |= self._finish_update(updated)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
        return StepResult(losses, health)

    def _finish_update(self, updated: list[tuple[str, Any]]) -> dict[str, Any]:
        made = torch.stack([finite for _, finite in updated]).tolist()
        if not all(made):
            self.statistics.restore()
        if any(made):
            self._check_weight_norms()
            batch = self.training.batch
            self.state.average.update(self.clock.samples + batch, batch)
        marks = {}
        for (name, _), done in zip(updated, made, strict=True):
            if not done:
                marks[f"{MARK}{name}"] = 1
        return marks

    def _check_weight_norms(self) -> None:
        # a sum of norms is fast; several processes look when they save, together
        if not self._moving or self.processes.count > 1:
            return
        norms = torch._foreach_norm(self._moving)
        if not torch.isfinite(torch.stack(norms).sum()):
            check_weights(self.state, self.processes, self.state.step + 1)

    def next_batch(self) -> Batch:
        """Return this process's examples; if they cannot be read, save and raise."""
        batch = None
        words = None
        with self._memory_errors():
            try:
                batch = self.sampler.batch(self.state.step, self.device, self.rounds.index)
            except DataError as error:
                words = str(error)
        if isinstance(self.data.train.x, Streamed):  # no other data are read in a step
            words = self.processes.failure(words)
        if words is None and batch is not None:
            return batch
        self._finish()
        raise DataError(
            f"{words} Step {self.checkpointer.step:,} is saved. Restore the data, then resume: "
            f"{resume_command(self.folder, self.content)}"
        )

    def _initial_state(self, method: Method) -> TrainState:
        method = laid_out(method.to(self.device), self.data.space.memory_format).train()
        twin = copy.deepcopy(method)  # sharded weights cannot be copied
        method = self.processes.distribute(method)
        optimizers = {}
        for name, module in method.players.items():
            optimizers[name] = PlayerOptimizer(module, name, self.training)
        twin = self.processes.distribute(twin)
        average = Average(method, self.training.ema, self.training.ema_share, twin)
        return TrainState(method, optimizers, average)

    def _set_up_step(self) -> None:
        parameters = {name: each.parameters for name, each in self.state.optimizers.items()}
        self.rounds = Rounds(
            self.method,
            parameters,
            self.training,
            seed=self.settings.seed,
            device=self.device,
            processes=self.processes,
        )
        everything = [parameter for own in parameters.values() for parameter in own]
        self.statistics = Statistics(self.method, everything)
        self._moving = []
        for tensor in self.method.state_dict().values():
            if tensor.is_floating_point():
                self._moving.append(local(tensor))

    def _standard_observers(self, watcher: Watcher) -> list[Observer]:
        batch = self.training.batch
        observers = [
            FixedNoise(self.data, batch),
            Diversity(self.data),
            Alarms(self.folder, watcher),
            Pictures(watcher),
        ]
        if self.holding.writes and self.settings.trackers:
            observers.append(Tracked(self.folder, self.settings.trackers, self._rates))
        return observers

    def _rates(self) -> dict[str, float]:
        return {name: optimizer.rate for name, optimizer in self.state.optimizers.items()}

    def _check_processes(self, described: Any) -> None:
        facts: dict[str, Any] = {"data": self.data.fingerprint}
        for package in ("torch", "pushforward", "numpy"):
            facts[package] = version(package)
        facts["kind of device"] = self.device.type
        facts["training"] = str(sorted(asdict(self.training).items()))
        facts["settings"] = self.settings.stored() | {"asked": None}
        facts["method"] = described
        self.processes.compare(facts)

    @property
    def method(self) -> Method:
        return self.state.method

    @property
    def average(self) -> Average:
        return self.state.average

    @property
    def progress(self) -> Watcher:
        return self.callbacks.watcher

    @property
    def done(self) -> bool:
        """Return whether the budget is used up, or training has `ended` early."""
        return self.clock.done or self.ended is not None

    @property
    def ended(self) -> str | None:
        """Return why a callback has ended training, or None."""
        for request in self.callbacks.requests(self._view(self.clock.progress)):
            if request.action is Action.STOP:
                return request.reason
        return None

    def _view(self, before: float, elapsed: float | None = None) -> StateView:
        return StateView(
            folder=self.folder,
            step=self.state.step,
            before=before,
            progress=self.clock.progress,
            method=self.method,
            average=self.average.method,
            data=self.data,
            writes=self.holding.writes,
            elapsed=elapsed,
        )

    def _stop_reason(self, requests: Iterable[CallbackRequest], until: float) -> StopReason | None:
        if self.clock.done:
            return StopReason.BUDGET
        if numbers_in(requests, Action.STOP):
            return StopReason.REQUEST
        stopping = self.stop if self.processes.count == 1 else self._agreed_stop
        if stopping:
            return StopReason.SIGNAL
        if self.state.seconds >= until:
            return StopReason.TURN
        return None

    def _synchronise(self, elapsed: float) -> float:
        elapsed, stop, failed = self.processes.together(
            elapsed, self.stop, self.checkpointer.write_failed
        )
        self._agreed_stop = stop
        self.stop = stop or self.stop
        self.checkpointer.failed_anywhere = failed
        return elapsed

    def _begin(self) -> None:
        self.holding.reopen()
        if self.checkpointer.step < 0:
            self.save()  # a kill before the first step loses nothing
        self.clock.budget = self.trajectory_store.complete(
            self.folder.name, self.budget, self.progress, self._stopping
        )
        self.checkpointer.facts |= self.trajectory_store.state()
        self._agreed_stop = int(self._stopping())

    def _stopping(self) -> bool:
        return self.processes.any(bool(self.stop))

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        threads = torch.get_num_threads()
        try:
            with self.processes.phase("training"), generators_kept(self.device):
                yield
        finally:
            torch.set_num_threads(threads)

    @contextlib.contextmanager
    def _ending_on_errors(self) -> Iterator[None]:
        try:
            yield
        except Diverged as error:
            self.close("failed")
            message = f"{error} {self.checkpointer.newest}".rstrip()
            raise Diverged(message, error.step, error.what) from None
        except BaseException as error:
            self.close("failed" if isinstance(error, Exception) else "stopped")
            raise

    @contextlib.contextmanager
    def _memory_errors(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            step = self.state.step + 1
            what = f"out of memory in step {step:,}"
            why = str(error)[:200] or type(error).__name__
            advice = "Use a smaller `batch` or a larger `accumulate`."
            raise OutOfMemory(f"{what} ({why}). {advice}", step, what) from None

    def finish(self) -> None:
        """Save the current step if necessary, and release the folder."""
        with self._ending_on_errors():
            self._finish()

    def _finish(self) -> None:
        self.checkpointer.wait()
        if self.journal.held or self.checkpointer.step != self.state.step:
            self.holding.reopen()
            self.journal.flush(self.done)
            if self.checkpointer.step != self.state.step:
                self.save()
        self.close()

    def close(self, status: str | None = None) -> None:
        """Release the folder without saving, with a status for trackers."""
        self.checkpointer.close(self.progress.say)
        self.callbacks.close(status or ("finished" if self.done else "stopped"))
        self.holding.close()

    def save(self, background: bool = False) -> None:
        """Write a checkpoint of the current step; with ``background``, during the next steps."""
        self.holding.reopen()
        self.journal.flush(self.done)
        requests = self.callbacks.requests(self._view(self.clock.progress))
        self.checkpointer.save(self.state, requests, background)

    def restore(self, stored: Checkpoint) -> None:
        """Restore a checkpoint, which becomes the newest."""
        with self.processes.phase("reading a checkpoint"):
            self.checkpointer.restore(self.state, stored)
            self.clock.budget = self.trajectory_store.restore(stored.state, self.budget)
            self.checkpointer.facts |= self.trajectory_store.state()
            self._keep_finished(stored.state)
            self.threads.resume(self.state.step)
            self.journal.cut(self.state.step)
            place = [self.state.step, self.state.seconds]
            self.processes.compare({"the step and training seconds to resume from": place})

    def _keep_finished(self, stored: dict[str, Any]) -> None:
        # earlier versions fixed the number of steps, and ended a little before the time
        limit = self.clock.budget.seconds
        same = asdict(self.budget) == stored.get("budget", self.content["budget"])
        if same and limit is not None and stored["total"] == stored["step"]:
            self.state.seconds = max(self.state.seconds, limit)


def train(trainer: Trainer) -> Run:
    """Train to the end of the budget, and close the progress display."""
    if trainer.processes.words:
        trainer.progress.say(f"{trainer.folder.name}: {trainer.processes.words}")
    try:
        with interruptible([trainer], ending=False) as got:
            trainer.advance()
    finally:
        trainer.progress.close()
    if got:
        folder = repr(str(trainer.folder))
        advice = f"resume with pf.resume({folder}), and data=data if it was passed in Python"
        if trainer.done:
            advice = f"training is finished, so read the run with pf.load({folder})"
        raise KeyboardInterrupt(f"saved at step {trainer.clock.step:,}; {advice}")
    return finish_run(trainer)


def finish_run(trainer: Trainer) -> Run:
    """Close a trainer that has ended, and return its run with averaged weights."""
    trainer.progress.close()
    trainer.close()
    where = pick(trainer.folder, step_name(trainer.clock.step))
    state = read_json(where / "state.json")
    return Run(trainer.folder, trainer.content, trainer.average.method, state, weights_of(where))


def salvage(trainer: Trainer, error: Diverged) -> Run:
    """Close a diverged trainer, and return its run at the last checkpoint, with a warning."""
    trainer.progress.close()
    trainer.close()
    stored = load(pick(trainer.folder, None), trainer.device)
    restore(trainer.average.method, stored.weights(), stored.folder)
    warning = (
        "its training broke off, so it is evaluated with the weights of step "
        f"{stored.state['step']:,}. {error}"
    )
    return Run(
        trainer.folder,
        trainer.content,
        trainer.average.method,
        stored.state,
        weights_of(stored.folder),
        (warning,),
    )
