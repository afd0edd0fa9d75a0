"""The training loop: one for every method."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data import Batch, Dataset, Sampler
from pushforward.draws import BLOCK, BlockDraws, key
from pushforward.errors import Diverged, UsageError
from pushforward.methods import Method, Now
from pushforward.precision import network_precision, resolve_precision
from pushforward.recipes import Recipe, Training
from pushforward.training import checkpoint as checkpoints
from pushforward.training.budget import Budget, Clock
from pushforward.training.ema import Average
from pushforward.training.optimizers import players_of
from pushforward.training.progress import Silent
from pushforward.training.run import restore, write_new

__all__ = ["Trainer"]

FLUSH = 25
"""Steps whose losses are held before they are checked and written."""
PICTURES = (0.02, 0.1, 0.3, 0.6, 1.0)
"""Shares of the budget at which fixed-noise samples are written."""
CHECKPOINT_SECONDS = 120.0
"""Training seconds between checkpoints where --checkpoint-every is not given."""


class Trainer:
    """A training that can be advanced in turns, stopped between steps and taken up again.

    Args:
        recipe: The method and its settings.
        data: What it is trained on.
        budget: When it ends.
        out: The run's folder; must not exist unless ``content`` is given.
        seed: Of everything random.
        device: Where it is trained.
        augment: Augmentations by name ("flip", "shift").
        checkpoint_every: Steps between checkpoints; None means every two minutes of training. The last step is always saved.
        progress: What shows it to a person.
        plugins: Python files that the recipe came from; their hashes are stored.
        content: The spec of a run that is taken up again.
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
        progress: Silent | None = None,
        plugins: Sequence[Path] = (),
        content: dict[str, Any] | None = None,
    ) -> None:
        _check_fit(recipe, data, checkpoint_every)
        self.recipe, self.data, self.budget, self.folder, self.seed = recipe, data, budget, out, seed
        self.device, self.checkpoint_every, self.progress = torch.device(device), checkpoint_every, progress or Silent()
        self.training = recipe.training
        self.precision = resolve_precision(self.training.precision, self.device)
        self.method = recipe.method.to(self.device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.players = players_of(self.method, self.training)
        self.average = Average(self.method, self.training.ema, self.training.ema_share)
        conditioned = bool(self.method.space.classes)
        self.sampler = Sampler(data, self.training.batch, seed=seed, augment=tuple(augment), condition=conditioned)
        self.clock = Clock(budget, self.training.batch)
        self.stop = False
        self.losses: dict[str, float] = {}
        self._held: list[dict[str, Any]] = []
        self._dropout = any(isinstance(part, nn.Dropout) and part.p > 0 for part in self.method.modules())
        self._saved_at, self._saved_seconds = -1, 0.0
        self._parts = _parts(self.training, self.method)
        settings = {"seed": seed, "augment": list(augment), "checkpoint_every": checkpoint_every}
        self.content = content or write_new(out, recipe, data, budget, settings, plugins)

    @property
    def samples(self) -> int:
        """Training samples seen so far."""
        return self.clock.step * self.training.batch

    @property
    def done(self) -> bool:
        """Whether the budget is used up."""
        return self.clock.done

    def advance(self, seconds: float = math.inf) -> None:
        """Train until the budget is used up, `stop` is set, or about ``seconds`` have gone into steps; then return.

        Raises:
            Diverged: If a loss is not finite; the last checkpoint is kept.
            CheckpointError: If the disk refuses.
        """
        until = self.clock.seconds + seconds
        while not (self.done or self.stop or self.clock.seconds >= until):
            before = self.clock.progress
            started = time.perf_counter()
            with network_precision(self.precision):
                losses = self._step()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            self.clock.tick(time.perf_counter() - started)
            self._note(losses)
            self.progress(self.folder.name, self.clock, self.samples, self.losses)
            if self._due():
                self.save()
            if any(before < share <= self.clock.progress for share in PICTURES):
                self._pictures()
        if self.done or self.stop:
            self.finish()

    def finish(self) -> None:
        """Write what is held and save the present step, if that has not been done."""
        self._flush()
        if self._saved_at != self.clock.step:
            self.save()

    def _step(self) -> dict[str, Tensor]:
        step, batch = self.clock.step, self.sampler.batch(self.clock.step // self.method.reuse, self.device)
        if self._dropout:
            torch.manual_seed(key(self.seed, "dropout", step) >> 1)
        rate = self.clock.rate(self.training.warmup, self.training.decay, self.training.lr_end)
        games = [self.method.losses(_rows(batch, part), self._now(part)) for part in self._parts]
        losses: dict[str, Tensor] = {}
        while turn := self._turn(games):
            player, loss = turn
            self.players[player].update(rate)
            losses[player] = loss
        self.average.update(self.samples + self.training.batch, self.training.batch)
        return losses

    def _turn(self, games: Sequence[Iterator[tuple[str, Tensor]]]) -> tuple[str, Tensor] | None:
        """One turn of the game in all parts of the batch, in lock step: gradients add up, each part's graph is freed at once."""
        player, total = "", torch.zeros((), device=self.device)
        for game, part in zip(games, self._parts, strict=True):
            move = next(game, None)
            if move is None:
                return None
            player, loss = move
            share = loss * ((part.stop - part.start) / self.training.batch)
            share.backward(inputs=self.players[player].parameters)
            total += share.detach()
        return player, total

    def _now(self, part: slice) -> Now:
        rows = part.stop - part.start
        draws = BlockDraws(self.seed, self.clock.step, rows, part.start, device=self.device)
        return Now(draws, self.samples, self.clock.progress)

    def _note(self, losses: dict[str, Tensor]) -> None:
        self._held.append({"step": self.clock.step, "samples": self.samples, "seconds": self.clock.seconds, "loss": losses})
        if len(self._held) >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        rows, self._held = self._held, []
        if not rows:
            return
        for row in rows:
            row["loss"] = {player: float(loss) for player, loss in row["loss"].items()}
        bad = [(row["step"], player) for row in rows for player, loss in row["loss"].items() if not math.isfinite(loss)]
        if bad:
            kept = f"; {self.folder}/checkpoints keeps step {self._saved_at}" if self._saved_at >= 0 else ""
            raise Diverged(
                f"The loss of the {bad[0][1]} is not finite at step {bad[0][0]}{kept}. "
                "Try a lower --lr, --precision float32, or check the data with `pushforward data check`."
            )
        self.losses = rows[-1]["loss"]
        with checkpoints._disk(self.folder / "metrics.jsonl"), (self.folder / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def _due(self) -> bool:
        if self.checkpoint_every is not None:
            return self.clock.step % self.checkpoint_every == 0
        return self.clock.seconds - self._saved_seconds >= CHECKPOINT_SECONDS

    def save(self) -> Path:
        """Write a checkpoint of the present step."""
        self._flush()
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
            "precision": self.precision,
            "batch": self.training.batch,
            "peak_memory_mb": _peak_memory(self.device),
        }
        written = checkpoints.save(self.folder / "checkpoints", self.clock.step, tensors, state)
        self._saved_at, self._saved_seconds = self.clock.step, self.clock.seconds
        return written

    def restore(self, folder: Path) -> None:
        """Take up a checkpoint: weights, averages, optimisers and counters; later rows of the log are dropped."""
        found = checkpoints.load(folder, self.device)
        restore(self.method, found.tensors["method"], folder)
        restore(self.average.method, found.tensors["average"], folder)
        for player in self.players.values():
            player.restore(found.tensors["optimizer"])
        state = found.state
        self.clock.step, self.clock.seconds = state["step"], state["seconds"]
        if self.budget.seconds is not None and asdict(self.budget) == self.content["budget"]:
            self.clock.total = state["total"]
        self._saved_at, self._saved_seconds = state["step"], state["seconds"]
        _cut(self.folder / "metrics.jsonl", state["step"])

    def _pictures(self) -> None:
        count = 36 if self.data.space.kind == "image" else 1000
        x = self.average.method.transport().sample(count, seed=0)
        name = f"step_{self.clock.step:06d}"
        folder = self.folder / "samples"
        with checkpoints._disk(folder):
            folder.mkdir(exist_ok=True)
            np.savez_compressed(folder / f"{name}.npz", x=self.data.space.quantise(x))
            _picture(folder / f"{name}.png", self.data, x)


def _picture(path: Path, data: Dataset, x: Tensor) -> None:
    from pushforward.pictures import grid_picture, scatter_picture

    if data.space.kind == "image":
        grid_picture(data.space.quantise(x)).save(path)
    elif data.space.shape == (2,):
        scatter_picture(x.numpy(), data.held_out.data_units()[: len(x)].numpy()).save(path)


def _check_fit(recipe: Recipe, data: Dataset, checkpoint_every: int | None) -> None:
    if tuple(recipe.method.space.shape) != tuple(data.space.shape):
        raise UsageError(
            f"The method is made for rows of shape {tuple(recipe.method.space.shape)}; {data.name} has "
            f"{tuple(data.space.shape)}. "
            "Make the recipe from data.space."
        )
    if checkpoint_every is not None and checkpoint_every < 1:
        raise UsageError(f"--checkpoint-every needs at least 1 step, got {checkpoint_every}.")


def _parts(training: Training, method: Method) -> list[slice]:
    """The parts of a batch that are computed at a time: whole blocks of draws and whole groups of the method."""
    unit, size = math.lcm(BLOCK, method.group), training.batch
    rows = math.ceil(size / training.accumulate)
    if training.accumulate > 1 and (rows % unit or size < training.accumulate * unit):
        raise UsageError(
            f"A batch of {size} cannot be accumulated in {training.accumulate} parts: each must be a multiple of {unit} rows. "
            f"Choose --batch {unit * training.accumulate} or fewer parts."
        )
    return [slice(at, min(at + rows, size)) for at in range(0, size, rows)]


def _rows(batch: Batch, part: slice) -> Batch:
    return batch if part.start == 0 and part.stop >= len(batch.x) else batch.rows(part)


def _cut(path: Path, step: int) -> None:
    """Drop the log's rows after a step, and a last row that was cut off."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    if len(kept) != len(lines):
        path.write_text("".join(f"{line}\n" for line in kept))


def _peak_memory(device: torch.device) -> float:
    import resource

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
