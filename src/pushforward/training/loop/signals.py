"""Signals that end training."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

ENDING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
"""Signals that ask a process to end: sent by the system, by a terminal that closes, or by a cluster
before its time limit."""
TOGETHER = 1.0
"""Seconds within which signals other than SIGINT count as one, because launchers repeat signals of
a cluster."""


@contextmanager
def interruptible(trainers: Sequence[Any], ending: bool = True) -> Iterator[list[int]]:
    """Context in which signals set ``stop``; a second signal has its usual effect."""
    got: list[int] = []
    first = time.monotonic()

    def stop(number: int, frame: Any) -> None:
        nonlocal first
        if got and number == signal.SIGINT:
            raise KeyboardInterrupt
        if got and time.monotonic() - first > TOGETHER:
            raise SystemExit(128 + number)
        if not got:
            first = time.monotonic()
        got.append(number)
        for trainer in trainers:
            trainer.stop = number

    numbers = [signal.SIGINT, *ending_signals()]
    if not ending:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            numbers = [signal.SIGINT]
        else:
            numbers = []
    with handling(numbers, stop):
        yield got


@contextmanager
def handling(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Context with a handler of signals; without effect outside of the main thread."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


def ending_signals() -> list[int]:
    """Return the signals of `ENDING` that this process does not ignore."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
