"""Charts as SVG that follows the page's colours, light or dark: text stays text, and colour is never the only sign."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from pushforward.pictures import Limits
from pushforward.report.numbers import finite, plain

__all__ = [
    "COLOURS",
    "Interval",
    "Series",
    "Span",
    "dash",
    "histogram_chart",
    "interval_chart",
    "line_chart",
    "marker",
    "path_chart",
    "smooth",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette without yellow and black, which vanish on one of the two backgrounds."""
SHAPES = ("circle", "square", "triangle", "diamond", "down", "cross")
DASHES = ("", "7 3", "2 3", "8 3 2 3", "12 3", "1 4")


@dataclass(frozen=True)
class Series:
    """Points of one entrant.

    Args:
        name: For the reader who hovers.
        index: The entrant's number, which sets colour, shape and dashes.
        x: Horizontal values.
        y: Vertical values; points that are not finite are left out.
        line: Whether points are joined.
        dots: Whether points are marked.
        style: "", "faint", or "dashed".
    """

    name: str
    index: int
    x: Sequence[float]
    y: Sequence[float]
    line: bool = True
    dots: bool = True
    style: str = ""

    @property
    def points(self) -> list[tuple[float, float]]:
        """Finite points in order."""
        pairs = [(finite(x), finite(y)) for x, y in zip(self.x, self.y, strict=False)]
        return [(x, y) for x, y in pairs if x is not None and y is not None]


@dataclass(frozen=True)
class Interval:
    """One line of an interval chart; ``index`` None draws in gray."""

    name: str
    index: int | None
    mean: float
    half: float
    text: str


@dataclass(frozen=True)
class Span:
    """A stretch of the horizontal axis that is set apart, such as an alarm from its begin to its end."""

    start: float
    stop: float
    text: str


def marker(index: int, x: float = 0, y: float = 0, r: float = 4.5) -> str:
    """The sign of an entrant at a point."""
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
    """The dashes of an entrant's lines."""
    return DASHES[(index + index // len(COLOURS)) % len(DASHES)]


def smooth(values: Sequence[float], width: int = 15) -> list[float]:
    """The running mean of a running median: single spikes vanish."""
    x = np.array([np.nan if finite(v) is None else float(v) for v in values])
    half = min(width, max(1, len(x) // 8)) // 2
    with np.errstate(all="ignore"):
        rows = [x[max(0, i - half) : i + half + 1] for i in range(len(x))]
        x = np.array([np.nanmedian(row) if np.isfinite(row).any() else math.nan for row in rows])
        return [float(np.mean(x[max(0, i - half) : i + half + 1])) for i in range(len(x))]


class Axis:
    """A scale from values to pixels with its ticks."""

    def __init__(
        self, low: float, high: float, start: float, end: float, *, log: bool = False, ticks: int = 5, whole: bool = False
    ) -> None:
        self.log = log and low > 0
        if not high > low:
            pad = abs(low) * 0.1 or 1.0
            low, high = (low / 1.5, high * 1.5) if self.log else (low - pad, high + pad)
        self.low, self.high, self.start, self.end = low, high, start, end
        self.ticks = _log_ticks(low, high) if self.log else _linear_ticks(low, high, ticks, whole)

    def __call__(self, value: float) -> float:
        """Where a value lies; beyond the ends it stays at the edge."""
        scale: Callable[[float], float] = math.log if self.log else float
        if self.log and value <= 0:
            return self.start
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + min(1.04, max(-0.04, share)) * (self.end - self.start)


def _linear_ticks(low: float, high: float, ticks: int, whole: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(0 if abs(one) < slack else one) for one in found if low - slack <= one <= high + slack]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    few = math.log10(high / low)
    steps = (1, 2, 5) if few < 2.6 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [one for one in ticks if low * 0.999 <= one <= high * 1.001]
    return ticks if len(ticks) > 1 else _linear_ticks(low, high, 4)


def _tick_text(value: float) -> str:
    if value and (abs(value) >= 1e4 or abs(value) < 1e-4):
        size = math.floor(math.log10(abs(value)))
        lead = value / 10**size
        power = f"10{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(c)] if c.isdigit() else '⁻' for c in str(size))}"
        if value >= 1e4 and value < 1e7:
            return f"{value / 1000:,.4g}k"
        return power if abs(lead - 1) < 1e-6 else f"{lead:.3g}·{power}"
    return f"{value:,.6g}".replace("-", "−")


def _open(width: int, height: int, label: str, kind: str = "") -> str:
    return f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'


def _frame(x: Axis, y: Axis, x_label: str, y_label: str, width: int, height: int) -> list[str]:
    parts = []
    for value in y.ticks:
        at = y(value)
        parts.append(f'<line class="gridline" x1="{x.start}" x2="{x.end}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{x.start - 8}" y="{at + 4:.1f}" text-anchor="end">{_tick_text(value)}</text>')
    parts.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    for value in x.ticks:
        at = x(value)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{y.start}" y2="{y.start + 4}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{y.start + 18}" text-anchor="middle">{_tick_text(value)}</text>')
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
    *,
    log_x: bool = False,
    log_y: bool = False,
    floor: tuple[float, float] | None = None,
    width: int = 720,
    height: int = 380,
    clip: float = 0.0,
    spans: Sequence[Span] = (),
    ends: tuple[float | None, float | None] = (None, None),
) -> str:
    """Lines and points over labelled axes.

    Args:
        series: What is drawn, in this order.
        x_label: Below the horizontal axis.
        y_label: Above the vertical one.
        log_x: Logarithmic horizontal axis.
        log_y: Logarithmic vertical axis, where all values are positive.
        floor: Mean and half-width of a band, "real data".
        width: Units of the drawing.
        height: Units of the drawing.
        clip: Share of points at either end that may lie outside, so that spikes do not flatten the rest.
        spans: Stretches that are shaded behind the lines.
        ends: Of the vertical axis, where they are not to follow the values.

    Returns:
        SVG, or an empty string where there is nothing to draw.
    """
    points = [point for one in series for point in one.points]
    if not points:
        return ""
    xs, ys = np.array(points).T
    low, high = (float(v) for v in np.quantile(ys, [clip, 1 - clip]))
    log_y = log_y and low > 0
    if floor is not None:
        bottom = max(floor[0] - floor[1], 0.6 * floor[0]) if log_y and floor[0] > 0 else floor[0] - floor[1]
        low, high = min(low, bottom), max(high, floor[0] + floor[1])
    log_y = log_y and low > 0
    low, high = (low / 1.1, high * 1.1) if log_y else (low - 0.06 * (high - low), high + 0.06 * (high - low))
    low, high = (own if end is None else end for own, end in zip((low, high), ends, strict=True))
    high = low + 1 if ends != (None, None) and high <= low else high
    x_low, x_high = float(xs.min()), float(xs.max())
    x_low, x_high = (x_low / 1.12, x_high * 1.12) if log_x and x_low > 0 else (x_low, x_high)
    small, whole = width < 500, bool((xs == np.round(xs)).all())
    left, right = 46 if small else 56, width - (80 if floor else 14)
    x = Axis(x_low, x_high, left, right, log=log_x, ticks=4 if small else 7, whole=whole)
    y = Axis(low, high, height - (30 if not x_label else 46), 26 if y_label else 10, log=log_y, ticks=4 if small else 6)
    parts = [_open(width, height, f"{y_label} against {x_label}", "small" if small else "")]
    if floor is not None:
        parts += _band(x, y, floor)
    parts += [_shaded(one, x, y) for one in spans]
    parts += _frame(x, y, x_label, y_label, width, height)
    for one in series:
        parts.append(_drawn(one, x, y))
    return "".join([*parts, "</svg>"])


def _band(x: Axis, y: Axis, floor: tuple[float, float]) -> list[str]:
    top, bottom = y(floor[0] + floor[1]), y(max(floor[0] - floor[1], y.low))
    thick = max(2.0, bottom - top)
    return [
        f'<rect class="band" x="{x.start}" width="{x.end - x.start}" y="{top:.1f}" height="{thick:.1f}"/>',
        f'<line class="floorline" x1="{x.start}" x2="{x.end}" y1="{y(floor[0]):.1f}" y2="{y(floor[0]):.1f}"/>',
        f'<text class="floortext" x="{x.end + 8}" y="{y(floor[0]) + 4:.1f}">real data</text>',
    ]


def _shaded(one: Span, x: Axis, y: Axis) -> str:
    start, top = x(one.start), min(y.start, y.end)
    wide, high = max(2.0, x(one.stop) - start), abs(y.start - y.end)
    return (
        f'<g class="alarm"><title>{escape(one.text)}</title><rect x="{start:.1f}" y="{top}" width="{wide:.1f}" height="{high}"/>'
        f'<line x1="{start:.1f}" x2="{start:.1f}" y1="{top}" y2="{y.start}"/></g>'
    )


def _drawn(one: Series, x: Axis, y: Axis) -> str:
    at = [(x(a), y(b)) for a, b in one.points]
    parts = [f'<g class="e{one.index % len(COLOURS)} {one.style}">']
    if one.line and len(at) > 1:
        dashes = "5 4" if one.style == "dashed" else "" if one.style else dash(one.index)
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in at)
        parts.append(f'<path class="line" d="{path}"' + (f' stroke-dasharray="{dashes}"' if dashes else "") + "/>")
    if one.dots:
        for (a, b), (value_x, value_y) in zip(at, one.points, strict=True):
            tip = escape(f"{one.name}: {plain(value_y)} at {plain(value_x)}")
            parts.append(f'<g class="dot"><title>{tip}</title>{marker(one.index, a, b)}</g>')
    return "".join([*parts, "</g>"])


def interval_chart(rows: Sequence[Interval], label: str, floor: tuple[float, float] | None = None, *, log: bool = False) -> str:
    """Means with intervals, one line each, over the band of real data.

    Args:
        rows: From top to bottom.
        label: What is measured.
        floor: Mean and half-width of the band.
        log: Logarithmic axis, where all values are positive.
    """
    if not rows:
        return ""
    width, step, left = 480, 30, 130
    height = 40 + step * len(rows) + 26
    ends = [v for one in rows for v in (one.mean - one.half, one.mean + one.half)]
    ends += [floor[0] - floor[1], floor[0] + floor[1]] if floor else []
    means = [one.mean for one in rows] + ([floor[0]] if floor else [])
    log = log and min(means) > 0
    low, high = (max(min(ends), min(means) * 0.7), max(ends)) if log else (min(ends), max(ends))
    pad = 0.06 * (high - low)
    x = Axis(low / 1.15 if log else low - pad, high * 1.15 if log else high + pad, left, width - 14, log=log, ticks=5)
    bottom = height - 26
    parts = [
        _open(width, height, f"{label} of each entrant", "intervals"),
        f'<text class="title" x="0" y="14">{escape(label)}</text>',
    ]
    if floor:
        start, end = x(max(floor[0] - floor[1], x.low)), x(floor[0] + floor[1])
        parts.append(f'<rect class="band" x="{start:.1f}" width="{max(2.0, end - start):.1f}" y="30" height="{bottom - 30}"/>')
        parts.append(f'<line class="floorline" x1="{x(floor[0]):.1f}" x2="{x(floor[0]):.1f}" y1="30" y2="{bottom}"/>')
        anchor = "end" if x(floor[0]) > (left + width) / 2 + 100 else "start" if x(floor[0]) < left + 40 else "middle"
        parts.append(f'<text class="floortext" x="{x(floor[0]):.1f}" y="26" text-anchor="{anchor}">real data</text>')
    for value in x.ticks:
        parts.append(f'<line class="gridline" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="30" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{height - 8}" text-anchor="middle">{_tick_text(value)}</text>')
    for i, one in enumerate(rows):
        at = 30 + step * (i + 0.5)
        kind = "base" if one.index is None else f"e{one.index % len(COLOURS)}"
        start, end = x(max(one.mean - one.half, x.low)), x(one.mean + one.half)
        name = one.name if len(one.name) <= 19 else one.name[:18] + "…"
        parts.append(
            f'<g class="{kind}"><title>{escape(f"{one.name}: {one.text}")}</title>'
            f'<text class="rowname" x="{left - 10}" y="{at + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<line class="whisker" x1="{start:.1f}" x2="{end:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<g class="dot">{marker(0 if one.index is None else one.index, x(one.mean), at)}</g></g>'
        )
    return "".join([*parts, "</svg>"])


def histogram_chart(label: str, real: np.ndarray | None, clouds: Sequence[tuple[str, int, np.ndarray]], bins: int = 24) -> str:
    """One column's values: real data as a gray area, each entrant as a stepped line.

    Args:
        label: The column's name.
        real: (m,) values, or None.
        clouds: Name, index and (n,) values of each entrant.
        bins: Number of bins.
    """
    base = real if real is not None and len(real) else np.concatenate([values for _, _, values in clouds] or [np.zeros(1)])
    base = base[np.isfinite(base)]
    if not len(base):
        return ""
    low, high = np.percentile(base, [0.5, 99.5])
    pad = 0.12 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, bins + 1)
    heights = [(name, index, _density(values, edges)) for name, index, values in clouds]
    under = _density(real, edges) if real is not None else np.zeros(bins)
    top = max([float(under.max()), *(float(h.max()) for _, _, h in heights)]) or 1.0
    width, height = 300, 170
    x, y = Axis(edges[0], edges[-1], 12, width - 12, ticks=4), Axis(0, top * 1.05, height - 28, 24)
    parts = [
        _open(width, height, f"Histogram of {label}", "small"),
        f'<text class="title" x="12" y="14">{escape(label)}</text>',
    ]
    parts.append(f'<path class="area" d="{_steps(under, edges, x, y)}"/>')
    for name, index, rows in heights:
        dashes = f' stroke-dasharray="{dash(index)}"' if dash(index) else ""
        parts.append(
            f'<g class="e{index % len(COLOURS)}"><title>{escape(name)}</title>'
            f'<path class="line thin" d="{_steps(rows, edges, x, y)}"{dashes}/></g>'
        )
    parts.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    for value in x.ticks:
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{height - 10}" text-anchor="middle">{_tick_text(value)}</text>')
    return "".join([*parts, "</svg>"])


def path_chart(lines: np.ndarray, real: np.ndarray | None, limits: Limits, index: int, label: str, size: int = 320) -> str:
    """Trajectories in the plane: a ring where each starts, a dot where it ends, real data in gray behind.

    Args:
        lines: (n, steps + 1, 2); lines that are not finite are left out.
        real: (m, 2), or None.
        limits: What is shown; the rest is cut off.
        index: The entrant's number, which sets the colour.
        label: For readers who do not see it.
        size: Units of the drawing's sides.
    """
    corner, sides = np.array([limits[0], limits[3]]), np.array([limits[1] - limits[0], limits[2] - limits[3]])
    parts = [_open(size, size, label, "paths")]
    if real is not None:
        dots = (real - corner) / sides * size
        parts += ["<g class=real>", *(f'<circle cx="{a:.0f}" cy="{b:.0f}" r="1.3"/>' for a, b in dots.tolist()), "</g>"]
    drawn = [_thinned((line - corner) / sides * size) for line in lines if np.isfinite(line).all()]
    parts.append(f'<g class="e{index % len(COLOURS)}">')
    parts += ['<path class="way" d="M' + "L".join(f"{a:.1f} {b:.1f}" for a, b in line) + '"/>' for line in drawn]
    parts += [f'<circle class="from" cx="{line[0][0]:.1f}" cy="{line[0][1]:.1f}" r="2"/>' for line in drawn]
    parts += [f'<circle class="to" cx="{line[-1][0]:.1f}" cy="{line[-1][1]:.1f}" r="2.4"/>' for line in drawn]
    return "".join([*parts, "</g></svg>"])


def _thinned(line: np.ndarray) -> list[list[float]]:
    """The points of a line that are further than a unit from the one before, and its ends."""
    kept = [line[0]]
    for point in line[1:-1]:
        if np.hypot(*(point - kept[-1])) > 1:
            kept.append(point)
    return [point.tolist() for point in [*kept, line[-1]]]


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    values = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return np.histogram(values, edges)[0] / max(1, len(values))


def _steps(heights: np.ndarray, edges: np.ndarray, x: Axis, y: Axis) -> str:
    parts = [f"M{x(edges[0]):.1f} {y(0):.1f}"]
    for height, left, right in zip(heights, edges[:-1], edges[1:], strict=True):
        parts.append(f"L{x(left):.1f} {y(height):.1f}L{x(right):.1f} {y(height):.1f}")
    return "".join([*parts, f"L{x(edges[-1]):.1f} {y(0):.1f}"])
