"""The section on latent spaces: what codes hold, what comes back from them, and how they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from pushforward.evaluation.measurements import CodeStatistics, LatentPictures, Map2D, Reconstruction
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, plain
from pushforward.pictures import grid_picture, square
from pushforward.report.captions import CODE_NOTES
from pushforward.report.charts import Plot, Series, line_chart, svg_open
from pushforward.report.markup import framed, panel, scrolled, signs, split, titled
from pushforward.report.sprites import SMALL, Look, data_uri
from pushforward.report.tables import Cell, Column, Row, Table

__all__ = ["section", "table"]

COLUMNS = (
    Column("PSNR", "Peak signal-to-noise ratio of reconstructions of held-out images.", "dB, higher is nearer"),
    Column("SSIM", "Structural similarity of reconstructions to held-out images.", "1 is equal"),
    Column("Explained", "Share of the variance about the mean example that reconstructions explain.", "1 is all"),
    Column("Feature distance", "Mean squared distance to reconstructions in the features of the scores.", "0 is none"),
    Column("Active units", "Numbers of the code whose mean varies over data, by a variance above 0.01."),
    Column("KL", "What the code costs, nats an example: the divergence of its distribution from the prior.", "nats"),
    Column("Mismatch", "How far all codes together lie from the prior, as a Gaussian sees it.", "nats, 0 is none"),
)


CHANGE = 4.0
"""Mean difference of pixels, of 255, from which something changes on a walk."""
ALIKE = 12.0
"""Mean difference of pixels, of 255, below which two walks look the same."""
WALKS = {
    "spherical": "A walk <span>along an arc</span>",
    "linear": "A walk <span>along a line</span>",
    "classes": "One code <span>decoded as each class</span>",
}


def section(comparison: Comparison, look: Look) -> str:
    """The table, the KL term by unit, and pictures of every model that has codes; empty where none has."""
    statistics = table(comparison)
    if statistics is None:
        return ""
    note = f'<p class="prose wider">{escape(CODE_NOTES["table"])}</p>'
    body = f"{note}{scrolled(statistics, 'Codes')}{_units(comparison)}"
    for index, model in enumerate(comparison.models):
        pictures = look.of(model.name).latent
        if pictures is not None:
            body += f"<h3>{titled(model, index)}</h3>{_pictures(comparison, model, pictures)}"
    return body


def table(comparison: Comparison) -> Table | None:
    """Reconstruction and code of each model that has codes, one row each; None where none has."""
    rows = [
        Row(model.name, [Cell(text) for text in _texts(model.latent.reconstruction, model.latent.code)], index=index)
        for index, model in enumerate(comparison.models)
        if model.latent is not None
    ]
    table = Table(COLUMNS, rows).filled
    return table if table.columns else None


def _texts(reconstruction: Reconstruction, code: CodeStatistics | None) -> list[str]:
    code = code or CodeStatistics()
    known = code.active is not None and code.units is not None
    return [
        plain(reconstruction.psnr),
        plain(reconstruction.ssim),
        plain(reconstruction.explained),
        plain(reconstruction.feature_distance),
        f"{count(code.active)} of {count(code.units)}" if known else "–",
        plain(code.kl),
        plain(code.mismatch),
    ]


def _units(comparison: Comparison) -> str:
    lines = []
    for index, model in enumerate(comparison.models):
        values = () if model.latent is None or model.latent.code is None else model.latent.code.by_unit
        if values:
            lines.append(Series(model.name, index, [float(unit) for unit in range(1, len(values) + 1)], values))
    if not lines:
        return ""
    chart = line_chart(lines, "unit of the code, by its KL term", "KL, nats", Plot(height=230, log_y=True))
    figure = framed(signs(comparison, {line.index for line in lines}), chart)
    note = f"<p>{escape(CODE_NOTES['units'])}</p>"
    return f"<h3>What each unit carries</h3>{split(note, figure)}"


def _pictures(comparison: Comparison, model: ModelResult, pictures: LatentPictures) -> str:
    panels, name = [], model.name
    strip, moved = pictures.strip, pictures.arithmetic
    if strip is not None:
        text = f"Held-out images above, their reconstructions by {name} below"
        panels.append(_rows("Reconstructions <span>below held-out images</span>", strip, len(strip) // 2, text))
    walks = _seen(pictures.walks)
    for way, frames in walks.items():
        title = WALKS.get(way, f"A walk <span>{escape(way)}</span>")
        panels.append(_rows(title, frames, len(frames), f"Images on a walk between codes of {name}: {way}"))
    if moved is not None:
        a, b = moved.groups
        title = f"{escape(a)} + ({escape(b)} − {escape(a)})"
        panels.append(_rows(title, moved.x, moved.frames, f"Images of {a} moved towards {b} in the codes of {name}"))
    body = "".join(panels)
    drawn_map = "" if pictures.map is None else _map(comparison, name, pictures.map)
    parts = {"walks": walks.keys() - {"classes"}, "classes": "classes" in walks, "arithmetic": moved, "map": drawn_map}
    notes = " ".join(CODE_NOTES[part] for part, drawn in parts.items() if drawn)
    body = f'<div class="latent">{body}</div>' if body else ""
    return f'{split(body, drawn_map)}<p class="note wider">{escape(notes)}</p>' if body or drawn_map else ""


def _seen(walks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The walks on which something changes, and of two that look the same the first alone."""
    seen: dict[str, np.ndarray] = {}
    for way, frames in walks.items():
        pixels = frames.astype(float)
        changes = np.abs(pixels - pixels[:1]).mean(axis=(1, 2, 3)).max() >= CHANGE
        alike = any(other.shape == frames.shape and np.abs(pixels - other).mean() < ALIKE for other in seen.values())
        if changes and not alike:
            seen[way] = frames
    return seen


def _map(comparison: Comparison, name: str, codes: Map2D) -> str:
    labels = codes.labels
    count_of_labels = 1 + int(labels.max()) if labels is not None and len(labels) else 1
    names = list(comparison.data.classes) or [str(label) for label in range(count_of_labels)]
    aside = "" if codes.share >= 1 else f" <span>{round(100 * codes.share)} % of the variance</span>"
    chart = code_chart(np.asarray(codes.points, dtype=float), labels, names, f"Codes of held-out examples of {name}")
    return f'<figure class="map"><p class="figtitle">Map of the codes{aside}</p><div class="frame">{chart}</div></figure>'


def _rows(title: str, images: np.ndarray, columns: int, alt: str) -> str:
    side = max(images.shape[1:3])
    picture = grid_picture(images, columns, scale=max(1, -(-SMALL // side)) if side < SMALL else 1, gap=2, paper=None)
    return panel(title, (data_uri(picture, side <= 32), picture.width, picture.height), alt)


DOTS = 800
"""Examples that are drawn at most."""
HUES = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f", "#edc948", "#ff9da7", "#8a8a8e")
APART = 0.45
"""Spread of the classes' means over that of all codes from which names stand at the means; below, they would cover each other."""
SIZE = 400


def code_chart(points: np.ndarray, labels: np.ndarray | None, names: Sequence[str], label: str) -> str:
    """Codes in the plane.

    Args:
        points: (n, 2). Points that are not finite are left out.
        labels: The class of each point, int (n,), or None.
        names: Of the classes.
        label: For readers who do not see it.

    Returns:
        SVG; empty where there is no finite point.
    """
    known = np.isfinite(points).all(1)
    points, group = points[known][:DOTS], None if labels is None else labels[known][:DOTS]
    if not len(points):
        return ""
    left, right, low, high = square(points.min(0), points.max(0), 1.05)
    places = (points - [left, high]) / [right - left, low - high] * SIZE
    parts = [svg_open(SIZE, SIZE, label, "codes")]
    classes = [0] if group is None else [int(number) for number in np.unique(group)]
    for number in classes:
        members = places if group is None else places[group == number]
        title = f"<title>{escape(names[number])}</title>" if group is not None and number < len(names) else ""
        dots = "".join(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3.4"/>' for x, y in members)
        parts.append(f'<g fill="{HUES[number % len(HUES)]}" opacity=".72">{title}{dots}</g>')
    means = [] if group is None else [(number, places[group == number].mean(0)) for number in classes]
    if len(means) > 1 and np.std([mean for _, mean in means], axis=0).max() >= APART * places.std(axis=0).max():
        parts += [
            f'<text class="class" x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{escape(names[number])}</text>'
            for number, (x, y) in means
            if number < len(names)
        ]
    return "".join([*parts, "</svg>"]) + _legend(means, names)


def _legend(means: Sequence[tuple[int, np.ndarray]], names: Sequence[str]) -> str:
    items = "".join(
        f'<li><svg class="sign" viewBox="-6 -6 12 12" style="fill:{HUES[number % len(HUES)]}" aria-hidden="true">'
        f'<circle r="5"/></svg>{escape(names[number])}</li>'
        for number, _ in means
        if number < len(names)
    )
    return f'<ul class="legend small">{items}</ul>' if items else ""
