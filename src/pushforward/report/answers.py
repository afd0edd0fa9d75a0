"""The first screen of every report: the best model, its lead, copies, speed, problems, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Score
from pushforward.numbers import count, counted, duration_unit, listing, percent, plain, some
from pushforward.report.finding_conditions import BESIDE, collapsed, enough_steps, hardly_told
from pushforward.report.findings import Finding, findings
from pushforward.report.statistics import (
    NAMED,
    alarm_periods,
    at_floor,
    baseline_name,
    blind,
    floor_of,
    floor_statistic,
    floor_text,
    inside,
    main_metrics,
    named,
    sessions,
    standing,
    statistic,
    statistics,
    times_real,
    value_text,
)
from pushforward.training.loop.budget import PASSES, STEPS
from pushforward.training.monitor.alarms import IMPROVED

LONGEST = 10.0  # How many times the budget is worth extending; beyond, a smaller network or smaller images are advised
LARGE = (
    32  # Pixels along a side from which smaller images are advised rather than a smaller network
)
ADVICE = 3  # Pieces of advice at most
LONGER = "{longer}"  # Marks advice to train longer


def answers(comparison: Comparison) -> dict[str, str]:
    """Return the answers of the first screen by heading; for a single model, Quality and Baseline come first."""
    found = findings(comparison)
    metric = comparison.ranking_metric("quality")
    if metric is None:
        lines = {"Best": "No score that ranks models was measured."}
    elif len(comparison.models) == 1:
        lines = {"Quality": _quality(comparison, metric), "Baseline": _baseline(comparison, metric)}
    else:
        lines = {"Best": _best(comparison, metric), "Clear?": standing(comparison, metric)}
    copies = _copies(comparison, found)
    left_out = comparison.data.left_out
    if comparison.data.train and left_out and not all(model.run for model in comparison.models):
        copies = f"{copies} Columns that were left out are not compared: {some(left_out)}."
    lines["Privacy" if comparison.data.kind == "row" else "Copies"] = copies
    lines["Speed"] = _speed(comparison)
    lines["Problems"] = _problems(comparison, found)
    lines["Next"] = _next(comparison)
    return {heading: text for heading, text in lines.items() if text}


# Best, Quality, Baseline ----------------------------------------------------------------------------------------


def _best(comparison: Comparison, metric: str) -> str:
    """Name the best model, with all scores as multiples of real data's score if possible."""
    scores = statistics(comparison, metric)
    info = comparison.info(metric)
    times = [times_real(comparison, comparison[score.name], metric) for score in scores]
    if info.better == "lower" and all(times):
        values = [f"{value} times" for value in times]
        beside = f", {values[0]} that of real data"
    else:
        values = [value_text(comparison, metric, score) for score in scores]
        floor = floor_text(comparison, metric)
        beside = f"{BESIDE}{floor} for real data" if floor else ""
    label = inside(info.label)
    best = f"{scores[0].name} has the best {label} ({value_text(comparison, metric, scores[0])}){beside}."
    others = [
        f"{score.name} ({value})" for score, value in zip(scores[1:], values[1:], strict=True)
    ]
    if others:
        best = f"{best} It is followed by {named(others)}."
    if not blind(comparison, metric):
        return best
    return f"{best} This score cannot distinguish the baseline from real data{_at_n(comparison)}, so it says little."


def _quality(comparison: Comparison, metric: str) -> str:
    """Compare a single model with real data."""
    (score,) = statistics(comparison, metric)
    real = floor_statistic(comparison, metric)
    text = f"The {inside(comparison.info(metric).label)} is {value_text(comparison, metric, score)}"
    if real is None:
        return f"{text}."
    text = f"{text}{BESIDE}{floor_text(comparison, metric)} for real data."
    if metric == "detection" and hardly_told(score):
        return f"{text} A classifier can hardly tell samples from real rows{_at_n(comparison)}."
    if real.better_than(score):
        if metric == "detection":
            return f"{text} A classifier can tell samples from real rows."
        return f"{text} The difference is significant (95 %)."
    if score.better_than(real):
        return f"{text} Samples score significantly better than real data, which may be a sign of copies."
    text = f"{text} The difference is not significant{_at_n(comparison)} (95 %)"
    if blind(comparison, metric):
        return f"{text}, but neither is that of the baseline."
    return f"{text}."


def _baseline(comparison: Comparison, metric: str) -> str:
    """Compare a single model with a model that is not a network."""
    own = statistics(comparison, metric)[0]
    base = statistic(comparison, comparison.baseline, metric)
    if base is None:
        return ""
    name = baseline_name(comparison)
    text = f"{name[0].upper()}{name[1:]} scores {value_text(comparison, metric, base)}."
    if own.better_than(base):
        return f"{text} {own.name} is significantly better (95 %)."
    if base.better_than(own):
        return f"{text} {own.name} is significantly worse (95 %)."
    return f"{text} The difference is not significant{_at_n(comparison)}."


def _at_n(comparison: Comparison) -> str:
    if comparison.settings.n is None:
        return ""
    return f" at n = {count(comparison.settings.n)}"


# Copies, Speed, Problems ----------------------------------------------------------------------------------------


def _copies(comparison: Comparison, found: Sequence[Finding]) -> str:
    warned = [finding.text for finding in found if finding.kind == "copies"]
    unique = [
        score.value
        for score in statistics(comparison, "unique_texts")
        if not at_floor(comparison, "unique_texts", score)
    ]
    if unique:
        warned.append(
            f"Up to {percent(max(unique))} of samples contain a text that only one training row has."
        )
    scores = statistics(comparison, "near_copies")
    if warned or not scores:
        lacking = "" if comparison.data.train else " They need the training data: `train`."
        return " ".join(warned) or f"Copies were not measured.{lacking}"
    noun = comparison.data.kind or "example"
    most = max(score.value for score in scores)
    floor, _ = floor_of(comparison, "near_copies")
    if most == 0:
        text = f"No sample is a near-copy of a training {noun}."
    else:
        at_most = "At most " if len(scores) > 1 else ""
        real = "" if floor is None else f"{BESIDE}{percent(floor)} of real data"
        text = f"Copying was not detected. {at_most}{percent(most)} of samples are near-copies of a training {noun}{real}."
    attacks = statistics(comparison, "membership")
    if attacks:
        auc = max(score.value for score in attacks)
        text += f" A membership attack reaches an AUC of {auc:.2f}, where 0.5 is chance."
    return text


def _speed(comparison: Comparison) -> str:
    """State the time per sample of each model, the fastest first."""
    times = {model.name: model.sampling.seconds_per_sample for model in comparison.models}
    timed = sorted((seconds, name) for name, seconds in times.items() if seconds)
    if not timed:
        return ""
    factor, unit = duration_unit(timed[-1][0])
    alike: dict[str, list[str]] = {}  # to one digit, because times vary
    for seconds, name in timed:
        alike.setdefault(f"{plain(seconds / factor, 1)} {unit}", []).append(name)
    if len(comparison.models) == 1:
        return f"One sample takes about {next(iter(alike))}."
    text = f"One sample takes about {some([f'{time} for {named(names)}' for time, names in alike.items()])}."
    if len(sessions(comparison)) > 1:
        text += " The times cannot be compared, because they were measured in different sessions."
    return text


def _problems(comparison: Comparison, found: Sequence[Finding]) -> str:
    """State what is wrong with each model in a few words; models with the same problems are grouped."""
    general = [
        finding.text for finding in found if finding.kind == "measure" and not finding.models
    ]
    grouped: dict[str, list[str]] = {}
    for model in comparison.models:
        about = [finding for finding in found if finding.short and model.name in finding.models]
        problems = list(dict.fromkeys(_problem(finding, model) for finding in about))
        problems += _worst_columns(comparison, model)
        if problems:
            grouped.setdefault(listing(problems), []).append(model.name)
    said = [
        f"{named(names)} {'has' if len(names) == 1 else 'have'} {problems}."
        for problems, names in grouped.items()
    ]
    if general or said:
        return " ".join([*general, *said[:NAMED]])
    number = sum(finding.kind not in ("verdict", "copies") for finding in found)
    if any(finding.kind == "copies" for finding in found):
        no = "No other problems"
    else:
        no = "No problems"
    if number:
        return f"{no} were found, apart from {counted(number, 'warning')}."
    return f"{no} were found."


def _problem(finding: Finding, model: ModelResult) -> str:
    """Return the problem of a model as a noun phrase, without what is measured on real data."""
    return finding.short.format(said=finding.models[model.name].partition(BESIDE)[0])


def _worst_columns(comparison: Comparison, model: ModelResult) -> list[str]:
    """Return the column and the pair of columns of a table with the largest errors, if these exceed those of real data."""
    said = []
    for metric, what, errors in (
        ("column_error", "column", "errors"),
        ("pair_error", "pair", "matrix"),
    ):
        score = statistic(comparison, model, metric)
        if score is None or at_floor(comparison, metric, score):
            continue
        extra = model.scores[metric].extra
        values = np.array(extra.get(errors, ()), dtype=float)
        real = np.array(comparison.floors.get(metric, Score()).extra.get(errors, ()), dtype=float)
        if values.shape != real.shape or not (values > real).any():
            continue
        places = np.unravel_index(np.nanargmax(values - real), values.shape)
        names = " and ".join(extra["columns"][place] for place in places)
        shown = f"{percent(values[places])}{BESIDE}{percent(real[places])} for real data"
        said.append(f"a {what} error in {names} of {shown}")
    return said


# Next -----------------------------------------------------------------------------------------------------------


def _next(comparison: Comparison) -> str:
    """State what to do next, for the best model first; models with the same advice are grouped."""
    grouped: dict[str, list[ModelResult]] = {}
    for model in comparison.models:
        for advice in (_training_advice(comparison, model), enough_steps(comparison, model)):
            if advice:
                grouped.setdefault(advice, []).append(model)
    said: list[str] = []
    longer: list[ModelResult] = []
    for advice, models in grouped.items():
        every = len(models) > 1 and len(models) == len(comparison.models)
        names = "all models" if every else named(model.name for model in models)
        text = advice.removesuffix(LONGER).replace("{names}", names)
        said.append(f"All{text[3:]}" if text.startswith("all models") else text)
        longer += models if advice.endswith(LONGER) else []
    said = said[:ADVICE]
    if longer:
        run = "Run" if len(longer) == 1 else "For example, run"
        said.append(f"{run} `{longer[0].extension}` to extend training to this budget.")
    return " ".join(said)


def _training_advice(comparison: Comparison, model: ModelResult) -> str:
    """Return what training suggests, as a template for models with the same advice."""
    alarms = [begin.advice for begin, end in alarm_periods(model) if end is None and begin.advice]
    cost = model.training
    lacks = {"training steps": STEPS / (cost.steps or math.inf)}
    lacks["passes over the data"] = (
        PASSES * (comparison.data.train or 0) / (cost.samples or math.inf)
    )
    what = max(lacks, key=lambda name: lacks[name])
    if collapsed(comparison, model) and (lacks[what] <= 1 or not model.extension):
        return f"{{names}} collapsed. {f'Advice: {alarms[-1]}' if alarms else 'Train again with a lower learning rate'}."
    if alarms:
        return f"{{names}} ended training with an alarm. Advice: {alarms[-1]}."
    if not model.extension:
        return ""
    smaller = _smaller(comparison, model)
    if lacks[what] > LONGEST and smaller:
        rate = plain((cost.steps or 0) / (cost.seconds or math.inf), 2)
        return f"{{names}} reached {rate} training steps per second, too few for this budget. Train again with {smaller}."
    if lacks[what] > 1:
        return f"{{names}} had too few {what}.{LONGER}"
    metric = comparison.ranking_metric("quality") or ""
    reached = [
        at_floor(comparison, name, score)
        for name in main_metrics(comparison)
        if (score := statistic(comparison, model, name)) is not None
    ]
    if reached and all(reached):
        label = inside(comparison.info(metric).label)
        same = f"{{names}} cannot be distinguished from real data in {label}{_at_n(comparison)}."
        return f"{same} Longer training can only be judged with more samples."
    if _improving(model):
        return f"{{names}} can still improve.{LONGER}"
    return f"{{names}} did not yet reach the quality of real data.{LONGER}"


def _smaller(comparison: Comparison, model: ModelResult) -> str:
    """Return the option that makes training steps faster; empty if there is none."""
    if comparison.data.kind == "image" and max(comparison.data.shape[1:]) > LARGE:
        return f"--resize {LARGE}"
    asked = model.config.get("asked") or {}
    of_its_teacher = bool(asked.get("frozen"))
    if of_its_teacher or asked.get("size") == "tiny":
        return ""
    return "--size tiny"


def _improving(model: ModelResult) -> bool:
    """Return whether the distance measured during training decreased in its last third."""
    series = None if model.health is None else model.health.series.get("frechet")
    values = [] if series is None else [value for value in series.value if value is not None]
    earlier = values[: 2 * len(values) // 3]
    return bool(earlier) and values[-1] < IMPROVED * min(earlier)
