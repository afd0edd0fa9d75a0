"""Frames of polars are read as tables, and samples and filled frames have their types."""

import datetime

import numpy as np
import pytest
from programs.tables import Noise

from pushforward import spec
from pushforward.data import load
from pushforward.errors import DataError
from pushforward.samples import drawn_from
from pushforward.tables.reading.csv_dialect import gappy_values
from pushforward.tables.reading.frames import filled_frame, frame_table
from pushforward.transports import Map

pl = pytest.importorskip("polars")
DAY = datetime.datetime(2021, 3, 4)


def some(values):
    """Every eleventh value is missing."""
    return [None if i % 11 == 3 else value for i, value in enumerate(values)]


def frame(n=90):
    """A column of each type, missing values in some."""
    r = np.random.default_rng(0)
    moments = [DAY + datetime.timedelta(hours=int(hours)) for hours in r.integers(0, 2000, n)]
    texts = [str(text) for text in r.choice(["a", "b", "c"], n)]
    return pl.DataFrame(
        {
            "whole": pl.Series(some(r.integers(0, 900, n).tolist()), dtype=pl.Int32),
            "few": pl.Series(r.integers(3, 6, n).tolist(), dtype=pl.UInt8),
            "number": pl.Series(np.round(r.normal(size=n), 2).tolist(), dtype=pl.Float32),
            "price": pl.Series([f"{value:.2f}" for value in r.random(n)]).cast(pl.Decimal(10, 2)),
            "flag": pl.Series(some((r.random(n) < 0.5).tolist()), dtype=pl.Boolean),
            "day": pl.Series(some([moment.date() for moment in moments]), dtype=pl.Date),
            "moment": pl.Series(moments, dtype=pl.Datetime("ms")),
            "zoned": pl.Series(moments, dtype=pl.Datetime("us")).dt.replace_time_zone("Asia/Tokyo"),
            "time": pl.Series([moment.time() for moment in moments], dtype=pl.Time),
            "text": pl.Series(some(texts), dtype=pl.String),
            "code": pl.Series([f"{7 + i % 30}" for i in range(n)], dtype=pl.Categorical),
            "size": pl.Series(texts, dtype=pl.Enum(["c", "b", "a"])),
        }
    )


def test_samples_of_a_polars_frame_are_one_with_its_types_and_values():
    source = frame()
    data = load(source, target="text", rare="keep")
    fields = {field.name: field for field in data.space.fields}
    assert (fields["code"].kind, fields["size"].kind, fields["size"].names) == (
        "category",
        "ordinal",
        ("c", "b", "a"),
    )
    with pytest.raises(DataError, match='constraint "size <= '):
        load(source, constraints="size <= 'b'")
    assert len(load(source.filter(pl.col("size") != "a"), constraints="size <= 'b'").train)
    assert spec.build(spec.describe(data.space)) == data.space
    back = data.space.frame(data.train.x)
    assert back.schema == source.schema
    assert set(back.rows()) <= set(source.rows())
    drawn = drawn_from(Map(Noise(), data.space, data.space.shape), 5, None, seed=0, batch=5)
    assert (drawn.schema, len(drawn)) == (source.schema, 5)


def test_a_polars_frame_is_filled_in_its_own_types():
    source = frame()
    fields = load(source).space.fields
    values, missing = gappy_values("the frame", frame_table(source), fields)
    drawn = np.where(missing, values[:1], values)
    filled = filled_frame(source, fields, drawn, missing)
    assert filled.schema == source.schema
    actual = filled.null_count().row(0)
    assert actual == (0,) * len(source.columns)
    gaps = source["whole"].is_null().to_numpy()
    names = set(filled["whole"].filter(gaps).to_list())
    assert names == {source["whole"][0]}
    assert filled["day"][3] == source["day"][0]
    assert filled.filter(~gaps).equals(source.filter(~gaps))


def test_filling_in_a_polars_frame_changes_no_known_cell():
    first = 1_614_834_367_123_456_789
    numbers = some([first + 1_000_000_007 * i for i in range(90)])
    source = pl.DataFrame(
        {
            "x": np.random.default_rng(0).normal(size=90),
            "t": pl.Series(numbers).cast(pl.Datetime("ns")),
        }
    )
    missing = np.column_stack([np.zeros(90, dtype=bool), source["t"].is_null().to_numpy()])
    filled = filled_frame(
        source, load(source).space.fields, np.full(missing.shape, 1.6e9), missing
    )["t"]
    expected = [16 * 10**17 if number is None else number for number in numbers]
    assert (filled.dtype, filled.cast(pl.Int64).to_list()) == (source["t"].dtype, expected)
    assert source["t"].cast(pl.Int64).to_list() == numbers


def test_a_level_that_the_type_does_not_have_is_filled_in_as_text():
    fields = load(pl.DataFrame({"x": np.arange(90.0), "size": ["a", "b", "c"] * 30})).space.fields
    source = pl.DataFrame({"size": pl.Series(["a", None, "b"], dtype=pl.Enum(["a", "b"]))})
    filled = filled_frame(
        source, fields[1:], np.array([[0.0], [2.0], [1.0]]), np.array([[False], [True], [False]])
    )
    assert (filled["size"].dtype, filled["size"].to_list()) == (pl.String, ["a", "c", "b"])
