"""What a small number of samples or rows does to a score, in words."""

from __future__ import annotations

from pushforward.evaluation.results import Comparison
from pushforward.numbers import count, listing, plain
from pushforward.report.rounding import floor_text
from pushforward.report.sentences import inside

__all__ = ["bias_note", "bias_text", "biases", "copies_note", "unbiased_note"]


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
    floors = _floors(comparison)
    return {name: floors.get(name, sum(some) / len(some)) for name, some in values.items()}


def bias_text(comparison: Comparison, metric: str, bias: float) -> str:
    """One of `biases`, in the digits of the scorecard where real data's score is there."""
    return floor_text(comparison, metric) or plain(bias, 2)


def bias_note(comparison: Comparison) -> str:
    """How much of the scores is due to the number of samples, as a sentence; empty where it is not known."""
    n, known = comparison.settings.n, biases(comparison)
    if n is None or not known:
        return ""
    parts = [f"{bias_text(comparison, name, bias)} in {inside(comparison.info(name).label)}" for name, bias in known.items()]
    too = ", as real data does" if known.keys() & _floors(comparison).keys() else ""
    return f"At n = {count(n)} a perfect model would score about {listing(parts)}{too}: a bias, which shrinks like 1/n."


def unbiased_note(comparison: Comparison) -> str:
    """Which scores of real data are about 0 and may be negative, as a sentence; empty where there are none."""
    labels = []
    for name, info in comparison.metrics.items():
        may_be_negative = info.unbiased and info.better == "lower" and info.least is None and not info.unit
        if may_be_negative and name in comparison.floors and any(name in model.scores for model in comparison.models):
            labels.append(inside(info.label))
    if not labels:
        return ""
    some = listing(labels)
    return (
        f"{some[:1].upper()}{some[1:]} {'is' if len(labels) == 1 else 'are'} unbiased: real data scores about 0, and may score "
        "below 0 by more than the spread, because all draws are compared with the same held-out examples."
    )


def copies_note(comparison: Comparison) -> str:
    """What a score that sees only some of the training rows cannot see, as a sentence; empty where it is not shown."""
    if not any("nearer_training" in model.scores for model in comparison.models):
        return ""
    return (
        f"“{comparison.info('nearer_training').label}” looks at as many training rows as there are held-out rows, so most copies "
        "of the others go unseen: 50 % does not mean that there are none."
    )


def _floors(comparison: Comparison) -> dict[str, float]:
    """What real data scores, where it is known."""
    return {name: floor.value for name, floor in comparison.floors.items() if floor.value is not None}
