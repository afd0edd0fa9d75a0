"""What the measured times of sampling support, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pushforward.report.numbers import count, duration, finite, plain
from pushforward.report.readings import THRESHOLDS, Sentence, entrants_of, name_of, named

__all__ = ["Speed", "sampling_sentence", "speeds", "times_as_long"]


@dataclass(frozen=True)
class Speed:
    """The time of one sample.

    Args:
        name: The entrant's.
        seconds: The lower quartile over the turns in which it was timed.
        low: The fastest turn; None where only one number is known.
        high: The median turn; None where only one number is known.
        calls: Network calls for one sample; None where unknown.
    """

    name: str
    seconds: float
    low: float | None = None
    high: float | None = None
    calls: float | None = None

    @property
    def text(self) -> str:
        """Such as ``210 µs (1 network call)``."""
        calls = "" if self.calls is None else f" ({count(self.calls)} network call{'' if self.calls == 1 else 's'})"
        return f"{duration(self.seconds)}{calls}"


def speeds(content: Mapping[str, Any]) -> list[Speed]:
    """All entrants that were timed, the fastest first."""
    found = []
    for entrant in entrants_of(content):
        sampling = entrant.get("sampling") or {}
        timing = sampling.get("timing") or {}
        seconds, low, high = finite(sampling.get("seconds_per_sample")), finite(timing.get("low")), finite(timing.get("high"))
        if seconds is not None and seconds > 0:
            known = low is not None and high is not None and low > 0
            ends = (low, high) if known else (None, None)
            found.append(Speed(name_of(entrant), seconds, *ends, finite(sampling.get("calls"))))
    return sorted(found, key=lambda one: one.seconds)


def times_as_long(fast: Speed, slow: Speed) -> str | None:
    """How many times as long the slower takes, in the digits that both spreads support; None where they support no difference.

    The least ratio is that of the slower model's fastest turn to the faster model's median, the greatest the other way round.
    """
    if fast.low is None or fast.high is None or slow.low is None or slow.high is None:
        return None
    least, most = slow.low / fast.high, slow.high / fast.low
    if least < THRESHOLDS["faster"]:
        return None
    if _rounded(least) == _rounded(most):
        return f"{_rounded(least)} times as long"
    short = _rounded(least, math.floor)
    return f"{short} to {_rounded(most, math.ceil)} times as long" if most <= 2 * least else f"at least {short} times as long"


def _rounded(ratio: float, how: Callable[[float], float] = round) -> str:
    """Two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(ratio)) - 1)
    return plain(how(ratio / unit) * unit, 2)


def sampling_sentence(content: Mapping[str, Any]) -> Sentence | None:
    """Which models sample fastest, and how many times as long the slowest takes; nothing that the spreads do not support."""
    found = speeds(content)
    if not found:
        return None
    first = found[0]
    if len(found) == 1:
        return Sentence("speed", f"{named([first.name])} takes {duration(first.seconds)} for a sample{_calls(first)}.", "cost")
    if any(one.low is None for one in found):
        ends = f"from {first.text} ({named([first.name])}) to {found[-1].text} ({named([found[-1].name])})"
        return Sentence("speed", f"A sample takes {ends}; the spread of these times is not known.", "cost")
    slower = [one for one in found if times_as_long(first, one) is not None]
    if not slower:
        return Sentence("speed", f"No measurable difference in sampling time: {_range(found)} each.", "cost")
    near = [one for one in found if one not in slower]
    last = slower[-1]
    calls = _calls(first) if len({_calls(one) for one in near}) == 1 else ""
    names, times = named([one.name for one in near]), _range(near)
    within = times if times.startswith("from") else f"in {times}"
    lead = f"{names} {'samples' if len(near) == 1 else 'sample'} fastest, {within} each{calls}"
    return Sentence("speed", f"{lead}; {named([last.name])} takes {times_as_long(first, last)}{_calls(last)}.", "cost")


def _calls(one: Speed) -> str:
    return one.text.removeprefix(duration(one.seconds))


def _range(ordered: Sequence[Speed]) -> str:
    ends = duration(ordered[0].seconds), duration(ordered[-1].seconds)
    return ends[0] if ends[0] == ends[1] else f"from {ends[0]} to {ends[1]}"
