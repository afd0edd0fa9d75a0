"""The sections with curves: quality against calls, trajectories, losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report import tables
from pushforward.report.axes import far_apart
from pushforward.report.bars import bars_note, bars_of
from pushforward.report.captions import (
    LEVEL_NOTE,
    PATHS_NOTE,
    TRAJECTORY_NOTE,
    cost_note,
    curve_intro,
    curve_notes,
    curve_points,
    loss_caption,
    seconds_note,
)
from pushforward.report.charts import Plot, Series, line_chart, smooth
from pushforward.report.markup import framed, prose, scrolled, side_by_side, signs, split, titled
from pushforward.report.path_charts import path_chart
from pushforward.report.sprites import Look
from pushforward.report.statistics import THRESHOLDS, curve_metric, floor_statistic, statistic, statistics

__all__ = ["curve", "floor_band", "frontier", "levels", "losses", "trajectories"]

SHOWN_BEHIND = 400
"""Examples of real data behind trajectories."""


def floor_band(comparison: Comparison, metric: str) -> tuple[float, float] | None:
    """Real data's score, and half of the band around it in which no difference is measurable."""
    floor = floor_statistic(comparison, metric)
    return None if floor is None else (floor.value, THRESHOLDS["differ"] * floor.width / 2**0.5)


def curve(comparison: Comparison) -> str:
    """Quality against network calls; empty where no model has a curve."""
    if not any(curve_points(model, curve_metric(comparison)) for model in comparison.models):
        return ""
    chart, legend = _against(comparison, _by_calls, "network calls for one sample")
    notes = "".join(f"<li>{prose(note)}</li>" for note in curve_notes(comparison))
    words = f"<p>{escape(curve_intro(comparison))}</p>" + (f'<ul class="plain note">{notes}</ul>' if notes else "")
    return split(words, framed(signs(comparison), chart, legend))


def frontier(comparison: Comparison) -> str:
    """Quality against seconds for one sample; empty where no model has both."""
    chart, legend = _against(comparison, _by_seconds, "seconds for one sample of a batch")
    note = seconds_note(comparison) if any(_by_seconds(comparison, model)[1] for model in comparison.models) else ""
    return framed(signs(comparison), chart, f"{note} {legend}".strip()) if chart else ""


Point = tuple[float, float]


def _by_calls(comparison: Comparison, model: ModelResult) -> tuple[list[Point], list[Point]]:
    """The single point of a model at its own sampler, and its curve."""
    metric, calls = curve_metric(comparison), model.sampling.calls
    score = statistic(comparison, model, metric)
    line = [(calls, value) for calls, value, _ in curve_points(model, metric)]
    return [] if calls is None or score is None else [(calls, score.value)], line


def _by_seconds(comparison: Comparison, model: ModelResult) -> tuple[list[Point], list[Point]]:
    """The same over seconds, which are in proportion to calls."""
    seconds, calls = model.sampling.seconds_per_sample, model.sampling.calls
    if not seconds or not calls:
        return [], []
    single, line = _by_calls(comparison, model)
    return tuple([(at * seconds / calls, value) for at, value in points] for points in (single, line))  # type: ignore[return-value]


def _against(
    comparison: Comparison, points_of: Callable[[Comparison, ModelResult], tuple[list[Point], list[Point]]], label: str
) -> tuple[str, str]:
    """A chart of each model's curve, or of its single point where it has none, and the legend of its bars."""
    metric, lines, barred = curve_metric(comparison), [], []
    scores = statistics(comparison, metric)
    ends = {score.name: bar for score, bar in zip(scores, bars_of(scores), strict=True)}
    for index, model in enumerate(comparison.models):
        single, line = points_of(comparison, model)
        drawn, alone = line or single, bool(single) and not line and model.name in ends
        barred += [model.scores[metric]] if alone else []
        if drawn:
            bars = [ends[model.name]] if alone else []
            lines.append(Series(model.name, index, [x for x, _ in drawn], [y for _, y in drawn], line=bool(line), bars=bars))
    values = [y for series in lines for y in series.y if y is not None and y > 0]
    band = floor_band(comparison, metric)
    if band is not None and band[0] > 0:
        values.append(band[0])
    info = comparison.info(metric)
    log = info.better == "lower" and far_apart(values)
    arrow = {"lower": " ↓", "higher": " ↑"}.get(info.better, "")
    chart = line_chart(lines, label, f"{info.label}{arrow}", Plot(log_x=True, log_y=log), floor=band)
    return chart, bars_note(comparison, barred)


def trajectories(comparison: Comparison, look: Look) -> str:
    """How straight trajectories are, and in the plane the trajectories themselves."""
    table = tables.trajectories(comparison)
    if table is None:
        return ""
    body, panels = "", []
    for index, model in enumerate(comparison.models):
        lines = look.paths(model.name)
        if lines is not None:
            label = f"Trajectories of {model.name}, from noise to data"
            behind = look.behind[:SHOWN_BEHIND] if look.vectors and look.behind is not None else None
            chart = path_chart(lines, behind, look.paths_limits(), index, label)
            panels.append(f'<figure><p class="figtitle">{titled(model, index)}</p><div class="frame">{chart}</div></figure>')
    if panels:
        body += f"<p>{escape(PATHS_NOTE)}</p><div class=ways>{side_by_side(panels)}</div>"
    note = cost_note(comparison)
    words = f"<p>{escape(TRAJECTORY_NOTE)}</p>" + (f'<p class="note">{escape(note)}</p>' if note else "")
    return split(words, scrolled(table, "Trajectories")) + body


def levels(comparison: Comparison) -> str:
    """Loss by noise level; empty where no model has any."""
    lines = []
    for index, model in enumerate(comparison.models):
        points = tables.level_points(model)
        if points:
            noise = [math.exp(-level / 2) for level, _, _ in points]
            lines.append(Series(model.name, index, noise, [error for _, error, _ in points]))
    if not lines:
        return ""
    errors = [error for line in lines for error in line.y if error is not None]
    wide = min(errors) > 0 and max(errors) > 4 * min(errors)
    chart = line_chart(lines, "noise level σ/α, noisier →", "Mean squared error in v", Plot(log_x=True, log_y=wide))
    figure = framed(signs(comparison, {line.index for line in lines}), chart)
    return f"<h3>Loss by noise level</h3>{split(f'<p>{escape(LEVEL_NOTE)}</p>', figure)}"


def losses(comparison: Comparison) -> str:
    """The losses of each model over training; empty where none is known."""
    figures = [figure for index, model in enumerate(comparison.models) if (figure := _loss_figure(index, model))]
    if not figures:
        return ""
    intro = "Losses of different methods measure different things: none of these curves can be compared with another one."
    intro += " Faint lines are single steps, strong ones a running average."
    return f'<p>{intro}</p><div class="losses">{"".join(figures)}</div>'


def _loss_figure(index: int, model: ModelResult) -> str:
    lines = []
    for number, (player, series) in enumerate(model.losses.items()):
        style = "dashed" if number else "solid"
        lines.append(Series(player, index, series.step, series.value, dots=False, style="faint"))
        lines.append(Series(player, index, series.step, smooth(series.value), dots=False, style=style))
    chart = line_chart(lines, "step", "loss", Plot(350, 210, clip=0.01)) if lines else ""
    if not chart:
        return ""
    players = [f"{escape(player)}{' (dashed)' if number else ''}" for number, player in enumerate(model.losses)]
    of = f" <span>{', '.join(players)}</span>" if len(players) > 1 else ""
    return (
        f'<figure><p class="figtitle">{titled(model, index)}{" ·" if of else ""}{of}</p>{chart}'
        f"<figcaption>{escape(loss_caption(model))}</figcaption></figure>"
    )
