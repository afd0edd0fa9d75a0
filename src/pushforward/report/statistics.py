"""Scores of a comparison, and the rule by which they are compared."""

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
from pushforward.numbers import count, decimals_of, listing, mean_and_std, plain, plural, some

# Scores and their comparison --------------------------------------------------------------------


@dataclass(frozen=True)
class Statistic:
    """One score of a model, with what is needed to compare it.

    Args:
        spread: Standard deviation over training runs or samplings; None if unknown.
        width: Standard deviation for comparisons with a bound, at least that of real data.
        loss: The value, or its negative; lower is better.
        comparisons: The number of pairs compared in this score.
        equal: For real data, the variation of its score over draws.
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
        """The interval, or plus and minus one standard deviation."""
        if self.interval is not None or self.spread is None:
            return self.interval
        return self.value - self.spread, self.value + self.spread

    def better_than(self, other: Statistic) -> bool:
        """Return whether this score is significantly better."""
        return other.loss - self.loss > margin(self, other)


def margin(first: Statistic, other: Statistic) -> float:
    """Return by how much two scores must differ for one to be ahead.

    A model differs from real data if its score is outside the variation between draws of real
    data, and its interval excludes their score.
    """
    comparisons = max(first.comparisons, other.comparisons)
    real, model = (other, first) if first.equal is None else (first, other)
    if real.equal is None:
        return first.variations.margin(other.variations, comparisons)
    low, high = model.interval or (model.value, model.value)
    toward_real = low if real.value < model.value else high
    return max(real.equal.half_width(comparisons), abs(model.value - toward_real))


DIFFER = 2.0  # standard deviations of a difference from which a score differs from a bound


def differ(gap: float, width: float, other: float) -> bool:
    """Return whether a score is beyond a bound."""
    return gap > DIFFER * math.hypot(width, other)


def statistic(comparison: Comparison, row: ModelResult | None, metric: str) -> Statistic | None:
    """Return the score of a model."""
    if row is None:
        return None
    score = row.scores.get(metric, Score())
    if score.value is None:
        return None
    interval = None
    if score.interval and None not in score.interval:
        low, high = score.interval
        interval = low, high
    return Statistic(
        row.name,
        score.value,
        score.spread,
        max(score.spread or 0.0, real_data_score_of(comparison, metric)[1]),
        comparison.loss(metric, score.value),
        interval,
        comparison.variations(metric, row),
        comparison.tested_differences(metric),
    )


def statistics(comparison: Comparison, metric: str) -> list[Statistic]:
    """Return the scores of all models, best first."""
    scores = (statistic(comparison, model, metric) for model in comparison.models)
    return sorted(filter(None, scores), key=lambda score: score.loss)


def sweep_score(
    comparison: Comparison, name: str, point: SweepPoint, metric: str
) -> Statistic | None:
    """Return one score of a training run for a budget."""
    row = next((model for model in comparison.models if model.name == name), ModelResult(name))
    score = statistic(comparison, replace(row, scores=point.scores, trainings=()), metric)
    if score is None:
        return None
    return replace(score, comparisons=score.comparisons * len(comparison.sweep[name]))


def guess_statistics(comparison: Comparison) -> dict[str, Statistic]:
    """Return the scores of guesses without a model, by metric."""
    guesses = {}
    for row in comparison.guesses:
        for metric in row.scores:
            score = statistic(comparison, row, metric)
            if score is not None:
                variations = Variations(Variation(score.width**2))
                guesses[metric] = replace(score, variations=variations)
    return guesses


# Real data --------------------------------------------------------------------------------------


def real_data_score_of(comparison: Comparison, metric: str) -> tuple[float | None, float]:
    """Return the score of real data and its standard deviation."""
    real_data_score = comparison.real_data_scores.get(metric, Score())
    return real_data_score.value, real_data_score.spread or 0.0


def real_data_statistic(comparison: Comparison, metric: str) -> Statistic | None:
    """Return the score of a single draw of real data."""
    value, spread = real_data_score_of(comparison, metric)
    if value is None:
        return None
    draws = len(comparison.real_data_scores[metric].values) or LARGE
    equal = Variation((1 + 1 / draws) * spread**2, draws - 1) if spread else None
    loss = comparison.loss(metric, value)
    return Statistic("real data", value, spread or None, spread, loss, equal=equal)


Band = tuple[float, float]  # score of real data, and half-width of the scores equal to it


def real_data_band(comparison: Comparison, metric: str) -> Band | None:
    """Return the score of real data, and the half-width of its band."""
    real_data_score = real_data_statistic(comparison, metric)
    if real_data_score is None:
        return None
    return real_data_score.value, margin(real_data_score, real_data_score)


def at_real_data(comparison: Comparison, metric: str, score: Statistic) -> bool:
    """Return whether a score is not worse than that of real data."""
    real_data_score = real_data_statistic(comparison, metric)
    return real_data_score is not None and not real_data_score.better_than(score)


def blind(comparison: Comparison, metric: str) -> bool:
    """Return whether the baseline is not significantly worse than real data."""
    base = statistic(comparison, comparison.baseline, metric)
    return base is not None and at_real_data(comparison, metric, replace(base, comparisons=1))


def ratio_of(row: ModelResult, metric: str) -> float | None:
    """Return the ratio of a score to that of real data."""
    return row.scores.get(metric, Score()).ratio


def times_real(comparison: Comparison, row: ModelResult, metric: str) -> str:
    """Format the ratio of a score to that of real data."""
    info = comparison.info(metric)
    ratio = ratio_of(row, metric)
    if info.unit == "%" or info.better == "target" or ratio is None or ratio <= 0:
        return ""
    return plain(ratio, 2)


# Which scores there are -------------------------------------------------------------------------


def rows_of(comparison: Comparison) -> list[ModelResult]:
    """Return the models, and the baseline if there is one."""
    return [*filter(None, (*comparison.models, comparison.baseline))]


def groups(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return the names of scores by heading, ranking scores first."""
    names = dict.fromkeys(comparison.metrics)
    for row in rows_of(comparison):
        names |= dict.fromkeys(row.scores)
    main = main_metrics(comparison)
    first = (*main[:1], "near_copies", "unique_texts")
    headings: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: name not in first):
        scored = any(statistic(comparison, row, name) for row in rows_of(comparison))
        if scored or real_data_score_of(comparison, name)[0] is not None:
            headings.setdefault(comparison.info(name).group, []).append(name)
    ranking = {comparison.info(name).group for name in main}
    return sorted(headings.items(), key=lambda item: (item[0] == FURTHER, item[0] not in ranking))


def main_metrics(comparison: Comparison) -> list[str]:
    """Return the scores that rank models in quality and in diversity."""
    return [*filter(None, map(comparison.ranking_metric, ROLES))]


def curve_metric(comparison: Comparison) -> str:
    """Return the distance for curves over network calls."""
    ranking = comparison.ranking_metric("quality")
    for model in comparison.models:
        steps_curve = () if model.steps_curve is None else model.steps_curve.points
        points = (*model.curve, *steps_curve)
        if ranking is not None and any(ranking in point.scores for point in points):
            return ranking
    return "frechet"


# Who is ahead -----------------------------------------------------------------------------------


def standing(comparison: Comparison, metric: str) -> str:
    """Return which models are ahead of each other and of the baseline."""
    scores = statistics(comparison, metric)
    best, *others = scores
    parts = []
    if others:
        parts.append(f"{best.name} is {lead_text(best, others)}.")
    similar = [named(group) for group in indistinct(scores)[:FIRST]]
    if similar:
        similar[0] += " cannot be distinguished"
        parts.append(f"{', nor can '.join(similar)}.")
    base = statistic(comparison, comparison.baseline, metric)
    if base is not None:
        parts.append(_against_baseline(comparison, metric, base))
    return " ".join(filter(None, parts))


def _against_baseline(comparison: Comparison, metric: str, base: Statistic) -> str:
    not_ahead = unproven(comparison, metric)
    if not not_ahead:
        return ""
    scores = statistics(comparison, metric)
    behind = _behind(base, scores)
    baseline = f"{baseline_name(comparison)}, which scores {value_text(comparison, metric, base)}"
    if behind == not_ahead:
        return f"{capitalised(baseline)}, is ahead of {named(behind)}."
    if len(not_ahead) == 1:
        who = f"{not_ahead[0]} is not"
    elif len(not_ahead) == len(scores):
        who = "No model is"
    else:
        who = f"{named(not_ahead)} are not"
    text = f"{who} ahead of {baseline}."
    if behind:
        text += f" The baseline is ahead of {named(behind)}."
    return text


def lead_text(best: Statistic, others: Sequence[Statistic]) -> str:
    """Return how the best score compares with others."""
    behind = _behind(best, others)
    if not behind:
        return "not ahead of any other model (95 %)"
    if len(behind) == len(others):
        return "ahead of every other model (95 %)"
    return f"ahead of {named(behind)} (95 %)"


def _behind(first: Statistic, others: Iterable[Statistic]) -> list[str]:
    return [other.name for other in others if first.better_than(other)]


def indistinct(scores: Sequence[Statistic]) -> list[list[str]]:
    """Return groups of models that cannot be distinguished."""
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


def unproven(comparison: Comparison, metric: str | None = None) -> list[str]:
    """Return the models not ahead of the baseline."""
    metric = metric or comparison.ranking_metric("quality") or ""
    base = statistic(comparison, comparison.baseline, metric)
    if base is None:
        return []
    return [own.name for own in statistics(comparison, metric) if not own.better_than(base)]


def baseline_name(comparison: Comparison) -> str:
    """Return the baseline, such as ``the baseline (one Gaussian per class)``."""
    if comparison.baseline is None:
        return "the baseline"
    _, bracket, fitted = comparison.baseline.name.partition("(")
    return f"the baseline {bracket}{fitted}".rstrip()


# Text -------------------------------------------------------------------------------------------

NAMED = 5  # maximum number of names in a sentence
FIRST = 3  # names in a sentence if there are more


def named(names: Iterable[str]) -> str:
    """Join names for a sentence; of many names only the first ones."""
    known = list(names)
    if len(known) <= NAMED:
        return listing(known)
    return some(known, FIRST)


def capitalised(text: str) -> str:
    """Return a text with a capital first letter."""
    return text[:1].upper() + text[1:]


def label_in_sentence(comparison: Comparison, metric: str) -> str:
    """Return the label of a score for use within a sentence."""
    return inside(comparison.info(metric).label)


def inside(label: str) -> str:
    """Return a label for use within a sentence."""
    if label[:2].isupper() or label.startswith(("Fréchet", "Sinkhorn", "Wasserstein")):
        return label
    return label[:1].lower() + label[1:]


def decimals_in(comparison: Comparison, metric: str) -> int | None:
    """Return the number of decimals of a score in its column."""
    return decimals_for(statistics(comparison, metric), factor_of(comparison, metric))


def decimals_for(scores: Iterable[Any], factor: float = 1) -> int | None:
    """Return the number of decimals that the most certain of some scores needs."""
    needed = []
    for score in scores:
        low, high = score.interval or (0.0, 2 * (score.spread or 0.0))
        needed.append(decimals_of(factor * score.value, factor * (high - low) / 2))
    return max(needed, default=None)


def factor_of(comparison: Comparison, metric: str) -> int:
    """Return 100 for a fraction, else 1."""
    if comparison.info(metric).unit == "%":
        return 100
    return 1


def value_text(comparison: Comparison, metric: str, score: Any) -> str:
    """Format a `Score` or `Statistic`."""
    factor = factor_of(comparison, metric)
    text = plain(factor * (score.value or 0.0))
    if factor == 100:
        return f"{text} %"
    return text


def real_data_text(comparison: Comparison, metric: str) -> str:
    """Format the score of real data."""
    real_data_score = comparison.real_data_scores.get(metric, Score())
    if real_data_score.value is None:
        return ""
    return value_text(comparison, metric, real_data_score)


def target_text(comparison: Comparison, metric: str) -> str:
    """Format the ideal value of a "target" metric with its unit."""
    info = comparison.info(metric)
    factor = factor_of(comparison, metric)
    real_data_score = real_data_statistic(comparison, metric)
    if info.target is not None:
        text = plain(factor * info.target)
    elif real_data_score is not None:
        text, _ = mean_and_std(factor * real_data_score.value, factor * real_data_score.width)
    else:
        return ""
    return f"{text} {info.unit}".strip()


def sampled(comparison: Comparison) -> str:
    """Return the number of training runs and samplings."""
    most = 1
    trainings = 0
    for model in comparison.models:
        trainings = max(trainings, len(model.trainings))
        for score in model.scores.values():
            most = max(most, len(score.values))
    repeats = plural(min(comparison.settings.repeats or 1, most), "sampling")
    if trainings > 1:
        return f"{plural(trainings, 'training run')}, {repeats}"
    return repeats


# Times and alarms -------------------------------------------------------------------------------


def sessions(comparison: Comparison) -> list[list[str]]:
    """Return groups of models that were timed together."""
    timed = [model.name for model in comparison.models if model.sampling.seconds_per_sample]
    groups = comparison.settings.timed or [timed]
    together = ([name for name in group if name in timed] for group in groups)
    return list(filter(None, together))


Period = tuple[Alarm, Alarm | None]  # start and end of an alarm


def alarm_periods(model: ModelResult) -> list[Period]:
    """Return the start of each alarm, and its end or None."""
    begun: dict[tuple[str | None, str], int] = {}
    periods: list[Period] = []
    for alarm in model.alarms:
        key = alarm.training, alarm.kind
        if alarm.step is not None and not alarm.over:
            begun[key] = len(periods)
            periods.append((alarm, None))
        elif alarm.step is not None and key in begun:
            at = begun.pop(key)
            start, _ = periods[at]
            periods[at] = start, alarm
    return periods


def alarm_text(model: ModelResult, begin: Alarm, end: Alarm | None) -> str:
    """Describe an alarm."""
    run = begin.training or model.name
    what = begin.sentence or "an alarm was raised"
    until = "until the end of training" if end is None else f"to step {count(end.step)}"
    text = f"In {run}, {what} (from step {count(begin.step)} {until})."
    if begin.advice:
        text += f" Advice: {begin.advice}."
    return text
