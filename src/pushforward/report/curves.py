"""Charts over network calls, seconds, steps of training, noise levels and units of codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count
from pushforward.report.charts import Interval, Plot, Series, Span, far_apart, interval_chart, line_chart, path_chart, smooth
from pushforward.report.ladders import ladder_metric, rung_of, rungs_of
from pushforward.report.sprites import Look
from pushforward.report.statistics import (
    DIFFER,
    alarm_periods,
    bars_of,
    curve_metric,
    floor_band,
    main_metrics,
    statistic,
    statistics,
    sweep_score,
)
from pushforward.report.tables import level_points, score_column, sweep_metric

BEHIND = 400  # Examples of real data behind trajectories


@dataclass(frozen=True)
class Chart:
    """A chart with the models that it shows: their numbers and names."""

    svg: Markup
    keys: Sequence[tuple[int, str]] = ()


def _chart(lines: Sequence[Series], x: str, y: str, plot: Plot, floor: tuple[float, float] | None = None) -> Chart | None:
    svg = line_chart(lines, x, y, plot, floor=floor)
    return Chart(svg, list(dict.fromkeys((line.index, line.name) for line in lines))) if svg else None


def interval_charts(comparison: Comparison) -> list[Markup]:
    """The scores that rank models with their error bars, over real data's band."""
    charts = []
    for metric in main_metrics(comparison):
        every = [*enumerate(comparison.models), (None, comparison.baseline)]
        known = [(number, score) for number, row in every if (score := statistic(comparison, row, metric)) is not None]
        bars = bars_of([score for _, score in known])
        rows = [
            Interval("baseline" if number is None else score.name, number, score.value, bar, score.text)
            for (number, score), bar in zip(known, bars, strict=True)
        ]
        band, info = floor_band(comparison, metric), comparison.info(metric)
        values = [row.mean for row in rows] + ([band[0]] if band is not None and band[0] > 0 else [])
        wide = info.role == "quality" and info.better == "lower" and far_apart(values)
        charts.append(interval_chart(rows, score_column(comparison, metric).named, band, log=wide))
    return charts


# Quality against calls, seconds and training --------------------------------------------------------------------

Points = tuple[Sequence[tuple[float, float]], Sequence[tuple[float, float]]]


def by_calls(comparison: Comparison, model: ModelResult) -> Points:
    """The single point of a model at its own sampler, and its curve."""
    metric, calls = curve_metric(comparison), model.sampling.calls
    score = statistic(comparison, model, metric)
    return [] if calls is None or score is None else [(calls, score.value)], [
        (r.calls, r.value) for r in rungs_of(model.curve, metric)
    ]


def by_seconds(comparison: Comparison, model: ModelResult) -> Points:
    """The same over seconds for a sample, which are in proportion to calls."""
    seconds, calls = model.sampling.seconds_per_sample, model.sampling.calls
    if not seconds or not calls:
        return [], []
    single, curve = ([(at * seconds / calls, value) for at, value in points] for points in by_calls(comparison, model))
    return single, curve


def against(comparison: Comparison, points_of: Callable[[Comparison, ModelResult], Points], label: str) -> Chart | None:
    """A chart of each model's curve, or of its single point where it has none."""
    metric, lines = curve_metric(comparison), []
    scores = statistics(comparison, metric)
    ends = {score.name: bar for score, bar in zip(scores, bars_of(scores), strict=True)}
    for index, model in enumerate(comparison.models):
        single, curve = points_of(comparison, model)
        drawn, bars = curve or single, [ends[model.name]] if single and not curve and model.name in ends else []
        if drawn:
            xs, ys = zip(*drawn, strict=True)
            lines.append(Series(model.name, index, xs, ys, line=bool(curve), bars=bars))
    return _quality(comparison, metric, lines, label)


def _quality(comparison: Comparison, metric: str, lines: Sequence[Series], label: str) -> Chart | None:
    band = floor_band(comparison, metric)
    values = [y for line in lines for y in line.y if y is not None and y > 0] + ([band[0]] if band and band[0] > 0 else [])
    log = comparison.info(metric).better == "lower" and far_apart(values)
    return _chart(lines, label, score_column(comparison, metric).named, Plot(log_x=True, log_y=log), band)


def sweep(comparison: Comparison) -> Chart | None:
    """The score that ranks models against seconds of training; None where nothing was trained for several budgets."""
    metric, lines = sweep_metric(comparison), []
    for index, model in enumerate(comparison.models):
        points = [(p.seconds, sweep_score(comparison, model.name, p, metric)) for p in comparison.sweep.get(model.name, ())]
        known = [(seconds, score) for seconds, score in points if seconds is not None and score is not None]
        if known:
            seconds, scores = zip(*known, strict=True)
            lines.append(Series(model.name, index, seconds, [s.value for s in scores], bars=[s.bar for s in scores]))
    return _quality(comparison, metric, lines, "seconds of training")


# Few calls ------------------------------------------------------------------------------------------------------


def few_calls(comparison: Comparison, index: int, model: ModelResult) -> Chart | None:
    """Quality of a map and of its teacher against network calls."""
    metric, ladder = ladder_metric(comparison), model.ladder
    if ladder is None:
        return None
    own, default = rung_of(ladder.own, metric), None if ladder.default == ladder.own else rung_of(ladder.default, metric)
    shown = [(model.name, index, rungs_of(ladder.points, metric), "solid")]
    shown += [("its teacher", index + 1, rungs_of(ladder.teacher, metric), "dashed")] if ladder.teacher else []
    shown += [("its teacher", index + 1, [one], "") for one in (own, default) if one is not None]
    lines = [Series(name, at, [r.calls for r in some], [r.value for r in some], style=style) for name, at, some, style in shown]
    floor = ladder.floors.get(metric)
    band = None if floor is None or floor.value is None else (floor.value, DIFFER * (floor.spread or 0.0) / 2**0.5)
    values = [y for line in lines for y in line.y if y is not None and y > 0] + ([band[0]] if band and band[0] > 0 else [])
    plot = Plot(log_x=True, log_y=far_apart(values))
    return _chart(lines, "network calls for one sample", comparison.info(metric).label, plot, band)


def moved(look: Look, index: int, name: str) -> Markup:
    """Lines from a teacher's points to those of the map in one call; empty for images."""
    lines = look.moved(name)
    if lines is None:
        return Markup()
    behind = None if look.behind is None else look.behind[:BEHIND]
    return path_chart(lines, behind, look.limits, index, f"From the teacher's points to those of {name} in one call", 480)


def trajectories(comparison: Comparison, look: Look) -> list[tuple[int, ModelResult, Markup]]:
    """Trajectories in the plane from noise to data, of each model that has any."""
    behind, drawn = look.behind[:BEHIND] if look.vectors and look.behind is not None else None, []
    for index, model in enumerate(comparison.models):
        lines = look.paths(model.name)
        if lines is not None:
            label = f"Trajectories of {model.name}, from noise to data"
            drawn.append((index, model, path_chart(lines, behind, look.paths_limits(), index, label)))
    return drawn


# Training -------------------------------------------------------------------------------------------------------


def losses(comparison: Comparison) -> list[tuple[int, ModelResult, Markup]]:
    """The losses of each model over training: single steps faint, a running average strong, a second player's dashed."""
    drawn = []
    for index, model in enumerate(comparison.models):
        lines = []
        for number, (player, series) in enumerate(model.losses.items()):
            lines.append(Series(player, index, series.step, series.value, dots=False, style="faint"))
            style = "dashed" if number else "solid"
            lines.append(Series(player, index, series.step, smooth(series.value), dots=False, style=style))
        chart = line_chart(lines, "step", "loss", Plot(350, 210, clip=0.01))
        drawn += [(index, model, chart)] if chart else []
    return drawn


def levels(comparison: Comparison) -> Chart | None:
    """Loss by noise level; None where no model has any."""
    known = [(index, model, points) for index, model in enumerate(comparison.models) if (points := level_points(model))]
    lines = [
        Series(model.name, index, [math.exp(-level / 2) for level, *_ in points], [error for _, error, _ in points])
        for index, model, points in known
    ]
    errors = [error for *_, points in known for _, error, _ in points]
    wide = bool(errors) and min(errors) > 0 and max(errors) > 4 * min(errors)
    return _chart(lines, "noise level σ/α, noisier →", "Mean squared error in v", Plot(log_x=True, log_y=wide))


def units(comparison: Comparison) -> Chart | None:
    """The KL term of each number of the code, the largest first."""
    known = [(n, m.name, m.latent.code.by_unit) for n, m in enumerate(comparison.models) if m.latent and m.latent.code]
    lines = [Series(name, n, [float(unit) for unit in range(1, len(kl) + 1)], kl) for n, name, kl in known]
    return _chart(lines, "unit of the code, by its KL term", "KL, nats", Plot(height=230, log_y=True))


Ends = tuple[float | None, float | None]
# Ends of the vertical axes: of a share, of a number from 0, and those of the values themselves
SHARE, COUNT, OWN = (0.0, 1.0), (0.0, None), (None, None)
# What is drawn of a training, in this order: label, axis, and how to read it; coverage only for data whose modes are unknown
MEASURES: dict[str, tuple[str, Ends, str]] = {
    "modes_held": ("modes held", OWN, "a lasting fall is collapse"),  # the number of modes is its end, where it is known
    "coverage": ("coverage", SHARE, "a lasting fall is collapse; a perfect model has about 0.97"),
    "coverage_1": ("coverage in one call", SHARE, "a map first loses it"),
    "recall": ("recall in one call", SHARE, "a fall buys quality with variety"),
    "bridges": ("bridges", COUNT, "share of samples between modes"),
    "disagreement": ("disagreement of one jump and two", COUNT, "0 is a map that agrees with itself"),
    "critic_accuracy": ("critic accuracy", SHARE, "0.5 is chance; near 1 for good, the critic has won"),
    "logit_gap": ("logit gap", OWN, "a steady climb means that the critic runs away"),
    "diagonal_loss": ("raw loss at equal times", OWN, "it flattens at what no model can know"),
    "off_diagonal_loss": ("raw loss between two times", OWN, "targets are partly the map's own"),
    "stored_loss": ("raw loss on stored trajectories", OWN, ""),
    "target_size_high": ("size of targets near noise", OWN, "above 2, targets run away"),
    "log_likelihood": ("log-likelihood, nats", OWN, "higher is better"),
    "kl": ("KL, nats", OWN, "near 0 the decoder ignores the code"),
    "explained": ("explained", OWN, "share of variance that reconstructions explain"),
    "active_units": ("active units", COUNT, ""),
    "perplexity": ("perplexity of the codes", COUNT, "codes in use"),
    "feature_distance": ("feature distance", OWN, "of reconstructions"),
}
# Measures of many samples; the others are of single batches, which a running average makes readable
WHOLE = {"modes_held", "coverage", "coverage_1", "recall", "bridges", "disagreement", "target_size_high"}


def health(index: int, model: ModelResult) -> list[tuple[Markup, str]]:
    """A small chart for each measure with how to read it, alarms shaded in all of them."""
    series = {} if model.health is None else {name: model.health.series.get(name) for name in MEASURES}
    drawn = {n: s for n, s in series.items() if s is not None and sum(value is not None for value in s.value) > 1}
    drawn = {name: row for name, row in drawn.items() if not (name == "coverage" and "modes_held" in drawn)}
    spans = _alarms(model, (step for row in drawn.values() for step in row.step if step is not None))
    charts = []
    for name, row in drawn.items():
        (label, ends, words), modes = MEASURES[name], None if model.health is None else model.health.modes
        if name == "modes_held":
            label, ends = label + ("" if modes is None else f", of {count(modes)}"), (0.0, modes)
        batches = name not in WHOLE
        lines = [Series(name, index, row.step, row.value, dots=False, style="faint" if batches else "solid")]
        lines += [Series(name, index, row.step, smooth(row.value), dots=False, style="solid")] if batches else []
        plot = Plot(350, 190, clip=0.005 if batches else 0.0, ends=ends)
        charts.append((line_chart(lines, "step", label, plot, spans=spans), words))
    return [(chart, words) for chart, words in charts if chart]


def _alarms(model: ModelResult, steps: Iterable[float]) -> list[Span]:
    """Alarms from begin to end, of several trainings those of the first, whose curves are drawn."""
    last, first = max(steps, default=0.0), model.trainings[0].name if model.trainings else None
    return [
        Span(begin.step, last if end is None or end.step is None else end.step, begin.sentence or "alarm")
        for begin, end in alarm_periods(model)
        if begin.training in (None, first) and begin.step is not None
    ]


def alarm_lines(model: ModelResult) -> list[str]:
    """Each alarm of a training as a line."""
    lines = []
    for begin, end in alarm_periods(model):
        until = "to the end" if end is None else f"until step {count(end.step)}"
        advice = f": {begin.advice}" if begin.advice else ""
        lines.append(f"{begin.training or model.name}, from step {count(begin.step)} {until}: {begin.sentence}{advice}.")
    return lines
