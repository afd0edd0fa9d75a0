"""Charts over network calls, seconds, training steps and noise levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from pushforward.evaluation.measurements import Number, SamplingCost
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count
from pushforward.report.charts import (
    Plot,
    Series,
    far_apart,
    interval_chart,
    line_chart,
)
from pushforward.report.statistics import (
    DIFFER,
    Band,
    alarm_periods,
    alarm_text,
    curve_metric,
    main_metrics,
    real_data_band,
    statistic,
    sweep_score,
)
from pushforward.report.steps_curves import (
    CurveScore,
    curve_score,
    curve_scores,
    steps_curve_metric,
)
from pushforward.report.tables import score_column, sweep_metric


@dataclass(frozen=True)
class Chart:
    """A chart, and the numbers and names of its models."""

    svg: Markup
    keys: Sequence[tuple[int, str]] = ()


def _chart(
    lines: Sequence[Series], x: str, y: str, plot: Plot, real_data_score: Band | None = None
) -> Chart | None:
    svg = line_chart(lines, x, y, plot, real_data_score=real_data_score)
    if svg:
        names = {line.index: line.name for line in lines}
        return Chart(svg, list(names.items()))
    return None


# Quality ----------------------------------------------------------------------------------------


def interval_charts(comparison: Comparison) -> list[tuple[str, str, Markup]]:
    """Draw the scores that rank models, with labels and notes."""
    charts = []
    for metric in main_metrics(comparison):
        scores = []
        values = []
        for index, row in [*enumerate(comparison.models), (None, comparison.baseline)]:
            score = statistic(comparison, row, metric)
            if score is not None:
                scores.append((index, score))
                values.append(score.value)
        band = real_data_band(comparison, metric)
        label = score_column(comparison, metric).named
        log = metric == comparison.ranking_metric("quality")
        log = log and _spread_out(comparison, metric, values, band)
        chart, note = interval_chart(scores, label, band, log=log)
        charts.append((label, note, chart))
    return charts


def _spread_out(
    comparison: Comparison,
    metric: str,
    values: Iterable[float | None],
    band: Band | None,
) -> bool:
    if comparison.info(metric).better != "lower":
        return False
    shown = [] if band is None else [band[0]]
    positive = [value for value in (*values, *shown) if value is not None and value > 0]
    return far_apart(positive)


def _quality(
    comparison: Comparison,
    metric: str,
    lines: Sequence[Series],
    label: str,
    band: Band | None,
) -> Chart | None:
    values = [y for line in lines for y in line.y]
    plot = Plot(log_x=True, log_y=_spread_out(comparison, metric, values, band))
    return _chart(lines, label, score_column(comparison, metric).named, plot, band)


def against_calls(comparison: Comparison) -> Chart | None:
    """Draw the quality of models over network calls."""
    return _against(comparison, lambda sampling: 1.0, "network calls per sample")


def against_seconds(comparison: Comparison) -> Chart | None:
    """Draw the quality of models over seconds per sample."""
    return _against(comparison, lambda sampling: sampling.seconds_per_call, "seconds per sample")


def _against(
    comparison: Comparison, cost_of_call: Callable[[SamplingCost], Number], label: str
) -> Chart | None:
    metric = curve_metric(comparison)
    lines = []
    for index, model in enumerate(comparison.models):
        cost = cost_of_call(model.sampling)
        by_calls = curve_scores(model.curve, metric)
        calls = model.sampling.calls
        score = statistic(comparison, model, metric)
        if cost is None:
            continue
        if by_calls:
            lines.append(_over_calls(model.name, index, by_calls, cost))
        elif calls is not None and score is not None:
            x = [cost * calls]
            point = Series(model.name, index, x, [score.value], line=False, bars=[score.bar])
            lines.append(point)
    return _quality(comparison, metric, lines, label, real_data_band(comparison, metric))


def _over_calls(
    name: str, index: int, by_calls: Sequence[CurveScore], cost: float = 1.0, style: str = ""
) -> Series:
    xs = [cost * point.calls for point in by_calls]
    ys = [point.value for point in by_calls]
    return Series(name, index, xs, ys, style=style)


def sweep(comparison: Comparison) -> Chart | None:
    """Draw the score that ranks models over training time."""
    metric = sweep_metric(comparison)
    lines = []
    for index, model in enumerate(comparison.models):
        seconds = []
        values = []
        bars = []
        for point in comparison.sweep.get(model.name, ()):
            score = sweep_score(comparison, model.name, point, metric)
            if point.seconds is not None and score is not None:
                seconds.append(point.seconds)
                values.append(score.value)
                bars.append(score.bar)
        if values:
            lines.append(Series(model.name, index, seconds, values, bars=bars))
    band = real_data_band(comparison, metric)
    return _quality(comparison, metric, lines, "training time in seconds", band)


def few_calls(comparison: Comparison, index: int, model: ModelResult) -> Chart | None:
    """Draw the quality of a map and its teacher over network calls."""
    metric = steps_curve_metric(comparison)
    steps_curve = model.steps_curve
    if steps_curve is None:
        return None
    curves = [
        (model.name, index, curve_scores(steps_curve.points, metric), "solid"),
        ("teacher", index + 1, curve_scores(steps_curve.teacher, metric), "dashed"),
    ]
    own = steps_curve.own
    default = steps_curve.default
    for point in [own] if default == own else [own, default]:
        score = curve_score(point, metric)
        if score is not None:
            curves.append(("teacher", index + 1, [score], ""))
    lines = []
    for name, number, by_calls, style in curves:
        if by_calls:
            lines.append(_over_calls(name, number, by_calls, style=style))
    band = None
    real_data_score = steps_curve.real_data_scores.get(metric)
    if real_data_score is not None and real_data_score.value is not None:
        band = (real_data_score.value, DIFFER * (real_data_score.spread or 0.0) / 2**0.5)
    return _quality(comparison, metric, lines, "network calls per sample", band)


# Training ---------------------------------------------------------------------------------------


def losses(comparison: Comparison) -> list[tuple[int, ModelResult, Markup]]:
    """Draw the losses of each model; the second network is dashed."""
    drawn = []
    for index, model in enumerate(comparison.models):
        lines = []
        for number, (network, series) in enumerate(model.losses.items()):
            style = "dashed" if number else "solid"
            line = Series(network, index, series.step, series.value, style=style)
            lines.append(replace(line, dots=False, smoothed=True))
        chart = line_chart(lines, "step", "loss", Plot(350, 210))
        if chart:
            drawn.append((index, model, chart))
    return drawn


def levels(comparison: Comparison) -> Chart | None:
    """Draw the loss by noise level."""
    lines = []
    every = []
    for index, model in enumerate(comparison.models):
        sigmas = []
        errors = []
        for level in () if model.trajectory is None else model.trajectory.loss_by_level:
            if level.log_snr is not None and level.error is not None:
                sigmas.append(math.exp(-level.log_snr / 2))
                errors.append(level.error)
        if errors:
            lines.append(Series(model.name, index, sigmas, errors))
            every += errors
    plot = Plot(log_x=True, log_y=far_apart(every))
    return _chart(lines, "noise level σ/α", "mean squared error in v", plot)


Ends = tuple[float | None, float | None]
# Ends of the vertical axis for fractions, for numbers from 0, and for any values
SHARE = (0.0, 1.0)
COUNT = (0.0, None)
OWN = (None, None)
# Training measures in the order of the page: label, axis, and a sentence
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
OF_MANY_SAMPLES = {
    "modes_held",
    "coverage",
    "coverage_1",
    "recall",
    "bridges",
    "disagreement",
    "target_size_high",
}


def health(index: int, model: ModelResult) -> list[tuple[Markup, str]]:
    """Draw each training measure with alarms shaded, above a sentence."""
    if model.health is None:
        return []
    measured = {}
    for name in MEASURES:
        series = model.health.series.get(name)
        if series is not None and len(series.value) - series.value.count(None) > 1:
            measured[name] = series
    if "modes_held" in measured:
        measured.pop("coverage", None)
    steps = [step for series in measured.values() for step in series.step if step is not None]
    spans = _alarms(model, max(steps, default=0.0))
    charts = []
    for name, series in measured.items():
        label, ends, words = MEASURES[name]
        if name == "modes_held" and model.health.modes is not None:
            label = f"{label}, of {count(model.health.modes)}"
            ends = (0.0, model.health.modes)
        line = Series(name, index, series.step, series.value, dots=False, style="solid")
        line = replace(line, smoothed=name not in OF_MANY_SAMPLES)
        chart = line_chart([line], "step", label, Plot(350, 190, ends=ends), spans=spans)
        if chart:
            charts.append((chart, words))
    return charts


def _alarms(model: ModelResult, last: float) -> list[tuple[float, float]]:
    first = model.trainings[0].name if model.trainings else None
    spans = []
    for begin, end in alarm_periods(model):
        if begin.training in (None, first) and begin.step is not None:
            stop = last if end is None or end.step is None else end.step
            spans.append((begin.step, stop))
    return spans


def alarm_lines(model: ModelResult) -> list[str]:
    """Describe each alarm of a training run."""
    return [alarm_text(model, begin, end) for begin, end in alarm_periods(model)]
