"""What the Fréchet distance of points says where it ranks no model first, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import listing
from pushforward.report.sentences import Sentence, inside, marked, named
from pushforward.report.statistics import Statistic, best_of, metric_for, statistic, statistics

__all__ = ["gaussian_distance"]

BY_GAUSSIANS = "frechet"
SEPARATING = ("w2", "sliced_w2", "energy", "coverage")
"""The scores that may separate what the Fréchet distance does not; the first that does is named."""
BASELINE = "no network"


def gaussian_distance(comparison: Comparison) -> Sentence | None:
    """Which models the Fréchet distance of points does not tell apart, or from no network, and which score separates which pair.

    Of points it compares mean and covariance alone, so that a single Gaussian may score as well as any model. None where it
    ranks the models, which the verdict says, or where one model is ahead of all others and of no network.
    """
    if metric_for(comparison, "quality") in (None, BY_GAUSSIANS) or len(comparison.data.shape) != 1:
        return None
    ranked = statistics(comparison, BY_GAUSSIANS)
    lead, base = best_of(ranked), statistic(comparison, comparison.baseline, BY_GAUSSIANS)
    if len(ranked) < 2 or (len(lead) == 1 and (base is None or lead[0].better_than(base))):
        return None
    label = inside(comparison.info(BY_GAUSSIANS).label)
    which = f"In {label}, which compares mean and covariance of points alone,"
    beaten = base is not None and all(base.better_than(score) for score in ranked)
    level = base is not None and not any(score.better_than(base) for score in lead)
    among = ranked if beaten else lead
    text = f"{BASELINE} is ahead of {named([score.name for score in ranked])}" if beaten else _alike(lead, level)
    rows = [row for row in comparison.models if row.name in {score.name for score in among}]
    rows += [comparison.baseline] if comparison.baseline is not None and level else []
    return Sentence("distance", f"{which} {text}{_others(comparison, rows, beaten)}.", "scorecard")


def _alike(lead: Sequence[Statistic], level: bool) -> str:
    """That leaders are not told apart, or from no network."""
    if len(lead) == 1:
        return f"{marked(lead[0].name)} is not measurably ahead of {BASELINE}"
    return f"{named([score.name for score in lead])} do not differ measurably{f', nor from {BASELINE}' if level else ''}"


def _others(comparison: Comparison, rows: Sequence[ModelResult], beaten: bool) -> str:
    """What the other scores say of these rows: the first that separates two of them, and which; empty where they have none.

    Where no network is ahead of all models (``beaten``), only pairs with no network count, first those in which a model is ahead.
    """
    alike = []
    for metric in SEPARATING:
        scores = [score for row in rows if (score := statistic(comparison, row, metric)) is not None]
        pairs = [(better, worse) for better in scores for worse in scores if better.better_than(worse)]
        if beaten:
            ahead = [pair for pair in pairs if _name(comparison, pair[1]) == BASELINE]
            pairs = ahead or [pair for pair in pairs if _name(comparison, pair[0]) == BASELINE]
        label = inside(comparison.info(metric).label)
        if pairs:
            return f"; {_separated(comparison, label, max(pairs, key=lambda pair: pair[1].loss - pair[0].loss), beaten)}"
        alike += [label] if len(scores) > 1 else []
    names = [marked(row.name) for row in comparison.models if row in rows] + [BASELINE] * (comparison.baseline in rows)
    same = f"no model differs measurably from {BASELINE}" if beaten else f"{listing(names)} do not differ measurably either"
    return f"; in {listing(alike)} {same}" if alike else ""


def _separated(comparison: Comparison, label: str, pair: tuple[Statistic, Statistic], beaten: bool) -> str:
    """That a score separates a pair, the better first, or what it says of the order where no network was ahead."""
    better, worse = (_name(comparison, score) for score in pair)
    values = f"({pair[0].text} for {better}, {pair[1].text} for {worse})"
    if not beaten:
        return f"{label} separates {better} from {worse} {values}"
    if worse == BASELINE:
        return f"in {label} the order is reversed: {better} is ahead of {worse} {values}"
    return f"in {label} as well {better} is ahead of {worse} {values}"


def _name(comparison: Comparison, score: Statistic) -> str:
    is_base = comparison.baseline is not None and score.name == comparison.baseline.name
    return BASELINE if is_base else marked(score.name)
