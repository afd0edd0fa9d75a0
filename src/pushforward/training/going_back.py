"""The state of a trainer in a checkpoint, and its restoration: for resuming, or to end with earlier weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pushforward.training import checkpoint as checkpoints
from pushforward.training import shards
from pushforward.training.observing import passed
from pushforward.training.tensors import restore
from pushforward.training.variety_alarm import weights_of

if TYPE_CHECKING:
    from pushforward.training.trainer import Trainer

__all__ = ["content_of", "ending", "go_back", "take_up"]


def content_of(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """The weights, averages and optimisers of a trainer, sharded where it holds them so."""
    optimizers = {name: value for player in trainer.players.values() for name, value in player.state().items()}
    return {"method": trainer.method.state_dict(), "average": trainer.average.state_dict(), "optimizer": optimizers}


def take_up(trainer: Trainer, stored: Path | checkpoints.Checkpoint) -> dict[str, Any]:
    """Give a trainer the weights, averages and optimisers of a checkpoint; returns its counters, which are not taken up.

    Args:
        trainer: The trainer.
        stored: The checkpoint's folder, or its content where that has been read already.

    Raises:
        CheckpointError: If it is damaged, or does not fit.
    """
    folder = stored if isinstance(stored, Path) else stored.folder
    if trainer.processes.sharded and shards.has_shards(folder):
        # one process verifies all files; the others read their parts after it
        state = checkpoints.read_state(folder) if trainer.processes.rank == 0 else None
        state = dict(trainer.processes.first(state))
        shards.take_up(trainer, folder)
        return state
    stored = checkpoints.load(stored, trainer.device) if isinstance(stored, Path) else stored
    restore(trainer.method, stored.tensors["method"], stored.folder)
    restore(trainer.average.method, stored.weights(), stored.folder)
    for player in trainer.players.values():
        player.restore(stored.tensors["optimizer"])
    return stored.state


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
    take_up(trainer, _goal(trainer.folder, passed(trainer.observers) or 0))
