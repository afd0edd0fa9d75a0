"""The lock of a run's folder: one training at a time writes to it.

The lock is the operating system's, on ``.lock`` in the folder: it ends with its process, however that ends, and the file says
nothing by staying there. Reading a run neither takes nor opens it. Where a file system has no locks of this kind, filelock writes
the holder's process and host into the file in their place.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from pushforward.errors import CheckpointError
from pushforward.files import refuse_links
from pushforward.training.checkpoint.integrity import latest

LOCK = ".lock"
_WAIT = 0.5  # seconds that a training waits for its lock: a check whether a folder is in use holds it for a moment
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def hold(folder: Path) -> BaseFileLock | None:
    """Lock a run's folder for training; None for a folder that cannot be written to, where the first write fails.

    Raises:
        CheckpointError: If another training holds it, or its lock is a link or belongs to another user.
    """
    refuse_links(folder, (), known=())
    # all who may write to the folder may lock it
    lock = FileLock(folder / LOCK, timeout=_WAIT, thread_local=False, mode=folder.stat().st_mode & 0o666)
    try:
        lock.acquire()
    except Timeout:
        raise busy(folder) from None
    except OSError as error:
        effective = os.access in os.supports_effective_ids
        if error.errno in _READ_ONLY and not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
            return None
        raise CheckpointError(
            f"{folder}/{LOCK} could not be locked for training: {error.strerror or error}. If the file is another user's and "
            "nobody trains there, delete it."
        ) from error
    return lock


def is_locked(folder: Path) -> bool:
    """Whether a training holds the lock of a folder at this moment; who only reads must not ask."""
    if (folder / LOCK).is_symlink() or not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def busy(folder: Path) -> CheckpointError:
    """The error for a folder that another training holds."""
    return CheckpointError(
        f"{folder} is being trained at this moment, by another process or another trainer of this one: wait until that ends."
    )


class Holding:
    """A run's folder, locked by one trainer: no other one, here or in another process, writes to it meanwhile.

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
                f"{self.folder} has been trained further since this trainer was closed. Go on from there: pf.resume(...)."
            )
        self._lock, self._open = lock, True

    def _standing(self) -> tuple[Path | None, int]:
        log = self.folder / "metrics.jsonl"
        return latest(self.folder / "checkpoints"), log.stat().st_size if log.is_file() else 0
