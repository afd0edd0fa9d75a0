"""One score of a map between two times in one number of calls, and how it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import stdev

from pushforward.evaluation.intervals import NORMAL, half_width
from pushforward.evaluation.measurements import CurvePoint, Ladder
from pushforward.evaluation.results import Settings
from pushforward.metrics import Score
from pushforward.numbers import count, counted, listing
from pushforward.report.statistics import with_spread

__all__ = ["Rung", "how", "in_words", "rung_of", "rungs_of", "stretches"]

_UNKNOWN = "The teacher of the map's training is shown{}; what the map learned of it is not recorded."
_NO_SAMPLES = "The map was trained on its teacher's {}, and on no samples of it. The teacher is shown{{}}."
_LEARNED = {
    "samples": "The map was trained on samples that its teacher draws{}.",
    "samples and velocity": "The map was trained on samples that its teacher draws{}, and on the teacher's velocity.",
    "velocity": _NO_SAMPLES.format("velocity"),
    "score": _NO_SAMPLES.format("score"),
}
"""What a map's training learned of its teacher; solver and calls are filled in."""


@dataclass(frozen=True)
class Rung:
    """One score of a point of a ladder.

    Args:
        calls: Network calls for one sample.
        value: The mean over samplings.
        values: One for each sampling.
        interval: The ends of the 95 % interval; None where there is none.
    """

    calls: float
    value: float
    values: tuple[float | None, ...]
    interval: tuple[float, ...] | None = None

    @property
    def spread(self) -> float | None:
        """Over samplings; None for a single one."""
        values = [value for value in self.values if value is not None]
        return stdev(values) if len(values) > 1 else None

    def differs(self, other: Rung, least: float, comparisons: int = 1) -> bool:
        """Whether two points differ measurably, whose samplings have the same noise; ``least`` is real data's spread."""
        first, second = (Score(each.value, each.spread, each.error, each.values, reference_error=0.0) for each in (self, other))
        return abs(self.value - other.value) > half_width(first, second, (least, least), True, comparisons)

    @property
    def error(self) -> float | None:
        """The standard error of its interval, which holds that of held-out examples; None where there is none."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2 / NORMAL

    @property
    def text(self) -> str:
        """The value with its interval, else with its spread over samplings."""
        return with_spread(self.value, self.spread, self.interval)


def rung_of(point: CurvePoint | None, metric: str) -> Rung | None:
    """One score of a point; None where it has none."""
    value = None if point is None else point.scores.get(metric)
    if point is None or point.calls is None or value is None:
        return None
    return Rung(point.calls, value, tuple(point.values.get(metric, ())), point.intervals.get(metric))


def rungs_of(points: Sequence[CurvePoint], metric: str) -> list[Rung]:
    """One score of all points that have it, by calls."""
    rungs = [rung for point in points if (rung := rung_of(point, metric)) is not None]
    return sorted(rungs, key=lambda rung: rung.calls)


def how(ladder: Ladder, settings: Settings | None = None) -> str:
    """How the points of a ladder were measured, and what its training learned of its teacher.

    Args:
        ladder: What is shown.
        settings: Of scores beside it, whose n, samplings and intervals are explained there; None where there are none.
    """
    sentences = [f"n = {count(ladder.n)}, {counted(ladder.repeats, 'sampling')} of each point."]
    if settings is not None and (settings.n, settings.repeats) == (ladder.n, ladder.repeats):
        sentences = ["Each row has as many samples and samplings as the scores of the whole model."]
    if settings is None and any(point.intervals for point in ladder.points):
        sentences.append("[low, high] is the 95 % interval of a score.")
    return " ".join([*sentences, *_teacher(ladder)])


def _teacher(ladder: Ladder) -> list[str]:
    """What the map learned of its teacher, how its training sampled it, and how the teacher's own run samples."""
    if ladder.own is None:
        return []
    default = "" if ladder.default is None else f"{ladder.default_solver} in {counted(ladder.default.calls, 'call')}"
    if ladder.finished:
        return [f"The default of the teacher's own run is {default}."] if default and ladder.default != ladder.own else []
    by = f" by {ladder.solver}" if ladder.solver else ""
    learned = _LEARNED.get(ladder.learned or "", _UNKNOWN).format(f"{by} in {counted(ladder.own.calls, 'call')}")
    if ladder.default is None:
        return [f"{learned} By default the teacher's own run may sample by another solver, and in more calls."]
    if ladder.default == ladder.own:
        return [f"{learned} This is how the teacher's own run samples by default."]
    return [f"{learned} The default of the teacher's own run is {default}."]


def in_words(calls: float) -> str:
    """A number of calls in words, a single one too."""
    return "one call" if calls == 1 else counted(calls, "call")


def stretches(rungs: Sequence[Rung], better: Sequence[bool], worse: Sequence[bool]) -> str:
    """Such as ``In one call it is measurably better and in 4 to 16 calls measurably worse``.

    Args:
        rungs: By calls.
        better: Which of them are measurably better.
        worse: Which of them are measurably worse.
    """
    worst = ["measurably worse" if down else "not measurably worse" for down in worse]
    states = ["measurably better" if up else state for up, state in zip(better, worst, strict=True)]
    parts: list[str] = []
    for state, group in groupby(zip(states, rungs, strict=True), key=lambda pair: pair[0]):
        calls = [rung.calls for _, rung in group]
        span = in_words(calls[-1]) if len(calls) == 1 else f"{count(calls[0])} to {in_words(calls[-1])}"
        parts.append(f"in {span} {'' if parts else 'it is '}{state}")
    text = listing(parts)
    return text[:1].upper() + text[1:]
