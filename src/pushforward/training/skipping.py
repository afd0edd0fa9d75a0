"""Steps that are skipped because a loss or a gradient is not finite: which, how many, and when they are too many.

The rows of ``metrics.jsonl`` have "skipped/PLAYER" in their health where that player's update was left out, and "rollback"
where training has gone back to the step before (`pushforward.training.recovering`). A resumed run, whose log is read again, so
stands where the uninterrupted one stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from pushforward.numbers import count
from pushforward.training.alarm import Alarm, Health, Rule

__all__ = ["DIVERGED", "IN_A_ROW", "MARK", "MOST", "WINDOW", "SkippedStep", "Skips", "in_words", "players_in"]

IN_A_ROW = 3
"""Steps in a row after which a training goes back, or has diverged."""
WINDOW, MOST = 1000, 10
"""More than so many skipped steps among the last ones are too many."""
LASTING = 100
"""Steps without a skipped one after which the alarm is over."""
MARK = "skipped/"
"""The prefix of the measure that marks a skipped update of a player."""
DIVERGED = "diverged"
"""The cause of a rollback after which the learning rate is halved."""


def players_in(health: Health | None) -> list[str]:
    """The players whose update was skipped in a step with this health."""
    return [name.removeprefix(MARK) for name in health or {} if name.startswith(MARK)]


class Skips:
    """The skipped steps of a training, and whether they are too many.

    Attributes:
        count: How many.
        last: The newest of them.
    """

    def __init__(self) -> None:
        self.count, self.last, self._read = 0, 0, 0
        self._steps: deque[int] = deque()

    def read(self, row: Mapping[str, Any]) -> str | None:
        """Read a row of the log, in order; why training has diverged, None where it goes on. After a rollback it counts anew."""
        if any(rollback["cause"] == DIVERGED for rollback in row.get("rollback", ())):
            self._steps.clear()
        players, step = players_in(row.get("health")), row["step"]
        self._read += 1
        if not players:
            return None
        self.count, self.last = self.count + 1, step
        self._steps.append(step)
        while self._steps[0] <= step - WINDOW:
            self._steps.popleft()
        what = f"the loss or gradient of the {players[0]} was not finite"
        if len(self._steps) >= IN_A_ROW and self._steps[-IN_A_ROW] == step - IN_A_ROW + 1:
            return f"In {IN_A_ROW} steps in a row, up to step {step:,}, {what}"
        if len(self._steps) > MOST:
            return f"In {len(self._steps)} of the last {WINDOW:,} steps, up to step {step:,}, {what}"
        return None

    @property
    def all(self) -> bool:
        """Whether every step was skipped."""
        return 0 < self._read == self.count


class SkippedStep(Rule):
    """A step whose loss or gradient is not finite; it is over when 100 steps have not been skipped."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._count = 0

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows of computed steps decide once there are enough of them."""
        players = players_in(health)
        if players:
            self._last, self._count = step, self._count + 1
            what = f"the loss or gradient of {' and '.join(players)} is not finite, and the step is skipped"
            return Alarm("skipped", step, None, 0.0, what, "where this comes again, lower the lr, or train in float32")
        if self._last is None or step < self._last + LASTING:
            return None
        return Alarm("skipped", step, float(self._count), 0.0, f"{_steps(self._count)} skipped so far", over=True)


def in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many steps of a log were skipped, the first of them, and how training went back; empty where nothing of it was."""
    rows = list(rows)
    steps = [row["step"] for row in rows if players_in(row.get("health"))]
    went_back = [_went_back(rollback) for row in rows for rollback in row.get("rollback", ())]
    if not steps:
        return "; ".join(went_back)
    which = f"at step {count(steps[0])}" if len(steps) == 1 else f"the first at step {count(steps[0])}"
    return "; ".join((*went_back, f"{_steps(len(steps))} skipped, {which}: a loss or a gradient was not finite"))


def _went_back(rollback: Mapping[str, Any]) -> str:
    """A rollback in words."""
    settings = "half the learning rate"
    if rollback["cause"] != DIVERGED:
        settings = f"the same batches in {rollback['accumulate']} parts"
    at, step = count(rollback["at"]), count(rollback["step"])
    return f"at step {at} training went back to step {step}, and goes on from there with {settings} ({rollback['why']})"


def _steps(number: int) -> str:
    return "1 step was" if number == 1 else f"{count(number)} steps were"
