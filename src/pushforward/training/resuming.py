"""Going on with a run that is there: resume, and the trainer behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from pushforward.arguments import refuse_unknown
from pushforward.devices import device_named
from pushforward.training.ending import trained
from pushforward.training.fit_options import HINTS, ResumeOptions
from pushforward.training.launching import check_devices, joined
from pushforward.training.recipe_like import folder_of
from pushforward.training.run import Run
from pushforward.training.taking_up import taken_up
from pushforward.training.trainer import Trainer

__all__ = ["reopen", "resume"]


def reopen(folder: str | Path | Run, **options: Unpack[ResumeOptions]) -> Trainer:
    """The `Trainer` of an existing run at its newest checkpoint; see `resume`."""
    refuse_unknown(options, ResumeOptions, "resume", HINTS)
    check_devices(options.get("devices"))
    processes = joined(device_named(options.get("device", "cpu")), shard=options.get("shard", False))
    with processes.phase("the start of training", ends_together=True):
        return taken_up(folder_of(folder), options, processes)


def resume(folder: str | Path | Run, **options: Unpack[ResumeOptions]) -> Run:
    """Go on with a run from its newest checkpoint; it ends bit for bit where the uninterrupted run ends.

    A run that was never saved, because the disk was full at its start, is started.

    Args:
        folder: The run's folder, or the run.
        options: See `pushforward.training.fit_options.ResumeOptions`: a new budget, which is ``steps``, ``samples`` or
            ``seconds`` in all; ``checkpoint``, ``fallback``, ``data``, ``plugins``, ``method``, ``device``, ``progress``,
            ``trackers``, ``shard``, ``devices``.

    Returns:
        The run; a finished one is returned as it is.

    Raises:
        CheckpointError: If the checkpoint is damaged or missing, or another training is writing to the folder.
        DataError: If the data has changed; files that did are named. Also as `pushforward.fit`.
        Diverged, OutOfMemory, KeyboardInterrupt: As `pushforward.fit`.
    """
    return trained(reopen(folder, **options))
