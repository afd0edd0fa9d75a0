"""A method where it is trained: on its device and in its processes, with optimisers, average and step."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.devices import laid_out
from pushforward.methods.method import Method
from pushforward.recipes.recipe import Recipe
from pushforward.training.checkpoint.tensors import local
from pushforward.training.ema import Average
from pushforward.training.optimizers import Player, players_of
from pushforward.training.options import Settings
from pushforward.training.processes import Processes
from pushforward.training.step import Step


class Placed(NamedTuple):
    """A method that is ready for its first step.

    Args:
        method: The method.
        players: Its players by name, with their optimisers.
        average: Its averaged weights.
        step: Computes its steps.
        moving: What a step may change: its floating-point tensors, of sharded ones the share of this process.
    """

    method: Method
    players: dict[str, Player]
    average: Average
    step: Step
    moving: list[Tensor]


def placed(recipe: Recipe, data: Dataset, settings: Settings, processes: Processes) -> Placed:
    """Bring a recipe's method to its device and processes.

    Raises:
        UsageError: If batches cannot be split as the recipe says, or weights not sharded.
    """
    training, device = recipe.training, torch.device(settings.device)
    method = laid_out(recipe.method.to(device), data.space.memory_format).train()
    # sharded weights cannot be copied, so the average begins as a copy of the whole ones
    twin = copy.deepcopy(method) if processes.count > 1 else None
    method = processes.distribute(method)
    players = players_of(method, training)
    average = Average(method, training.ema, training.ema_share, None if twin is None else lambda: processes.distribute(twin))
    step = Step(method, players, training, seed=settings.seed, device=device, processes=processes)
    return Placed(method, players, average, step, [local(v) for v in method.state_dict().values() if v.is_floating_point()])
