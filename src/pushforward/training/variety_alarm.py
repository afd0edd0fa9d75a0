"""The alarm of samples that lose variety, which ends a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pushforward.training.alarm import SLACK, Alarm, Health, Rule

__all__ = ["VarietyLost", "lost", "weights_of"]

ADVICE = "to go further, finish the same map again with a larger anchor or a lower learning rate"


def weights_of(step: int) -> str:
    """How a training ends with the weights of a step, in words."""
    if step:
        return f"training ends with the weights of step {step:,}"
    return "training ends with the weights that it began with, so nothing was gained"


def lost(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence of the alarm that has ended a training, by the rows of its log; empty where none has."""
    alarms = rows[-1].get("alarm", ()) if rows else ()
    return next((alarm["sentence"] for alarm in alarms if alarm["kind"] == "variety" and not alarm["over"]), "")


class VarietyLost(Rule):
    """Coverage or recall has fallen below its limit beside the start's (`pushforward.training.variety`).

    Args:
        ending: A sentence about the weights with which training ends, given the last step whose check was passed.

    Attributes:
        passed: The last step whose check was passed, 0 at first.
        ended: The sentence of the alarm once it has been raised.
    """

    def __init__(self, ending: Callable[[int], str] = weights_of) -> None:
        self._ending = ending
        self.passed, self.ended = 0, None  # type: int, str | None

    def read(self, step: int, health: Health) -> Alarm | None:
        """Rows without a check decide nothing."""
        ratios = {name: health.get(f"{name}_ratio") for name in ("coverage", "recall")}
        known = {name: (ratio, health[f"{name}_limit"]) for name, ratio in ratios.items() if ratio is not None}
        if not known:
            return None
        name, (ratio, limit) = min(known.items(), key=lambda item: item[1][0] - item[1][1])
        if ratio >= limit - SLACK:
            self.passed = step
            return Alarm("variety", step, ratio, limit, f"{name} is {ratio:.3f} of the start's", over=True)
        self.ended = (
            f"{name} has fallen to {ratio:.3f} of the start's, below the limit of {limit:.3f} of the start's, which allows for "
            f"noise; {self._ending(self.passed)}"
        )
        return Alarm("variety", step, ratio, limit, self.ended, ADVICE)
