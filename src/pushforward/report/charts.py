"""Charts as SVG in the colours of the page, light or dark. Colour is never the only sign."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup

from pushforward.numbers import finite, plain, shortened
from pushforward.pictures import COLOURS, Limits, colour, marker

DASHES = ("", "7 3", "2 3", "8 3 2 3", "12 3", "1 4")
NEAR = 0.5  # An axis starts at 0 if the least value is less than this fraction of the greatest
FAR = 8  # Ratio of the greatest to the least value from which an axis is logarithmic
SMOOTH = 15  # Maximum number of points of a running mean


# Axes -----------------------------------------------------------------------------------------------------------


class Axis:
    """A scale from values to pixels with its ticks."""

    def __init__(
        self,
        low: float,
        high: float,
        start: float,
        end: float,
        *,
        log: bool = False,
        ticks: int = 5,
        whole: bool = False,
    ) -> None:
        self.log = log and low > 0
        if not high > low:
            pad = abs(low) * 0.1 or 1.0
            low, high = (low / 1.5, high * 1.5) if self.log else (low - pad, high + pad)
        self.low = low
        self.high = high
        self.start = start
        self.end = end
        self.ticks = _log_ticks(low, high) if self.log else _linear_ticks(low, high, ticks, whole)

    def __call__(self, value: float) -> float:
        """Return the position of a value; values beyond the ends stay at the edge."""
        scale: Callable[[float], float] = math.log if self.log else float
        if self.log and value <= 0:
            return self.start
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + min(1.04, max(-0.04, share)) * (self.end - self.start)

    @property
    def note(self) -> str:
        """The part of a label that says that an axis is logarithmic or does not contain 0."""
        if self.log:
            return " · log scale"
        if self.low <= 0 <= self.high:
            return ""
        return " · axis does not start at\u00a00"


def padded(low: float, high: float) -> tuple[float, float]:
    """Return the ends of a linear axis with some room beyond the values; 0 if that is near."""
    room = 0.06 * (high - low)
    return (0.0 if 0 <= low <= NEAR * high else low - room), high + room


def spanned(values: Sequence[float], ends: Sequence[float], log: bool) -> tuple[float, float]:
    """Return the ends of an axis that shows values and error bars; a logarithmic one cuts bars below the values."""
    if not log:
        return padded(min(*values, *ends), max(*values, *ends))
    least = min(values)
    shown = [*values, *(max(end, 0.6 * least) for end in ends)]
    return min(shown) / 1.1, max(shown) * 1.1


def far_apart(values: Sequence[float]) -> bool:
    """Return whether positive values are so far apart that a logarithmic axis shows them better."""
    return bool(values) and min(values) > 0 and max(values) > FAR * min(values)


def _linear_ticks(low: float, high: float, ticks: int, whole: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(
        low, high
    )
    slack = 1e-9 * (high - low)
    return [
        float(0 if abs(place) < slack else place)
        for place in places
        if low - slack <= place <= high + slack
    ]


def _log_ticks(low: float, high: float) -> list[float]:
    steps = (1, 2, 5) if math.log10(high / low) < 2.6 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in every if low * 0.999 <= tick <= high * 1.001]
    if len(ticks) > 1:
        return ticks
    return _linear_ticks(low, high, 4)


def tick_text(value: float) -> str:
    """Format the number of a tick."""
    if 1e4 <= value < 1e7:
        return f"{value / 1000:,.4g}k"
    if value and (abs(value) >= 1e4 or abs(value) < 1e-4):
        size = math.floor(math.log10(abs(value)))
        lead = value / 10**size
        power = f"10{str(size).translate(str.maketrans('0123456789-', '⁰¹²³⁴⁵⁶⁷⁸⁹⁻'))}"
        if abs(lead - 1) < 1e-6:
            return power
        return f"{lead:.3g}·{power}"
    return f"{value:,.6g}".replace("-", "−")


def x_ticks(x: Axis, bottom: float, top: float | None = None) -> Iterator[str]:
    """Draw the numbers below a horizontal axis, and vertical grid lines up to ``top``."""
    for value in x.ticks:
        if top is not None:
            yield line("gridline", x(value), top, x(value), bottom)
        yield text(tick_text(value), x(value), bottom + 18, "middle")


def y_ticks(y: Axis, left: float, right: float) -> Iterator[str]:
    """Draw the tick labels and horizontal grid lines of a vertical axis."""
    for value in y.ticks:
        yield line("gridline", left, y(value), right, y(value)) + text(
            tick_text(value), left - 8, y(value) + 4, "end"
        )


# Parts of charts ------------------------------------------------------------------------------------------------


def dot(index: int | None, x: float, y: float, text: str, r: float = 4.5) -> str:
    """Return the marker of a model with a tooltip."""
    return f'<g class="dot {colour(index)}"><title>{escape(text)}</title>{marker(index or 0, x, y, r)}</g>'


def dashes(index: int) -> str:
    """Return the dash pattern of a model's lines as an attribute."""
    dash = DASHES[(index + index // len(COLOURS)) % len(DASHES)]
    if dash:
        return f' stroke-dasharray="{dash}"'
    return ""


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a straight line with a style."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(words: str, x: float, y: float, anchor: str = "start", kind: str = "tick") -> str:
    """Return a text, escaped, at a position."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def box(
    kind: str, x: float, y: float, width: float, height: float, title: str = "", more: str = ""
) -> str:
    """Return a rectangle with a style and a tooltip."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{more}>{inner}</rect>'


def svg(width: float, height: float, label: str, parts: Iterable[str], kind: str = "") -> Markup:
    """Return a chart with its natural width for the style sheet and a label for screen readers."""
    size = f'style="--w:{width}px" viewBox="0 0 {width} {height}"'
    return Markup(
        f'<svg class="chart {kind}" {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def path(points: Iterable[Sequence[float]]) -> str:
    """Return the path through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def smooth(values: Sequence[float | None]) -> list[float]:
    """Return the running mean of the running median, which removes single spikes."""
    x = np.array([np.nan if (value := finite(v)) is None else value for v in values])
    half = min(SMOOTH, max(1, len(x) // 8)) // 2
    with warnings.catch_warnings(action="ignore"):  # of windows without any finite value
        for middle in (np.nanmedian, np.nanmean):
            padded_x = np.pad(x, (half, half + (len(x) == 0)), constant_values=np.nan)
            x = middle(np.lib.stride_tricks.sliding_window_view(padded_x, 2 * half + 1), axis=1)[
                : len(values)
            ]
    return [float(value) for value in x]


# Lines over axes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """A line or points of one model.

    Args:
        name: The name in tooltips.
        index: The number of the model, which sets colour, shape and dashes.
        x: Horizontal values.
        y: Vertical values; points that are not finite are left out.
        line: Whether points are connected.
        dots: Whether points are marked.
        style: "", "faint", "solid" or "dashed".
        bars: The ends of the error bar of each point; None for a point without one.
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
        """The finite points in order."""
        pairs = [(finite(x), finite(y)) for x, y in zip(self.x, self.y, strict=False)]
        return [(x, y) for x, y in pairs if x is not None and y is not None]

    @property
    def whiskers(self) -> list[tuple[float, float, float]]:
        """Position, lower and upper end of each error bar."""
        drawn = zip(self.x, self.bars, strict=False)
        return [
            (x, ends[0], ends[1])
            for at, ends in drawn
            if (x := finite(at)) is not None and ends is not None
        ]


@dataclass(frozen=True)
class Span:
    """A shaded range of the horizontal axis, such as the steps during which an alarm lasted."""

    start: float
    stop: float
    text: str


@dataclass(frozen=True)
class Plot:
    """Size and axes of a line chart.

    Args:
        width: Width of the drawing in units.
        height: Height of the drawing in units.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Whether the vertical axis is logarithmic, if all values are positive.
        clip: Fraction of points at either end that may lie outside, so that spikes do not flatten the rest.
        ends: Fixed ends of the vertical axis; None follows the values.
    """

    width: int = 600
    height: int = 350
    log_x: bool = False
    log_y: bool = False
    clip: float = 0.0
    ends: tuple[float | None, float | None] = (None, None)


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    plot: Plot = Plot(),
    *,
    floor: tuple[float, float] | None = None,
    spans: Sequence[Span] = (),
) -> Markup:
    """Draw lines and points over labelled axes.

    Args:
        series: Lines and points, in drawing order.
        x_label: Label below the horizontal axis.
        y_label: Label above the vertical axis.
        plot: Size and axes.
        floor: Mean and half-width of the band of real data. If it or a value is not positive, a logarithmic axis
            ends at a third of the band's upper end, and smaller values are drawn at the edge.
        spans: Ranges shaded behind the lines.

    Returns:
        SVG, or an empty string if there is nothing to draw.
    """
    points = [point for drawn in series for point in drawn.points]
    if not points:
        return Markup()
    xs, ys = np.array(points).T
    low, high, log_y = _vertical(series, ys, plot, floor)
    x_low = float(xs.min())
    x_high = float(xs.max())
    x_low, x_high = (x_low / 1.12, x_high * 1.12) if plot.log_x and x_low > 0 else (x_low, x_high)
    small = plot.width < 500
    whole = bool((xs == np.round(xs)).all())
    left = 46 if small else 56
    right = plot.width - (80 if floor else 14)
    x = Axis(x_low, x_high, left, right, log=plot.log_x, ticks=4 if small else 7, whole=whole)
    y = Axis(low, high, plot.height - 46, 26, log=log_y, ticks=4 if small else 6)
    parts = [] if floor is None else _band(x, y, floor)
    parts += [_shaded(span, x, y) for span in spans]
    parts += _frame(x, y, x_label + ", log scale" * x.log, y_label + y.note, plot.height)
    parts += [part for drawn in series for part in _drawn(drawn, x, y)]
    return svg(
        plot.width, plot.height, f"{y_label} over {x_label}", parts, "small" if small else ""
    )


def _vertical(
    series: Sequence[Series], ys: np.ndarray, plot: Plot, floor: tuple[float, float] | None
) -> tuple[float, float, bool]:
    """Return the ends of the vertical axis, and whether it is logarithmic."""
    low, high = (float(end) for end in np.quantile(ys, [plot.clip, 1 - plot.clip]))
    ends = [end for drawn in series for _, *bar in drawn.whiskers for end in bar]
    if floor is not None:
        top = floor[0] + floor[1]
        ends += [floor[0] - floor[1], top]
        if plot.log_y and min(low, floor[0]) <= 0 and 0 < top < high:
            low = max(low, top / 3)
    log = plot.log_y and low > 0
    values = [low, high]
    if floor is not None and (floor[0] > 0 or not log):
        values.append(floor[0])
    low, high = spanned(values, ends, log)
    first, last = plot.ends
    if first is not None:
        low = first
    if last is not None:
        high = last
    if first is not None and high <= low:
        high = low + 1
    return low, high, log


def _frame(x: Axis, y: Axis, x_label: str, y_label: str, height: int) -> Iterator[str]:
    yield from y_ticks(y, x.start, x.end)
    yield line("axis", x.start, y.start, x.end, y.start)
    yield from (line("axis", x(value), y.start, x(value), y.start + 4) for value in x.ticks)
    yield from x_ticks(x, y.start)
    yield text(x_label, (x.start + x.end) / 2, height - 4, "middle", "label") + text(
        y_label, 0, 14, kind="label"
    )


def _band(x: Axis, y: Axis, floor: tuple[float, float]) -> list[str]:
    top = y(floor[0] + floor[1])
    middle = y(floor[0])
    bottom = y(max(floor[0] - floor[1], y.low))
    return [
        box("band", x.start, top, x.end - x.start, max(2.0, bottom - top)),
        line("floorline", x.start, middle, x.end, middle),
        text("real data", x.end + 8, middle + 4, kind="floortext"),
    ]


def _shaded(span: Span, x: Axis, y: Axis) -> str:
    start = x(span.start)
    top = min(y.start, y.end)
    inner = box("", start, top, max(2.0, x(span.stop) - start), abs(y.start - y.end)) + line(
        "", start, top, start, y.start
    )
    return f'<g class="alarm"><title>{escape(span.text)}</title>{inner}</g>'


def _drawn(drawn: Series, x: Axis, y: Axis) -> Iterator[str]:
    at = [(x(a), y(b)) for a, b in drawn.points]
    yield f'<g class="{colour(drawn.index)} {drawn.style}">'
    if drawn.line and len(at) > 1:
        if drawn.style == "dashed":
            dash = ' stroke-dasharray="5 4"'
        elif drawn.style:
            dash = ""
        else:
            dash = dashes(drawn.index)
        yield f'<path class="line" d="{path(at)}"{dash}/>'
    yield from (
        line("whisker", x(place), y(max(low, y.low)), x(place), y(high))
        for place, low, high in drawn.whiskers
    )
    if drawn.dots:
        for place, (a, b) in zip(at, drawn.points, strict=True):
            yield dot(drawn.index, *place, f"{drawn.name}: {plain(b)} at {plain(a)}")
    yield "</g>"


# Intervals and trajectories -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A row of an interval chart.

    Args:
        name: The name of the row.
        index: The number of the model; None draws in gray.
        mean: The value.
        bar: The ends of the error bar; None for no bar.
        text: The tooltip.
    """

    name: str
    index: int | None
    mean: float
    bar: tuple[float, float] | None
    text: str

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the bar, or the value twice."""
        return self.bar or (self.mean, self.mean)


def interval_chart(
    rows: Sequence[Interval],
    label: str,
    floor: tuple[float, float] | None = None,
    *,
    log: bool = False,
) -> Markup:
    """Draw values with error bars, one row each, over the band of real data, below a title.

    Args:
        rows: Rows from top to bottom.
        label: The title.
        floor: Mean and half-width of the band of real data.
        log: Whether the axis is logarithmic, if all values are positive.
    """
    if not rows:
        return Markup()
    width = 400
    step = 30
    left = 112
    top = 20
    bottom = top + 10 + step * len(rows)
    band = [] if floor is None else [floor[0] - floor[1], floor[0] + floor[1]]
    means = [row.mean for row in rows] + ([] if floor is None else [floor[0]])
    log = log and min(means) > 0
    ends = [end for row in rows for end in row.ends]
    x = Axis(*spanned(means, [*ends, *band], log), left, width - 14, log=log, ticks=5)
    parts = []
    if floor is not None:
        start, end = (x(max(place, x.low)) for place in band)
        middle = x(floor[0])
        if middle > (left + width) / 2 + 100:
            anchor = "end"
        elif middle < left + 40:
            anchor = "start"
        else:
            anchor = "middle"
        parts += [
            box("band", start, top, max(2.0, end - start), bottom - top),
            line("floorline", middle, top, middle, bottom),
        ]
        parts.append(text("real data", middle, top - 5, anchor, "floortext"))
    parts += x_ticks(x, bottom, top)
    names = shortened([row.name for row in rows], 16)
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        at = top + step * (number + 0.5)
        start, end = (x(max(place, x.low)) for place in row.ends)
        parts.append(
            f'<g class="{colour(row.index)}">{text(name, left - 10, at + 4, "end", "rowname")}'
        )
        parts.append(
            f"{line('whisker', start, at, end, at)}{dot(row.index, x(row.mean), at, f'{row.name}: {row.text}')}</g>"
        )
    title = Markup('<p class="figtitle">{}<span>{}</span></p>').format(label, x.note)
    return title + svg(width, bottom + 26, f"{label} of each model", parts, "intervals")


def path_chart(
    lines: np.ndarray,
    real: np.ndarray | None,
    limits: Limits,
    index: int,
    label: str,
    size: int = 320,
) -> Markup:
    """Draw trajectories in the plane, from a cross to a dot, over real data as gray rings.

    Args:
        lines: Trajectories, shape (n, steps + 1, 2); lines that are not finite are left out.
        real: Points of real data, shape (m, 2), or None.
        limits: The part of the plane that is shown.
        index: The number of the model, which sets the colour.
        label: Label for screen readers.
        size: Width and height of the drawing in units.
    """
    corner = np.array([limits[0], limits[3]])
    sides = np.array([limits[1] - limits[0], limits[2] - limits[3]])
    behind = np.zeros((0, 2)) if real is None else (real - corner) / sides * size
    rings = "".join(f'<circle cx="{a:.0f}" cy="{b:.0f}" r="2"/>' for a, b in behind.tolist())
    drawn = [_thinned((way - corner) / sides * size) for way in lines if np.isfinite(way).all()]
    parts = [f'<g class="real">{rings}</g><g class="{colour(index)}">']
    parts += [f'<path class="way" d="{path(way)}"/>' for way in drawn]
    parts += [
        f'<path class="from" d="M{x - 2.4:.1f} {y - 2.4:.1f}l4.8 4.8m0 -4.8l-4.8 4.8"/>'
        for (x, y), *_ in drawn
    ]
    parts += [f'<circle class="to" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for *_, (x, y) in drawn]
    return svg(size, size, label, [*parts, "</g>"], "paths")


def _thinned(way: np.ndarray) -> list[list[float]]:
    """Return the ends of a line and its points that are more than a unit from the previous one."""
    points = [way[0]]
    for point in way[1:-1]:
        if np.hypot(*(point - points[-1])) > 1:
            points.append(point)
    return [point.tolist() for point in [*points, way[-1]]]
