"""The callbacks of every training: alarms and pictures; `health` has the measures from fixed noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.core.hashes import permutation
from pushforward.errors import Diverged
from pushforward.files import disk
from pushforward.training.checkpoint.integrity import step_name
from pushforward.training.loop.callbacks import Moment, Observer
from pushforward.training.loop.nonfinite import players_in
from pushforward.training.loop.progress import Silent, Watcher, report
from pushforward.training.monitor.alarms import Watch, lost
from pushforward.training.monitor.critic_landscape import landscape
from pushforward.training.monitor.diversity_monitor import Variety
from pushforward.training.monitor.flow_map_monitor import Jumps
from pushforward.training.monitor.health import FixedNoise, in_words
from pushforward.transports.rejection import as_drawn

PICTURES = (0.02, 0.1, 0.3, 0.6, 1.0)
"""Shares of the budget at which fixed-noise samples are written."""
SAMPLES = {False: 36, True: 1000}
"""Fixed-noise samples that are written, by whether they are points."""


def usual(folder: Path, data: Dataset, batch: int, progress: Watcher) -> tuple[Observer, ...]:
    """The observers of every training: measures of samples, of one call or of jumps, a guard of variety, alarms, pictures."""
    return FixedNoise(data, batch), Jumps(data, batch), Variety(data), Alarms(folder, progress), Pictures(progress)


class Alarms(Observer):
    """The alarms that begin and end with the rows of the log, reported to the progress.

    That of the logit gap breaks training off, that of lost variety ends it and is reported last, as the trainer closes.

    Args:
        folder: The run's folder.
        progress: Receives the alarms.
    """

    def __init__(self, folder: Path, progress: Watcher) -> None:
        self.folder, self.progress, self.watch = folder, progress, Watch()
        self._skipped, self._words, self._logged, self._last = 0, "", "", ""

    @property
    def suspect(self) -> bool:  # type: ignore[override]
        """Whether the logit gap may be running away."""
        return self.watch.suspect

    @property
    def passed(self) -> int | None:  # type: ignore[override]
        """The last step whose samples had their variety."""
        return self.watch.passed

    @property
    def ended(self) -> str | None:  # type: ignore[override]
        """How variety was lost, and with which weights training ended, as it was logged."""
        return self.watch.ended and (self._logged or self.watch.ended)

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        """The alarms that begin or end."""
        news, skipped = self.watch.read(row), bool(players_in(row.get("health")))
        self._skipped += skipped
        if again:
            self._logged = lost([row])
            return {}
        for alarm in news:
            line = f"{self.folder.name}: step {alarm.step:,}: {alarm.text}"
            if alarm.kind == "variety" and not alarm.over:
                self._last = line
            elif alarm.kind != "divergence":
                self.progress.say(line)
        words = in_words(row.get("health", {}))
        if words or skipped:
            self._words = words or self._words
            count = f"{self._skipped} skipped" if self._skipped else ""
            self.progress.measured(self.folder.name, "  ".join(filter(None, (self._words, count))))
        return {"alarm": [asdict(alarm) for alarm in news]} if news else {}

    def close(self, status: str) -> None:
        """Report why training ended by itself."""
        if self._last:
            self.progress.say(self._last)
        self._last = ""


class Pictures(Observer):
    """Samples of the average from fixed noise, written as arrays and as a picture, with the critic's landscape.

    Samples that are not finite, of weights that are, do not end a training: they are reported and not written.

    Args:
        progress: Receives that report.
    """

    late = True

    def __init__(self, progress: Watcher | None = None) -> None:
        self.progress = progress or Silent()

    def due(self, moment: Moment) -> bool:
        """At 2, 10, 30, 60 and 100 % of the budget."""
        return any(moment.before < share <= moment.progress for share in PICTURES)

    def look(self, moment: Moment) -> Mapping[str, Any]:
        """Write ``samples/step_NNNNNN.npz`` and ``.png``.

        Raises:
            CheckpointError: If the disk refuses.
        """
        data, folder = moment.data, moment.folder / "samples"
        try:
            with as_drawn():
                x = moment.average.transport().sample(SAMPLES[data.space.as_points], seed=0)
            arrays: dict[str, Any] = {"x": data.space.quantise(x), **landscape(moment.method, data)}
        except Diverged as error:
            if moment.writes:
                report(self.progress, _skipped(moment, error))
            return {}
        if moment.writes:
            name = step_name(moment.step)
            with disk(folder):
                folder.mkdir(exist_ok=True)
                np.savez_compressed(folder / f"{name}.npz", **arrays)
                _picture(folder / f"{name}.png", data, x)
        return {}


def _skipped(moment: Moment, error: Diverged) -> str:
    return (
        f"{moment.folder.name}: step {moment.step:,}: no samples are written: {error.what}, though all weights are. Training "
        "goes on. If later samples are not finite either, train with a lower lr, or in float32."
    )


def _picture(path: Path, data: Dataset, x: Tensor) -> None:
    from pushforward.pictures import grid_picture, legible, scatter_picture

    if not data.space.as_points:
        images = data.space.drawing(data.space.quantise(x))
        grid_picture(images, scale=legible(images)).save(path)
    elif data.space.shape == (2,):
        real = data.held_out.data_units(permutation(len(data.held_out), 0)[: len(x)]).numpy()
        scatter_picture(x.numpy(), real, ticks=True).save(path)
