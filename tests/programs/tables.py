"""Small made-up tables of mixed kinds."""

from dataclasses import replace

import numpy as np
from torch import nn

from pushforward.data import Split, TableSpace
from pushforward.data.core.dataset import Schema, build
from pushforward.tables import Category, Number
from pushforward.tables.columns import Format
from pushforward.tables.reading.csv_dialect import Layout


class Noise(nn.Module):
    """The noise itself, as the coordinates of rows."""

    def forward(self, z, *_, **__):
        return z


def mixed_values(n=600, seed=0):
    """Values (n, 5): a number, a number that is 0 in half of the rows, a whole number, a category
    of 3, a boolean.

    The category leads the whole number and the boolean; a tenth of the categories is missing.
    """
    r = np.random.default_rng(seed)
    kind = r.choice(3, n, p=[0.5, 0.3, 0.2]).astype(float)
    number = r.normal(size=n) + kind
    gain = np.where(r.random(n) < 0.5, 0.0, np.round(r.lognormal(3, 1, n), 2))
    whole = r.poisson(3 + 4 * kind).astype(float)
    boolean = (r.random(n) < 0.2 + 0.3 * kind).astype(float)
    kind[r.random(n) < 0.1] = np.nan
    return np.column_stack([number, gain, whole, kind, boolean])


def fitted_by(space):
    """A schema whose columns are those that a function makes of the training rows; all
    values are learned.
    """

    def fit(*splits):
        fitted = space(splits[0].x)
        encoded = (
            Split(fitted.encoded(split.x), source_hashes=split.hashes, table_values=split.x)
            for split in splits
        )
        return fitted, *encoded

    return Schema(fit=fit)


def mixed_space(values):
    """The space of such values."""
    fields = [
        Number.measured("number", values[:, 0]),
        Number.measured("gain", values[:, 1], form=Format(2)),
        Number.measured("whole", values[:, 2], "whole", Format(0)),
        Category.measured("kind", values[:, 3], ["a", "b", "c"]),
        Category.measured("member", values[:, 4], ["no", "yes"], "boolean"),
    ]
    return TableSpace.of(fields, target="member")


def mixed_table(n=600, seed=0):
    """A data set of such values."""
    return build("mixed", Split(mixed_values(n, seed)), schema=fitted_by(mixed_space))


def wide_values(n=3000):
    """Numbers and dates in every format, with more values than a closed column holds."""
    r = np.random.default_rng(3)
    gain = np.where(r.random(n) < 0.3, 0.0, r.normal(0, 400, n).round(1))
    price = np.where(r.random(n) < 0.5, r.integers(1, 9000, n), (9000 * r.random(n)).round(2))
    amount = np.where(r.random(n) < 0.1, np.nan, r.lognormal(12, 2, n).round(2))
    seen = (1e6 * r.uniform(-1e9, 1e9, n)).round() / 1e6
    return np.column_stack(
        [
            gain,
            price,
            amount,
            r.random(n),
            seen,
            r.lognormal(-20, 5, n),
            np.full(n, np.nan),
            r.integers(0, 3, n),
        ]
    )


def wide_space(values):
    """The space of such values."""
    forms = {
        "gain": Format(1, plus=True, point=",", prefix="$", suffix=" a day"),
        "price": Format(2),
        "amount": Format(2, group=".", point=",", least=0),
        "ratio": Format(),
        "seen": Format(pattern="%-d.%m.%Y %H:%M:%S.%f"),
        "tiny": Format(digits=4, plus=True),
    }
    fields = [
        Number.measured(name, values[:, place], "date" if form.pattern else "number", form)
        for place, (name, form) in enumerate(forms.items())
    ]
    assert all(field.open for field in fields)
    fields.append(Number.measured("none", values[:, -2]))
    fields.append(Category.measured("town", values[:, -1], ["Bonn", "Köln; Süd", 'Ulm "M"']))
    return TableSpace.of(fields, layout=Layout(";", missing=("NA",) * len(fields)))


def wide_table():
    """A data set of such values, with semicolons and a text for missing values."""
    return build("wide", Split(wide_values()), schema=fitted_by(wide_space))


def of_earlier_versions(data):
    """The data set in the coordinates of earlier versions, whose knots had no intervals of
    ranks.
    """
    fields = tuple(replace(field, spans=()) if field.open else field for field in data.space.fields)
    space = replace(data.space, fields=fields)
    here, there = (
        replace(split, x=space.encoded(split.table_values)) for split in (data.train, data.held_out)
    )
    return replace(data, space=space, train=here, held_out=there)


def open_table(n=1400, seed=0):
    """A data set of one open column, some of whose values occur again, and a category."""
    r = np.random.default_rng(seed)
    number = np.round(r.lognormal(3, 1, n), 2)
    number[: n // 7] = r.choice(number, n // 7)
    values = np.column_stack(
        [number + np.arange(n) * 1e-4 * (np.arange(n) > n // 3), r.integers(0, 3, n).astype(float)]
    )
    return build("open", Split(values), schema=fitted_by(_open_space))


def _open_space(values):
    names = ["a", "b", "c"]
    return TableSpace.of(
        [Number.measured("number", values[:, 0]), Category.measured("kind", values[:, 1], names)],
        target="kind",
    )
