"""MLflow tracker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.trackers.tracker import FOLDER, Tracker, imported

LONGEST = 500  # Characters of a parameter that are stored
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow(Tracker):
    """Log to a run of the experiment "pushforward", in ``trackers/mlruns`` in the run folder.

    Settings are parameters such as training.lr; ``spec.json`` and samples are artifacts.
    """

    library = "mlflow"

    def __init__(self) -> None:
        self._client: Any = None
        self._id = ""

    def start(
        self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None
    ) -> str:
        place = os.environ.get("MLFLOW_TRACKING_URI")
        if place is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            place = (folder / FOLDER / "mlruns").absolute().as_uri()
        self._client = imported("mlflow", "mlflow").MlflowClient(place)
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
            "manifest": dict(facts),
        }
        for name, value in _flat(settings):
            self._client.log_param(self._id, name, str(value)[:LONGEST])
        self._client.log_artifact(self._id, str(folder / "spec.json"))
        return str(self._id)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        metric = imported("mlflow.entities", "mlflow").Metric
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
