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
    without_gain = r.random(n) < 0.5
    gain = r.lognormal(3, 1, n).round(2)
    gain[without_gain] = 0.0
    whole = r.poisson(3 + 4 * kind)
    boolean = r.random(n) < 0.2 + 0.3 * kind
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
    number, gain, whole, kind, member = values.T
    fields = [
        Number.measured("number", number),
        Number.measured("gain", gain, form=Format(2)),
        Number.measured("whole", whole, "whole", Format(0)),
        Category.measured("kind", kind, ["a", "b", "c"]),
        Category.measured("member", member, ["no", "yes"], "boolean"),
    ]
    return TableSpace.of(fields, target="member")


def mixed_table(n=600, seed=0):
    """A data set of such values."""
    return build("mixed", Split(mixed_values(n, seed)), schema=fitted_by(mixed_space))


def wide_values(n=3000):
    """Numbers and dates in every format, with more values than a closed column holds."""
    r = np.random.default_rng(3)
    without_gain = r.random(n) < 0.3
    gain = r.normal(0, 400, n).round(1)
    gain[without_gain] = 0.0
    whole = r.random(n) < 0.5
    whole_prices = r.integers(1, 9000, n)
    prices = (9000 * r.random(n)).round(2)
    price = np.where(whole, whole_prices, prices)
    missing = r.random(n) < 0.1
    amount = r.lognormal(12, 2, n).round(2)
    amount[missing] = np.nan
    seen = (1e6 * r.uniform(-1e9, 1e9, n)).round() / 1e6
    ratio = r.random(n)
    tiny = r.lognormal(-20, 5, n)
    none = np.full(n, np.nan)
    town = r.integers(0, 3, n)
    return np.column_stack([gain, price, amount, ratio, seen, tiny, none, town])


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
    *numbers, none, town = values.T
    fields = []
    for column, (name, form) in zip(numbers, forms.items(), strict=True):
        kind = "date" if form.pattern else "number"
        field = Number.measured(name, column, kind, form)
        assert field.open
        fields.append(field)
    fields.append(Number.measured("none", none))
    fields.append(Category.measured("town", town, ["Bonn", "Köln; Süd", 'Ulm "M"']))
    layout = Layout(";", missing=("NA",) * len(fields))
    return TableSpace.of(fields, layout=layout)


def wide_table():
    """A data set of such values, with semicolons and a text for missing values."""
    return build("wide", Split(wide_values()), schema=fitted_by(wide_space))


def of_earlier_versions(data):
    """The data set in the coordinates of earlier versions, whose knots had no intervals of
    ranks.
    """
    fields = []
    for field in data.space.fields:
        if field.open:
            field = replace(field, spans=())
        fields.append(field)
    space = replace(data.space, fields=tuple(fields))
    train = replace(data.train, x=space.encoded(data.train.table_values))
    held_out = replace(data.held_out, x=space.encoded(data.held_out.table_values))
    return replace(data, space=space, train=train, held_out=held_out)


def open_table(n=1400, seed=0):
    """A data set of one open column, some of whose values occur again, and a category."""
    r = np.random.default_rng(seed)
    number = np.round(r.lognormal(3, 1, n), 2)
    number[: n // 7] = r.choice(number, n // 7)
    place = np.arange(n)
    number += place * 1e-4 * (place > n // 3)
    kind = r.integers(0, 3, n).astype(float)
    values = np.column_stack([number, kind])
    return build("open", Split(values), schema=fitted_by(_open_space))


def _open_space(values):
    number, kind = values.T
    fields = [Number.measured("number", number), Category.measured("kind", kind, ["a", "b", "c"])]
    return TableSpace.of(fields, target="kind")
