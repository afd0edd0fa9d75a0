"""The sections with curves: quality against calls, trajectories, losses."""

from __future__ import annotations

import math
from html import escape

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.report import tables
from pushforward.report.captions import (
    CURVE_NOTES,
    LEVEL_NOTE,
    PATHS_NOTE,
    TRAJECTORY_NOTE,
    cost_note,
    curve_notes,
    curve_points,
    loss_caption,
)
from pushforward.report.charts import Plot, Series, line_chart, path_chart, smooth
from pushforward.report.markup import prose, scrolled, side_by_side, signs, titled
from pushforward.report.sprites import Look
from pushforward.report.statistics import curve_metric, floor_statistic, statistic

__all__ = ["curve", "floor_band", "levels", "losses", "trajectories"]

SHOWN_BEHIND = 400
"""Examples of real data behind trajectories."""


def floor_band(comparison: Comparison, metric: str) -> tuple[float, float] | None:
    """Real data's score and half of its interval."""
    floor = floor_statistic(comparison, metric)
    return None if floor is None else (floor.value, floor.half)


def curve(comparison: Comparison) -> str:
    """Quality against network calls; empty where no model has a curve."""
    metric, lines, singles = curve_metric(comparison), [], []
    for index, model in enumerate(comparison.models):
        points = curve_points(model, metric)
        if points:
            lines.append(Series(model.name, index, [calls for calls, _, _ in points], [value for _, value, _ in points]))
            continue
        calls, score = model.sampling.calls, statistic(comparison, model, metric)
        if calls is not None and score is not None:
            singles.append(Series(model.name, index, [calls], [score.value], line=False))
    if not lines:
        return ""
    values = [y for series in [*lines, *singles] for y in series.y if y is not None and y > 0]
    band = floor_band(comparison, metric)
    if band is not None and band[0] > 0:
        values.append(band[0])
    log = bool(values) and max(values) > 8 * min(values)
    label = comparison.info(metric).label
    plot = Plot(log_x=True, log_y=log)
    chart = line_chart([*lines, *singles], "network calls for one sample", label, plot, floor=band)
    notes = "".join(f"<li>{prose(note)}</li>" for note in curve_notes(comparison))
    return f'<p>{escape(CURVE_NOTES)}</p><figure class="wide">{signs(comparison)}<div class="scroll">{chart}</div></figure>' + (
        f'<ul class="plain note">{notes}</ul>' if notes else ""
    )


def trajectories(comparison: Comparison, look: Look) -> str:
    """How straight trajectories are, and in the plane the trajectories themselves."""
    table = tables.trajectories(comparison)
    if table is None:
        return ""
    body, panels = f"<p>{escape(TRAJECTORY_NOTE)}</p>", []
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
    return body + scrolled(table, "Trajectories") + (f'<p class="note">{escape(note)}</p>' if note else "")


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
    keys = signs(comparison, {line.index for line in lines})
    return (
        f"<h3>Loss by noise level</h3><p>{escape(LEVEL_NOTE)}</p>"
        f'<figure class="wide">{keys}<div class="scroll">{chart}</div></figure>'
    )


def losses(comparison: Comparison) -> str:
    """The losses of each model over training; empty where none is known."""
    figures = [figure for index, model in enumerate(comparison.models) if (figure := _loss_figure(index, model))]
    if not figures:
        return ""
    intro = "Losses of different families measure different things: none of these curves can be compared with another one."
    intro += " Faint lines are single steps, strong ones a running average."
    return f'<p>{intro}</p><div class="losses">{"".join(figures)}</div>'


def _loss_figure(index: int, model: ModelResult) -> str:
    lines = []
    for number, (player, series) in enumerate(model.losses.items()):
        style = "dashed" if number else "solid"
        lines.append(Series(player, index, series.step, series.value, dots=False, style="faint"))
        lines.append(Series(player, index, series.step, smooth(series.value), dots=False, style=style))
    chart = line_chart(lines, "step", "loss", Plot(440, 230, clip=0.01)) if lines else ""
    if not chart:
        return ""
    players = [f"{escape(player)}{' (dashed)' if number else ''}" for number, player in enumerate(model.losses)]
    of = f" <span>{', '.join(players)}</span>" if len(players) > 1 else ""
    return (
        f'<figure><p class="figtitle">{titled(model, index)}{" ·" if of else ""}{of}</p>{chart}'
        f"<figcaption>{escape(loss_caption(model))}</figcaption></figure>"
    )
