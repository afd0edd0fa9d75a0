"""A small table of mixed types for tests."""

from __future__ import annotations

import numpy as np

from pushforward.data import Dataset, Split, TableSpace
from pushforward.data.building import Schema, build
from pushforward.data.tables import Category, Number
from pushforward.data.tables.number import Format

COLOURS = ("red", "green", "blue")


def mixed_values(n: int, seed: int = 0) -> np.ndarray:
    """Values (n, 5): a number that is 0 in half of the rows, a number, a whole number, a colour, missing in a tenth, a boolean."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(3, n, p=(0.6, 0.3, 0.1)).astype(float)
    gain = np.where(rng.random(n) < 0.5, 0.0, np.exp(rng.normal(size=n)))
    height = np.round(rng.normal(size=n) + colour, 2)
    age = np.clip(np.round(rng.normal(40, 10, n)), 18, 80)
    tall = (height > 0.5).astype(float)
    return np.column_stack([gain, height, age, np.where(rng.random(n) < 0.1, np.nan, colour), tall])


def mixed_space(values: np.ndarray) -> TableSpace:
    """The space of `mixed_values`."""
    gain, height, age, colour, tall = values.T
    fields = [
        Number.measured("gain", gain),
        Number.measured("height", height, "number", Format(2)),
        Number.measured("age", age, "whole", Format(0)),
        Category.measured("colour", colour, COLOURS),
        Category.measured("tall", tall, ("no", "yes"), "boolean"),
    ]
    return TableSpace.of(fields, "tall")


def mixed_table(n: int = 400, seed: int = 0) -> Dataset:
    """A data set of `mixed_values`."""
    return build("mixed", Split(mixed_values(n, seed)), schema=Schema(fit=mixed_space))
