"""Made-up rows of a table as metrics receive them."""

from dataclasses import replace

import numpy as np

from pushforward.metrics import Samples
from pushforward.tables.metrics.table import Table

KINDS = ("number", "whole", "category", "boolean")


def random(seed):
    return np.random.Generator(np.random.Philox(seed))


def rows(n, seed, missing=0.1):
    """Numbers that depend on each other, a category that depends on the first, some of it missing,
    and a class.
    """
    r = random(seed)
    number = r.standard_normal(n)
    whole = np.round(3 * number + r.standard_normal(n))
    category = np.digitize(number + 0.3 * r.standard_normal(n), [-1.0, 0.5]).astype(float)
    category[r.random(n) < missing] = np.nan
    return np.column_stack([number, whole, category, whole > 0]).astype(np.float64)


def table(generated, reference, target="y"):
    names = ("x", "w", "c", "y")
    categories = ((), (), ("a", "b", "d"), ("no", "yes"))
    return Table(generated, reference, names, KINDS, categories, target)


def _points(values):
    """Coordinates of rows: their values, missing ones as 9."""
    return np.nan_to_num(values, nan=9.0).astype(np.float32)


def samples_of(generated, reference, training=None, **more):
    """Samples whose coordinates are the values, missing ones as 9."""
    if training is None:
        training = reference
    x = _points(generated)
    y = _points(reference)
    z = _points(training)
    values = table(generated, reference)
    return Samples(x, y, z, x.astype(float), y.astype(float), (4,), table=values, **more)


EXAMPLES = 240


def _rows(random):
    number = random.standard_normal(EXAMPLES)
    other = number + random.standard_normal(EXAMPLES)
    score = number + 0.5 * random.standard_normal(EXAMPLES)
    category = np.searchsorted([-0.5, 0.5], score)
    positive = np.asarray(other > 0, int)
    return np.column_stack([number, other, np.eye(3)[category], np.eye(2)[positive]])


def _classes(x):
    """Which half of its own sample a row's first number is in."""
    first = x[:, 0]
    return (first > np.median(first)).astype(int)


def _values(x):
    rows = x.astype(np.float32)
    category = rows[:, 2:5].argmax(1)
    target = rows[:, 5:].argmax(1)
    return np.column_stack([rows[:, :2], category, target]).astype(np.float64)


def table_samples():
    """Samples of a good model of rows with two numbers, a category and a boolean target."""
    generator = random(3)
    x = _rows(generator)
    y = _rows(generator)
    z = _rows(generator)
    table = Table(
        _values(x),
        _values(y),
        ("number", "other", "category", "target"),
        ("number", "number", "category", "boolean"),
        ((), (), ("low", "middle", "high"), ("no", "yes")),
        "target",
        training=_values(z),
    )
    x, y, z = np.float32([x, y, z])
    return Samples(
        x,
        y,
        z,
        x.astype(float),
        y.astype(float),
        (7,),
        table=table,
        generated_classes=_classes(x),
        reference_classes=_classes(y),
        classes=2,
    )


def far(samples):
    """One row far from all data, n times."""
    largest = np.abs(samples.reference).max()
    points = np.full_like(samples.generated, 9 * largest)
    values = replace(samples.table, generated=_values(points))
    features = points.astype(float)
    return replace(samples, generated=points, generated_features=features, table=values)
