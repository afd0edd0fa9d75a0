"""Trackers of TensorBoard, Weights & Biases and MLflow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.trackers.tracker import FOLDER, Tracker

LONGEST = 500  # Characters of a parameter that are stored
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class TensorBoard(Tracker):
    """Write scalars, samples and the spec to ``trackers/tensorboard`` in the run folder."""

    library = "tensorboard"
    _writer: Any = None

    def start(
        self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None
    ) -> str:
        self._writer = self.module("torch.utils.tensorboard").SummaryWriter(
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


class WandB(Tracker):
    """Log to a run of the project "pushforward", in ``trackers/wandb`` in the run folder.

    To upload the files, use ``wandb sync``, or ``WANDB_MODE=online`` during training.
    ``WANDB_PROJECT`` and other variables of Weights & Biases also apply.
    """

    library = "wandb"
    _run: Any = None

    def start(
        self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None
    ) -> str:
        (folder / FOLDER).mkdir(exist_ok=True)
        library = self.module("wandb")
        self._run = library.init(
            project=os.environ.get("WANDB_PROJECT", "pushforward"),
            name=folder.name,
            id=known,
            resume="allow",
            dir=str(folder / FOLDER),
            config={**config, "manifest": facts},
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=library.Settings(console="off", silent=True, save_code=False),
        )
        return str(self._run.id)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(numbers, step=step)

    def pictures(self, step: int, paths: Sequence[Path]) -> None:
        image = self.module("wandb").Image
        self._run.log({"pictures/samples": [image(str(path)) for path in paths]}, step=step)

    def finish(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=int(status == "failed"))


class MLflow(Tracker):
    """Log to a run of the experiment "pushforward", in ``trackers/mlruns`` in the run folder.

    Settings are parameters such as training.lr; ``spec.json`` and samples are artifacts.
    """

    library = "mlflow"
    _client: Any = None
    _id = ""

    def start(
        self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None
    ) -> str:
        place = os.environ.get("MLFLOW_TRACKING_URI")
        if place is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            place = (folder / FOLDER / "mlruns").absolute().as_uri()
        self._client = self.module("mlflow").MlflowClient(place)
        if known is not None:
            self._id = known
            self._client.update_run(known, status="RUNNING")
            return known
        experiment = self._client.get_experiment_by_name("pushforward")
        if experiment is None:
            number = self._client.create_experiment("pushforward")
        else:
            number = experiment.experiment_id
        self._id = self._client.create_run(number, run_name=folder.name).info.run_id
        settings = {
            **{name: value for name, value in config.items() if name != "method"},
            "manifest": facts,
        }
        for name, value in _flat(settings):
            self._client.log_param(self._id, name, str(value)[:LONGEST])
        self._client.log_artifact(self._id, str(folder / "spec.json"))
        return str(self._id)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        metric = self.module("mlflow.entities").Metric
        now = int(1000 * time.time())
        self._client.log_batch(
            self._id, metrics=[metric(name, value, now, step) for name, value in numbers.items()]
        )

    def pictures(self, step: int, paths: Sequence[Path]) -> None:
        for path in paths:
            self._client.log_artifact(self._id, str(path), "pictures/samples")

    def finish(self, status: str) -> None:
        self._client.set_terminated(self._id, STATUS[status])


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif value not in (None, [], ()):
            yield f"{before}{name}", value
