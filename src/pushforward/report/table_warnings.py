"""Warnings about samples of tables: an attack that names training rows, and columns that give samples away."""

from __future__ import annotations

from collections.abc import Iterator

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import finite_all, listing, plain
from pushforward.report.sentences import Sentence, marked, warning, with_values
from pushforward.report.statistics import THRESHOLDS, Statistic, differ, floor_of, floor_statistic, statistic

__all__ = ["TABLE_RULES", "told_by"]

ATTACKS = ("membership", "membership_ratio")
TELLING = 0.01
"""How far an area must fall where a column is shuffled for the column to be named."""


def _attacked(comparison: Comparison) -> Iterator[Sentence]:
    """Models whose samples alone let an attacker rank training rows above others, by more than noise."""
    named = {model.name: text for model in comparison.models if (text := _attack(comparison, model))}
    if named:
        yield warning(
            f"Memorisation: an attacker who has samples of {with_values(named)} tells training rows from new rows better than by "
            "chance, AUC 0.5. Another attack may reach more."
        )


def _attack(comparison: Comparison, model: ModelResult) -> str:
    """The AUC of the attack that reaches most, with its interval; empty where none is measurably above chance."""
    scores = [score for metric in ATTACKS if (score := _above_chance(comparison, model, metric)) is not None]
    if not scores:
        return ""
    value, interval = max(scores)
    return f"AUC {plain(value, 2)}, 95 % interval {plain(interval[0], 2)} to {plain(interval[1], 2)}"


def _above_chance(comparison: Comparison, model: ModelResult, metric: str) -> tuple[float, tuple[float, float]] | None:
    score, (floor, spread) = statistic(comparison, model, metric), floor_of(comparison, metric)
    if score is None or score.interval is None or score.interval[0] <= 0.5:
        return None
    gap = score.value - max(0.5, floor or 0.5)
    if gap < THRESHOLDS["attack"] or not differ(gap, score.width, spread):
        return None
    return score.value, score.interval


def _given_away(comparison: Comparison) -> Iterator[Sentence]:
    """By which columns trees tell samples from real rows, of models that are measurably worse than real data there."""
    floor, parts = floor_statistic(comparison, "detection"), []
    for model in comparison.models:
        score, columns = statistic(comparison, model, "detection"), told_by(model)
        if score is not None and columns and (floor is None or _below(score, floor)):
            parts.append(f"{marked(model.name)} by {listing(map(marked, columns))}")
    if parts:
        yield warning(f"Boosted trees tell samples from real rows most by these columns: {'; '.join(parts)}.", "columns")


def _below(score: Statistic, floor: Statistic) -> bool:
    """Whether a score and its whole interval are below real data's, whose spread comes from few redraws."""
    return floor.better_than(score) and (score.interval is None or score.interval[1] < floor.value)


def told_by(model: ModelResult) -> list[str]:
    """The columns by which most samples of a model are told from real rows, three at most, the first the most telling."""
    score = model.scores.get("detection")
    extra = {} if score is None else score.extra
    falls = dict(zip(extra.get("columns", ()), finite_all(extra.get("falls")), strict=False))
    ranked = sorted(falls, key=lambda name: -falls[name])
    return [name for name in ranked[:3] if falls[name] >= TELLING]


TABLE_RULES = (_attacked, _given_away)
"""What comes after other warnings of what samples took from data."""
