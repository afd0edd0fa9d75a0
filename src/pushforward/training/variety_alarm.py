"""The alarm of samples that lose variety, which ends a training."""

from __future__ import annotations

from pushforward.training.alarm import SLACK, Alarm, Health, Rule

__all__ = ["VarietyLost"]

ADVICE = "to go further, start again with a larger anchor, or a lower lr"


class VarietyLost(Rule):
    """Coverage or recall has fallen below its limit beside the start's (`pushforward.training.variety`).

    Attributes:
        passed: The last step whose check was passed, 0 at first.
        ended: The sentence of the alarm once it has been raised.
    """

    def __init__(self) -> None:
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
            f"{name} has fallen to {ratio:.3f} of the start's, below {limit:.3f}: training ends with the weights of step "
            f"{self.passed:,}"
        )
        return Alarm("variety", step, ratio, limit, self.ended, ADVICE)
