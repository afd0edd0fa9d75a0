"""Metrics of tables see the rows that files hold, those that coordinates cannot hold among them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from programs.metrics import Seen
from programs.tables import of_earlier_versions, open_table

from pushforward.data import load
from pushforward.errors import DataError
from pushforward.evaluation.evaluator import Evaluator
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.samples import given_samples
from pushforward.evaluation.scores import real_data_scores, score

FOREIGN = "start,end,flag\n3.5,4,no\n-1000000,5,no\n1000000,2000000,no\n,6,yes\n9,2,yes\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Whole numbers to 1e9, which float32 cannot tell apart."""
    path = tmp_path_factory.mktemp("values") / "t.csv"
    rng = np.random.default_rng(7)
    start = rng.integers(10**8, 10**9, 3000).tolist()
    size = rng.integers(0, 3, 3000).tolist()
    write_spans(path, start, size)
    return load(path, constraints=["end >= start"])


def write_spans(path, starts, sizes):
    lines = ["start,end,flag"]
    for start, size in zip(starts, sizes, strict=True):
        flag = ("no", "yes")[size % 2]
        lines.append(f"{start},{start + size},{flag}")
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "t.csv"
    rows = np.arange(800)
    write_spans(path, rows % 40, rows % 3)
    whole = {"kind": "whole"}
    schema = {"columns": {"start": whole, "end": whole}}
    return load(path, constraints=["end >= start"], schema=schema)


def test_splits_keep_the_values_of_a_file(data):
    for split in (data.train, data.held_out):
        assert data.space.met(split.table_values).all()
        assert not np.array_equal(data.space.values(split.x), split.table_values), (
            "coordinates round, or this proves nothing"
        )
        actual = split.take(slice(3, 5)).table_values
        assert np.array_equal(actual, split.table_values[3:5])
        assert np.array_equal(data.space.encoded(split.table_values), split.x)


def test_floors_compare_rows_as_the_file_holds_them(data):
    seen = Seen()
    real_data_scores(data, fit_features(data), n=20, redraws=2, metrics=[seen], cache=False)
    for samples in seen.samples:
        assert rows_of(samples.table.generated) <= rows_of(data.train.table_values)
        assert rows_of(samples.table.reference) <= rows_of(data.held_out.table_values)


def test_a_predictor_learns_from_given_values_by_default(data):
    seen = Seen()
    rows = data.train.table_values[:40]
    x = data.train.x[:40]
    score(x, data, fit_features(data), n=20, metrics=[seen], values=rows)
    np.testing.assert_array_equal(seen.samples[0].table.learned, rows)


def rows_of(values):
    return set(map(tuple, values))


def test_samples_are_scored_as_their_file_holds_them(small, tmp_path, monkeypatch):
    path = tmp_path / "new.csv"
    path.write_text(FOREIGN)
    given = given_samples(path, small)
    seen = []

    def score(x, *rest, values, **more):
        seen.append((x, values))
        return {}

    monkeypatch.setattr("pushforward.evaluation.evaluator.score", score)
    Evaluator(small, 2, repeats=2, metrics=["column_error"]).scores(given)
    starts = np.concatenate([values[:, 0] for _, values in seen])
    assert sorted(starts)[:3] == [-1e6, 3.5, 9.0]
    assert np.isnan(starts).sum() == 1
    for x, part in seen:
        actual = small.space.encoded(part, foreign=True)
        assert np.array_equal(actual, x.numpy())


@pytest.fixture(scope="module")
def tables():
    """A table as it is read now, and in the coordinates of earlier versions."""
    now = open_table()
    earlier = of_earlier_versions(now)
    assert earlier.space.columns == now.space.columns
    assert (earlier.train.x != now.train.x).any()
    return now, earlier


def test_a_fingerprint_of_a_table_sees_all_digits_and_the_texts_of_categories(tables):
    now, _ = tables
    values = now.held_out.table_values.copy()
    values[3, 0] = np.nextafter(values[3, 0], 0)
    close = replace(now, held_out=replace(now.held_out, table_values=values))
    number, kind = now.space.fields
    space = replace(now.space, fields=(number, replace(kind, names=("a", "b", "d"))))
    named = replace(now, space=space)
    assert len({now.fingerprint, close.fingerprint, named.fingerprint}) == 3


def test_samples_keep_their_digits_and_the_texts_of_their_categories(tables):
    now, earlier = tables
    number, kind = earlier.space.fields
    fields = (number, replace(kind, names=("c", "a", "b")))
    own = replace(earlier.space, fields=fields)
    sample = torch.tensor(
        [[0.123456789012, 1.0, 0.0, 0.0], [-1.0, 0.0, 1.0, 0.0]], dtype=torch.float64
    )
    x, values = own.recoded(sample, now.space)
    actual = values[:, 0].tolist()
    expected = own.values(sample)[:, 0].tolist()
    assert actual == expected
    assert values[:, 1].tolist() == now.space.values(x)[:, 1].tolist() == [2.0, 0.0]
    fields = (number, replace(kind, names=("a", "e", "b")))
    foreign = replace(own, fields=fields)
    with pytest.raises(DataError, match=r'"kind" .*values .*"e"'):
        foreign.recoded(sample, now.space)
    assert now.space.recoded(sample, now.space)[1] is None


def test_a_floors_predictor_learns_from_all_training_rows_as_a_models_does(small, monkeypatch):
    monkeypatch.setattr("pushforward.tables.space.RAW_COORDINATES", 0)
    seen = Seen()
    features = fit_features(small, cache=False)
    assert len(features.halves.drawn) < len(small.train)
    table = replace(small, space=replace(small.space, target="flag"))
    real_data_scores(table, features, n=20, redraws=1, metrics=[seen], cache=False)
    np.testing.assert_array_equal(seen.samples[0].table.learned, small.train.table_values)
