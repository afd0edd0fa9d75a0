"""The examples of a training's steps, and what becomes of a training whose data cannot be read any more."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pushforward.data import Batch
from pushforward.data.images.streamed import Streamed
from pushforward.errors import DataError, PushforwardError
from pushforward.plugins import plugin_options
from pushforward.training import checkpoint as checkpoints

if TYPE_CHECKING:
    from pushforward.training.trainer import Trainer

__all__ = ["batch_of", "next_batch"]


def batch_of(trainer: Trainer, step: int) -> Batch:
    """The examples of a step, counted from 0, that this process computes.

    Raises:
        DataError: If a file of data that stay on disk is gone, or has changed.
    """
    return trainer.sampler.batch(step // trainer.method.reuse, trainer.device, trainer._step.index)


def next_batch(trainer: Trainer) -> Batch:
    """The examples of the next step.

    Raises:
        DataError: As `batch_of`, and of several processes that read images from the disk in all, if it fails in one. The steps
            before are saved first.
    """
    error: DataError | None = None
    try:
        batch = batch_of(trainer, trainer.clock.step)
    except DataError as failure:
        error = failure
    if trainer.processes.count > 1 and isinstance(trainer.data.train.x, Streamed):  # no other data are read in a step
        words = trainer.processes.failure(None if error is None else str(error))
        error = None if words is None else DataError(words)
    if error is not None:
        raise DataError(f"{error} {_saved(trainer)}", error.skipped) from error
    return batch


def _saved(trainer: Trainer) -> str:
    """Save the present step, and say where and how training goes on."""
    refused = ""
    try:
        trainer.finish()
    except PushforwardError as failure:
        refused = f"The present step, {trainer.clock.step:,}, could not be saved: {failure} "
    step = trainer.saver.step
    again = f"pushforward resume {shlex.quote(str(trainer.folder))}{plugin_options(trainer.content)}"
    where = f"{trainer.folder}/checkpoints/{checkpoints.step_name(step)}"
    return f"{refused}Step {step:,} is saved as {where}. Once the data is restored, go on: {again}"
