"""What is drawn over points in the plane: velocities, trajectories, the critic's landscape, and the grid of noise as mapped."""

from __future__ import annotations

import base64
import json
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from pushforward.evaluation.measurements import Field2D
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.pictures import Limits, landscape_shares
from pushforward.report.sprites import Look, data_uri, limits_from, sheet

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["plane_data", "plane_layers", "plane_notes", "plane_toggles"]

SIDE = 1000
"""Units of the drawing's sides."""
LAND = 96
"""Pixels along each side of a critic's landscape."""
SCALE = 32_000
"""Places are stored as 16-bit numbers: the square is from 0 to this, and what lies as far outside is cut off."""
QUANTILE = 0.98
"""The share of velocities that are drawn with their length; longer ones have the length of the longest of these."""


def plane_layers(look: Look, model: ModelResult, index: int, rules: list[str]) -> tuple[str, str]:
    """Layers of a panel below and above its points; the style of the lower one is added to ``rules``."""
    if look.columns() != 2:
        return "", ""
    below, lands = "", look.of(model.name).landscapes
    if lands:
        pictures = [shaded_picture(land["scores"], limits_from(land["limits"]), look.limits, LAND) for _, land in lands]
        name = f"c{index}{look.suffix}"
        rules.append(f".{name}{{background-image:url({data_uri(sheet(pictures))});background-size:100% {100 * len(lands)}%}}")
        below = f'<div class="land {name}" data-frames="{len(lands)}"></div>'
    mesh = look.of(model.name).mesh
    lines = "" if mesh is None else f'<path class="mesh" d="{_mesh(look, mesh)}" hidden />'
    moves = look.of(model.name).field is not None
    if not moves and mesh is None:
        return below, ""
    kind = f"overlay e{index % 6}" + (" field" if moves else "")
    drawn = '<path class="arrows" /><g class="ways"></g>' if moves else ""
    return below, f'<svg class="{kind}" viewBox="0 0 {SIDE} {SIDE}" aria-hidden="true" focusable="false">{lines}{drawn}</svg>'


def _mesh(look: Look, mesh: np.ndarray) -> str:
    """Lines of a grid as one path; of a line that is not finite nothing is drawn."""
    left, right, low, high = look.limits
    places = (mesh - [left, high]) / [right - left, low - high] * SIDE
    lines = [line for line in np.clip(places, -SIDE, 2 * SIDE) if np.isfinite(line).all()]
    return "".join("M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in line) for line in lines)


def _fields(look: Look) -> dict[str, Field2D]:
    if look.columns() != 2:
        return {}
    return {name: field for name, drawn in look.pictures.items() if (field := drawn.field) is not None}


def plane_toggles(look: Look) -> str:
    """Switches of what can be drawn; nothing for data that are no points in the plane."""
    fields, names = _fields(look), look.pictures if look.columns() == 2 else {}
    parts = [("arrows", "Velocities", True)] if fields else []
    parts += [("land", "Critic’s landscape", True)] if any(look.of(name).landscapes for name in names) else []
    parts += [("mesh", "Grid of noise", False)] if any(look.of(name).mesh is not None for name in names) else []
    boxes = "".join(
        f'<label><input type="checkbox" data-layer="{layer}"{" checked" if on else ""}>{title}</label>'
        for layer, title, on in parts
    )
    classes = next((field.classes for field in fields.values() if len(field.classes) > 1), ())
    options = "".join(f"<option value={number}>{escape(name)}</option>" for number, name in enumerate(classes))
    chosen = f'<label>Class <select class="class-of-field">{options}</select></label>' if options else ""
    buttons = (
        '<button type="button" class="launch">Launch trajectories</button><button type="button" class="clear">Clear</button>'
        if fields
        else ""
    )
    return f'<div class="switches">{boxes}{chosen}{buttons}</div>' if boxes else ""


def plane_notes(look: Look) -> list[str]:
    """How to read what is drawn."""
    if look.columns() != 2:
        return []
    notes, drawn = [], [look.of(name) for name in look.pictures]
    if _fields(look):
        notes.append(
            "Click into a picture: from that noise a trajectory starts in each iterative model. Arrows say where points move at "
            "the moment of the sampling slider. All models are read on the same straight path."
        )
    if any(parts.landscapes for parts in drawn):
        notes.append("The shade is the critic's: the darker, the more real it takes points to be.")
    if any(parts.mesh is not None for parts in drawn):
        notes.append(
            "“Grid of noise” shows what a model of one call does: it moves a square grid of noise to the lines that are drawn. "
            "Where lines are close, samples are dense. If noise has more than two numbers, only the first two vary."
        )
    return notes


def plane_data(comparison: Comparison, look: Look) -> str:
    """Velocities and trajectories for the page's script, as JSON in an element; empty where there are none."""
    fields = _fields(look)
    models = {
        str(index): _packed(fields[model.name], look) for index, model in look.numbered(comparison.models) if model.name in fields
    }
    text = json.dumps({"side": SIDE, "scale": SCALE, "models": models}, separators=(",", ":"))
    return f'<script type="application/json" class="plane-data">{text}</script>' if models else ""


def _packed(field: Field2D, look: Look) -> dict[str, object]:
    left, right, low, high = look.limits
    sizes = np.linalg.norm(field.velocities, axis=-1)
    longest = float(np.quantile(sizes[np.isfinite(sizes)], QUANTILE)) if np.isfinite(sizes).any() else 1.0
    arrows = np.nan_to_num(field.velocities / max(longest, 1e-12)) * [1, -1]
    arrows /= np.maximum(1.0, np.linalg.norm(arrows, axis=-1, keepdims=True))
    places = (field.ways - [left, high]) / [right - left, low - high] * SCALE
    around = np.nan_to_num(np.array(field.limits))
    corners = [(around[0] - left) / (right - left), (high - around[3]) / (high - low)]
    corners += [(around[1] - left) / (right - left), (high - around[2]) / (high - low)]
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


COLOUR, BANDS, OPAQUE = (236, 160, 40), 10, 180
"""The colour of a landscape, how many shades it has, and the opacity of its greatest value, of 255."""


def shaded_picture(heights: np.ndarray, limits: Limits, seen: Limits, size: int) -> Image.Image:
    """Values over the plane, the more opaque the greater; nothing is drawn outside of their grid.

    Args:
        heights: (rows, columns) values on a regular grid: rows from the least to the greatest y, columns from the least to the
            greatest x.
        limits: What the grid spans.
        seen: What the picture shows.
        size: Pixels along a side.

    Returns:
        RGBA.
    """
    from PIL import Image

    share = np.clip(landscape_shares(heights), 0, 1)
    middles = (np.arange(size) + 0.5) / size
    xs, ys = seen[0] + middles * (seen[1] - seen[0]), seen[3] - middles * (seen[3] - seen[2])
    across, up = np.linspace(*limits[:2], share.shape[1]), np.linspace(*limits[2:], share.shape[0])
    rows = np.stack([np.interp(xs, across, row) for row in share])
    shade = np.stack([np.interp(ys, up, column) for column in rows.T], axis=1)
    inside = ((xs >= limits[0]) & (xs <= limits[1]))[None, :] & ((ys >= limits[2]) & (ys <= limits[3]))[:, None]
    alpha = np.floor(np.clip(shade, 0, 0.999) * BANDS) / (BANDS - 1) * OPAQUE * inside
    colour = np.broadcast_to(np.array(COLOUR, dtype=float), (size, size, 3))
    return Image.fromarray(np.concatenate([colour, alpha[..., None]], axis=2).round().astype(np.uint8))
