"""A trainer's hold on its run folder: locked while it trains, given back and taken again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import BaseFileLock

from pushforward.errors import CheckpointError
from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.folders import hold

__all__ = ["Holding"]


class Holding:
    """A run's folder in the hands of one trainer: no other one, here or in another process, writes to it meanwhile.

    The lock is held until it is given back, or this object is deleted.

    Args:
        folder: The run's folder.
        lock: Its lock; None where it cannot be locked, or nothing is written.
        content: The spec of a run that is taken up; None for a new one.
        writes: Whether anything is written to the folder.
    """

    def __init__(
        self, folder: Path, lock: BaseFileLock | None, content: dict[str, Any] | None = None, writes: bool = True
    ) -> None:
        self.folder, self.content, self.writes = folder, content, writes
        self._lock, self._open = lock, True
        self._closed_at: tuple[Path | None, int] = (None, 0)

    def close(self) -> None:
        """Give the lock back."""
        if self._open:
            self._open, self._closed_at = False, self._standing()
            if self._lock is not None:
                self._lock.release()

    def reopen(self) -> None:
        """Take the lock again after `close`.

        Raises:
            CheckpointError: If another training holds the folder, or has changed the run.
        """
        if self._open:
            return
        lock = hold(self.folder) if self.writes else None
        if self._closed_at != self._standing():
            if lock is not None:
                lock.release()
            raise CheckpointError(
                f"{self.folder} has been trained further since this trainer was closed. Go on with what is there: pf.resume(...)."
            )
        self._lock, self._open = lock, True

    def _standing(self) -> tuple[Path | None, int]:
        """The newest checkpoint, and the last step in the log, which another training changes before it saves."""
        return checkpoints.latest(self.folder / "checkpoints"), log.last_step(self.folder / "metrics.jsonl")
