"""Charts as SVG in the colours of the page. Colour is never the only sign."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup

from pushforward.numbers import finite, plain, shortened
from pushforward.pictures import COLOURS, Limits, colour, marker
from pushforward.report.statistics import Band, Statistic

# Axes -------------------------------------------------------------------------------------------

NEAR = 0.5  # an axis starts at 0 if the least value is less than this fraction of the greatest
FAR = 8  # ratio of the greatest to the least value from which an axis is logarithmic


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
        if high <= low and self.log:
            low = low / 1.5
            high = high * 1.5
        elif high <= low:
            pad = abs(low) * 0.1 or 1.0
            low = low - pad
            high = high + pad
        self.low = low
        self.high = high
        self.start = start
        self.end = end
        if self.log:
            self.ticks = _log_ticks(low, high)
        else:
            self.ticks = _linear_ticks(low, high, ticks, whole)

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        low = self.low
        high = self.high
        if self.log and value <= 0:
            return self.start
        if self.log:
            low, high, value = map(math.log, (low, high, value))
        fraction = (value - low) / (high - low)
        return self.start + min(1.04, max(-0.04, fraction)) * (self.end - self.start)

    @property
    def note(self) -> str:
        """A remark on a logarithmic axis, or one without 0."""
        if self.log:
            return " · log scale"
        if self.low <= 0 <= self.high:
            return ""
        return " · axis does not start at\u00a00"


def spanned(values: Sequence[float], ends: Sequence[float], log: bool) -> tuple[float, float]:
    """Return the ends of an axis for values and error bars."""
    if log:
        least = min(values)
        shown = [*values, *(max(end, 0.6 * least) for end in ends)]
        return min(shown) / 1.1, max(shown) * 1.1
    low = min(*values, *ends)
    high = max(*values, *ends)
    room = 0.06 * (high - low)
    if 0 <= low <= NEAR * high:
        return 0.0, high + room
    return low - room, high + room


def far_apart(values: Sequence[float]) -> bool:
    """Return whether positive values need a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) > FAR * min(values)


def _linear_ticks(low: float, high: float, ticks: int, whole: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins=ticks, steps=[1, 2, 2.5, 5, 10], integer=whole)
    slack = 1e-9 * (high - low)
    places = []
    for place in map(float, locator.tick_values(low, high)):
        if low - slack <= place <= high + slack:
            places.append(0.0 if abs(place) < slack else place)
    return places


def _log_ticks(low: float, high: float) -> list[float]:
    steps = (1, 2, 5) if high / low < 10**2.6 else (1,)
    ticks = []
    for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for step in steps:
            tick = step * 10.0**decade
            if low * 0.999 <= tick <= high * 1.001:
                ticks.append(tick)
    if len(ticks) > 1:
        return ticks
    return _linear_ticks(low, high, 4)


SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def tick_text(value: float) -> str:
    """Format the number of a tick."""
    if 1e4 <= value < 1e7:
        return f"{value / 1000:,.4g}k"
    if not value or 1e-4 <= abs(value) < 1e4:
        return f"{value:,.6g}".replace("-", "−")
    exponent = math.floor(math.log10(abs(value)))
    lead = value / 10**exponent
    power = f"10{str(exponent).translate(SUPERSCRIPTS)}"
    if abs(lead - 1) < 1e-6:
        return power
    return f"{lead:.3g}·{power}"


def x_ticks(x: Axis, bottom: float, top: float | None = None) -> Iterator[str]:
    """Draw tick labels and vertical grid lines up to ``top``."""
    for value in x.ticks:
        if top is not None:
            yield line("gridline", x(value), top, x(value), bottom)
        yield text(tick_text(value), x(value), bottom + 18, "middle")


def y_ticks(y: Axis, left: float, right: float) -> Iterator[str]:
    """Draw tick labels and horizontal grid lines."""
    for value in y.ticks:
        yield line("gridline", left, y(value), right, y(value))
        yield text(tick_text(value), left - 8, y(value) + 4, "end")


# Parts of charts --------------------------------------------------------------------------------

DASHES = ("", "7 3", "2 3", "8 3 2 3", "12 3", "1 4")


def dot(index: int | None, x: float, y: float, words: str, r: float = 4.5) -> str:
    """Return the marker of a model with a tooltip."""
    return group(f"dot {colour(index)}", [marker(index or 0, x, y, r)], words)


def group(kind: str, parts: Iterable[str], words: str = "") -> str:
    """Return parts with a common style and tooltip."""
    return f'<g class="{kind}">{tooltip(words)}{"".join(parts)}</g>'


def tooltip(words: str) -> str:
    """Return the title of an element."""
    if not words:
        return ""
    return f"<title>{escape(words)}</title>"


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
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def box(
    kind: str, x: float, y: float, width: float, height: float, words: str = "", more: str = ""
) -> str:
    """Return a rectangle with a style and a tooltip."""
    size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {size}{more}>{tooltip(words)}</rect>'


def svg(width: float, height: float, label: str, parts: Iterable[str], kind: str = "") -> Markup:
    """Return a chart with a label for screen readers."""
    size = f'style="--w:{width}px" viewBox="0 0 {width} {height}"'
    words = f'role="img" aria-label="{escape(label)}"'
    return Markup(f'<svg class="chart {kind}" {size} {words}>{"".join(parts)}</svg>')


def path(points: Iterable[Sequence[float]]) -> str:
    """Return the path through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


SMOOTH = 15  # maximum number of points of a running mean


def smooth(values: Sequence[float | None]) -> list[float]:
    """Return the running mean of the running median."""
    if not values:
        return []
    x = np.array([*map(finite, values)], dtype=float)
    half = min(SMOOTH, max(1, len(x) // 8)) // 2
    with warnings.catch_warnings(action="ignore"):  # of windows without any finite value
        for average in (np.nanmedian, np.nanmean):
            padded = np.pad(x, half, constant_values=np.nan)
            windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
            x = average(windows, axis=1)
    return list(x.tolist())


# Lines over axes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """A line or points of one model.

    Args:
        name: The name in tooltips.
        index: The number of the model, which sets colour, shape and dashes.
        x, y: Values; points that are not finite are left out.
        line, dots: Whether points are connected and marked.
        style: "", "faint", "solid" or "dashed".
        bars: The ends of the error bar of each point.
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
        points = []
        for x, y in zip(map(finite, self.x), map(finite, self.y), strict=False):
            if x is not None and y is not None:
                points.append((x, y))
        return points

    @property
    def whiskers(self) -> list[tuple[float, float, float]]:
        """Position, lower and upper end of each error bar."""
        whiskers = []
        for x, ends in zip(map(finite, self.x), self.bars, strict=False):
            if x is not None and ends is not None:
                whiskers.append((x, *ends))
        return whiskers


@dataclass(frozen=True)
class Span:
    """A shaded range of the horizontal axis."""

    start: float
    stop: float
    text: str


@dataclass(frozen=True)
class Plot:
    """Size and axes of a line chart; ``clip`` is the fraction of points beyond either end."""

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
    floor: Band | None = None,
    spans: Sequence[Span] = (),
) -> Markup:
    """Draw lines and points over axes; ``floor`` is the mean and half-width of real data."""
    points = [point for drawn in series for point in drawn.points]
    if not points:
        return Markup()
    xs, ys = np.array(points).T
    x_low = float(xs.min())
    x_high = float(xs.max())
    if plot.log_x and x_low > 0:
        x_low = x_low / 1.12
        x_high = x_high * 1.12
    whole = bool((xs == np.round(xs)).all())
    low, high, log_y = _vertical(series, ys, plot, floor)
    bottom = plot.height - 46
    if plot.width < 500:
        style = "small"
        x = Axis(x_low, x_high, 46, plot.width - 14, log=plot.log_x, ticks=4, whole=whole)
        y = Axis(low, high, bottom, 26, log=log_y, ticks=4)
    else:
        style = ""
        right = plot.width - (80 if floor else 14)
        x = Axis(x_low, x_high, 56, right, log=plot.log_x, ticks=7, whole=whole)
        y = Axis(low, high, bottom, 26, log=log_y, ticks=6)
    parts = [*_band(x, y, floor)]
    parts += [_shaded(span, x, y) for span in spans]
    parts += y_ticks(y, x.start, x.end)
    parts.append(line("axis", x.start, y.start, x.end, y.start))
    parts += [line("axis", x(value), y.start, x(value), y.start + 4) for value in x.ticks]
    parts += x_ticks(x, y.start)
    middle = (x.start + x.end) / 2
    x_words = f"{x_label}, log scale" if x.log else x_label
    parts.append(text(x_words, middle, plot.height - 4, "middle", "label"))
    parts.append(text(y_label + y.note, 0, 14, kind="label"))
    parts += [_drawn(drawn, x, y) for drawn in series]
    label = f"{y_label} over {x_label}"
    return svg(plot.width, plot.height, label, parts, style)


def _vertical(
    series: Sequence[Series], ys: np.ndarray, plot: Plot, floor: Band | None
) -> tuple[float, float, bool]:
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
    if last is not None:
        high = last
    if first is not None:
        low = first
    if first is not None and high <= low:
        high = low + 1
    return low, high, log


def _band(x: Axis, y: Axis, floor: Band | None) -> Iterator[str]:
    if floor is None:
        return
    mean, half_width = floor
    top = y(mean + half_width)
    middle = y(mean)
    bottom = y(max(mean - half_width, y.low))
    yield box("band", x.start, top, x.end - x.start, max(2.0, bottom - top))
    yield line("floorline", x.start, middle, x.end, middle)
    yield text("real data", x.end + 8, middle + 4, kind="floortext")


def _shaded(span: Span, x: Axis, y: Axis) -> str:
    start = x(span.start)
    width = max(2.0, x(span.stop) - start)
    shade = box("", start, y.end, width, y.start - y.end)
    return group("alarm", [shade, line("", start, y.end, start, y.start)], span.text)


def _drawn(drawn: Series, x: Axis, y: Axis) -> str:
    parts = []
    places = [(x(a), y(b)) for a, b in drawn.points]
    if drawn.line and len(places) > 1:
        dash = ""
        if drawn.style == "dashed":
            dash = ' stroke-dasharray="5 4"'
        elif not drawn.style:
            dash = dashes(drawn.index)
        parts.append(f'<path class="line" d="{path(places)}"{dash}/>')
    for at, low, high in drawn.whiskers:
        parts.append(line("whisker", x(at), y(max(low, y.low)), x(at), y(high)))
    if drawn.dots:
        for a, b in drawn.points:
            parts.append(dot(drawn.index, x(a), y(b), f"{drawn.name}: {plain(b)} at {plain(a)}"))
    return group(f"{colour(drawn.index)} {drawn.style}", parts)


# Intervals --------------------------------------------------------------------------------------


def interval_chart(
    scores: Sequence[tuple[int | None, Statistic]],
    label: str,
    floor: Band | None = None,
    *,
    log: bool = False,
) -> tuple[Markup, str]:
    """Draw scores over the band of real data; return the chart and a note about its axis."""
    step = 30
    left = 112
    right = 386
    top = 20
    bottom = top + 10 + step * len(scores)
    values = [score.value for _, score in scores]
    ends = [end for _, score in scores for end in score.bar or ()]
    if floor is not None:
        values.append(floor[0])
        ends += [floor[0] - floor[1], floor[0] + floor[1]]
    log = log and min(values) > 0
    x = Axis(*spanned(values, values + ends, log), left, right, log=log, ticks=5)
    parts = []
    if floor is not None:
        parts += _vertical_band(x, floor, top, bottom)
    parts += x_ticks(x, bottom, top)
    names = ["baseline" if index is None else score.name for index, score in scores]
    for row, name in enumerate(shortened(names, 16)):
        index, score = scores[row]
        y = top + step * (row + 0.5)
        drawn = [text(name, left - 10, y + 4, "end", "rowname")]
        low, high = score.bar or (score.value, score.value)
        drawn.append(line("whisker", x(max(low, x.low)), y, x(max(high, x.low)), y))
        drawn.append(dot(index, x(score.value), y, f"{names[row]}: {score.text}"))
        parts.append(group(colour(index), drawn))
    return svg(400, bottom + 26, f"{label} of each model", parts, "intervals"), x.note


def _vertical_band(x: Axis, floor: Band, top: float, bottom: float) -> list[str]:
    start = x(max(floor[0] - floor[1], x.low))
    end = x(max(floor[0] + floor[1], x.low))
    middle = x(floor[0])
    if middle > x.end - 30:
        anchor = "end"
    elif middle < x.start + 40:
        anchor = "start"
    else:
        anchor = "middle"
    return [
        box("band", start, top, max(2.0, end - start), bottom - top),
        line("floorline", middle, top, middle, bottom),
        text("real data", middle, top - 5, anchor, "floortext"),
    ]


# Trajectories -----------------------------------------------------------------------------------


def to_picture(points: np.ndarray, limits: Limits, size: float) -> np.ndarray:
    """Convert points (..., 2) of the plane to positions in a square picture."""
    left, right, low, high = limits
    places: np.ndarray = (points - [left, high]) / [right - left, low - high] * size
    return places
