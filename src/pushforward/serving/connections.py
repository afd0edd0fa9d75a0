"""Limits of a server's connections and of slow clients."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

BACKLOG = 512  # connections that are accepted in one go, before any of them can be closed
RESERVED = BACKLOG + 64  # descriptors that are not for connections


def descriptors(wanted: int) -> int:
    """Raise the soft limit of open files; return how many may be open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(soft, wanted)


@dataclass(eq=False)
class Connections:
    """Connections of a server and their limits.

    Args:
        most: Maximum number of open connections; fewer if the system allows fewer descriptors.
        patience: Seconds within which a request must arrive, and 64 kB of an answer must be read.
        ending: Seconds for finishing requests after the server is told to stop.
        waiting: Start time of each wait, the longest wait first.
        closed: Number of connections closed because of a limit.
    """

    most: int = 1000
    patience: int = 30
    ending: int = 30
    waiting: dict[Connection, float] = field(default_factory=dict, init=False)
    closed: int = field(default=0, init=False)

    async def sweep(self) -> None:
        """Close connections that have waited too long."""
        now = time.monotonic()
        for connection, since in list(self.waiting.items()):
            if now > since + self.patience:
                connection.close()


class Connection(H11Protocol):
    """Connection that is closed if its client keeps it waiting too long.

    If there are too many connections, the one with the longest wait is closed. A subclass sets the
    limits.
    """

    limits: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self.limits.most:
            next(iter(self.limits.waiting)).close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.limits.waiting.pop(self, None)
        super().connection_lost(exc)

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
        """Close the connection immediately, even if data is still unsent."""
        self.limits.waiting.pop(self, None)
        self.limits.closed += 1
        if self.limits.closed.bit_count() == 1:  # at 1, 2, 4, 8, ...: few lines
            self.logger.error(
                "connections closed because they kept the server waiting: %d", self.limits.closed
            )
        self.transport.abort()

    def _watch(self) -> None:
        answering = (
            self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)
            and self.conn.their_state is not h11.SEND_BODY
        )
        if answering and not self.flow.write_paused:
            self.limits.waiting.pop(self, None)
        else:
            self.limits.waiting.setdefault(self, time.monotonic())
