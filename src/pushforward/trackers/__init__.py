"""Trackers: what a training measures, also written for other programs; each is found in its file of this folder by name."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from pushforward.errors import UsageError, unknown
from pushforward.spec import check_names, classes, classes_of
from pushforward.trackers.tracker import FOLDER, Tracker

__all__ = ["FOLDER", "Tracker", "adopt", "registry", "trackers_of"]

_ADDED: dict[str, type[Tracker]] = {}


def _own() -> dict[str, type[Tracker]]:
    return {name.lower(): part for name, part in classes("pushforward.trackers", Tracker).items()}


def registry() -> dict[str, type[Tracker]]:
    """Every tracker by its lower-case name: those of this folder, then those of plug-ins."""
    return _own() | _ADDED


def adopt(module: ModuleType) -> list[str]:
    """Register the trackers that a module defines; their names."""
    trackers = {name.lower(): part for name, part in classes_of(module, Tracker).items()}
    check_names("tracker", trackers, _ADDED, module)
    if taken := trackers.keys() & _own().keys():
        raise UsageError(f'The name "{min(taken)}" belongs to another tracker. Rename it in {module.__file__}.')
    _ADDED.update(trackers)
    return list(trackers)


def trackers_of(given: str | Tracker | Iterable[str | Tracker] | None) -> tuple[Tracker, ...]:
    """The trackers that were named, ready to start.

    Args:
        given: Names (`registry`), also between commas, or objects of one's own; None for none.

    Raises:
        UsageError: For an unknown name, one that stands twice, or a text that names none.
        MissingExtra: If a tracker's library is not installed.
    """
    if given is None:
        return ()
    words = (
        given.replace(" ", "").split(",") if isinstance(given, str) else [given] if isinstance(given, Tracker) else list(given)
    )
    trackers = [_tracker(word) for word in words if word != ""]
    if isinstance(given, str) and not trackers:
        raise UsageError(f'`trackers` names no tracker, got "{given}". Known: {", ".join(registry())}; or leave it out.')
    names = [tracker.name for tracker in trackers]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"`trackers` names {min(twice)} twice: name each tracker once.")
    for tracker in trackers:
        tracker.check()
    return tuple(trackers)


def _tracker(given: str | Tracker) -> Tracker:
    if isinstance(given, Tracker):
        return given
    known = registry()
    if not isinstance(given, str):
        raise UsageError(f'Expected a tracker, such as "tensorboard" or an object of a subclass of Tracker; got {given!r}.')
    if given not in known:
        raise unknown("tracker", given, known)
    return known[given]()
