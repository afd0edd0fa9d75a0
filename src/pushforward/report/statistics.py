"""Scores as sentences need them, and the one rule by which they are compared.

Of two scores one is clearly ahead where they are farther apart than the margin of `pushforward.Comparison.differences`;
`unproven` says which models are not clearly ahead of the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from pushforward.evaluation.intervals import Variation, Variations
from pushforward.evaluation.measurements import Alarm, SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import FURTHER, ROLES, Score
from pushforward.numbers import bounded, count, decimals_of, listing, measured, plain, some

DIFFER = 2.0  # From how many standard deviations of its difference a score differs from a bound

NAMED = 5  # Names in a list of a sentence at most
FASTER = 1.2  # From what ratio two times differ


@dataclass(frozen=True)
class Statistic:
    """One score of one row, with what it takes to compare it.

    Args:
        name: The row's name.
        value: The score.
        spread: Over the trainings, or over the samplings of a single one; None where unknown.
        width: The spread that counts beside a bound: no less than the floor's.
        loss: The value turned so that less is better.
        interval: The ends of the 95 % interval; None where there is none.
        variations: By which it is compared with others.
        comparisons: How many pairs are compared in this score.
    """

    name: str
    value: float
    spread: float | None
    width: float
    loss: float
    interval: tuple[float, float] | None = None
    variations: Variations = field(default_factory=Variations)
    comparisons: int = 1

    @property
    def bar(self) -> tuple[float, float] | None:
        """The ends of the bar that charts draw: the interval, else one spread either way; None where neither is known."""
        if self.interval is not None or self.spread is None:
            return self.interval
        return self.value - self.spread, self.value + self.spread

    def better_than(self, other: Statistic) -> bool:
        """Whether this one is clearly better."""
        return other.loss - self.loss > margin(self, other)

    @property
    def text(self) -> str:
        """The value as a scorecard has it: with its interval, else with its spread."""
        return with_spread(self.value, self.spread, self.interval)


def margin(first: Statistic, other: Statistic) -> float:
    """By how much two scores must differ so that one is clearly ahead: the one rule of all comparisons."""
    return first.variations.margin(other.variations, max(first.comparisons, other.comparisons))


def differ(gap: float, width: float, other: float) -> bool:
    """Whether a gap between a score and a bound of these spreads is more than noise."""
    return gap > DIFFER * math.hypot(width, other)


def with_spread(value: float | None, spread: float | None, interval: Sequence[float] | None = None) -> str:
    """Such as ``1.02 ± 0.05``; with an interval, which stands in place of the spread, ``1.02 [0.97, 1.07]``."""
    if interval is not None:
        return " ".join(bounded(value, interval))
    text, wide = measured(value, spread)
    return f"{text} ± {wide}" if wide else text


def rows_of(comparison: Comparison) -> list[ModelResult]:
    """Models, then the baseline where there is one."""
    return [*comparison.models, *([] if comparison.baseline is None else [comparison.baseline])]


def groups(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """The scores that any row has, under the headings that their metrics declare: those that rank first, further checks last.

    The score that ranks models in quality and the fractions of copies and of repeated texts stand first in their groups.
    """
    first = comparison.ranking_metric("quality")
    known = dict.fromkeys([*comparison.metrics, *(name for row in rows_of(comparison) for name in row.scores)])
    names = sorted(known, key=lambda name: name != first)
    headings: dict[str, list[str]] = {}
    for name in names:
        scored = any(statistic(comparison, row, name) for row in rows_of(comparison))
        if scored or floor_of(comparison, name)[0] is not None:
            headings.setdefault(comparison.info(name).group, []).append(name)
    for together in headings.values():
        together.sort(key=lambda name: name not in (first, "near_copies", "unique_texts"))
    ranking = {heading for heading, names in headings.items() if any(comparison.info(name).role for name in names)}
    return sorted(headings.items(), key=lambda item: (item[0] == FURTHER, item[0] not in ranking))


def floor_of(comparison: Comparison, metric: str) -> tuple[float | None, float]:
    """Value (or None) and spread (0 where unknown) of a metric's floor."""
    floor = comparison.floors.get(metric)
    return (None, 0.0) if floor is None else (floor.value, floor.spread or 0.0)


def statistic(comparison: Comparison, row: ModelResult | None, metric: str) -> Statistic | None:
    """A row's score, or None where there is no finite one."""
    score = None if row is None else row.scores.get(metric)
    if row is None or score is None or score.value is None:
        return None
    width = max(score.spread or 0.0, floor_of(comparison, metric)[1])
    ends = score.interval or ()
    interval = (ends[0], ends[1]) if len(ends) == 2 and None not in ends else None
    return Statistic(
        row.name,
        score.value,
        score.spread,
        width,
        comparison.loss(metric, score.value),
        interval,
        comparison.variations(metric, row),
        comparison.comparisons(metric),
    )


def sweep_score(comparison: Comparison, name: str, point: SweepPoint, metric: str) -> Statistic | None:
    """One score of a training for a budget, comparable with those of other recipes."""
    row = next((model for model in comparison.models if model.name == name), ModelResult(name))
    score = statistic(comparison, replace(row, scores=point.scores, trainings=()), metric)
    return None if score is None else replace(score, comparisons=score.comparisons * len(comparison.sweep[name]))


def floor_statistic(comparison: Comparison, metric: str) -> Statistic | None:
    """Real data's score, as a single draw of its examples has it; None where it is unknown."""
    value, spread = floor_of(comparison, metric)
    if value is None:
        return None
    varies = Variations(Variation(spread**2))
    return Statistic("real data", value, spread or None, spread, comparison.loss(metric, value), variations=varies)


def guess_statistics(comparison: Comparison) -> dict[str, Statistic]:
    """What guesses without a model score, by metric, for metrics that have such a baseline of their own."""
    known = [(metric, statistic(comparison, row, metric)) for row in comparison.guesses for metric in row.scores]
    return {metric: score for metric, score in known if score is not None}


def ratio_of(row: ModelResult, metric: str) -> float | None:
    """A row's score over real data's as it was stored; None where the floor is too near zero to divide by."""
    return row.scores.get(metric, Score()).ratio


def times_real(comparison: Comparison, row: ModelResult, metric: str) -> str:
    """How many times a row's score is that of real data; empty where that says nothing."""
    info, ratio = comparison.info(metric), ratio_of(row, metric)
    unknown = info.unit == "%" or info.better == "target" or ratio is None or ratio <= 0
    return "" if unknown else plain(ratio, 2)


def statistics(comparison: Comparison, metric: str) -> list[Statistic]:
    """All models' scores, best first."""
    scored = [statistic(comparison, model, metric) for model in comparison.models]
    return sorted((score for score in scored if score is not None), key=lambda score: score.loss)


def lead_text(best: Statistic, others: Sequence[Statistic]) -> str:
    """Return how the best score compares with the others, such as ``ahead of gan and vae (95 %)``."""
    behind = [other.name for other in others if best.better_than(other)]
    if not behind:
        return "not ahead of any other model (95 %)"
    return f"ahead of {'every other model' if len(behind) == len(others) else named(behind)} (95 %)"


def named(names: Iterable[str]) -> str:
    """Names in a sentence; of many the first, and how many more there are."""
    known = list(names)
    return listing(known) if len(known) <= NAMED else some(known, NAMED)


def indistinct(scores: Sequence[Statistic]) -> list[list[str]]:
    """Name groups of models that cannot be distinguished; each such pair is in one of them."""
    groups: list[list[str]] = []
    for pair in combinations(scores, 2):
        names = {score.name for score in pair}
        if _apart(*pair) or any(names <= set(group) for group in groups):
            continue
        members = list(pair)
        for other in scores:
            if other not in pair and not any(_apart(other, member) for member in members):
                members.append(other)
        groups.append([score.name for score in scores if score in members])
    return groups


def _apart(first: Statistic, other: Statistic) -> bool:
    return first.better_than(other) or other.better_than(first)


def standing(comparison: Comparison, metric: str) -> str:
    """Return which models are ahead in a score, which cannot be distinguished, and which are not ahead of the baseline."""
    best, *others = scores = statistics(comparison, metric)
    parts = [f"{best.name} is {lead_text(best, others)}."] if others else []
    groups = [named(group) for group in indistinct(scores)[:NAMED]]
    if groups:
        parts.append(f"{', nor can '.join([f'{groups[0]} cannot be distinguished', *groups[1:]])}.")
    short = unproven(comparison, metric)
    if short:
        value = value_text(comparison, metric, statistic(comparison, comparison.baseline, metric))
        if len(short) == 1:
            who = f"{short[0]} is not"
        else:
            who = "No model is" if len(short) == len(scores) else f"{named(short)} are not"
        parts.append(f"{who} ahead of {baseline_name(comparison)}, which scores {value}.")
    return " ".join(parts)


def baseline_name(comparison: Comparison) -> str:
    """Return what the baseline is, such as ``the baseline (one Gaussian per class)``."""
    name = "" if comparison.baseline is None else comparison.baseline.name
    _, bracket, fitted = name.partition("(")
    return f"the baseline {bracket}{fitted}".rstrip()


def at_floor(comparison: Comparison, metric: str, score: Statistic) -> bool:
    """Whether a score is not clearly worse than what real data has."""
    floor = floor_statistic(comparison, metric)
    return floor is not None and not floor.better_than(score)


def blind(comparison: Comparison, metric: str) -> bool:
    """Whether a score tells nothing here, because the baseline itself is not clearly worse than real data."""
    base = statistic(comparison, comparison.baseline, metric)
    return base is not None and at_floor(comparison, metric, base)


def main_metrics(comparison: Comparison) -> list[str]:
    """The scores by which the verdict ranks models in quality and in diversity, where any model has them."""
    return [metric for role in ROLES if (metric := comparison.ranking_metric(role)) is not None]


def curve_metric(comparison: Comparison) -> str:
    """The distance that curves over network calls show: the one that ranks models, or the Fréchet distance where they lack it."""
    best = comparison.ranking_metric("quality")
    points = [*(point for model in comparison.models for point in model.curve)]
    points += [point for model in comparison.models if model.ladder is not None for point in model.ladder.points]
    return best if best is not None and any(best in point.scores for point in points) else "frechet"


def decimals_in(comparison: Comparison, metric: str) -> int | None:
    """How many decimals a score has in its column: as many as its most certain value needs; None where no model has it."""
    return decimals_for(statistics(comparison, metric), factor_of(comparison, metric))


def decimals_for(scores: Sequence[Any], factor: float = 1) -> int | None:
    """Return how many decimals a column of scores needs for its most certain value; None for an empty column."""
    needed = []
    for score in scores:
        low, high = score.interval or (0.0, 2 * (score.spread or 0.0))
        needed.append(decimals_of(factor * score.value, factor * (high - low) / 2))
    return max(needed, default=None)


def factor_of(comparison: Comparison, metric: str) -> int:
    """100 for a share, which is shown in per cent, else 1."""
    return 100 if comparison.info(metric).unit == "%" else 1


def value_text(comparison: Comparison, metric: str, score: Any) -> str:
    """The value alone of a `Score` or a `Statistic`, in the digits of its scorecard, with "%" where it is a share."""
    factor = factor_of(comparison, metric)
    text = measured(factor * (score.value or 0.0), None, decimals_in(comparison, metric))[0]
    return f"{text} %" if factor == 100 else text


def floor_text(comparison: Comparison, metric: str) -> str:
    """What real data scores, likewise; empty where it is unknown."""
    floor = comparison.floors.get(metric)
    return "" if floor is None or floor.value is None else value_text(comparison, metric, floor)


def target_text(comparison: Comparison, metric: str) -> str:
    """The ideal value of a "target" metric, with its unit; real data's has no more digits than its error; empty where unknown."""
    info, factor, floor = comparison.info(metric), factor_of(comparison, metric), floor_statistic(comparison, metric)
    text = plain(factor * info.target) if info.target is not None else ""
    if not text and floor is not None:
        text = measured(factor * floor.value, factor * floor.width)[0]
    return f"{text} {info.unit}".strip() if text else ""


def bars_of(scores: Sequence[Statistic]) -> list[tuple[float, float] | None]:
    """The ends of the bars that a chart draws: intervals, which reach the middle between scores that are not clearly apart."""
    bars = [score.bar for score in scores]
    for pair in combinations(range(len(scores)), 2):
        first, other = (scores[at] for at in pair)
        middle = (first.value + other.value) / 2
        if not (first.better_than(other) or other.better_than(first)):
            for at in pair:
                bars[at] = (min(ends[0], middle), max(ends[1], middle)) if (ends := bars[at]) is not None else None
    return bars


def floor_band(comparison: Comparison, metric: str) -> tuple[float, float] | None:
    """Real data's score, and half of the band around it in which a score is not clearly apart from it."""
    floor = floor_statistic(comparison, metric)
    return None if floor is None else (floor.value, DIFFER * floor.width / 2**0.5)


def sampled(comparison: Comparison) -> str:
    """How many training runs and samplings scores were measured from, such as ``samplings: 3``."""
    trainings = max((len(model.trainings) for model in comparison.models), default=0)
    most = max((len(score.values) for model in comparison.models for score in model.scores.values()), default=0)
    repeats = f"samplings: {min(comparison.settings.repeats or 1, most or 1)}"
    return f"training runs: {trainings}, {repeats}" if trainings > 1 else repeats


def inside(label: str) -> str:
    """A label as it stands within a sentence: abbreviations and names keep their capital."""
    keeps = label[:2].isupper() or label.startswith(("Fréchet", "Sinkhorn", "Wasserstein"))
    return label if keeps else label[:1].lower() + label[1:]


def unproven(comparison: Comparison, metric: str | None = None) -> list[str]:
    """Name the models that are not clearly ahead of the baseline in a score, by default the one that ranks them in quality."""
    metric = metric or comparison.ranking_metric("quality") or ""
    base = statistic(comparison, comparison.baseline, metric)
    return [] if base is None else [own.name for own in statistics(comparison, metric) if not own.better_than(base)]


def sessions(comparison: Comparison) -> list[list[str]]:
    """The models that were timed in turns with each other; more than one group where reports were joined."""
    timed = [model.name for model in comparison.models if model.sampling.seconds_per_sample]
    groups = comparison.settings.timed or [timed]
    return [known for group in groups if (known := [name for name in group if name in timed])]


def slower(fast: ModelResult, slow: ModelResult) -> float | None:
    """How many times as long a model takes at least: its fastest turn to the other's median; None where that is no difference."""
    low, high = slow.sampling.timing.low, fast.sampling.timing.high
    ratio = None if low is None or not high else low / high
    return ratio if ratio is not None and ratio >= FASTER else None


def alarm_periods(model: ModelResult) -> list[tuple[Alarm, Alarm | None]]:
    """Each alarm at its begin with its end, None where it lasted to the end; by the step of the begin."""
    begun: dict[tuple[str | None, str], int] = {}
    periods: list[tuple[Alarm, Alarm | None]] = []
    for alarm in model.alarms:
        key = alarm.training, alarm.kind
        if alarm.step is not None and not alarm.over:
            begun[key] = len(periods)
            periods.append((alarm, None))
        elif alarm.step is not None and key in begun:
            at = begun.pop(key)
            periods[at] = periods[at][0], alarm
    return periods


def alarm_text(model: ModelResult, begin: Alarm, end: Alarm | None) -> str:
    """Describe an alarm: what went wrong, for how long, and the advice."""
    until = "until the end of training" if end is None else f"to step {count(end.step)}"
    advice = f" Advice: {begin.advice}." if begin.advice else ""
    what = begin.sentence or "an alarm was raised"
    return f"In {begin.training or model.name}, {what} (from step {count(begin.step)} {until}).{advice}"
