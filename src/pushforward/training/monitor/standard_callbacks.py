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

from pushforward.conditions import Request
from pushforward.data import Dataset, Space
from pushforward.data.core.hashes import permutation
from pushforward.denoisers import Condition
from pushforward.errors import Diverged
from pushforward.files import disk, read_json, read_object, refuse_links
from pushforward.methods.method import HasCritic, Method
from pushforward.trackers.tracker import FOLDER, Tracker
from pushforward.training.checkpoint.storage import step_name, write_json
from pushforward.training.loop.callbacks import Action, CallbackRequest, Moment, Observer
from pushforward.training.loop.display import Silent, Watcher
from pushforward.training.monitor.alarms import Watch, lost
from pushforward.training.monitor.health import SAMPLES, as_sampled, in_words
from pushforward.training.runs import log
from pushforward.training.runs.log import players_in
from pushforward.transports.redrawing import as_drawn

SIDE = 64  # points of the grid in a row and in a column
MARGIN = 0.25  # how far the grid reaches beyond the data on each side, as a share of its range
CLASSES = 32  # the most classes of a landscape


def landscape(method: Method, data: Dataset) -> dict[str, np.ndarray]:
    """Compute critic values on a grid, and samples; empty without a critic of points."""
    if not isinstance(method, HasCritic) or tuple(data.space.shape) != (2,):
        return {}
    low = data.train.x.min(0).astype(np.float64)
    high = data.train.x.max(0).astype(np.float64)
    margin = MARGIN * np.where(high > low, high - low, 1.0)
    low = low - margin
    high = high + margin
    xs, ys = (np.linspace(a, b, SIDE) for a, b in zip(low, high, strict=True))
    points = torch.from_numpy(
        np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
    )
    with as_sampled(method):
        transport = method.transport()
        x = method.space.to_model(points).to(transport.device)
        scores = torch.stack(
            [method.scores(x, condition) for condition in _asked(method.space, x)]
        ).amax(0)
        with as_drawn():
            raw = transport.sample(min(SAMPLES, len(data.train)), seed=0)
    return {
        "scores": scores.reshape(SIDE, SIDE).float().cpu().numpy(),
        "limits": np.array([low[0], high[0], low[1], high[1]]),
        "raw": data.space.quantise(raw),
    }


def _asked(space: Space, x: Tensor) -> list[Condition]:
    if not space.conditions:
        return [None]
    count = min(CLASSES, len(space.classes)) if list(space.conditions) == ["label"] else CLASSES
    labels = {"label": torch.arange(count) % len(space.classes)} if space.label else {}
    values = Request(space.conditions).values(count, labels, 0) or {}
    return [
        {name: v[i].expand(len(x), *v.shape[1:]).to(x.device) for name, v in values.items()}
        for i in range(count)
    ]


PICTURES = (
    0.02,
    0.1,
    0.3,
    0.6,
    1.0,
)  # shares of the budget at which fixed-noise samples are written
DRAWN = {False: 36, True: 1000}  # fixed-noise samples that are written, by whether they are points


def drawn_at(moment: Moment) -> bool:
    """Return whether samples are drawn after this step."""
    return any(moment.before < share <= moment.progress for share in PICTURES)


class Alarms(Observer):
    """Observer that reports alarms, and ends training if variety is lost.

    Args:
        folder: Run folder.
        progress: Watcher that receives the alarms.
    """

    def __init__(self, folder: Path, progress: Watcher) -> None:
        self.folder, self.progress, self.watch = folder, progress, Watch()
        self._skipped = 0
        self._words = ""
        self._logged = ""
        self._last = ""

    def requests(self, moment: Moment) -> list[CallbackRequest]:
        requests = []
        passed = self.watch.passed
        if moment.method.guard is not None:
            requests.append(CallbackRequest(Action.CHECKPOINT, "the samples are diverse", passed))
        if self.watch.suspect:
            requests.append(CallbackRequest(Action.WITHHOLD, "the logit gap is running away"))
        if self.watch.ended is not None:
            reason = self._logged or self.watch.ended
            requests.append(CallbackRequest(Action.STOP, reason))
            requests.append(CallbackRequest(Action.RETURN, reason, passed))
        return requests

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        news = self.watch.read(row)
        skipped = bool(players_in(row.get("health")))
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
        if news:
            return {"alarm": [asdict(alarm) for alarm in news]}
        return {}

    def close(self, status: str) -> None:
        if self._last:
            self.progress.say(self._last)
        self._last = ""


class Pictures(Observer):
    """Observer that writes samples of the average from fixed noise, and a critic's landscape.

    Args:
        progress: Receives that report.
    """

    late = True

    def __init__(self, progress: Watcher | None = None) -> None:
        self.progress = progress or Silent()

    def due(self, moment: Moment) -> bool:
        return drawn_at(moment)

    def look(self, moment: Moment) -> Mapping[str, Any]:
        from pushforward.pictures import grid_picture, legible, scatter_picture

        data = moment.data
        folder = moment.folder / "samples"
        try:
            with as_drawn():
                x = moment.average.transport().sample(DRAWN[data.space.as_points], seed=0)
            arrays: dict[str, Any] = {"x": data.space.quantise(x), **landscape(moment.method, data)}
        except Diverged as error:
            said = (
                f"{moment.folder.name}: step {moment.step:,}: no samples were written: "
                f"{error.what}, although all weights "
                "are finite. Training continues. If later samples are not finite either, train "
                "with a lower lr, or in "
                "float32."
            )
            if moment.writes and isinstance(self.progress, Silent):
                warn(said, stacklevel=2)
            elif moment.writes:
                self.progress.say(f"warning: {said}")
            return {}
        if moment.writes:
            name = step_name(moment.step)
            with disk(folder):
                folder.mkdir(exist_ok=True)
                np.savez_compressed(folder / f"{name}.npz", **arrays)
                if not data.space.as_points:
                    images = data.space.drawing(arrays["x"])
                    grid_picture(images, scale=legible(images)).save(folder / f"{name}.png")
                elif data.space.shape == (2,):
                    real = data.held_out.data_units(
                        permutation(len(data.held_out), 0)[: len(x)]
                    ).numpy()
                    scatter_picture(x.numpy(), real, ticks=True).save(folder / f"{name}.png")
        return {}


FILE = "trackers.json"  # the identities of a run's trackers, in its folder


@dataclass
class _Follower:
    tracker: Tracker
    known: str | None
    logged: int
    started: bool = False


class Tracked(Observer):
    """Observer that passes the log and pictures to trackers, each step once.

    Args:
        folder: Run folder.
        trackers: The trackers.
        rates: Current learning rates, by network.
    """

    late = True

    def __init__(
        self, folder: Path, trackers: Sequence[Tracker], rates: Callable[[], Mapping[str, float]]
    ) -> None:
        if (inside := folder / FOLDER).exists():
            refuse_links(inside, ())
        self.folder = folder
        self.rates = rates
        known = _known(folder)
        logged = log.last_step(folder / "metrics.jsonl")
        names = [(tracker, tracker.name) for tracker in trackers]
        self._followers = [
            _Follower(each, known.get(name), logged if name in known else 0) for each, name in names
        ]
        self._held: list[Mapping[str, Any]] = []
        self._rates: dict[int, Mapping[str, float]] = {}
        self._before: tuple[float, float] | None = None

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        self._held.append(dict(row))
        return {}

    def due(self, moment: Moment) -> bool:
        self._rates[moment.step] = dict(self.rates())
        self._pass_on()
        return drawn_at(moment)

    def look(self, moment: Moment) -> Mapping[str, Any]:
        self._pass_on()
        path = moment.folder / "samples" / f"{step_name(moment.step)}.png"
        for follower in list(self._followers):
            if path.is_file() and moment.step >= follower.logged:
                self._try(follower, lambda tracker: tracker.pictures(moment.step, [path]))
        return {}

    def close(self, status: str) -> None:
        self._pass_on()
        for follower in list(self._followers):
            if follower.started:
                self._try(follower, lambda tracker: tracker.finish(status))
                follower.started = False

    def _pass_on(self) -> None:
        rows = self._held
        self._held = []
        for row in rows:
            step = row["step"]
            numbers = self._numbers(row)
            for follower in list(self._followers):
                if step > follower.logged:
                    self._try(follower, methodcaller("log", step, numbers))
                    follower.logged = step

    def _numbers(self, row: Mapping[str, Any]) -> dict[str, float]:
        rates = self._rates.pop(row["step"], {})
        losses = row["loss"]
        health = row.get("health", {})
        parts: dict[str, Mapping[str, Any]] = {"loss": losses, "lr": rates, "health": health}
        named = {
            f"{kind}/{name}": value for kind, part in parts.items() for name, value in part.items()
        }
        samples = row.get("samples", 0)
        seconds = row.get("seconds", 0.0)
        named |= {"progress/samples": samples, "progress/seconds": seconds}
        if self._before is not None and seconds > self._before[1]:
            named["progress/samples_per_second"] = (samples - self._before[0]) / (
                seconds - self._before[1]
            )
        self._before = samples, seconds
        return {
            name: float(value)
            for name, value in named.items()
            if isinstance(value, (int, float)) and math.isfinite(value)
        }

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
                f"{self.folder}. Training "
                f"continues, and metrics.jsonl holds every step ({why:.300}).",
                stacklevel=2,
            )

    def _start(self, follower: _Follower) -> None:
        config, facts = (read_json(self.folder / name) for name in ("spec.json", "manifest.json"))
        known = follower.tracker.start(self.folder, facts, config, follower.known)
        follower.started = True
        if known != follower.known:
            follower.known = known
            content = {
                "format_version": 1,
                "runs": {**_known(self.folder), follower.tracker.name: known},
            }
            write_json(self.folder / FILE, content)


def _known(folder: Path) -> dict[str, str]:
    runs = read_object(folder / FILE).get("runs")
    given = runs if isinstance(runs, dict) else {}
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, str) and value.replace("-", "").isalnum()
    }
