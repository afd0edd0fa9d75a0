"""Weights & Biases tracker."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.trackers.tracker import FOLDER, Tracker, imported


class WandB(Tracker):
    """Log to a run of the project "pushforward", in ``trackers/wandb`` in the run folder.

    To upload the files, use ``wandb sync``, or ``WANDB_MODE=online`` during training.
    ``WANDB_PROJECT`` and other variables of Weights & Biases also apply.
    """

    library = "wandb"

    def __init__(self) -> None:
        self._run: Any = None

    def start(
        self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None
    ) -> str:
        (folder / FOLDER).mkdir(exist_ok=True)
        library = imported("wandb", "wandb")
        self._run = library.init(
            project=os.environ.get("WANDB_PROJECT", "pushforward"),
            name=folder.name,
            id=known,
            resume="allow",
            dir=str(folder / FOLDER),
            config={**config, "manifest": dict(facts)},
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=library.Settings(console="off", silent=True, save_code=False),
        )
        return str(self._run.id)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def pictures(self, step: int, paths: Sequence[Path]) -> None:
        image = imported("wandb", "wandb").Image
        self._run.log({"pictures/samples": [image(str(path)) for path in paths]}, step=step)

    def finish(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=int(status == "failed"))
