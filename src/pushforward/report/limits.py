"""What a comparison cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pushforward.evaluation.figures import Absent, Pictures
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, listing, plain
from pushforward.report.bars import sampled
from pushforward.report.sentences import inside, unmarked, verb
from pushforward.report.speeds import sessions
from pushforward.report.statistics import THRESHOLDS, at_n, floor_statistic, main_metrics, statistics
from pushforward.report.tables import Cell, Column, Row, Table

__all__ = ["limits", "noise_limits", "noise_table", "not_stored", "without_pictures"]

IN_PAIRS = (
    " Samples of one model in different numbers of calls start from the same noise and are compared in pairs: there a smaller "
    "difference is enough."
)
"""Why less is required between the points of a ladder."""


def noise_limits(comparison: Comparison) -> str:
    """How far apart two models must be at least in the scores that rank them, and why; empty where no floor is known.

    The rule is that of `pushforward.report.statistics`.
    """
    ranking = main_metrics(comparison)
    known = {metric: least for metric, least in _least(comparison).items() if metric in ranking}
    parts = [f"{least} in {inside(comparison.info(metric).label)}" for metric, least in known.items()]
    where = at_n(comparison).strip().capitalize() or "Here"
    least = f"{where}, two models must differ by at least {listing(parts)}: read a smaller difference as none."
    pairs = IN_PAIRS if any(model.ladder is not None for model in comparison.models) else ""
    return f"{least} {_spreads(comparison, list(known))}{pairs}" if parts else ""


def _spreads(comparison: Comparison, metrics: Sequence[str]) -> str:
    """From which spreads the least differences follow, and when more is required."""
    draws = sorted(len(comparison.floors[metric].values) for metric in metrics)
    over = f"{' to '.join(dict.fromkeys(map(count, (draws[0], draws[-1]))))} draws" if draws[0] else "draws"
    which = "That is" if len(metrics) == 1 else "These are"
    factor, least = plain(THRESHOLDS["differ"]), plain(THRESHOLDS["differ"] * math.sqrt(2), 2)
    text = f"{which} {factor}√2 = {least} times the spread of real data's score, over {over} of as many real examples."
    if all(score.spread is None for metric in metrics for score in statistics(comparison, metric)):
        return f"{text} The models have no spread of their own: each score was measured once."
    spreads = f"v and w are the models' spreads ({sampled(comparison)}), each at least that of real data"
    return f"{text} Where a model's spread is larger, two models must differ by {factor}√(v² + w²): {spreads}."


def noise_table(comparison: Comparison) -> Table | None:
    """How far apart two models must be at least in each score; None where `noise_limits` says all that is known."""
    known = _least(comparison)
    if set(known) <= set(main_metrics(comparison)):
        return None
    rows = [Row(comparison.info(metric).label, [Cell(least)], "key") for metric, least in known.items()]
    return Table([Column("Two models must differ by at least", hint=at_n(comparison).strip())], rows)


def _least(comparison: Comparison) -> dict[str, str]:
    """By score the difference below which no two models differ, in percentage points where the score is a share."""
    known = {}
    for metric in comparison.metrics:
        floor = floor_statistic(comparison, metric)
        if floor is not None and floor.width > 0 and statistics(comparison, metric):
            unit = comparison.info(metric).unit
            share = unit == "%"
            width = plain(2 * floor.half * (100 if share else 1), 2)
            known[metric] = f"{width} {'percentage points' if share else unit}".strip()
    return known


def without_pictures(comparison: Comparison) -> str:
    """Which models' samples are not shown, why, and where they are; empty where all are, or nothing is known of the data."""
    # Scores of bare samples name no model whose pictures could be missing.
    models = [model for model in comparison.models if model.run or model.sampling.calls is not None]
    lacking: dict[Absent | None, list[ModelResult]] = {}
    for model in models:
        drawn = comparison.pictures.get(model.name, Pictures())
        if drawn.grid is None:
            lacking.setdefault(drawn.absent, []).append(model)
    if not lacking or not comparison.data.shape:
        return ""
    sentences = []
    for absent, group in lacking.items():
        whose = "" if len(group) == len(comparison.models) else f" of {_names(group)}"
        why = "" if absent is None else f", and {absent.value[len(group) > 1]}"
        sentences.append(f"Pictures of samples{whose} are not shown: report.json does not hold them{why}.")
    return " ".join([*sentences, "See report.html beside it."])


def not_stored(comparison: Comparison) -> str:
    """Which pictures of joined reports are not shown, because only the report that was joined has them; empty where all are."""
    drawn = [model for model in comparison.models if comparison.pictures.get(model.name, Pictures()).grid is not None]
    if comparison.settings.timed is None or not drawn:
        return ""
    moving = [model for model in drawn if (model.sampling.calls or 1) > 1 and not comparison.pictures[model.name].formation]
    coded = [model for model in drawn if model.latent is not None and comparison.pictures[model.name].latent is None]
    parts = [f"the way from noise to samples ({_names(moving)})"] if moving else []
    parts += [f"pictures of codes ({_names(coded)})"] if coded else []
    return f"Not shown here, as report.json does not hold it: {listing(parts)}. See report.html beside it." if parts else ""


def limits(comparison: Comparison) -> list[str]:
    """What this comparison cannot show."""
    noise = noise_limits(comparison)
    sentences = [noise] if noise else []
    sentences += _on_trainings(comparison)
    if comparison.settings.features:
        sentences.append(
            f"Scores are computed in these features: {unmarked(comparison.settings.features)}. "
            "They are not comparable with published ones."
        )
    if missing := without_pictures(comparison):
        sentences.append(missing)
    if len(sessions(comparison)) > 1:
        sentences.append("Times were measured in different sessions, maybe on other machines, and do not compare between them.")
    else:
        sentences.append("Times were measured on the machine below, and say little about another one.")
    return sentences


def _on_trainings(comparison: Comparison) -> list[str]:
    """What the intervals leave out; a value of a single training says nothing of another one."""
    many = [model for model in comparison.models if len(model.trainings) > 1]
    once = [model for model in comparison.models if len(model.trainings) < 2]
    sentences = []
    if once:
        who = f"{_names(once)} {verb(once, 'was', 'were')}" if many else "Each model was"
        sentences.append(
            f"{who} trained once: intervals and spreads are those of sampling, and another training seed can change the order."
        )
    if many:
        counts = sorted({len(model.trainings) for model in many})
        who = f" of {_names(many)}" if once else ""
        sentences.append(
            f"The spread{who} is over {listing(map(str, counts))} trainings (at least that over samplings), "
            "which give only a rough estimate. Pictures, losses over training and curves are those of the first training."
        )
    return sentences


def _names(models: Sequence[ModelResult]) -> str:
    return listing(unmarked(model.name) for model in models)
