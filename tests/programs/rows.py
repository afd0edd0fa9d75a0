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
    return Table(
        generated,
        reference,
        ("x", "w", "c", "y"),
        KINDS,
        ((), (), ("a", "b", "d"), ("no", "yes")),
        target,
    )


def samples_of(generated, reference, training=None, **more):
    """Samples whose coordinates are the values, missing ones as 9."""
    points = [np.nan_to_num(side, nan=9.0).astype(np.float32) for side in (generated, reference)]
    if training is None:
        training = points[1]
    else:
        training = np.nan_to_num(training, nan=9.0).astype(np.float32)
    return Samples(
        *points,
        training,
        *(p.astype(float) for p in points),
        (4,),
        table=table(generated, reference),
        **more,
    )


EXAMPLES = 240


def _rows(random):
    number = random.standard_normal(EXAMPLES)
    other = number + random.standard_normal(EXAMPLES)
    category = np.searchsorted([-0.5, 0.5], number + 0.5 * random.standard_normal(EXAMPLES))
    positive = np.asarray(other > 0, int)
    return np.column_stack([number, other, np.eye(3)[category], np.eye(2)[positive]])


def _values(x):
    rows = x.astype(np.float32)
    category = rows[:, 2:5].argmax(1)
    target = rows[:, 5:].argmax(1)
    return np.column_stack([rows[:, :2], category, target]).astype(np.float64)


def table_samples():
    """Samples of a good model of rows with two numbers, a category and a boolean target."""
    generator = random(3)
    parts = [_rows(generator) for _ in range(3)]
    generated, reference, training = map(_values, parts)
    table = Table(
        generated,
        reference,
        ("number", "other", "category", "target"),
        ("number", "number", "category", "boolean"),
        ((), (), ("low", "middle", "high"), ("no", "yes")),
        "target",
        training=training,
    )
    x, y, z = (part.astype(np.float32) for part in parts)
    classes = [(side[:, 0] > np.median(side[:, 0])).astype(int) for side in (x, y)]
    return Samples(
        x,
        y,
        z,
        x.astype(float),
        y.astype(float),
        (7,),
        table=table,
        generated_classes=classes[0],
        reference_classes=classes[1],
        classes=2,
    )


def far(samples):
    """One row far from all data, n times."""
    points = np.full_like(samples.generated, 9 * np.abs(samples.reference).max())
    return replace(
        samples,
        generated=points,
        generated_features=points.astype(float),
        table=replace(samples.table, generated=_values(points)),
    )
