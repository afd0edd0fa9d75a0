"""Alarms of training from their begin to their end."""

from __future__ import annotations

from pushforward.evaluation.measurements import Alarm
from pushforward.evaluation.results import ModelResult

__all__ = ["alarm_periods"]


def alarm_periods(model: ModelResult) -> list[tuple[Alarm, Alarm | None]]:
    """Each alarm at its begin with its end, None where it lasted to the end; by the step of the begin."""
    begun: dict[tuple[str | None, str], int] = {}
    periods: list[tuple[Alarm, Alarm | None]] = []
    for alarm in model.alarms:
        if alarm.step is None:
            continue
        key = alarm.training, alarm.kind
        if not alarm.over:
            begun[key] = len(periods)
            periods.append((alarm, None))
        elif key in begun:
            at = begun.pop(key)
            periods[at] = periods[at][0], alarm
    return periods
