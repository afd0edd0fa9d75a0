"""The training image nearest to each sample, which shows when one points at the sample."""

from __future__ import annotations

import json
from html import escape

import numpy as np

from pushforward.evaluation.results import ModelResult
from pushforward.numbers import plain
from pushforward.pictures import image
from pushforward.report.sprites import TILES, Look, Sprite, data_uri, sheet, shrunk

__all__ = ["nearest_layer"]


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
    nearest, rows = look.of(name).nearest, look.samples(name)
    if nearest is None or rows is None or rows.ndim != 4 or rows.shape[1:] != nearest.x.shape[1:]:
        return None
    count = min(len(rows), len(nearest.x), len(nearest.distances), TILES**2)
    if not count:
        return None
    both = np.concatenate([rows[:count], nearest.x[:count]], axis=2)
    pictures = [image(pair) for pair in shrunk(both, round(160 * look.detail))]
    return Sprite(data_uri(sheet(pictures), max(rows.shape[1:3]) <= 32), count, pictures[0].width, pictures[0].height)
