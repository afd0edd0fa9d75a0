"""What a small number of samples alone adds to a score, in words."""

from __future__ import annotations

from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, listing, plain
from pushforward.report.sentences import inside

__all__ = ["bias_note", "biases"]


def biases(comparison: Comparison) -> dict[str, float]:
    """By score how much of it is due to the number of samples, for scores that have such a bias.

    It is what real data scores at this n, else the metric's own estimate, the mean over models. The estimate of the Fréchet
    distance is that of independent draws; examples that were split by class agree better (digits: .009 for .020).
    """
    values: dict[str, list[float]] = {}
    for model in comparison.models:
        for name, score in model.scores.items():
            if score.bias is not None and score.value is not None:
                values.setdefault(name, []).append(score.bias)
    floors = {name: floor.value for name, floor in comparison.floors.items() if floor.value is not None}
    return {name: floors.get(name, sum(some) / len(some)) for name, some in values.items()}


def bias_note(comparison: Comparison) -> str:
    """How much of the scores is due to the number of samples, as a sentence; empty where it is not known."""
    n, known = comparison.settings.n, biases(comparison)
    if n is None or not known:
        return ""
    parts = [f"{plain(bias, 2)} in {inside(comparison.info(name).label)}" for name, bias in known.items()]
    too = ", as real data does" if known.keys() & comparison.floors.keys() else ""
    return f"At n = {count(n)} a perfect model would score about {listing(parts)}{too}: a bias, which shrinks like 1/n."
