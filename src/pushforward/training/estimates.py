"""Estimates of memory, steps and floating-point operations before training."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from pushforward.arguments import number
from pushforward.data import Dataset
from pushforward.errors import CheckpointError, DataError, OutOfMemory, UsageError
from pushforward.recipes.recipe import Recipe
from pushforward.training.loop.budget import Budget, Settings
from pushforward.training.loop.machine import added_peak, held_bytes, lacks_memory
from pushforward.training.loop.step import parts_of
from pushforward.training.loop.trainer import Trainer
from pushforward.training.runs.folder import RunLock
from pushforward.training.runs.run import Run
from pushforward.training.runs.spec_file import recipe_of

FEW = 8  # size of the smaller of two micro-batches whose activations are measured
PERIOD = 16
"""Number of steps whose operations are counted if the first two differ, because of a periodic
penalty or random choices."""


@dataclass(frozen=True)
class Needs:
    """Memory of one process in bytes, with this process's shard of sharded weights.

    Args:
        gathered: Whole weights and gradients of the largest network while it is used.
        activations: Additional memory of a micro-batch; None if it cannot be measured.
    """

    weights: int
    gradients: int
    optimizers: int
    average: int
    frozen: int
    gathered: int
    activations: int | None
    data: int

    @property
    def total(self) -> int:
        return sum(value or 0 for value in asdict(self).values())


@dataclass(frozen=True)
class Plan:
    """Resources that a training run will need.

    Args:
        share: Number of examples per step and process.
        part: Micro-batch size.
        steps: Total number of steps; None for a budget in seconds.
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
    memory: Needs
    checkpoint: int
    precision: str

    def to_plain(self) -> dict[str, Any]:
        plain = asdict(self)
        return {**plain, "memory": {**plain["memory"], "total": self.memory.total}}


def plan(
    recipe: Recipe, data: Dataset, budget: Budget, *, processes: int = 1, sharded: bool = False
) -> Plan:
    """Estimate the resources of a training run from two small steps."""
    training = recipe.training
    method = recipe.method
    shares = processes if sharded else 1
    parts = parts_of(training, method, processes)
    part = parts[0].stop - parts[0].start
    with tempfile.TemporaryDirectory() as nowhere, torch.random.fork_rng(devices=[]):
        activations = _activations(recipe, data, part, Path(nowhere))
        trainer = _unwritten(recipe, data, budget, Path(nowhere))
        weights, average = (
            _bytes(kept.state_dict().values()) for kept in (trainer.method, trainer.average)
        )
        optimizers = sum(player.state_bytes() for player in trainer.state.optimizers.values())
        steps = trainer.clock.total
        precision = trainer.precision
    sizes = [_bytes(player.parameters()) for player in method.players.values()]
    needs = Needs(
        weights=weights // shares,
        gradients=_bytes(
            p for player in method.players.values() for p in player.parameters() if p.requires_grad
        )
        // shares,
        optimizers=optimizers // shares,
        average=average // shares,
        frozen=sum(_bytes(frozen.state_dict().values()) for frozen in method.parts.values()),
        gathered=2 * max(sizes) if sharded else 0,
        activations=activations,
        data=sum(value.nbytes for value in (data.train.x, *data.train.values.values())),
    )
    return Plan(
        processes=processes,
        sharded=sharded,
        parameters=sum(
            p.numel() for player in method.players.values() for p in player.parameters()
        ),
        batch=training.batch,
        share=min(part * training.accumulate, training.batch),
        part=part,
        steps=steps,
        steps_per_epoch=len(data.train) / training.batch,
        memory=needs,
        checkpoint=weights + average + optimizers,
        precision=precision,
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


def _activations(recipe: Recipe, data: Dataset, part: int, folder: Path) -> int | None:
    few = math.lcm(recipe.method.group, FEW) if recipe.method.group <= FEW else recipe.method.group
    sizes = [part] if part <= 2 * few else [few, 2 * few]
    measured = list[int]()
    for size in sizes:
        small = replace(recipe, training=recipe.training.changed(batch=size, accumulate=1))
        trainer = _unwritten(small, data, Budget(steps=2), folder)
        if (added := _of_second_step(trainer)) is None:
            return None
        measured.append(
            max(
                0,
                added
                - _bytes(
                    p for player in trainer.state.optimizers.values() for p in player.parameters
                ),
            )
        )
    slope = max(0, measured[-1] - measured[0]) / few
    return round(measured[-1] + slope * (part - sizes[-1]))


def _of_second_step(trainer: Trainer) -> int | None:
    if not trainer.store.whole:
        return None
    _step(trainer)
    return added_peak(partial(_step, trainer), trainer.device)


def _step(trainer: Trainer) -> None:
    trainer.train_step(trainer.next_batch())


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum({tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in tensors}.values())


def training_memory(run: Run, data: Dataset) -> int | None:
    """Measure the peak tensor memory of a training step of a run's recipe."""
    learned = next(
        (
            known
            for known in (data, data.without_labels())
            if known.fingerprint == run.spec["fingerprint"]
        ),
        None,
    )
    if learned is None:
        return None
    holding = RunLock(run.folder, None, run.spec, writes=False)
    settings = Settings(seed=run.spec["seed"], device=next(run.method.parameters()).device)
    try:
        with torch.random.fork_rng(devices=[]):
            trainer = Trainer(
                recipe_of(run.spec), learned, Budget(steps=2), out=holding, settings=settings
            )
            added = _of_second_step(trainer)
    except (CheckpointError, DataError, UsageError, OutOfMemory):
        return None
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        return None
    held = held_bytes(trainer.method, trainer.average.method, *trainer.method.parts.values())
    states = sum(
        value.nbytes
        for player in trainer.state.optimizers.values()
        for value in player.state().values()
    )
    if added is None:
        return None
    return held + states + added


class _Counter(TorchDispatchMode):
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
    """Count the floating-point operations of a training step, without element-wise ones."""
    twin = replace(recipe, method=copy.deepcopy(recipe.method))
    counts: list[int] = []
    with tempfile.TemporaryDirectory() as empty, torch.random.fork_rng(devices=[]):
        trainer = _unwritten(twin, data, Budget(steps=PERIOD), Path(empty), settings)
        if not trainer.store.whole:
            raise UsageError(
                f"{recipe.name} computes trajectories before its first step, which a budget in "
                "`flops` cannot count. Use `steps`, `samples` or `seconds`."
            )
        while len(counts) < 2 or (len(counts) < PERIOD and counts[0] != counts[1]):
            with (
                sdpa_kernel(SDPBackend.MATH),
                _Counter() as counter,
            ):  # attention as products that all devices count
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
