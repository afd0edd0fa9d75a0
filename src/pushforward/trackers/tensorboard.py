"""TensorBoard tracker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.trackers.tracker import FOLDER, Tracker, imported


class TensorBoard(Tracker):
    """Write scalars, samples and the spec to ``trackers/tensorboard`` in the run folder."""

    library = "tensorboard"

    def __init__(self) -> None:
        self._writer: Any = None

    def start(
        self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None
    ) -> str:
        self._writer = imported("torch.utils.tensorboard", "tensorboard").SummaryWriter(
            str(folder / FOLDER / "tensorboard")
        )
        if known is None:
            for title, content in (("spec", config), ("manifest", facts)):
                text = json.dumps(content, indent=1, default=str)
                self._writer.add_text(title, "\n".join(f"    {line}" for line in text.splitlines()))
        return "tensorboard"

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, paths: Sequence[Path]) -> None:
        from PIL import Image

        for path in paths:
            with Image.open(path, formats=("PNG",)) as image:
                self._writer.add_image(
                    "pictures/samples", np.asarray(image.convert("RGB")), step, dataformats="HWC"
                )

    def finish(self, status: str) -> None:
        self._writer.close()
