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


def duration(seconds: float) -> str:
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


def watcher_of(progress: Watcher | bool | None) -> Watcher:
    """Return the watcher for an argument ``progress``."""
    if isinstance(progress, Watcher):
        return progress
    if progress is not None and not isinstance(progress, bool):
        raise UsageError(f"Expected progress=True, False or a pf.Progress; got {progress!r}.")
    if progress is None:
        visible = (sys.stderr and sys.stderr.isatty()) or in_notebook()
    else:
        visible = progress
    if visible:
        return Progress()
    return Silent()


# seconds of training from which the speed is computed, and between its marks
WINDOW = 60.0
SPACING = 5.0


class Pace:
    """Speed of a training run over the last minute."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int, float]] = []
        self._newest = (0.0, 0, 0.0)

    def add(self, seconds: float, samples: int, done: float) -> None:
        if seconds < self._newest[0] or samples < self._newest[1]:  # back at a checkpoint
            self._marks.clear()
        self._newest = (seconds, samples, done)
        if not self._marks or seconds - self._marks[-1][0] >= SPACING:
            self._marks.append(self._newest)
        while len(self._marks) > 1 and seconds - self._marks[1][0] >= WINDOW:
            del self._marks[0]

    def words(self) -> str:
        seconds, samples, done = (
            new - old for new, old in zip(self._newest, self._marks[0], strict=True)
        )
        if seconds <= 0 or done <= 0:
            return ""
        left = duration(seconds * (1 - self._newest[2]) / done)
        return f"  {samples / seconds:,.0f} examples/s  {left} left"


@dataclass
class _Line:
    due: float
    clock: Any = None
    losses: dict[str, float] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    measured: str = ""
    shown: tuple[int, str] | None = None
    place: Any = None

    @property
    def now(self) -> tuple[int, str]:
        step = -1 if self.clock is None else self.clock.step
        return step, self.measured

    def text(self, ended: bool = False) -> str:
        words = [f"step {self.clock.step:,}"]
        if self.clock.total:
            words[0] += f"/{self.clock.total:,}"
        if not ended:
            words.append(self.pace.words().strip())
        if self.losses:
            losses = [f"{network} {value:.4g}" for network, value in self.losses.items()]
            words.append(f"loss: {'  '.join(losses)}")
        words.append(self.measured)
        return "  ".join(filter(None, words))


class Progress(Watcher):
    """Progress lines with name, fraction done, time left, training examples per second and losses.

    Speed and time left are based on the last minute of training, so after a resume they refer to
    this machine.

    Args:
        interval: Seconds between plain lines of one run if there is neither a terminal nor a
            notebook. Runs trained in alternation have separate lines.
    """

    def __init__(self, interval: float = 10.0) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._notebook = in_notebook()
        self.interval = 0.2 if self._terminal or self._notebook else interval
        self._lines: dict[str, _Line] = {}
        self._bars: Any = None

    def _of(self, name: str) -> _Line:
        return self._lines.setdefault(name, _Line(time.monotonic() + self.interval))

    def __call__(self, name: str, clock: Any, samples: int, losses: dict[str, float]) -> None:
        line = self._of(name)
        line.clock = clock
        line.losses = losses
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
        line.due = time.monotonic() + self.interval
        line.shown = line.now
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
            if line.shown is None or line.clock is None:
                continue
            if line.place is not None or line.shown != line.now:
                self._show(name, line.clock.progress, line.text(ended=True))
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        self._lines = {}
