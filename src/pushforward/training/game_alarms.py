"""Alarms of adversarial games: modes that are lost or never reached, a critic that wins, scores that run away."""

from __future__ import annotations

import math
import statistics
from collections import deque

from pushforward.training.alarm import SLACK, Alarm, Health, Rule

__all__ = ["Collapse", "CriticWins", "Divergence", "Missing"]

HELD = 0.75
"""The share of the modes that a model must have held before, and the share of those below which it has collapsed."""
COVERED = 0.4
"""The coverage that a model of data with unknown modes must have reached before."""
LASTING = 200
"""Steps for which modes must be held before they can be lost, and that a collapse must last."""
STUCK = 2000
"""Steps without a new mode after which those that are missing are reported; sound games took at most 1,350."""
CHANCE = 0.55
"""Accuracy up to which a critic has learned nothing."""
RIGHT, WRONG_AGAIN = 0.99, 0.98
"""Mean accuracy from which the critic wins, and below which it does so no more."""
WINNING = 500
"""Steps over which the accuracy is a mean and in which the generator does not improve."""
WIDE = 20.0
"""Mean logit gap that is large even where it does not rise; the gradient that a generator gets through it is below e^-20."""
IMPROVED = 0.95
"""A Fréchet distance below this share of the best one before counts as better, and coverage above the best one over this."""
LOOKS = 50
"""Steps between two looks at who wins."""
GAP, GAP_LASTING = 1e4, 50
"""Logit gap above which a training diverges, and for how many steps."""


class Collapse(Rule):
    """Modes that were held are lost, and stay lost.

    It begins once at least three quarters of the modes were held, for 200 steps, and under three quarters of those have been
    held for 200 steps. (A game at its start sweeps over modes in turn: what it passes it does not hold.) Where the modes are not
    known, coverage takes their place: of its best value, which must have stayed above 0.4, under three quarters are left.
    """

    def __init__(self) -> None:
        self._best, self._held_since, self._held, self._low_since = 0.0, -1, False, -1
        self._good: tuple[int, float | None] = 0, None

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without samples decide nothing, nor those of a plain autoencoder (beta 0), which learns no codes to sample."""
        modes, coverage = health.get("modes"), health.get("coverage")
        reached = coverage if modes is None else health.get("modes_held")
        if reached is None or health.get("beta") == 0:
            return None
        self._best = max(self._best, reached)
        threshold = HELD * self._best
        self._arm(step, reached >= (COVERED if modes is None else HELD * modes) - SLACK)
        if not self._held or reached >= threshold - SLACK:
            self._low_since, self._good = -1, (step, coverage)
            return Alarm("collapse", step, reached, threshold, f"collapse is over: {_reaches(reached, modes)}", over=True)
        self._low_since = step if self._low_since < 0 else self._low_since
        if step - self._low_since < LASTING:
            return None
        said = ("" if modes is None else f"{_reaches(reached, modes)}; ") + self._fall(step, coverage)
        return Alarm("collapse", step, reached, threshold, said.removesuffix("; "), _against_collapse(health))

    def _arm(self, step: int, holds: bool) -> None:
        self._held_since = (step if self._held_since < 0 else self._held_since) if holds else -1
        self._held = self._held or (holds and step - self._held_since >= LASTING)

    def _fall(self, step: int, coverage: float | None) -> str:
        before, was = self._good
        if was is None or coverage is None:
            return ""
        way = "fell" if coverage < was else "went"
        return f"coverage {way} from {was:.2f} to {coverage:.2f} in {step - before:,} steps"


def _reaches(reached: float, modes: int | None) -> str:
    if modes is None:
        return f"the generator covers {reached:.2f} of the data"
    return f"the generator reaches {reached:.0f} of {modes} modes"


def _against_collapse(health: Health) -> str:
    """A higher gamma would not help a critic that is too constrained to separate real from generated."""
    if "logit_gap" not in health and "critic_accuracy" not in health:
        return "lower lr"
    accuracy = health.get("critic_accuracy")
    if accuracy is not None and accuracy <= CHANCE:
        return f"the critic is at chance ({accuracy:.0%} right): lower gamma"
    return f"{'set penalty to r1+r2' if health.get('penalty') == 0 else 'raise gamma'}, or set pack to 2"


class Missing(Rule):
    """Modes that were never found: under three quarters of them were ever held, and no further one for 2,000 steps.

    It is over when a further one is held. Only where the modes are known.
    """

    def __init__(self) -> None:
        self._best, self._since = 0, 0

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without samples decide nothing."""
        modes, held = health.get("modes"), health.get("modes_held")
        if modes is None or held is None:
            return None
        if held > self._best:
            self._best, self._since = held, step
        threshold, said = HELD * modes, f"the generator has held {self._best} of {modes} modes"
        if self._best >= threshold - SLACK or step - self._since < STUCK:
            return Alarm("missing", step, self._best, threshold, said, over=True)
        said += f" at best, and no further one for {step - self._since:,} steps"
        advice = _against_collapse(health) if "logit_gap" in health else "train longer, or take a larger size"
        return Alarm("missing", step, self._best, threshold, said, advice)


class CriticWins(Rule):
    """The critic separates real from generated nearly always, with a growing gap, and the generator learns nothing from it.

    It begins when, over 500 steps, the critic ranked at least 99 % of the examples right, the logit gap rose from the first half
    to the second (or was 20 and more), and the fixed-noise samples reached neither a Fréchet distance 5 % below the best one
    before nor a coverage 5 % above. A critic is right nearly always early in a sound training too; there the samples improve. It
    is over when the accuracy falls below 98 % or the samples improve.
    """

    def __init__(self) -> None:
        self._rows: deque[tuple[int, float, float]] = deque()
        self._samples: deque[tuple[int, float, float]] = deque()
        self._first, self._before = math.inf, (math.inf, 0.0)
        self._measures = self._stands = False

    def read(self, step: int, health: Health) -> Alarm | None:
        """Looks once in 50 steps."""
        self._remember(step, health)
        if step % LOOKS or not self._rows or step - self._first + 1 < WINNING:
            return None
        accuracy = statistics.fmean(right for _, right, _ in self._rows)
        if not self._improved() and accuracy >= (WRONG_AGAIN if self._stands else RIGHT) - SLACK:
            gaps = [gap for _, _, gap in self._rows]
            half = len(gaps) // 2
            first, second = statistics.fmean(gaps[:half] or gaps), statistics.fmean(gaps[half:])
            self._stands = self._stands or second > first or second >= WIDE
            said = (
                f"the critic wins: it ranked {accuracy:.1%} of the examples of {WINNING} steps right, the logit gap went from "
                f"{first:.3g} to {second:.3g}, and the samples did not improve"
            )
            advice = "raise gamma, lower the critic's learning rate, or augment"
            return Alarm("critic", step, accuracy, RIGHT, said, advice) if self._stands else None
        self._stands = False
        said = f"the critic wins no more: it ranked {accuracy:.1%} of the examples of {WINNING} steps right"
        return Alarm("critic", step, accuracy, WRONG_AGAIN, said, over=True)

    def _remember(self, step: int, health: Health) -> None:
        right, gap, distance, coverage = (health.get(name) for name in ("critic_accuracy", "logit_gap", "frechet", "coverage"))
        if right is not None and gap is not None:
            self._rows.append((step, right, gap))
            self._first = min(self._first, step)
        if distance is not None:
            self._samples.append((step, distance, coverage or 0.0))
            self._measures = True
        while self._rows and self._rows[0][0] <= step - WINNING:
            self._rows.popleft()
        while self._samples and self._samples[0][0] <= step - WINNING:
            _, distance, coverage = self._samples.popleft()
            self._before = min(self._before[0], distance), max(self._before[1], coverage)

    def _improved(self) -> bool:
        """Whether samples became better within the window; so long as there is nothing to compare with, they may have."""
        if not self._measures or math.isinf(self._before[0]):
            return self._measures
        distance = min((value for _, value, _ in self._samples), default=math.inf)
        coverage = max((value for _, _, value in self._samples), default=0.0)
        return distance < IMPROVED * self._before[0] or IMPROVED * coverage > self._before[1]


class Divergence(Rule):
    """The logit gap is above 10,000, either way, for 50 steps: the critic's scores run away."""

    def __init__(self) -> None:
        self._since = -1

    @property
    def suspect(self) -> bool:
        """Whether the last row was above."""
        return self._since >= 0

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without a gap decide nothing; a gap that is not finite is above."""
        if "logit_gap" not in health:
            return None
        gap = health["logit_gap"]
        if gap is not None and abs(gap) <= GAP:
            self._since = -1
            return Alarm("divergence", step, gap, GAP, f"the logit gap is {gap:.3g} again", over=True)
        self._since = step if self._since < 0 else self._since
        if step - self._since + 1 < GAP_LASTING:
            return None
        now = "no finite number" if gap is None else f"{gap:.3g}"
        said = f"the logit gap has been above {GAP:,.0f} for {step - self._since + 1} steps and is {now}"
        return Alarm("divergence", step, gap, GAP, said, "raise gamma, or lower lr")
