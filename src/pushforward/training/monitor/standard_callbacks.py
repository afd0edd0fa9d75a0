"""Alarms, pictures and trackers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.core.hashes import permutation
from pushforward.errors import Diverged
from pushforward.files import disk, read_json, read_object, refuse_links
from pushforward.methods.method import HasCritic, Method
from pushforward.trackers.tracker import FOLDER, Tracker
from pushforward.training.checkpoint.storage import step_name, write_json
from pushforward.training.loop.callbacks import Action, CallbackRequest, Observer, StateView
from pushforward.training.loop.display import Silent, Watcher
from pushforward.training.monitor.alarms import AlarmMonitor, ending_alarm
from pushforward.training.monitor.health import SAMPLES, as_sampled, measured_in_words
from pushforward.training.runs import log
from pushforward.training.runs.log import players_in
from pushforward.transports.redrawing import without_rejection

SIDE = 64  # points of the grid in a row and in a column
MARGIN = 0.25  # how far the grid reaches beyond the data on each side, as a share of its range


def landscape(method: Method, data: Dataset) -> dict[str, np.ndarray]:
    """Compute critic values on a grid under one condition, and samples; empty without a critic."""
    if not isinstance(method, HasCritic) or data.space.shape != (2,):
        return {}
    low = data.train.x.min(0).astype(np.float64)
    high = data.train.x.max(0).astype(np.float64)
    margin = MARGIN * np.where(high > low, high - low, 1.0)
    low = low - margin
    high = high + margin
    xs, ys = np.linspace(low, high, SIDE).T
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    with as_sampled(method):
        transport = method.transport()
        x = method.space.to_model(torch.from_numpy(grid)).to(transport.device)
        condition = {}
        for name, value in (transport.conditions(1, None, 0) or {}).items():
            condition[name] = value.expand(len(x), *value.shape[1:])
        scores = method.scores(x, condition or None)
        with without_rejection():
            raw = transport.sample(min(SAMPLES, len(data.train)), seed=0)
    return {
        "scores": scores.reshape(SIDE, SIDE).float().cpu().numpy(),
        "limits": np.stack([low, high], axis=1).ravel(),
        "raw": data.space.quantise(raw),
    }


# fractions of the budget at which samples from fixed noise are written
PICTURES = (0.02, 0.1, 0.3, 0.6, 1.0)
DRAWN = {False: 36, True: 1000}  # number of these samples, by whether they are points


def drawn_at(view: StateView) -> bool:
    """Return whether samples are drawn after this step."""
    return any(view.before < share <= view.progress for share in PICTURES)


class Alarms(Observer):
    """Observer that reports alarms, and ends training if diversity is lost."""

    def __init__(self, folder: Path, progress: Watcher) -> None:
        self.folder = folder
        self.progress = progress
        self.monitor = AlarmMonitor()
        self._skipped = 0
        self._words = ""
        self._logged = ""
        self._last = ""

    def requests(self, view: StateView) -> list[CallbackRequest]:
        requests = []
        passed = self.monitor.passed
        if view.method.guard is not None:
            requests.append(CallbackRequest(Action.CHECKPOINT, "the samples are diverse", passed))
        if self.monitor.suspect:
            requests.append(CallbackRequest(Action.WITHHOLD, "the logit gap is running away"))
        if self.monitor.ended is not None:
            reason = self._logged or self.monitor.ended
            requests.append(CallbackRequest(Action.STOP, reason))
            requests.append(CallbackRequest(Action.RETURN, reason, passed))
        return requests

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        news = self.monitor.read(row)
        skipped = bool(players_in(row.get("health")))
        self._skipped += skipped
        if again:
            self._logged = ending_alarm([row])
            return {}
        for alarm in news:
            line = f"{self.folder.name}: step {alarm.step:,}: {alarm.text}"
            if alarm.kind == "variety" and not alarm.over:
                self._last = line
            elif alarm.kind != "divergence":
                self.progress.say(line)
        words = measured_in_words(row.get("health", {}))
        if words or skipped:
            self._words = words or self._words
            said = self._words
            if self._skipped:
                said = f"{said}  {self._skipped} skipped".strip()
            self.progress.measured(self.folder.name, said)
        if news:
            return {"alarm": [asdict(alarm) for alarm in news]}
        return {}

    def close(self, status: str) -> None:
        if self._last:
            self.progress.say(self._last)
        self._last = ""


class Pictures(Observer):
    """Observer that writes samples from fixed noise, and a critic's landscape."""

    late = True

    def __init__(self, progress: Watcher | None = None) -> None:
        self.progress = progress or Silent()

    def due(self, view: StateView) -> bool:
        return drawn_at(view)

    def observe(self, view: StateView) -> Mapping[str, Any]:
        space = view.data.space
        try:
            with without_rejection():
                x = view.average.transport().sample(DRAWN[space.as_points], seed=0)
            arrays: dict[str, Any] = {"x": space.quantise(x)}
            arrays |= landscape(view.method, view.data)
        except Diverged as error:
            self._report(view, error)
            return {}
        if view.writes:
            folder = view.folder / "samples"
            name = step_name(view.step)
            with disk(folder):
                folder.mkdir(exist_ok=True)
                np.savez_compressed(folder / f"{name}.npz", **arrays)
                _draw(folder / f"{name}.png", view.data, x, arrays["x"])
        return {}

    def _report(self, view: StateView, error: Diverged) -> None:
        said = (
            f"{view.folder.name}: step {view.step:,}: no samples were written: {error.what}, "
            "although all weights are finite. Training continues. If later samples are not finite "
            "either, train with a lower lr, or in float32."
        )
        if not view.writes:
            return
        if isinstance(self.progress, Silent):
            warn(said, stacklevel=2)
        self.progress.say(f"warning: {said}")


def _draw(path: Path, data: Dataset, x: Tensor, quantised: np.ndarray) -> None:
    from pushforward.pictures import grid_picture, legible, scatter_picture

    if not data.space.as_points:
        images = data.space.drawing(quantised)
        grid_picture(images, scale=legible(images)).save(path)
    elif data.space.shape == (2,):
        rows = permutation(len(data.held_out), 0)[: len(x)]
        real = data.held_out.data_units(rows).numpy()
        scatter_picture(x.numpy(), real).save(path)


FILE = "trackers.json"  # the identities of a run's trackers, in its folder


@dataclass
class _Follower:
    tracker: Tracker
    known: str | None
    logged: int
    started: bool = False


class Tracked(Observer):
    """Observer that passes the log and pictures to trackers, each step once."""

    late = True

    def __init__(
        self, folder: Path, trackers: Sequence[Tracker], rates: Callable[[], Mapping[str, float]]
    ) -> None:
        if (inside := folder / FOLDER).exists():
            refuse_links(inside.iterdir())
        self.folder = folder
        self.rates = rates
        known = _known(folder)
        logged = log.last_step(folder / "metrics.jsonl")
        self._followers = []
        for tracker in trackers:
            identity = known.get(tracker.name)
            self._followers.append(_Follower(tracker, identity, logged if identity else 0))
        self._rates: dict[int, Mapping[str, float]] = {}

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        step = row["step"]
        rates: Mapping[str, float] = {}
        if not again:
            rates = self._rates.pop(step, {}) or self.rates()
        numbers = _numbers(row, rates)
        for follower in list(self._followers):
            if step > follower.logged:
                self._try(follower, methodcaller("log", step, numbers))
        return {}

    def due(self, view: StateView) -> bool:
        self._rates[view.step] = self.rates()
        return drawn_at(view)

    def observe(self, view: StateView) -> Mapping[str, Any]:
        path = view.folder / "samples" / f"{step_name(view.step)}.png"
        for follower in list(self._followers):
            if path.is_file() and view.step >= follower.logged:
                self._try(follower, lambda tracker: tracker.pictures(view.step, [path]))
        return {}

    def close(self, status: str) -> None:
        for follower in list(self._followers):
            if follower.started:
                self._try(follower, lambda tracker: tracker.finish(status))
                follower.started = False

    def _try(self, follower: _Follower, call: Callable[[Tracker], None]) -> None:
        try:
            if not follower.started:
                self._start(follower)
            call(follower.tracker)
        except Exception as error:
            self._followers.remove(follower)
            why = f"{type(error).__name__}: {error}"
            warn(
                f"The tracker {follower.tracker.name} failed and gets no more data from "
                f"{self.folder}. Training continues, and metrics.jsonl holds every step "
                f"({why:.300}).",
                stacklevel=2,
            )

    def _start(self, follower: _Follower) -> None:
        config = read_json(self.folder / "spec.json")
        facts = read_json(self.folder / "manifest.json")
        known = follower.tracker.start(self.folder, facts, config, follower.known)
        follower.started = True
        if known != follower.known:
            follower.known = known
            runs = {**_known(self.folder), follower.tracker.name: known}
            write_json(self.folder / FILE, {"format_version": 1, "runs": runs})


def _numbers(row: Mapping[str, Any], rates: Mapping[str, float]) -> dict[str, float]:
    named = {"progress/samples": row.get("samples"), "progress/seconds": row.get("seconds")}
    parts = {"loss": row["loss"], "lr": rates, "health": row.get("health", {})}
    for kind, part in parts.items():
        for name, value in part.items():
            named[f"{kind}/{name}"] = value
    numbers = {}
    for name, value in named.items():
        if isinstance(value, (int, float)) and math.isfinite(value):
            numbers[name] = float(value)
    return numbers


def _known(folder: Path) -> dict[str, str]:
    runs = read_object(folder / FILE).get("runs") or {}
    return {name: value for name, value in runs.items() if str(value).replace("-", "").isalnum()}
