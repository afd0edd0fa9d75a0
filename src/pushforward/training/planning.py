"""What a training will need, before it is started: memory of each process, steps, checkpoints. Nothing is written."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.data import Dataset
from pushforward.errors import UsageError
from pushforward.methods.method import Method
from pushforward.recipes.recipe import Recipe
from pushforward.training.budget import Budget
from pushforward.training.checkpoint.tensors import local
from pushforward.training.memory import added_peak
from pushforward.training.options import Settings
from pushforward.training.processes import Processes
from pushforward.training.runs.run_lock import Holding
from pushforward.training.sharding import shard
from pushforward.training.trainer import Trainer

__all__ = ["Needs", "Plan", "plan"]

FEW = 8
"""Examples of the smaller of two parts whose activations are measured, where a process's part is larger than both."""


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
        """All of it together."""
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
        activations: How the memory of activations was found, in words.
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
    activations: str
    checkpoint: int
    precision: str

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready, with the memory in all."""
        plain = asdict(self)
        return {**plain, "memory": {**plain["memory"], "total": self.memory.total}}


class _Imagined(Processes):
    """As many processes as will train, of which this is the first; the others do not exist, and nothing is exchanged."""

    def __init__(self, count: int, sharded: bool) -> None:
        self.count, self.sharded = count, sharded

    def distribute(self, method: Method) -> Method:
        """Shard the networks, as each process will."""
        if self.sharded:
            shard(method, "cpu", self.count)
        return method


def plan(
    recipe: Recipe, data: Dataset, budget: Budget, settings: Settings | None = None, *, processes: int = 1, sharded: bool = False
) -> Plan:
    """What a training will need; two small steps, which change the recipe's weights, are computed to measure activations.

    Raises:
        UsageError: For settings that do not fit each other, such as a batch that cannot be divided.
    """
    settings = replace(settings or Settings(), device="cpu")
    if processes < 1 or (sharded and processes == 1):
        raise UsageError(
            f"`shard=True` divides weights among several processes; got `devices={processes}`. Choose `devices=2` or more."
        )
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise UsageError("A plan is made by one process: start it without torchrun.")
    with tempfile.TemporaryDirectory() as nowhere:
        activations, how = _activations(recipe, data, settings, Path(nowhere) / "none", processes)
        frozen = sum(_bytes(part.state_dict().values()) for part in recipe.method.parts.values())
        players = {name: _bytes(player.parameters()) for name, player in recipe.method.players.items()}
        parameters = sum(p.numel() for player in recipe.method.players.values() for p in player.parameters())
        with _fake_group(processes if sharded else 1):
            trainer = _trainer(recipe, data, budget, settings, Path(nowhere) / "none", _Imagined(processes, sharded))
            weights, average = trainer.method.state_dict().values(), trainer.average.state_dict().values()
            needs = Needs(
                weights=_bytes(weights),
                gradients=_bytes(p for player in trainer.players.values() for p in player.parameters),
                optimizers=sum(player.state_bytes() for player in trainer.players.values()),
                average=_bytes(average),
                frozen=frozen,
                gathered=2 * max(players.values()) if sharded else 0,
                activations=activations,
                data=sum(value.nbytes for value in (data.train.x, *data.train.values.values())),
            )
            stored = [*weights, *average]
            whole = sum(value.numel() * value.element_size() for value in stored)
            checkpoint = whole + sum(player.state_bytes(whole=True) for player in trainer.players.values())
            part = trainer._step.parts[0]
            training, steps = recipe.training, trainer.clock.total
            share = trainer._step.index.stop - trainer._step.index.start
    return Plan(
        processes=processes,
        sharded=sharded,
        parameters=parameters,
        batch=training.batch,
        share=share,
        part=part.stop - part.start,
        steps=steps,
        steps_per_epoch=len(data.train) / training.batch,
        memory=needs,
        activations=how,
        checkpoint=checkpoint,
        precision=trainer.precision,
    )


def _trainer(
    recipe: Recipe, data: Dataset, budget: Budget, settings: Settings, folder: Path, processes: Processes | None = None
) -> Trainer:
    """A trainer that writes nothing and looks at nothing."""
    holding = Holding(folder, None, writes=False)
    return Trainer(recipe, data, budget, out=holding, settings=settings, observers=(), processes=processes)


def _activations(recipe: Recipe, data: Dataset, settings: Settings, folder: Path, processes: int) -> tuple[int | None, str]:
    """The memory of a part's activations, and how it was found."""
    training = recipe.training
    part = math.ceil(training.batch / (processes * training.accumulate))
    few = math.lcm(recipe.method.group, FEW) if recipe.method.group <= FEW else recipe.method.group
    sizes = [part] if part <= 2 * few else [few, 2 * few]
    measured = []
    for size in sizes:
        alone = replace(recipe, training=training.changed(batch=size, accumulate=1))
        trainer = _trainer(alone, data, Budget(steps=2), settings, folder)
        if not trainer.store.whole:
            return None, "not measured: the teacher's trajectories would be computed for it"
        with torch.random.fork_rng(devices=[]):
            trainer.step()  # from now on the optimisers hold their states
            added = added_peak(trainer.step)
        if added is None:
            return None, "not measured: a profiler runs already"
        gradients = _bytes(p for player in trainer.players.values() for p in player.parameters)
        measured.append(max(0, added - gradients))
    if len(sizes) == 1:
        return measured[0], f"measured on this machine's CPU with a part of {part}"
    slope = max(0.0, (measured[1] - measured[0]) / few)
    words = f"estimated from parts of {sizes[0]} and {sizes[1]} examples on this machine's CPU"
    return round(measured[1] + slope * (part - sizes[1])), words


def _bytes(tensors: Iterator[Tensor | nn.Parameter] | Sequence[Tensor] | Any) -> int:
    """Bytes of this process's parts of tensors; one that is there twice counts once."""
    storages = {(part := local(tensor)).untyped_storage().data_ptr(): part.nbytes for tensor in tensors}
    return sum(storages.values())


@contextlib.contextmanager
def _fake_group(count: int) -> Iterator[None]:
    """Within this context torch believes that there are so many processes; none of them is asked for anything."""
    if count == 1:
        yield
        return
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
