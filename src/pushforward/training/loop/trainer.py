"""The training loop, one for every method, and a step of it: the turns of players, on all parts of a batch, in all processes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import spec
from pushforward.data import Batch, Dataset
from pushforward.data.images.image_store import Streamed
from pushforward.denoisers.denoiser import network_precision, resolve_precision
from pushforward.draws import BLOCK, BlockDraws, key
from pushforward.errors import DataError, Diverged, OutOfMemory, UsageError
from pushforward.files import read_json
from pushforward.methods.method import Method, Move, Now, Sums, answered
from pushforward.plugins import resume_command
from pushforward.recipes.recipe import Recipe, Training
from pushforward.runtime import laid_out
from pushforward.training.checkpoint import Checkpoint
from pushforward.training.checkpoint.contents import Saver, go_back
from pushforward.training.checkpoint.storage import step_name, weights_of
from pushforward.training.checkpoint.tensors import load, local, restore
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop.budget import Budget, Clock, Settings
from pushforward.training.loop.callbacks import (
    Moment,
    Observer,
    Silent,
    Watcher,
    kept_steps,
    measures,
    passed,
)
from pushforward.training.loop.machine import (
    Threads,
    generator_state,
    generators_kept,
    lacks_memory,
    seed_generators,
    set_generator_state,
    version,
)
from pushforward.training.loop.model_setup import Store, check_fit, sampler_of
from pushforward.training.loop.optimizers import Average, Player
from pushforward.training.loop.signals import interruptible
from pushforward.training.monitor.health import FixedNoise, Jumps, Variety
from pushforward.training.monitor.standard_callbacks import Alarms, Pictures, Tracked
from pushforward.training.runs.folder import Holding, claim
from pushforward.training.runs.log import MARK, Journal, Problem, players_in
from pushforward.training.runs.provenance import with_ancestors
from pushforward.training.runs.run import Run, begin, pick, read_parts

NORMS = 10  # steps between gradient norms


@dataclass
class _Part:
    """A part of a batch and the method's losses on it.

    Args:
        index: Place of its examples in the whole batch.
        game: The turns of the method on it.
        now: The method's argument.
        count: Number of examples.
        generator: The state in which it left torch's generators, from which dropout draws.
    """

    index: slice
    game: Iterator[Move]
    now: Now
    count: int
    generator: Any = None


class Step:
    """Training step: computes a method's losses on a batch; each loss updates the weights of one network.

    The parts of a batch run in lock step: gradients add up, and each part's graph is freed before the next part computes its
    own. `Sums` that the method yields come back added up over all parts and processes. Dropout is drawn by torch's
    generator, seeded for each part by its first block of examples.

    Args:
        method: Method, with weights where the processes keep them.
        players: Networks with their optimisers.
        training: Training settings.
        seed: Seed of the run.
        device: Device for training.
        processes: Processes that share each batch.

    A network whose loss or gradient is not finite is not updated; state of the method besides the
    weights of trained networks, such as running statistics, is then as it was before the step.

    Attributes:
        moved: Whether the last step has updated any network.

    Raises:
        UsageError: If the batch cannot be split into these micro-batches.
    """

    def __init__(
        self,
        method: Method,
        players: dict[str, Player],
        training: Training,
        *,
        seed: int,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.method = method
        self.players = players
        self.training = training
        self.seed = seed
        self.device = device
        self.processes = processes
        all_parts = parts_of(training, method, processes.count)
        for name, module in method.named_modules() if len(all_parts) > 1 else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                raise UsageError(
                    f"This network does not support micro-batches: {name} ({type(module).__name__}) normalises over the "
                    "batch, so its statistics would differ. Use `accumulate=1`, or a network without batch normalisation."
                )
        self.parts = all_parts[processes.rank * training.accumulate :][: training.accumulate]
        self.moved = True
        trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
        named = {**dict(method.named_parameters()), **dict(method.named_buffers())}
        own = {
            name: {id(parameter) for parameter in player.parameters}
            for name, player in players.items()
        }
        self._others = {
            name: [parameter for parameter in trained if id(parameter) not in own[name]]
            for name in own
        }
        # the state besides the weights of players: running statistics, averages, counts
        state = (named[name] for name in method.state_dict() if name in named)
        moved = set().union(*own.values())
        self._present = [local(tensor) for tensor in state if id(tensor) not in moved]
        self._before = [tensor.clone() for tensor in self._present]

    @property
    def index(self) -> slice:
        return slice(self.parts[0].start, self.parts[-1].stop)

    def __call__(self, batch: Batch, clock: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Take one step on the examples of the batch at `index`.

        Returns:
            The loss of each network, and the method's measurements, with the norms of gradients on the steps that have them, all
            as means over the whole batch; and "skipped/NAME" if the network NAME was not updated.
        """
        if self._present:
            torch._foreach_copy_(self._before, self._present)
        parts = [self._part(index, batch, clock) for index in self.parts]
        now = parts[0].now
        schedule = self.training.schedule
        rate = schedule.rate(clock, now)
        losses = {}
        norms = {}
        updated = []
        reply: Sums | None = None
        while (move := self._together(parts, reply)) is not None:
            reply = move if isinstance(move, Sums) else None
            if isinstance(move, Sums):
                continue
            name = move[0]
            player = self.players[move[0]]
            losses[name] = self.processes.added([move[1]])[0]
            self.processes.add_gradients(player.parameters)
            norm, finite = player.update(
                rate, schedule.beta2(self.training.of(name, "betas")[1], now), losses[name]
            )
            updated.append((name, finite))
            if clock.step % NORMS == 0:
                norms[f"gradient_norm/{name}"] = norm
        notes = joined([part.now.notes for part in parts], [part.count for part in parts])
        if self.processes.count > 1:
            share = (self.index.stop - self.index.start) / self.training.batch
            notes = dict(
                zip(
                    notes,
                    self.processes.added([note * share for note in notes.values()]),
                    strict=True,
                )
            )
        made = torch.stack([flag for _, flag in updated]).tolist()
        self.moved = any(made)
        if self._present and not all(made):
            with torch.no_grad():
                torch._foreach_copy_(self._present, self._before)
        marks = {
            f"{MARK}{name}": 1 for (name, _), done in zip(updated, made, strict=True) if not done
        }
        return losses, notes | norms | marks

    def _part(self, index: slice, batch: Batch, clock: Any) -> _Part:
        start = index.start - self.index.start
        count = index.stop - index.start
        examples = batch if count == len(batch.x) else batch.take(slice(start, start + count))
        draws = BlockDraws(self.seed, clock.step, count, index.start, device=self.device)
        now = Now(
            draws,
            clock.step * self.training.batch,
            clock.progress,
            clock.step,
            parts=len(self.parts),
        )
        return _Part(index, self.method.losses(examples, now), now, count)

    def _together(self, parts: Sequence[_Part], reply: Sums | None) -> Move | None:
        """The next move of all parts: one player's turn with the loss of the whole batch, sums over it, or the end."""
        moves: list[Move | None] = []
        for part in parts:  # each with torch's generators in the state in which it left them
            if part.generator is None:
                block = part.index.start // BLOCK
                seed_generators(
                    key(self.seed, "dropout", part.now.step, *([block] if block else [])) >> 1,
                    self.device,
                )
            elif len(parts) > 1:
                set_generator_state(part.generator, self.device)
            move = answered(part.game, reply)
            part.generator = generator_state(self.device) if len(parts) > 1 else ()
            moves.append(self._backward(part, *move) if isinstance(move, tuple) else move)
        kinds = {move[0] if isinstance(move, tuple) else type(move) for move in moves}
        assert len(kinds) == 1, "every micro-batch must have the same rounds"
        if isinstance(moves[0], tuple):
            return moves[0][0], _total([move[1] for move in moves if isinstance(move, tuple)])
        sums = [move for move in moves if isinstance(move, Sums)]
        if sums:
            return self._added(sums)
        return None

    def _backward(self, part: _Part, player: str, loss: Tensor) -> tuple[str, Tensor]:
        share = loss * (part.count / self.training.batch)
        others = self._others[player]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            share.backward()
        finally:
            for parameter in others:
                parameter.requires_grad_(True)
                parameter.grad = None  # sharded weights take gradients whatever they require
        return player, share.detach()

    def _added(self, sums: Sequence[Sums]) -> Sums:
        values = {name: _total([part.values[name] for part in sums]) for name in sums[0].values}
        examples = {
            name: torch.cat([part.examples[name] for part in sums]) for name in sums[0].examples
        }
        if self.processes.count == 1:
            return Sums(sum(part.count for part in sums), values, examples, sums[0].then).settled()
        spread = {
            name: held.new_zeros(self.training.batch, *held.shape[1:])
            for name, held in examples.items()
        }
        for name, everything in spread.items():
            everything[self.index] = examples[name]
        totals = iter(self.processes.added([*values.values(), *spread.values()]))
        values, examples = ({name: next(totals) for name in group} for group in (values, spread))
        return Sums(self.training.batch, values, examples, sums[0].then).settled()


def _total(parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.stack(list(parts)).sum(0)


def joined(notes: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """Combine the notes of micro-batches to means over the batch, weighted by examples."""
    if len(notes) == 1:
        return dict(notes[0])
    means = {}
    for name in dict.fromkeys(name for part in notes for name in part):
        held = [
            (part[name], count) for part, count in zip(notes, counts, strict=True) if name in part
        ]
        means[name] = sum(note * count for note, count in held) / sum(count for _, count in held)
    return means


def parts_of(training: Training, method: Method, processes: int = 1) -> list[slice]:
    """Split a batch into micro-batches of all processes in turn, with whole blocks of draws and whole groups.

    Raises:
        UsageError: If the batch cannot be split.
    """
    unit = math.lcm(BLOCK, method.group)
    size = training.batch
    count = training.accumulate * processes
    share = math.ceil(size / count)
    if count > 1 and (share % unit or size < count * unit):
        each = f"each of {processes} processes computes" if processes > 1 else "it is computed"
        raise UsageError(
            f"A batch of {size} cannot be split into {count} micro-batches ({each} in "
            f"accumulate={training.accumulate}): micro-batch sizes must be multiples of {unit}. Use "
            f"`batch={unit * count * math.ceil(size / (unit * count))}`, or fewer micro-batches."
        )
    return [slice(at, min(at + share, size)) for at in range(0, size, share)]


ADVICE = "Try a lower `lr` or `precision=float32`, or check the data with `pushforward data check`."


class Trainer:
    """Training run that can be advanced in rounds, stopped between steps and resumed.

    A trainer holds the lock of its folder until it has ended, raised an error, or was closed or
    deleted. It computes steps (`Step`), saves and restores; everything else that happens while it
    trains is an `Observer`, which can only read.

    Args:
        recipe: Method with its training settings.
        data: Training data.
        budget: Training budget.
        out: Run folder, which must not exist; or a folder that is already held.
        settings: Settings of the training run.
        progress: Progress display.
        observers: Observers; None for the standard observers.
        processes: Processes that train together.

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
        self.clock = Clock(budget, self.training.batch)
        self.stop = 0
        self.spent: dict[str, float] = {}  # seconds outside of training steps, by what took them
        self.saver = Saver()
        described = spec.describe(recipe.method)  # sharding changes the modules' classes
        method = laid_out(recipe.method.to(self.device), data.space.memory_format).train()
        # sharded weights cannot be copied, so the average begins as a copy of the whole ones
        twin = copy.deepcopy(method) if self.processes.count > 1 else None
        self.method = self.processes.distribute(method)
        self.players = {
            name: Player(module, name, self.training)
            for name, module in self.method.players.items()
        }
        build = None if twin is None else lambda: self.processes.distribute(twin)
        self.average = Average(self.method, self.training.ema, self.training.ema_share, build)
        seed = self.settings.seed
        self._step = Step(
            self.method,
            self.players,
            self.training,
            seed=seed,
            device=self.device,
            processes=self.processes,
        )
        self._moving = [
            local(value) for value in self.method.state_dict().values() if value.is_floating_point()
        ]
        if isinstance(out, Holding):
            self.holding = out
        else:
            here = self.processes.rank == 0
            if here:
                self.holding = claim(out, data.name, recipe.name)
            else:
                self.holding = Holding(out, None, writes=False)
        self.folder = self.holding.folder
        writes = self.holding.writes
        self.threads = Threads(self.folder, self.device, writes, alone=self.processes.count == 1)
        if observers is None:
            batch = self.training.batch
            players = self.players
            observers = FixedNoise(data, batch), Jumps(data, batch), Variety(data)
            observers = *observers, Alarms(self.folder, self.progress), Pictures(self.progress)
            if writes and self.settings.trackers:
                rates = lambda: {name: player.rate for name, player in players.items()}  # noqa: E731
                observers = *observers, Tracked(self.folder, self.settings.trackers, rates)
        self.observers = tuple(observers)
        self.journal = Journal(self.folder / "metrics.jsonl", self.observers, writes)
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
        self.store = Store(self.method, self.folder, writes, self.precision, self.processes)
        self.clock.budget = budget.after(self.store.seconds)
        alike: dict[str, Any] = {"data": data.fingerprint}
        alike |= {package: version(package) for package in ("torch", "pushforward", "numpy")}
        alike |= {
            "kind of device": self.device.type,
            "training": str(sorted(asdict(self.training).items())),
        }
        self.processes.compare(
            alike | {"settings": self.settings.stored() | {"asked": None}, "method": described}
        )
        self.content = content or self.processes.first(
            begin(self.holding, self.recipe, data, budget, self.settings, described)
        )

    @property
    def samples(self) -> int:
        return self.clock.step * self.training.batch

    @property
    def saved(self) -> bool:
        return self.saver.step >= 0

    @property
    def done(self) -> bool:
        """Return whether the budget is used up, or training has `ended` early."""
        return self.clock.done or self.ended is not None

    @property
    def ended(self) -> str | None:
        """Return why training has ended early, such as loss of diversity; None if it has not."""
        return next(
            (observer.ended for observer in self.observers if observer.ended is not None), None
        )

    def advance(self, seconds: float = math.inf) -> None:
        """Train until `done`, until `stop` is set, or for about ``seconds``.

        `stop` is the number of a signal, or any other but 0; what it is in one process it is in all after the next step.

        A new run is saved before its first step, so that it can be resumed whenever it is killed. torch's generators are left
        as they were found.

        Raises:
            Diverged: If three steps in a row were skipped, more than ten of the last 1,000, a weight is not finite, or the logit
                gap ran away; the last checkpoint stays.
            OutOfMemory: If a step runs out of memory.
            CheckpointError: If the disk refuses, or another training has taken the folder since this one was closed.
        """
        threads = torch.get_num_threads()
        try:
            with self.processes.phase("training"), generators_kept(self.device):
                self.holding.reopen()
                if not self.saved:
                    self.save()  # a kill before the first step loses nothing
                self.clock.budget = self.store.completed(
                    self.folder.name, self.budget, self.progress, self._stopping
                )
                until = self.clock.seconds + seconds
                stopping = self._stopping()
                while not (self.done or stopping or self.clock.seconds >= until):
                    self.saver.check(self.processes)  # of a checkpoint that was written meanwhile
                    before = self.clock.progress
                    started = time.perf_counter()
                    self.threads.before(self.clock.step)
                    losses, health = self.step()
                    if self.device.type == "cuda":
                        torch.cuda.synchronize()
                    elapsed = time.perf_counter() - started
                    elapsed, stop, self.saver.refused = self.processes.together(
                        elapsed, self.stop, self.saver.failed
                    )
                    self.stop = stop or self.stop
                    self.threads.after(self.clock.step, elapsed)
                    self.clock.tick(elapsed)
                    now = Moment(
                        folder=self.folder,
                        step=self.clock.step,
                        before=before,
                        progress=self.clock.progress,
                        method=self.method,
                        average=self.average.method,
                        data=self.data,
                        writes=self.holding.writes,
                    )
                    with self._timed("checking samples"):
                        health |= measures(self._due(now, late=False), now, self.processes)
                    self.journal.add(
                        self.clock.step, self.samples, self.clock.seconds, losses, health
                    )
                    if (
                        self.journal.full
                        or players_in(health)
                        or any(o.decides and o.due(now) for o in self.observers)
                    ):
                        self._flush()
                    self.progress(self.folder.name, self.clock, self.samples, self.journal.losses)
                    good = passed(self.observers) == self.clock.step
                    stays = self.clock.step in kept_steps(self.observers, self.method)
                    if self.ended is not None:
                        self.saver.wait(self.processes)
                        go_back(self)
                    elif good or stays or self.saver.due(self):
                        self._flush()  # not after a skipped step, nor while a gap runs away
                        skipped = self.journal.skips.last == self.clock.step
                        suspect = skipped or any(observer.suspect for observer in self.observers)
                        if good or not suspect:
                            self.save(beside=not (good or stays or self.done or stop))
                    if late := self._due(now, late=True):
                        self._flush()
                        self._check_weights(self.clock.step)
                        with self._timed("checking samples"):
                            measures(late, now)
                    stopping = bool(self.stop if self.processes.count == 1 else stop)
                if self.done or stopping:
                    self.finish()
                self.saver.wait(self.processes)
        except BaseException as error:
            self.close("failed" if isinstance(error, Exception) else "stopped")
            raise
        finally:
            torch.set_num_threads(threads)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - began

    def _stopping(self) -> bool:
        return self.processes.agreed(bool(self.stop))

    def _due(self, now: Moment, late: bool) -> list[Observer]:
        return [
            observer for observer in self.observers if observer.late == late and observer.due(now)
        ]

    def step(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Run one training step, and return the losses and the method's measurements.

        Raises:
            OutOfMemory: If the step runs out of memory.
            DataError: If the data can no longer be read.
            Diverged: If a weight is not finite after it; the average does not follow.
        """
        step = self.clock.step + 1
        try:
            with network_precision(self.precision):
                losses, health = self._step(self._batch(), self.clock)
                if self._step.moved:
                    # the sum of norms is fast to see; several processes look where they save, together
                    if self._moving and self.processes.count == 1:
                        norms = torch._foreach_norm(self._moving)
                    else:
                        norms = ()
                    if norms and not bool(torch.isfinite(torch.stack(norms).sum())):
                        self._check_weights(step)
                    self.average.update(self.samples + self.training.batch, self.training.batch)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            what = f"out of memory in step {step:,}"
            why = str(error)[:200] or type(error).__name__
            advice = "Use a smaller `batch` or a larger `accumulate`."
            raise OutOfMemory(f"{what} ({why}). {advice}", step, what) from None
        return losses, health

    def _batch(self) -> Batch:
        batch = None
        words = None
        try:
            batch = self.sampler.batch(
                self.clock.step // self.method.reuse, self.device, self._step.index
            )
        except DataError as error:
            words = str(error)
        if isinstance(self.data.train.x, Streamed):  # no other data are read in a step
            words = self.processes.failure(words)
        if words is None and batch is not None:
            return batch
        self.finish()
        raise DataError(
            f"{words} Step {self.saver.step:,} is saved. Restore the data, then resume: "
            f"{resume_command(self.folder, self.content)}"
        )

    def finish(self) -> None:
        """Write pending rows, save the current step if necessary, and release the folder (`close`)."""
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
        """Release the folder's lock once nothing is being written, without saving; `advance` takes the lock again.

        Args:
            status: Status for trackers: "finished", "stopped" or "failed"; None to choose by
                `done`.
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
        if self.saved:
            last_saved = f"; step {self.saver.step} is saved in {self.folder}/checkpoints"
        else:
            last_saved = ""
        return Diverged(
            f"{problem.what}{last_saved}. {problem.advice or ADVICE}", problem.step, problem.what
        )

    def _check_weights(self, step: int) -> None:
        states = {
            "weights": self.method.state_dict(),
            "averaged weights": self.average.method.state_dict(),
        }
        tensors = (
            (f"{kind} {name}", local(value))
            for kind, state in states.items()
            for name, value in state.items()
        )
        name = next(
            (name for name, value in tensors if not bool(torch.isfinite(value).all())), None
        )
        if self.processes.agreed(name is not None):
            raise self._diverged(
                Problem(f"The {name or 'weights'} are not finite after step {step}", step=step)
            )

    def save(self, beside: bool = False) -> None:
        """Write a checkpoint of the current step; with ``beside``, training continues and a later step raises errors.

        Raises:
            Diverged: See `advance`; earlier checkpoints are kept.
            CheckpointError: If writing fails.
        """
        with self._timed("saving"), self.processes.phase("saving a checkpoint"):
            self.holding.reopen()
            self._flush()
            self._check_weights(self.clock.step)
            self.saver.save(self, beside)

    def restore(self, stored: Path | Checkpoint) -> None:
        with self.processes.phase("reading a checkpoint"):
            self.saver.restore(self, stored)


def trained(trainer: Trainer) -> Run:
    """Train to the end of the budget, and close the progress display in any case.

    Raises:
        KeyboardInterrupt: If SIGINT arrives, after the present step, which may be the last, has been saved; at once if it
            arrives again.
    """
    if trainer.processes.words:
        trainer.progress.say(f"{trainer.folder.name}: {trainer.processes.words}")
    try:
        with interruptible([trainer], ending=False) as got:
            trainer.advance()
    finally:
        trainer.progress.close()
    if got:
        how = "read the finished run with pf.load" if trainer.done else "resume with pf.resume"
        data = "" if trainer.done or getattr(trainer.data, "origin", None) else ", data=data"
        raise KeyboardInterrupt(
            f"saved at step {trainer.clock.step:,}; {how}({str(trainer.folder)!r}{data})"
        )
    return finished(trainer)


def finished(trainer: Trainer) -> Run:
    """Return the run of a trainer that has ended, with averaged weights."""
    trainer.progress.close()
    trainer.close()
    where = pick(trainer.folder, step_name(trainer.clock.step))
    state = read_json(where / "state.json")
    return Run(trainer.folder, trainer.content, trainer.average.method, state, weights_of(where))


def salvaged(trainer: Trainer, error: Diverged) -> Run:
    """Return the run of a trainer that has diverged, at its last checkpoint and with a warning."""
    trainer.progress.close()
    trainer.close()
    stored = load(pick(trainer.folder, None), trainer.device)
    restore(trainer.average.method, stored.weights(), stored.folder)
    warning = f"its training broke off, so it is evaluated with the weights of step {stored.state['step']:,}. {error}"
    how = stored.state, weights_of(stored.folder), (warning,)
    return Run(trainer.folder, trainer.content, trainer.average.method, *how)
