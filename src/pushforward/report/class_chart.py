"""How often each class occurs in samples, beside real data."""

from __future__ import annotations

from html import escape

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import finite_all, percent, shortened
from pushforward.report.axes import Axis
from pushforward.report.charts import COLOURS, marker, svg_open
from pushforward.report.markup import signs, split

__all__ = ["class_section"]

METRIC, SHARE, REAL = "class_distance", "share", "real"
"""The score, and its numbers: the share of each class in samples and in real data."""
MOST = 30
"""Classes that fit into a chart."""
WIDTH, HEIGHT, LEFT = 600, 250, 46
NOTE = (
    "Bars are the share of each class in held-out data, signs the share in samples, as a classifier reads them. A sign far below "
    "its bar is a class that a model rarely produces."
)


def class_section(comparison: Comparison) -> str:
    """A chart with its heading; empty where no model's classes were counted, or where there are too many."""
    counted = [(index, numbers) for index, model in enumerate(comparison.models) if (numbers := _numbers(model, SHARE))]
    real = next((numbers for model in comparison.models if (numbers := _numbers(model, REAL))), [])
    if not real or len(real) > MOST or any(len(numbers) != len(real) for _, numbers in counted):
        return ""
    names = list(comparison.data.classes)
    names = names if len(names) == len(real) else [str(number) for number in range(len(real))]
    chart = _chart(comparison, names, real, counted)
    figure = f'<figure class="wide">{signs(comparison, {index for index, _ in counted})}{chart}</figure>'
    return f"<h3>Classes, real and generated</h3>{split(f'<p>{escape(NOTE)}</p>', figure)}"


def _numbers(model: ModelResult, name: str) -> list[float]:
    score = model.scores.get(METRIC)
    return [] if score is None else finite_all(score.extra.get(name))


def _chart(comparison: Comparison, names: list[str], real: list[float], counted: list[tuple[int, list[float]]]) -> str:
    top = max([*real, *(value for _, numbers in counted for value in numbers)]) or 1.0
    y = Axis(0.0, 108 * top, HEIGHT - 28, 28, ticks=4)
    step = (WIDTH - LEFT) / len(names)
    parts = [
        svg_open(WIDTH, HEIGHT, "Share of each class in real data and in samples"),
        '<text class="label" x="0" y="14">share of samples, %</text>',
    ]
    for value in y.ticks:
        at = y(value)
        parts.append(f'<line class="gridline" x1="{LEFT}" x2="{WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    for place, (name, short, share) in enumerate(zip(names, shortened(names, 12), real, strict=True)):
        left, at = LEFT + step * (place + 0.1), y(100 * share)
        title = f"<title>{escape(name)}: {percent(share)} of real data</title>"
        size = f'x="{left:.1f}" y="{at:.1f}" width="{0.8 * step:.1f}" height="{y.start - at:.1f}"'
        parts.append(f'<rect class="band" {size}>{title}</rect>')
        x = LEFT + step * (place + 0.5)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(short)}</text>')
    for order, (index, numbers) in enumerate(counted):
        model = escape(comparison.models[index].name)
        parts.append(f'<g class="e{index % len(COLOURS)}">')
        for place, share in enumerate(numbers):
            x = LEFT + step * (place + 0.16 + 0.68 * (order + 0.5) / len(counted))
            title = f"<title>{model}, {escape(names[place])}: {percent(share)}</title>"
            parts.append(f'<g class="dot">{title}{marker(index, x, y(100 * share), 4)}</g>')
        parts.append("</g>")
    return "".join([*parts, f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{y.start}" y2="{y.start}"/></svg>'])
