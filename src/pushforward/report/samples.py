"""Pictures of samples, of the plane, and of latent spaces."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pushforward.evaluation.measurements import Field2D, Map2D
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, percent, plain, plural
from pushforward.pictures import Limits, landscape_shares, square
from pushforward.report.charts import Chart
from pushforward.report.distributions import histogram_chart
from pushforward.report.plain_text import absent
from pushforward.report.sprites import Embedded, Look, Sprite, embedded, sheet, shrunk

if TYPE_CHECKING:
    from PIL import Image

Values = dict[str, Any]  # values of a template by name

# Kinds of frames, which the script of the page knows: from noise to data, and over training
SAMPLING = "f"
TRAINING = "t"
LANDSCAPE = "Critic’s landscape"


def player(comparison: Comparison, look: Look) -> Values:
    """Return the values of the template of samples."""
    panels = []
    for index, model in look.numbered(comparison.models):
        still = look.grid(model.name, index)
        if still is not None:
            panels.append(_panel(index, model, still, look))
    sliders = []
    for kind in (TRAINING, SAMPLING):
        sprites: list[Sprite] = []
        for panel in panels:
            sprites += filter(None, [dict(panel["layers"]).get(kind)])
        if sprites:
            sliders.append(_slider(kind, sprites, look.suffix))
    fields = {panel["index"]: panel["field"] for panel in panels if panel["field"] is not None}
    sampling = any(slider["kind"] == SAMPLING for slider in sliders)
    return {
        "real": look.grid("real", None),
        "panels": panels,
        "sliders": sliders,
        "toggles": _toggles(panels),
        "classes": next((field.classes for field in fields.values() if len(field.classes) > 1), ()),
        "moves": bool(fields),
        "planes": _planes(fields, look) if fields else "",
        "vectors": look.columns(),
        "jumps": sampling and any(panel["jump"] for panel in panels),
        "closest": _closest(look, panels),
        "absent": absent(comparison),
    }


def _panel(index: int, model: ModelResult, still: Embedded, look: Look) -> Values:
    pictures = look.of(model.name)
    formation = look.sprite(pictures.formation, index, "t")
    training = look.sprite(pictures.training, index, "after step")
    layers = []
    for kind, sprite in ((SAMPLING, formation), (TRAINING, training)):
        if sprite is not None and sprite.frames > 1:
            layers.append((kind, sprite))
    panel = {
        "index": index,
        "model": model,
        "name": model.name,
        "still": still,
        "layers": layers,
        "jump": formation is None,
        "moment": _moment(model),
        "how": _sampler(model),
        "land": None,
        "field": None,
    }
    if look.columns() == 2:
        panel["field"] = pictures.field
        if pictures.landscapes:
            panel["land"] = _land(look, model.name)
    return panel


def _moment(model: ModelResult) -> str:
    steps = model.training.steps
    if steps is None:
        return ""
    if model.weights_step is None:
        return f"after step {count(steps)}"
    return f"weights after step {count(model.weights_step)} of {count(steps)}"


def _sampler(model: ModelResult) -> str:
    words = []
    if model.sampling.calls is not None:
        words.append(plural(model.sampling.calls, "network call"))
    if model.sampling.solver:
        words.append(model.sampling.solver)
    return ", ".join(words)


def _slider(kind: str, sprites: Sequence[Sprite], suffix: str) -> Values:
    longest = max(sprites, key=lambda sprite: sprite.frames)
    shares = []
    if kind == TRAINING:
        last = longest.moments[-1] or 1.0
        shares = [round(100 * moment / last) for moment in longest.moments]
    return {
        "kind": kind,
        "id": f"slider-{kind}{suffix}",
        "last": longest.frames - 1,
        "shares": json.dumps(shares),
    }


def _toggles(panels: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, bool]]:
    toggles = []
    for key, layer, title in (("field", "arrows", "Velocities"), ("land", "land", LANDSCAPE)):
        if any(panel[key] is not None for panel in panels):
            toggles.append((layer, title, True))
    return toggles


COLUMNS = 12  # maximum number of histograms


def histograms(comparison: Comparison, look: Look) -> list[tuple[str, Markup]]:
    """Draw the first columns of vectors, with their names."""
    if look.columns() in (0, 2):
        return []
    names = comparison.data.columns
    charts = []
    for column in range(min(look.columns(), COLUMNS)):
        label = names[column] if column < len(names) else f"x{column}"
        clouds = []
        for index, model in look.numbered(comparison.models):
            rows = look.samples(model.name)
            if rows is not None:
                clouds.append((index, rows[:, column]))
        real = None if look.real is None else look.real[:, column]
        charts.append((label, histogram_chart(label, real, clouds)))
    return charts


# Nearest training images ------------------------------------------------------------------------

CLOSEST = 8  # samples shown with their nearest training images


def _closest(look: Look, panels: Sequence[Values]) -> list[Values]:
    drawn = []
    for panel in panels:
        nearest = look.of(panel["name"]).nearest
        rows = look.samples(panel["name"])
        if nearest is None or rows is None or not nearest.usual > 0:
            continue
        distances = np.asarray(nearest.distances[: len(rows)], dtype=float)
        closest = np.argsort(distances, kind="stable")[:CLOSEST]
        pairs = np.concatenate([rows[closest], nearest.x[closest]])
        ratios = distances[closest] / nearest.usual
        ends = f"{plain(ratios[0], 2)} to {plain(ratios[-1], 2)}"
        picture = embedded(shrunk(pairs, round(72 * look.detail)), len(closest))
        drawn.append({"panel": panel, "picture": picture, "distances": ends})
    return drawn


# The plane --------------------------------------------------------------------------------------

SIDE = 1000  # width and height of drawings over the plane in units
SCALE = 32_000  # positions are 16-bit numbers, from 0 to this inside the square
QUANTILE = 0.98  # quantile of speeds above which all arrows have the same length


def to_picture(points: np.ndarray, limits: Limits, size: float) -> np.ndarray:
    """Convert points (..., 2) of the plane to positions in a square picture."""
    left, right, low, high = limits
    places = (points - [left, high]) / [right - left, low - high] * size
    return places


def _planes(fields: Mapping[int, Field2D], look: Look) -> Markup:
    models = {str(index): _packed(field, look) for index, field in fields.items()}
    data = {"side": SIDE, "scale": SCALE, "models": models}
    return Markup(json.dumps(data, separators=(",", ":")))


def _packed(field: Field2D, look: Look) -> dict[str, object]:
    speeds = np.linalg.norm(field.velocities, axis=-1)
    speeds = speeds[np.isfinite(speeds)]
    longest = float(np.quantile(speeds, QUANTILE)) if len(speeds) else 1.0
    arrows = np.nan_to_num(field.velocities / max(longest, 1e-12)) * [1, -1]
    arrows /= np.maximum(1.0, np.linalg.norm(arrows, axis=-1, keepdims=True))
    places = np.nan_to_num(to_picture(field.ways, look.limits, SCALE))
    left, right, low, high = np.nan_to_num(np.array(field.limits))
    corners = to_picture(np.array([[left, high], [right, low]]), look.limits, 1)
    return {
        "around": corners.ravel().round(5).tolist(),
        "cells": field.ways.shape[1],
        "ways": _base64(np.clip(places, -32_767, 32_767).round().astype("<i2")),
        "way_times": [round(float(t), 4) for t in field.way_times],
        "side": field.velocities.shape[2],
        "arrows": _base64((127 * arrows).round().astype("<i1")),
        "times": [round(float(t), 4) for t in field.times],
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


# Landscape of a critic: pixels along a side, colour, number of shades, and maximum opacity of 255
LAND = 96
COLOUR = (236, 160, 40)
BANDS = 10
OPAQUE = 180


def _land(look: Look, name: str) -> Sprite:
    pictures = []
    for _, land in look.of(name).landscapes:
        left, right, low, high = np.asarray(land["limits"], dtype=float).tolist()
        limits = (left, right, low, high)
        pictures.append(shaded_picture(land["scores"], limits, look.limits, LAND))
    return sheet(pictures)


def shaded_picture(heights: np.ndarray, limits: Limits, seen: Limits, size: int) -> Image.Image:
    """Return heights over the plane as an RGBA picture, more opaque for greater values."""
    from PIL import Image
    from scipy.interpolate import RegularGridInterpolator

    shares = np.clip(landscape_shares(heights), 0, 1)
    left, right, low, high = limits
    rows = np.linspace(low, high, shares.shape[0])
    columns = np.linspace(left, right, shares.shape[1])
    share_at = RegularGridInterpolator((rows, columns), shares, bounds_error=False, fill_value=0.0)
    left, right, low, high = seen
    ys = np.linspace(high, low, size)
    xs = np.linspace(left, right, size)
    shades = np.clip(share_at((ys[:, None], xs)), 0, 0.999)
    alpha = np.floor(shades * BANDS) / (BANDS - 1) * OPAQUE
    picture = Image.new("RGBA", (size, size), COLOUR)
    picture.putalpha(Image.fromarray(alpha.round().astype(np.uint8)))
    return picture


# Latent spaces ----------------------------------------------------------------------------------

WALKS = {"spherical": "Interpolation", "classes": "The same latent in each class"}


def latent_pictures(comparison: Comparison, look: Look) -> list[tuple[int, ModelResult, Values]]:
    """Return pictures and maps of the latents of each model that has them."""
    found = []
    for index, model in enumerate(comparison.models):
        drawn = look.of(model.name).latent
        if drawn is None:
            continue
        panels = []
        if drawn.strip is not None:
            strip = embedded(drawn.strip, len(drawn.strip) // 2)
            panels.append(("Held-out images above their reconstructions", strip))
        for way, heading in WALKS.items():
            if way in drawn.walks:
                frames = drawn.walks[way]
                panels.append((heading, embedded(frames, len(frames))))
        values = {"panels": panels, "chart": Markup(), "legend": [], "share": ""}
        if drawn.map is not None:
            label = f"Latents of held-out examples of {model.name}"
            chart, legend = code_chart(drawn.map, comparison.data.classes, label)
            share = drawn.map.share
            values |= {"chart": chart, "legend": legend}
            if share < 1:
                values["share"] = f"{percent(share)} of the variance"
        found.append((index, model, values))
    return found


DOTS = 800  # maximum number of latents in a map
SIZE = 400
# Standard deviation of class means over that of all latents, from which names are at the means
APART = 0.45
HUES = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#76b7b2",
    "#b07aa1",
    "#9c755f",
    "#edc948",
    "#ff9da7",
    "#8a8a8e",
)


def code_chart(
    codes: Map2D, names: Sequence[str], label: str
) -> tuple[Markup, list[tuple[str, str]]]:
    """Draw a map of latents, and return the chart and the colour and name of each class."""
    points = np.asarray(codes.points, dtype=float)
    known = np.isfinite(points).all(1)
    points = points[known][:DOTS]
    if not len(points):
        return Markup(), []
    labels = np.zeros(len(known), int) if codes.labels is None else codes.labels
    labels = labels[known][:DOTS]
    limits = square(points.min(0), points.max(0), 1.05)
    chart = Chart(SIZE, SIZE, left=0, right=0, top=0, bottom=0)
    axes = chart.axes
    axes.axis("off")
    axes.axis(limits)
    legend = []
    means = []
    for number in np.unique(labels).tolist():
        members = points[labels == number]
        hue = HUES[number % len(HUES)]
        axes.scatter(members[:, 0], members[:, 1], 36, hue, alpha=0.72, linewidths=0)
        if codes.labels is not None:
            legend.append((hue, names[number] if number < len(names) else str(number)))
            means.append(members.mean(0))
    if len(means) > 1 and np.std(means, axis=0).max() >= APART * points.std(axis=0).max():
        for (x, y), (_, name) in zip(means, legend, strict=True):
            axes.text(x, y, name, ha="center", va="center", gid="class")
    return chart.svg(label), legend
