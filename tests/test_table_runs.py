"""Runs on tables: other columns are named, and a fingerprint sees all digits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from programs.tables import mixed_table, of_earlier_versions, open_table

import pushforward as pf
from pushforward.data import TableSpace
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.models import check_model
from pushforward.evaluation.scores import recoded

SMALL = {"size": "tiny", "progress": False, "seed": 3}


@pytest.fixture(scope="module")
def tables():
    """A table as it is read now, and in the coordinates of earlier versions."""
    now = open_table()
    earlier = of_earlier_versions(now)
    assert earlier.space.columns == now.space.columns
    assert (earlier.train.x != now.train.x).any()
    return now, earlier


def test_other_columns_are_named(tmp_path):
    mixed = mixed_table(100)
    number, gain, whole, kind, _ = mixed.space.fields
    run = pf.fit("flow", mixed, steps=1, out=tmp_path / "mixed", **SMALL)
    others = (number, replace(gain, name="loss"), whole, replace(kind, names=("a", "b"), shares=(0.5, 0.3, 0.2)))
    other = replace(mixed, name="people", space=TableSpace.of(others))
    differ = 'columns or categories differ: "gain", "kind", "loss", "member"'
    with pytest.raises(UsageError, match=f"^mixed makes rows of another table than people; {differ}"):
        check_model("mixed", run, other)
    with pytest.raises(UsageError, match=r"^mixed makes examples of shape \(11,\); moons has \(2,\)"):
        check_model("mixed", run, pf.data.load("moons", limit=40))


def test_a_fingerprint_of_a_table_sees_all_digits_and_the_texts_of_categories(tables):
    now, _ = tables
    values = now.held_out.table_values.copy()
    values[3, 0] = np.nextafter(values[3, 0], 0)
    close = replace(now, held_out=replace(now.held_out, table_values=values))
    number, kind = now.space.fields
    named = replace(now, space=replace(now.space, fields=(number, replace(kind, names=("a", "b", "d")))))
    assert len({now.fingerprint, close.fingerprint, named.fingerprint}) == 3


def test_samples_keep_their_digits_and_the_texts_of_their_categories(tables):
    now, earlier = tables
    number, kind = earlier.space.fields
    own = replace(earlier.space, fields=(number, replace(kind, names=("c", "a", "b"))))
    sample = torch.tensor([[0.123456789012, 1.0, 0.0, 0.0], [-1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    x, values = recoded(sample, own, now.space)
    assert values[:, 0].tolist() == own.values(sample)[:, 0].tolist()
    assert values[:, 1].tolist() == now.space.values(x)[:, 1].tolist() == [2.0, 0.0]
    foreign = replace(own, fields=(number, replace(kind, names=("a", "e", "b"))))
    with pytest.raises(DataError, match='1 values of "kind" are "e"'):
        recoded(sample, foreign, now.space)
    assert recoded(sample, now.space, now.space)[1] is None
