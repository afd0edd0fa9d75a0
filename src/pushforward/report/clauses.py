"""In which scores of samples, besides the one by which models are ranked, they differ measurably."""

from __future__ import annotations

from pushforward.evaluation.results import Comparison
from pushforward.report.rounding import target_text
from pushforward.report.sentences import inside, named
from pushforward.report.statistics import statistics

__all__ = ["differences"]


def differences(comparison: Comparison, metric: str) -> list[str]:
    """The scores of samples, besides the one compared, in which the best model is measurably ahead of the worst."""
    clauses = []
    for other in ("w2", "coverage", "recall", "density"):
        ranked = statistics(comparison, other) if other != metric else []
        if len(ranked) > 1 and ranked[0].better_than(ranked[-1]):
            first, last = ranked[0], ranked[-1]
            values = f"{first.text} for {named([first.name])}, {last.text} for {named([last.name])}"
            target = target_text(comparison, other) if comparison.info(other).better == "target" else ""
            right = f"; {target} is right" if target else ""
            clauses.append(f"{inside(comparison.info(other).label)} ({values}{right})")
    return clauses
