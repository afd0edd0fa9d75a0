"""Connections of a server: how many it holds, and how long a client may keep it waiting."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

BACKLOG = 512  # Connections that are accepted in one go at most, before any of them can be closed
RESERVED = BACKLOG + 64  # Descriptors that are not for connections
LEAST_READ = 1 << 14  # Bytes of an answer that a slow client must take within `Connections.patience`
LOG_EVERY = 60.0  # Seconds between two lines about closed connections

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Connections:
    """Limits that no client can exceed, whatever it sends.

    Args:
        most: The largest number of open connections; fewer if the system allows fewer descriptors.
        patience: Seconds until a request must be complete, headers and body, and in which some of an answer must be read.
        ending: Seconds that requests have left once the server is told to end.
    """

    most: int = 1000
    patience: float = 30
    ending: float = 30


def descriptors(wanted: int) -> int:
    """Raise the soft limit of open files to ``wanted`` if the hard one allows it; returns how many may be open, at most that."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = (wanted if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft < min(wanted, hard):
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return min(soft, wanted)


class Doors:
    """The connections of a server that wait for their clients, the longest wait first.

    Args:
        limits: What they keep to.
    """

    def __init__(self, limits: Connections) -> None:
        self.patience = limits.patience
        self.most = max(1, descriptors(limits.most + RESERVED) - RESERVED)
        self.waiting: dict[Connection, None] = {}
        self._closed = 0
        self._logged = -LOG_EVERY

    def count(self) -> None:
        """Count a connection that was closed; the log gets a line a minute at most."""
        self._closed += 1
        now = time.monotonic()
        if now >= self._logged + LOG_EVERY:
            logger.warning("closed %d connections that kept the server waiting; %d at most", self._closed, self.most)
            self._closed = 0
            self._logged = now


class Connection(H11Protocol):
    """A connection that is closed if its client keeps it waiting for too long.

    It waits for its client unless a request is complete and its answer is not, or the answer is not read. If there are too many
    connections, the one with the longest wait is closed: clients that send their requests at once get in.
    """

    def __init__(self, *arguments: Any, doors: Doors, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._doors = doors
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self._doors.most:
            next(iter(self._doors.waiting)).close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:  # the next request begins
            self._stop()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def close(self) -> None:
        """Close it at once and count it; what was not sent yet is dropped."""
        self._stop()
        self._doors.count()
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        asked = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        answering = asked and self.cycle is not None and not self.cycle.response_complete
        if answering and not self.flow.write_paused:
            self._stop()
        elif self._timer is None:
            self._unread = self.transport.get_write_buffer_size()
            self._timer = self.loop.call_later(self._doors.patience, self._late)
            self._doors.waiting[self] = None

    def _stop(self) -> None:
        self._doors.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        read = self._unread - self.transport.get_write_buffer_size()
        if read < LEAST_READ:
            self.close()
        else:
            self._stop()
            self._watch()
