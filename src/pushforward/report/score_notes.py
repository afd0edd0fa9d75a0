"""How to read the scorecards."""

from __future__ import annotations

from pushforward.evaluation.results import Comparison
from pushforward.numbers import plain
from pushforward.report.bars import SPREAD, has_intervals, has_trainings, sampled
from pushforward.report.bias import bias_note, copies_note, unbiased_note
from pushforward.report.statistics import THRESHOLDS, without_spread

__all__ = ["rule", "score_note"]


def rule(comparison: Comparison) -> str:
    """When two scores differ measurably (`margin`), in words."""
    if any(score.reference_terms for model in comparison.models for score in model.scores.values()):
        return (
            "Two scores differ measurably where the 95 % interval of their difference excludes 0. Samplings of the same seeds "
            "and the same held-out examples are compared in pairs, so that what all models share drops out and scores can differ "
            "although their own intervals overlap; the level is divided by the number of pairs of models."
        )
    return (
        f"Two scores differ measurably from {plain(THRESHOLDS['differ'])} times the spread of their difference on, √(v² + w²) of "
        "spreads v and w, of which none counts as less than that of real data: a few samplings can agree by luck."
    )


def score_note(comparison: Comparison, ratio: str = "") -> str:
    """How to read the scorecards.

    Args:
        comparison: What is reported.
        ratio: Where the ratio stands, such as "beneath"; nothing where it is not shown.
    """
    measured_from, notes = sampled(comparison), [note(comparison) for note in (bias_note, unbiased_note, copies_note)]
    beside = f" {ratio[:1].upper()}{ratio[1:]} stands the ratio to what real data scores." if ratio else ""
    bounds = has_intervals(comparison)
    what = f"[low, high] is the 95 % interval of a score, {measured_from}; ± is the {SPREAD}, where there is no interval."
    if not bounds:
        what = f"Means ± spread, {measured_from}."
    if not bounds and comparison.settings.repeats == 1 and not has_trainings(comparison):
        once = "The samples are one part" if all(model.given for model in comparison.models) else "Each model was sampled once"
        what = f"{once}; ± is the spread of real data over several samplings."
    best = f" “Best” stands where one model is measurably ahead of all others, and of the no-network row. {rule(comparison)}"
    unsure = (
        " No model is called best in a score with neither an interval nor a spread: each was sampled once, and nothing says what "
        "another sampling would change."
    )
    scored = [metric for metric in comparison.metrics if sum(metric in model.scores for model in comparison.models) > 1]
    lacking = any(without_spread(comparison, metric) for metric in scored)
    ranked = best + unsure * lacking if len(comparison.models) > 1 else ""
    return f"{what}{beside}{ranked}{''.join(f' {note}' for note in notes if note)}"
