"""What a report shows of a model's latent space: numbers and pictures, for models that have codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pushforward.data import Dataset
from pushforward.data import load as load_data
from pushforward.data.keys import permutation
from pushforward.evaluation.codes import code_health, reconstruction
from pushforward.evaluation.features import Features
from pushforward.evaluation.looking import arithmetic, code_map, strip, walk
from pushforward.interpolation import WAYS
from pushforward.methods.method import Coding
from pushforward.training import Run
from pushforward.transports import Autoencoder

__all__ = ["code_pictures", "coding", "labelled"]

STRIP = 10
"""Images in a strip of reconstructions, and frames of a walk."""
MOVED = 4
"""Images that arithmetic moves."""


def coding(run: Run, data: Dataset, features: Features) -> dict[str, Any] | None:
    """``reconstruction`` and ``code`` (`pushforward.evaluation.codes`) of a run.

    None for a run without codes, and for one that is told labels which the data lacks.
    """
    found = _coder(run, data)
    if found is None:
        return None
    coder, data = found
    return {"reconstruction": reconstruction(coder, data, features), "code": code_health(coder, data)}


def code_pictures(run: Run, data: Dataset) -> dict[str, Any] | None:
    """Arrays for a report's pictures of a latent space; None where `coding` is None.

    Returns:
        ``map`` (points, labels, share; None for codes of one number), and for images ``strip`` (held-out images, then as many
        reconstructions), ``walks`` (by way; empty where there are no two images to walk between) and ``arithmetic`` (groups,
        frames, x; only where the coder is told no labels).
    """
    coded = _coder(run, data)
    if coded is None:
        return None
    coder, data = coded[0], labelled(coded[1])
    found: dict[str, Any] = {"map": None, "strip": None, "walks": {}, "arithmetic": None}
    mapped = code_map(coder, data)
    if mapped is not None:
        found["map"] = {"points": mapped.points, "labels": mapped.labels, "share": mapped.share}
    if data.space.kind == "image":
        both = strip(coder, data, STRIP)
        found["strip"] = data.space.quantise(both.flatten(0, 1))
        found["walks"] = _walked(coder, data)
        found["arithmetic"] = None if coder.space.classes else _moved(coder, data)
    return found


def _coder(run: Run, data: Dataset) -> tuple[Autoencoder, Dataset] | None:
    """The autoencoder, and the data with labels where it is told some; None without codes, or where labels are missing."""
    if not isinstance(run.method, Coding):
        return None
    coder = run.method.autoencoder().eval()
    data = labelled(data) if coder.space.classes else data
    return None if coder.space.classes and not data.space.classes else (coder, data)


def labelled(data: Dataset) -> Dataset:
    """The data with the labels that its source has, where they were left out of training."""
    origin = data.origin or {}
    if data.space.classes or origin.get("labelled") is not False:
        return data
    again = load_data(**{name: value for name, value in origin.items() if name != "labelled"})
    return again if again.rows_fingerprint == data.rows_fingerprint else data


def _walked(coder: Autoencoder, data: Dataset) -> dict[str, np.ndarray]:
    """From the first image of the strip to the second; to the next of its class for a coder that is told one for all frames."""
    split, condition = data.held_out, None
    rows = permutation(len(split), 0)
    if coder.space.classes and split.labels is not None:
        rows = rows[split.labels[rows] == split.labels[rows[0]]]
        condition = {"label": torch.from_numpy(split.labels[rows[:1]])}
    if len(rows) < 2:
        return {}
    a, b = split.data_units(rows[:2])
    return {way: data.space.quantise(walk(coder, a, b, STRIP, condition, interpolation=way)) for way in WAYS}


def _moved(coder: Autoencoder, data: Dataset) -> dict[str, Any] | None:
    """The two most frequent groups of the held-out rows; None where there are no two."""
    if data.held_out.labels is None or len(data.space.classes) < 2:
        return None
    counts = np.bincount(data.held_out.labels, minlength=len(data.space.classes))
    a, b = (int(one) for one in np.argsort(-counts, kind="stable")[:2])
    if not counts[a] or data.train.labels is None or b not in data.train.labels:
        return None
    moved = arithmetic(coder, data, a, b, MOVED)
    groups = [data.space.classes[one] for one in (a, b)]
    return {"groups": groups, "frames": moved.shape[1], "x": data.space.quantise(moved.flatten(0, 1))}
