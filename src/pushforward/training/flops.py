"""Budgets in floating point operations: the operations of a recipe's step, and the steps that a budget allows."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from pushforward.arguments import number
from pushforward.data import Dataset
from pushforward.errors import UsageError
from pushforward.recipes.recipe import Recipe
from pushforward.training.budget import Budget
from pushforward.training.options import Settings
from pushforward.training.runs.run_lock import Holding
from pushforward.training.trainer import Trainer

__all__ = ["step_flops", "steps_within"]

PERIOD = 16
"""Steps that are counted where the first two differ: by a penalty that is not due in every step, or by the draws."""


class _Counter(TorchDispatchMode):
    """Counts operations by torch's own formulas. `FlopCounterMode` counts by module, whose hooks fail under ``autograd.grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def step_flops(recipe: Recipe, data: Dataset, settings: Settings | None = None) -> float:
    """Floating point operations of a training step: matrix products, convolutions and attention, forward and backward.

    Counted in steps of a copy of the recipe; a multiplication and an addition are two. Element-wise work, optimisers and the
    observers of training are not counted.

    Raises:
        UsageError: For a recipe that learns from trajectories, which are made before its first step.
    """
    twin = replace(recipe, method=copy.deepcopy(recipe.method))
    counts: list[int] = []
    with tempfile.TemporaryDirectory() as empty, torch.random.fork_rng(devices=[]):
        holding = Holding(Path(empty), None, writes=False)
        trainer = Trainer(twin, data, Budget(steps=PERIOD), out=holding, settings=settings, observers=())
        if not trainer.store.whole:
            raise UsageError(
                f"{recipe.name} makes trajectories before its first step, which no budget in `flops` counts: give `steps`, "
                "`samples` or `seconds`."
            )
        while len(counts) < 2 or (len(counts) < PERIOD and counts[0] != counts[1]):
            with sdpa_kernel(SDPBackend.MATH), _Counter() as counter:  # attention as products that all devices count
                trainer.step()
            trainer.clock.tick(0.0)
            counts.append(counter.total)
    return sum(counts) / len(counts)


def steps_within(flops: float, recipe: Recipe, data: Dataset, settings: Settings | None = None) -> tuple[int, float]:
    """The number of steps within so many floating point operations, and the operations of each.

    Raises:
        UsageError: If they do not suffice for a single step, or a step has none that are counted.
    """
    if not number("flops", flops) > 0:
        raise UsageError(f"`flops` must be positive, got {flops}.")
    each = step_flops(recipe, data, settings)
    if not 0 < each <= flops:
        raise UsageError(f"A step of {recipe.name} takes {each:.3g} floating point operations: `flops={flops:g}` allows no step.")
    return int(flops / each), each
