"""The first screen of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Score
from pushforward.numbers import count, duration_unit, listing, percent, plain, plural, some
from pushforward.report.findings import findings
from pushforward.report.model_findings import Finding, beside_real, collapsed, hardly_told, texts
from pushforward.report.statistics import (
    NAMED,
    alarm_periods,
    at_real_data,
    baseline_name,
    blind,
    capitalised,
    curve_metric,
    label_in_sentence,
    main_metrics,
    named,
    real_data_score_of,
    real_data_statistic,
    real_data_text,
    sessions,
    standing,
    statistic,
    statistics,
    times_real,
    value_text,
)
from pushforward.report.steps_curves import curve_scores
from pushforward.training.loop.budget import PASSES, STEPS


def answers(comparison: Comparison) -> dict[str, str]:
    """Return the answers of the first screen by heading."""
    found = findings(comparison)
    metric = comparison.ranking_metric("quality")
    lines = {}
    if metric is None:
        lines["Best"] = "No score that ranks models was measured."
    elif len(comparison.models) == 1:
        lines["Quality"] = _quality(comparison, metric)
        lines["Baseline"] = _baseline(comparison, metric)
    else:
        lines["Best"] = _best(comparison, metric)
        lines["Clear?"] = standing(comparison, metric)
    copies = _copies(comparison, found)
    data = comparison.data
    if data.train and data.left_out and not all(model.run for model in comparison.models):
        copies += f" Columns that were left out are not compared: {some(data.left_out)}."
    lines["Privacy" if data.kind == "row" else "Copies"] = copies
    lines["Speed"] = _speed(comparison)
    lines["Problems"] = _problems(comparison, found)
    lines["Next"] = _next(comparison)
    return {heading: text for heading, text in lines.items() if text}


# Best, Quality, Baseline ------------------------------------------------------------------------


def _best(comparison: Comparison, metric: str) -> str:
    scores = statistics(comparison, metric)
    values = [value_text(comparison, metric, score) for score in scores]
    best = scores[0]
    label = label_in_sentence(comparison, metric)
    text = f"{best.name} has the best {label} ({values[0]})"
    ratios = [times_real(comparison, comparison[score.name], metric) for score in scores]
    if comparison.info(metric).better == "lower" and all(ratios):
        text += f", {ratios[0]} times that of real data"
        values = [f"{ratio} times" for ratio in ratios]
    else:
        text = beside_real(text, real_data_text(comparison, metric))
    text += "."
    followers = [f"{score.name} ({value})" for score, value in zip(scores, values, strict=True)][1:]
    if followers:
        text += f" It is followed by {named(followers)}."
    if blind(comparison, metric):
        where = f"from real data{_at_n(comparison)}"
        text += f" This score cannot distinguish the baseline {where}, so it says little."
    return text


def _quality(comparison: Comparison, metric: str) -> str:
    (score,) = statistics(comparison, metric)
    real = real_data_statistic(comparison, metric)
    label = label_in_sentence(comparison, metric)
    text = f"The {label} is {value_text(comparison, metric, score)}"
    if real is None:
        return f"{text}."
    text = f"{beside_real(text, real_data_text(comparison, metric))}."
    if metric == "detection" and hardly_told(score):
        return f"{text} A classifier can hardly tell samples from real rows{_at_n(comparison)}."
    if metric == "detection" and real.better_than(score):
        return f"{text} A classifier can tell samples from real rows."
    if real.better_than(score):
        return f"{text} The difference is significant (95 %)."
    if score.better_than(real):
        copies = "which may be a sign of copies"
        return f"{text} Samples score significantly better than real data, {copies}."
    text += f" The difference is not significant{_at_n(comparison)} (95 %)"
    if blind(comparison, metric):
        text += ", but neither is that of the baseline"
    return f"{text}."


def _baseline(comparison: Comparison, metric: str) -> str:
    (own,) = statistics(comparison, metric)
    base = statistic(comparison, comparison.baseline, metric)
    if base is None:
        return ""
    name = capitalised(baseline_name(comparison))
    text = f"{name} scores {value_text(comparison, metric, base)}."
    if own.better_than(base):
        return f"{text} {own.name} is significantly better (95 %)."
    if base.better_than(own):
        return f"{text} {own.name} is significantly worse (95 %)."
    return f"{text} The difference is not significant{_at_n(comparison)}."


def _at_n(comparison: Comparison) -> str:
    if comparison.settings.n is None:
        return ""
    return f" at n = {count(comparison.settings.n)}"


# Copies, Speed ----------------------------------------------------------------------------------


def _copies(comparison: Comparison, found: Sequence[Finding]) -> str:
    warned = texts(found, "copies")
    scores = statistics(comparison, "unique_texts")
    unique = [score for score in scores if not at_real_data(comparison, "unique_texts", score)]
    if unique:
        most = percent(max(score.value for score in unique))
        warned.append(f"Up to {most} of samples contain a text that only one training row has.")
    if warned:
        return " ".join(warned)
    scores = statistics(comparison, "near_copies")
    if not scores:
        if comparison.data.train:
            return "Copies were not measured."
        return "Copies were not measured. They need the training data: `train`."
    noun = comparison.data.kind or "example"
    most_copies = max(score.value for score in scores)
    if most_copies == 0:
        text = f"No sample is a near-copy of a training {noun}."
    else:
        fraction = percent(most_copies)
        if len(scores) > 1:
            fraction = f"At most {fraction}"
        text = (
            f"Copying was not detected. {fraction} of samples are near-copies of a training {noun}"
        )
        real_data_score, _ = real_data_score_of(comparison, "near_copies")
        if real_data_score is not None:
            text += f", compared with {percent(real_data_score)} of real data"
        text += "."
    attacks = statistics(comparison, "membership")
    if attacks:
        auc = max(score.value for score in attacks)
        text += f" A membership attack reaches an AUC of {auc:.2f}, where 0.5 is chance."
    return text


def _speed(comparison: Comparison) -> str:
    times_of = [(model.sampling.seconds_per_sample, model.name) for model in comparison.models]
    timed = sorted((seconds, name) for seconds, name in times_of if seconds)
    if not timed:
        return ""
    longest, _ = timed[-1]
    factor, unit = duration_unit(longest)
    grouped: dict[str, list[str]] = {}  # to one digit, because times vary
    for seconds, name in timed:
        grouped.setdefault(f"{plain(seconds / factor, 1)} {unit}", []).append(name)
    times = list(grouped)
    if len(comparison.models) > 1:
        times = [f"{time} for {named(names)}" for time, names in grouped.items()]
    text = f"One sample takes about {some(times)}."
    if len(sessions(comparison)) > 1:
        text += " The times cannot be compared, because they were measured in different sessions."
    return text


# Problems ---------------------------------------------------------------------------------------


def _problems(comparison: Comparison, found: Sequence[Finding]) -> str:
    grouped: dict[str, list[str]] = {}
    for model in comparison.models:
        problems = _problems_of(comparison, model, found)
        if problems:
            grouped.setdefault(listing(problems), []).append(model.name)
    stated = texts([finding for finding in found if not finding.problems], "measure")
    for problem, names in list(grouped.items())[:NAMED]:
        verb = "has" if len(names) == 1 else "have"
        stated.append(f"{named(names)} {verb} {problem}.")
    if stated:
        return " ".join(stated)
    text = "No problems were found"
    if texts(found, "copies"):
        text = "No other problems were found"
    number = len(texts(found, "warning"))
    if number:
        text += f", apart from {plural(number, 'warning')}"
    return f"{text}."


def _problems_of(comparison: Comparison, model: ModelResult, found: Sequence[Finding]) -> list[str]:
    problems = [finding.problems.get(model.name) for finding in found]
    problems.append(_worst(comparison, model, "column_error", "column", "errors"))
    problems.append(_worst(comparison, model, "pair_error", "pair", "matrix"))
    return list(dict.fromkeys(filter(None, problems)))


def _worst(
    comparison: Comparison, model: ModelResult, metric: str, noun: str, errors_key: str
) -> str:
    score = statistic(comparison, model, metric)
    if score is None or at_real_data(comparison, metric, score):
        return ""
    extra = model.scores[metric].extra
    real_data_score = comparison.real_data_scores.get(metric, Score())
    errors = np.array(extra.get(errors_key, ()), dtype=float)
    real = np.array(real_data_score.extra.get(errors_key, ()), dtype=float)
    if errors.shape != real.shape or not (errors > real).any():
        return ""
    place = np.unravel_index(np.nanargmax(errors - real), errors.shape)
    names = listing(extra["columns"][index] for index in place)
    shown = beside_real(percent(errors[place]), percent(real[place]))
    return f"a {noun} error in {names} of {shown}"


# Next -------------------------------------------------------------------------------------------

ADVICE = 3  # pieces of advice at most
LONGEST = 10.0  # factor by which a budget is worth extending; beyond, smaller networks are advised
LARGE = 32  # pixels along a side from which smaller images are advised, not smaller networks
LONGER = "{longer}"  # marks advice to train longer


def _next(comparison: Comparison) -> str:
    grouped: dict[str, list[ModelResult]] = {}
    for model in comparison.models:
        for advice in (_training_advice(comparison, model), _steps_advice(comparison, model)):
            if advice:
                grouped.setdefault(advice, []).append(model)
    stated: list[str] = []
    longer: list[ModelResult] = []
    for advice, models in grouped.items():
        if 1 < len(models) == len(comparison.models):
            names = "All models"
        else:
            names = named(model.name for model in models)
        stated.append(f"{names} {advice.removesuffix(LONGER)}")
        if advice.endswith(LONGER):
            longer += models
    stated = stated[:ADVICE]
    if longer:
        run = "Run" if len(longer) == 1 else "For example, run"
        stated.append(f"{run} `{longer[0].extension}` to extend training to this budget.")
    return " ".join(stated)


def _training_advice(comparison: Comparison, model: ModelResult) -> str:
    alarms = [begin.advice for begin, end in alarm_periods(model) if end is None and begin.advice]
    cost = model.training
    needed_samples = PASSES * (comparison.data.train or 0)
    lacking = {
        "training steps": STEPS / (cost.steps or math.inf),
        "passes over the data": needed_samples / (cost.samples or math.inf),
    }
    scarce = max(lacking, key=lambda name: lacking[name])
    factor = lacking[scarce]
    if collapsed(comparison, model) and (factor <= 1 or not model.extension):
        if alarms:
            return f"collapsed. Advice: {alarms[-1]}."
        return "collapsed. Train again with a lower learning rate."
    if alarms:
        return f"ended training with an alarm. Advice: {alarms[-1]}."
    if not model.extension:
        return ""
    smaller = _smaller(comparison, model)
    if factor > LONGEST and smaller:
        speed = plain((cost.steps or 0) / (cost.seconds or math.inf), 2)
        reached = f"reached {speed} training steps per second, too few for this budget."
        return f"{reached} Train again with {smaller}."
    if factor > 1:
        return f"had too few {scarce}.{LONGER}"
    if _like_real_data(comparison, model):
        metric = comparison.ranking_metric("quality") or ""
        label = label_in_sentence(comparison, metric)
        same = f"cannot be distinguished from real data in {label}{_at_n(comparison)}."
        return f"{same} Longer training can only be judged with more samples."
    return f"did not yet reach the quality of real data.{LONGER}"


def _like_real_data(comparison: Comparison, model: ModelResult) -> bool:
    reached = []
    for metric in main_metrics(comparison):
        score = statistic(comparison, model, metric)
        if score is not None:
            reached.append(at_real_data(comparison, metric, score))
    return bool(reached) and all(reached)


def _smaller(comparison: Comparison, model: ModelResult) -> str:
    if comparison.data.kind == "image" and max(comparison.data.shape[1:]) > LARGE:
        return f"--resize {LARGE}"
    asked = model.config.get("asked") or {}
    of_its_teacher = asked.get("frozen")
    if of_its_teacher or asked.get("size") == "tiny":
        return ""
    return "--size tiny"


def _steps_advice(comparison: Comparison, model: ModelResult) -> str:
    metric = curve_metric(comparison)
    own_steps = model.sampling.steps
    by_calls = curve_scores(model.curve, metric)
    if own_steps is None or len(by_calls) < 3 or blind(comparison, metric):
        return ""
    spread = real_data_score_of(comparison, metric)[1]
    best = min(by_calls, key=lambda point: comparison.loss(metric, point.value))
    worse = [point for point in by_calls if point.differs(best, spread, len(by_calls) - 1)]
    enough = by_calls
    if worse:
        enough = by_calls[by_calls.index(worse[-1]) + 1 :]
    fewest, *_ = [*enough, best]
    steps_of = {point.calls: point.steps for point in model.curve}
    steps = steps_of[fewest.calls]
    own_worse = own_steps in [steps_of[point.calls] for point in worse]
    if steps is None or own_steps / 2 < steps <= own_steps:
        return ""
    if own_worse:
        return f"with --steps {count(steps)} scored better than with {count(own_steps)}."
    if steps > own_steps:
        return ""
    worse_text = f"significantly worse than with {count(own_steps)}"
    return f"with --steps {count(steps)} did not score {worse_text}."
