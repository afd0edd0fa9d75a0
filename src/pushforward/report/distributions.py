"""Charts of the distributions of columns and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from markupsafe import Markup

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Extra
from pushforward.numbers import finite_all, percent, plain, shortened
from pushforward.pictures import colour
from pushforward.report.charts import (
    Axis,
    box,
    dashes,
    dot,
    group,
    line,
    svg,
    text,
    x_ticks,
    y_ticks,
)

Numbered = tuple[int, ModelResult, Extra]  # number, model, and the extra values of a score


def holding(comparison: Comparison, metric: str, name: str) -> list[Numbered]:
    """Return the models whose score has an extra value."""
    found = []
    for index, model in enumerate(comparison.models):
        if metric in model.scores and model.scores[metric].extra.get(name):
            found.append((index, model, model.scores[metric].extra))
    return found


# Single columns ---------------------------------------------------------------------------------

BINS = 24  # bins of a histogram of samples
# Size of a column's chart, its margin, the width of category names, and the height of a category
WIDTH = 300
HEIGHT = 168
EDGE = 10
LABELS = 124
ROW = 17


@dataclass(frozen=True)
class Shares:
    """Fractions of one model's samples in the bins of a column."""

    name: str
    index: int
    share: np.ndarray


def column_charts(comparison: Comparison) -> list[dict[str, Any]]:
    """Return name, chart and errors of each column."""
    models = holding(comparison, "column_error", "share")
    if not models:
        return []
    first = models[0][2]
    models = [entry for entry in models if entry[2]["counts"] == first["counts"]]
    charts = []
    bins_before = 0
    edges_before = 0
    columns = zip(first["columns"], first["kinds"], first["counts"], first["texts"], strict=False)
    for place, (name, kind, count, texts) in enumerate(columns):
        bins = slice(bins_before, bins_before + int(count))
        bins_before = bins.stop
        edges: list[float] = []
        if tuple(texts) in ((), ("missing",)):
            stop = edges_before + int(count) + 1 - len(texts)
            edges = finite_all(first["edges"][edges_before:stop])
            edges_before = stop
        rows = []
        errors = []
        for index, model, extra in models:
            rows.append(Shares(model.name, index, np.array(finite_all(extra["share"][bins]))))
            if extra["errors"][place] is not None:
                errors.append(f"{model.name} {percent(extra['errors'][place])}")
        real = np.array(finite_all(first["real"][bins]))
        if edges:
            chart = _numeric_chart(name, edges, real, rows, kind == "date", bool(texts))
        else:
            chart = _category_chart(name, texts, real, rows)
        charts.append({"name": name, "chart": chart, "errors": ", ".join(errors)})
    return charts


def _column_chart(name: str, height: int, parts: Sequence[str]) -> Markup:
    return svg(WIDTH, height, f"Distribution of {name} in real data and in samples", parts, "small")


def _top(real: np.ndarray, rows: Sequence[Shares]) -> float:
    most = max(float(shares.max(initial=0)) for shares in (real, *(row.share for row in rows)))
    return 1.05 * (most or 1.0)


def _numeric_chart(
    name: str,
    edges: Sequence[float],
    real: np.ndarray,
    rows: Sequence[Shares],
    dates: bool = False,
    missing: bool = False,
) -> Markup:
    right = WIDTH - EDGE - 54 * missing
    bins = len(edges) - 1
    x = Axis(edges[0], edges[-1], EDGE, right, ticks=4)
    y = Axis(0, _top(real, rows), HEIGHT - 28, 8)
    parts = [f'<path class="area" d="{_steps(real[:bins], edges, x, y)}"/>']
    for row in rows:
        steps = _steps(row.share[:bins], edges, x, y)
        curve = f'<path class="line thin" d="{steps}"{dashes(row.index)}/>'
        parts.append(group(colour(row.index), [curve], row.name))
    parts.append(line("axis", x.start, y.start, x.end, y.start))
    if dates:
        for value in (edges[bins // 4], edges[-1 - bins // 4]):
            day = f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}"
            parts.append(text(day, x(value), y.start + 18, "middle"))
    else:
        parts += x_ticks(x, y.start)
    if missing:
        parts += _missing_bar(right + 32, float(real[bins]), bins, rows, y)
    return _column_chart(name, HEIGHT, parts)


def _missing_bar(
    middle: float, real: float, bins: int, rows: Sequence[Shares], y: Axis
) -> Iterator[str]:
    words = f"missing: {percent(real)} of real data"
    yield box("band", middle - 18, y(real), 36, y.start - y(real), words)
    yield text("missing", middle, HEIGHT - 10, "middle")
    for order, row in enumerate(rows):
        x = middle - 14 + 28 * (order + 0.5) / len(rows)
        share = float(row.share[bins])
        yield dot(row.index, x, y(share), f"{row.name}, missing: {percent(share)}", 3.4)


def _category_chart(
    name: str, categories: Sequence[str], real: np.ndarray, rows: Sequence[Shares]
) -> Markup:
    x = Axis(0, _top(real, rows), LABELS, WIDTH - EDGE)
    parts = []
    labels = shortened(categories, 15)
    for place, (category, label, share) in enumerate(zip(categories, labels, real, strict=True)):
        top = EDGE + ROW * place
        words = f"{category}: {percent(share)} of real data"
        parts.append(box("band", LABELS, top + 2, x(share) - LABELS, ROW - 4, words))
        parts.append(text(label, LABELS - 6, top + ROW / 2 + 4, "end"))
        for order, row in enumerate(rows):
            own = float(row.share[place])
            y = top + 3 + (ROW - 6) * (order + 0.5) / len(rows)
            words = f"{row.name}, {category}: {percent(own)}"
            parts.append(dot(row.index, x(own), y, words, 3.4))
    return _column_chart(name, 2 * EDGE + ROW * len(categories), parts)


def histogram_chart(
    label: str, real: np.ndarray | None, clouds: Sequence[tuple[str, int, np.ndarray]]
) -> Markup:
    """Draw the values of one column, real data as an area and models as lines."""
    base = real
    if base is None or not len(base):
        base = np.concatenate([np.zeros(0), *(values for _, _, values in clouds)])
    base = base[np.isfinite(base)]
    if not len(base):
        return Markup()
    low, high = np.percentile(base, [0.5, 99.5])
    pad = 0.12 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, BINS + 1)
    rows = [Shares(name, index, _density(values, edges)) for name, index, values in clouds]
    behind = np.zeros(BINS) if real is None else _density(real, edges)
    return _numeric_chart(label, edges.tolist(), behind, rows)


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    values = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    counts, _ = np.histogram(values, edges)
    return np.asarray(counts / max(1, len(values)))


def _steps(heights: np.ndarray, edges: Sequence[float], x: Axis, y: Axis) -> str:
    points = [f"{x(edges[0]):.1f} {y(0):.1f}"]
    for height, left, right in zip(heights, edges[:-1], edges[1:], strict=True):
        points.append(f"{x(left):.1f} {y(height):.1f}")
        points.append(f"{x(right):.1f} {y(height):.1f}")
    points.append(f"{x(edges[-1]):.1f} {y(0):.1f}")
    return "M" + "L".join(points)


# Pairs of columns, and what gives samples away --------------------------------------------------


def pair_charts(comparison: Comparison) -> tuple[list[tuple[int, ModelResult, Markup]], str]:
    """Draw pair errors on one scale, and return charts and greatest error."""
    models = holding(comparison, "pair_error", "matrix")
    matrices = [np.array(extra["matrix"], dtype=float) for *_, extra in models]
    most = max((np.nan_to_num(matrix).max() for matrix in matrices), default=0.0) or 1.0
    drawn = []
    for (index, model, extra), matrix in zip(models, matrices, strict=True):
        chart = _matrix(extra["columns"], matrix, most, index, model.name)
        drawn.append((index, model, chart))
    return drawn, percent(most)


def _matrix(
    names: Sequence[str], errors: np.ndarray, most: float, index: int, model: str
) -> Markup:
    left = 126
    top = 20
    size = 312
    step = size / max(1, len(names))
    parts = []
    for row, label in enumerate(shortened(names, 15)):
        middle = step * (row + 0.5)
        y = top + step * row
        if step >= 11 or row % 2 == 0:
            parts.append(text(f"{label} {row + 1}", left - 6, top + middle + 4, "end"))
            parts.append(text(str(row + 1), left + middle, top - 6, "middle"))
        for column, error in enumerate(errors[row]):
            x = left + step * column
            if np.isnan(error):
                parts.append(box("band", x, y, step, step))
            else:
                words = f"{names[row]} and {names[column]}: {percent(error)}"
                shade = f' fill-opacity="{error / most:.3f}"'
                parts.append(box("cell", x, y, step, step, words, shade))
    label = f"Error of each pair of columns for {model}"
    return svg(left + size, top + size, label, [group(colour(index), parts)], "small")


LISTED = 8  # maximum number of columns that give samples away
LEAST = 0.01  # minimum decrease of the AUC for a column to be drawn


def told_chart(comparison: Comparison) -> Markup:
    """Draw the columns by which a classifier tells samples from real rows."""
    models = []
    greatest: dict[str, float] = {}
    for index, model, extra in holding(comparison, "detection", "falls"):
        falls = dict(zip(extra["columns"], finite_all(extra["falls"]), strict=False))
        models.append((index, model, falls))
        for name, fall in falls.items():
            greatest[name] = max(fall, greatest.get(name, LEAST))
    telling = [name for name in greatest if greatest[name] > LEAST]
    names = sorted(telling, key=lambda name: -greatest[name])[:LISTED]
    if not names:
        return Markup()
    step = 28
    left = 128
    width = 520
    height = 10 + step * len(names) + 28
    x = Axis(0.0, 1.06 * greatest[names[0]], left, width - 14, ticks=5)
    parts = [*x_ticks(x, height - 26, 6)]
    for row, (name, label) in enumerate(zip(names, shortened(names, 15), strict=True)):
        y = 8 + step * (row + 0.5)
        parts.append(text(label, left - 10, y + 4, "end", "rowname"))
        for index, model, falls in models:
            fall = falls.get(name, 0.0)
            words = f"{model.name}, {name}: {plain(fall, 2)}"
            parts.append(dot(index, x(max(0.0, fall)), y, words))
    return svg(width, height, "Columns by which a classifier tells samples from real rows", parts)


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
    return _class_bars(comparison, names, real, shares)


def _class_bars(
    comparison: Comparison,
    names: Sequence[str],
    real: Sequence[float],
    shares: Mapping[int, Sequence[float]],
) -> Markup:
    width = 600
    height = 250
    left = 46
    step = (width - left) / len(names)
    most = max(max(fractions) for fractions in (real, *shares.values())) or 1.0
    y = Axis(0.0, 108 * most, height - 28, 28, ticks=4)
    parts = [
        text("fraction of samples, %", 0, 14, kind="label"),
        line("axis", left, y.start, width, y.start),
        *y_ticks(y, left, width),
    ]
    for place, (name, short) in enumerate(zip(names, shortened(names, 12), strict=True)):
        start = left + step * place
        bar = y(100 * real[place])
        words = f"{name}: {percent(real[place])} of real data"
        parts.append(box("band", start + 0.1 * step, bar, 0.8 * step, y.start - bar, words))
        parts.append(text(short, start + 0.5 * step, height - 8, "middle"))
        for order, (index, fractions) in enumerate(shares.items()):
            x = start + step * (0.16 + 0.68 * (order + 0.5) / len(shares))
            words = f"{comparison.models[index].name}, {name}: {percent(fractions[place])}"
            parts.append(dot(index, x, y(100 * fractions[place]), words, 4))
    return svg(width, height, "Frequency of each class in real data and in samples", parts)
