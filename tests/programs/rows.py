"""Made-up rows of a table as metrics receive them."""

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
