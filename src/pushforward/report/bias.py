"""What a small number of samples alone adds to a score, in words."""

from __future__ import annotations

from collections.abc import Iterator

from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, listing, plain
from pushforward.report.sentences import Sentence, inside, named
from pushforward.report.statistics import THRESHOLDS

__all__ = ["bias_note", "bias_warnings"]


def _biases(comparison: Comparison) -> dict[str, float]:
    """By score how much of it is due to the number of samples, where that is known: the mean over models."""
    values: dict[str, list[float]] = {}
    for model in comparison.models:
        for name, score in model.scores.items():
            if score.bias is not None and score.value is not None:
                values.setdefault(name, []).append(score.bias)
    return {name: sum(some) / len(some) for name, some in values.items()}


def bias_note(comparison: Comparison) -> str:
    """How much of the scores is due to the number of samples, as a sentence; empty where it is not known."""
    n, biases = comparison.settings.n, _biases(comparison)
    if n is None or not biases:
        return ""
    parts = [f"{plain(bias, 2)} of the {inside(comparison.info(name).label)}" for name, bias in biases.items()]
    return f"With n = {count(n)} about {listing(parts)} would stand there for a perfect model too, and falls like 1/n."


def bias_warnings(comparison: Comparison) -> Iterator[Sentence]:
    """Scores of quality that at a small n consist of bias in good part."""
    n = comparison.settings.n
    if n is None or n >= THRESHOLDS["few"]:
        return
    for name, bias in _biases(comparison).items():
        values = {model.name: model.scores[name].value for model in comparison.models if name in model.scores}
        most = [model for model, value in values.items() if value is not None and bias > THRESHOLDS["biased"] * value]
        if most and comparison.info(name).role is not None:
            text = (
                f"At n = {count(n)} about {plain(bias, 2)} of every {inside(comparison.info(name).label)} is bias that more "
                f"samples would remove, more than {THRESHOLDS['biased']:.0%} of that of {named(most)}: compare at equal n only."
            )
            yield Sentence("warning", text.replace("%", " %"), "scorecard")
