"""Quality against the time of training, for recipes that were trained for several budgets."""

from __future__ import annotations

from html import escape

from pushforward.evaluation.results import Comparison
from pushforward.report.charts import Plot, Series, line_chart
from pushforward.report.curves import floor_band
from pushforward.report.markup import signs
from pushforward.report.statistics import metric_for

__all__ = ["sweep"]

NOTE = (
    "Each point is a training of its own, which ran to the end of its schedule: within a longer one the learning rate has not "
    "fallen yet, and its samples at that time are worse. Points of one seed each; lines between them are no measurement."
)


def sweep(comparison: Comparison) -> str:
    """A chart of the score that ranks models against seconds of training; empty where nothing was trained for several budgets."""
    numbers = {model.name: number for number, model in enumerate(comparison.models)}
    known = {name for points in comparison.sweep.values() for point in points for name in point.scores}
    metric = metric_for(comparison, "quality")
    metric = metric if metric in known else "frechet"
    lines = []
    for name, points in comparison.sweep.items():
        places = [(point.seconds, point.scores[metric].value) for point in points if metric in point.scores]
        pairs = [(seconds, value) for seconds, value in places if seconds is not None and value is not None]
        if pairs and name in numbers:
            lines.append(Series(name, numbers[name], [seconds for seconds, _ in pairs], [value for _, value in pairs]))
    if not lines:
        return ""
    values = [value for line in lines for value in line.y if value is not None]
    wide = min(values) > 0 and max(values) > 8 * min(values)
    info = comparison.info(metric)
    better = {"lower": ", lower is better", "higher": ", higher is better"}.get(info.better, "")
    plot = Plot(log_x=True, log_y=wide)
    chart = line_chart(lines, "seconds of training", f"{info.label}{better}", plot, floor=floor_band(comparison, metric))
    return f'<p>{escape(NOTE)}</p><figure class="wide">{signs(comparison)}<div class="scroll">{chart}</div></figure>'
