"""Alarms: rules over the health of a training, each of which reports a problem, its size, and advice, in words.

A rule reads the rows of ``metrics.jsonl`` in their order and remembers what it needs, so that a resumed run, whose log is read
again, stands where the uninterrupted one stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pushforward.training.alarm import Alarm, Rule
from pushforward.training.game_alarms import Collapse, CriticWins, Divergence, Missing
from pushforward.training.latent_alarms import BookUnused, PosteriorCollapse
from pushforward.training.map_alarms import Disagreement, OffDiagonal, Targets
from pushforward.training.skipping import SkippedStep
from pushforward.training.variety_alarm import VarietyLost, weights_of

__all__ = ["Watch", "alarms"]


class Watch:
    """All rules at once: reports when an alarm begins and when it is over.

    Args:
        ending: A sentence about the weights with which a training ends that loses variety, given the last step that passed.
    """

    def __init__(self, ending: Callable[[int], str] = weights_of) -> None:
        self._divergence, self._variety = Divergence(), VarietyLost(ending)
        coded = PosteriorCollapse(), PosteriorCollapse("regularised"), BookUnused()
        mapped = Disagreement(), OffDiagonal(), Targets()
        games = Collapse(), Missing(), CriticWins()
        rules = (*games, *coded, *mapped, SkippedStep(), self._variety, self._divergence)
        self._rules: tuple[Rule, ...] = rules
        self._standing: set[str] = set()

    @property
    def suspect(self) -> bool:
        """Whether a divergence may have begun, so that the present weights should not take the place of earlier ones."""
        return self._divergence.suspect

    @property
    def passed(self) -> int:
        """The last step at which samples had the variety of the start; 0 before the first check."""
        return self._variety.passed

    @property
    def ended(self) -> str | None:
        """Why training ends, where samples have lost variety."""
        return self._variety.ended

    def read(self, row: Mapping[str, Any]) -> list[Alarm]:
        """The alarms that begin or end with a row of the log; rows without health are passed over."""
        health = row.get("health")
        raised = [alarm for rule in self._rules if (alarm := rule.read(row["step"], health)) is not None] if health else []
        news = [alarm for alarm in raised if alarm.over == (alarm.kind in self._standing)]
        self._standing ^= {alarm.kind for alarm in news}
        return news


def alarms(history: Iterable[Mapping[str, Any]]) -> list[Alarm]:
    """All alarms that begin or end in a history: rows in order, each with "step" and, where something was measured, "health"."""
    watch = Watch()
    return [alarm for row in history for alarm in watch.read(row)]
