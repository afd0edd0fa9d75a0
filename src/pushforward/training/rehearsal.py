"""The memory that a training step of a finished run takes, measured by making two steps of a new training of its recipe."""

from __future__ import annotations

import torch

from pushforward.data import Dataset
from pushforward.errors import CheckpointError, DataError, OutOfMemory, UsageError
from pushforward.training.budget import Budget
from pushforward.training.memory import added_peak, held_bytes, lacks_memory
from pushforward.training.options import Settings
from pushforward.training.runs.run import Run
from pushforward.training.runs.run_lock import Holding
from pushforward.training.runs.spec import recipe_of
from pushforward.training.trainer import Trainer

__all__ = ["training_memory"]


def training_memory(run: Run, data: Dataset) -> int | None:
    """Bytes in tensors that a training step of this run's recipe holds at most, at the run's batch size and precision.

    Counted are weights, their average, frozen parts, the optimisers' states, gradients, activations and temporary tensors; the
    data and the library are not. The step is one in which every lazy penalty is due. Nothing is written, and no lock is
    taken: the run may be trained further meanwhile.

    Returns:
        Bytes; None where this cannot be measured, for instance because the free memory does not suffice.
    """
    trainer = _as_trained(run, data)
    if trainer is None:
        return None
    try:
        with torch.random.fork_rng(devices=[]):
            return _of_second_step(run, trainer)
    except OutOfMemory:
        return None
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        return None


def _of_second_step(run: Run, data: Dataset) -> int | None:
    device = next(run.method.parameters()).device
    try:
        # it takes no lock and writes nothing
        holding = Holding(run.folder, None, run.spec, writes=False)
        settings = Settings(seed=run.spec["seed"], device=device)
        trainer = Trainer(recipe_of(run.spec), data, Budget(steps=2), out=holding, settings=settings)
    except (CheckpointError, DataError, UsageError):
        return None
    if not trainer.store.whole:  # it would be computed anew
        return None
    trainer.step()  # from now on the optimisers hold their states
    held = held_bytes(trainer.method, trainer.average.method, *trainer.method.parts.values())
    held += sum(value.nbytes for player in trainer.players.values() for value in player.state().values())
    added = added_peak(trainer.step, device)
    return None if added is None else held + added


def _as_trained(run: Run, data: Dataset) -> Dataset | None:
    return next((known for known in (data, data.without_labels()) if known.fingerprint == run.spec["fingerprint"]), None)
