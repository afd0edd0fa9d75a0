"""Estimates of memory, steps and floating-point operations before training."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from pushforward.arguments import number
from pushforward.data import Dataset
from pushforward.errors import PushforwardError, UsageError
from pushforward.recipes.recipe import Recipe
from pushforward.training.loop.budget import Budget, Settings
from pushforward.training.loop.machine import added_peak, held_bytes, lacks_memory
from pushforward.training.loop.step import parts_of
from pushforward.training.loop.trainer import Trainer
from pushforward.training.runs.folder import RunLock
from pushforward.training.runs.run import Run
from pushforward.training.runs.spec_file import recipe_of

FEW = 16  # smallest number of examples whose activations are measured
PERIOD = 16
"""Number of steps whose operations are counted if the first two differ, because of a periodic
penalty or random choices."""


@dataclass(frozen=True)
class Plan:
    """Resources that a training run will need.

    Args:
        share: Number of examples per step and process.
        part: Micro-batch size.
        steps: Total number of steps; None for a budget in seconds.
        memory: Memory of one process in bytes.
        checkpoint: Size of a checkpoint in bytes.
    """

    processes: int
    sharded: bool
    parameters: int
    batch: int
    share: int
    part: int
    steps: int | None
    steps_per_epoch: float
    memory: int
    checkpoint: int
    precision: str


def plan(
    recipe: Recipe, data: Dataset, budget: Budget, *, processes: int = 1, sharded: bool = False
) -> Plan:
    """Estimate the resources of a training run from a small step."""
    training = recipe.training
    method = recipe.method
    first = parts_of(training, method, processes)[0]
    part = first.stop - first.start
    few = min(part, math.lcm(FEW, method.group))
    small = replace(recipe, training=training.changed(batch=few, accumulate=1))
    with tempfile.TemporaryDirectory() as nowhere, torch.random.fork_rng(devices=[]):
        trainer = _unwritten(small, data, Budget(steps=2), Path(nowhere))
        added = _of_second_step(trainer) or 0
    networks = [list(player.parameters()) for player in method.players.values()]
    sizes = [_bytes(parameters) for parameters in networks]
    gradients = _bytes(p for parameters in networks for p in parameters if p.requires_grad)
    kept = _bytes((*trainer.method.state_dict().values(), *trainer.average.state_dict().values()))
    kept += sum(player.state_bytes() for player in trainer.state.optimizers.values())
    memory = (kept + gradients) // (processes if sharded else 1)
    if sharded:
        memory += 2 * max(sizes)  # whole weights and gradients while a network is used
    for frozen in method.parts.values():
        memory += _bytes(frozen.state_dict().values())
    memory += max(0, added - gradients) * part // few
    memory += data.train.x.nbytes
    return Plan(
        processes=processes,
        sharded=sharded,
        parameters=sum(p.numel() for parameters in networks for p in parameters),
        batch=training.batch,
        share=min(part * training.accumulate, training.batch),
        part=part,
        steps=budget.total_steps(training.batch),
        steps_per_epoch=len(data.train) / training.batch,
        memory=memory,
        checkpoint=kept,
        precision=trainer.precision,
    )


def _unwritten(
    recipe: Recipe, data: Dataset, budget: Budget, folder: Path, settings: Settings | None = None
) -> Trainer:
    return Trainer(
        recipe,
        data,
        budget,
        out=RunLock(folder, None, writes=False),
        settings=settings,
        observers=(),
    )


def _of_second_step(trainer: Trainer) -> int | None:
    if not trainer.trajectory_store.whole:
        return None
    _step(trainer)
    return added_peak(partial(_step, trainer), trainer.device)


def _step(trainer: Trainer) -> None:
    trainer.train_step(trainer.next_batch())


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum({tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in tensors}.values())


def training_memory(run: Run, data: Dataset) -> int | None:
    """Measure the peak tensor memory of a training step of a run's recipe."""
    if data.fingerprint != run.spec["fingerprint"]:
        data = data.without_labels()
    if data.fingerprint != run.spec["fingerprint"]:
        return None
    holding = RunLock(run.folder, None, run.spec, writes=False)
    settings = Settings(seed=run.spec["seed"], device=next(run.method.parameters()).device)
    try:
        with torch.random.fork_rng(devices=[]):
            trainer = Trainer(
                recipe_of(run.spec), data, Budget(steps=2), out=holding, settings=settings
            )
            added = _of_second_step(trainer)
    except PushforwardError:
        return None
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        return None
    if added is None:
        return None
    held = held_bytes(trainer.method, trainer.average.method, *trainer.method.parts.values())
    for player in trainer.state.optimizers.values():
        held += sum(value.nbytes for value in player.state().values())
    return held + added


class _Counter(TorchDispatchMode):
    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def step_flops(recipe: Recipe, data: Dataset, settings: Settings | None = None) -> float:
    """Count the floating-point operations of a training step, without element-wise ones."""
    twin = replace(recipe, method=copy.deepcopy(recipe.method))
    counts: list[int] = []
    with tempfile.TemporaryDirectory() as empty, torch.random.fork_rng(devices=[]):
        trainer = _unwritten(twin, data, Budget(steps=PERIOD), Path(empty), settings)
        if not trainer.trajectory_store.whole:
            raise UsageError(
                f"{recipe.name} computes trajectories before its first step, which a budget in "
                "`flops` cannot count. Use `steps`, `samples` or `seconds`."
            )
        while len(counts) < 2 or (len(counts) < PERIOD and counts[0] != counts[1]):
            # attention as matrix products, which all devices count
            with sdpa_kernel(SDPBackend.MATH), _Counter() as counter:
                _step(trainer)
            trainer.state.advance(0.0)
            counts.append(counter.total)
    return sum(counts) / len(counts)


def steps_within(
    flops: float, recipe: Recipe, data: Dataset, settings: Settings | None = None
) -> tuple[int, float]:
    """Return the number of steps within a budget of operations, and the operations per step."""
    if not number("flops", flops) > 0:
        raise UsageError(f"`flops` must be positive, got {flops}.")
    each = step_flops(recipe, data, settings)
    if not 0 < each <= flops:
        raise UsageError(
            f"One step of {recipe.name} takes {each:.3g} floating-point operations, so "
            f"`flops={flops:g}` is less than one step. Increase `flops`."
        )
    return int(flops / each), each
