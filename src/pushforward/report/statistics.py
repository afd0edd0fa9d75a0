"""Scores as sentences need them, and the rule by which they are compared.

A score is ahead of another if they differ by more than the margin of
`pushforward.Comparison.differences`; `unproven` returns the models not ahead of the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from pushforward.evaluation.intervals import LARGE, Variation, Variations
from pushforward.evaluation.measurements import Alarm, SweepPoint
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import FURTHER, ROLES, Score
from pushforward.numbers import bounded, count, counted, decimals_of, listing, measured, plain, some

DIFFER = 2.0  # Standard deviations of a difference from which a score differs from a bound

NAMED = 5  # Maximum number of names in a sentence
FIRST = 3  # Names in a sentence if there are more
FASTER = 1.2  # Ratio from which two times differ


@dataclass(frozen=True)
class Statistic:
    """One score of a model, with what is needed to compare it.

    Args:
        name: The name of the model.
        value: The score.
        spread: Standard deviation over training runs, or over samplings of a single run; None if unknown.
        width: Standard deviation for comparisons with a bound, at least that of real data.
        loss: The value with its sign chosen so that lower is better.
        interval: The ends of the 95 % interval; None if unknown.
        variations: Sources of variation, for comparisons with other scores.
        comparisons: The number of pairs compared in this score.
        equal: For real data, the variation of its score over draws; None for models.
    """

    name: str
    value: float
    spread: float | None
    width: float
    loss: float
    interval: tuple[float, float] | None = None
    variations: Variations = field(default_factory=Variations)
    comparisons: int = 1
    equal: Variation | None = None

    @property
    def bar(self) -> tuple[float, float] | None:
        """The ends of the error bar: the interval, or plus and minus one standard deviation; None if unknown."""
        if self.interval is not None or self.spread is None:
            return self.interval
        return self.value - self.spread, self.value + self.spread

    def better_than(self, other: Statistic) -> bool:
        """Return whether this score is significantly better."""
        return other.loss - self.loss > margin(self, other)

    @property
    def text(self) -> str:
        """The value with its interval or standard deviation."""
        return with_spread(self.value, self.spread, self.interval)


def margin(first: Statistic, other: Statistic) -> float:
    """Return by how much two scores must differ for one to be ahead.

    A model differs from real data if its score is outside the variation between draws of real
    data, and its interval excludes their score.
    """
    comparisons = max(first.comparisons, other.comparisons)
    real, model = (other, first) if first.equal is None else (first, other)
    if real.equal is None:
        return first.variations.margin(other.variations, comparisons)
    ends = model.interval or (model.value, model.value)
    toward_real = ends[0] if real.value < model.value else ends[1]
    return max(real.equal.half_width(comparisons), abs(model.value - toward_real))


def differ(gap: float, width: float, other: float) -> bool:
    """Return whether the gap between a score and a bound is significant, given their standard deviations."""
    return gap > DIFFER * math.hypot(width, other)


def with_spread(
    value: float | None, spread: float | None, interval: Sequence[float] | None = None
) -> str:
    """Format a value with its standard deviation, ``1.02 ± 0.05``, or interval, ``1.02 [0.97, 1.07]``."""
    if interval is not None:
        return " ".join(bounded(value, interval))
    text, wide = measured(value, spread)
    if wide:
        return f"{text} ± {wide}"
    return text


def rows_of(comparison: Comparison) -> list[ModelResult]:
    """Return the models, and the baseline if there is one."""
    return [*filter(None, (*comparison.models, comparison.baseline))]


def groups(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return the names of all known scores by heading, ranking scores first and further checks last.

    The score that ranks models and the fractions of copies and unique texts are first in their groups.
    """
    first = comparison.ranking_metric("quality")
    known = dict.fromkeys(
        [*comparison.metrics, *(name for row in rows_of(comparison) for name in row.scores)]
    )
    names = sorted(known, key=lambda name: name != first)
    headings: dict[str, list[str]] = {}
    for name in names:
        scored = any(statistic(comparison, row, name) for row in rows_of(comparison))
        if scored or floor_of(comparison, name)[0] is not None:
            headings.setdefault(comparison.info(name).group, []).append(name)
    for together in headings.values():
        together.sort(key=lambda name: name not in (first, "near_copies", "unique_texts"))
    ranking = {
        heading
        for heading, names in headings.items()
        if any(comparison.info(name).role for name in names)
    }
    return sorted(headings.items(), key=lambda item: (item[0] == FURTHER, item[0] not in ranking))


def floor_of(comparison: Comparison, metric: str) -> tuple[float | None, float]:
    """Return the score of real data, or None, and its standard deviation, or 0 if unknown."""
    floor = comparison.floors.get(metric, Score())
    return floor.value, floor.spread or 0.0


def statistic(comparison: Comparison, row: ModelResult | None, metric: str) -> Statistic | None:
    """Return the score of a model; None without a finite one."""
    score = Score() if row is None else row.scores.get(metric, Score())
    if row is None or score.value is None:
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


def sweep_score(
    comparison: Comparison, name: str, point: SweepPoint, metric: str
) -> Statistic | None:
    """Return one score of a training run for a budget, comparable with those of other recipes."""
    row = next((model for model in comparison.models if model.name == name), ModelResult(name))
    score = statistic(comparison, replace(row, scores=point.scores, trainings=()), metric)
    if score is None:
        return None
    return replace(score, comparisons=score.comparisons * len(comparison.sweep[name]))


def floor_statistic(comparison: Comparison, metric: str) -> Statistic | None:
    """Return the score of a single draw of real data; None if unknown."""
    value, spread = floor_of(comparison, metric)
    if value is None:
        return None
    draws = len(comparison.floors[metric].values) or LARGE
    equal = Variation((1 + 1 / draws) * spread**2, draws - 1) if spread else None
    loss = comparison.loss(metric, value)
    return Statistic("real data", value, spread or None, spread, loss, equal=equal)


def guess_statistics(comparison: Comparison) -> dict[str, Statistic]:
    """Return the scores of guesses without a model, by metric; a guess varies by its own error, or not at all."""
    known = [
        (metric, statistic(comparison, row, metric))
        for row in comparison.guesses
        for metric in row.scores
    ]
    return {
        metric: replace(score, variations=Variations(Variation(score.width**2)))
        for metric, score in known
        if score is not None
    }


def ratio_of(row: ModelResult, metric: str) -> float | None:
    """Return the stored ratio of a score to that of real data; None if real data scores almost zero."""
    return row.scores.get(metric, Score()).ratio


def times_real(comparison: Comparison, row: ModelResult, metric: str) -> str:
    """Format the ratio of a score to that of real data; empty if it is not meaningful."""
    info = comparison.info(metric)
    ratio = ratio_of(row, metric)
    unknown = info.unit == "%" or info.better == "target" or ratio is None or ratio <= 0
    if unknown:
        return ""
    return plain(ratio, 2)


def statistics(comparison: Comparison, metric: str) -> list[Statistic]:
    """Return the scores of all models, best first."""
    scored = [statistic(comparison, model, metric) for model in comparison.models]
    return sorted((score for score in scored if score is not None), key=lambda score: score.loss)


def lead_text(best: Statistic, others: Sequence[Statistic]) -> str:
    """Return how the best score compares with the others, such as ``ahead of gan and vae (95 %)``."""
    behind = [other.name for other in others if best.better_than(other)]
    if not behind:
        return "not ahead of any other model (95 %)"
    return f"ahead of {'every other model' if len(behind) == len(others) else named(behind)} (95 %)"


def named(names: Iterable[str]) -> str:
    """Join names for a sentence; of many names the first ones, and the number of the others."""
    known = list(names)
    if len(known) <= NAMED:
        return listing(known)
    return some(known, FIRST)


def indistinct(scores: Sequence[Statistic]) -> list[list[str]]:
    """Return groups of models that cannot be distinguished; each such pair is in one of them."""
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
    groups = [named(group) for group in indistinct(scores)[:FIRST]]
    if groups:
        parts.append(f"{', nor can '.join([f'{groups[0]} cannot be distinguished', *groups[1:]])}.")
    short = unproven(comparison, metric)
    if short:
        base = statistic(comparison, comparison.baseline, metric)
        behind = [score.name for score in scores if base is not None and base.better_than(score)]
        baseline = (
            f"{baseline_name(comparison)}, which scores {value_text(comparison, metric, base)}"
        )
        if behind == short:
            parts.append(f"{baseline[0].upper()}{baseline[1:]}, is ahead of {named(behind)}.")
            return " ".join(parts)
        if len(short) == 1:
            who = f"{short[0]} is not"
        else:
            who = "No model is" if len(short) == len(scores) else f"{named(short)} are not"
        parts.append(f"{who} ahead of {baseline}.")
        if behind:
            parts.append(f"The baseline is ahead of {named(behind)}.")
    return " ".join(parts)


def baseline_name(comparison: Comparison) -> str:
    """Return what the baseline is, such as ``the baseline (one Gaussian per class)``."""
    name = "" if comparison.baseline is None else comparison.baseline.name
    _, bracket, fitted = name.partition("(")
    return f"the baseline {bracket}{fitted}".rstrip()


def at_floor(comparison: Comparison, metric: str, score: Statistic) -> bool:
    """Return whether a score is not significantly worse than that of real data."""
    floor = floor_statistic(comparison, metric)
    return floor is not None and not floor.better_than(score)


def blind(comparison: Comparison, metric: str) -> bool:
    """Return whether a score is useless, because the baseline is not significantly worse than real data."""
    base = statistic(comparison, comparison.baseline, metric)
    return base is not None and at_floor(comparison, metric, replace(base, comparisons=1))


def main_metrics(comparison: Comparison) -> list[str]:
    """Return the scores that rank models in quality and in diversity."""
    return [metric for role in ROLES if (metric := comparison.ranking_metric(role)) is not None]


def curve_metric(comparison: Comparison) -> str:
    """Return the distance for curves over network calls: the score that ranks models, or the Fréchet distance."""
    best = comparison.ranking_metric("quality")
    points = [*(point for model in comparison.models for point in model.curve)]
    points += [
        point
        for model in comparison.models
        if model.ladder is not None
        for point in model.ladder.points
    ]
    if best is not None and any(best in point.scores for point in points):
        return best
    return "frechet"


def decimals_in(comparison: Comparison, metric: str) -> int | None:
    """Return how many decimals a score has in its column; None if no model has the score."""
    return decimals_for(statistics(comparison, metric), factor_of(comparison, metric))


def decimals_for(scores: Sequence[Any], factor: float = 1) -> int | None:
    """Return how many decimals a column of scores needs for its most certain value; None for an empty column."""
    needed = []
    for score in scores:
        low, high = score.interval or (0.0, 2 * (score.spread or 0.0))
        needed.append(decimals_of(factor * score.value, factor * (high - low) / 2))
    return max(needed, default=None)


def factor_of(comparison: Comparison, metric: str) -> int:
    """Return 100 for a fraction, which is shown as a percentage, else 1."""
    if comparison.info(metric).unit == "%":
        return 100
    return 1


def value_text(comparison: Comparison, metric: str, score: Any) -> str:
    """Format the value of a `Score` or `Statistic` with the decimals of its column, or more for a first non-zero digit."""
    factor = factor_of(comparison, metric)
    value = factor * (score.value or 0.0)
    text = measured(value, None, decimals_in(comparison, metric))[0]
    if not text.strip("0.−"):
        text = plain(value, 1)
    if factor == 100:
        return f"{text} %"
    return text


def floor_text(comparison: Comparison, metric: str) -> str:
    """Format the score of real data with the decimals of its column; empty if unknown."""
    floor = comparison.floors.get(metric, Score())
    if floor.value is None:
        return ""
    return value_text(comparison, metric, floor)


def target_text(comparison: Comparison, metric: str) -> str:
    """Format the ideal value of a "target" metric with its unit, with no more digits than its error; empty if unknown."""
    info = comparison.info(metric)
    factor = factor_of(comparison, metric)
    floor = floor_statistic(comparison, metric)
    text = plain(factor * info.target) if info.target is not None else ""
    if not text and floor is not None:
        text = measured(factor * floor.value, factor * floor.width)[0]
    if text:
        return f"{text} {info.unit}".strip()
    return ""


def floor_band(comparison: Comparison, metric: str) -> tuple[float, float] | None:
    """Return the score of real data, and the half-width of the band of scores that cannot be distinguished from it."""
    floor = floor_statistic(comparison, metric)
    if floor is None:
        return None
    return (floor.value, margin(floor, floor))


def sampled(comparison: Comparison) -> str:
    """Return from how many training runs and samplings scores were measured, such as ``3 samplings``."""
    trainings = max((len(model.trainings) for model in comparison.models), default=0)
    most = max(
        (len(score.values) for model in comparison.models for score in model.scores.values()),
        default=0,
    )
    repeats = counted(min(comparison.settings.repeats or 1, most or 1), "sampling")
    if trainings > 1:
        return f"{counted(trainings, 'training run')}, {repeats}"
    return repeats


def inside(label: str) -> str:
    """Return a label for use within a sentence; abbreviations and names keep their capital."""
    keeps = label[:2].isupper() or label.startswith(("Fréchet", "Sinkhorn", "Wasserstein"))
    if keeps:
        return label
    return label[:1].lower() + label[1:]


def unproven(comparison: Comparison, metric: str | None = None) -> list[str]:
    """Return the models that are not ahead of the baseline in a score, by default the one that ranks models."""
    metric = metric or comparison.ranking_metric("quality") or ""
    base = statistic(comparison, comparison.baseline, metric)
    if base is None:
        return []
    return [own.name for own in statistics(comparison, metric) if not own.better_than(base)]


def sessions(comparison: Comparison) -> list[list[str]]:
    """Return groups of models that were timed together; joined reports have several."""
    timed = [model.name for model in comparison.models if model.sampling.seconds_per_sample]
    groups = comparison.settings.timed or [timed]
    return [known for group in groups if (known := [name for name in group if name in timed])]


def slower(fast: ModelResult, slow: ModelResult) -> float | None:
    """Return the ratio of a model's fastest round to the median round of another; None if the times do not differ."""
    low = slow.sampling.timing.low
    high = fast.sampling.timing.high
    ratio = None if low is None or not high else low / high
    if ratio is not None and ratio >= FASTER:
        return ratio
    return None


def alarm_periods(model: ModelResult) -> list[tuple[Alarm, Alarm | None]]:
    """Return the start and the end of each alarm, in order; the end is None if the alarm never ended."""
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
