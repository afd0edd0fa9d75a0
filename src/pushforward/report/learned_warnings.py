"""Warnings about what samples took from data: a class that is missing, copies, held-out examples."""

from __future__ import annotations

from collections.abc import Iterator

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.numbers import finite_all, listing
from pushforward.report.rounding import floor_text, value_text
from pushforward.report.sample_warnings import memorised
from pushforward.report.sentences import Sentence, marked, warning, with_values
from pushforward.report.statistics import THRESHOLDS, differ, floor_of, statistic

__all__ = ["LEARNED_RULES"]


def _missing_classes(comparison: Comparison) -> Iterator[Sentence]:
    """Classes of which samples show hardly any, where enough are expected for that not to be chance."""
    if (comparison.settings.classifier_accuracy or 0.0) < THRESHOLDS["class_read"]:
        return
    lost = {model.name: rare for model in comparison.models if (rare := _rare(comparison, model))}
    if lost:
        parts = listing(f"{marked(name)} shows too little of {listing(rare)}" for name, rare in lost.items())
        yield warning(f"Classes are missing: {parts}.", "samples")


def _rare(comparison: Comparison, model: ModelResult) -> list[str]:
    extra, n = model.scores.get("class_distance", Score()).extra, comparison.settings.n or 0
    real, share = (finite_all(extra.get(side)) for side in ("real", "share"))
    return [
        f"{marked(name)} ({round(100 * part)} % where real data has {round(100 * wanted)} %)"
        for name, part, wanted in zip(comparison.data.classes, share, real, strict=False)
        if n * wanted >= THRESHOLDS["class_expected"] and part < THRESHOLDS["class_held"] * wanted
    ]


def _copying(comparison: Comparison) -> Iterator[Sentence]:
    """Samples nearer to training examples than new data, and not to held-out ones too, as blurred ones are; if no near-copies."""
    known, floor = memorised(comparison), floor_of(comparison, "copying_test")[0] or 0.0
    near = {}
    for model in comparison.models:
        score, side = statistic(comparison, model, "copying_test"), _side(comparison, model)
        if score is not None and score.value < min(0.0, floor) + THRESHOLDS["copying"] and side < 0 and model.name not in known:
            near[model.name] = f"C_T {value_text(comparison, 'copying_test', score)}"
    if near:
        yield warning(f"Memorisation: samples of {with_values(near)} are nearer to training examples than held-out examples are.")


def _held_out_seen(comparison: Comparison) -> Iterator[Sentence]:
    """Samples that are nearest to held-out examples more often than chance: no score against these means anything."""
    floor = floor_text(comparison, "held_out_ratio")
    beside = f", real data {floor}" if floor else ""
    seen = {
        model.name: f"{value_text(comparison, 'held_out_ratio', score)} times as many as by chance{beside}"
        for model in comparison.models
        if _side(comparison, model) > 0 and (score := statistic(comparison, model, "held_out_ratio")) is not None
    }
    if seen:
        yield warning(
            f"Held-out examples were learned: too many of the real examples nearest to samples of {with_values(seen)} are held "
            "out, so scores against them mean nothing."
        )


def _side(comparison: Comparison, model: ModelResult) -> int:
    """1 where samples are measurably nearer to held-out examples than real data is, -1 to training examples, 0 for neither."""
    score = statistic(comparison, model, "held_out_ratio")
    if score is None:
        return 0
    value, spread = floor_of(comparison, "held_out_ratio")
    gap = score.value - (1.0 if value is None else value)
    stated = model.scores["held_out_ratio"]
    error = stated.error or 0.0  # of samples that are all alike it is large, and their spread is not
    if gap > 0:  # so few may be reached that chance alone looks like held-out examples that were seen
        error = max(error, stated.extra.get("tail", 0.0))
    if abs(gap) < THRESHOLDS["held_out_ratio"] or not differ(abs(gap), max(score.width, error), spread):
        return 0
    return 1 if gap > 0 else -1


LEARNED_RULES = (_missing_classes, _copying, _held_out_seen)
"""What comes after the first warnings of samples."""
