"""Progress of training: a bar on a terminal or below a notebook's cell, else one plain line now and then.

Lines and terminal bars go to stderr.
"""

from __future__ import annotations

import contextlib
import sys
import time
from abc import ABC, abstractmethod
from html import escape
from typing import Any
from warnings import warn

from pushforward.errors import UsageError
from pushforward.runtime import display, in_notebook


def duration(seconds: float) -> str:
    """90 -> "1:30", 5400 -> "1:30:00"."""
    whole = int(seconds + 0.5)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Watcher(ABC):
    """A trainer's report of a step."""

    @abstractmethod
    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        """Called after every step.

        Args:
            name: The run's.
            clock: Its `Clock`: step, seconds and share of the budget.
            samples: Training samples so far.
            losses: The newest losses that are known, by player.
        """

    def preparing(self, name: str, share: float, words: str) -> None:
        """Called while inputs are computed before the first step.

        Args:
            name: The run's.
            share: How much is there, in [0, 1].
            words: A description, and the time so far.
        """
        return None

    def measured(self, name: str, words: str) -> None:
        """Called when samples were measured, with the newest values in a few words, such as "modes 8/8"."""
        return None

    @abstractmethod
    def say(self, line: str) -> None:
        """Called for events."""

    @abstractmethod
    def close(self) -> None:
        """Called at the end, however it comes."""


class Silent(Watcher):
    """No output."""

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def report(watcher: Watcher, sentences: str) -> None:
    """Say what happened where somebody reads it: where the progress is shown, or else as a warning of Python."""
    if isinstance(watcher, Silent):
        warn(sentences, stacklevel=2)
    else:
        watcher.say(f"warning: {sentences}")


def watcher_of(progress: Watcher | bool | None) -> Watcher:
    """The watcher of an argument ``progress``.

    Args:
        progress: A watcher; True for `Progress`, False for `Silent`; None for `Progress` where a person reads it, that is on a
            terminal or in a notebook, and `Silent` elsewhere.

    Raises:
        UsageError: For anything else.
    """
    if isinstance(progress, Watcher):
        return progress
    if progress is not None and not isinstance(progress, bool):
        raise UsageError(f"Expected progress=True, False or a pf.Progress; got {progress!r}.")
    visible = (sys.stderr and sys.stderr.isatty()) or in_notebook() if progress is None else progress
    return Progress() if visible else Silent()


WINDOW, SPACING = 60.0, 5.0
"""Seconds of training from which the speed is computed, and between its marks."""


class Pace:
    """The speed of one training over its last minute, from marks of (seconds, samples, share done)."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int, float]] = []
        self._newest = (0.0, 0, 0.0)

    def add(self, seconds: float, samples: int, done: float) -> None:
        """Add the state after a step; of the marks before the window one stays."""
        if seconds < self._newest[0] or samples < self._newest[1]:  # back at a checkpoint, or another training
            self._marks.clear()
        self._newest = seconds, samples, done
        if not self._marks or seconds - self._marks[-1][0] >= SPACING:
            self._marks.append(self._newest)
        while len(self._marks) > 1 and seconds - self._marks[1][0] >= WINDOW:
            del self._marks[0]

    def words(self) -> str:
        """Training examples per second and the time left, each after two blanks; empty after a single step."""
        seconds, samples, done = (new - old for new, old in zip(self._newest, self._marks[0], strict=True))
        if seconds <= 0 or done <= 0:
            return ""
        return f"  {samples / seconds:,.0f} examples/s  {duration(seconds * (1 - self._newest[2]) / done)} left"


def _print(line: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # nobody reads it any more
            print(line, file=sys.stderr, flush=True)


class Progress(Watcher):
    """Lines of name, share done, time left, training examples per second and losses.

    The speed and the time left follow the last minute of training, so that after a resume they are those of this machine.

    Args:
        interval: Seconds between plain lines of one run where there is neither a terminal nor a notebook. Of runs that train in
            turns each has lines of its own.
    """

    def __init__(self, interval: float = 10.0) -> None:
        self.interval = interval
        self._terminal, self._notebook = sys.stderr is not None and sys.stderr.isatty(), in_notebook()
        self._handles: dict[str, Any] = {}
        self._last: dict[str, float] = {}
        self._printed: dict[str, tuple[int, str]] = {}
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._seen: dict[str, tuple[Any, dict[str, float]]] = {}
        self._measured: dict[str, str] = {}
        self._paces: dict[str, Pace] = {}

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        """Show where training stands, if it is time to."""
        self._seen[name] = clock, losses
        self._paces.setdefault(name, Pace()).add(clock.seconds, samples, clock.progress)
        if self._due(name):
            self._show(name, clock.progress, self._line(name))

    def preparing(self, name: str, share: float, words: str) -> None:
        """Show how much is there, if it is time to."""
        if self._due(name):
            self._show(name, share, words)

    def _due(self, name: str) -> bool:
        now = time.monotonic()
        last = self._last.setdefault(name, now)
        due = now - last >= (0.2 if self._terminal or self._notebook else self.interval)
        self._last[name] = now if due else last
        return due

    def _show(self, name: str, share: float, line: str) -> None:
        if self._notebook:
            self._cell(name, share, line)
        elif self._terminal:
            self._bar(name, share, line)
        else:
            self._printed[name] = self._state(name)
            _print(f"{name}  {100 * share:3.0f} %  {line}")

    def _state(self, name: str) -> tuple[int, str]:
        return (self._seen[name][0].step if name in self._seen else -1), self._measured.get(name, "")

    def _line(self, name: str, ended: bool = False) -> str:
        clock, losses = self._seen[name]
        each = "  ".join(f"{player} {value:.4g}" for player, value in losses.items())
        total = f"/{clock.total:,}" if clock.total else ""
        loss = f"  loss: {each}" if each else ""
        words = f"  {self._measured[name]}" if name in self._measured else ""
        pace = "" if ended else self._paces[name].words()
        return f"step {clock.step:,}{total}{pace}{loss}{words}"

    def measured(self, name: str, words: str) -> None:
        """Show the words at the end of the line from now on."""
        self._measured[name] = words

    def _cell(self, name: str, share: float, line: str) -> None:
        bar = f"<progress value='{share:.4f}' max='1'></progress>"
        content = {
            "text/plain": f"{name}  {100 * share:3.0f} %  {line}",
            "text/html": f"{escape(name)} {bar} {escape(line)}",
        }
        if name in self._handles:
            self._handles[name].update(content, raw=True)
        else:
            self._handles[name] = display(content, raw=True)

    def _bar(self, name: str, share: float, line: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bars

        if self._bars is None:
            columns = (
                TextColumn("{task.fields[title]}"),
                BarColumn(24),
                TaskProgressColumn(),
                TextColumn("{task.fields[line]}"),
            )
            self._bars = Bars(*columns, console=Console(stderr=True))
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=1.0, title=name, line="")
        self._bars.update(self._tasks[name], completed=share, line=line)

    def say(self, line: str) -> None:
        """Print one event."""
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)
        elif self._notebook:
            print(line, flush=True)
        else:
            _print(line)

    def close(self) -> None:
        """Show where each training got to, and leave the terminal tidy."""
        visible = self._handles.keys() | self._tasks.keys() | self._printed.keys()
        for name in (name for name in self._seen if name in visible):
            if self._printed.get(name) != self._state(name):
                self._show(name, self._seen[name][0].progress, self._line(name, ended=True))
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._handles, self._tasks = None, {}, {}
        for memory in (self._printed, self._seen, self._measured, self._paces, self._last):
            memory.clear()
