"""How to read the scorecards."""

from __future__ import annotations

from pushforward.evaluation.results import Comparison
from pushforward.numbers import plain
from pushforward.report.bars import SPREAD, has_intervals, has_trainings, sampled
from pushforward.report.bias import bias_note, copies_note, unbiased_note
from pushforward.report.statistics import THRESHOLDS, without_spread

__all__ = ["score_note"]


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
    factor = plain(THRESHOLDS["differ"])
    best = (
        " “Best” stands where one model is ahead of all others, and of the no-network row, by more than noise: more than "
        f"{factor} times the spread of the difference, √(v² + w²) of spreads v and w. A spread smaller than that of real data "
        "counts as that of real data, because a few samplings can agree by luck."
    )
    overlap = (
        " Intervals play no part in this. They hold the error of the held-out examples too, which is the same for all models, "
        "so two models can differ although their intervals overlap."
    )
    unsure = (
        " No model is called best in a score with neither an interval nor a spread: each was sampled once, and nothing says what "
        "another sampling would change."
    )
    scored = [metric for metric in comparison.metrics if sum(metric in model.scores for model in comparison.models) > 1]
    lacking = any(without_spread(comparison, metric) for metric in scored)
    ranked = best + overlap * bounds + unsure * lacking if len(comparison.models) > 1 else ""
    return f"{what}{beside}{ranked}{''.join(f' {note}' for note in notes if note)}"
