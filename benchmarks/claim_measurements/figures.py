"""Figures with intervals, and what a claim is."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

Results = Mapping[str, Any]
"""What results/NAME.json holds, by name."""

HOLDS = "holds"
PART = "holds in part"
FAILS = "does not hold"
OPEN = "not decided"


@dataclass(frozen=True)
class Figure:
    """A number with its interval.

    Args:
        value: The mean over seeds, or a share.
        low: The interval's lower end.
        high: Its upper end.
        n: Seeds, or trainings that are counted.
        kind: What the interval is: "t" (95 %, Student's over seeds), "wilson" (95 %, of a share),
            "newcombe" (95 %, of a difference of shares) or "range" (all values).
    """

    value: float
    low: float
    high: float
    n: int
    kind: str = "t"

    def times(self, factor: float) -> Figure:
        """The number and its interval, so many times."""
        return replace(
            self, value=factor * self.value, low=factor * self.low, high=factor * self.high
        )

    def __format__(self, style: str) -> str:
        """The number and its interval; with the style "value" the number alone."""
        if style == "value":
            return short(self.value)
        if self.kind == "range":
            return f"{short(self.value)} ({short(self.low)} to {short(self.high)})"
        if self.n == 1:
            return f"{short(self.value)} (n = 1)"
        return f"{short(self.value)} ({short(self.low)} to {short(self.high)}, n = {self.n})"


def short(value: float) -> str:
    """Three significant digits, without an exponent where it can be read."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def over_seeds(values: Sequence[float]) -> Figure:
    """The mean and its 95 % interval by Student's t; of one value, that value."""
    mean = float(np.mean(values))
    n = len(values)
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    else:
        half = 0.0
    return Figure(mean, mean - half, mean + half, n)


def bounded(values: Sequence[float], most: float) -> Figure:
    """As `over_seeds`, of a count from 0 to ``most``: the interval ends there."""
    figure = over_seeds(values)
    return Figure(figure.value, max(0.0, figure.low), min(most, figure.high), figure.n)


def ratios(above: Sequence[float], below: Sequence[float]) -> Figure:
    """The ratio of two quantities, pair by pair: the mean and interval of its logarithm, as a
    ratio.
    """
    logs = over_seeds([math.log(a / b) for a, b in zip(above, below, strict=True)])
    return Figure(*(math.exp(x) for x in (logs.value, logs.low, logs.high)), logs.n)


def share(marks: Sequence[bool]) -> Figure:
    """The share of trainings that are marked, with Wilson's 95 % interval."""
    count = int(sum(marks))
    n = len(marks)
    interval = stats.binomtest(count, n).proportion_ci(method="wilson")
    return Figure(count / n, float(interval.low), float(interval.high), n, "wilson")


def less(few: Sequence[bool], many: Sequence[bool]) -> Figure:
    """By how much the first share of marked trainings is less than the second, with Newcombe's 95 %
    interval.

    References:
        Newcombe, Interval estimation for the difference between independent proportions, 1998,
        method 10.
    """
    a = share(many)
    b = share(few)
    low = math.hypot(a.value - a.low, b.high - b.value)
    high = math.hypot(a.high - a.value, b.value - b.low)
    gap = a.value - b.value
    return Figure(gap, gap - low, gap + high, a.n + b.n, "newcombe")


def positive(values: Sequence[float]) -> Figure:
    """The geometric mean of values above 0 and its 95 % interval, that of the logarithms."""
    return ratios(values, [1.0] * len(values))


def spanned(values: Sequence[float]) -> Figure:
    """The geometric mean of values that are no repetitions, and their range."""
    return Figure(
        math.exp(float(np.mean(np.log(values)))), min(values), max(values), len(values), "range"
    )


Met = bool | None
"""Whether a condition is met; None where intervals do not decide it."""


def below(a: Figure, b: Figure | float) -> Met:
    """Whether one is less than the other: by all of both intervals, or by nothing of them; None
    where the intervals overlap.
    """
    low, high = _ends(b)
    if a.high < low:
        return True
    if a.low >= high:
        return False
    return None


def above(a: Figure, b: Figure | float) -> Met:
    """Whether one is more than the other, as `below`."""
    low, high = _ends(b)
    if a.low > high:
        return True
    if a.high <= low:
        return False
    return None


def at_most(a: Figure, b: Figure | float) -> Met:
    """Whether one is not more than the other, as `below`."""
    more = above(a, b)
    if more is None:
        return None
    return not more


def at_least(a: Figure, b: Figure | float) -> Met:
    """Whether one is not less than the other, as `below`."""
    less_than = below(a, b)
    if less_than is None:
        return None
    return not less_than


def _ends(bar: Figure | float) -> tuple[float, float]:
    if isinstance(bar, Figure):
        return (bar.low, bar.high)
    return (bar, bar)


def met(conditions: Sequence[Met], least: int) -> Met:
    """Whether at least so many conditions are met."""
    sure = sum(each is True for each in conditions)
    possible = sum(each is not False for each in conditions)
    if sure >= least:
        return True
    if possible < least:
        return False
    return None


def verdict(conditions: Sequence[Met], part: Met = False) -> str:
    """In words: holds if all conditions are met, holds in part if ``part`` is, and is not decided
    where these are not.
    """
    whole = met(conditions, len(conditions))
    if whole:
        return HOLDS
    if whole is None or part is None:
        return OPEN
    if part:
        return PART
    return FAILS


@dataclass(frozen=True)
class Claim:
    """One claim, where its figures come from, and when it holds.

    Args:
        text: The claim.
        sources: Results that it reads, without ".json".
        read: From results to figures by name.
        rule: From figures to a verdict; its docstring says the rule.
        shown: The figures in words, a format string over their names.
        floor: What a perfect outcome, chance or real data gives, likewise.
        measured: What was measured, a format string over the figures' names.
        limits: What limits it, likewise.
    """

    text: str
    sources: tuple[str, ...]
    read: Callable[[Results], dict[str, Figure]]
    rule: Callable[[Mapping[str, Figure]], str]
    shown: str
    floor: str
    measured: str
    limits: str

    @property
    def condition(self) -> str:
        """The rule in words."""
        return " ".join((self.rule.__doc__ or "").split())


def rows_of(results: Results, name: str, **wanted: Any) -> list[dict[str, Any]]:
    """The rows of a result that have these values."""
    return [
        row
        for row in results[name]["rows"]
        if all(row.get(key) == value for key, value in wanted.items())
    ]


def column(results: Results, name: str, key: str, **wanted: Any) -> list[float]:
    """One value of each of these rows."""
    return [
        float(functools.reduce(lambda part, word: part[word], key.split("/"), row))
        for row in rows_of(results, name, **wanted)
    ]
