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


TYPES = {
    "whole": pl.Int32,
    "few": pl.UInt8,
    "number": pl.Float32,
    "price": pl.Decimal(10, 2),
    "flag": pl.Boolean,
    "day": pl.Date,
    "moment": pl.Datetime("ms"),
    "zoned": pl.Datetime("us", "Asia/Tokyo"),
    "time": pl.Time,
    "text": pl.String,
    "code": pl.Categorical,
    "size": pl.Enum(["c", "b", "a"]),
}


def frame(n=90):
    """A column of each type, missing values in some."""
    r = np.random.default_rng(0)
    moments = [DAY + datetime.timedelta(hours=int(hours)) for hours in r.integers(0, 2000, n)]
    texts = [str(text) for text in r.choice(["a", "b", "c"], n)]
    columns = {}
    whole = r.integers(0, 900, n)
    columns["whole"] = some(whole.tolist())
    columns["few"] = r.integers(3, 6, n)
    columns["number"] = r.normal(size=n).round(2)
    prices = [f"{value:.2f}" for value in r.random(n)]
    columns["price"] = pl.Series(prices).cast(TYPES["price"])
    flags = r.random(n) < 0.5
    columns["flag"] = some(flags.tolist())
    columns["day"] = some([moment.date() for moment in moments])
    columns["moment"] = moments
    here = pl.Series(moments, dtype=pl.Datetime("us"))
    columns["zoned"] = here.dt.replace_time_zone("Asia/Tokyo")
    columns["time"] = [moment.time() for moment in moments]
    columns["text"] = some(texts)
    columns["code"] = [str(7 + i % 30) for i in range(n)]
    columns["size"] = texts
    return pl.DataFrame(columns, schema_overrides=TYPES)


def test_categoricals_and_enums_are_categories_and_levels():
    source = frame()
    space = load(source, target="text", rare="keep").space
    fields = {field.name: field for field in space.fields}
    assert fields["code"].kind == "category"
    assert fields["size"].kind == "ordinal"
    assert fields["size"].names == ("c", "b", "a")
    with pytest.raises(DataError, match='constraint "size <= '):
        load(source, constraints="size <= 'b'")
    others = source.filter(pl.col("size") != "a")
    assert len(load(others, constraints="size <= 'b'").train)


def test_samples_of_a_polars_frame_are_one_with_its_types_and_values():
    source = frame()
    data = load(source, target="text", rare="keep")
    space = data.space
    assert spec.build(spec.describe(space)) == space
    back = space.frame(data.train.x)
    assert back.schema == source.schema
    assert set(back.rows()) <= set(source.rows())
    noise = Map(Noise(), space, space.shape)
    drawn = drawn_from(noise, 5, None, seed=0, batch=5)
    assert drawn.schema == source.schema
    assert len(drawn) == 5


def test_a_polars_frame_is_filled_in_its_own_types():
    source = frame()
    fields = load(source).space.fields
    values, missing = gappy_values("the frame", frame_table(source), fields)
    drawn = np.where(missing, values[:1], values)
    filled = filled_frame(source, fields, drawn, missing)
    assert filled.schema == source.schema
    assert not any(filled.null_count().row(0))
    gaps = source["whole"].is_null().to_numpy()
    names = set(filled["whole"].filter(gaps))
    assert names == {source["whole"][0]}
    assert filled["day"][3] == source["day"][0]
    assert filled.filter(~gaps).equals(source.filter(~gaps))


def test_filling_in_a_polars_frame_changes_no_known_cell():
    first = 1_614_834_367_123_456_789
    nanoseconds = some([first + 1_000_000_007 * i for i in range(90)])
    numbers = np.random.default_rng(0).normal(size=90)
    moments = pl.Series(nanoseconds).cast(pl.Datetime("ns"))
    source = pl.DataFrame({"x": numbers, "t": moments})
    missing = np.zeros((90, 2), dtype=bool)
    missing[:, 1] = moments.is_null()
    drawn = np.full(missing.shape, 1.6e9)
    fields = load(source).space.fields
    filled = filled_frame(source, fields, drawn, missing)["t"]
    expected = [16 * 10**17 if number is None else number for number in nanoseconds]
    assert filled.dtype == moments.dtype
    assert filled.cast(pl.Int64).to_list() == expected
    assert source["t"].cast(pl.Int64).to_list() == nanoseconds


def test_a_level_that_the_type_does_not_have_is_filled_in_as_text():
    training = pl.DataFrame({"x": np.arange(90.0), "size": ["a", "b", "c"] * 30})
    fields = load(training).space.fields[1:]
    sizes = pl.Series(["a", None, "b"], dtype=pl.Enum(["a", "b"]))
    source = pl.DataFrame({"size": sizes})
    levels = np.array([[0.0], [2.0], [1.0]])
    missing = np.array([[False], [True], [False]])
    filled = filled_frame(source, fields, levels, missing)["size"]
    assert filled.dtype == pl.String
    assert filled.to_list() == ["a", "c", "b"]
