"""Charts as SVG in the colours of the page. Colour is never the only sign."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pushforward.numbers import shortened
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

    def label(self, words: str, x: float, y: float, align: str = "left") -> None:
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
        x,
        y,
        size,
        OWN,
        marker=marker,
        edgecolors=PAPER,
        linewidths=1.3,
        clip_on=False,
        zorder=4,
    )
    drawn.set_gid(colour(index))


def band(axes: Axes, real_data_score: Band | None, upright: bool = False) -> None:
    """Draw the score of real data, and the scores equal to it as a band."""
    if real_data_score is None:
        return
    middle, half_width = real_data_score
    if upright:
        axes.axvspan(middle - half_width, middle + half_width, facecolor=BAND)
        axes.axvline(middle, color=SOFT, linewidth=1, linestyle=(0, (1, 3)))
        above = axes.get_xaxis_transform()
        axes.text(middle, 1.04, "real data", transform=above, ha="center", gid="realtext")
    else:
        axes.axhspan(middle - half_width, middle + half_width, facecolor=BAND)
        axes.axhline(middle, color=SOFT, linewidth=1, linestyle=(0, (1, 3)))
        beside = axes.get_yaxis_transform()
        axes.text(1.02, middle, "real data", transform=beside, va="center", gid="realtext")


# Axes -------------------------------------------------------------------------------------------

NEAR = 0.5  # an axis starts at 0 if the least value is less than this fraction of the greatest
FAR = 8  # ratio of the greatest to the least value from which an axis is logarithmic
EVEN = 3  # ratio of the ends of a logarithmic axis below which its ticks are evenly spaced


def far_apart(values: Sequence[float]) -> bool:
    """Return whether positive values need a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) > FAR * min(values)


def ticked(axis: Axis, ticks: int = 5, unit: str = "", whole: bool = False) -> None:
    """Set the ticks of an axis with fixed ends."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and high > EVEN * low:
        steps = (1, 2, 5) if high < 400 * low else (1,)
        axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    else:
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter(f"{{x:,.6g}}{unit}"))


def fitted(axes: Axes, name: str, values: Sequence[float], log: bool, ticks: int = 5) -> str:
    """Fit the axis "x" or "y" to what is drawn; return a remark if it is logarithmic or lacks 0."""
    axis = getattr(axes, f"{name}axis")
    low, high = axis.get_data_interval()
    if log:
        least = max(low, 0.6 * min(values))
        ends = min(*values, least) / 1.1, high * 1.1
        axes.set(**{f"{name}scale": "log", f"{name}lim": ends})
        note = " · log scale"
    elif 0 <= low <= NEAR * high:
        axes.set(**{f"{name}lim": (0, None)})
        note = ""
    else:
        low, high = axis.get_view_interval()
        note = "" if low <= 0 <= high else " · axis does not start at\u00a00"
    ticked(axis, ticks, whole=bool(np.all(np.mod(values, 1) == 0)))
    return note


# Lines ------------------------------------------------------------------------------------------

SMOOTH = 15  # maximum number of points of a running mean


def smooth(values: np.ndarray) -> np.ndarray:
    """Return the running mean of the running median."""
    from scipy.ndimage import median_filter, uniform_filter1d

    size = min(SMOOTH, max(1, len(values) // 8))
    medians = median_filter(values, size, mode="nearest")
    return np.asarray(uniform_filter1d(medians, size, mode="nearest"))


@dataclass(frozen=True)
class Series:
    """A line or points of one model.

    Args:
        x, y: Values; points that are not finite are left out.
        line, dots: Whether points are connected and marked.
        style: "" for the dashes of the model, "solid" or "dashed".
        smoothed: Whether the line is a running mean over a faint line of the values.
        bars: The ends of the error bar of each point.
    """

    name: str
    index: int
    x: Sequence[float | None]
    y: Sequence[float | None]
    line: bool = True
    dots: bool = True
    style: str = ""
    smoothed: bool = False
    bars: Sequence[tuple[float, float] | None] = ()

    @property
    def points(self) -> np.ndarray:
        """The finite points in order, (2, n)."""
        pairs = list(zip(self.x, self.y, strict=False))  # one is empty if it is not known
        points = np.array(pairs, dtype=float).reshape(-1, 2).T
        return points[:, np.isfinite(points).all(0)]

    def draw(self, axes: Axes) -> None:
        """Draw line, error bars and markers."""
        x, y = self.points
        own: dict[str, Any] = {"color": OWN, "gid": colour(self.index)}
        if self.smoothed:
            axes.plot(x, y, linewidth=1, alpha=0.28, scaley=False, **own)
            y = smooth(y)
        if self.line:
            styles = {"solid": "-", "dashed": (0, (2.4, 1.9)), "": dashes(self.index)}
            axes.plot(x, y, linewidth=2.1, linestyle=styles[self.style], **own)
        for place, ends in zip(self.x, self.bars, strict=False):
            if place is not None and ends is not None:
                axes.plot([place, place], ends, linewidth=2.2, alpha=0.6, **own)
        if self.dots:
            dots(axes, self.index, x, y)


@dataclass(frozen=True)
class Plot:
    """Size and axes of a line chart; ``ends`` are those of the vertical axis, if fixed."""

    width: int = 600
    height: int = 350
    log_x: bool = False
    log_y: bool = False
    ends: tuple[float | None, float | None] = (None, None)


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    plot: Plot = Plot(),
    *,
    real_data_score: Band | None = None,
    spans: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Draw lines and points over axes.

    Args:
        series: What is drawn.
        x_label, y_label: The names of the axes.
        plot: Size and kind of the axes.
        real_data_score: Mean and half-width of the scores of real data.
        spans: Starts and ends of shaded ranges of the horizontal axis.
    """
    points = np.concatenate([np.zeros((2, 0)), *(drawn.points for drawn in series)], axis=1)
    if not points.size:
        return Markup()
    small = plot.width < 500
    left = 46 if small else 56
    right = 80 if real_data_score else 14
    chart = Chart(plot.width, plot.height, left=left, right=right, top=26, bottom=46)
    axes = chart.axes
    for start, stop in spans:
        axes.axvspan(start, stop, facecolor=WARN, alpha=0.13)
        axes.axvline(start, color=WARN, linewidth=1.4, linestyle=(0, (3, 2)))
    band(axes, real_data_score)
    for drawn in series:
        drawn.draw(axes)
    xs, ys = points
    log_x = plot.log_x and xs.min() > 0
    if real_data_score is not None:
        ys = np.append(ys, real_data_score[0])
    fitted(axes, "x", xs, log_x, 4 if small else 7)
    note = fitted(axes, "y", ys, plot.log_y and ys.min() > 0, 4 if small else 6)
    axes.set_ylim(*plot.ends)
    if plot.ends[0] == 0:
        note = ""
    axes.grid(axis="y", color=HAIR, linewidth=1)
    chart.label(y_label + note, 0, 14)
    x_words = f"{x_label}, log scale" if log_x else x_label
    chart.label(x_words, (left + plot.width - right) / 2, plot.height - 4, "center")
    return chart.svg(f"{y_label} over {x_label}")


# Rows -------------------------------------------------------------------------------------------


def interval_chart(
    scores: Sequence[tuple[int | None, Statistic]],
    label: str,
    real_data_score: Band | None = None,
    *,
    log: bool = False,
) -> tuple[Markup, str]:
    """Draw scores over the band of real data; return the chart and a note about its axis."""
    chart = Chart(400, 56 + 30 * len(scores), left=112, top=20)
    axes = chart.axes
    values = [] if real_data_score is None else [real_data_score[0]]
    names = []
    band(axes, real_data_score, upright=True)
    for row, (index, score) in enumerate(scores):
        values.append(score.value)
        names.append("baseline" if index is None else score.name)
        if score.bar is not None:
            own: dict[str, Any] = {"color": OWN, "gid": colour(index)}
            axes.plot(score.bar, [row, row], linewidth=2.2, alpha=0.6, **own)
        dots(axes, index, [score.value], [row])
    note = fitted(axes, "x", values, log and min(values) > 0)
    named_rows(axes, names)
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
    real: np.ndarray | Sequence[float] = (),
    *,
    width: int = 520,
) -> Markup:
    """Draw a marker for each model in rows, over bars of real data (in %), if given."""
    step = max(17, 5 * len(models))
    chart = Chart(width, 36 + step * len(names), left=128)
    axes = chart.axes
    if len(real):
        axes.barh(range(len(names)), real, 0.8, color=BAND)
    for order, (index, values) in enumerate(models):
        shift = 0.7 * ((order + 0.5) / len(models) - 0.5)
        dots(axes, index, values, [row + shift for row in range(len(names))], 46)
    axes.set_xlim(0)
    ticked(axes.xaxis, width // 100, " %" if len(real) else "")
    named_rows(axes, names)
    return chart.svg(label)
