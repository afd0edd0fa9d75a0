"""The section on the columns of a table: each alone, each two together, and those by which samples are told from real rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.score import Extra
from pushforward.numbers import finite, finite_all, percent, plain, shortened
from pushforward.report.axes import Axis, tick_text
from pushforward.report.charts import COLOURS, marker, svg_open
from pushforward.report.distributions import outlines
from pushforward.report.markup import side_by_side, signs, titled

__all__ = ["columns_section", "has_columns"]

SHAPES, PAIRS, TOLD = "column_error", "pair_error", "detection"
"""The scores whose numbers are drawn."""
LISTED = 8
"""Columns by which samples are told from real rows, at most."""
LEAST = 0.01
"""How far an area must fall without a column for the column to be named."""
NAMED = 15
"""Characters of a name in a chart."""
WIDTH, HEIGHT, EDGE, LABELS, ROW = 300, 168, 10, 124, 17
"""Of a column's chart: its size, its margin, the room for names of categories, and the height of a category."""
SHAPES_NOTE = (
    "Held-out rows as gray areas or bars, each model as a line or as signs. Values beyond the outer half per cent of real ones "
    "count in the outermost bin."
)
PAIRS_NOTE = (
    "How far the dependence of each two columns is from the real one: the stronger the colour, the farther. All models are on "
    "one scale, and numbers on top are those of the columns at the left."
)
TOLD_NOTE = (
    "By which columns boosted trees tell samples from real rows: how far the area under their ROC curve falls where the values "
    "of a column are shuffled among unseen rows. Near 0 a column gives nothing away, alone or with others."
)

Numbered = tuple[int, ModelResult, Extra]
"""A model's number, the model, and what a score of it holds beside its value."""


def columns_section(comparison: Comparison) -> str:
    """Charts of the columns, of pairs and of what gives samples away; empty for data that is no table."""
    parts = [_told(comparison, _with(comparison, TOLD, "falls")), _shapes(comparison, _with(comparison, SHAPES, "share"))]
    return "".join([*parts, _pairs(comparison, _with(comparison, PAIRS, "matrix"))])


def has_columns(comparison: Comparison) -> bool:
    """Whether `columns_section` draws anything."""
    drawn = _with(comparison, SHAPES, "share") or _with(comparison, PAIRS, "matrix")
    return bool(drawn or _told(comparison, _with(comparison, TOLD, "falls")))


def _with(comparison: Comparison, metric: str, name: str) -> list[Numbered]:
    """The models whose score holds something of a name."""
    scored = (
        (number, model, model.scores[metric].extra) for number, model in enumerate(comparison.models) if metric in model.scores
    )
    return [(number, model, extra) for number, model, extra in scored if extra.get(name)]


def _short(names: Sequence[str]) -> list[str]:
    """Names as the labels of a chart, which stay distinct."""
    return [escape(name) for name in shortened(names, NAMED)]


# Columns alone --------------------------------------------------------------------------------------------------


def _shapes(comparison: Comparison, models: Sequence[Numbered]) -> str:
    """A chart for each of the first columns, of the models that were compared with the same bins."""
    if not models:
        return ""
    first = models[0][2]
    same = [(number, model, extra) for number, model, extra in models if extra["counts"] == first["counts"]]
    charts, start, edge = [], 0, 0
    for place, (name, kind, count, texts) in enumerate(
        zip(first["columns"], first["kinds"], first["counts"], first["texts"], strict=False)
    ):
        bins = slice(start, start + int(count))
        ends = int(count) + 1 - ("missing" in texts) if _is_number(texts) else 0
        edges = finite_all(first["edges"][edge : edge + ends])
        start, edge = start + int(count), edge + ends
        rows = [
            (model.name, number, np.array(finite_all(extra["share"][bins])), extra["errors"][place])
            for number, model, extra in same
        ]
        charts.append(_chart(name, kind, (edges, texts), np.array(finite_all(first["real"][bins])), rows))
    rest = len(first["columns"]) - len(charts)
    note = f"{SHAPES_NOTE} {rest} further columns are not drawn." if rest > 0 else SHAPES_NOTE
    keys = signs(comparison, {number for number, *_ in same})
    return f'<h3>Each column alone</h3><p class="note">{escape(note)}</p>{keys}<div class="columns">{"".join(charts)}</div>'


def _is_number(texts: Sequence[str]) -> bool:
    """Whether a column has bins of numbers, which have no texts, but for that of missing values."""
    return tuple(texts) in ((), ("missing",))


Row = tuple[str, int, np.ndarray, float | None]


def _chart(name: str, kind: str, bins: tuple[Sequence[float], Sequence[str]], real: np.ndarray, rows: Sequence[Row]) -> str:
    edges, texts = bins
    if edges:
        height, parts = HEIGHT, _numbers(edges, kind, texts, real, rows)
    else:
        height, parts = 2 * EDGE + ROW * len(texts), _bars(texts, real, rows)
    said = ", ".join(f"{model} {percent(error)}" for model, _, _, error in rows if error is not None)
    opened = svg_open(WIDTH, height, f"Distribution of {name} in real data and in samples", "small")
    caption = f"<figcaption>{escape(f'Error: {said}')}</figcaption>" if said else ""
    return f'<figure><p class="figtitle">{escape(name)}</p>{opened}{"".join(parts)}</svg>{caption}</figure>'


def _numbers(edges: Sequence[float], kind: str, texts: Sequence[str], real: np.ndarray, rows: Sequence[Row]) -> Iterator[str]:
    """An area and lines over the bins, and missing values as a bar at the right."""
    right, bins = WIDTH - EDGE - 54 * bool(texts), len(edges) - 1
    top = max([float(real.max()), *(float(share.max()) for _, _, share, _ in rows)]) or 1.0
    x, y = Axis(edges[0], edges[-1], EDGE, right, ticks=4), Axis(0, top * 1.05, HEIGHT - 28, 8)
    yield from outlines(real[:bins], [(name, index, share[:bins]) for name, index, share, _ in rows], np.array(edges), x, y)
    ticks = [(value, tick_text(value)) for value in x.ticks]
    if kind == "date":
        ticks = [(value, f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}") for value in (edges[bins // 4], edges[-1 - bins // 4])]
    for value, text in ticks:
        yield f'<text class="tick" x="{x(value):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{text}</text>'
    if texts:
        middle, at = right + 32, y(float(real[bins]))
        title = f"<title>missing: {percent(float(real[bins]))} of real data</title>"
        yield f'<rect class="band" x="{middle - 18}" y="{at:.1f}" width="36" height="{y.start - at:.1f}">{title}</rect>'
        yield f'<text class="tick" x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">missing</text>'
        for order, (name, index, share, _) in enumerate(rows):
            place = middle - 14 + 28 * (order + 0.5) / len(rows)
            yield _dot(index, place, y(float(share[bins])), f"{name}, missing: {percent(float(share[bins]))}")


def _bars(texts: Sequence[str], real: np.ndarray, rows: Sequence[Row]) -> Iterator[str]:
    """A gray bar for each category from the left to the right, and the models' signs at its end."""
    top = max([float(real.max()), *(float(share.max()) for _, _, share, _ in rows)]) or 1.0
    x = Axis(0, top * 1.05, LABELS, WIDTH - EDGE)
    for place, (text, label, share) in enumerate(zip(texts, _short(texts), real, strict=True)):
        at = EDGE + ROW * place
        size = f'x="{LABELS}" y="{at + 2}" width="{x(float(share)) - LABELS:.1f}" height="{ROW - 4}"'
        yield f'<rect class="band" {size}><title>{escape(text)}: {percent(float(share))} of real data</title></rect>'
        yield f'<text class="tick" x="{LABELS - 6}" y="{at + ROW / 2 + 4}" text-anchor="end">{label}</text>'
        for order, (name, index, shares, _) in enumerate(rows):
            middle = at + 3 + (ROW - 6) * (order + 0.5) / len(rows)
            yield _dot(index, x(float(shares[place])), middle, f"{name}, {text}: {percent(float(shares[place]))}")


def _dot(index: int, x: float, y: float, text: str) -> str:
    return f'<g class="dot e{index % len(COLOURS)}"><title>{escape(text)}</title>{marker(index, x, y, 3.4)}</g>'


# Pairs of columns -----------------------------------------------------------------------------------------------


def _pairs(comparison: Comparison, models: Sequence[Numbered]) -> str:
    """The matrix of each model's pair errors."""
    if not models:
        return ""
    matrices = [np.array([_cells(row) for row in extra["matrix"]]) for *_, extra in models]
    most = max([float(np.nanmax(matrix)) for matrix in matrices if not np.isnan(matrix).all()], default=0.0) or 1.0
    figures = []
    for (number, model, extra), matrix in zip(models, matrices, strict=True):
        chart = _matrix(extra["columns"], matrix, most, (number, model.name))
        figures.append(f'<figure class="panel"><p class="figtitle">{titled(model, number)}</p>{chart}</figure>')
    rest = len(comparison.data.columns) - len(models[0][2]["columns"])
    note = f"{PAIRS_NOTE} The greatest error is {percent(most)}." + (
        f" {rest} further columns are not drawn." if rest > 0 else ""
    )
    return f'<h3>Each two columns</h3><p class="note">{escape(note)}</p>{side_by_side(figures)}'


def _cells(row: Sequence[float | None]) -> list[float]:
    return [np.nan if (value := finite(cell)) is None else value for cell in row]


def _matrix(names: Sequence[str], matrix: np.ndarray, most: float, whose: tuple[int, str]) -> str:
    count, left, top, size = len(names), 126, 20, 312
    step = size / max(1, count)
    parts = [
        svg_open(left + size, top + size, f"Error of each two columns of {whose[1]}", "small"),
        f'<g class="e{whose[0] % len(COLOURS)}">',
    ]
    for row, (name, label) in enumerate(zip(names, _short(names), strict=True)):
        middle = top + step * (row + 0.5)
        if step >= 11 or row % 2 == 0:
            parts.append(f'<text class="tick" x="{left - 6}" y="{middle + 4:.1f}" text-anchor="end">{label} {row + 1}</text>')
            parts.append(
                f'<text class="tick" x="{left + step * (row + 0.5):.1f}" y="{top - 6}" text-anchor="middle">{row + 1}</text>'
            )
        for column in range(count):
            error = matrix[row, column]
            place = f'x="{left + step * column:.1f}" y="{top + step * row:.1f}" width="{step:.1f}" height="{step:.1f}"'
            if np.isnan(error):
                parts.append(f'<rect class="band" {place}/>')
                continue
            title = f"<title>{escape(name)} and {escape(names[column])}: {percent(float(error))}</title>"
            parts.append(f'<rect class="cell" {place} fill-opacity="{error / most:.3f}">{title}</rect>')
    return "".join([*parts, "</g></svg>"])


# What gives samples away ----------------------------------------------------------------------------------------


def _told(comparison: Comparison, models: Sequence[Numbered]) -> str:
    """The columns by which samples of any model are told from real rows, the most telling first."""
    falls = [
        (number, model.name, dict(zip(extra["columns"], finite_all(extra["falls"]), strict=False)))
        for number, model, extra in models
    ]
    greatest = {name: max(by_name.get(name, 0.0) for *_, by_name in falls) for *_, first in falls[:1] for name in first}
    names = sorted((name for name in greatest if greatest[name] >= LEAST), key=lambda name: -greatest[name])[:LISTED]
    if not names:
        return ""
    step, left, width = 28, 128, 520
    height = 10 + step * len(names) + 28
    x = Axis(0.0, 1.06 * max(greatest[name] for name in names), left, width - 14, ticks=5)
    parts = [svg_open(width, height, "Columns by which samples are told from real rows")]
    for value in x.ticks:
        parts.append(f'<line class="gridline" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="6" y2="{height - 26}"/>')
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{height - 8}" text-anchor="middle">{tick_text(value)}</text>')
    for row, (name, label) in enumerate(zip(names, _short(names), strict=True)):
        at = 8 + step * (row + 0.5)
        parts.append(f'<text class="rowname" x="{left - 10}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
        for number, model, by_name in falls:
            fall = max(0.0, by_name.get(name, 0.0))
            title = f"<title>{escape(model)}, {escape(name)}: {plain(fall, 2)}</title>"
            parts.append(f'<g class="dot e{number % len(COLOURS)}">{title}{marker(number, x(fall), at)}</g>')
    chart = "".join([*parts, "</svg>"])
    title = '<p class="figtitle">Fall of the area under the ROC curve</p>'
    figure = f'<figure class="wide">{signs(comparison, {number for number, *_ in falls})}{title}{chart}</figure>'
    return f'<h3>What gives samples away</h3><p class="note">{escape(TOLD_NOTE)}</p>{figure}'
