"""Charts of scores with their intervals, and of the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from pushforward.numbers import shortened
from pushforward.report.axes import Axis, padded, start_note, tick_text
from pushforward.report.charts import COLOURS, Interval, dash, marker, svg_open

__all__ = ["histogram_chart", "interval_chart", "outlines"]

TOP = 20
"""Units of an interval chart above its axes, for the name of the band."""
BINS = 24
"""Of a histogram."""


def interval_chart(rows: Sequence[Interval], label: str, floor: tuple[float, float] | None = None, *, log: bool = False) -> str:
    """Values with error bars, one line each, over the band of real data, below a title that breaks where the page is narrow.

    Args:
        rows: From top to bottom.
        label: What is measured.
        floor: Mean and half-width of the band.
        log: Logarithmic axis, where all values are positive.
    """
    if not rows:
        return ""
    width, step, left = 400, 30, 112
    height = TOP + 10 + step * len(rows) + 26
    ends = [end for row in rows for end in row.ends]
    ends += [floor[0] - floor[1], floor[0] + floor[1]] if floor else []
    means = [row.mean for row in rows] + ([floor[0]] if floor else [])
    log = log and min(means) > 0
    low, high = (max(min(ends), min(means) * 0.7), max(ends)) if log else (min(ends), max(ends))
    ends_of_axis = (low / 1.15, high * 1.15) if log else padded(low, high)
    x = Axis(*ends_of_axis, left, width - 14, log=log, ticks=5)
    bottom = height - 26
    title = f'<p class="figtitle">{escape(label)}<span>{start_note(x)}</span></p>'
    parts = [title, svg_open(width, height, f"{label} of each model", "intervals")]
    if floor:
        start, end = x(max(floor[0] - floor[1], x.low)), x(floor[0] + floor[1])
        parts.append(
            f'<rect class="band" x="{start:.1f}" width="{max(2.0, end - start):.1f}" y="{TOP}" height="{bottom - TOP}"/>'
        )
        parts.append(f'<line class="floorline" x1="{x(floor[0]):.1f}" x2="{x(floor[0]):.1f}" y1="{TOP}" y2="{bottom}"/>')
        anchor = "end" if x(floor[0]) > (left + width) / 2 + 100 else "start" if x(floor[0]) < left + 40 else "middle"
        parts.append(f'<text class="floortext" x="{x(floor[0]):.1f}" y="{TOP - 5}" text-anchor="{anchor}">real data</text>')
    for value in x.ticks:
        parts.append(f'<line class="gridline" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{height - 8}" text-anchor="middle">{tick_text(value)}</text>')
    for i, (row, name) in enumerate(zip(rows, shortened([row.name for row in rows], 16), strict=True)):
        at = TOP + step * (i + 0.5)
        kind = "base" if row.index is None else f"e{row.index % len(COLOURS)}"
        start, end = x(max(row.ends[0], x.low)), x(row.ends[1])
        parts.append(
            f'<g class="{kind}"><title>{escape(f"{row.name}: {row.text}")}</title>'
            f'<text class="rowname" x="{left - 10}" y="{at + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<line class="whisker" x1="{start:.1f}" x2="{end:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<g class="dot">{marker(0 if row.index is None else row.index, x(row.mean), at)}</g></g>'
        )
    return "".join([*parts, "</svg>"])


def histogram_chart(label: str, real: np.ndarray | None, clouds: Sequence[tuple[str, int, np.ndarray]]) -> str:
    """One column's values: real data as a gray area, each model as a stepped line.

    Args:
        label: The column's name.
        real: (m,) values, or None.
        clouds: Name, index and (n,) values of each model.
    """
    base = real if real is not None and len(real) else np.concatenate([values for _, _, values in clouds] or [np.zeros(1)])
    base = base[np.isfinite(base)]
    if not len(base):
        return ""
    low, high = np.percentile(base, [0.5, 99.5])
    pad = 0.12 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, BINS + 1)
    heights = [(name, index, _density(values, edges)) for name, index, values in clouds]
    under = _density(real, edges) if real is not None else np.zeros(BINS)
    top = max([float(under.max()), *(float(h.max()) for _, _, h in heights)]) or 1.0
    width, height = 300, 154
    x, y = Axis(edges[0], edges[-1], 12, width - 12, ticks=4), Axis(0, top * 1.05, height - 28, 8)
    parts = [f'<figure><p class="figtitle">{escape(label)}</p>', svg_open(width, height, f"Histogram of {label}", "small")]
    parts += outlines(under, heights, edges, x, y)
    for value in x.ticks:
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{height - 10}" text-anchor="middle">{tick_text(value)}</text>')
    return "".join([*parts, "</svg></figure>"])


def outlines(
    under: np.ndarray, heights: Sequence[tuple[str, int, np.ndarray]], edges: np.ndarray, x: Axis, y: Axis
) -> Iterator[str]:
    """Real data's histogram as an area, that of each model (name, number, heights) as a stepped line, and the axis below."""
    yield f'<path class="area" d="{steps(under, edges, x, y)}"/>'
    for name, index, rows in heights:
        dashes = f' stroke-dasharray="{dash(index)}"' if dash(index) else ""
        line = f'<path class="line thin" d="{steps(rows, edges, x, y)}"{dashes}/>'
        yield f'<g class="e{index % len(COLOURS)}"><title>{escape(name)}</title>{line}</g>'
    yield f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>'


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    values = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    shares: np.ndarray = np.histogram(values, edges)[0] / max(1, len(values))
    return shares


def steps(heights: np.ndarray, edges: np.ndarray, x: Axis, y: Axis) -> str:
    """The path of a histogram's outline.

    Args:
        heights: (bins,).
        edges: (bins + 1,).
        x: Of the edges.
        y: Of the heights.
    """
    parts = [f"M{x(edges[0]):.1f} {y(0):.1f}"]
    for height, left, right in zip(heights, edges[:-1], edges[1:], strict=True):
        parts.append(f"L{x(left):.1f} {y(height):.1f}L{x(right):.1f} {y(height):.1f}")
    return "".join([*parts, f"L{x(edges[-1]):.1f} {y(0):.1f}"])
