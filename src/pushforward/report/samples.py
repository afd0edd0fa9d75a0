"""Pictures of samples: panels with sliders, layers over the plane, nearest training images, and latent spaces."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pushforward.evaluation.measurements import Field2D
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.numbers import count, counted, listing, percent, plain
from pushforward.pictures import Limits, image, landscape_shares, square
from pushforward.report.charts import svg, text
from pushforward.report.distributions import histogram_chart
from pushforward.report.plain_text import absent
from pushforward.report.sprites import (
    TILES,
    Look,
    Sprite,
    data_uri,
    limits_from,
    sheet,
    shown,
    shrunk,
)

if TYPE_CHECKING:
    from PIL import Image

# Style classes of frames from noise to data, and of frames over training
SAMPLING = "f"
TRAINING = "t"
COLUMNS = 12  # Maximum number of histograms
CLOSEST = 8  # Samples shown with their nearest training images
SIDE = 1000  # Width and height of drawings over the plane in units
SCALE = 32_000  # Positions are 16-bit numbers, from 0 to this inside the square
QUANTILE = 0.98  # Quantile of speeds above which all arrows have the same length
# Landscape of a critic: pixels along a side, colour, number of shades, and maximum opacity of 255
LAND = 96
COLOUR = (236, 160, 40)
BANDS = 10
OPAQUE = 180
CHANGE = 4.0  # Mean difference of pixels, of 255, from which an interpolation changes
ALIKE = 12.0  # Mean difference of pixels, of 255, below which two interpolations look the same
WALKS = {
    "spherical": "Interpolation along an arc",
    "linear": "Interpolation along a line",
    "classes": "The same latent in each class",
}
DOTS = 800  # Maximum number of latents in a map
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
# Standard deviation of class means over that of all latents, from which names are written at the means
APART = 0.45
SIZE = 400


def player(comparison: Comparison, look: Look, rules: list[str]) -> dict[str, Any]:
    """Return the values of the template of samples, and add the styles of frames to ``rules``."""
    panels = [
        panel
        for number, model in look.numbered(comparison.models)
        if (panel := _panel(number, model, look, rules))
    ]
    layers = [layer for panel in panels for layer in panel["layers"]]
    moving = {
        kind: [sprite for layer, _, sprite in layers if layer == kind]
        for kind in (TRAINING, SAMPLING)
    }
    fields = _fields(look)
    packed = {
        str(panel["index"]): _packed(fields[panel["name"]], look)
        for panel in panels
        if panel["name"] in fields
    }
    return {
        "real": look.grid("real", None),
        "panels": panels,
        "sliders": [
            _slider(kind, sprites, look.suffix) for kind, sprites in moving.items() if sprites
        ],
        "toggles": _toggles(look, fields),
        "classes": next((field.classes for field in fields.values() if len(field.classes) > 1), ()),
        "moves": bool(fields),
        "planes": Markup(
            json.dumps({"side": SIDE, "scale": SCALE, "models": packed}, separators=(",", ":"))
        )
        if packed
        else "",
        "vectors": look.columns(),
        "jumps": bool(moving[SAMPLING]) and any(panel["jump"] for panel in panels),
        "same_noise": _same_noise(comparison),
        "nearest": any(panel["near"] for panel in panels),
        "closest": _closest(look, panels),
        "absent": absent(comparison),
    }


def _panel(index: int, model: ModelResult, look: Look, rules: list[str]) -> dict[str, Any] | None:
    still = look.grid(model.name, index)
    pictures = look.of(model.name)
    if still is None:
        return None
    formation = look.sprite(pictures.formation, index, "t")
    training = look.sprite(pictures.training, index, "after step")
    both = ((SAMPLING, formation), (TRAINING, training))
    layers = [
        (kind, f"{kind}{index}{look.suffix}", sprite)
        for kind, sprite in both
        if sprite and sprite.frames > 1
    ]
    rules += [
        _rule(name, sprite, f"aspect-ratio:{sprite.width}/{sprite.height}")
        for _, name, sprite in layers
    ]
    steps = model.training.steps
    earlier = model.weights_step
    calls = model.sampling.calls
    moment = "" if steps is None else f"after step {count(steps)}"
    if earlier is not None and steps is not None:
        moment = f"weights after step {count(earlier)} of {count(steps)}"
    how = ["" if calls is None else counted(calls, "network call"), model.sampling.solver]
    plane = look.columns() == 2
    return {
        "index": index,
        "model": model,
        "name": model.name,
        "still": still,
        "layers": layers,
        "jump": formation is None,
        "moment": moment,
        "how": ", ".join(filter(None, how)),
        "land": _land(look, model.name, f"c{index}{look.suffix}", rules) if plane else None,
        "mesh": _mesh(look, pictures.mesh) if plane and pictures.mesh is not None else None,
        "field": plane and pictures.field is not None,
        "near": _near(look, model.name, f"n{index}{look.suffix}", rules),
    }


def _rule(name: str, sprite: Sprite, more: str = "") -> str:
    return f".{name}{{background-image:url({sprite.uri});background-size:100% {100 * sprite.frames}%;{more}}}"


def _slider(kind: str, sprites: Sequence[Sprite], suffix: str) -> dict[str, Any]:
    """Return the range of a slider, and the percentage of training at each frame."""
    most = max(sprites, key=lambda sprite: sprite.frames)
    if kind == TRAINING:
        shares = [round(100 * moment / (most.moments[-1] or 1.0)) for moment in most.moments]
    else:
        shares = []
    return {
        "kind": kind,
        "id": f"slider-{kind}{suffix}",
        "last": most.frames - 1,
        "shares": json.dumps(shares),
    }


def _same_noise(comparison: Comparison) -> str:
    """Return which models share their noise, such as ``flow and ddpm``; empty if unknown."""
    names = [model.name for model in comparison.models]
    shared = comparison.settings.shared or ()
    groups = [[name for name in names if name in stated] for stated in shared]
    return "; ".join(listing(group) for group in groups if len(group) > 1)


def histograms(comparison: Comparison, look: Look) -> list[tuple[str, Markup]]:
    """Draw the first columns of vectors, with their names."""
    if look.columns() < 3 and look.columns() != 1:
        return []
    names = comparison.data.columns
    charts = []
    clouds = [
        (model.name, index, look.samples(model.name))
        for index, model in look.numbered(comparison.models)
    ]
    for column in range(min(look.columns(), COLUMNS)):
        label = names[column] if column < len(names) else f"x{column}"
        rows = [(name, index, rows[:, column]) for name, index, rows in clouds if rows is not None]
        charts.append(
            (
                label,
                histogram_chart(label, None if look.real is None else look.real[:, column], rows),
            )
        )
    return charts


# Nearest training images ----------------------------------------------------------------------------------------


def _known(look: Look, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return samples, their nearest training images and the distances; empty arrays if they are unknown."""
    nearest = look.of(name).nearest
    rows = look.samples(name)
    if nearest is None or rows is None or rows.ndim != 4 or rows.shape[1:] != nearest.x.shape[1:]:
        return (np.empty(0),) * 3
    most = min(len(rows), len(nearest.x), len(nearest.distances), TILES**2)
    return rows[:most], nearest.x[:most], np.asarray(nearest.distances[:most])


def _near(look: Look, name: str, style: str, rules: list[str]) -> dict[str, Any] | None:
    (rows, partners, distances), nearest = _known(look, name), look.of(name).nearest
    if nearest is None or not len(rows):
        return None
    pictures = [
        image(pair)
        for pair in shrunk(np.concatenate([rows, partners], axis=2), round(160 * look.detail))
    ]
    sprite = Sprite(
        data_uri(sheet(pictures), max(rows.shape[1:3]) <= 32),
        len(rows),
        pictures[0].width,
        pictures[0].height,
    )
    rules.append(_rule(style, sprite))
    texts = json.dumps([plain(float(distance), 3) for distance in distances])
    return {
        "style": style,
        "sprite": sprite,
        "distances": texts,
        "usual": plain(nearest.usual, 3),
        "columns": TILES,
    }


def _closest(look: Look, panels: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    drawn = []
    for panel in panels:
        (rows, partners, distances), nearest = (
            _known(look, panel["name"]),
            look.of(panel["name"]).nearest,
        )
        if nearest is None or not len(rows) or not nearest.usual > 0:
            continue
        closest = np.argsort(distances, kind="stable")[:CLOSEST]
        tiles = shrunk(np.concatenate([rows[closest], partners[closest]]), round(72 * look.detail))
        ends = [plain(float(distances[at]) / nearest.usual, 2) for at in (closest[0], closest[-1])]
        drawn.append(
            {"panel": panel, "picture": shown(tiles, len(closest)), "distances": " to ".join(ends)}
        )
    return drawn


# The plane ------------------------------------------------------------------------------------------------------


def _fields(look: Look) -> dict[str, Field2D]:
    if look.columns() != 2:
        return {}
    return {
        name: field for name, drawn in look.pictures.items() if (field := drawn.field) is not None
    }


def _toggles(look: Look, fields: dict[str, Field2D]) -> list[tuple[str, str, bool]]:
    drawn = [look.of(name) for name in look.pictures] if look.columns() == 2 else []
    parts = [("arrows", "Velocities", True)] if fields else []
    parts += [("land", "Critic’s landscape", True)] if any(one.landscapes for one in drawn) else []
    return parts + (
        [("mesh", "Grid of noise", False)] if any(one.mesh is not None for one in drawn) else []
    )


def _land(look: Look, name: str, style: str, rules: list[str]) -> tuple[str, int] | None:
    lands = look.of(name).landscapes
    pictures = [
        shaded_picture(land["scores"], limits_from(land["limits"]), look.limits, LAND)
        for _, land in lands
    ]
    if not pictures:
        return None
    rules.append(_rule(style, Sprite(data_uri(sheet(pictures)), len(pictures), LAND, LAND)))
    return style, len(pictures)


def _mesh(look: Look, mesh: np.ndarray) -> str:
    """Return the lines of a grid as one path, without lines that are not finite."""
    left, right, low, high = look.limits
    places = np.clip((mesh - [left, high]) / [right - left, low - high] * SIDE, -SIDE, 2 * SIDE)
    return "".join(
        "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in line)
        for line in places
        if np.isfinite(line).all()
    )


def _packed(field: Field2D, look: Look) -> dict[str, object]:
    left, right, low, high = look.limits
    sizes = np.linalg.norm(field.velocities, axis=-1)
    if np.isfinite(sizes).any():
        longest = float(np.quantile(sizes[np.isfinite(sizes)], QUANTILE))
    else:
        longest = 1.0
    arrows = np.nan_to_num(field.velocities / max(longest, 1e-12)) * [1, -1]
    arrows /= np.maximum(1.0, np.linalg.norm(arrows, axis=-1, keepdims=True))
    places = (field.ways - [left, high]) / [right - left, low - high] * SCALE
    x0, x1, y0, y1 = np.nan_to_num(np.array(field.limits))
    corners = (
        (x0 - left) / (right - left),
        (high - y1) / (high - low),
        (x1 - left) / (right - left),
        (high - y0) / (high - low),
    )
    return {
        "around": [round(float(corner), 5) for corner in corners],
        "cells": field.ways.shape[1],
        "ways": _base64(np.clip(np.nan_to_num(places), -32_767, 32_767).round().astype("<i2")),
        "way_times": [round(float(t), 4) for t in field.way_times],
        "side": field.velocities.shape[2],
        "arrows": _base64((127 * arrows).round().astype("<i1")),
        "times": [round(float(t), 4) for t in field.times],
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def shaded_picture(heights: np.ndarray, limits: Limits, seen: Limits, size: int) -> Image.Image:
    """Return values over the plane as an RGBA picture that is more opaque for greater values.

    Args:
        heights: Values on a regular grid, shape (rows, columns), by increasing y and x.
        limits: The part of the plane that the grid covers.
        seen: The part of the plane that the picture shows.
        size: Width and height in pixels.
    """
    from PIL import Image

    share = np.clip(landscape_shares(heights), 0, 1)
    middles = (np.arange(size) + 0.5) / size
    xs = seen[0] + middles * (seen[1] - seen[0])
    ys = seen[3] - middles * (seen[3] - seen[2])
    across = np.linspace(*limits[:2], share.shape[1])
    up = np.linspace(*limits[2:], share.shape[0])
    rows = np.stack([np.interp(xs, across, row, 0.0, 0.0) for row in share])
    shade = np.stack([np.interp(ys, up, column, 0.0, 0.0) for column in rows.T], axis=1)
    alpha = np.floor(np.clip(shade, 0, 0.999) * BANDS) / (BANDS - 1) * OPAQUE
    colour = np.broadcast_to(np.array(COLOUR, dtype=float), (size, size, 3))
    return Image.fromarray(
        np.concatenate([colour, alpha[..., None]], axis=2).round().astype(np.uint8)
    )


def latent_pictures(
    comparison: Comparison, look: Look, model: ModelResult
) -> dict[str, Any] | None:
    """Return titled pictures of a latent space, and a map of the latents with its legend; None without any."""
    drawn = look.of(model.name).latent
    if drawn is None:
        return None
    panels = []
    if drawn.strip is not None:
        panels.append(
            (
                "Held-out images above their reconstructions",
                shown(drawn.strip, len(drawn.strip) // 2),
            )
        )
    panels += [
        (WALKS.get(way, f"Interpolation: {way}"), shown(x, len(x)))
        for way, x in _seen(drawn.walks).items()
    ]
    if drawn.arithmetic is not None:
        a, b = drawn.arithmetic.groups
        panels.append((f"{a} + ({b} − {a})", shown(drawn.arithmetic.x, drawn.arithmetic.frames)))
    values: dict[str, Any] = {"panels": panels, "chart": Markup(), "legend": [], "share": ""}
    if drawn.map is not None:
        labels = drawn.map.labels
        groups = 1 + int(labels.max()) if labels is not None and len(labels) else 1
        names = [*comparison.data.classes] or [str(label) for label in range(groups)]
        points = np.asarray(drawn.map.points, dtype=float)
        values["chart"], values["legend"] = code_chart(
            points, labels, names, f"Latents of held-out examples of {model.name}"
        )
        if drawn.map.share < 1:
            values["share"] = f"{percent(drawn.map.share)} of the variance"
    return values


def _seen(walks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the walks along which images change, without those that look like an earlier one."""
    seen: dict[str, np.ndarray] = {}
    for way, frames in walks.items():
        pixels = frames.astype(float)
        changes = np.abs(pixels - pixels[:1]).mean(axis=(1, 2, 3)).max() >= CHANGE
        alike = any(
            other.shape == frames.shape and np.abs(pixels - other).mean() < ALIKE
            for other in seen.values()
        )
        if changes and not alike:
            seen[way] = frames
    return seen


def code_chart(
    points: np.ndarray, labels: np.ndarray | None, names: Sequence[str], label: str
) -> tuple[Markup, list[tuple[str, str]]]:
    """Draw latents in the plane, and return the chart and the colour and name of each class.

    Args:
        points: Latents in the plane, shape (n, 2); points that are not finite are left out.
        labels: The class of each point, int of shape (n,), or None.
        names: The names of the classes.
        label: Label for screen readers.
    """
    known = np.isfinite(points).all(1)
    points = points[known][:DOTS]
    group = None if labels is None else labels[known][:DOTS]
    if not len(points):
        return Markup(), []
    left, right, low, high = square(points.min(0), points.max(0), 1.05)
    places = (points - [left, high]) / [right - left, low - high] * SIZE
    classes = [0] if group is None else [int(number) for number in np.unique(group)]
    parts = []
    means = []
    for number in classes:
        members = places if group is None else places[group == number]
        dots = "".join(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3.4"/>' for x, y in members)
        if group is not None and number < len(names):
            title = f"<title>{escape(names[number])}</title>"
        else:
            title = ""
        parts.append(f'<g fill="{HUES[number % len(HUES)]}" opacity=".72">{title}{dots}</g>')
        means += [(number, members.mean(0))] if title else []
    if (
        len(means) > 1
        and np.std([mean for _, mean in means], axis=0).max() >= APART * places.std(axis=0).max()
    ):
        parts += [text(names[number], x, y + 5, "middle", "class") for number, (x, y) in means]
    return svg(SIZE, SIZE, label, parts, "codes"), [
        (HUES[number % len(HUES)], names[number]) for number, _ in means
    ]
