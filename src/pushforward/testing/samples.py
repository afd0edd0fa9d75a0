"""Small random data sets, one for each kind of data, and tiny recipes for them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import torch

from pushforward import recipes
from pushforward.conditions import ConditionKind, Label
from pushforward.data import Dataset, ImageSpace, Space, Split, VectorSpace

SHAPES: list[tuple[int, ...]] = [(2,), (17,), (1, 8, 8), (3, 13, 21), (4, 16, 16)]
CASES: list[tuple[tuple[int, ...], bool]] = list(itertools.product(SHAPES, [False, True]))
"""Every kind of data: the shape of an example, and whether it has labels."""
IDS = ["x".join(map(str, shape)) + ("-labels" if labels else "") for shape, labels in CASES]
IMAGES_ONLY = ("autoencoder",)
"""Recipes that take images alone; this one receives no labels either."""


def space_data(shape: tuple[int, ...], labels: bool, n: int = 70, seed: int = 0) -> Dataset:
    """Random examples and 24 more that are held out.

    Args:
        shape: Of one example: (d,) gives float vectors, (channels, height, width) images of bytes.
        labels: Whether there are three classes, "a", "b" and "c".
        n: Training examples.
        seed: Of the random numbers.
    """
    random = np.random.default_rng(seed)
    x: np.ndarray
    measured: dict[str, Any]
    if len(shape) == 1:
        x = (random.normal(size=(n + 24, *shape)) * 2 + 1).astype(np.float32)
        measured = {"mean": x.mean(0).tolist(), "std": x.std(0).tolist()}
    else:
        x = random.integers(0, 256, size=(n + 24, *shape), dtype=np.uint8)
        unit = x.astype(np.float64) / 255
        measured = {
            "mean": unit.mean((0, 2, 3)).tolist(),
            "std": unit.std((0, 2, 3)).tolist(),
            "low": [0.0] * shape[0],
            "high": [1.0] * shape[0],
        }
    conditions = {"label": Label(("a", "b", "c"), (0.5, 0.25, 0.25))} if labels else {}
    label = random.integers(0, 3, size=len(x)) if labels else None
    train, held_out = (Split(x[part], None if label is None else label[part]) for part in (slice(n), slice(n, None)))
    kind = VectorSpace if len(shape) == 1 else ImageSpace
    return Dataset("made", kind(shape=shape, **measured, conditions=conditions), train, held_out)


def class_labels(classes: int) -> dict[str, ConditionKind]:
    """The conditions of a space or a network with this many equally frequent classes; none for 0."""
    return {"label": Label.numbered(classes)} if classes else {}


def shape_for(name: str) -> tuple[int, ...]:
    """A shape that suits a recipe: short vectors where it takes them."""
    return (1, 8, 8) if name in IMAGES_ONLY else (17,)


def teachers_for(recipe: recipes.RecipeFunction, space: Space) -> dict[str, Any]:
    """A flow for each frozen part that a recipe needs, or a map between two times where it takes one.

    Small random weights are in place of those that start at zero.
    """
    teachers: dict[str, Any] = {}
    parts = recipes.frozen_parts(recipe)
    for name in recipes.missing_parts(recipe):
        flow_map = "FlowMap" in recipes.words_of(parts[name].annotation)
        flow = recipes.named("meanflow" if flow_map else "flow")(space, "tiny").method.transport()
        with torch.no_grad():
            for parameter in flow.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.05)
        teachers[name] = flow.denoiser if flow_map else flow  # type: ignore[attr-defined]
    return teachers


def recipe_for(recipe: str | Any, data: Dataset, **training: Any) -> recipes.Recipe:
    """A tiny recipe, always of the same first weights; a teacher that it needs is an untrained flow.

    Args:
        recipe: Its name, or a function of a space and a size.
        data: For the recipe.
        training: Changes to its training; batches have 16 examples by default.
    """
    function = recipes.named(recipe) if isinstance(recipe, str) else recipe
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        few = {"trajectories": 64} if "trajectories" in recipes.settings(function) else {}
        built = function(data.space, "tiny", **few, **teachers_for(function, data.space))
    training.setdefault("batch", 16)
    return dataclasses.replace(built, training=dataclasses.replace(built.training, **training))
