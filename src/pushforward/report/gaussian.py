"""What the Fréchet distance of points says where it ranks no model first, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report.sentences import Sentence, inside, marked, named
from pushforward.report.statistics import Statistic, best_of, metric_for, statistic, statistics

__all__ = ["gaussian_distance"]

BY_GAUSSIANS = "frechet"
SEPARATING = ("w2", "sliced_w2", "energy", "coverage")
"""The scores that may tell models apart which the Fréchet distance does not, the first that does is named."""
BASELINE = "no network"


def gaussian_distance(comparison: Comparison) -> Sentence | None:
    """Which models the Fréchet distance of points does not tell apart, or from no network, and which score does.

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
    return Sentence("distance", f"{which} {text}; {_separated(comparison, rows)}.", "scorecard")


def _alike(lead: Sequence[Statistic], level: bool) -> str:
    """That leaders are not told apart, or from no network."""
    if len(lead) == 1:
        return f"{marked(lead[0].name)} is not measurably ahead of {BASELINE}"
    return f"{named([score.name for score in lead])} do not differ measurably{f', nor from {BASELINE}' if level else ''}"


def _separated(comparison: Comparison, rows: Sequence[ModelResult]) -> str:
    """The first score by which two of these rows differ measurably."""
    for metric in SEPARATING:
        best, worst = _ends(comparison, rows, metric)
        if best is not None and worst is not None and best.better_than(worst):
            values = f"{best.text} for {_name(comparison, best)}, {worst.text} for {_name(comparison, worst)}"
            return f"{inside(comparison.info(metric).label)} tells them apart ({values})"
    return "no other distance tells them apart"


def _ends(comparison: Comparison, rows: Sequence[ModelResult], metric: str) -> tuple[Statistic | None, Statistic | None]:
    """The best and the worst score of these rows."""
    scored = [score for row in rows if (score := statistic(comparison, row, metric)) is not None]
    ranked = sorted(scored, key=lambda score: score.loss)
    return (ranked[0], ranked[-1]) if len(ranked) > 1 else (None, None)


def _name(comparison: Comparison, score: Statistic) -> str:
    is_base = comparison.baseline is not None and score.name == comparison.baseline.name
    return BASELINE if is_base else marked(score.name)
