"""The critic's landscape: its score of every point of the plane, stored beside the samples of the same moment."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pushforward.conditions import Request
from pushforward.data import Dataset, Space
from pushforward.methods.method import HasCritic, Method
from pushforward.training.monitor.health import SAMPLES, as_sampled
from pushforward.transports.transport import as_drawn

SIDE = 64
"""Points of the grid in a row and in a column."""
MARGIN = 0.25
"""How far the grid reaches beyond the data on each side, as a share of its range."""
CLASSES = 32
"""The most classes of a landscape."""


def landscape(method: Method, data: Dataset) -> dict[str, np.ndarray]:
    """The critic's values on a grid over the data's range, and samples of the same weights; nothing for methods without a critic.

    A critic of labelled data scores the grid for every class (the first 32), one of other conditions for 32 values that occur.
    The highest value counts: how real a point is at best.

    The weights are the present ones, not their average. There is no landscape of anything but points in the plane.

    Returns:
        ``scores`` float32 (64, 64), rows from low to high y and columns from low to high x; ``limits`` (least x, greatest x,
        least y, greatest y) in data units; ``raw`` (n, 2), samples in data units.
    """
    if not isinstance(method, HasCritic) or tuple(data.space.shape) != (2,):
        return {}
    low, high = data.train.x.min(0).astype(np.float64), data.train.x.max(0).astype(np.float64)
    margin = MARGIN * np.where(high > low, high - low, 1.0)
    low, high = low - margin, high + margin
    xs, ys = (np.linspace(a, b, SIDE) for a, b in zip(low, high, strict=True))
    points = torch.from_numpy(np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32))
    with as_sampled(method):
        transport = method.transport()
        x = method.space.to_model(points).to(transport.device)
        scores = torch.stack([method.scores(x, condition) for condition in _asked(method.space, x)]).amax(0)
        with as_drawn():
            raw = transport.sample(min(SAMPLES, len(data.train)), seed=0)
    return {
        "scores": scores.reshape(SIDE, SIDE).float().cpu().numpy(),
        "limits": np.array([low[0], high[0], low[1], high[1]]),
        "raw": data.space.quantise(raw),
    }


def _asked(space: Space, x: Tensor) -> list[dict[str, Tensor] | None]:
    if not space.conditions:
        return [None]
    count = min(CLASSES, len(space.classes)) if list(space.conditions) == ["label"] else CLASSES
    labels = {"label": torch.arange(count) % len(space.classes)} if space.label else {}
    values = Request(space.conditions).values(count, labels, 0) or {}
    return [{name: v[i].expand(len(x), *v.shape[1:]).to(x.device) for name, v in values.items()} for i in range(count)]
