"""Charts as SVG in the colours of the page. Colour is never the only sign."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pushforward.numbers import finite, shortened
from pushforward.pictures import COLOURS, colour
from pushforward.report.statistics import Band, Statistic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Figures ----------------------------------------------------------------------------------------

# Colours of matplotlib, which the style sheet of the page replaces
OWN = "#000001"  # the colour of a model, inside a group with its class
SOFT = "#000002"
HAIR = "#000003"
STRONG = "#000004"
BAND = "#000005"
PAPER = "#000006"
WARN = "#000007"
VARIABLES = {
    OWN: "var(--c)",
    SOFT: "var(--soft)",
    HAIR: "var(--hair)",
    STRONG: "var(--hair-strong)",
    BAND: "var(--band)",
    PAPER: "var(--paper)",
    WARN: "var(--warn)",
}
MARKERS = "os^DvP"  # as `pushforward.pictures.SHAPES`
DASHES = ("-", (0, (3.3, 1.4)), (0, (1, 1.4)), (0, (4, 1.4, 1, 1.4)), (0, (6, 1.4)), (0, (0.5, 2)))


class Chart:
    """A figure with one pair of axes.

    Args:
        width, height: The size in CSS pixels.
        left, right, top, bottom: Margins around the axes.
    """

    def __init__(
        self,
        width: float,
        height: float,
        *,
        left: float = 10,
        right: float = 14,
        top: float = 8,
        bottom: float = 28,
    ) -> None:
        from matplotlib.figure import Figure

        self.width = width
        self.height = height
        self.figure = Figure(figsize=(width / 72, height / 72))
        across = (width - left - right) / width
        along = (height - top - bottom) / height
        self.axes: Axes = self.figure.add_axes((left / width, bottom / height, across, along))
        self.axes.patch.set_visible(False)
        self.figure.patch.set_visible(False)
        self.axes.spines[["left", "right", "top"]].set_visible(False)
        self.axes.spines.bottom.set_color(STRONG)
        self.axes.tick_params(length=0, pad=7, labelsize=12)
        self.axes.set_axisbelow(True)

    def label(
        self, words: str, x: float, y: float, kind: str = "label", align: str = "left"
    ) -> None:
        """Write words at a position in pixels from the upper left corner."""
        down = 1 - y / self.height
        self.figure.text(x / self.width, down, words, size=12, gid="label", ha=align)

    def svg(self, label: str) -> Markup:
        """Return the figure with a label for screen readers."""
        import matplotlib

        buffer = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pushforward"}):
            self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        text = buffer.getvalue()
        body = text[text.index('<g id="figure_1">') : text.rindex("</svg>")]
        for sign, variable in VARIABLES.items():
            body = body.replace(sign, variable)
        body = re.sub(r"font[\w-]*: [^;\"]*;? ?", "", body)  # the style sheet sets the font
        body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
        body = re.sub(r'<g id="[\w.]+_\d+"', "<g", body).replace("<g id=", "<g class=")
        body = re.sub(r"\s+", " ", body)
        stamp = hashlib.sha256((label + body).encode()).hexdigest()[:8]
        body = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{stamp}", body)
        body = body.replace("xlink:href", "href")
        size = f'style="--w:{self.width}px" viewBox="0 0 {self.width} {self.height}"'
        kind = " small" if self.width < 500 else ""
        words = f'role="img" aria-label="{escape(label)}"'
        return Markup(f'<svg class="chart{kind}" {size} {words}>{body}</svg>')


def dashes(index: int) -> Any:
    """Return the line style of a model."""
    return DASHES[(index + index // len(COLOURS)) % len(DASHES)]


def dots(axes: Axes, index: int | None, x: Any, y: Any, size: float = 72) -> None:
    """Draw the markers of a model."""
    number = index or 0
    marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
    drawn = axes.scatter(
        x, y, size, OWN, marker, edgecolors=PAPER, linewidths=1.3, clip_on=False, zorder=4
    )
    drawn.set_gid(colour(index))


def band(axes: Axes, floor: Band | None, upright: bool = False) -> None:
    """Draw the score of real data and the scores equal to it."""
    if floor is None:
        return
    middle, half_width = floor
    span = axes.axvspan if upright else axes.axhspan
    rule = axes.axvline if upright else axes.axhline
    span(middle - half_width, middle + half_width, facecolor=BAND)
    rule(middle, color=SOFT, linewidth=1, linestyle=(0, (1, 3)))


# Axes -------------------------------------------------------------------------------------------

NEAR = 0.5  # an axis starts at 0 if the least value is less than this fraction of the greatest
FAR = 8  # ratio of the greatest to the least value from which an axis is logarithmic
NARROW = 10  # ratio of the ends of a logarithmic axis below which its ticks are evenly spaced


def spanned(values: Sequence[float], ends: Sequence[float], log: bool) -> tuple[float, float]:
    """Return the ends of an axis for values and error bars."""
    if log:
        least = min(values)
        shown = [*values, *(max(end, 0.6 * least) for end in ends)]
        return min(shown) / 1.1, max(shown) * 1.1
    low = min(*values, *ends)
    high = max(*values, *ends)
    room = 0.06 * (high - low) or 0.1 * abs(low) or 1.0
    if 0 <= low <= NEAR * high:
        return 0.0, high + room
    return low - room, high + room


def far_apart(values: Sequence[float]) -> bool:
    """Return whether positive values need a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) > FAR * min(values)


def scale(
    axis: Axis,
    low: float,
    high: float,
    *,
    log: bool = False,
    ticks: int = 5,
    whole: bool = False,
    unit: str = "",
) -> str:
    """Set ends and ticks of an axis; return a remark if it is logarithmic or lacks 0."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    if log:
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    if log and high > NARROW * low:
        steps = (1, 2, 5) if high < 40 * NARROW * low else (1,)
        axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    else:
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter(f"{{x:,.6g}}{unit}"))
    axis.set_view_interval(low, high, ignore=True)
    if log:
        return " · log scale"
    if low <= 0 <= high:
        return ""
    return " · axis does not start at\u00a00"


# Lines ------------------------------------------------------------------------------------------

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


@dataclass(frozen=True)
class Series:
    """A line or points of one model.

    Args:
        name: The name in the legend.
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

    def draw(self, axes: Axes) -> None:
        """Draw line, error bars and markers."""
        points = self.points
        if not points:
            return
        x, y = np.array(points).T
        own = {"color": OWN, "gid": colour(self.index)}
        if self.line and self.style == "faint":
            axes.plot(x, y, linewidth=1, alpha=0.28, **own)
        elif self.line:
            styles = {"solid": "-", "dashed": (0, (2.4, 1.9))}
            style = styles.get(self.style) or dashes(self.index)
            axes.plot(x, y, linewidth=2.1, linestyle=style, **own)
        for place, low, high in self.whiskers:
            axes.plot([place, place], [low, high], linewidth=2.2, alpha=0.6, **own)
        if self.dots:
            dots(axes, self.index, x, y)


@dataclass(frozen=True)
class Span:
    """A shaded range of the horizontal axis."""

    start: float
    stop: float


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
    small = plot.width < 500
    left = 46 if small else 56
    right = 80 if floor else 14
    chart = Chart(plot.width, plot.height, left=left, right=right, top=26, bottom=46)
    axes = chart.axes
    low, high, log_y = _vertical(series, ys, plot, floor)
    y_note = scale(axes.yaxis, low, high, log=log_y, ticks=4 if small else 6)
    log_x = plot.log_x and xs.min() > 0
    x_low = xs.min() / 1.12 if log_x else xs.min()
    x_high = xs.max() * 1.12 if log_x else xs.max()
    whole = bool((xs == np.round(xs)).all())
    scale(axes.xaxis, x_low, x_high, log=log_x, ticks=4 if small else 7, whole=whole)
    axes.grid(axis="y", color=HAIR, linewidth=1)
    for span in spans:
        axes.axvspan(span.start, span.stop, facecolor=WARN, alpha=0.13)
        axes.axvline(span.start, color=WARN, linewidth=1.4, linestyle=(0, (3, 2)))
    band(axes, floor)
    if floor is not None:
        beside = axes.get_yaxis_transform()
        axes.text(1.02, floor[0], "real data", transform=beside, va="center", gid="floortext")
    for drawn in series:
        drawn.draw(axes)
    chart.label(y_label + y_note, 0, 14)
    x_words = f"{x_label}, log scale" if log_x else x_label
    chart.label(x_words, (left + plot.width - right) / 2, plot.height - 4, align="center")
    return chart.svg(f"{y_label} over {x_label}")


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
    if high <= low:
        high = low + 1
    return low, high, log


# Rows -------------------------------------------------------------------------------------------


def interval_chart(
    scores: Sequence[tuple[int | None, Statistic]],
    label: str,
    floor: Band | None = None,
    *,
    log: bool = False,
) -> tuple[Markup, str]:
    """Draw scores over the band of real data; return the chart and a note about its axis."""
    chart = Chart(400, 56 + 30 * len(scores), left=112, top=20)
    axes = chart.axes
    values = [score.value for _, score in scores]
    ends = [end for _, score in scores for end in score.bar or ()]
    if floor is not None:
        values.append(floor[0])
        ends += [floor[0] - floor[1], floor[0] + floor[1]]
    log = log and min(values) > 0
    low, high = spanned(values, values + ends, log)
    note = scale(axes.xaxis, low, high, log=log)
    band(axes, floor, upright=True)
    if floor is not None:
        above = axes.get_xaxis_transform()
        axes.text(floor[0], 1.04, "real data", transform=above, ha="center", gid="floortext")
    named_rows(axes, ["baseline" if index is None else score.name for index, score in scores])
    for row, (index, score) in enumerate(scores):
        if score.bar is not None:
            own = {"color": OWN, "gid": colour(index)}
            axes.plot(score.bar, [row, row], linewidth=2.2, alpha=0.6, **own)
        dots(axes, index, [score.value], [row])
    return chart.svg(f"{label} of each model"), note


def named_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a chart from top to bottom, over vertical grid lines."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), shortened(names, 16))
    for text in axes.get_yticklabels():
        text.set_gid("rowname")
    axes.grid(axis="x", color=HAIR, linewidth=1)


def row_chart(
    label: str,
    names: Sequence[str],
    models: Sequence[tuple[int, Sequence[float]]],
    real: Sequence[float] = (),
    *,
    width: int = 520,
) -> Markup:
    """Draw a marker for each model in rows, over bars of real data (in %), if given."""
    step = max(17, 5 * len(models))
    chart = Chart(width, 36 + step * len(names), left=128)
    axes = chart.axes
    most = max(max(values, default=0.0) for values in (real, *(values for _, values in models)))
    unit = " %" if len(real) else ""
    scale(axes.xaxis, 0.0, 1.05 * most or 1.0, ticks=width // 100, unit=unit)
    if len(real):
        axes.barh(range(len(names)), real, 0.8, color=BAND)
    named_rows(axes, names)
    for order, (index, values) in enumerate(models):
        shift = 0.7 * ((order + 0.5) / len(models) - 0.5)
        dots(axes, index, values, [row + shift for row in range(len(names))], 46)
    return chart.svg(label)
