"""Alarms of training from their begin to their end."""

from __future__ import annotations

from collections.abc import Iterable

from pushforward.evaluation.measurements import Alarm
from pushforward.evaluation.results import ModelResult
from pushforward.numbers import count

__all__ = ["alarm_periods", "alike_samples", "unused_code"]

EARLY = 500
"""Steps for which the alarm of an unused code waits."""


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


def unused_code(model: ModelResult, vectors: bool) -> str:
    """What to say of a model, of vectors or not, whose code has no active unit at the end of training; empty for any other."""
    code = None if model.latent is None else model.latent.code
    if code is None or code.active is None or not code.units or code.active > 0:
        return ""
    steps = model.training.steps
    early = "" if steps is None or steps >= EARLY else f"; after {count(steps)} steps this may be too early to call collapse"
    alike = alike_samples(model.conditioned or (), vectors)
    return (
        f"at the end no unit of the code is active (0 of {count(code.units)}): {alike}{early}. Train longer, or "
        "set warmup to 0.3."
    )


def alike_samples(conditions: Iterable[str], vectors: bool) -> str:
    """How samples differ where no unit of the code is active.

    Args:
        conditions: Names of what the model is given, "label" among them where that is a class.
        vectors: Whether samples are vectors, which are drawn with the decoder's noise; those of images are means.
    """
    names = set(conditions)
    of = " of a class" if "label" in names else ""
    given = " for given attributes" if names - {"label"} else ""
    return f"samples{of}{given} " + ("differ by the decoder's noise alone" if vectors else "are nearly the same")
