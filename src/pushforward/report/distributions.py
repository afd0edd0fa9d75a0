"""Charts of distributions: columns of tables, pairs of columns, and classes, real and generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from markupsafe import Markup

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Extra
from pushforward.numbers import finite, finite_all, percent, plain, shortened
from pushforward.pictures import colour
from pushforward.report.charts import Axis, box, dashes, dot, line, svg, text, tick_text

LISTED = 8  # Columns by which samples are told from real rows, at most
LEAST = 0.01  # How far an area must fall without a column for the column to be drawn
CLASSES = 30  # Classes that fit into a chart
BINS = 24  # Of a histogram of samples
# Of a column's chart: its size, its margin, the room for names of categories, and the height of a category
WIDTH, HEIGHT, EDGE, LABELS, ROW = 300, 168, 10, 124, 17

Numbered = tuple[int, ModelResult, Extra]  # A model's number, the model, and what a score of it holds beside its value


@dataclass(frozen=True)
class Shares:
    """Shares of one model in the bins of a column, and its error."""

    name: str
    index: int
    share: np.ndarray
    error: float | None = None


def holding(comparison: Comparison, metric: str, name: str) -> list[Numbered]:
    """The models whose score holds something of a name."""
    scored = [(number, m, m.scores[metric].extra) for number, m in enumerate(comparison.models) if metric in m.scores]
    return [entry for entry in scored if entry[2].get(name)]


# Columns alone --------------------------------------------------------------------------------------------------


def column_charts(comparison: Comparison) -> list[dict[str, Any]]:
    """Name, chart and errors of each of the first columns, of the models that were compared with the same bins."""
    models = holding(comparison, "column_error", "share")
    if not models:
        return []
    first = models[0][2]
    same = [entry for entry in models if entry[2]["counts"] == first["counts"]]
    charts, start, edge = [], 0, 0
    columns = zip(first["columns"], first["kinds"], first["counts"], first["texts"], strict=False)
    for place, (name, kind, count, texts) in enumerate(columns):
        bins = slice(start, start + int(count))
        numeric = tuple(texts) in ((), ("missing",))
        ends = int(count) + 1 - ("missing" in texts) if numeric else 0
        edges = finite_all(first["edges"][edge : edge + ends])
        start, edge = start + int(count), edge + ends
        real = np.array(finite_all(first["real"][bins]))
        rows = [Shares(m.name, number, np.array(finite_all(e["share"][bins])), e["errors"][place]) for number, m, e in same]
        height, parts = (HEIGHT, _numbers(edges, kind, texts, real, rows)) if edges else _bars(texts, real, rows)
        errors = ", ".join(f"{row.name} {percent(row.error)}" for row in rows if row.error is not None)
        chart = svg(WIDTH, height, f"Distribution of {name} in real data and in samples", parts, "small")
        charts.append({"name": name, "chart": chart, "errors": errors})
    return charts


def _top(real: np.ndarray, rows: Sequence[Shares]) -> float:
    return 1.05 * (max([float(real.max(initial=0)), *(float(row.share.max(initial=0)) for row in rows)]) or 1.0)


def _numbers(edges: Sequence[float], kind: str, texts: Sequence[str], real: np.ndarray, rows: Sequence[Shares]) -> Iterator[str]:
    """An area and lines over the bins, and missing values as a bar at the right."""
    right, bins = WIDTH - EDGE - 54 * bool(texts), len(edges) - 1
    x, y = Axis(edges[0], edges[-1], EDGE, right, ticks=4), Axis(0, _top(real, rows), HEIGHT - 28, 8)
    yield from _outlines(real[:bins], [Shares(row.name, row.index, row.share[:bins]) for row in rows], np.array(edges), x, y)
    ticks = [(value, tick_text(value)) for value in x.ticks]
    if kind == "date":
        ticks = [(value, f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}") for value in (edges[bins // 4], edges[-1 - bins // 4])]
    yield from (text(label, x(value), HEIGHT - 10, "middle") for value, label in ticks)
    if texts:
        middle, share = right + 32, float(real[bins])
        yield box("band", middle - 18, y(share), 36, y.start - y(share), f"missing: {percent(share)} of real data")
        yield text("missing", middle, HEIGHT - 10, "middle")
        for order, row in enumerate(rows):
            place, share = middle - 14 + 28 * (order + 0.5) / len(rows), float(row.share[bins])
            yield dot(row.index, place, y(share), f"{row.name}, missing: {percent(share)}", 3.4)


def _bars(texts: Sequence[str], real: np.ndarray, rows: Sequence[Shares]) -> tuple[int, list[str]]:
    """The height, and a gray bar for each category from the left to the right with the models' signs at its end."""
    x, parts = Axis(0, _top(real, rows), LABELS, WIDTH - EDGE), []
    for place, (name, label, share) in enumerate(zip(texts, shortened(texts, 15), real, strict=True)):
        at = EDGE + ROW * place
        parts.append(box("band", LABELS, at + 2, x(share) - LABELS, ROW - 4, f"{name}: {percent(share)} of real data"))
        parts.append(text(label, LABELS - 6, at + ROW / 2 + 4, "end"))
        for order, row in enumerate(rows):
            own, y = float(row.share[place]), at + 3 + (ROW - 6) * (order + 0.5) / len(rows)
            parts.append(dot(row.index, x(own), y, f"{row.name}, {name}: {percent(own)}", 3.4))
    return 2 * EDGE + ROW * len(texts), parts


def histogram_chart(label: str, real: np.ndarray | None, clouds: Sequence[tuple[str, int, np.ndarray]]) -> Markup:
    """One column's values: real data as a gray area, each model as a stepped line.

    Args:
        label: The column's name.
        real: (m,) values, or None.
        clouds: Name, index and (n,) values of each model.
    """
    base = real if real is not None and len(real) else np.concatenate([values for _, _, values in clouds] or [np.zeros(1)])
    base = base[np.isfinite(base)]
    if not len(base):
        return Markup()
    low, high = np.percentile(base, [0.5, 99.5])
    pad = 0.12 * (high - low) or 0.5
    edges = np.linspace(low - pad, high + pad, BINS + 1)
    rows = [Shares(name, index, _density(values, edges)) for name, index, values in clouds]
    under = _density(real, edges) if real is not None else np.zeros(BINS)
    x, y = Axis(edges[0], edges[-1], 12, WIDTH - 12, ticks=4), Axis(0, _top(under, rows), 126, 8)
    ticks = [text(tick_text(value), x(value), 144, "middle") for value in x.ticks]
    return svg(WIDTH, 154, f"Histogram of {label}", [*_outlines(under, rows, edges, x, y), *ticks], "small")


def _outlines(under: np.ndarray, rows: Sequence[Shares], edges: np.ndarray, x: Axis, y: Axis) -> Iterator[str]:
    yield f'<path class="area" d="{_steps(under, edges, x, y)}"/>'
    for row in rows:
        drawn = f'<path class="line thin" d="{_steps(row.share, edges, x, y)}"{dashes(row.index)}/>'
        yield Markup('<g class="{}"><title>{}</title>{}</g>').format(colour(row.index), row.name, Markup(drawn))
    yield line("axis", x.start, y.start, x.end, y.start)


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    values = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return np.asarray(np.histogram(values, edges)[0] / max(1, len(values)))


def _steps(heights: np.ndarray, edges: np.ndarray, x: Axis, y: Axis) -> str:
    bins = zip(heights, edges[:-1], edges[1:], strict=True)
    tops = "".join(f"L{x(left):.1f} {y(height):.1f}L{x(right):.1f} {y(height):.1f}" for height, left, right in bins)
    return f"M{x(edges[0]):.1f} {y(0):.1f}{tops}L{x(edges[-1]):.1f} {y(0):.1f}"


# Pairs of columns, and what gives samples away ------------------------------------------------------------------


def pair_charts(comparison: Comparison) -> tuple[list[tuple[int, ModelResult, Markup]], str]:
    """The matrix of each model's pair errors, all on one scale, and the greatest error."""
    models = holding(comparison, "pair_error", "matrix")
    matrices = [np.array([[np.nan if finite(c) is None else c for c in row] for row in e["matrix"]], float) for *_, e in models]
    most = max([float(np.nanmax(matrix)) for matrix in matrices if not np.isnan(matrix).all()], default=0.0) or 1.0
    drawn = [
        (number, model, _matrix(extra["columns"], matrix / most, most, number, model.name))
        for (number, model, extra), matrix in zip(models, matrices, strict=True)
    ]
    return drawn, percent(most)


def _matrix(names: Sequence[str], shares: np.ndarray, most: float, index: int, model: str) -> Markup:
    left, top, size = 126, 20, 312
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
            parts.append(box("cell" if known else "band", left + step * column, top + step * row, step, step, title, shade))
    return svg(left + size, top + size, f"Error of each two columns of {model}", [*parts, "</g>"], "small")


def told_chart(comparison: Comparison) -> tuple[Markup, set[int]]:
    """The columns by which samples of any model are told from real rows, the most telling first, and the models' numbers."""
    falls = [
        (number, model.name, dict(zip(extra["columns"], finite_all(extra["falls"]), strict=False)))
        for number, model, extra in holding(comparison, "detection", "falls")
    ]
    greatest = {name: max(by_name.get(name, 0.0) for *_, by_name in falls) for *_, first in falls[:1] for name in first}
    names = sorted((name for name in greatest if greatest[name] >= LEAST), key=lambda name: -greatest[name])[:LISTED]
    if not names:
        return Markup(), set()
    step, left, width = 28, 128, 520
    height = 10 + step * len(names) + 28
    x = Axis(0.0, 1.06 * greatest[names[0]], left, width - 14, ticks=5)
    parts = [line("gridline", x(v), 6, x(v), height - 26) + text(tick_text(v), x(v), height - 8, "middle") for v in x.ticks]
    for row, (name, label) in enumerate(zip(names, shortened(names, 15), strict=True)):
        at = 8 + step * (row + 0.5)
        parts.append(text(label, left - 10, at + 4, "end", "rowname"))
        parts += [dot(n, x(max(0.0, f.get(name, 0.0))), at, f"{model}, {name}: {plain(f.get(name), 2)}") for n, model, f in falls]
    return svg(width, height, "Columns by which samples are told from real rows", parts), {number for number, *_ in falls}


# Classes --------------------------------------------------------------------------------------------------------


def class_chart(comparison: Comparison) -> tuple[Markup, set[int]]:
    """How often each class occurs in samples, beside real data, and the models' numbers; empty where that is not known."""
    counted = [(index, finite_all(extra.get("share"))) for index, _, extra in holding(comparison, "class_distance", "share")]
    real = next((finite_all(extra["real"]) for *_, extra in holding(comparison, "class_distance", "real")), [])
    if not real or len(real) > CLASSES or any(len(numbers) != len(real) for _, numbers in counted):
        return Markup(), set()
    names = list(comparison.data.classes)
    names = names if len(names) == len(real) else [str(number) for number in range(len(real))]
    width, height, left = 600, 250, 46
    top = max([*real, *(value for _, numbers in counted for value in numbers)]) or 1.0
    y, step = Axis(0.0, 108 * top, height - 28, 28, ticks=4), (width - left) / len(names)
    parts = [text("share of samples, %", 0, 14, kind="label"), line("axis", left, y.start, width, y.start)]
    parts += [line("gridline", left, y(v), width, y(v)) + text(f"{v:g}", left - 8, y(v) + 4, "end") for v in y.ticks]
    place: Callable[[int, float], float] = lambda at, share: left + step * (at + share)  # noqa: E731
    for at, (name, short, share) in enumerate(zip(names, shortened(names, 12), real, strict=True)):
        bar = y(100 * share)
        parts.append(box("band", place(at, 0.1), bar, 0.8 * step, y.start - bar, f"{name}: {percent(share)} of real data"))
        parts.append(text(short, place(at, 0.5), height - 8, "middle"))
        for order, (index, numbers) in enumerate(counted):
            x, words = place(at, 0.16 + 0.68 * (order + 0.5) / len(counted)), f"{comparison.models[index].name}, {name}"
            parts.append(dot(index, x, y(100 * numbers[at]), f"{words}: {percent(numbers[at])}", 4))
    return svg(width, height, "Share of each class in real data and in samples", parts), {index for index, _ in counted}
