"""The error of one process that all processes of a training raise: posted where each of them looks."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

from pushforward import errors
from pushforward.errors import GroupError, PushforwardError
from pushforward.launched import launched

__all__ = ["Board", "is_loss"]

_KEY, _INFORMED = "error", "informed"
_SETTLED = "_settled_by_all_processes"
"""The attribute of an error that all processes raise: further phases around it pass it on."""
_POSTED, _READ, _LINGER = 2.0, 5.0, 0.2
"""Seconds in which a process that has failed has also posted its error, in which the others have read it, and for which the first
process stays longer than the others."""
_LOSSES = re.compile(
    r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|[Tt]imed out|Timeout|process group|recvValue|sendBytes|Socket"
)
_OTHERS: dict[str, type[Exception]] = {kind.__name__: kind for kind in (MemoryError, OSError)}
_LARGEST = 20_000
"""Characters of a message that are posted."""


def is_loss(error: BaseException) -> bool:
    """Whether an error says that another process no longer answers."""
    import torch

    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and _LOSSES.search(str(error)) is not None


class Board:
    """Holds the first error of a group of processes, in the store by which they have found each other.

    Args:
        store: Of torch.distributed; calls on it fail once the process that holds it has ended.
        rank: The number of this process.
        count: How many there are.
    """

    def __init__(self, store: Any, rank: int, count: int) -> None:
        self.store, self.rank, self.count = store, rank, count

    def settled(self, error: Exception, where: str, seconds: float, leave: Callable[[], None]) -> Exception:
        """The error that this process raises in place of one that it has met: the first one of all processes.

        ``where`` says what the processes were doing, each of which answers within so many seconds; ``leave`` ends the connections
        of this process, so that others do not wait for it.
        """
        if getattr(error, _SETTLED, False):
            return error
        failure = self._settled(error, where, seconds, leave)
        setattr(failure, _SETTLED, True)
        return failure

    def _settled(self, error: Exception, where: str, seconds: float, leave: Callable[[], None]) -> Exception:
        lost = is_loss(error)
        if not lost:
            self._post(error)
        leave()
        first = self._first(_POSTED if lost else 0.0)
        if first is None:
            return _lost(error, where, seconds) if lost else error
        self._inform()
        own = first["rank"] == self.rank or (first["kind"], first["words"]) == (type(error).__name__, str(error)[:_LARGEST])
        return error if own else _rebuilt(first)

    def _post(self, error: Exception) -> None:
        content = {"rank": self.rank, "kind": type(error).__name__, "words": str(error)[:_LARGEST]}
        content["before"] = getattr(error, "before", None)
        with contextlib.suppress(RuntimeError):  # nobody is left to read it
            self.store.compare_set(_KEY, "", json.dumps(content))

    def _first(self, wait: float) -> dict[str, Any] | None:
        """The first error; None where there is none after so many seconds."""
        ends = time.monotonic() + wait
        try:
            while not self.store.check([_KEY]):
                if time.monotonic() >= ends:
                    return None
                time.sleep(0.05)
            return dict(json.loads(self.store.get(_KEY)))
        except RuntimeError:  # the process that holds the store has ended
            return None

    def _inform(self) -> None:
        """Note that this process knows the error, and wait a while for the others: one of them holds the store, one speaks."""
        with contextlib.suppress(RuntimeError):
            informed, ends = self.store.add(_INFORMED, 1), time.monotonic() + _READ
            while informed < self.count and time.monotonic() < ends:
                time.sleep(0.02)
                informed = self.store.add(_INFORMED, 0)
            time.sleep(0.0 if self.rank else _LINGER)


def _lost(error: Exception, where: str, seconds: float) -> GroupError:
    late = re.search(r"[Tt]imed out|[Tt]imeout", str(error)) is not None
    what = f"did not answer within {seconds:g} seconds" if late else "has ended, as a process that is killed does"
    launch = launched()
    then = "look for the reason on its machine, then start all processes again with pushforward resume"
    if launch.restarts < (launch.most_restarts or 0):
        then = "the launcher starts all processes again"
    more = " Processes that may be slow have more time with PUSHFORWARD_TIMEOUT=600 (seconds)." if late else ""
    return GroupError(f"In {where} another process of this training {what}. What was saved is intact: {then}.{more}")


def _rebuilt(content: dict[str, Any]) -> Exception:
    """The error of another process, of the same exit code."""
    kind, words = str(content["kind"]), f"In process {content['rank']}: {content['words']}"
    own = getattr(errors, kind, None)
    if not (isinstance(own, type) and issubclass(own, PushforwardError)):
        return _OTHERS[kind](words) if kind in _OTHERS else RuntimeError(f"{kind}: {words}")
    rebuilt = own(words)
    if content.get("before") is not None:
        rebuilt.before = content["before"]  # type: ignore[attr-defined]
    return rebuilt
