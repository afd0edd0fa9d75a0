"""What a comparison cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import listing, plain
from pushforward.report.score_notes import rule
from pushforward.report.sentences import inside, unmarked, verb
from pushforward.report.speeds import sessions
from pushforward.report.statistics import at_n, main_metrics, margin, statistics

__all__ = ["limits", "noise_limits", "not_stored", "without_pictures"]

IN_PAIRS = (
    " Samples of one model in different numbers of calls start from the same noise as well, so that a smaller difference is "
    "enough."
)
"""Why less is required between the points of a ladder."""


def noise_limits(comparison: Comparison) -> str:
    """By how much two models must differ in the scores that rank them, and why; empty where it is not known."""
    parts = []
    for metric in main_metrics(comparison):
        margins = sorted(margin(*pair) for pair in combinations(statistics(comparison, metric), 2))
        if margins and margins[-1] > 0:
            info = comparison.info(metric)
            share = info.unit == "%"
            span = " to ".join(dict.fromkeys(plain(end * (100 if share else 1), 2) for end in (margins[0], margins[-1])))
            unit = " percentage points" if share else f" {info.unit}".rstrip()
            parts.append(f"{span}{unit} in {inside(info.label)}")
    where = at_n(comparison).strip().capitalize() or "Here"
    pairs = IN_PAIRS if any(model.ladder is not None for model in comparison.models) else ""
    least = f"{where}, two models must differ by {listing(parts)}: read a smaller difference as none."
    return f"{least} {rule(comparison)}{pairs}" if parts else ""


def without_pictures(comparison: Comparison) -> str:
    """Which models' samples are not shown, why, and where they are; empty where all are, or nothing is known of the data."""
    # Scores of bare samples name no model whose pictures could be missing.
    models = [model for model in comparison.models if model.run or model.sampling.calls is not None]
    lacking = [model for model in models if comparison.pictures.get(model.name, Pictures()).grid is None]
    if not lacking or not comparison.data.shape:
        return ""
    whose = "" if len(lacking) == len(comparison.models) else f" of {_names(lacking)}"
    return f"Pictures of samples{whose} are not shown: report.json does not hold them. See report.html beside it."


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
            "which give only a rough estimate. Pictures and losses over training are those of the first training."
        )
    return sentences


def _names(models: Sequence[ModelResult]) -> str:
    return listing(unmarked(model.name) for model in models)
