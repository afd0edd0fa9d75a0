"""Small data and recipes for laws that every registered part must obey."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import torch

import pushforward as pf
from pushforward.data import Dataset, Space, Split

SHAPES = [(2,), (17,), (1, 8, 8), (3, 13, 21), (4, 32, 32)]
CASES = list(itertools.product(SHAPES, [False, True]))
IMAGES_ONLY = ("autoencoder",)
"""Recipes that take images alone; this one is told no labels either."""
IDS = ["x".join(map(str, shape)) + ("-labels" if labels else "") for shape, labels in CASES]


def space_data(shape, labels, rows=70, seed=0):
    """Random rows with some structure, and a held-out tenth."""
    random = np.random.default_rng(seed)
    if len(shape) == 1:
        x = (random.normal(size=(rows + 24, *shape)) * 2 + 1).astype(np.float32)
        measured = {"mean": x.mean(0).tolist(), "std": x.std(0).tolist()}
    else:
        x = random.integers(0, 256, size=(rows + 24, *shape), dtype=np.uint8)
        unit = x.astype(np.float64) / 255
        ones = [1.0] * shape[0]
        measured = {
            "mean": unit.mean((0, 2, 3)).tolist(),
            "std": unit.std((0, 2, 3)).tolist(),
            "low": [0.0] * shape[0],
            "high": ones,
        }
    names = {"classes": ("a", "b", "c"), "frequencies": (0.5, 0.25, 0.25)} if labels else {}
    label = random.integers(0, 3, size=len(x)) if labels else None
    parts = [Split(x[part], None if label is None else label[part]) for part in (slice(rows), slice(rows, None))]
    return Dataset("made", Space(shape=shape, **measured, **names), *parts)


def rows_for(name):
    """A shape that suits a recipe: short vectors where it takes them."""
    return (1, 8, 8) if name in IMAGES_ONLY else (17,)


def recipe_for(name, data, **training):
    """A tiny recipe with the given training settings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = pf.recipes.named(name)(data.space, "tiny")
    training.setdefault("batch", 16)
    return dataclasses.replace(made, training=dataclasses.replace(made.training, **training))
