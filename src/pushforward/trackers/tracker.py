"""The interface of trackers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pushforward.arguments import split_names
from pushforward.errors import imported
from pushforward.registries import TRACKERS

FOLDER = "trackers"  # folder within a run folder, which is written by trackers and never read


class Tracker(ABC):
    """Base class of trackers, which receive the training log and may fail.

    The name of a tracker is the lower-case class name.
    """

    library: ClassVar[str] = ""
    """Extra that installs the library of the tracker; empty if it needs none."""

    @property
    def name(self) -> str:
        """Return the lower-case class name, by which the tracker is chosen."""
        return type(self).__name__.lower()

    def check(self) -> None:
        """Check that the tracker can be used; called before training begins.

        Raises:
            MissingExtra: If the library of the tracker is not installed.
        """
        if self.library:
            self.module(self.library)

    def module(self, name: str) -> Any:
        """Import a module of the tracker's library."""
        needed = f"The tracker {self.library} needs a package that is not installed"
        return imported(name, needed, self.library)

    @abstractmethod
    def start(
        self, folder: Path, facts: Mapping[str, Any], config: Mapping[str, Any], known: str | None
    ) -> str:
        """Start logging; called first, and again if training continues after `finish`.

        Args:
            folder: Run folder.
            facts: Content of ``manifest.json``: machine, packages, commit, seed, data.
            config: Content of ``spec.json``: recipe, method, training, data, budget and options.
            known: Result of the first call for this run; None for the first call.

        Returns:
            Identifier of the tracker's own run, made of letters, digits and "-".
        """

    @abstractmethod
    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log a training step; called once per step, in order.

        Args:
            step: Training step, from 1.
            numbers: Numbers by name: loss/NETWORK, lr/NETWORK, health/MEASURE, progress/samples
                and progress/seconds.
        """

    def pictures(self, step: int, paths: Sequence[Path]) -> None:
        """Log pictures of samples from fixed noise.

        Args:
            step: Training step.
            paths: Paths of PNG files in the run folder.
        """
        return None

    @abstractmethod
    def finish(self, status: str) -> None:
        """Finish logging; called when training ends.

        Args:
            status: "finished", "stopped" (training can be resumed) or "failed".
        """


def trackers_of(given: str | Tracker | Iterable[str | Tracker] | None) -> tuple[Tracker, ...]:
    """Build the named trackers.

    Args:
        given: Names (possibly separated by commas), or your own trackers; None for none.

    Raises:
        UsageError: If a name is unknown.
        MissingExtra: If a tracker's library is not installed.
    """
    if given is None:
        return ()
    if isinstance(given, Tracker):
        given = [given]
    trackers = []
    for word in split_names(given):
        tracker = TRACKERS.find(word)() if isinstance(word, str) else word
        tracker.check()
        trackers.append(tracker)
    return tuple(trackers)
