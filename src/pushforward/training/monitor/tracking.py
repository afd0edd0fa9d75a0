"""Trackers of a training: an observer that passes on what stands in the log; a tracker that fails is dropped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any
from warnings import warn

from pushforward.errors import CheckpointError
from pushforward.files import read_json, refuse_links
from pushforward.trackers.tracker import FOLDER, Tracker
from pushforward.training.checkpoint.disk import write_json
from pushforward.training.checkpoint.integrity import step_name
from pushforward.training.loop.callbacks import Moment, Observer
from pushforward.training.runs import log

FILE = "trackers.json"
"""The identities of a run's trackers, in its folder."""
FORMAT = 1


def beside(
    observers: Sequence[Observer], folder: Path, trackers: Sequence[Tracker], rates: Callable[[], Mapping[str, float]]
) -> tuple[Observer, ...]:
    """The observers of a training, and after them one that passes rows and pictures on to its trackers, where it has any."""
    if not trackers:
        return tuple(observers)
    if (inside := folder / FOLDER).exists():
        refuse_links(inside, ())
    return (*observers, Tracked(folder, trackers, rates, [observer for observer in observers if observer.late]))


@dataclass
class _Follower:
    """One tracker, its known identity, the last step that it has logged, and whether it is started."""

    tracker: Tracker
    known: str | None
    logged: int
    started: bool = False


class Tracked(Observer):
    """Passes rows of the log and pictures to trackers, each step once, also where a run is resumed.

    Args:
        folder: The run's folder.
        trackers: The trackers.
        rates: The present learning rates by player.
        drawing: Observers that look before this one and write pictures.
    """

    late = True

    def __init__(
        self,
        folder: Path,
        trackers: Sequence[Tracker],
        rates: Callable[[], Mapping[str, float]],
        drawing: Sequence[Observer] = (),
    ) -> None:
        self.folder, self.rates, self._drawing = folder, rates, drawing
        known, logged = _known(folder), log.last_step(folder / "metrics.jsonl")
        names = [(tracker, tracker.name) for tracker in trackers]
        self._followers = [_Follower(each, known.get(name), logged if name in known else 0) for each, name in names]
        self._held: list[Mapping[str, Any]] = []
        self._rates: dict[int, Mapping[str, float]] = {}
        self._before: tuple[float, float] | None = None

    def row(self, row: Mapping[str, Any], again: bool = False) -> Mapping[str, Any]:
        self._held.append(dict(row))
        return {}

    def due(self, moment: Moment) -> bool:
        self._rates[moment.step] = dict(self.rates())
        self._pass_on()
        return any(observer.due(moment) for observer in self._drawing)

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
        rows, self._held = self._held, []
        for row in rows:
            step, numbers = row["step"], self._numbers(row)
            for follower in list(self._followers):
                if step > follower.logged:
                    self._try(follower, methodcaller("log", step, numbers))
                    follower.logged = step

    def _numbers(self, row: Mapping[str, Any]) -> dict[str, float]:
        rates, losses, health = self._rates.pop(row["step"], {}), row["loss"], row.get("health", {})
        parts: dict[str, Mapping[str, Any]] = {"loss": losses, "lr": rates, "health": health}
        named = {f"{kind}/{name}": value for kind, part in parts.items() for name, value in part.items()}
        samples, seconds = row.get("samples", 0), row.get("seconds", 0.0)
        named |= {"progress/samples": samples, "progress/seconds": seconds}
        if self._before is not None and seconds > self._before[1]:
            named["progress/samples_per_second"] = (samples - self._before[0]) / (seconds - self._before[1])
        self._before = samples, seconds
        return {name: float(value) for name, value in named.items() if isinstance(value, (int, float)) and math.isfinite(value)}

    def _try(self, follower: _Follower, call: Callable[[Tracker], None]) -> None:
        try:
            if not follower.started:
                self._start(follower)
            call(follower.tracker)
        except Exception as error:
            self._followers.remove(follower)
            why = f"{type(error).__name__}: {error}"
            warn(
                f"The tracker {follower.tracker.name} failed and gets nothing more of {self.folder}, whose training goes on; "
                f"metrics.jsonl has every step ({why:.300}).",
                stacklevel=2,
            )

    def _start(self, follower: _Follower) -> None:
        config, facts = (read_json(self.folder / name) for name in ("spec.json", "manifest.json"))
        known = follower.tracker.start(self.folder, facts, config, follower.known)
        follower.started = True
        if known != follower.known:
            follower.known = known
            content = {"format_version": FORMAT, "runs": {**_known(self.folder), follower.tracker.name: known}}
            write_json(self.folder / FILE, content)


def _known(folder: Path) -> dict[str, str]:
    try:
        runs = read_json(folder / FILE).get("runs")
    except (CheckpointError, AttributeError):
        return {}
    given = runs if isinstance(runs, dict) else {}
    return {name: value for name, value in given.items() if isinstance(value, str) and value.replace("-", "").isalnum()}
