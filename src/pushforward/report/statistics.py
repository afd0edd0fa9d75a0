"""Scores as sentences need them, and the one rule by which they are compared.

Every threshold of the report is in `THRESHOLDS`, and nowhere else. Two scores differ where they are farther apart than `margin`;
`lacking` says which models do not beat no network. Of scores without errors the margin is 2 spreads of their difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pushforward.evaluation.intervals import half_width
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.metrics.score import FURTHER, ROLES, Role
from pushforward.numbers import bounded, count, listing, measured

__all__ = [
    "THRESHOLDS",
    "Statistic",
    "at_floor",
    "at_n",
    "best_of",
    "blind",
    "curve_metric",
    "differ",
    "floor_of",
    "floor_statistic",
    "groups",
    "guess_statistics",
    "lacking",
    "leaders",
    "main_metrics",
    "margin",
    "metric_for",
    "ratio_of",
    "rows_of",
    "statistic",
    "statistics",
    "target_of",
    "values_of",
    "with_spread",
    "without_spread",
]

THRESHOLDS: dict[str, float] = {
    "differ": 2.0,  # from how many spreads of their difference two scores differ
    "near_copies": 0.01,  # share of near-copies above the floor's from which samples count as memorised
    "copying": -3.0,  # C_T from which samples count as copies (Meehan et al. 2020), below real data's where that is less than 0
    "held_out_ratio": 0.2,  # how far from real data's: below, samples repeat training examples; above, held-out ones
    "attack": 0.02,  # area of a membership attack above chance
    "class_held": 0.2,  # share of a class's fair share from which it is held
    "class_read": 0.8,  # accuracy of the classifier that reads classes: below, it may misread one of them always
    "class_expected": 15.0,  # samples that a class should have: with fewer, a lack may be chance
    # over the floors; in brackets four splits of digits, n = 300
    "precision_right": 0.9,  # precision: above, samples look right (real: 1.01 to 1.03)
    "precision_poor": 0.6,  # precision: below, many samples look wrong
    "density_right": 0.7,  # density: below, samples lie apart from the data (real: .93 to 1.06; noise of .2: .64 to .83)
    "recall_poor": 0.85,  # recall: below, samples repeat themselves (without 3 classes: .69 to .82, without 1: .90 to .97)
    "recall_right": 0.9,  # recall: above, samples cover the data (real: .99 to 1.01)
    "told_apart": 0.8,  # two-sample tests: above, most samples are told from real data (all from half of its modes: .75)
    "mode_held": 0.2,  # share of a mode's fair mass from which it is held
    "bridges": 0.05,  # share of samples between the modes, above the floor's
    "narrow": 0.8,  # width of the modes over the true first: below, too narrow
    "wide": 1.25,  # above, too wide
    "blurred": 0.75,  # high-frequency power over real data's: below, blurred
    "grainy": 1.35,  # above, grainy
    "agreement": 0.9,  # share of samples recognised as the class they were asked to be, over that of real data
    "dimensions": 4,  # dimensions of the features, of more in the data: below, scores cannot be relied on
    "small": 200,  # samples on either side: below, scores are hardly worth reading
    "few": 2000,  # below, what the number of samples adds to a score is named
    "biased": 0.25,  # share of a score that this adds, from which it is named
    "matched": 1.1,  # ratio of parameter counts up to which they count as matched
    "faster": 1.2,  # a time ratio that counts as a difference
    "unequal_time": 1.15,  # training times that count as unequal
    "unequal_size": 2.0,  # parameter counts that count as unequal
}


@dataclass(frozen=True)
class Statistic:
    """One score of one row, with what it takes to compare it.

    Args:
        name: The row's name.
        value: The score.
        spread: Over the trainings, or over the samplings of a single one; None where unknown.
        width: The spread that counts: no less than the floor's.
        loss: The value turned so that less is better.
        interval: The ends of the 95 % interval; None where there is none.
        score: With values and errors; None where these are unknown.
        seeds: Of its samplings, where these may be compared one by one.
        comparisons: How many pairs are compared in this score.
    """

    name: str
    value: float
    spread: float | None
    width: float
    loss: float
    interval: tuple[float, float] | None = None
    score: Score | None = None
    seeds: tuple[int, ...] = ()
    comparisons: int = 1

    @property
    def bar(self) -> tuple[float, float] | None:
        """The ends of the bar that charts draw: the interval, else one spread either way; None where neither is known."""
        if self.interval is not None or self.spread is None:
            return self.interval
        return self.value - self.spread, self.value + self.spread

    def better_than(self, other: Statistic) -> bool:
        """Whether this one is measurably better."""
        return other.loss - self.loss > margin(self, other)

    @property
    def text(self) -> str:
        """The value as a scorecard has it: with its interval, else with its spread."""
        return with_spread(self.value, self.spread, self.interval)


def margin(first: Statistic, other: Statistic) -> float:
    """By how much two scores must differ to differ measurably: the one rule of all comparisons."""
    if first.score is None or other.score is None:
        return THRESHOLDS["differ"] * math.hypot(first.width, other.width)
    widths, comparisons = (first.width, other.width), max(first.comparisons, other.comparisons)
    return half_width(first.score, other.score, widths, first.seeds == other.seeds != (), comparisons)


def differ(gap: float, width: float, other: float) -> bool:
    """Whether a gap between a score and a bound of these spreads is more than noise."""
    return gap > THRESHOLDS["differ"] * math.hypot(width, other)


def with_spread(value: float | None, spread: float | None, interval: Sequence[float] | None = None) -> str:
    """Such as ``1.02 ± 0.05``; with an interval, which stands in place of the spread, ``1.02 [0.97, 1.07]``."""
    if interval is not None:
        return " ".join(bounded(value, interval))
    text, wide = measured(value, spread)
    return f"{text} ± {wide}" if wide else text


def rows_of(comparison: Comparison) -> list[ModelResult]:
    """Models, then the no-network row where there is one."""
    return [*comparison.models, *([] if comparison.baseline is None else [comparison.baseline])]


def groups(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """The scores that any row has, under the headings that their metrics declare: those that rank first, further checks last.

    The score that ranks models in quality and the share of copies stand first in their groups.
    """
    first = metric_for(comparison, "quality")
    known = dict.fromkeys([*comparison.metrics, *(name for row in rows_of(comparison) for name in row.scores)])
    names = sorted(known, key=lambda name: name != first)
    headings: dict[str, list[str]] = {}
    for name in names:
        scored = any(statistic(comparison, row, name) for row in rows_of(comparison))
        if scored or floor_of(comparison, name)[0] is not None:
            headings.setdefault(comparison.info(name).group, []).append(name)
    for together in headings.values():
        together.sort(key=lambda name: name not in (first, "near_copies"))
    ranking = {heading for heading, names in headings.items() if any(comparison.info(name).role for name in names)}
    return sorted(headings.items(), key=lambda item: (item[0] == FURTHER, item[0] not in ranking))


def floor_of(comparison: Comparison, metric: str) -> tuple[float | None, float]:
    """Value (or None) and spread (0 where unknown) of a metric's floor."""
    floor = comparison.floors.get(metric)
    return (None, 0.0) if floor is None else (floor.value, floor.spread or 0.0)


def target_of(comparison: Comparison, metric: str) -> float | None:
    """The ideal value of a "target" metric: what it declares, else the floor's."""
    declared = comparison.info(metric).target
    return declared if declared is not None else floor_of(comparison, metric)[0]


def _loss(comparison: Comparison, metric: str, value: float) -> float:
    better = comparison.info(metric).better
    if better == "target":
        target = target_of(comparison, metric)
        return value if target is None else abs(value - target)
    return -value if better == "higher" else value


def statistic(comparison: Comparison, row: ModelResult | None, metric: str) -> Statistic | None:
    """A row's score, or None where there is no finite one."""
    score = None if row is None else row.scores.get(metric)
    if row is None or score is None or score.value is None:
        return None
    width, ends = max(score.spread or 0.0, floor_of(comparison, metric)[1]), score.interval or ()
    interval = (ends[0], ends[1]) if len(ends) == 2 and None not in ends else None
    seeds = () if row.trainings or comparison.info(metric).better == "target" else row.sampling_seeds
    models = sum(metric in model.scores for model in comparison.models)
    comparisons, known = (
        max(models, models * (models - 1) // 2),
        score if score.values and score.reference_error is not None else None,
    )
    loss = _loss(comparison, metric, score.value)
    return Statistic(row.name, score.value, score.spread, width, loss, interval, known, seeds, comparisons)


def without_spread(comparison: Comparison, metric: str) -> bool:
    """Whether nothing says by how much a score varies: each model has a single value of it, without an error."""
    scores = [model.scores[metric] for model in comparison.models if metric in model.scores]
    return all(score.spread is None and score.error is None and not score.interval for score in scores)


def floor_statistic(comparison: Comparison, metric: str) -> Statistic | None:
    """Real data's score, as a single draw of its examples has it; None where it is unknown."""
    value, spread = floor_of(comparison, metric)
    draw = Score(value, spread, reference_error=0.0) if value is not None and comparison.floors[metric].values else None
    loss = 0.0 if value is None else _loss(comparison, metric, value)
    return None if value is None else Statistic("real data", value, spread or None, spread, loss, score=draw)


def guess_statistics(comparison: Comparison) -> dict[str, Statistic]:
    """What guesses without a model score, by metric, for metrics that have such a baseline of their own."""
    known = [(metric, statistic(comparison, row, metric)) for row in comparison.guesses for metric in row.scores]
    return {metric: score for metric, score in known if score is not None}


def ratio_of(row: ModelResult, metric: str) -> float | None:
    """A row's score over real data's as it was stored; None where the floor is too near zero to divide by."""
    return row.scores.get(metric, Score()).ratio


def statistics(comparison: Comparison, metric: str) -> list[Statistic]:
    """All models' scores, best first."""
    scored = [statistic(comparison, model, metric) for model in comparison.models]
    return sorted((score for score in scored if score is not None), key=lambda score: score.loss)


def leaders(comparison: Comparison, metric: str) -> list[Statistic]:
    """The best model and all that it is not measurably better than, best first; one alone is best."""
    return best_of(statistics(comparison, metric))


def best_of(ranked: Sequence[Statistic]) -> list[Statistic]:
    """The first of scores that are ordered, best first, and all that it is not measurably better than."""
    return [score for score in ranked if not ranked[0].better_than(score)]


def at_floor(comparison: Comparison, metric: str, score: Statistic) -> bool:
    """Whether a score is not measurably worse than what real data has."""
    floor = floor_statistic(comparison, metric)
    return floor is not None and not floor.better_than(score)


def blind(comparison: Comparison, metric: str) -> bool:
    """Whether a score tells nothing here, because the no-network row itself is not measurably worse than real data."""
    base = statistic(comparison, comparison.baseline, metric)
    return base is not None and at_floor(comparison, metric, base)


def metric_for(comparison: Comparison, role: Role) -> str | None:
    """The score by which the verdict ranks models in quality or diversity: of that role, the first that any model has."""
    known = [(info.priority, name) for name, info in comparison.metrics.items() if info.role == role]
    ranked = sorted(known, key=lambda item: item[0])
    return next((name for _, name in ranked if statistics(comparison, name)), None)


def main_metrics(comparison: Comparison) -> list[str]:
    """The scores by which the verdict ranks models in quality and in diversity, where any model has them."""
    return [metric for role in ROLES if (metric := metric_for(comparison, role)) is not None]


def curve_metric(comparison: Comparison) -> str:
    """The distance that curves over network calls show: the one that ranks models, or the Fréchet distance where they lack it."""
    best = metric_for(comparison, "quality")
    points = [*(point for model in comparison.models for point in model.curve)]
    points += [point for model in comparison.models if model.ladder is not None for point in model.ladder.points]
    return best if best is not None and any(best in point.scores for point in points) else "frechet"


def at_n(comparison: Comparison) -> str:
    """How many samples were compared, as it stands in a sentence; empty where unknown."""
    n = comparison.settings.n
    return "" if n is None else f" at n = {count(n)}"


def values_of(scores: Sequence[Statistic]) -> str:
    """Scores in a sentence: all of them, or the first and the last of many."""
    return listing([score.text for score in scores]) if len(scores) <= 3 else f"from {scores[0].text} to {scores[-1].text}"


def lacking(comparison: Comparison, metric: str | None = None) -> dict[str, tuple[Statistic, Statistic]]:
    """The models that do not beat the no-network row in a score, by name: each one's score and that of the row.

    A model that is not worse is left out where the score cannot tell: where real data does not beat the row, or not the model.
    ``metric`` is by default the score that ranks models in quality.
    """
    metric = metric or metric_for(comparison, "quality") or ""
    base = statistic(comparison, comparison.baseline, metric)
    ranked, unclear = statistics(comparison, metric), blind(comparison, metric)
    short = [] if base is None else [(own, base) for own in ranked if not own.better_than(base)]
    clear = [(own, base) for own, base in short if base.better_than(own) or not (unclear or at_floor(comparison, metric, own))]
    return {own.name: (own, base) for own, base in clear}
