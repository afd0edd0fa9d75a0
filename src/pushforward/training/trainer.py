"""The training loop: one for every method."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import BaseFileLock
from torch import Tensor

from pushforward.data import Batch, Dataset
from pushforward.data.keys import permutation
from pushforward.data.seen import seen_in_training
from pushforward.draws import BLOCK, BlockDraws, key
from pushforward.errors import CheckpointError, Diverged, UsageError
from pushforward.methods import Method, Now
from pushforward.precision import network_precision, resolve_precision
from pushforward.recipes import Recipe, Training
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.alarms import Watch
from pushforward.training.budget import Budget, Clock
from pushforward.training.checks import check_fit
from pushforward.training.ema import Average
from pushforward.training.encoding import sampler_of
from pushforward.training.folders import claim, hold
from pushforward.training.generators import generators_kept, seed_generators
from pushforward.training.health import NORMS, FixedNoise, gradient_norm, in_numbers, in_words, joined
from pushforward.training.landscape import landscape
from pushforward.training.lineage import with_ancestors, write_seen
from pushforward.training.memory import peak_memory, reset_peak
from pushforward.training.optimizers import players_of
from pushforward.training.parts import read_parts, write_parts
from pushforward.training.progress import Silent, Watcher
from pushforward.training.run import digest, restore, write_new
from pushforward.training.stages import stages_of, write_stages
from pushforward.training.threads import Threads, restoring

__all__ = ["Trainer"]

FLUSH = 25
"""Steps whose losses are held before they are checked and written."""
PICTURES = (0.02, 0.1, 0.3, 0.6, 1.0)
"""Shares of the budget at which fixed-noise samples are written."""
ADVICE = "Try a lower `lr`, `precision=float32`, or check the data with `pushforward data check`."
CHECKPOINT_SECONDS = 120.0
"""Training seconds between checkpoints where ``checkpoint_every`` is not given; at most a quarter of a budget in seconds."""


class Trainer:
    """A training that can be advanced in turns, stopped between steps and taken up again.

    It holds its folder's lock until it has ended, raised an error, been closed or been deleted: no other trainer, here or in
    another process, writes to the folder meanwhile.

    Args:
        recipe: The method and its settings.
        data: What it is trained on.
        budget: When it ends.
        out: The run's folder; must not exist unless ``content`` is given.
        seed: Of everything random.
        device: Where it is trained.
        augment: Augmentations by name ("flip", "shift").
        checkpoint_every: Steps between checkpoints; None means every two minutes of training, or every quarter of a short budget.
            The first and the last step are always saved.
        progress: What shows it to a person.
        plugins: Python files that the recipe came from; their hashes are stored.
        asked: What was asked for beside the data, by option of the command line, so that a report can print a command that
            repeats the run; None where the recipe was made in Python.
        init: The run from whose weights it starts, for the same purpose.
        init_step: The step of that run's checkpoint.
        from_seed: Whether the weights can be drawn again from the seed and the method's spec.
        content: The spec of a run that is taken up again.
        lock: The folder's lock, where the caller has taken it.
        rehearsal: Whether it takes no lock and writes nothing; only single steps can then be computed. Needs ``content``.

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
        out: Path,
        seed: int = 0,
        device: torch.device | str = "cpu",
        augment: Sequence[str] = (),
        checkpoint_every: int | None = None,
        progress: Watcher | None = None,
        plugins: Sequence[Path] = (),
        asked: Mapping[str, Any] | None = None,
        init: str | Path | None = None,
        init_step: int | None = None,
        from_seed: bool = False,
        content: dict[str, Any] | None = None,
        lock: BaseFileLock | None = None,
        rehearsal: bool = False,
    ) -> None:
        check_fit(recipe, data, checkpoint_every)
        if content is None:
            recipe = with_ancestors(recipe)
        self.recipe, self.data, self.budget, self.folder, self.seed = recipe, data, budget, out, seed
        self.device, self.checkpoint_every, self.progress = torch.device(device), checkpoint_every, progress or Silent()
        self.training = recipe.training
        self.precision = resolve_precision(self.training.precision, self.device)
        self.method = recipe.method.to(self.device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.players = players_of(self.method, self.training)
        self.average = Average(self.method, self.training.ema, self.training.ema_share)
        self.clock = Clock(budget, self.training.batch)
        self.stop = False
        self.losses: dict[str, float] = {}
        self.watch, self.noise = Watch(), FixedNoise(data, self.training.batch)
        self._held: list[dict[str, Any]] = []
        self._saved_at, self._saved_seconds, self._peak = -1, 0.0, 0
        self._parts = _parts(self.training, self.method)
        self.threads = Threads(out, self.device)
        settings = {
            "seed": seed,
            "augment": list(augment),
            "checkpoint_every": checkpoint_every,
            "asked": None if asked is None else dict(asked),
            "init": None if init is None else str(init),
            "init_step": init_step,
            "from_seed": from_seed,
        }
        if lock is None and not rehearsal:
            lock = claim(out, data.name, recipe.name).lock if content is None else hold(out)
        self._lock, self._open = lock, True
        self._closed_at: tuple[Path | None, int] = (None, 0)
        if content is not None:
            read_parts(out, content, self.method, self.device)
        self.sampler = sampler_of(
            self.method,
            data,
            self.training.batch,
            seed=seed,
            augment=tuple(augment),
            folder=out,
            device=self.device,
            keep=not rehearsal,
        )
        if content is None:
            settings["parts"] = write_parts(out, self.method)
            settings["rows"] = write_seen(out, seen_in_training(data, recipe.builds_on))
            content = write_new(out, recipe, data, budget, settings, plugins)
        self.content = content

    @property
    def samples(self) -> int:
        """Training samples seen so far."""
        return self.clock.step * self.training.batch

    @property
    def saved(self) -> bool:
        """Whether the run has a checkpoint."""
        return self._saved_at >= 0

    @property
    def done(self) -> bool:
        """Whether the budget is used up."""
        return self.clock.done

    @restoring
    def advance(self, seconds: float = math.inf) -> None:
        """Train until the budget is used up, `stop` is set, or about ``seconds`` have gone into steps; then return.

        A new run is saved before its first step, so that it can be resumed whenever it is killed. So is the step at which the
        number of steps of a budget in seconds is fixed. torch's generators are left as they were found.

        Raises:
            Diverged: If a loss or a weight is not finite, or the logit gap runs away; the last sound checkpoint is kept.
            CheckpointError: If the disk refuses, or another training has taken the folder since this one was closed.
        """
        try:
            self._reopen()
            if self._saved_at < 0:
                self.save()
            reset_peak(self.device)
            until = self.clock.seconds + seconds
            with generators_kept(self.device):
                while not (self.done or self.stop or self.clock.seconds >= until):
                    self._advance_once()
            self._peak = max(self._peak, peak_memory(self.device))
            if self.done or self.stop:
                self.finish()
        except BaseException:
            self.close()
            raise

    def _advance_once(self) -> None:
        before = self.clock.progress
        self.threads.before(self.clock.step)
        started = time.perf_counter()
        with network_precision(self.precision):
            losses, health = self._step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        self.threads.after(self.clock.step, seconds)
        stage = self.clock.tick(seconds)
        self._note(losses, health | self.noise.after(self.clock.step, self.method))
        self.progress(self.folder.name, self.clock, self.samples, self.losses)
        if stage is not None:
            write_stages(self.folder, self.clock.stages)
        if (self._due() or self.clock.stages == [stage]) and self._sound():
            self._peak = max(self._peak, peak_memory(self.device))
            self.save()
        if any(before < share <= self.clock.progress for share in PICTURES):
            self._pictures()

    def finish(self) -> None:
        """Write what is held, save the present step if that has not been done, and give the folder back (`close`)."""
        try:
            if self._held or self._saved_at != self.clock.step:
                self._reopen()
                self._flush()
                if self._saved_at != self.clock.step:
                    self.save()
        finally:
            self.close()

    def close(self) -> None:
        """Give the folder's lock back; nothing is saved. `advance` takes it again."""
        if self._open:
            self._open, self._closed_at = False, self._standing()
            if self._lock is not None:
                self._lock.release()

    def _standing(self) -> tuple[Path | None, int]:
        """The newest checkpoint, and the last step in the log, which another training changes before it saves."""
        return checkpoints.latest(self.folder / "checkpoints"), log.last_step(self.folder / "metrics.jsonl")

    def _reopen(self) -> None:
        """Take the folder's lock again after `close`, unless the run has changed."""
        if self._open:
            return
        lock = hold(self.folder)
        if self._closed_at != self._standing():
            if lock is not None:
                lock.release()
            raise CheckpointError(
                f"{self.folder} has been trained further since this trainer was closed. Go on with what is there: pf.resume(...)."
            )
        self._lock, self._open = lock, True

    def _step(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        step, batch = self.clock.step, self.sampler.batch(self.clock.step // self.method.reuse, self.device)
        seed_generators(key(self.seed, "dropout", step) >> 1, self.device)
        nows = [self._now(part) for part in self._parts]
        rate = self.clock.rate(self.training.warmup, self.training.decay, self.training.lr_end)
        rate *= nows[0].along(1.0, self.training.lr_ramp, self.training.ramp)
        games = [self.method.losses(_rows(batch, part), now) for part, now in zip(self._parts, nows, strict=True)]
        losses: dict[str, Tensor] = {}
        norms: dict[str, Tensor] = {}
        while turn := self._turn(games):
            player, loss = turn
            if step % NORMS == 0:
                norms[f"gradient_norm/{player}"] = gradient_norm(self.players[player].parameters)
            self.players[player].update(rate, self._beta2(player, nows[0]))
            losses[player] = loss
        self.average.update(self.samples + self.training.batch, self.training.batch)
        return losses, joined([now.notes for now in nows], [part.stop - part.start for part in self._parts]) | norms

    def _beta2(self, player: str, now: Now) -> float | None:
        end = self.training.beta2_end
        return None if end is None else now.along(self.training.of(player, "betas")[1], end, self.training.ramp)

    def _turn(self, games: Sequence[Iterator[tuple[str, Tensor]]]) -> tuple[str, Tensor] | None:
        """One turn of the game in all parts of the batch, in lock step: gradients add up, each part's graph is freed at once.

        None when the game is over, which every part plays to its end.
        """
        player, total, over = "", torch.zeros((), device=self.device), 0
        for game, part in zip(games, self._parts, strict=True):
            move = next(game, None)
            if move is None:
                over += 1
                continue
            player, loss = move
            share = loss * ((part.stop - part.start) / self.training.batch)
            share.backward(inputs=self.players[player].parameters)
            total += share.detach()
        assert over in (0, len(games)), "every part of a batch plays the same turns"
        return None if over else (player, total)

    def _now(self, part: slice) -> Now:
        rows = part.stop - part.start
        draws = BlockDraws(self.seed, self.clock.step, rows, part.start, device=self.device)
        return Now(draws, self.samples, self.clock.progress, self.clock.step)

    def _note(self, losses: dict[str, Tensor], health: dict[str, Any]) -> None:
        at = {"step": self.clock.step, "samples": self.samples, "seconds": self.clock.seconds}
        self._held.append({**at, "loss": losses, **({"health": health} if health else {})})
        if len(self._held) >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        rows, self._held = self._held, []
        if not rows:
            return
        for row in rows:
            row["loss"] = {player: float(loss) for player, loss in row["loss"].items()}
        in_numbers([row["health"] for row in rows if "health" in row])
        for count, row in enumerate(rows):
            bad = [player for player, loss in row["loss"].items() if not math.isfinite(loss)]
            if bad:
                log.append(self.folder / "metrics.jsonl", rows[:count])
                raise self._diverged(f"The loss of the {bad[0]} is not finite at step {row['step']}")
            self.losses = row["loss"]
            if self._alarmed(row):
                log.append(self.folder / "metrics.jsonl", rows[: count + 1])
                ends = row["alarm"][-1]
                raise self._diverged(f"At step {row['step']:,} {ends['sentence']}", f"To fix it, {ends['advice']}.")
        log.append(self.folder / "metrics.jsonl", rows)

    def _alarmed(self, row: dict[str, Any]) -> bool:
        """Write the alarms that begin or end with a row into it, and say them; whether training has to stop."""
        news = self.watch.read(row)
        if news:
            row["alarm"] = [asdict(one) for one in news]
        for one in news:
            if one.kind != "divergence":
                self.progress.say(f"{self.folder.name}: step {one.step:,}: {one.text}")
        if words := in_words(row.get("health", {})):
            self.progress.measured(self.folder.name, words)
        return any(one.kind == "divergence" and not one.over for one in news)

    def _diverged(self, what: str, advice: str = ADVICE) -> Diverged:
        kept = f"; {self.folder}/checkpoints keeps step {self._saved_at}" if self._saved_at >= 0 else ""
        return Diverged(f"{what}{kept}. {advice}")

    def _sound(self) -> bool:
        """Whether the present weights may take the place of earlier ones: not while the logit gap is running away."""
        self._flush()
        return not self.watch.suspect

    def _check_weights(self) -> None:
        """Losses may be finite where a gradient was not."""
        for kind, method in (("weights", self.method), ("averaged weights", self.average.method)):
            for name, parameter in method.named_parameters():
                if not bool(torch.isfinite(parameter).all()):
                    raise self._diverged(f"The {kind} {name} are not finite after step {self.clock.step}")

    def _due(self) -> bool:
        if self.checkpoint_every is not None:
            return self.clock.step % self.checkpoint_every == 0
        limit = self.clock.budget.seconds
        return self.clock.seconds - self._saved_seconds >= min(CHECKPOINT_SECONDS, math.inf if limit is None else limit / 4)

    def save(self) -> Path:
        """Write a checkpoint of the present step.

        Raises:
            Diverged: If a loss or a weight is not finite, or the logit gap ran away; earlier checkpoints stay.
            CheckpointError: If the disk refuses.
        """
        self._reopen()
        self._flush()
        self._check_weights()
        optimizers = {name: value for player in self.players.values() for name, value in player.state().items()}
        tensors = {
            "method": self.method.state_dict(),
            "average": self.average.method.state_dict(),
            "optimizer": optimizers,
        }
        state = {
            "format_version": checkpoints.FORMAT,
            "step": self.clock.step,
            "samples": self.samples,
            "seconds": self.clock.seconds,
            "total": self.clock.total,
            "stages": [asdict(stage) for stage in self.clock.stages],
            "warmed": self.clock.warmed,
            "budget": asdict(self.budget),
            "spec_sha256": digest(self.content),
            "precision": self.precision,
            "batch": self.training.batch,
            "peak_memory_mb": self._peak / 2**20,
        }
        try:
            written = checkpoints.save(self.folder / "checkpoints", self.clock.step, tensors, state, after=self._saved_at)
        except CheckpointError as error:
            if self._saved_at >= 0:
                raise
            raise CheckpointError(
                f"{error} Nothing has been saved of this run yet; once there is space, start it: pushforward resume {self.folder}"
            ) from error
        self._saved_at, self._saved_seconds = self.clock.step, self.clock.seconds
        return written

    def restore(self, folder: Path) -> None:
        """Take up a checkpoint: weights, averages, optimisers and counters.

        Later rows of the log are dropped, and the earlier ones are read again by the alarms.
        """
        found = checkpoints.load(folder, self.device)
        restore(self.method, found.tensors["method"], folder)
        restore(self.average.method, found.tensors["average"], folder)
        for player in self.players.values():
            player.restore(found.tensors["optimizer"])
        state = found.state
        self.clock.step, self.clock.seconds = state["step"], state["seconds"]
        if self.budget.seconds is not None and asdict(self.budget) == state.get("budget", self.content["budget"]):
            self.clock.replay(stages_of(self.folder, state))
        self.clock.warm(state.get("warmed"))
        self._peak = int(2**20 * (state.get("peak_memory_mb") or 0))
        self._saved_at, self._saved_seconds = state["step"], state["seconds"]
        self.threads.resume(state["step"])
        log.cut(self.folder / "metrics.jsonl", state["step"])
        self.watch = Watch()
        for row in log.read(self.folder / "metrics.jsonl"):
            self.watch.read(row)
            self.clock.mark(row["step"], row.get("seconds", 0.0))

    def _pictures(self) -> None:
        self._flush()
        self._check_weights()
        count = 36 if self.data.space.kind == "image" else 1000
        x = self.average.method.transport().sample(count, seed=0)
        name = f"step_{self.clock.step:06d}"
        folder = self.folder / "samples"
        with checkpoints._disk(folder):
            folder.mkdir(exist_ok=True)
            arrays: dict[str, Any] = {"x": self.data.space.quantise(x), **landscape(self.method, self.data)}
            np.savez_compressed(folder / f"{name}.npz", **arrays)
            _picture(folder / f"{name}.png", self.data, x)


def _picture(path: Path, data: Dataset, x: Tensor) -> None:
    from pushforward.pictures import grid_picture, legible, scatter_picture

    if data.space.kind == "image":
        images = data.space.quantise(x)
        grid_picture(images, scale=legible(images)).save(path)
    elif data.space.shape == (2,):
        scatter_picture(x.numpy(), data.held_out.data_units(permutation(len(data.held_out), 0)[: len(x)]).numpy()).save(path)


def _parts(training: Training, method: Method) -> list[slice]:
    """The parts of a batch that are computed at a time: whole blocks of draws and whole groups of the method."""
    unit, size = math.lcm(BLOCK, method.group), training.batch
    rows = math.ceil(size / training.accumulate)
    if training.accumulate > 1 and (rows % unit or size < training.accumulate * unit):
        raise UsageError(
            f"A batch of {size} cannot be accumulated in {training.accumulate} parts: each must be a multiple of {unit} rows. "
            f"Choose `batch={unit * training.accumulate}` or fewer parts."
        )
    return [slice(at, min(at + rows, size)) for at in range(0, size, rows)]


def _rows(batch: Batch, part: slice) -> Batch:
    return batch if part.start == 0 and part.stop >= len(batch.x) else batch.rows(part)
