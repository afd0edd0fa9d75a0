"""Work in a thread of its own: one piece at a time, whose error is raised where it is waited for."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

__all__ = ["Background"]


class Background:
    """Does one piece of work at a time beside the thread that hands it in.

    A process is not forked in the middle of a piece: the fork waits for its end.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, after the one before has ended.

        Raises:
            BaseException: Of the one before.
        """
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(work,), name="pushforward-save")
        _at_work.add(self)
        self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error

    @property
    def busy(self) -> bool:
        """Whether a piece of work has not ended yet."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """What the work that has ended last has raised, until `wait` raises it."""
        return self._error

    def join(self) -> bool:
        """Wait for the end of the work; whether it has failed. The error stays for `wait`."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        _at_work.discard(self)
        return self._error is not None

    def wait(self) -> None:
        """Wait for the end of the work.

        Raises:
            BaseException: The error that it ended with, once.
        """
        self.join()
        error, self._error = self._error, None
        if error is not None:
            raise error


_at_work: weakref.WeakSet[Background] = weakref.WeakSet()


def _before_fork() -> None:
    for background in list(_at_work):
        background.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
