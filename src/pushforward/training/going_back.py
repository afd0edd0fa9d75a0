"""The state of a trainer in a checkpoint, and its restoration: for resuming, or to end with earlier weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pushforward.training import checkpoint as checkpoints
from pushforward.training import shards
from pushforward.training.observing import passed
from pushforward.training.tensors import restore
from pushforward.training.variety_alarm import weights_of

if TYPE_CHECKING:
    from pushforward.training.processes import Processes
    from pushforward.training.trainer import Trainer

__all__ = ["ending", "go_back", "state_of", "stored_for", "take_up"]


def state_of(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """The weights, averages and optimisers of a trainer, as they are: sharded or whole."""
    optimizers = {name: value for player in trainer.players.values() for name, value in player.state().items()}
    return {"method": trainer.method.state_dict(), "average": trainer.average.state_dict(), "optimizer": optimizers}


def stored_for(processes: Processes, folder: Path, device: torch.device) -> checkpoints.Checkpoint:
    """A checkpoint to `take_up`, verified and read; without tensors where each process reads its own part of sharded ones then.

    Raises:
        CheckpointError: If it is damaged.
    """
    if not (processes.sharded and shards.has_shards(folder)):
        return checkpoints.load(folder, device)
    # one process verifies all files
    state = checkpoints.read_state(folder) if processes.rank == 0 else None
    return checkpoints.Checkpoint(folder, {}, dict(processes.first(state)))


def take_up(trainer: Trainer, stored: checkpoints.Checkpoint) -> None:
    """Give a trainer the weights, averages and optimisers of a checkpoint; its counters stay.

    Raises:
        CheckpointError: If they do not fit.
    """
    if not stored.tensors:
        shards.take_up(trainer, stored.folder)
        return
    restore(trainer.method, stored.tensors["method"], stored.folder)
    restore(trainer.average.method, stored.weights(), stored.folder)
    for player in trainer.players.values():
        player.restore(stored.tensors["optimizer"])


def _goal(folder: Path, step: int) -> Path:
    """The checkpoint of a step, or the newest one where that is gone, because an older one was resumed."""
    inside = folder / "checkpoints"
    where = inside / checkpoints.step_name(step)
    return where if where.is_dir() else checkpoints.latest(inside) or where


def ending(folder: Path, step: int) -> str:
    """With which weights a training ends that goes back to a step, in words."""
    used = checkpoints.step_of(_goal(folder, step))
    if used == step:
        return weights_of(step)
    gone = "that it began with" if step == 0 else f"of step {step:,}"
    return f"{weights_of(used)}, the newest there are: those {gone} are gone"


def go_back(trainer: Trainer) -> None:
    """Give a trainer the weights of the last step that was found good; they are then saved as those of the present step.

    Where that checkpoint is gone, it is the newest one, which the alarm names (`ending`).

    Raises:
        CheckpointError: If it is damaged.
    """
    where = _goal(trainer.folder, passed(trainer.observers) or 0)
    take_up(trainer, stored_for(trainer.processes, where, trainer.device))
    trainer.saver.weights_step = checkpoints.step_of(where)
