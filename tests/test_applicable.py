"""Metrics that a kind of data does not have are refused before anything is measured."""

import re

import pytest
import torch
from programs.tables import mixed_table

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.evaluation import comparison as evaluating
from pushforward.testing import space_data

IMAGES = space_data((1, 8, 8), labels=False, n=40)


@pytest.fixture
def unmeasured(monkeypatch):
    """Nothing is measured: neither features nor floors."""

    def refused(*args, **options):
        raise AssertionError("measured")

    monkeypatch.setattr(evaluating, "Judge", refused)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        *((mixed_table(60), ["energy", name]) for name in ("frechet", "manifold", "neighbour_test", "w2")),
        (mixed_table(60), ["frechet", "energy", "w2"]),
        *((IMAGES, [name]) for name in ("energy", "w2", "modes_held", "column_error", "class_distance")),
    ],
)
def test_metrics_that_do_not_apply_are_named(unmeasured, data, names):
    known = {"energy", "column_error"} if data.space.shape != (1, 8, 8) else {"frechet"}
    with pytest.raises(UsageError, match=r"^Not computed for such data: ") as caught:
        pf.evaluate(data.held_out.data_units(slice(None)), data, metrics=names)
    refused, computed = re.match(r".*: (.*)\. Computed are: (.*)\.", str(caught.value)).groups()
    assert refused.split(", ") == [name for name in names if name not in known]
    assert known <= set(computed.split(", "))
    assert not {"kid", *refused.split(", ")} & set(computed.split(", ")) or "frechet" in known


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"metrics": "bpd", "n": 10**6}, "bpd: `n` must be from 1 to"),
        ({"metrics": "bpd", "n": 2.5}, "`n` must be a whole number"),
        ({"metrics": "cas", "n": 10**6}, "`n` must be from 2 to"),
        ({"metrics": ["bpd", "energy"], "n": 1}, "`n` must be from 2 to"),
        ({"metrics": "energy", "n": 10**6}, "`n` must be from 2 to"),
        ({"metrics": "energy", "repeats": 0}, "`repeats` must be at least 1"),
    ],
)
def test_nothing_is_said_before_a_number_is_refused(unmeasured, options, error):
    data = space_data((2,), labels=True, n=40)
    transport = pf.recipes.flow(data.space, "tiny").method.transport()
    with pytest.raises(UsageError, match=f"^{error}"):
        pf.evaluate(transport, data, tell=(said := []).append, **options)
    assert not said


@pytest.mark.parametrize("name", ["frechet", "two_sample", "sharpness"])
def test_what_has_some_score_is_measured(unmeasured, name):
    with pytest.raises(AssertionError, match="measured"):
        pf.evaluate(torch.rand(8, 1, 8, 8), space_data((1, 8, 8), labels=False, n=40), metrics=[name])
