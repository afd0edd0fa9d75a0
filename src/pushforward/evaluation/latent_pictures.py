"""Pictures of a latent space: reconstructions, walks between codes, arithmetic between classes, and maps of the codes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pushforward.data import Dataset
from pushforward.data.core.keys import permutation
from pushforward.editing.interpolation import INTERPOLATIONS, walk
from pushforward.errors import UsageError
from pushforward.evaluation.figures import Arithmetic, LatentPictures, Map2D
from pushforward.evaluation.latent import autoencoder_of, chosen, labelled, mean_codes, reconstructed
from pushforward.training import Run
from pushforward.transports import Autoencoder

__all__ = ["arithmetic", "code_map", "latent_pictures", "strip"]

MAPPED = 2000
"""Held-out examples on a map at most."""
GROUP = 500
"""Training examples of a class whose codes are averaged, at most."""
STRIP = 10
"""Images in a strip of reconstructions, and frames of a walk."""
CANDIDATES = 500
"""Held-out examples among which the end of a walk is looked for."""
MOVED = 4
"""Images that arithmetic moves."""


def strip(autoencoder: Autoencoder, data: Dataset, n: int = 10) -> Tensor:
    """Held-out examples, and below them their reconstructions.

    Returns:
        Data units, float32 (2, n, *shape).
    """
    x, condition = chosen(data.held_out, n, autoencoder.space.conditions)
    return torch.stack([x, reconstructed(autoencoder, x, condition)])


def arithmetic(autoencoder: Autoencoder, data: Dataset, a: int, b: int, examples: int = 6, frames: int = 7) -> Tensor:
    """Examples of one group moved towards another: code + s (mean code of b - mean code of a), s from 0 to 1.5.

    The means are of training examples, the examples held out.

    Args:
        autoencoder: One without labels: with them, what tells the groups apart is not in the code.
        data: Labelled.
        a: The label of the examples.
        b: The label that they are moved towards.
        examples: How many.
        frames: Steps of each.

    Returns:
        Data units, float32 (examples, frames, *shape).

    Raises:
        UsageError: For data without labels, an autoencoder that receives them, or a group without examples.
    """
    if data.held_out.labels is None or data.train.labels is None:
        raise UsageError(f"{data.name} has no labels, so there are no groups to tell apart.")
    if autoencoder.space.conditions:
        raise UsageError(
            "This autoencoder receives the labels, so its codes need not hold what tells the groups apart. Train one without "
            "labels: `labelled=False`."
        )
    space, where = autoencoder.space, autoencoder.device
    means = []
    for group in (a, b):
        picked = np.flatnonzero(data.train.labels == group)[:GROUP]
        if not len(picked):
            raise UsageError(f"There are no training examples of the group {data.space.classes[group]}.")
        with torch.no_grad():
            means.append(autoencoder.encode(space.to_model(data.train.data_units(picked).to(where))).mean(0))
    held = np.flatnonzero(data.held_out.labels == a)[:examples]
    if not len(held):
        raise UsageError(f"There are no held-out examples of the group {data.space.classes[a]}.")
    with torch.no_grad():
        codes = autoencoder.encode(space.to_model(data.held_out.data_units(held).to(where)))
        share = torch.linspace(0, 1.5, frames, device=where).reshape(1, -1, *(1,) * (codes.dim() - 1))
        moved = codes[:, None] + share * (means[1] - means[0])
        decoded: Tensor = space.to_data(autoencoder.decode(moved.flatten(0, 1))).float().cpu()
    return decoded.reshape(len(held), frames, *decoded.shape[1:])


def code_map(autoencoder: Autoencoder, data: Dataset) -> Map2D | None:
    """Where held-out examples lie in the latent space; None for codes of a single number, which span no plane."""
    x, condition = chosen(data.held_out, MAPPED, data.space.conditions)
    codes = mean_codes(autoencoder, x, condition).flatten(1).numpy()
    if codes.shape[1] < 2:
        return None
    centred = codes - codes.mean(0)
    points, share = codes, 1.0
    if codes.shape[1] > 2:
        _, size, axes = np.linalg.svd(centred, full_matrices=False)
        points = centred @ axes[:2].T
        share = float((size[:2] ** 2).sum() / max(float((size**2).sum()), 1e-300))
    labels = (condition or {}).get("label")
    return Map2D(points, None if labels is None else labels.numpy(), share)


def latent_pictures(run: Run, data: Dataset) -> LatentPictures | None:
    """Arrays for a report's pictures of a latent space; None where `latent_statistics` is None."""
    pair = autoencoder_of(run, data)
    if pair is None:
        return None
    autoencoder, data = pair[0], labelled(pair[1])
    points = code_map(autoencoder, data)
    if not data.space.has_pixels:
        return LatentPictures(points)
    both = strip(autoencoder, data, STRIP)
    moved = None if autoencoder.space.conditions else _moved(autoencoder, data)
    return LatentPictures(points, data.space.quantise(both.flatten(0, 1)), _walks(autoencoder, data), moved)


def _walks(autoencoder: Autoencoder, data: Dataset) -> dict[str, np.ndarray]:
    """From the first image of the strip to the one that differs most from it, of its class for an autoencoder with labels."""
    split, conditions = data.held_out, autoencoder.space.conditions
    examples = permutation(len(split), 0)[:CANDIDATES]
    if "label" in conditions and split.labels is not None:
        examples = examples[split.labels[examples] == split.labels[examples[0]]]
    if len(examples) < 2:
        return {}
    first = split.data_units(examples[:1])
    gaps = (split.data_units(examples) - first).flatten(1).square().sum(1)
    other = split.data_units(examples[[int(gaps.argmax())]])
    condition = split.condition(conditions, examples[:1])
    walks = {
        way: data.space.quantise(walk(autoencoder, first[0], other[0], STRIP, condition, interpolation=way))
        for way in INTERPOLATIONS
    }
    over = (
        {} if condition is None or "label" not in condition else {"classes": _over_classes(autoencoder, data, first, condition)}
    )
    return over | walks


def _over_classes(autoencoder: Autoencoder, data: Dataset, first: Tensor, condition: Mapping[str, Tensor]) -> np.ndarray:
    """One image's code, decoded as each class: what the label says, and what the code says besides."""
    count = min(STRIP, len(data.space.classes))
    where = autoencoder.device
    with torch.no_grad():
        code = autoencoder.encode(autoencoder.space.to_model(first.to(where)), {k: v.to(where) for k, v in condition.items()})
        given = {name: value.expand(count, *value.shape[1:]).to(where) for name, value in condition.items()}
        given["label"] = torch.arange(count, device=where)
        decoded = autoencoder.space.to_data(autoencoder.decode(code.expand(count, *code.shape[1:]), given)).float().cpu()
    images: np.ndarray = data.space.quantise(decoded)
    return images


def _moved(autoencoder: Autoencoder, data: Dataset) -> Arithmetic | None:
    """The two most frequent classes of the held-out examples; None where there are no two."""
    if data.held_out.labels is None or len(data.space.classes) < 2:
        return None
    counts = np.bincount(data.held_out.labels, minlength=len(data.space.classes))
    a, b = (int(label) for label in np.argsort(-counts, kind="stable")[:2])
    if not counts[a] or data.train.labels is None or b not in data.train.labels:
        return None
    moved = arithmetic(autoencoder, data, a, b, MOVED)
    groups = data.space.classes[a], data.space.classes[b]
    return Arithmetic(groups, moved.shape[1], data.space.quantise(moved.flatten(0, 1)))
