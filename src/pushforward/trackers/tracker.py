"""The interface of trackers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pushforward import errors
from pushforward.registries import TRACKERS

FOLDER = "trackers"  # The folder, within a run's, where trackers of this machine write; nothing in it is read


class Tracker(ABC):
    """Receives what a training logs, after it stands in ``metrics.jsonl``. It changes nothing, and may fail.

    A subclass is called by its lower-case name.
    """

    library: ClassVar[str] = ""
    """The library that the tracker needs, as the name of the extra that installs it; empty if it needs none."""

    @property
    def name(self) -> str:
        """The name of its class in lower case, by which it is chosen."""
        return type(self).__name__.lower()

    def check(self) -> None:
        """Called before training begins.

        Raises:
            MissingExtra: If its library is not installed.
        """
        if self.library:
            imported(self.library, self.library)

    @abstractmethod
    def start(self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None) -> str:
        """Called before anything is logged, and again after each `finish` that training goes on after.

        Args:
            folder: The run's folder.
            facts: Of ``manifest.json``: machine, packages, commit, seed, data.
            config: Of ``spec.json``: recipe, method, training, data, budget and options.
            known: What it returned when this run was first tracked; None for the first time.

        Returns:
            Letters, digits and "-" by which it finds its own run again.
        """

    @abstractmethod
    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Called once for each training step, in their order.

        Args:
            step: The training step, from 1.
            numbers: By name: loss/PLAYER, lr/PLAYER, health/MEASURE, and progress/samples, progress/seconds and
                progress/samples_per_second.
        """

    def pictures(self, step: int, paths: Sequence[Path]) -> None:
        """Called when samples of fixed noise were drawn.

        Args:
            step: The training step.
            paths: Of PNG files in the run's folder.
        """
        return None

    @abstractmethod
    def finish(self, status: str) -> None:
        """Called when training ends.

        Args:
            status: "finished", "stopped" (it can be resumed) or "failed".
        """


def imported(module: str, extra: str) -> Any:
    """A library of an extra.

    Raises:
        MissingExtra: Where it is not installed, with the line that installs it.
    """
    return errors.imported(module, f"The tracker {extra} needs a library that", extra)


def trackers_of(given: str | Tracker | Iterable[str | Tracker] | None) -> tuple[Tracker, ...]:
    """The trackers that were named, ready to start.

    Args:
        given: Names, also between commas, or objects of one's own; None for none.

    Raises:
        UsageError: For an unknown name.
        MissingExtra: If a tracker's library is not installed.
    """
    if given is None:
        return ()
    words = given.replace(" ", "").split(",") if isinstance(given, str) else [given] if isinstance(given, Tracker) else given
    trackers = tuple(word if isinstance(word, Tracker) else TRACKERS.find(word)() for word in words if word != "")
    for tracker in trackers:
        tracker.check()
    return trackers
