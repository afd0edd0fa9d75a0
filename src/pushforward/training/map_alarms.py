"""Alarms of maps between two times: jumps that disagree, an off-diagonal loss that outgrows the diagonal, targets that run away.

Thresholds are compared with sound and broken trainings in docs/decisions/alarms-of-maps.md.
"""

from __future__ import annotations

import statistics
from collections import deque

from pushforward.training.alarm import Alarm, Health, Rule

__all__ = ["Disagreement", "OffDiagonal", "Targets"]

APART = 0.3
"""Disagreement from which a map does not agree with itself: sound ones have .08 to .21, a velocity taken for a map .42."""
STUCK = 1000
"""Steps for which jumps must disagree: a map that starts from nothing is a flow first."""
TIMES_DIAGONAL = 3.0
"""Off-diagonal loss over that at equal times from which it has outgrown it; sound trainings reach 1.6, with exact derivatives."""
WINDOW = 500
"""Steps over which the medians of the two losses are compared."""
LOOKS = 50
"""Steps between two looks at them."""
LARGE, SMALL = 3.0, 0.1
"""Sizes of targets over that of velocities beyond which they run away, or have vanished; sound trainings have .1 to 1.4."""
LASTING = 500
"""Steps for which targets must be so: those of a network that starts at zero are small for the first ones."""


class Disagreement(Rule):
    """One jump and two jumps from the same noise lead to different samples, for 1,000 steps."""

    def __init__(self) -> None:
        self._since = -1

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without samples decide nothing."""
        apart = health.get("disagreement")
        if apart is None:
            return None
        said = f"one jump and two from the same noise differ by {apart:.2f} of the spread of samples"
        if apart < APART:
            self._since = -1
            return Alarm("disagreement", step, apart, APART, f"jumps agree again: {said}", over=True)
        self._since = step if self._since < 0 else self._since
        if step - self._since < STUCK:
            return None
        said = f"the map does not agree with itself: {said}, and have for {step - self._since:,} steps"
        return Alarm("disagreement", step, apart, APART, said, "sample it in more calls, or distil a flow in its place")


class OffDiagonal(Rule):
    """The raw loss between two times is over three times that at equal times, in medians over 500 steps.

    Targets between two times come from the map, so their error is at most about that of the velocities they start from; a map
    that chases itself has more. It is over where the ratio is below.
    """

    def __init__(self) -> None:
        self._rows: deque[tuple[int, float, float]] = deque()
        self._first = -1

    def read(self, step: int, health: Health) -> Alarm | None:
        """Looks once in 50 steps."""
        equal, apart = health.get("diagonal_loss"), health.get("off_diagonal_loss")
        if equal is None or apart is None:
            return None
        self._first = step if self._first < 0 else self._first
        self._rows.append((step, equal, apart))
        while self._rows[0][0] <= step - WINDOW:
            self._rows.popleft()
        if step % LOOKS or step - self._first + 1 < WINDOW:
            return None
        equal, apart = (statistics.median(row[at] for row in self._rows) for at in (1, 2))
        ratio = apart / max(equal, 1e-12)
        said = f"over {WINDOW} steps the raw loss between two times is {ratio:.2g} times that at equal times"
        if ratio < TIMES_DIAGONAL:
            return Alarm("off_diagonal", step, ratio, TIMES_DIAGONAL, said, over=True)
        said = f"the map chases its own targets: {said}"
        return Alarm("off_diagonal", step, ratio, TIMES_DIAGONAL, said, "lower lr, or raise diagonal")


class Targets(Rule):
    """Targets are over three times the size of velocities somewhere, or under a tenth everywhere, for 500 steps."""

    def __init__(self) -> None:
        self._since: dict[bool, int] = {}

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without targets decide nothing."""
        sizes = {name: value for name, value in health.items() if name.startswith("target_size_") and value is not None}
        if not sizes:
            return None
        most = max(sizes, key=lambda name: sizes[name])
        large, small = sizes[most] > LARGE, sizes[most] < SMALL
        said = f"targets are {sizes[most]:.2g} times the size of velocities"
        if not (large or small):
            self._since = {}
            return Alarm("targets", step, sizes[most], LARGE, f"targets are of a sound size again: {said}", over=True)
        self._since = {large: self._since.get(large, step)}
        if step - self._since[large] < LASTING:
            return None
        if small:
            said = f"the network has died: {said} at all times"
            return Alarm("targets", step, sizes[most], SMALL, said, "start again with a lower lr")
        said = f"targets run away: {said} at {WHERE[most.removeprefix('target_size_')]} times"
        return Alarm("targets", step, sizes[most], LARGE, said, "lower lr, or leave exact derivatives out")


WHERE = {"low": "clean", "middle": "middle", "high": "noisy"}
"""The thirds of time in words."""
