"""A table with a column of every kind, from nothing but a seed."""

import numpy as np

from pushforward.data.readers.reader import DataOptions
from pushforward.tables.reading.reader import table_dataset
from pushforward.tables.reading.string_columns import RawColumn, RawTable


def mixed_columns(n, seed=0):
    """The cells of a table by column: numbers, a whole number, a category, ordered ones, a boolean,
    a date; some are missing.
    """
    rng = np.random.default_rng(seed)
    height = rng.normal(170, 9, n)
    gain = np.where(rng.random(n) < 0.4, 0, rng.gamma(2, 40, n))
    return {
        "height": [f"{v:.1f}" for v in height],
        "net gain": [
            "" if u < 0.1 else f"{v:.2f}" for u, v in zip(rng.random(n), gain, strict=True)
        ],
        "count": [str(v) for v in rng.integers(100, 100 + max(2, n // 3), n)],
        "colour": [("red", "green", "blue, dark")[i] for i in rng.integers(0, 3, n)],
        "stars": [str(v) for v in rng.integers(1, 6, n)],
        "member": [("no", "yes")[i] for i in (height > 170).astype(int)],
        "since": [str(np.datetime64("2020-01-01") + int(d)) for d in rng.integers(0, 200, n)],
    }


def mixed_table(n, seed=0, **options):
    """The table as a data set.

    Args:
        n: How many rows.
        seed: Of the cells.
        options: Of `pushforward.data.core.named_set.DataOptions`.
    """
    columns = tuple(RawColumn.of(name, cells) for name, cells in mixed_columns(n, seed).items())
    return table_dataset(
        "mixed", "the table", RawTable(columns, range(1, n + 1)), DataOptions(**options)
    )
