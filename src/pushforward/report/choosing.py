"""For whom each model is the right one, by rules over the scores, the times and what a model can do besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import ROLES, Role
from pushforward.numbers import listing
from pushforward.report.clauses import differences
from pushforward.report.sentences import inside, marked, named, with_values
from pushforward.report.speeds import Speed, each, sessions, spanned, speeds, times_as_long
from pushforward.report.statistics import (
    Statistic,
    at_floor,
    at_n,
    blind,
    lacking,
    leaders,
    main_metrics,
    metric_for,
    statistic,
    statistics,
    values_of,
)
from pushforward.report.warnings import warnings

__all__ = ["Choice", "choices"]

MANY = 4
"""Models whose names and times a line lists; of more it says where they lie."""
Level = Mapping[Role, Sequence[Statistic]]
"""The models that do not differ, by what they do not differ in."""
Short = Mapping[str, tuple[Statistic, Statistic]]
"""Scores of models that do not beat no network, each with that of the no-network row, by name."""


@dataclass(frozen=True)
class Choice:
    """One line: the names of the models that it is about, and marked text (`pushforward.report.sentences`)."""

    names: tuple[str, ...]
    text: str


def choices(comparison: Comparison) -> list[Choice]:
    """Lines of "choose X if ..."; of models that do not differ, one line says so and what decides between them.

    None where there is nothing to choose between or by.
    """
    if len(comparison.models) < 2 or not (speeds(comparison) or metric_for(comparison, "quality")):
        return []
    short = lacking(comparison)
    level = {role: _level(comparison, short, role) for role in ROLES}
    lines = _between_equals(comparison, level["quality"], level["diversity"])
    lines += _for(comparison, [model for model in comparison.models if model.name not in short], level)
    silent = [model.name for model in comparison.models if model.name not in {*short, *(n for line in lines for n in line.names)}]
    behind = {metric: _behind(comparison, metric, silent) for metric in main_metrics(comparison)}
    silent = [name for name in silent if not _judged(comparison, name) and not any(name in pairs for pairs in behind.values())]
    for first in dict.fromkeys(_besides(comparison, name) for name in silent):
        names = [name for name in silent if _besides(comparison, name) == first]
        text = f"{first}othing that was measured speaks for {named(names)} or against {'it' if len(names) == 1 else 'them'}."
        lines.append(Choice(tuple(names), text))
    against = [line for metric, pairs in behind.items() for line in _against(comparison, pairs, metric)]
    return _not_proven(comparison, short) + lines + _against(comparison, short, metric_for(comparison, "quality") or "") + against


def _behind(comparison: Comparison, metric: str, names: Sequence[str]) -> Short:
    """Of models for which nothing speaks, those that are measurably worse than no network in a score."""
    base = statistic(comparison, comparison.baseline, metric)
    scores = [score for score in statistics(comparison, metric) if score.name in names]
    low = [own for own in scores if not at_floor(comparison, metric, own)]
    return {own.name: (own, base) for own in low if base is not None and base.better_than(own)}


def _judged(comparison: Comparison, name: str) -> bool:
    """Whether a warning names a model, or the verdict says that it differs measurably from another in some score."""
    quality = metric_for(comparison, "quality")
    level = quality is not None and len(leaders(comparison, quality)) == len(statistics(comparison, quality)) > 1
    differ = [] if quality is None or not level else differences(comparison, quality)
    warned = [sentence.marked for sentence in warnings(comparison) if sentence.kind == "warning"]
    return any(marked(name) in text for text in [*differ, *warned])


def _level(comparison: Comparison, short: Short, role: Role) -> list[Statistic]:
    """The models that lead in quality or diversity and do not differ in it measurably; none where a single one leads.

    Models do not lead that do not beat no network. A score that cannot tell models from it has leaders where all are level.
    """
    metric = metric_for(comparison, role)
    if metric is None:
        return []
    base = statistic(comparison, comparison.baseline, metric)
    lead = [score for score in leaders(comparison, metric) if score.name not in short]
    if not blind(comparison, metric):
        lead = [score for score in lead if base is None or score.better_than(base)]
    elif len(lead) < len(comparison.models):
        return []
    return lead if len(lead) > 1 else []


def _between_equals(comparison: Comparison, level: Sequence[Statistic], varied: Sequence[Statistic]) -> list[Choice]:
    """That models do not differ in quality or diversity, and what decides between those that do not differ in quality."""
    lines, labels = [], [inside(comparison.info(metric_for(comparison, role) or "").label) for role in ROLES]
    names, others = [score.name for score in level], [score.name for score in varied]
    same, every = set(names) == set(others), len(comparison.models)
    if level:
        where = f"{at_n(comparison)} ({values_of(level)})."
        if len(level) == every:
            who = named(names) if every <= MANY else "These models"
            text = f"{who} do not differ measurably in {' or '.join(labels[: 1 + same])}{where}"
        else:
            them = "either" if same else "it"
            text = (
                f"Choose {_or(names)} if {' or '.join(labels[: 1 + same])} counts: they do not differ measurably in {them}{where}"
            )
        lines.append(Choice(tuple(names), f"{text} {_deciding(comparison, names)}".strip()))
    if varied and not same and len(varied) < every:
        where = f"{at_n(comparison)} ({values_of(varied)})."
        text = f"Choose {_or(others)} if {labels[1]} counts: they do not differ measurably in it{where}"
        lines.append(Choice(tuple(others), text))
    return lines


def _not_proven(comparison: Comparison, short: Short) -> list[Choice]:
    """That models score as no network does, by a score of quality by which real data does so too."""
    metric = metric_for(comparison, "quality")
    base = None if metric is None else statistic(comparison, comparison.baseline, metric)
    if metric is None or base is None or not blind(comparison, metric):
        return []
    names = [score.name for score in statistics(comparison, metric) if not score.better_than(base) and score.name not in short]
    label = inside(comparison.info(metric).label)
    who = f"Neither {marked(names[0])} nor {marked(names[1])} beats" if len(names) == 2 else _no(names)
    return [Choice(tuple(names), f"{who} no network in {label}, which cannot show here that a model is good.")] if names else []


def _no(names: Sequence[str]) -> str:
    return f"{marked(names[0])} does not beat" if len(names) == 1 else f"None of {named(names)} beats"


def _or(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(map(marked, names[:-1])), marked(names[-1])]))


def _deciding(comparison: Comparison, names: Sequence[str]) -> str:
    """How long a sample takes, in how many calls, of models that do not differ in quality; empty where it is not known."""
    timed = [speed for speed in speeds(comparison) if speed.name in names]
    if len(timed) < len(names) or any(speed.low is None for speed in timed):
        return ""
    if all(times_as_long(timed[0], speed) is None for speed in timed):
        return f"Nor do they in the time of a sample: {spanned(timed)}."
    if len(timed) > MANY:
        near = [speed for speed in timed if times_as_long(timed[0], speed) is None]
        text = f"{named([speed.name for speed in near])} {'takes' if len(near) == 1 else 'take'} {spanned(near)}"
        return f"What decides is the time of a sample: {text}, the others up to {timed[-1].text}."
    return f"What decides is the time of a sample: {listing(f'{marked(speed.name)} {speed.text}' for speed in timed)}."


def _for(comparison: Comparison, models: Sequence[ModelResult], level: Level) -> list[Choice]:
    """What speaks for models, besides what is said of those that do not differ; of those with the same reasons in one line."""
    groups: dict[object, list[ModelResult]] = {}
    for model in models:
        kinds = tuple(_reasons(comparison, model, level))
        groups.setdefault(kinds if kinds and not {"quality", "diversity"} & set(kinds) else model.name, []).append(model)
    lines = []
    for group in groups.values():
        names, reasons = [model.name for model in group], _reasons(comparison, group[0], level)
        if len(group) > 1 and "fast" in reasons:
            reasons["fast"] = _must_be_fast([speed for speed in speeds(comparison) if speed.name in names])
        equal = names[0] in {score.name for score in level["quality"]}
        others = _better(comparison, group[0])
        if not reasons and not equal:
            reasons = {} if others else _between(comparison, group[0])
        if reasons:
            lines.append(Choice(tuple(names), f"Choose {_or(names)} if {' or if '.join(reasons.values())}."))
        elif others:
            lines.append(
                Choice(tuple(names), f"{_besides(comparison, names[0])}o score speaks for {marked(names[0])}: {others}.")
            )
    return lines


def _besides(comparison: Comparison, name: str) -> str:
    """How a line begins on a model for which nothing speaks: "N", after the scores in which the verdict calls it best."""
    ahead = [
        inside(comparison.info(metric).label)
        for metric in main_metrics(comparison)
        if name in {score.name for score in leaders(comparison, metric)}
        and len(leaders(comparison, metric)) < len(statistics(comparison, metric))
    ]
    return f"Besides {listing(ahead)}, n" if ahead else "N"


def _reasons(comparison: Comparison, model: ModelResult, level: Level) -> dict[str, str]:
    """What speaks for a model alone, by kind: "quality", "diversity", "fast" or "codes"."""
    equal = {role: model.name in {score.name for score in scores} for role, scores in level.items()}
    reasons: dict[str, str] = {role: text for role in ROLES if not equal[role] and (text := _leading(comparison, model, role))}
    timed = speeds(comparison)
    near = [speed for speed in timed if times_as_long(timed[0], speed) is None]
    known = len(timed) > 1 and all(speed.low is not None for speed in timed)
    fast = known and len(near) < len(timed) and model.name in {speed.name for speed in near}
    if fast and not equal["quality"] and not _better(comparison, model):
        reasons["fast"] = _must_be_fast([speed for speed in near if speed.name == model.name])
    if model.latent is not None:
        reasons["codes"] = "you need codes of your data"
    return reasons


def _must_be_fast(near: Sequence[Speed]) -> str:
    return f"samples must come fast ({each(near)})"


def _against(comparison: Comparison, short: Short, metric: str) -> list[Choice]:
    """One line on the models that are worse than no network in a score, and one on those that do not beat it."""
    label, lines = inside(comparison.info(metric).label), []
    every = len(comparison.models)
    none_yet = ("Neither is good yet. " if every == 2 else "None of them is good yet. ") if len(short) == every else ""
    for is_worse in (False, True):
        scores = [own for own, base in short.values() if base.better_than(own) == is_worse]
        if not scores:
            continue
        names, single = [own.name for own in scores], len(scores) == 1
        they, are, them, their = ("it", "is", "it", "its") if single else ("they", "are", "them", "their")
        warned = any(model.warnings or model.alarms for model in comparison.models if model.name in names)
        or_look = f", or look at {their} warnings" if warned else ""
        because = f"{they} {are} worse than" if is_worse else f"{they} {'does' if single else 'do'} not beat"
        against = next(base.text for _, base in short.values())
        text = (
            f"{none_yet}Do not choose {named(names)} as {they} {are}: {because} no network in {label} "
            f"({values_of(scores)} against {against}). Train {them} longer{or_look}."
        )
        lines.append(Choice(tuple(names), text))
        none_yet = ""
    return lines


def _leading(comparison: Comparison, model: ModelResult, role: Role) -> str:
    """Whether a model leads in quality or diversity; empty where all do, or where it does not beat no network."""
    metric = metric_for(comparison, role)
    if metric is None or blind(comparison, metric):
        return ""
    lead, ranked = leaders(comparison, metric), statistics(comparison, metric)
    own = next((score for score in lead if score.name == model.name), None)
    base = statistic(comparison, comparison.baseline, metric)
    if own is None or len(lead) == len(ranked) or (base is not None and not own.better_than(base)):
        return ""
    label = inside(comparison.info(metric).label)
    if len(lead) == 1:
        return f"{label} counts most ({own.text})"
    beside = [score.name for score in lead if score is not own]
    return f"{label} counts ({own.text}; no measurable difference to {named(beside)})"


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
    """Which models are measurably better and no slower; of models that were timed in several sessions those that are better."""
    rivals, metric = _rivals(comparison, model), metric_for(comparison, "quality")
    if rivals is None or metric is None or blind(comparison, metric):
        return ""
    (own, time, others), apart = rivals, len(sessions(comparison)) > 1
    ahead = [score for score, speed in others if score.better_than(own) and (apart or times_as_long(time, speed) is None)]
    if not ahead:
        return ""
    label, verb = inside(comparison.info(metric).label), "is" if len(ahead) == 1 else "are"
    values = with_values({score.name: score.text for score in ahead})
    return f"{values} {verb} measurably better in {label} than its {own.text}{'' if apart else ', and no slower'}"


def _between(comparison: Comparison, model: ModelResult) -> dict[str, str]:
    """Of a model between others: faster than those that are better, better than those that are faster."""
    rivals, metric = _rivals(comparison, model), metric_for(comparison, "quality")
    if rivals is None or metric is None or blind(comparison, metric):
        return {}
    own, time, others = rivals
    faster = [score.name for score, speed in others if own.better_than(score) and times_as_long(speed, time) is not None]
    better = [score.name for score, speed in others if score.better_than(own) and times_as_long(time, speed) is not None]
    label = inside(comparison.info(metric).label)
    parts = [f"a better {label} than {named(faster)}"] if faster else []
    parts += [f"less time for a sample than {named(better)}"] if better else []
    return {"between": f"you want {listing(parts)} ({own.text}, {each([time])})"} if parts else {}
