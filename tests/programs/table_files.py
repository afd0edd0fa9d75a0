"""A table with a column of every kind, from nothing but a seed."""

import numpy as np


def mixed_columns(n, seed=0):
    """The cells of a table by column: numbers, a whole number, a category, ordered ones, a boolean,
    a date; some are missing.
    """
    rng = np.random.default_rng(seed)
    columns = {}
    height = rng.normal(170, 9, n)
    columns["height"] = np.char.mod("%.1f", height)
    no_gain = rng.random(n) < 0.4
    gain = np.where(no_gain, 0, rng.gamma(2, 40, n))
    missing = rng.random(n) < 0.1
    gains = np.char.mod("%.2f", gain)
    columns["net gain"] = np.where(missing, "", gains)
    different = max(2, n // 3)
    count = rng.integers(100, 100 + different, n)
    columns["count"] = count.astype(str)
    colours = np.array(["red", "green", "blue, dark"])
    colour = rng.integers(0, 3, n)
    columns["colour"] = colours[colour]
    stars = rng.integers(1, 6, n)
    columns["stars"] = stars.astype(str)
    columns["member"] = np.where(height > 170, "yes", "no")
    days = rng.integers(0, 200, n)
    since = np.datetime64("2020-01-01") + days
    columns["since"] = since.astype(str)
    return {name: cells.tolist() for name, cells in columns.items()}
