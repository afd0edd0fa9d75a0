"""Rows of a table, real and generated, for metrics of tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pushforward.metrics import Samples, Score
from pushforward.metrics.score import chosen, measured
from pushforward.tables.metrics.table import Table, embedding

__all__ = ["TABLES", "of_table"]

NAMES = ("x", "y", "w", "c", "b")
KINDS = ("number", "number", "whole", "category", "boolean")
LABELS = ((), (), (), ("red", "green", "blue", "none"), ("no", "yes"))
MISSING = tuple(name == "c" for name in NAMES)
GAPS = [False] * len(KINDS)

NEAR = ("nearest_ratio", "nearer_training", "membership", "membership_ratio")
SHAPES = (
    "column_error",
    "pair_error",
    "detection",
    "alpha_precision",
    "beta_recall",
    "utility_auc",
)
CHANCE = dict.fromkeys(("nearer_training", "membership", "membership_ratio"), 0.5)
"""True values of new rows, which no training row knows: training and held-out rows may be
exchanged.
"""


def rows(n: int, random: np.random.Generator, shift: float = 0.0, noise: float = 0.0) -> np.ndarray:
    """Two numbers, a whole one, a category of which some is missing, and a class, which depend on
    each other.

    Args:
        n: How many.
        random: Draws them.
        shift: Of the first number's mean, in standard deviations.
        noise: The share of each column's cells that are another row's.
    """
    x = random.standard_normal(n)
    y = np.exp(0.5 * x + 0.5 * random.standard_normal(n))
    w = random.poisson(np.exp(1 + 0.3 * x)).astype(np.float64)
    c = np.digitize(x + random.standard_normal(n), [-1.5, 0.0, 1.0]).astype(np.float64)
    b = (random.random(n) < 1 / (1 + np.exp(-x - np.log(y) - 0.5 * (c == 2)))).astype(np.float64)
    c[random.random(n) < 0.05] = np.nan
    table = np.column_stack([x + shift, y, w, c, b])
    others = np.column_stack([column[random.permutation(n)] for column in table.T])
    return np.where(random.random(table.shape) < noise, others, table)


def new(n: int, random: np.random.Generator, training: np.ndarray) -> np.ndarray:
    """New rows of the same law: a perfect model."""
    return rows(n, random)


def fair(n: int, random: np.random.Generator, training: np.ndarray) -> np.ndarray:
    """Rows of a law that is a little beside, some of whose cells do not depend on each other."""
    return rows(n, random, 0.2, 0.15)


def near(n: int, random: np.random.Generator, training: np.ndarray) -> np.ndarray:
    """Every second row is near a training row, the others are new."""
    beside = training[random.integers(0, len(training), n)]
    beside[:, :2] += 0.1 * random.standard_normal((n, 2))
    return np.where(random.random((n, 1)) < 0.5, beside, rows(n, random))


Model = Callable[[int, np.random.Generator, np.ndarray], np.ndarray]
TABLES: dict[str, tuple[Model, str, tuple[str, ...], dict[str, float]]] = {
    "rows, a fair model": (fair, "b", SHAPES + NEAR, {}),
    "rows, perfect": (new, "b", SHAPES + NEAR, CHANCE),
    "rows, a number to predict": (fair, "y", ("utility_rmse",), {}),
    "rows, a number to predict, perfect": (new, "y", ("utility_rmse",), {}),
    "rows, half of them near training rows": (near, "b", NEAR, {}),
}
"""Model, target, scores that are measured and true values that are known, by case."""


def of_table(
    n: int, repeat: int, case: str, metrics: list[str], samplings: int
) -> list[dict[str, Score]]:
    """The scores of each sampling of one repeat, in which training and held-out rows are new."""
    model, target, *_ = TABLES[case]
    random = np.random.Generator(np.random.Philox(key=[repeat, sum(map(ord, case))]))
    training = rows(2 * n, random)
    reference = rows(n, random)
    results = []
    for _ in range(samplings):
        generated = model(n, random, training)
        table = Table(generated, reference, NAMES, KINDS, LABELS, target, MISSING)
        points = embedding(table, training, GAPS)
        coordinates = [points(side).astype(np.float32) for side in (generated, reference, training)]
        features = [side.astype(np.float64) for side in coordinates[:2]]
        results.append(
            measured(
                Samples(*coordinates, *features, shape=coordinates[0].shape[1:], table=table),
                chosen(metrics),
            )
        )
    return results
