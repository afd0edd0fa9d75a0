"""Charts of distributions: columns of tables, pairs of columns, and classes, real and generated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from markupsafe import Markup

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Extra
from pushforward.numbers import finite_all, percent, plain, shortened
from pushforward.pictures import colour
from pushforward.report.charts import Axis, box, dashes, dot, line, svg, text, x_ticks, y_ticks

LISTED = 8  # Maximum number of columns that give samples away
LEAST = 0.01  # Minimum decrease of the AUC for a column to be drawn
CLASSES = 30  # Maximum number of classes in a chart
BINS = 24  # Bins of a histogram of samples
# Size of a column's chart, its margin, the width of category names, and the height of a category
WIDTH = 300
HEIGHT = 168
EDGE = 10
LABELS = 124
ROW = 17

Numbered = tuple[
    int, ModelResult, Extra
]  # Number of a model, the model, and the extra values of a score


@dataclass(frozen=True)
class Shares:
    """Fractions of one model's samples in the bins of a column, and its error."""

    name: str
    index: int
    share: np.ndarray
    error: float | None = None


def holding(comparison: Comparison, metric: str, name: str) -> list[Numbered]:
    """Return the models whose score has an extra value of a name."""
    scored = [
        (number, m, m.scores[metric].extra)
        for number, m in enumerate(comparison.models)
        if metric in m.scores
    ]
    return [entry for entry in scored if entry[2].get(name)]


# Columns alone --------------------------------------------------------------------------------------------------


def column_charts(comparison: Comparison) -> list[dict[str, Any]]:
    """Return name, chart and errors of each column, for the models that were compared with the same bins."""
    models = holding(comparison, "column_error", "share")
    if not models:
        return []
    first = models[0][2]
    same = [entry for entry in models if entry[2]["counts"] == first["counts"]]
    charts = []
    start = 0
    edge = 0
    columns = zip(first["columns"], first["kinds"], first["counts"], first["texts"], strict=False)
    for place, (name, kind, count, texts) in enumerate(columns):
        bins = slice(start, start + int(count))
        numeric = tuple(texts) in ((), ("missing",))
        ends = int(count) + 1 - ("missing" in texts) if numeric else 0
        edges = finite_all(first["edges"][edge : edge + ends])
        start = start + int(count)
        edge = edge + ends
        real = np.array(finite_all(first["real"][bins]))
        rows = [
            Shares(m.name, number, np.array(finite_all(e["share"][bins])), e["errors"][place])
            for number, m, e in same
        ]
        height, parts = (
            (HEIGHT, _numbers(edges, kind, texts, real, rows))
            if edges
            else _bars(texts, real, rows)
        )
        errors = ", ".join(
            f"{row.name} {percent(row.error)}" for row in rows if row.error is not None
        )
        charts.append({"name": name, "chart": _column_chart(name, height, parts), "errors": errors})
    return charts


def _column_chart(name: str, height: int, parts: Iterable[str]) -> Markup:
    return svg(WIDTH, height, f"Distribution of {name} in real data and in samples", parts, "small")


def _top(real: np.ndarray, rows: Sequence[Shares]) -> float:
    return 1.05 * (
        max([float(real.max(initial=0)), *(float(row.share.max(initial=0)) for row in rows)]) or 1.0
    )


def _numbers(
    edges: Sequence[float],
    kind: str,
    texts: Sequence[str],
    real: np.ndarray,
    rows: Sequence[Shares],
) -> Iterator[str]:
    """Draw an area for real data and lines for models over the bins, and missing values as a bar on the right."""
    right = WIDTH - EDGE - 54 * bool(texts)
    bins = len(edges) - 1
    x = Axis(edges[0], edges[-1], EDGE, right, ticks=4)
    y = Axis(0, _top(real, rows), HEIGHT - 28, 8)
    yield f'<path class="area" d="{_steps(real[:bins], edges, x, y)}"/>'
    for row in rows:
        drawn = f'<path class="line thin" d="{_steps(row.share[:bins], edges, x, y)}"{dashes(row.index)}/>'
        yield Markup('<g class="{}"><title>{}</title>{}</g>').format(
            colour(row.index), row.name, Markup(drawn)
        )
    yield line("axis", x.start, y.start, x.end, y.start)
    if kind == "date":
        for value in (edges[bins // 4], edges[-1 - bins // 4]):
            yield text(
                f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}", x(value), y.start + 18, "middle"
            )
    else:
        yield from x_ticks(x, y.start)
    if texts:
        middle = right + 32
        share = float(real[bins])
        yield box(
            "band",
            middle - 18,
            y(share),
            36,
            y.start - y(share),
            f"missing: {percent(share)} of real data",
        )
        yield text("missing", middle, HEIGHT - 10, "middle")
        for order, row in enumerate(rows):
            place = middle - 14 + 28 * (order + 0.5) / len(rows)
            share = float(row.share[bins])
            yield dot(row.index, place, y(share), f"{row.name}, missing: {percent(share)}", 3.4)


def _bars(texts: Sequence[str], real: np.ndarray, rows: Sequence[Shares]) -> tuple[int, list[str]]:
    """Return the height, and a gray bar for each category with the models' markers."""
    x = Axis(0, _top(real, rows), LABELS, WIDTH - EDGE)
    parts = []
    for place, (name, label, share) in enumerate(
        zip(texts, shortened(texts, 15), real, strict=True)
    ):
        at = EDGE + ROW * place
        parts.append(
            box(
                "band",
                LABELS,
                at + 2,
                x(share) - LABELS,
                ROW - 4,
                f"{name}: {percent(share)} of real data",
            )
        )
        parts.append(text(label, LABELS - 6, at + ROW / 2 + 4, "end"))
        for order, row in enumerate(rows):
            own = float(row.share[place])
            y = at + 3 + (ROW - 6) * (order + 0.5) / len(rows)
            parts.append(dot(row.index, x(own), y, f"{row.name}, {name}: {percent(own)}", 3.4))
    return 2 * EDGE + ROW * len(texts), parts


def histogram_chart(
    label: str, real: np.ndarray | None, clouds: Sequence[tuple[str, int, np.ndarray]]
) -> Markup:
    """Draw the values of one column, real data as a gray area and each model as a line.

    Args:
        label: The name of the column.
        real: Values of real data, shape (m,), or None.
        clouds: For each model, its name, its colour index and its values of shape (n,).
    """
    every = [values for _, _, values in clouds]
    base = real if real is not None and len(real) else np.concatenate(every or [np.zeros(1)])
    base = base[np.isfinite(base)]
    if not len(base):
        return Markup()
    low, high = np.percentile(base, [0.5, 99.5])
    pad = 0.12 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, BINS + 1)
    rows = [Shares(name, index, _density(values, edges)) for name, index, values in clouds]
    under = np.zeros(BINS) if real is None else _density(real, edges)
    return _column_chart(label, HEIGHT, _numbers(edges.tolist(), "", (), under, rows))


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    values = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return np.asarray(np.histogram(values, edges)[0] / max(1, len(values)))


def _steps(heights: np.ndarray, edges: Sequence[float], x: Axis, y: Axis) -> str:
    bins = zip(heights, edges[:-1], edges[1:], strict=True)
    tops = "".join(
        f"L{x(left):.1f} {y(height):.1f}L{x(right):.1f} {y(height):.1f}"
        for height, left, right in bins
    )
    return f"M{x(edges[0]):.1f} {y(0):.1f}{tops}L{x(edges[-1]):.1f} {y(0):.1f}"


# Pairs of columns, and what gives samples away ------------------------------------------------------------------


def pair_charts(comparison: Comparison) -> tuple[list[tuple[int, ModelResult, Markup]], str]:
    """Draw the matrix of each model's pair errors on one scale, and return the charts and the greatest error."""
    models = holding(comparison, "pair_error", "matrix")
    matrices = [np.array(extra["matrix"], dtype=float) for *_, extra in models]
    most = (
        max(
            [float(np.nanmax(matrix)) for matrix in matrices if not np.isnan(matrix).all()],
            default=0.0,
        )
        or 1.0
    )
    drawn = [
        (number, model, _matrix(extra["columns"], matrix / most, most, number, model.name))
        for (number, model, extra), matrix in zip(models, matrices, strict=True)
    ]
    return drawn, percent(most)


def _matrix(
    names: Sequence[str], shares: np.ndarray, most: float, index: int, model: str
) -> Markup:
    left = 126
    top = 20
    size = 312
    step = size / max(1, len(names))
    parts = [f'<g class="{colour(index)}">']
    for row, label in enumerate(shortened(names, 15)):
        middle = step * (row + 0.5)
        if step >= 11 or row % 2 == 0:
            parts.append(text(f"{label} {row + 1}", left - 6, top + middle + 4, "end"))
            parts.append(text(str(row + 1), left + middle, top - 6, "middle"))
        for column, share in enumerate(shares[row]):
            known = not np.isnan(share)
            title = f"{names[row]} and {names[column]}: {percent(share * most)}" if known else ""
            shade = f' fill-opacity="{share:.3f}"' if known else ""
            parts.append(
                box(
                    "cell" if known else "band",
                    left + step * column,
                    top + step * row,
                    step,
                    step,
                    title,
                    shade,
                )
            )
    return svg(
        left + size,
        top + size,
        f"Error of each pair of columns for {model}",
        [*parts, "</g>"],
        "small",
    )


def told_chart(comparison: Comparison) -> tuple[Markup, set[int]]:
    """Draw the columns that give samples away, and return the chart and the numbers of its models."""
    models = holding(comparison, "detection", "falls")
    falls = {
        number: dict(zip(e["columns"], finite_all(e["falls"]), strict=False))
        for number, _, e in models
    }
    greatest: dict[str, float] = {}
    for by_name in falls.values():
        for name, fall in by_name.items():
            greatest[name] = max(fall, greatest.get(name, LEAST))
    names = sorted(
        (name for name in greatest if greatest[name] > LEAST), key=lambda name: -greatest[name]
    )[:LISTED]
    if not names:
        return Markup(), set()
    step = 28
    left = 128
    width = 520
    height = 10 + step * len(names) + 28
    x = Axis(0.0, 1.06 * greatest[names[0]], left, width - 14, ticks=5)
    parts = [*x_ticks(x, height - 26, 6)]
    for row, (name, label) in enumerate(zip(names, shortened(names, 15), strict=True)):
        at = 8 + step * (row + 0.5)
        parts.append(text(label, left - 10, at + 4, "end", "rowname"))
        for number, model, _ in models:
            fall = falls[number].get(name, 0.0)
            parts.append(
                dot(number, x(max(0.0, fall)), at, f"{model.name}, {name}: {plain(fall, 2)}")
            )
    return svg(
        width, height, "Columns by which a classifier tells samples from real rows", parts
    ), set(falls)


# Classes --------------------------------------------------------------------------------------------------------


def class_chart(comparison: Comparison) -> tuple[Markup, set[int]]:
    """Draw the frequency of each class in samples and real data, and return the chart and the numbers of its models."""
    counted = {
        index: finite_all(extra["share"])
        for index, _, extra in holding(comparison, "class_distance", "share")
    }
    real = next(
        (finite_all(extra["real"]) for *_, extra in holding(comparison, "class_distance", "real")),
        [],
    )
    if (
        not real
        or len(real) > CLASSES
        or any(len(shares) != len(real) for shares in counted.values())
    ):
        return Markup(), set()
    names = list(comparison.data.classes)
    if len(names) != len(real):
        names = [str(number) for number in range(len(real))]
    width = 600
    height = 250
    left = 46
    top = max(max(shares) for shares in (real, *counted.values())) or 1.0
    y = Axis(0.0, 108 * top, height - 28, 28, ticks=4)
    step = (width - left) / len(names)
    parts = [
        text("fraction of samples, %", 0, 14, kind="label"),
        line("axis", left, y.start, width, y.start),
    ]
    parts += y_ticks(y, left, width)
    for at, (name, short, share) in enumerate(zip(names, shortened(names, 12), real, strict=True)):
        bar = y(100 * share)
        start = left + step * at
        parts.append(
            box(
                "band",
                start + 0.1 * step,
                bar,
                0.8 * step,
                y.start - bar,
                f"{name}: {percent(share)} of real data",
            )
        )
        parts.append(text(short, start + 0.5 * step, height - 8, "middle"))
        for order, (index, shares) in enumerate(counted.items()):
            x = start + step * (0.16 + 0.68 * (order + 0.5) / len(counted))
            words = f"{comparison.models[index].name}, {name}: {percent(shares[at])}"
            parts.append(dot(index, x, y(100 * shares[at]), words, 4))
    return svg(width, height, "Frequency of each class in real data and in samples", parts), set(
        counted
    )
