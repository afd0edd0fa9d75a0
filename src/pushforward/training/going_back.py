"""Taking up what a checkpoint holds: as a run is resumed, or where training ends with earlier weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.training import checkpoint as checkpoints
from pushforward.training.observing import passed
from pushforward.training.tensors import restore

if TYPE_CHECKING:
    from pushforward.training.trainer import Trainer

__all__ = ["go_back", "take_up"]


def take_up(trainer: Trainer, stored: checkpoints.Checkpoint) -> None:
    """Give a trainer the weights, averages and optimisers of a checkpoint; its counters stay."""
    restore(trainer.method, stored.tensors["method"], stored.folder)
    restore(trainer.average.method, stored.weights(), stored.folder)
    for player in trainer.players.values():
        player.restore(stored.tensors["optimizer"])


def go_back(trainer: Trainer) -> None:
    """Give a trainer the weights of the last step that was found good; they are then saved as those of the present step.

    Where that checkpoint is gone, because an older one was resumed, it is the newest one.

    Raises:
        CheckpointError: If it is damaged.
    """
    inside = trainer.folder / "checkpoints"
    where = inside / checkpoints.step_name(passed(trainer.observers) or 0)
    take_up(trainer, checkpoints.load(where if where.is_dir() else checkpoints.latest(inside) or where, trainer.device))
