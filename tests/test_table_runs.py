"""Runs of earlier versions on tables: what their columns were encoded as, they go on with."""

from dataclasses import replace

import pytest
from programs.tables import of_earlier_versions, open_table

import pushforward as pf
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.models import check_model
from pushforward.training.digests import state_digest
from pushforward.training.resuming import reopen

SMALL = {"size": "tiny", "progress": False, "seed": 3}


@pytest.fixture(scope="module")
def tables():
    """A table as it is read now, and in the coordinates of earlier versions."""
    now = open_table()
    earlier = of_earlier_versions(now)
    assert earlier.space.columns == now.space.columns
    assert (earlier.train.x != now.train.x).any()
    return now, earlier


def test_a_run_on_a_table_goes_on_in_its_own_coordinates(tables, tmp_path):
    now, earlier = tables
    whole = pf.fit("flow", earlier, steps=4, out=tmp_path / "whole", **SMALL)
    half = pf.fit("flow", earlier, steps=2, out=tmp_path / "half", **SMALL)
    trainer = reopen(half, steps=4, data=now, progress=False)
    assert trainer.data.space.fields == earlier.space.fields
    assert (trainer.data.train.x == earlier.train.x).all()
    trainer.advance()
    assert state_digest(half.folder) == state_digest(whole.folder)
    check_model("half", half, now)
    other = replace(now, train=now.train.take(slice(1, None)))
    with pytest.raises(DataError, match="has changed since"):
        reopen(half, steps=6, data=other)
    with pytest.raises(UsageError, match="trained on other data"):
        check_model("half", half, other)
