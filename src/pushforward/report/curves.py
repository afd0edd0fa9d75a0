"""Charts over network calls, seconds, training steps and noise levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count
from pushforward.report.charts import (
    Interval,
    Plot,
    Series,
    Span,
    far_apart,
    interval_chart,
    line_chart,
    path_chart,
    smooth,
)
from pushforward.report.ladders import ladder_metric, rung_of, rungs_of
from pushforward.report.sprites import Look
from pushforward.report.statistics import (
    DIFFER,
    alarm_periods,
    alarm_text,
    curve_metric,
    floor_band,
    main_metrics,
    statistic,
    statistics,
    sweep_score,
)
from pushforward.report.tables import level_points, score_column, sweep_metric

BEHIND = 400  # Number of real examples behind trajectories


@dataclass(frozen=True)
class Chart:
    """A chart, and the numbers and names of its models."""

    svg: Markup
    keys: Sequence[tuple[int, str]] = ()


def _chart(
    lines: Sequence[Series], x: str, y: str, plot: Plot, floor: tuple[float, float] | None = None
) -> Chart | None:
    svg = line_chart(lines, x, y, plot, floor=floor)
    if svg:
        return Chart(svg, list(dict.fromkeys((line.index, line.name) for line in lines)))
    return None


def interval_charts(comparison: Comparison) -> list[Markup]:
    """Draw the scores that rank models with their error bars, over the band of real data."""
    charts = []
    for metric in main_metrics(comparison):
        every = [*enumerate(comparison.models), (None, comparison.baseline)]
        known = [
            (number, score)
            for number, row in every
            if (score := statistic(comparison, row, metric)) is not None
        ]
        rows = [
            Interval(
                "baseline" if number is None else score.name,
                number,
                score.value,
                score.bar,
                score.text,
            )
            for number, score in known
        ]
        band = floor_band(comparison, metric)
        info = comparison.info(metric)
        wide = (
            info.role == "quality"
            and info.better == "lower"
            and _wide([row.mean for row in rows], band)
        )
        charts.append(interval_chart(rows, score_column(comparison, metric).named, band, log=wide))
    return charts


def _wide(values: Iterable[float | None], band: tuple[float, float] | None) -> bool:
    """Return whether the positive values and the band of real data need a logarithmic axis."""
    shown = [*values, None if band is None else band[0]]
    return far_apart([value for value in shown if value is not None and value > 0])


# Quality against calls, seconds and training --------------------------------------------------------------------

Points = tuple[Sequence[tuple[float, float]], Sequence[tuple[float, float]]]


def by_calls(comparison: Comparison, model: ModelResult) -> Points:
    """Return the point of a model with its own sampler, and its curve, over network calls."""
    metric = curve_metric(comparison)
    calls = model.sampling.calls
    score = statistic(comparison, model, metric)
    curve = [(rung.calls, rung.value) for rung in rungs_of(model.curve, metric)]
    return [] if calls is None or score is None else [(calls, score.value)], curve


def by_seconds(comparison: Comparison, model: ModelResult) -> Points:
    """Return the same over seconds per sample, which are proportional to calls."""
    seconds = model.sampling.seconds_per_sample
    calls = model.sampling.calls
    if not seconds or not calls:
        return [], []
    single, curve = (
        [(at * seconds / calls, value) for at, value in points]
        for points in by_calls(comparison, model)
    )
    return single, curve


def against(
    comparison: Comparison, points_of: Callable[[Comparison, ModelResult], Points], label: str
) -> Chart | None:
    """Draw the curve of each model, or its single point."""
    metric = curve_metric(comparison)
    lines = []
    scores = statistics(comparison, metric)
    ends = {score.name: score.bar for score in scores}
    for index, model in enumerate(comparison.models):
        single, curve = points_of(comparison, model)
        bars = [ends[model.name]] if single and not curve and model.name in ends else []
        if curve or single:
            xs, ys = zip(*(curve or single), strict=True)
            lines.append(Series(model.name, index, xs, ys, line=bool(curve), bars=bars))
    return _quality(comparison, metric, lines, label, floor_band(comparison, metric))


def _quality(
    comparison: Comparison,
    metric: str,
    lines: Sequence[Series],
    label: str,
    band: tuple[float, float] | None,
) -> Chart | None:
    log = comparison.info(metric).better == "lower" and _wide(
        (y for line in lines for y in line.y), band
    )
    return _chart(
        lines, label, score_column(comparison, metric).named, Plot(log_x=True, log_y=log), band
    )


def sweep(comparison: Comparison) -> Chart | None:
    """Draw the score that ranks models over training time; None without several budgets."""
    metric = sweep_metric(comparison)
    lines = []
    for index, model in enumerate(comparison.models):
        points = [
            (p.seconds, sweep_score(comparison, model.name, p, metric))
            for p in comparison.sweep.get(model.name, ())
        ]
        known = [
            (seconds, score)
            for seconds, score in points
            if seconds is not None and score is not None
        ]
        if known:
            seconds, scores = zip(*known, strict=True)
            lines.append(
                Series(
                    model.name,
                    index,
                    seconds,
                    [s.value for s in scores],
                    bars=[s.bar for s in scores],
                )
            )
    return _quality(
        comparison, metric, lines, "training time in seconds", floor_band(comparison, metric)
    )


# Few calls ------------------------------------------------------------------------------------------------------


def few_calls(comparison: Comparison, index: int, model: ModelResult) -> Chart | None:
    """Draw the quality of a map and of its teacher over network calls."""
    metric = ladder_metric(comparison)
    ladder = model.ladder
    if ladder is None:
        return None
    shown = [(model.name, index, rungs_of(ladder.points, metric), "solid")]
    shown.append(("teacher", index + 1, rungs_of(ladder.teacher, metric), "dashed"))
    for point in (ladder.own, None if ladder.default == ladder.own else ladder.default):
        rung = rung_of(point, metric)
        shown.append(("teacher", index + 1, [] if rung is None else [rung], ""))
    lines = [
        Series(
            name, at, [rung.calls for rung in rungs], [rung.value for rung in rungs], style=style
        )
        for name, at, rungs, style in shown
        if rungs
    ]
    floor = ladder.floors.get(metric)
    if floor is None or floor.value is None:
        band = None
    else:
        band = (floor.value, DIFFER * (floor.spread or 0.0) / 2**0.5)
    return _quality(comparison, metric, lines, "network calls per sample", band)


def moved(look: Look, index: int, name: str) -> Markup:
    """Draw lines from the samples of a teacher to those of the map in one call; empty for images."""
    lines = look.moved(name)
    if lines is None:
        return Markup()
    behind = None if look.behind is None else look.behind[:BEHIND]
    return path_chart(
        lines,
        behind,
        look.limits,
        index,
        f"From the teacher's samples to those of {name} in one call",
        480,
    )


def trajectories(comparison: Comparison, look: Look) -> list[tuple[int, ModelResult, Markup]]:
    """Draw the trajectories in the plane of each model that has any."""
    behind = look.behind[:BEHIND] if look.vectors and look.behind is not None else None
    drawn = []
    for index, model in enumerate(comparison.models):
        lines = look.paths(model.name)
        if lines is not None:
            label = f"Trajectories of {model.name}, from noise to data"
            drawn.append(
                (index, model, path_chart(lines, behind, look.paths_limits(), index, label))
            )
    return drawn


# Training -------------------------------------------------------------------------------------------------------


def losses(comparison: Comparison) -> list[tuple[int, ModelResult, Markup]]:
    """Draw the losses of each model, with a running average over single steps; the second network is dashed."""
    drawn = []
    for index, model in enumerate(comparison.models):
        lines = []
        for number, (network, series) in enumerate(model.losses.items()):
            lines += _smoothed(network, index, series, "dashed" if number else "solid")
        chart = line_chart(lines, "step", "loss", Plot(350, 210, clip=0.01))
        drawn += [(index, model, chart)] if chart else []
    return drawn


def _smoothed(name: str, index: int, series: Any, style: str) -> list[Series]:
    """Return single values as a faint line, and their running average."""
    faint = Series(name, index, series.step, series.value, dots=False, style="faint")
    return [faint, replace(faint, y=smooth(series.value), style=style)]


def levels(comparison: Comparison) -> Chart | None:
    """Draw the loss by noise level; None if no model has one."""
    known = [
        (index, model, points)
        for index, model in enumerate(comparison.models)
        if (points := level_points(model))
    ]
    lines = [
        Series(
            model.name,
            index,
            [math.exp(-level / 2) for level, *_ in points],
            [error for _, error, _ in points],
        )
        for index, model, points in known
    ]
    errors = [error for *_, points in known for _, error, _ in points]
    wide = bool(errors) and min(errors) > 0 and max(errors) > 4 * min(errors)
    return _chart(lines, "noise level σ/α", "mean squared error in v", Plot(log_x=True, log_y=wide))


Ends = tuple[float | None, float | None]
# Ends of the vertical axis for fractions, for numbers from 0, and for any values
SHARE = (0.0, 1.0)
COUNT = (0.0, None)
OWN = (None, None)
# Training measures in the order of the page: label, axis, and a sentence; coverage only if the modes of the data are unknown
MEASURES: dict[str, tuple[str, Ends, str]] = {
    "modes_held": ("modes held", OWN, "A lasting decrease means collapse."),
    "coverage": (
        "coverage",
        SHARE,
        "A lasting decrease means collapse. A perfect model reaches about 0.97.",
    ),
    "coverage_1": ("coverage with one call", SHARE, "Maps lose coverage with one call first."),
    "recall": (
        "recall with one call",
        SHARE,
        "A decrease means that quality improves at the expense of diversity.",
    ),
    "bridges": ("bridges", COUNT, "Fraction of samples between modes."),
    "disagreement": (
        "disagreement",
        COUNT,
        "Difference between one jump and two jumps. A consistent map has 0.",
    ),
    "critic_accuracy": (
        "critic accuracy",
        SHARE,
        "0.5 is chance. If accuracy stays near 1, the critic has won.",
    ),
    "logit_gap": ("logit gap", OWN, "A steady increase means that the critic diverges."),
    "diagonal_loss": (
        "raw loss at equal times",
        OWN,
        "The loss levels off at what no model can predict.",
    ),
    "off_diagonal_loss": (
        "raw loss between two times",
        OWN,
        "Part of the target comes from the map itself.",
    ),
    "stored_loss": ("raw loss on stored trajectories", OWN, ""),
    "target_size_high": (
        "target size near noise",
        OWN,
        "Values above 2 mean that the targets diverge.",
    ),
    "log_likelihood": ("log-likelihood, nats", OWN, "Higher is better."),
    "kl": ("KL divergence, nats", OWN, "Near 0, the decoder ignores the latent."),
    "explained": ("explained variance", OWN, "Fraction of variance that reconstructions explain."),
    "active_units": ("active units", COUNT, "Latent dimensions in use."),
    "perplexity": ("codebook perplexity", COUNT, "Effective number of codebook entries in use."),
    "feature_distance": (
        "feature distance",
        OWN,
        "Feature distance between images and reconstructions.",
    ),
}
# Measures of many samples; the others come from single batches and are smoothed
WHOLE = {
    "modes_held",
    "coverage",
    "coverage_1",
    "recall",
    "bridges",
    "disagreement",
    "target_size_high",
}


def health(index: int, model: ModelResult) -> list[tuple[Markup, str]]:
    """Draw a small chart of each training measure, with alarms shaded, and return it with a sentence about it."""
    if model.health is None:
        return []
    known = {name: model.health.series.get(name) for name in MEASURES}
    drawn = {
        name: row
        for name, row in known.items()
        if row and sum(value is not None for value in row.value) > 1
    }
    if "modes_held" in drawn:
        drawn.pop("coverage", None)
    spans = _alarms(
        model, (step for row in drawn.values() for step in row.step if step is not None)
    )
    charts = []
    for name, row in drawn.items():
        label, ends, words = MEASURES[name]
        if name == "modes_held" and model.health.modes is not None:
            label = f"{label}, of {count(model.health.modes)}"
            ends = (0.0, model.health.modes)
        if name in WHOLE:
            lines = [Series(name, index, row.step, row.value, dots=False, style="solid")]
            clip = 0.0
        else:
            lines = _smoothed(name, index, row, "solid")
            clip = 0.005
        chart = line_chart(lines, "step", label, Plot(350, 190, clip=clip, ends=ends), spans=spans)
        if chart:
            charts.append((chart, words))
    return charts


def _alarms(model: ModelResult, steps: Iterable[float]) -> list[Span]:
    """Return the alarms of the first training run, whose curves are drawn."""
    last = max(steps, default=0.0)
    first = model.trainings[0].name if model.trainings else None
    return [
        Span(
            begin.step,
            last if end is None or end.step is None else end.step,
            begin.sentence or "alarm",
        )
        for begin, end in alarm_periods(model)
        if begin.training in (None, first) and begin.step is not None
    ]


def alarm_lines(model: ModelResult) -> list[str]:
    """Describe each alarm of a training run."""
    return [alarm_text(model, begin, end) for begin, end in alarm_periods(model)]
