"""The examples of a training's steps, and what becomes of a training whose data cannot be read any more."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pushforward.data import Batch
from pushforward.data.streamed import Streamed
from pushforward.errors import DataError
from pushforward.plugins import plugin_options

if TYPE_CHECKING:
    from pushforward.training.trainer import Trainer


def next_batch(trainer: Trainer) -> Batch:
    """The examples of the next step that this process computes.

    Raises:
        DataError: If a file of data that stay on disk is gone, or has changed, for any process; the steps before are saved.
    """
    batch, error = None, None
    try:
        batch = trainer.sampler.batch(trainer.clock.step // trainer.method.reuse, trainer.device, trainer._step.index)
    except DataError as failure:
        error = failure
    if trainer.processes.count > 1 and isinstance(trainer.data.train.x, Streamed):  # no other data are read in a step
        words = trainer.processes.failure(None if error is None else str(error))
        error = None if words is None else DataError(words)
    if error is None and batch is not None:
        return batch
    trainer.finish()
    again = f"pushforward resume {shlex.quote(str(trainer.folder))}{plugin_options(trainer.content)}"
    saved = f"Step {trainer.saver.step:,} is saved. Once the data is restored, go on: {again}"
    raise DataError(f"{error} {saved}", getattr(error, "skipped", ())) from error
