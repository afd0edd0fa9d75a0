"""The curve of quality against diversity that truncation draws: the scores at each limit, beside the floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pushforward.data import Dataset
from pushforward.editing.interpolation import Truncated
from pushforward.errors import UsageError
from pushforward.evaluation.judge import Judge
from pushforward.evaluation.results import DataInfo, Settings
from pushforward.metrics import MetricInfo, Score
from pushforward.pictures import INK, REAL
from pushforward.records import Record
from pushforward.scatter import figure_picture
from pushforward.transports import BATCH, Transport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

__all__ = ["LIMITS", "PAIRS", "TruncationCurve", "TruncationPoint", "truncation_curve", "truncation_picture"]

LIMITS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
PAIRS = (("coverage", "density"), ("recall", "precision"))
"""What is drawn: diversity to the right, quality upwards."""
RED = (213, 94, 0)


@dataclass(frozen=True)
class TruncationPoint(Record):
    """The scores at one limit; None is the model without a limit."""

    limit: float | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    label_agreement: float | None = None


@dataclass(frozen=True)
class TruncationCurve(Record):
    """Scores by rising limit, the last without one, beside the floors; fields as in `pushforward.evaluation.Comparison`."""

    data: DataInfo = field(default_factory=DataInfo)
    settings: Settings = field(default_factory=Settings)
    machine: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    floors: Mapping[str, Score] = field(default_factory=dict)
    points: tuple[TruncationPoint, ...] = ()


def truncation_curve(
    transport: Transport,
    data: Dataset,
    limits: Sequence[float] = LIMITS,
    n: int | None = None,
    *,
    repeats: int = 3,
    seed: int = 0,
    batch: int = BATCH,
    watch: Callable[[float | None], None] | None = None,
) -> TruncationCurve:
    """Score a one-call model with its z truncated (`pushforward.editing.Truncated`) to several limits, and without a limit.

    All limits have the same seeds, so the points differ by truncation alone.

    Args:
        transport: A one-call model.
        data: The data set; its held-out split is the reference.
        limits: Above 0, in any order.
        n: Samples on either side; None takes as many as the held-out split allows, at most 10,000.
        repeats: Samplings at each limit.
        seed: Added to the seeds of all samplings.
        batch: Examples sampled at a time.
        watch: Called with each limit before it is measured, and with None before the model as it is.

    Returns:
        Precision, recall, density, coverage and Fréchet distance at each limit.

    Raises:
        UsageError: For an iterative model, no limits or ones that are not above 0, or a number n that cannot be or
            is too small for density and coverage.
    """
    wanted = sorted({float(limit) for limit in limits})
    if not wanted or not all(limit > 0 and math.isfinite(limit) for limit in wanted):
        raise UsageError(f"Limits are numbers above 0, at least one of them; got {list(limits)}.")
    models = [(limit, Truncated(transport, limit)) for limit in wanted]
    judge = Judge(data, n or 0, repeats, ("manifold", "frechet"), seed, batch)
    if "density" not in judge.floors:
        raise UsageError(f"There is no curve: n = {judge.n} is too few examples for density and coverage. Take data with more.")
    points = []
    for limit, model in (*models, (None, transport)):
        if watch is not None:
            watch(limit)
        points.append(TruncationPoint(limit, *judge.scores(model)))
    setting = judge.comparison()
    return TruncationCurve(setting.data, setting.settings, setting.machine, setting.metrics, setting.floors, tuple(points))


def truncation_picture(curve: TruncationCurve) -> Image.Image:
    """Density against coverage and precision against recall, each limit a point, beside real data's.

    Args:
        curve: From `truncation_curve`.

    Returns:
        RGB, 1600 x 720.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), dpi=160, layout="constrained")
    for axes, pair in zip(figure.subplots(1, 2), PAIRS, strict=True):
        _draw(axes, curve, *pair)
    return figure_picture(figure)


def _draw(axes: Axes, curve: TruncationCurve, across: str, up: str) -> None:
    blue, gray, red = (tuple(value / 255 for value in colour) for colour in (INK, REAL, RED))
    x, y = ([point.scores[name].number for point in curve.points] for name in (across, up))
    axes.plot(x, y, color=blue, linewidth=1.6, marker="o", markersize=5, zorder=2)
    axes.plot(x[-1], y[-1], color=red, marker="s", markersize=7, zorder=3)
    for point, *at in zip(curve.points, x, y, strict=True):
        free = point.limit is None
        text, aside = ("no limit", (9, -4)) if free else (f"{point.limit:g}", (-6, 5))
        style: dict[str, Any] = {"fontsize": 9, "color": red if free else blue, "ha": "left" if free else "right"}
        axes.annotate(text, (at[0], at[1]), xytext=aside, textcoords="offset points", **style)
    (right, wide), (top, high) = ((curve.floors[name].number, curve.floors[name].spread) for name in (across, up))
    axes.errorbar(right, top, yerr=high, xerr=wide, color=gray, marker="D", markersize=6, capsize=3, zorder=1)
    axes.annotate("real data", (right, top), xytext=(-7, -12), textcoords="offset points", fontsize=9, color=gray, ha="right")
    axes.set_xlabel(curve.metrics[across].label)
    axes.set_ylabel(curve.metrics[up].label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(0.12)
