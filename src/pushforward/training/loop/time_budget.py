"""The stages of a budget in seconds: ``stages.json`` in the run's folder, written when the number of steps is fixed or corrected.

Checkpoints hold the stages up to their step. The file also holds those that came after the newest checkpoint, so that a
resumed run repeats them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError
from pushforward.files import read_json
from pushforward.training.checkpoint.disk import write_json
from pushforward.training.loop.budget import Stage

FORMAT = 1
_FILE = "stages.json"


def write_stages(folder: Path, stages: Sequence[Stage]) -> None:
    """Store the stages of a run at once, flushed to the disk.

    Raises:
        CheckpointError: If the disk refuses.
    """
    content = {"format_version": FORMAT, "stages": [asdict(stage) for stage in stages]}
    write_json(folder / _FILE, content)


def stages_of(folder: Path, state: Mapping[str, Any]) -> list[Stage]:
    """The stages to repeat from a checkpoint on: its own, and later ones of the same training.

    Stages of a training that was given up, which begin otherwise than the checkpoint's, are left out.

    Raises:
        CheckpointError: If ``stages.json`` is damaged.
    """
    path = folder / _FILE
    try:
        stored = [Stage(**stage) for stage in state["stages"]]
        if not stored or not path.is_file():
            return stored
        recorded = [Stage(**stage) for stage in read_json(path)["stages"]]
    except (TypeError, KeyError, ValueError, ArithmeticError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} or the newest checkpoint is damaged: it holds no stages. Restore the files; without {_FILE} the number of "
            "steps is forecast again."
        ) from error
    return recorded if recorded[: len(stored)] == stored else stored
