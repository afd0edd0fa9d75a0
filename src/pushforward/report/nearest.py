"""The training image nearest to each sample: shown when one points at the sample, and for the closest pairs always."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import numpy as np

from pushforward.evaluation.results import ModelResult
from pushforward.numbers import plain
from pushforward.pictures import grid_picture, image
from pushforward.report.markup import panel, side_by_side, sign
from pushforward.report.sprites import SMALL, TILES, Look, Sprite, data_uri, sheet, shrunk

__all__ = ["closest_pairs", "nearest_layer"]

CLOSEST = 8
"""Samples that are shown with their nearest training images below them."""
PAIRS_NOTE = (
    "The samples above that are nearest to a training image, and that image below each. Distances are over the usual one, that "
    "of held-out images to their nearest training images: about 1 is new, near 0 is a copy."
)


def nearest_layer(look: Look, model: ModelResult, index: int, rules: list[str]) -> tuple[str, str]:
    """What a panel needs to show the nearest training image of each sample.

    Args:
        look: How samples are drawn.
        model: Whose samples they are.
        index: Its number.
        rules: The style of the pictures is added here.

    Returns:
        HTML inside the panel, and attributes of the panel itself; both empty where nothing is known.
    """
    nearest, pairs = look.of(model.name).nearest, _pairs(look, model.name)
    if nearest is None or pairs is None:
        return "", ""
    rules.append(f".n{index}{look.suffix}{{background-image:url({pairs.uri});background-size:100% {100 * pairs.frames}%}}")
    ratio = f'style="aspect-ratio:{pairs.width}/{pairs.height}"'
    distances = escape(json.dumps([plain(float(distance), 3) for distance in nearest.distances[: pairs.frames]]))
    usual = plain(nearest.usual, 3)
    html = (
        f'<div class="near" hidden><div class="pairs n{index}{look.suffix}" {ratio}></div>'
        '<p class="ends"><span>sample</span><span>nearest in training</span></p>'
        '<p class="words" aria-live="polite"></p></div><div class="cursor" hidden></div>'
    )
    label = escape(f"Samples of {model.name}; arrow keys show the nearest training image of each")
    attributes = (
        f' tabindex="0" role="group" aria-label="{label}" data-count="{pairs.frames}" data-columns="{TILES}" '
        f'data-distances="{distances}" data-usual="{usual}"'
    )
    return html, attributes


def _pairs(look: Look, name: str) -> Sprite | None:
    """The samples of a grid, each beside the training image nearest to it, one pair a frame; None where nothing is known."""
    rows, partners, _ = _known(look, name)
    count = len(rows)
    if not count:
        return None
    pictures = [image(pair) for pair in shrunk(np.concatenate([rows, partners], axis=2), round(160 * look.detail))]
    return Sprite(data_uri(sheet(pictures), max(rows.shape[1:3]) <= 32), count, pictures[0].width, pictures[0].height)


def _known(look: Look, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples of a grid whose nearest training images are stored, these images, and the distances; else empty arrays."""
    nearest, rows = look.of(name).nearest, look.samples(name)
    if nearest is None or rows is None or rows.ndim != 4 or rows.shape[1:] != nearest.x.shape[1:]:
        return (np.empty(0),) * 3
    count = min(len(rows), len(nearest.x), len(nearest.distances), TILES**2)
    return rows[:count], nearest.x[:count], np.asarray(nearest.distances[:count])


def closest_pairs(look: Look, models: Sequence[tuple[int, ModelResult]]) -> str:
    """The samples nearest to training images, above these images, of each model; an empty text if no model has them.

    Args:
        look: How samples are drawn.
        models: With their numbers.
    """
    panels = []
    for index, model in models:
        rows, partners, distances = _known(look, model.name)
        nearest = look.of(model.name).nearest
        if nearest is None or not len(rows) or not nearest.usual > 0:
            continue
        closest = np.argsort(distances, kind="stable")[:CLOSEST]
        tiles = shrunk(np.concatenate([rows[closest], partners[closest]]), round(72 * look.detail))
        side = max(tiles.shape[1:3])
        drawn = grid_picture(tiles, len(closest), scale=max(1, -(-SMALL // side)), gap=2, paper=None)
        least, most = (plain(float(distances[at]) / nearest.usual, 2) for at in (closest[0], closest[-1]))
        title = f"{sign(index)}<strong>{escape(model.name)}</strong> <span>distance {least} to {most}</span>"
        words = f"The samples of {model.name} that are nearest to training images, above these"
        panels.append(panel(title, (data_uri(drawn, side <= 32), drawn.width, drawn.height), words))
    if not panels:
        return ""
    return f'<h3>Closest to training images</h3><p class="note">{escape(PAIRS_NOTE)}</p>{side_by_side(panels)}'
