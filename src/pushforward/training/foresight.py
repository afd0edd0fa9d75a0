"""The memory that a training will need, foreseen from steps on few examples, and a warning where it is not free."""

from __future__ import annotations

import copy
import dataclasses
import math

import torch

from pushforward.draws import BLOCK
from pushforward.errors import PushforwardError
from pushforward.training.budget import Budget
from pushforward.training.memory import added_peak, free_memory, present_memory
from pushforward.training.runs.run_lock import Holding
from pushforward.training.step import parts_of
from pushforward.training.trainer import Trainer

__all__ = ["foreseen", "memory_warning"]

FEWEST = 4
"""Parts of fewer blocks are not foreseen: their first step is as fast."""


def foreseen(trainer: Trainer) -> list[int] | None:
    """Bytes that the process holds at most while it trains on the CPU, with batches as they are, in two parts, in four, ...

    Steps on one and on two blocks of examples are made by copies of the method, and what they hold is continued to the whole:
    a tensor of activations grows with the examples, one of weights does not. Scratch memory of libraries is not counted.

    The trainer is one before its first step, and is not changed.

    Returns:
        Bytes for each number of parts; None for small parts, other devices, several processes, and what cannot be rehearsed.
    """
    unit = math.lcm(BLOCK, trainer.method.group)
    sizes = _sizes(trainer)
    if trainer.device.type != "cpu" or trainer.processes.count > 1 or sizes[0] < FEWEST * unit or not trainer.store.whole:
        return None
    try:
        first, second = (_held_in(trainer, blocks * unit) for blocks in (1, 2))
    except (PushforwardError, MemoryError, RuntimeError):
        return None
    if first is None or second is None:
        return None
    return [present_memory() + round(first + (second - first) * (size / unit - 1)) for size in sizes]


def _sizes(trainer: Trainer) -> list[int]:
    """The examples of a part, as batches are, in two parts, in four, ..."""
    training, sizes = trainer.training, []
    try:
        while True:
            parts = parts_of(training, trainer.method)
            sizes.append(parts[0].stop)
            training = dataclasses.replace(training, accumulate=2 * training.accumulate)
    except PushforwardError:
        return sizes


def _held_in(trainer: Trainer, batch: int) -> int | None:
    """Bytes in tensors that two steps hold at most, on batches of so many examples."""
    training = dataclasses.replace(trainer.training, batch=batch, accumulate=1)
    recipe = dataclasses.replace(trainer.recipe, method=copy.deepcopy(trainer.method), training=training)
    holding = Holding(trainer.folder, None, trainer.content, writes=False)
    with torch.random.fork_rng(devices=[]):
        twin = Trainer(recipe, trainer.data, Budget(steps=2), out=holding, settings=trainer.settings)
        return added_peak(lambda: (twin.step(), twin.clock.tick(0.0), twin.step()))


def memory_warning(trainer: Trainer) -> str | None:
    """What to say before a training of images that will need more memory than is free; None where it suffices or is not known."""
    if trainer.data.space.as_points or (free := free_memory()) is None or (needed := foreseen(trainer)) is None:
        return None
    present = present_memory()
    if needed[0] - present <= free:
        return None
    fits = next((at for at, held in enumerate(needed) if held - present <= free), None)
    remedy = "a smaller `batch` or `size=tiny`"
    if fits is not None:
        remedy = f"`accumulate={trainer.training.accumulate * 2**fits}`, which needs {_gigabytes(needed[fits] - present)}"
    return f"a step needs {_gigabytes(needed[0] - present)} of memory, and {_gigabytes(free)} are free: take {remedy}."


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
