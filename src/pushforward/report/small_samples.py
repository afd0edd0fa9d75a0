"""A warning about scores that are bias in good part, since few samples were compared."""

from __future__ import annotations

from collections.abc import Iterator

from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, plain
from pushforward.report.bias import biases
from pushforward.report.sentences import Sentence, inside, named
from pushforward.report.statistics import THRESHOLDS

__all__ = ["bias_warnings"]


def bias_warnings(comparison: Comparison) -> Iterator[Sentence]:
    """Scores of quality that at a small n consist of bias in good part."""
    n = comparison.settings.n
    if n is None or n >= THRESHOLDS["few"]:
        return
    for name, bias in biases(comparison).items():
        values = {model.name: model.scores[name].value for model in comparison.models if name in model.scores}
        most = [model for model, value in values.items() if value is not None and bias > THRESHOLDS["biased"] * value]
        if most and comparison.info(name).role is not None:
            text = (
                f"At n = {count(n)} about {plain(bias, 2)} of every {inside(comparison.info(name).label)} is bias that more "
                f"samples would remove, more than {THRESHOLDS['biased']:.0%} of that of {named(most)}: compare at equal n only."
            )
            yield Sentence("warning", text.replace("%", " %"), "scorecard")
