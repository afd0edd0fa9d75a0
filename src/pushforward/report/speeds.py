"""What the measured times of sampling support, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, counted, duration, listing, plain
from pushforward.report.sentences import Sentence, named
from pushforward.report.statistics import THRESHOLDS

__all__ = ["Speed", "at_once", "each", "sampling_sentence", "sessions", "spanned", "speeds", "times_as_long"]

MANY = 3
"""Slower models whose times a sentence lists one by one."""
UNRECORDED = "samples at once not recorded"


@dataclass(frozen=True)
class Speed:
    """The time of one sample.

    Args:
        name: The model's.
        seconds: The lower quartile over the turns in which it was timed.
        low: The fastest turn; None where only one number is known.
        high: The median turn; None where only one number is known.
        calls: Network calls for one sample; None where unknown.
        batch: Samples that were drawn at once, over which the seconds are a mean; None where unknown.
    """

    name: str
    seconds: float
    low: float | None = None
    high: float | None = None
    calls: float | None = None
    batch: float | None = None

    @property
    def text(self) -> str:
        """Such as ``210 µs (1 network call, 64 at once)``."""
        return spanned([self])


def sessions(comparison: Comparison) -> list[list[str]]:
    """The models that were timed in turns with each other; more than one group where reports were joined."""
    timed = [model.name for model in comparison.models if model.sampling.seconds_per_sample]
    groups = comparison.settings.timed or [timed]
    return [known for group in groups if (known := [name for name in group if name in timed])]


def speeds(comparison: Comparison) -> list[Speed]:
    """All models that were timed, the fastest first; of several sessions without spreads, as their times do not compare."""
    timed, apart = [], len(sessions(comparison)) > 1
    for model in comparison.models:
        seconds, low, high = model.sampling.seconds_per_sample, model.sampling.timing.low, model.sampling.timing.high
        if seconds is not None and seconds > 0:
            known = low is not None and high is not None and low > 0 and not apart
            ends = (low, high) if known else (None, None)
            timed.append(Speed(model.name, seconds, *ends, model.sampling.calls, model.sampling.timing.batch))
    return sorted(timed, key=lambda speed: speed.seconds)


def at_once(*batches: float | None) -> str:
    """How many samples were drawn at once where a cost was measured, such as ``16 to 64 at once``; empty where unknown.

    Where only some are known, these are marked so: ``64 at once where recorded``.
    """
    known = sorted(batch for batch in batches if batch is not None)
    if not known:
        return ""
    text = f"{' to '.join(dict.fromkeys(map(count, known[:1] + known[-1:])))} at once"
    return f"{'one at a time' if known[-1] == 1 else text}{' where recorded' * (len(known) < len(batches))}"


def each(ordered: Sequence[Speed]) -> str:
    """The least and the greatest time of a sample, such as ``1 ms to 2 ms each, 64 at once``."""
    return ", ".join(filter(None, [f"{_span(ordered)} each", at_once(*(speed.batch for speed in ordered))]))


def spanned(ordered: Sequence[Speed]) -> str:
    """The same with network calls where they are one number, such as ``1 ms to 2 ms (1 network call, 64 at once)``."""
    return _span(ordered) + _aside(ordered)


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


def sampling_sentence(comparison: Comparison) -> Sentence | None:
    """Which models sample fastest, and how many times as long each other takes; nothing that the spreads do not support."""
    timed = speeds(comparison)
    if not timed:
        return None
    first = timed[0]
    if len(timed) == 1:
        spread = "" if first.low is None or first.high is None else f", {duration(first.low)} to {duration(first.high)} in turns"
        text = f"{named([first.name])} takes {duration(first.seconds)} for a sample{_aside(timed)}{spread}."
        return Sentence("speed", text, "cost")
    if any(speed.low is None for speed in timed):
        ends = [f"{_span([end])}{_aside([end], _at_once([end], timed))} ({named([end.name])})" for end in (first, timed[-1])]
        why = "these times were measured in different sessions, so they rank no model"
        rest = why if len(sessions(comparison)) > 1 else "the spread of these times is not known"
        return Sentence("speed", f"A sample takes from {ends[0]} to {ends[1]}; {rest}.", "cost")
    slower = [speed for speed in timed if times_as_long(first, speed) is not None]
    if not slower:
        return Sentence("speed", f"No measurable difference in sampling time: {_from(timed)}{each(timed)}.", "cost")
    near = [speed for speed in timed if speed not in slower]
    names, times = named([speed.name for speed in near]), f"{_from(near) or 'in '}{_span(near)} each"
    lead = f"{names} {'samples' if len(near) == 1 else 'sample'} fastest, {times}{_aside(near, _at_once(near, timed))}"
    return Sentence("speed", f"{lead}; {_slower(timed, slower)}.", "cost")


def _slower(timed: Sequence[Speed], slower: Sequence[Speed]) -> str:
    """How many times as long as the fastest each slower model takes; of many their names, and that of the first and the last.

    Samples at once are named where they are not the same for all models, the fastest included.
    """
    first, same = timed[0], len({speed.batch for speed in timed}) == 1
    batches = {speed.name: "" if same else _at_once([speed], timed) for speed in slower}
    if len(slower) <= MANY:
        parts = [f"{times_as_long(first, speed)}{_aside([speed], batches[speed.name])}" for speed in slower]
        parts = [
            f"{named([speed.name])} {'takes ' * (speed is slower[0])}{part}" for speed, part in zip(slower, parts, strict=True)
        ]
        return listing(parts)
    ends = [
        f"{times_as_long(first, speed)} ({', '.join(filter(None, [named([speed.name]), batches[speed.name]]))})"
        for speed in (slower[0], slower[-1])
    ]
    return f"{named([speed.name for speed in slower])} take from {ends[0]} to {ends[1]}"


def _at_once(some: Sequence[Speed], timed: Sequence[Speed]) -> str:
    """Samples at once of some models; where they are known of others alone, that they were not recorded."""
    return at_once(*(speed.batch for speed in some)) or UNRECORDED * any(other.batch is not None for other in timed)


def _aside(timed: Sequence[Speed], batch: str | None = None) -> str:
    """Network calls, where they are the same for all, and samples at once (``batch`` in words, where given), in brackets."""
    calls = {speed.calls for speed in timed}
    (same,) = calls if len(calls) == 1 else (None,)
    batch = at_once(*(speed.batch for speed in timed)) if batch is None else batch
    parts = ["" if same is None else counted(same, "network call"), batch]
    return f" ({', '.join(filter(None, parts))})" if any(parts) else ""


def _from(ordered: Sequence[Speed]) -> str:
    return "from " if " to " in _span(ordered) else ""


def _span(ordered: Sequence[Speed]) -> str:
    """The least and the greatest time."""
    return " to ".join(dict.fromkeys(duration(speed.seconds) for speed in (ordered[0], ordered[-1])))
