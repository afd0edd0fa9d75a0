"""Charts as SVG that follows the page's colours, light or dark: text stays text, and colour is never the only sign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from pushforward.numbers import finite, plain
from pushforward.report.axes import Axis, padded, start_note, tick_text

__all__ = [
    "COLOURS",
    "Interval",
    "Plot",
    "Series",
    "Span",
    "dash",
    "line_chart",
    "marker",
    "smooth",
    "svg_open",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette without yellow and black, which vanish on one of the two backgrounds."""
SHAPES = ("circle", "square", "triangle", "diamond", "down", "cross")
DASHES = ("", "7 3", "2 3", "8 3 2 3", "12 3", "1 4")


@dataclass(frozen=True)
class Series:
    """Points of one model.

    Args:
        name: For the reader who hovers.
        index: The model's number, which sets colour, shape and dashes.
        x: Horizontal values.
        y: Vertical values; points that are not finite are left out.
        line: Whether points are joined.
        dots: Whether points are marked.
        style: "", "faint", or "dashed".
        bars: The ends of the error bar of each point, None where it has none.
    """

    name: str
    index: int
    x: Sequence[float | None]
    y: Sequence[float | None]
    line: bool = True
    dots: bool = True
    style: str = ""
    bars: Sequence[tuple[float, float] | None] = ()

    @property
    def points(self) -> list[tuple[float, float]]:
        """Finite points in order."""
        pairs = [(finite(x), finite(y)) for x, y in zip(self.x, self.y, strict=False)]
        return [(x, y) for x, y in pairs if x is not None and y is not None]

    @property
    def whiskers(self) -> list[tuple[float, float, float]]:
        """Place, least and greatest value of each error bar."""
        drawn = zip(self.x, self.bars, strict=False)
        return [(x, ends[0], ends[1]) for at, ends in drawn if (x := finite(at)) is not None and ends is not None]


@dataclass(frozen=True)
class Interval:
    """One line of an interval chart.

    Args:
        name: Of the row.
        index: The model's number; None draws in gray.
        mean: The value.
        bar: The ends of its error bar; None where there is none.
        text: For the reader who hovers.
    """

    name: str
    index: int | None
    mean: float
    bar: tuple[float, float] | None
    text: str

    @property
    def ends(self) -> tuple[float, float]:
        """Of the bar, or of the value alone."""
        return self.bar or (self.mean, self.mean)


@dataclass(frozen=True)
class Span:
    """A stretch of the horizontal axis that is set apart, such as an alarm from its begin to its end."""

    start: float
    stop: float
    text: str


@dataclass(frozen=True)
class Plot:
    """Size and axes of a line chart.

    Args:
        width: Units of the drawing.
        height: Units of the drawing.
        log_x: Logarithmic horizontal axis.
        log_y: Logarithmic vertical axis, where all values are positive.
        clip: Share of points at either end that may lie outside, so that spikes do not flatten the rest.
        ends: Of the vertical axis, where they are not to follow the values.
    """

    width: int = 600
    height: int = 350
    log_x: bool = False
    log_y: bool = False
    clip: float = 0.0
    ends: tuple[float | None, float | None] = (None, None)


WIDE = Plot()
SMOOTH = 15
"""Points of a running mean at most."""
EDGE = ", what real data may score at the edge"


def marker(index: int, x: float = 0, y: float = 0, r: float = 4.5) -> str:
    """The sign of a model at a point."""
    shape = SHAPES[(index + index // len(COLOURS)) % len(SHAPES)]
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    corners: dict[str, Sequence[tuple[float, float]]] = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
        "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
        "down": [(0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
        "cross": [(-1.2, -0.4), (-0.4, -0.4), (-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4),
                  (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4)],
    }  # fmt: skip
    return f'<polygon points="{" ".join(f"{x + r * a:.1f},{y + r * b:.1f}" for a, b in corners[shape])}"/>'


def dash(index: int) -> str:
    """The dashes of a model's lines."""
    return DASHES[(index + index // len(COLOURS)) % len(DASHES)]


def smooth(values: Sequence[float | None]) -> list[float]:
    """The running mean of a running median: single spikes vanish."""
    x = np.array([np.nan if (value := finite(v)) is None else value for v in values])
    half = min(SMOOTH, max(1, len(x) // 8)) // 2
    with np.errstate(all="ignore"):
        rows = [x[max(0, i - half) : i + half + 1] for i in range(len(x))]
        x = np.array([np.nanmedian(row) if np.isfinite(row).any() else math.nan for row in rows])
        return [float(np.mean(x[max(0, i - half) : i + half + 1])) for i in range(len(x))]


def svg_open(width: int, height: int, label: str, kind: str = "") -> str:
    """The opening tag of a chart, with its natural width for the style sheet and its label for readers who do not see it."""
    size = f'style="--w:{width}px" viewBox="0 0 {width} {height}"'
    return f'<svg class="chart {kind}" {size} role="img" aria-label="{escape(label)}">'


def _frame(x: Axis, y: Axis, x_label: str, y_label: str, width: int, height: int) -> list[str]:
    parts = []
    for value in y.ticks:
        at = y(value)
        parts.append(f'<line class="gridline" x1="{x.start}" x2="{x.end}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{x.start - 8}" y="{at + 4:.1f}" text-anchor="end">{tick_text(value)}</text>')
    parts.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    for value in x.ticks:
        at = x(value)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{y.start}" y2="{y.start + 4}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{y.start + 18}" text-anchor="middle">{tick_text(value)}</text>')
    if x_label:
        parts.append(
            f'<text class="label" x="{(x.start + x.end) / 2:.0f}" y="{height - 4}" text-anchor="middle">{escape(x_label)}</text>'
        )
    if y_label:
        parts.append(f'<text class="label" x="0" y="14">{escape(y_label)}</text>')
    return parts


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    plot: Plot = WIDE,
    *,
    floor: tuple[float, float] | None = None,
    spans: Sequence[Span] = (),
) -> str:
    """Lines and points over labelled axes.

    Args:
        series: What is drawn, in this order.
        x_label: Below the horizontal axis.
        y_label: Above the vertical one.
        plot: Size and axes.
        floor: Mean and half-width of a band, "real data". Where it or a value is no more than 0, a logarithmic axis ends at a
            third of the band's upper end, and what is less lies at the edge: it cannot be told from real data.
        spans: Stretches that are shaded behind the lines.

    Returns:
        SVG, or an empty string where there is nothing to draw.
    """
    points = [point for line in series for point in line.points]
    if not points:
        return ""
    xs, ys = np.array(points).T
    width, height = plot.width, plot.height
    low, high = (float(v) for v in np.quantile(ys, [plot.clip, 1 - plot.clip]))
    edge = 0.0 if floor is None or not plot.log_y or min(low, *floor[:1]) > 0 else floor[0] + floor[1]
    low = max(low, edge / 3) if 0 < edge < high else low
    log_y = plot.log_y and low > 0
    ends = [(bottom, top) for line in series for _, bottom, top in line.whiskers]
    low = min([low, *(max(bottom, 0.6 * low) if log_y else bottom for bottom, _ in ends)])
    high = max([high, *(top for _, top in ends)])
    if floor is not None:
        bottom = max(floor[0] - floor[1], 0.6 * floor[0]) if log_y and floor[0] > 0 else floor[0] - floor[1]
        low, high = low if log_y and bottom <= 0 else min(low, bottom), max(high, floor[0] + floor[1])
    log_y = log_y and low > 0
    low, high = (low / 1.1, high * 1.1) if log_y else padded(low, high)
    low, high = (own if end is None else end for own, end in zip((low, high), plot.ends, strict=True))
    high = low + 1 if plot.ends != (None, None) and high <= low else high
    x_low, x_high = float(xs.min()), float(xs.max())
    x_low, x_high = (x_low / 1.12, x_high * 1.12) if plot.log_x and x_low > 0 else (x_low, x_high)
    small, whole = width < 500, bool((xs == np.round(xs)).all())
    left, right = 46 if small else 56, width - (80 if floor else 14)
    x = Axis(x_low, x_high, left, right, log=plot.log_x, ticks=4 if small else 7, whole=whole)
    y = Axis(low, high, height - (30 if not x_label else 46), 26 if y_label else 10, log=log_y, ticks=4 if small else 6)
    parts = [svg_open(width, height, f"{y_label} against {x_label}", "small" if small else "")]
    if floor is not None:
        parts += _band(x, y, floor)
    parts += [_shaded(span, x, y) for span in spans]
    parts += _frame(
        x,
        y,
        x_label and x_label + (", log scale" if x.log else ""),
        y_label and y_label + start_note(y) + EDGE * (log_y and edge > 0),
        width,
        height,
    )
    for line in series:
        parts.append(_drawn(line, x, y))
    return "".join([*parts, "</svg>"])


def _band(x: Axis, y: Axis, floor: tuple[float, float]) -> list[str]:
    top, bottom = y(floor[0] + floor[1]), y(max(floor[0] - floor[1], y.low))
    thick = max(2.0, bottom - top)
    return [
        f'<rect class="band" x="{x.start}" width="{x.end - x.start}" y="{top:.1f}" height="{thick:.1f}"/>',
        f'<line class="floorline" x1="{x.start}" x2="{x.end}" y1="{y(floor[0]):.1f}" y2="{y(floor[0]):.1f}"/>',
        f'<text class="floortext" x="{x.end + 8}" y="{y(floor[0]) + 4:.1f}">real data</text>',
    ]


def _shaded(span: Span, x: Axis, y: Axis) -> str:
    start, top = x(span.start), min(y.start, y.end)
    wide, high = max(2.0, x(span.stop) - start), abs(y.start - y.end)
    return (
        f'<g class="alarm"><title>{escape(span.text)}</title><rect x="{start:.1f}" y="{top}" width="{wide:.1f}" height="{high}"/>'
        f'<line x1="{start:.1f}" x2="{start:.1f}" y1="{top}" y2="{y.start}"/></g>'
    )


def _drawn(line: Series, x: Axis, y: Axis) -> str:
    at = [(x(a), y(b)) for a, b in line.points]
    parts = [f'<g class="e{line.index % len(COLOURS)} {line.style}">']
    if line.line and len(at) > 1:
        dashes = "5 4" if line.style == "dashed" else "" if line.style else dash(line.index)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in at)
        parts.append(f'<path class="line" d="{path}"' + (f' stroke-dasharray="{dashes}"' if dashes else "") + "/>")
    for place, bottom, top in line.whiskers:
        ends = f'x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{y(max(bottom, y.low)):.1f}" y2="{y(top):.1f}"'
        parts.append(f'<line class="whisker" {ends}/>')
    if line.dots:
        for (a, b), (value_x, value_y) in zip(at, line.points, strict=True):
            tip = escape(f"{line.name}: {plain(value_y)} at {plain(value_x)}")
            parts.append(f'<g class="dot"><title>{tip}</title>{marker(line.index, a, b)}</g>')
    return "".join([*parts, "</g>"])
