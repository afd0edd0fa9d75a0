"""What a training will need, before it is started: memory, steps, checkpoints, floating point operations. Nothing is written."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
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
from pushforward.training.loop.trainer import Trainer, parts_of
from pushforward.training.runs.folder import Holding
from pushforward.training.runs.run import Run, recipe_of

FEW = 8  # examples of the smaller of two parts whose activations are measured, where a process's part is larger than both
PERIOD = 16
"""Number of steps whose operations are counted if the first two differ, because of a periodic penalty or random choices."""


@dataclass(frozen=True)
class Needs:
    """The memory of one process in bytes.

    Args:
        weights: Weights and buffers of the method, or its share of them.
        gradients: Of what is trained, or its share.
        optimizers: The optimisers' states, or its share.
        average: The averaged weights, or its share.
        frozen: Frozen parts, whole in every process.
        gathered: Of sharded weights, the largest player's whole weights and gradients, which are there while it is computed.
        activations: What a part of a batch takes besides; None where it cannot be measured.
        data: The training examples as they are stored.
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
    """What a training will need.

    Args:
        processes: How many train.
        sharded: Whether each holds a share of the weights.
        parameters: Of the players, in all processes together.
        batch: Examples of a step.
        share: Examples of a step that a process computes.
        part: Examples that it computes at a time.
        steps: In all; None where the budget is in seconds.
        steps_per_epoch: How many steps see as many examples as there are.
        memory: Of a process.
        checkpoint: Bytes of a checkpoint.
        precision: Of network calls here.
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


def plan(recipe: Recipe, data: Dataset, budget: Budget, *, processes: int = 1, sharded: bool = False) -> Plan:
    """What a training will need; two small steps, which change the recipe's weights, are computed to measure activations.

    Raises:
        UsageError: For settings that do not fit each other, such as a batch that cannot be divided.
    """
    training, method, shares = recipe.training, recipe.method, processes if sharded else 1
    parts = parts_of(training, method, processes)
    part = parts[0].stop - parts[0].start
    with tempfile.TemporaryDirectory() as nowhere, torch.random.fork_rng(devices=[]):
        activations = _activations(recipe, data, part, Path(nowhere))
        trainer = _unwritten(recipe, data, budget, Path(nowhere))
        weights, average = (_bytes(kept.state_dict().values()) for kept in (trainer.method, trainer.average))
        optimizers = sum(player.state_bytes() for player in trainer.players.values())
        steps, precision = trainer.clock.total, trainer.precision
    sizes = [_bytes(player.parameters()) for player in method.players.values()]
    needs = Needs(
        weights=weights // shares,
        gradients=_bytes(p for player in method.players.values() for p in player.parameters() if p.requires_grad) // shares,
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
        parameters=sum(p.numel() for player in method.players.values() for p in player.parameters()),
        batch=training.batch,
        share=min(part * training.accumulate, training.batch),
        part=part,
        steps=steps,
        steps_per_epoch=len(data.train) / training.batch,
        memory=needs,
        checkpoint=weights + average + optimizers,
        precision=precision,
    )


def _unwritten(recipe: Recipe, data: Dataset, budget: Budget, folder: Path, settings: Settings | None = None) -> Trainer:
    return Trainer(recipe, data, budget, out=Holding(folder, None, writes=False), settings=settings, observers=())


def _activations(recipe: Recipe, data: Dataset, part: int, folder: Path) -> int | None:
    few = math.lcm(recipe.method.group, FEW) if recipe.method.group <= FEW else recipe.method.group
    sizes, measured = [part] if part <= 2 * few else [few, 2 * few], list[int]()
    for size in sizes:
        small = replace(recipe, training=recipe.training.changed(batch=size, accumulate=1))
        trainer = _unwritten(small, data, Budget(steps=2), folder)
        if (added := _of_second_step(trainer)) is None:
            return None
        measured.append(max(0, added - _bytes(p for player in trainer.players.values() for p in player.parameters)))
    slope = max(0, measured[-1] - measured[0]) / few
    return round(measured[-1] + slope * (part - sizes[-1]))


def _of_second_step(trainer: Trainer) -> int | None:
    if not trainer.store.whole:
        return None
    trainer.step()
    return added_peak(trainer.step, trainer.device)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum({tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in tensors}.values())


def training_memory(run: Run, data: Dataset) -> int | None:
    """Bytes in tensors that a training step of this run's recipe holds at most, at the run's batch size and precision.

    Counted are weights, their average, frozen parts, the optimisers' states, gradients, activations and temporary tensors; the
    data and the library are not. The step is one in which every lazy penalty is due. Nothing is written, and no lock is
    taken: the run may be trained further meanwhile.

    Returns:
        Bytes; None where this cannot be measured, for instance because the free memory does not suffice.
    """
    learned = next((known for known in (data, data.without_labels()) if known.fingerprint == run.spec["fingerprint"]), None)
    if learned is None:
        return None
    holding = Holding(run.folder, None, run.spec, writes=False)
    settings = Settings(seed=run.spec["seed"], device=next(run.method.parameters()).device)
    try:
        with torch.random.fork_rng(devices=[]):
            trainer = Trainer(recipe_of(run.spec), learned, Budget(steps=2), out=holding, settings=settings)
            added = _of_second_step(trainer)
    except (CheckpointError, DataError, UsageError, OutOfMemory):
        return None
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        return None
    held = held_bytes(trainer.method, trainer.average.method, *trainer.method.parts.values())
    states = sum(value.nbytes for player in trainer.players.values() for value in player.state().values())
    return None if added is None else held + states + added


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
        trainer = _unwritten(twin, data, Budget(steps=PERIOD), Path(empty), settings)
        if not trainer.store.whole:
            raise UsageError(
                f"{recipe.name} computes trajectories before its first step, which a budget in `flops` cannot count. Use "
                "`steps`, `samples` or `seconds`."
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
        raise UsageError(
            f"One step of {recipe.name} takes {each:.3g} floating-point operations, so `flops={flops:g}` is less than "
            "one step. Give more."
        )
    return int(flops / each), each
