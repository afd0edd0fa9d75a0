"""Where two feature spaces disagree in the order of models."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from pushforward.evaluation.results import Comparison
from pushforward.numbers import listing
from pushforward.report.sentences import Sentence, inside, named, unmarked
from pushforward.report.statistics import statistic

__all__ = ["disagreements"]


def disagreements(comparison: Comparison) -> Iterator[Sentence]:
    """Pairs of models of which one is measurably better in the first space and measurably worse in another."""
    first, *others = comparison.settings.spaces or ("",)
    for space in others:
        names = [name.removesuffix(f" ({space})") for name in comparison.metrics if name.endswith(f" ({space})")]
        for model, other in permutations(comparison.models, 2):
            labels = [
                inside(comparison.info(name).label)
                for name in names
                if _ahead(comparison, name, model.name, other.name)
                and _ahead(comparison, f"{name} ({space})", other.name, model.name)
            ]
            if labels:
                yield Sentence(
                    "warning",
                    f"{named([model.name])} is ahead of {named([other.name])} in {unmarked(first)} features and behind in "
                    f"{unmarked(space)} features: do not rank these two by {listing(labels)}.",
                    "scorecard",
                )


def _ahead(comparison: Comparison, metric: str, name: str, other: str) -> bool:
    """Whether one model is measurably better than another."""
    score, rival = (statistic(comparison, comparison[model], metric) for model in (name, other))
    return score is not None and rival is not None and score.better_than(rival)
