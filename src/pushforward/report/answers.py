"""The first screen of every report: what is best, how clearly, what is copied, how fast, what is wrong, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Score
from pushforward.numbers import count, duration_unit, percent, plain, some
from pushforward.report.finding_conditions import THRESHOLDS, collapsed, enough_steps
from pushforward.report.findings import Finding, findings
from pushforward.report.statistics import (
    NAMED,
    Statistic,
    alarm_periods,
    at_floor,
    baseline_name,
    floor_of,
    floor_text,
    inside,
    named,
    sessions,
    slower,
    standing,
    statistic,
    statistics,
    times_real,
    value_text,
)
from pushforward.training.loop.budget import PASSES, STEPS
from pushforward.training.monitor.alarms import IMPROVED

LONGEST = 10.0  # How many times the budget is worth extending; beyond, a smaller network or smaller images are advised
LARGE = 32  # Pixels along a side from which smaller images are advised rather than a smaller network
ADVICE = 3  # Sentences of advice at most


def answers(comparison: Comparison) -> dict[str, str]:
    """Answer the questions with which a report is opened, by heading; of a single model Quality and Baseline come first."""
    found = findings(comparison)
    metric = comparison.ranking_metric("quality")
    if metric is None:
        lines = {"Best": "Nothing was scored by which models are ranked"}
    elif len(comparison.models) == 1:
        lines = {"Quality": _quality(comparison, metric), "Baseline": _baseline(comparison, metric)}
    else:
        lines = {"Best": _best(comparison, metric), "Clear?": standing(comparison, metric)}
    lines["Privacy" if comparison.data.kind == "row" else "Copies"] = _copies(comparison, found)
    lines["Speed"] = _speed(comparison)
    lines["Problems"] = _problems(comparison, found)
    lines["Next"] = _next(comparison)
    return {heading: text if text.endswith("`") else f"{text.rstrip('.')}." for heading, text in lines.items() if text}


# Best, Quality, Baseline ----------------------------------------------------------------------------------------


def _best(comparison: Comparison, metric: str) -> str:
    """The best model's score beside real data's, and the scores of the others, as multiples of real data's where they are."""
    best, *others = statistics(comparison, metric)
    times = [_times(comparison, metric, score) for score in (best, *others)]
    values = times if all(times) else [value_text(comparison, metric, score) for score in (best, *others)]
    rest = some(f"{other.name} {value}" for other, value in zip(others, values[1:], strict=True))
    first = f"{best.name}: {_beside_real(comparison, metric, best)}"
    return f"{first}. {rest}{' times' if all(times) else ''}" if rest else first


def _times(comparison: Comparison, metric: str, score: Statistic) -> str:
    lower = comparison.info(metric).better == "lower"
    return times_real(comparison, comparison[score.name], metric) if lower else ""


def _beside_real(comparison: Comparison, metric: str, score: Statistic) -> str:
    text = f"{inside(comparison.info(metric).label)} {value_text(comparison, metric, score)}"
    times = _times(comparison, metric, score)
    if times:
        return f"{text}, {times} times that of real data"
    floor = floor_text(comparison, metric)
    return f"{text}, real data {floor}" if floor else text


def _quality(comparison: Comparison, metric: str) -> str:
    (score,) = statistics(comparison, metric)
    text = _beside_real(comparison, metric, score)
    if not floor_text(comparison, metric):
        return text
    near = at_floor(comparison, metric, score)
    if metric == "detection":
        hardly = near or score.value >= THRESHOLDS["hardly_told"]
        return f"{text}: a classifier {'hardly tells' if hardly else 'can tell'} samples from real rows"
    return f"{text}: {'not clearly worse' if near else 'clearly worse'} than real data (95 %)"


def _baseline(comparison: Comparison, metric: str) -> str:
    """What a model without a network scores, and whether the difference is clear."""
    own = statistics(comparison, metric)[0]
    base = statistic(comparison, comparison.baseline, metric)
    if base is None:
        return ""
    said = f"{baseline_name(comparison)}, without a network: {value_text(comparison, metric, base)}"
    if own.better_than(base):
        return f"{said}; {own.name} is clearly better (95 %)"
    if base.better_than(own):
        return f"{said}; {own.name} is clearly worse (95 %)"
    return f"{said}; the difference is not clear{_at_n(comparison)}"


def _at_n(comparison: Comparison) -> str:
    return "" if comparison.settings.n is None else f" at n = {count(comparison.settings.n)}"


# Copies, Speed, Problems ----------------------------------------------------------------------------------------


def _copies(comparison: Comparison, found: Sequence[Finding]) -> str:
    warned = [finding.text for finding in found if finding.kind == "copies"]
    scores = statistics(comparison, "near_copies")
    if warned or not scores:
        return " ".join(warned) or "not measured"
    noun = comparison.data.kind or "example"
    most = max(score.value for score in scores)
    at_most = "at most " if most and len(scores) > 1 else ""
    floor, _ = floor_of(comparison, "near_copies")
    beside = "" if floor is None else f" (real data {percent(floor)})"
    parts = [f"{at_most}{percent(most)} of samples nearly repeat a training {noun}{beside}"]
    attacks = statistics(comparison, "membership")
    if attacks:
        auc = max(score.value for score in attacks)
        parts.append(f"an attacker tells training rows from new ones with an AUC of {auc:.2f} (chance is 0.5)")
    return f"none found: {'; '.join(parts)}"


def _speed(comparison: Comparison) -> str:
    """The time of a sample of each model, the fastest first; models that are not clearly apart share a range."""
    timed = [(model.sampling.seconds_per_sample, model) for model in comparison.models if model.sampling.seconds_per_sample]
    apart = len(sessions(comparison)) > 1
    groups: list[list[tuple[float, ModelResult]]] = []
    for seconds, model in sorted(timed, key=lambda pair: pair[0]):
        if groups and not apart and _equally_fast(groups[-1][0][1], model):
            groups[-1].append((seconds, model))
        else:
            groups.append([(seconds, model)])
    factor, unit = duration_unit(max((seconds for seconds, _ in timed), default=0.0))
    single = len(comparison.models) == 1
    parts: list[str] = []
    for group in groups:
        names = "" if single else f"{named(model.name for _, model in group)} "
        ends = dict.fromkeys(plain(seconds / factor, 2) for seconds, _ in (group[0], group[-1]))
        parts.append(f"{names}{' to '.join(ends)}{'' if parts else f' {unit} a sample'}")
    note = " (measured in different sessions, so times cannot be compared)" if apart else ""
    return some(parts) + note


def _equally_fast(fast: ModelResult, slow: ModelResult) -> bool:
    known = fast.sampling.timing.high is not None and slow.sampling.timing.low is not None
    return known and slower(fast, slow) is None


def _problems(comparison: Comparison, found: Sequence[Finding]) -> str:
    """What is wrong with each model in a few words; models with the same problems together."""
    single = len(comparison.models) == 1
    general = [finding.text.rstrip(".") for finding in found if finding.kind == "measure" and not finding.models]
    grouped: dict[str, list[str]] = {}
    for model in comparison.models:
        about = [finding for finding in found if finding.short and model.name in finding.models]
        words = list(dict.fromkeys(finding.short.format(said=finding.models[model.name]) for finding in about))
        words += _worst_columns(model) if single else []
        if words:
            grouped.setdefault(", ".join(words), []).append(model.name)
    said = [words if single else f"{named(names)}: {words}" for words, names in grouped.items()]
    return ". ".join([*general, *said[:NAMED]]) or "none found"


def _worst_columns(model: ModelResult) -> list[str]:
    """The column and the pair of columns of a table that are farthest from real data."""
    said = []
    for metric, what, errors in (("column_error", "column", "errors"), ("pair_error", "pair", "matrix")):
        extra = model.scores.get(metric, Score()).extra
        values = np.array(extra.get(errors, ()), dtype=float)
        if np.isfinite(values).any():
            places = np.unravel_index(np.nanargmax(values), values.shape)
            names = " and ".join(extra["columns"][place] for place in places)
            said.append(f"worst {what} {names} (error {percent(values[places])})")
    return said


# Next -----------------------------------------------------------------------------------------------------------


def _next(comparison: Comparison) -> str:
    """What to do next with the models, the best one first; the same advice stands once, with the command of its first model."""
    grouped: dict[tuple[str, bool], list[ModelResult]] = {}
    for model in comparison.models:
        for advice in (_training_advice(comparison, model), (enough_steps(comparison, model), False)):
            if advice[0]:
                grouped.setdefault(advice, []).append(model)
    said = []
    for (words, resume), models in grouped.items():
        every = "all" if len(models) > 1 and len(models) == len(comparison.models) else ""
        names = "" if len(comparison.models) == 1 else f"{every or named(model.name for model in models)}: "
        command = f": `{models[0].extension}`" if resume and models[0].extension else ""
        said.append(f"{names}{words}{command}")
    return "; ".join(said[:ADVICE])


def _training_advice(comparison: Comparison, model: ModelResult) -> tuple[str, bool]:
    """What training suggests, and whether it is to be resumed."""
    alarms = [begin.advice for begin, end in alarm_periods(model) if end is None and begin.advice]
    lost = bool(collapsed(comparison, model))
    if alarms or lost:
        advice = alarms[-1] if alarms else "lower the learning rate"
        return f"{'collapsed' if lost else 'an alarm stands at the end of training'}: {advice}, and train again", False
    if not model.extension:
        return "", False
    cost = model.training
    lacks = {"training steps": STEPS / (cost.steps or math.inf)}
    lacks["passes over the data"] = PASSES * (comparison.data.train or 0) / (cost.samples or math.inf)
    what = max(lacks, key=lambda name: lacks[name])
    smaller = _smaller(comparison, model)
    if lacks[what] > LONGEST and smaller:
        rate = plain((cost.steps or 0) / (cost.seconds or math.inf), 2)
        return f"{rate} training steps a second are too few for this budget: train again with {smaller}", False
    if lacks[what] > 1:
        return f"too few {what}, train longer", True
    metric = comparison.ranking_metric("quality") or ""
    score = statistic(comparison, model, metric)
    if score is not None and at_floor(comparison, metric, score):
        label = inside(comparison.info(metric).label)
        return f"nothing left to gain by {label}, which cannot distinguish samples from real data{_at_n(comparison)}", False
    return f"{'was still improving' if _improving(model) else 'not yet as good as real data'}, train longer", True


def _smaller(comparison: Comparison, model: ModelResult) -> str:
    """The option that makes training steps faster; empty where there is none."""
    if comparison.data.kind == "image" and max(comparison.data.shape[1:]) > LARGE:
        return f"--resize {LARGE}"
    asked = model.config.get("asked") or {}
    return "" if asked.get("size") == "tiny" else "--size tiny"


def _improving(model: ModelResult) -> bool:
    """Whether the distance that was measured while training fell in its last third."""
    series = None if model.health is None else model.health.series.get("frechet")
    values = [] if series is None else [value for value in series.value if value is not None]
    earlier = values[: 2 * len(values) // 3]
    return bool(earlier) and values[-1] < IMPROVED * min(earlier)
