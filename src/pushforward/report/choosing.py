"""For whom each model is the right one, by rules over the scores, the times and what a model can do besides."""

from __future__ import annotations

from dataclasses import dataclass

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Role
from pushforward.numbers import duration, listing
from pushforward.report.sentences import inside, marked, named
from pushforward.report.speeds import Speed, speeds, times_as_long
from pushforward.report.statistics import Statistic, at_floor, blind, leaders, metric_for, statistic, statistics

__all__ = ["Choice", "choices"]


@dataclass(frozen=True)
class Choice:
    """One line: the number of the model, and marked text (`pushforward.report.sentences`)."""

    index: int
    text: str


def choices(comparison: Comparison) -> list[Choice]:
    """One line for each model, "choose X if ..."; none where there is nothing to choose between or by."""
    if len(comparison.models) < 2 or not (speeds(comparison) or metric_for(comparison, "quality")):
        return []
    return [Choice(index, _line(comparison, model)) for index, model in enumerate(comparison.models)]


def _line(comparison: Comparison, model: ModelResult) -> str:
    short = _short_of_no_network(comparison, model)
    if short:
        return short
    reasons = [*_leading(comparison, model, "quality"), *_leading(comparison, model, "diversity"), *_fast(comparison, model)]
    if model.latent is not None:
        reasons.append("you need codes of your data")
    others = _better(comparison, model)
    if not reasons and others:
        return f"No score speaks for {marked(model.name)}: {others}."
    reasons = reasons or _between(comparison, model)
    if not reasons:
        return f"Nothing that was measured speaks for {marked(model.name)} or against it."
    return f"Choose {marked(model.name)} if {' or if '.join(reasons)}."


def _short_of_no_network(comparison: Comparison, model: ModelResult) -> str:
    """Why a model that does not beat a Gaussian is not to be chosen; empty where it does, or where the score cannot tell.

    A score that a Gaussian passes can still show that a model is worse than it.
    """
    metric = metric_for(comparison, "quality")
    own = None if metric is None else statistic(comparison, model, metric)
    base = None if metric is None else statistic(comparison, comparison.baseline, metric)
    if metric is None or own is None or base is None or own.better_than(base):
        return ""
    worse = base.better_than(own)
    if not worse and (blind(comparison, metric) or at_floor(comparison, metric, own)):
        return ""
    how = "it is worse than" if worse else "it does not beat"
    label = inside(comparison.info(metric).label)
    return (
        f"Do not choose {marked(model.name)} as it is: {how} no network in {label} ({own.text} against {base.text}). "
        "Train it longer, or look at its warnings."
    )


def _leading(comparison: Comparison, model: ModelResult, role: Role) -> list[str]:
    """Whether a model leads in quality or diversity; nothing where all do, or where it does not beat no network."""
    metric = metric_for(comparison, role)
    if metric is None or blind(comparison, metric):
        return []
    lead, ranked = leaders(comparison, metric), statistics(comparison, metric)
    own = next((score for score in lead if score.name == model.name), None)
    base = statistic(comparison, comparison.baseline, metric)
    if own is None or len(lead) == len(ranked) or (base is not None and not own.better_than(base)):
        return []
    label = inside(comparison.info(metric).label)
    if len(lead) == 1:
        return [f"{label} counts most ({own.text})"]
    beside = [score.name for score in lead if score is not own]
    return [f"{label} counts ({own.text}; no measurable difference to {named(beside)})"]


def _fast(comparison: Comparison, model: ModelResult) -> list[str]:
    timed = speeds(comparison)
    own = next((speed for speed in timed if speed.name == model.name), None)
    if own is None or len(timed) < 2 or any(speed.low is None for speed in timed):
        return []
    near = [speed for speed in timed if times_as_long(timed[0], speed) is None]
    return [f"samples must come fast ({duration(own.seconds)} each)"] if own in near and len(near) < len(timed) else []


def _rivals(comparison: Comparison, model: ModelResult) -> tuple[Statistic, Speed, list[tuple[Statistic, Speed]]] | None:
    """A model's quality and time, and those of the others; None where either is unknown."""
    metric = metric_for(comparison, "quality")
    times = {speed.name: speed for speed in speeds(comparison)}
    scores = {} if metric is None else {score.name: score for score in statistics(comparison, metric)}
    if model.name not in times or model.name not in scores:
        return None
    others = [(scores[name], times[name]) for name in scores if name in times and name != model.name]
    return scores[model.name], times[model.name], others


def _better(comparison: Comparison, model: ModelResult) -> str:
    """Which models are measurably better and measurably no slower."""
    rivals, metric = _rivals(comparison, model), metric_for(comparison, "quality")
    if rivals is None or metric is None or blind(comparison, metric):
        return ""
    own, time, others = rivals
    ahead = [score for score, speed in others if score.better_than(own) and times_as_long(time, speed) is None]
    if not ahead:
        return ""
    label, verb = inside(comparison.info(metric).label), "is" if len(ahead) == 1 else "are"
    values = listing(f"{marked(score.name)} ({score.text})" for score in ahead)
    return f"{values} {verb} measurably better in {label} than its {own.text}, and no slower"


def _between(comparison: Comparison, model: ModelResult) -> list[str]:
    """Of a model between others: faster than those that are better, better than those that are faster."""
    rivals, metric = _rivals(comparison, model), metric_for(comparison, "quality")
    if rivals is None or metric is None or blind(comparison, metric):
        return []
    own, time, others = rivals
    faster = [score.name for score, speed in others if own.better_than(score) and times_as_long(speed, time) is not None]
    better = [score.name for score, speed in others if score.better_than(own) and times_as_long(time, speed) is not None]
    label = inside(comparison.info(metric).label)
    parts = [f"a better {label} than {named(faster)}"] if faster else []
    parts += [f"less time for a sample than {named(better)}"] if better else []
    return [f"you want {listing(parts)} ({own.text}, {duration(time.seconds)} each)"] if parts else []
