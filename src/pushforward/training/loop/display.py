"""Progress displays."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, field
from html import escape
from typing import Any

from pushforward.errors import UsageError
from pushforward.runtime import display, in_notebook


def clock_time(seconds: float) -> str:
    """Format seconds: 90 -> "1:30", 5400 -> "1:30:00"."""
    hours, rest = divmod(int(seconds + 0.5), 3600)
    if hours:
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{rest // 60}:{rest % 60:02d}"


class Watcher:
    """Callback that receives training progress; every method may be overridden."""

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        """Called after every step.

        Args:
            name: Name of the run.
            clock: Clock of the run: step, seconds and fraction of the budget.
            samples: Training samples so far.
            losses: Latest known losses, by network.
        """

    def preparing(self, name: str, share: float, words: str) -> None:
        """Called while inputs are computed before training, with the fraction done."""

    def measured(self, name: str, words: str) -> None:
        """Called after samples were measured, with the values in a few words."""
        return None

    def say(self, line: str) -> None:
        """Receives the text of an event."""

    def close(self) -> None:
        """Called at the end, even after an error."""


class Silent(Watcher):
    """Watcher without output."""


def _in_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def watcher_of(progress: Watcher | bool | None) -> Watcher:
    """Return the watcher for an argument ``progress``."""
    if isinstance(progress, Watcher):
        return progress
    if progress is not None and not isinstance(progress, bool):
        raise UsageError(f"Expected progress=True, False or a pf.Progress; got {progress!r}.")
    if progress is None:
        progress = _in_terminal() or in_notebook()
    if progress:
        return Progress()
    return Silent()


@dataclass
class _Line:
    due: float
    first: tuple[float, int, float] | None = None
    clock: Any = None
    samples: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    measured: str = ""
    shown: int | None = None  # the step
    place: Any = None  # its task in a terminal, its output in a notebook

    def text(self) -> str:
        words = f"step {self.clock.step:,}"
        if self.clock.total:
            words += f"/{self.clock.total:,}"
        words += self._speed()
        if self.losses:
            losses = [f"{network} {value:.4g}" for network, value in self.losses.items()]
            words += f"  loss: {'  '.join(losses)}"
        return f"{words}  {self.measured}".rstrip()

    def _speed(self) -> str:
        assert self.first is not None
        seconds = self.clock.seconds - self.first[0]
        done = self.clock.progress - self.first[2]
        if seconds <= 0 or done <= 0:
            return ""
        speed = (self.samples - self.first[1]) / seconds
        left = clock_time(seconds * (1 - self.clock.progress) / done)
        return f"  {speed:,.0f} examples/s  {left} left"


class Progress(Watcher):
    """Progress lines with name, fraction done, time left, training examples per second and losses.

    Speed and time left are means since the display was started.

    Args:
        interval: Seconds between plain lines of one run if there is neither a terminal nor a
            notebook. Runs trained in alternation have separate lines.
    """

    def __init__(self, interval: float = 10.0) -> None:
        self._terminal = _in_terminal()
        self._notebook = in_notebook()
        self.interval = 0.2 if self._terminal or self._notebook else interval
        self._lines: dict[str, _Line] = {}
        self._bars: Any = None

    def _of(self, name: str) -> _Line:
        return self._lines.setdefault(name, _Line(time.monotonic() + self.interval))

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        line = self._of(name)
        line.clock = clock
        line.samples = samples
        line.losses = losses
        if line.first is None:
            line.first = (clock.seconds, samples, clock.progress)
        if time.monotonic() >= line.due:
            self._show(name, clock.progress, line.text())

    def preparing(self, name: str, share: float, words: str) -> None:
        if time.monotonic() >= self._of(name).due:
            self._show(name, share, words)

    def measured(self, name: str, words: str) -> None:
        self._of(name).measured = words

    def _show(self, name: str, share: float, text: str) -> None:
        line = self._lines[name]
        line.due = time.monotonic() + self.interval
        if line.clock is not None:
            line.shown = line.clock.step
        plain = f"{name}  {100 * share:3.0f} %  {text}"
        if self._notebook:
            bar = f"<progress value='{share:.4f}' max='1'></progress>"
            shown = {"text/plain": plain, "text/html": f"{escape(name)} {bar} {escape(text)}"}
            if line.place is None:
                line.place = display(shown, raw=True)
            else:
                line.place.update(shown, raw=True)
        elif self._terminal:
            self._bar(line, name, share, text)
        else:
            self.say(plain)

    def _bar(self, line: _Line, name: str, share: float, text: str) -> None:
        if self._bars is None:
            from rich import progress
            from rich.console import Console

            title = progress.TextColumn("{task.fields[title]}")
            rest = progress.TextColumn("{task.fields[line]}")
            columns = (title, progress.BarColumn(24), progress.TaskProgressColumn(), rest)
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
            if line.shown is not None and line.shown != line.clock.step:
                self._show(name, line.clock.progress, line.text())
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        self._lines = {}
