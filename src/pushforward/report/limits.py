"""What a comparison cannot show."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import listing, plain
from pushforward.report.sentences import inside, unmarked, verb
from pushforward.report.statistics import at_n, floor_statistic, metric_for, statistics

__all__ = ["limits", "noise_limits"]


def noise_limits(comparison: Comparison, only: Collection[str] | None = None) -> str:
    """From which difference on each score tells anything; empty where no floor is known.

    Args:
        comparison: What is reported.
        only: Names of scores; None takes those that rank quality and diversity.
    """
    ranking = [metric_for(comparison, role) for role in ("quality", "diversity")] if only is None else only
    parts = []
    for metric in comparison.metrics:
        floor = floor_statistic(comparison, metric)
        if metric in ranking and floor is not None and floor.width > 0 and statistics(comparison, metric):
            parts.append(f"{plain(2 * floor.half, 2)} in {inside(comparison.info(metric).label)}")
    where = at_n(comparison).strip().capitalize() or "Here"
    return f"{where}, differences below {listing(parts)} are noise." if parts else ""


def limits(comparison: Comparison) -> list[str]:
    """What this comparison cannot show."""
    noise = noise_limits(comparison, comparison.metrics)
    sentences = [noise] if noise else []
    sentences += _on_trainings(comparison)
    if comparison.settings.features:
        sentences.append(
            f"Scores are computed in these features: {unmarked(comparison.settings.features)}. "
            "They are not comparable with published ones."
        )
    if len(comparison.data.shape) == 3 and not comparison.pictures:
        sentences.append("Pictures of samples are not shown: report.json does not hold them. See report.html beside it.")
    sentences.append("Times were measured on the machine below, and say little about another one.")
    return sentences


def _on_trainings(comparison: Comparison) -> list[str]:
    """What the intervals leave out; a value of a single training says nothing of another one."""
    many = [model for model in comparison.models if len(model.trainings) > 1]
    once = [model for model in comparison.models if len(model.trainings) < 2]
    sentences = []
    if once:
        who = f"{_names(once)} {verb(once, 'was', 'were')}" if many else "Each model was"
        sentences.append(
            f"{who} trained once: intervals and spreads are those of sampling, and another training seed can change the order."
        )
    if many:
        counts = sorted({len(model.trainings) for model in many})
        who = f" of {_names(many)}" if once else ""
        sentences.append(
            f"The spread{who} is over {listing(map(str, counts))} trainings (at least that over samplings), "
            "which give only a rough estimate. Pictures, losses over training and curves are those of the first training."
        )
    return sentences


def _names(models: Sequence[ModelResult]) -> str:
    return listing(unmarked(model.name) for model in models)
