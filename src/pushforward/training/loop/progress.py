"""Progress of training: a bar on a terminal or below a notebook's cell, else one plain line now and then.

Lines and terminal bars go to stderr.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, field
from html import escape
from typing import Any
from warnings import warn

from pushforward.errors import UsageError
from pushforward.notebooks import display, in_notebook


def duration(seconds: float) -> str:
    """90 -> "1:30", 5400 -> "1:30:00"."""
    hours, rest = divmod(int(seconds + 0.5), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Watcher:
    """Is told how a training goes; each method may be replaced."""

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        """Called after every step.

        Args:
            name: The run's.
            clock: Its `Clock`: step, seconds and share of the budget.
            samples: Training samples so far.
            losses: The newest losses that are known, by player.
        """
        return None

    def preparing(self, name: str, share: float, words: str) -> None:
        """Called while inputs are computed before the first step: the share that is there, and a description."""
        return None

    def measured(self, name: str, words: str) -> None:
        """Called when samples were measured, with the newest values in a few words, such as "modes 8/8"."""
        return None

    def say(self, line: str) -> None:
        """Called for events."""
        return None

    def close(self) -> None:
        """Called at the end, however it comes."""
        return None


class Silent(Watcher):
    """No output."""


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


@dataclass
class _Line:
    """What is known of one run, when it was last shown, and what was last printed of it."""

    due: float
    clock: Any = None
    losses: dict[str, float] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    measured: str = ""
    shown: tuple[int, str] | None = None
    place: Any = None

    @property
    def now(self) -> tuple[int, str]:
        return (-1 if self.clock is None else self.clock.step), self.measured

    def text(self, ended: bool = False) -> str:
        each = "  ".join(f"{player} {value:.4g}" for player, value in self.losses.items())
        total = f"/{self.clock.total:,}" if self.clock.total else ""
        pace = "" if ended else self.pace.words()
        loss = f"  loss: {each}" if each else ""
        return f"step {self.clock.step:,}{total}{pace}{loss}{self.measured and '  '}{self.measured}"


class Progress(Watcher):
    """Lines of name, share done, time left, training examples per second and losses.

    The speed and the time left follow the last minute of training, so that after a resume they are those of this machine.

    Args:
        interval: Seconds between plain lines of one run where there is neither a terminal nor a notebook. Of runs that train in
            turns each has lines of its own.
    """

    def __init__(self, interval: float = 10.0) -> None:
        self._terminal, self._notebook = sys.stderr is not None and sys.stderr.isatty(), in_notebook()
        self.interval = 0.2 if self._terminal or self._notebook else interval
        self._lines: dict[str, _Line] = {}
        self._bars: Any = None

    def _of(self, name: str) -> _Line:
        return self._lines.setdefault(name, _Line(time.monotonic() + self.interval))

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        line = self._of(name)
        line.clock, line.losses = clock, losses
        line.pace.add(clock.seconds, samples, clock.progress)
        if time.monotonic() >= line.due:
            self._show(name, clock.progress, line.text())

    def preparing(self, name: str, share: float, words: str) -> None:
        if time.monotonic() >= self._of(name).due:
            self._show(name, share, words)

    def measured(self, name: str, words: str) -> None:
        self._of(name).measured = words

    def _show(self, name: str, share: float, text: str) -> None:
        line = self._lines[name]
        line.due, line.shown = time.monotonic() + self.interval, line.now
        plain = f"{name}  {100 * share:3.0f} %  {text}"
        if self._notebook:
            bar = f"<progress value='{share:.4f}' max='1'></progress>"
            content = {"text/plain": plain, "text/html": f"{escape(name)} {bar} {escape(text)}"}
            if line.place is None:
                line.place = display(content, raw=True)
            else:
                line.place.update(content, raw=True)
        elif self._terminal:
            self._bar(line, name, share, text)
        else:
            self.say(plain)

    def _bar(self, line: _Line, name: str, share: float, text: str) -> None:
        if self._bars is None:
            from rich import progress
            from rich.console import Console

            title, rest = (progress.TextColumn(f"{{task.fields[{part}]}}") for part in ("title", "line"))
            columns = title, progress.BarColumn(24), progress.TaskProgressColumn(), rest
            self._bars = progress.Progress(*columns, console=Console(stderr=True))
            self._bars.start()
        if line.place is None:
            line.place = self._bars.add_task(name, total=1.0, title=name, line="")
        self._bars.update(line.place, completed=share, line=text)

    def say(self, line: str) -> None:
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)
        elif self._notebook:
            print(line, flush=True)
        elif sys.stderr is not None:
            with contextlib.suppress(OSError):  # nobody reads it any more
                print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        for name, line in self._lines.items():
            if line.shown and line.clock is not None and (line.place is not None or line.shown != line.now):
                self._show(name, line.clock.progress, line.text(ended=True))
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._lines = None, {}
