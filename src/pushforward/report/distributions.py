"""Charts of the distributions of columns and classes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from markupsafe import Markup

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Extra
from pushforward.numbers import finite_all, percent, shortened
from pushforward.pictures import COLOURS, colour
from pushforward.report.charts import BAND, OWN, Chart, dashes, dots, row_chart

Numbered = tuple[int, ModelResult, Extra]  # number, model, and the extra values of a score


def holding(comparison: Comparison, metric: str, name: str) -> list[Numbered]:
    """Return the models whose score has an extra value."""
    found = []
    for index, model in enumerate(comparison.models):
        if metric in model.scores and model.scores[metric].extra.get(name):
            found.append((index, model, model.scores[metric].extra))
    return found


Shares = tuple[int, Any]  # number of a model, and fractions of its samples

# Single columns ---------------------------------------------------------------------------------

BINS = 24  # bins of a histogram of samples
WIDTH = 300  # size of a column's chart
HEIGHT = 168


def column_charts(comparison: Comparison) -> list[dict[str, Any]]:
    """Return name, chart and errors of each column."""
    models = holding(comparison, "column_error", "share")
    if not models:
        return []
    first = models[0][2]
    known = [entry for entry in models if entry[2]["counts"] == first["counts"]]
    ends = np.cumsum(first["counts"], dtype=int)[:-1]
    real = np.split(np.array(finite_all(first["real"])), ends)
    shares = [np.split(np.array(finite_all(extra["share"])), ends) for *_, extra in known]
    edges = finite_all(first["edges"])  # of all numeric columns
    charts = []
    for place, (name, kind, texts) in enumerate(
        zip(first["columns"], first["kinds"], first["texts"], strict=False)
    ):
        rows = []
        errors = []
        for (index, model, extra), share in zip(known, shares, strict=True):
            rows.append((index, share[place]))
            if extra["errors"][place] is not None:
                errors.append(f"{model.name} {percent(extra['errors'][place])}")
        if tuple(texts) in ((), ("missing",)):
            stop = len(real[place]) + 1 - len(texts)
            chart = _numeric_chart(
                name, edges[:stop], real[place], rows, kind == "date", bool(texts)
            )
            edges = edges[stop:]
        else:
            label = f"Frequency of each value of {name} in real data and in samples"
            chart = row_chart(label, texts, _percentages(rows), 100 * real[place], width=WIDTH)
        charts.append({"name": name, "chart": chart, "errors": ", ".join(errors)})
    return charts


def _percentages(rows: Sequence[Shares]) -> list[Shares]:
    return [(index, 100 * np.asarray(share)) for index, share in rows]


def _numeric_chart(
    name: str,
    edges: Sequence[float],
    real: np.ndarray,
    rows: Sequence[Shares],
    dates: bool = False,
    missing: bool = False,
) -> Markup:
    chart = Chart(WIDTH, HEIGHT)
    axes = chart.axes
    bins = len(edges) - 1
    width = edges[-1] - edges[0]
    ticks, labels = _ticks(edges, dates)
    axes.stairs(real[:bins], edges, fill=True, color=BAND)
    for index, share in rows:
        axes.stairs(
            share[:bins],
            edges,
            color=OWN,
            gid=colour(index),
            linewidth=1.6,
            linestyle=dashes(index),
        )
    right = edges[-1]
    if missing:
        right += 0.36 * width
        middle = edges[-1] + 0.24 * width
        ticks.append(middle)
        labels.append("missing")
        axes.bar(middle, real[bins], 0.2 * width, color=BAND)
        for order, (index, share) in enumerate(rows):
            shift = 0.16 * width * ((order + 0.5) / len(rows) - 0.5)
            dots(axes, index, middle + shift, share[bins], 46)
    axes.set_xticks(ticks, labels)
    axes.set_xlim(edges[0], right)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    return chart.svg(f"Distribution of {name} in real data and in samples")


def _ticks(edges: Sequence[float], dates: bool) -> tuple[list[float], list[str]]:
    from matplotlib.ticker import MaxNLocator

    if dates:
        fourth = (len(edges) - 1) // 4
        ticks = [edges[fourth], edges[-1 - fourth]]
        return ticks, [f"{datetime.fromtimestamp(tick, UTC):%Y-%m-%d}" for tick in ticks]
    places = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(edges[0], edges[-1])
    ticks = [tick for tick in map(float, places) if edges[0] <= tick <= edges[-1]]
    return ticks, [f"{tick:,.6g}" for tick in ticks]


def histogram_chart(label: str, real: np.ndarray | None, clouds: Sequence[Shares]) -> Markup:
    """Draw the values of one column, real data as an area and models as lines."""
    base = np.concatenate([values for _, values in clouds]) if real is None else real
    base = base[np.isfinite(base)]
    if not len(base):
        return Markup()
    low, high = np.percentile(base, [0.5, 99.5])
    pad = 0.12 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, BINS + 1)
    rows = [(index, _shares(values, edges)) for index, values in clouds]
    behind = np.zeros(BINS) if real is None else _shares(real, edges)
    return _numeric_chart(label, edges.tolist(), behind, rows)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return counts / max(1, len(values))


# Pairs of columns, and what gives samples away --------------------------------------------------


def pair_charts(comparison: Comparison) -> tuple[list[tuple[int, ModelResult, Markup]], str]:
    """Draw pair errors on one scale, and return charts and greatest error."""
    models = holding(comparison, "pair_error", "matrix")
    matrices = [np.array(extra["matrix"], dtype=float) for *_, extra in models]
    most = float(np.nan_to_num(matrices).max(initial=0.0)) or 1.0
    drawn = []
    for (index, model, extra), matrix in zip(models, matrices, strict=True):
        chart = _matrix(extra["columns"], matrix, most, index, model.name)
        drawn.append((index, model, chart))
    return drawn, percent(most)


def _matrix(
    names: Sequence[str], errors: np.ndarray, most: float, index: int, model: str
) -> Markup:
    from matplotlib.colors import to_rgb

    size = 312
    left = 126
    top = 20
    chart = Chart(left + size, top + size, left=left, right=0, top=top, bottom=0)
    axes = chart.axes
    rows = np.arange(len(names))
    pixels = np.zeros((*errors.shape, 4))
    pixels[..., :3] = to_rgb(COLOURS[index % len(COLOURS)])
    pixels[..., 3] = np.nan_to_num(errors) / most
    axes.imshow(pixels, interpolation="nearest", aspect="auto")
    every = 1 if size >= 11 * len(names) else 2
    labels = [f"{label} {row + 1}" for row, label in enumerate(shortened(names, 15))]
    axes.set_yticks(rows[::every], labels[::every])
    axes.set_xticks(rows[::every], rows[::every] + 1)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return chart.svg(f"Error of each pair of columns for {model}")


LISTED = 8  # maximum number of columns that give samples away
LEAST = 0.01  # minimum decrease of the AUC for a column to be drawn


def told_chart(comparison: Comparison) -> Markup:
    """Draw the columns by which a classifier tells samples from real rows."""
    models = []
    greatest: dict[str, float] = {}
    for index, _, extra in holding(comparison, "detection", "falls"):
        falls = dict(zip(extra["columns"], finite_all(extra["falls"]), strict=False))
        models.append((index, falls))
        for name, fall in falls.items():
            greatest[name] = max(fall, greatest.get(name, LEAST))
    telling = [name for name, fall in greatest.items() if fall > LEAST]
    names = sorted(telling, key=lambda name: -greatest[name])[:LISTED]
    if not names:
        return Markup()
    rows = []
    for index, falls in models:
        rows.append((index, [max(0.0, falls.get(name, 0.0)) for name in names]))
    return row_chart("Columns by which a classifier tells samples from real rows", names, rows)


# Classes ----------------------------------------------------------------------------------------

CLASSES = 30  # maximum number of classes in a chart


def class_chart(comparison: Comparison) -> Markup:
    """Draw the frequency of each class in samples and real data."""
    shares = {}
    for index, _, extra in holding(comparison, "class_distance", "share"):
        shares[index] = finite_all(extra["share"])
    known = holding(comparison, "class_distance", "real")
    real = finite_all(known[0][2]["real"]) if known else []
    unlike = any(len(share) != len(real) for share in shares.values())
    if not real or len(real) > CLASSES or unlike:
        return Markup()
    names: Sequence[str] = comparison.data.classes
    if len(names) != len(real):
        names = [*map(str, range(len(real)))]
    label = "Frequency of each class in real data and in samples"
    percent_real = 100 * np.array(real)
    return row_chart(label, names, _percentages([*shares.items()]), percent_real, width=600)
