"""Runs on tables: other columns are named, and a fingerprint sees all digits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from programs.tables import of_earlier_versions, open_table

from pushforward.errors import DataError
from pushforward.evaluation.scores import recoded


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
