"""What a checkpoint holds of a trainer, and taking it up: as a run is resumed, or where training ends with earlier weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from pushforward.training import checkpoint as checkpoints
from pushforward.training.observing import passed
from pushforward.training.tensors import gathered, restore

if TYPE_CHECKING:
    from pushforward.training.trainer import Trainer

__all__ = ["content_of", "go_back", "take_up"]


def content_of(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """The weights, averages and optimisers of a trainer, whole where they are sharded."""
    optimizers = {name: value for player in trainer.players.values() for name, value in player.state().items()}
    groups = {"method": trainer.method.state_dict(), "average": trainer.average.state_dict(), "optimizer": optimizers}
    return {name: gathered(group) for name, group in groups.items()}


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
