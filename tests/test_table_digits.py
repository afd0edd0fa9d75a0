"""Values of open columns have all their digits: encoded and decoded, sampled, given."""

import numpy as np
import pytest
import torch
from programs.metrics import Seen
from programs.tables import Noise

import pushforward as pf
from pushforward.data import TableSpace
from pushforward.draws import ExampleDraws
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.scores import score
from pushforward.tables import Number
from pushforward.tables.columns import Format
from pushforward.transports import Map

LARGEST = 2**53
N = 1500


def whole(values, kind="whole", form=Format(0)):
    return Number.measured("amount", np.asarray(values, dtype=np.float64), kind, form)


def spread(seed):
    """Whole numbers up to 2^53: evenly, by magnitude, with negative ones, and with a gap that holds
    nearly all numbers.
    """
    rng = np.random.default_rng(seed)
    return {
        "even": rng.integers(0, LARGEST, N),
        "magnitudes": np.exp(rng.uniform(0, 36.7, N)),
        "signed": rng.integers(-LARGEST, LARGEST, N),
        "gap": np.r_[np.arange(N) * 3, rng.integers(LARGEST // 2, LARGEST, N // 5)],
        "billion": rng.integers(0, 10**9, N),
    }


@pytest.mark.parametrize("name", spread(0))
def test_whole_numbers_are_decoded_as_they_are(name):
    values = np.unique(np.floor(spread(3)[name])).astype(np.float64)
    field = whole(values)
    assert field.open
    assert len(field.knots) < len(values)
    assert np.array_equal(field.decode(field.encode(values)), values)
    between = field.decode(np.random.default_rng(1).normal(size=(4000, 1)))
    assert np.array_equal(between, np.floor(between))
    assert ((values[0] <= between) & (between <= values[-1])).all()
    knots = np.array(field.knots)
    stored = field.encode(knots).astype(np.float32)
    apart = np.r_[True, np.diff(stored[:, 0]) > 0]
    actual = field.decode(stored)[apart]
    assert np.array_equal(actual, knots[apart]), "files and checkpoints hold scores in float32"


def test_dates_are_decoded_to_the_second():
    seconds = np.unique(np.random.default_rng(0).integers(0, 2 * 10**9, N)).astype(np.float64)
    field = whole(seconds, "date", Format(pattern="%Y-%m-%d %H:%M:%S"))
    assert np.array_equal(field.decode(field.encode(seconds)), seconds)
    beside = np.array(field.knots[:-1]) + 1
    actual = field.decode(field.encode(beside))
    assert np.array_equal(actual, beside), "values beside a knot are not the knot"


def test_values_between_two_knots_that_occur_again_have_scores_of_their_own():
    field = whole(np.r_[np.repeat([0, 1000], 5), np.arange(2000, 6500, 3)])
    assert field.knots[:2] == (0, 1000)
    between = np.arange(1001.0)
    assert np.array_equal(field.decode(field.encode(between)), between)


@pytest.fixture(scope="module")
def billion():
    """A space with an open column of whole numbers to 1e9, a closed one, and as many transports'
    samples as there are.
    """
    closed = Number.measured("few", np.arange(60.0), "whole", Format(0))
    return TableSpace.of([whole(spread(0)["billion"]), closed])


def test_samples_of_an_open_column_are_any_whole_number(billion):
    transport = Map(Noise(), billion, billion.shape)
    x = transport.sample(3000, seed=4)
    assert x.dtype == billion.precision == torch.float64
    values = billion.values(x)
    rounded = billion.values(x.float())
    assert np.array_equal(values, np.floor(values))
    assert np.array_equal(values[:, 1], rounded[:, 1])
    low, high = (
        billion.values(torch.nextafter(x.float(), torch.tensor(side)).double())[:, 0]
        for side in (-torch.inf, torch.inf)
    )
    assert ((low <= values[:, 0]) & (values[:, 0] <= high)).all(), (
        "drawn in the interval of the float32 score"
    )
    mean = (values[:, 0] != rounded[:, 0]).mean()
    assert mean > 0.7
    digits = np.bincount(values[:, 0].astype(np.int64) % 10, minlength=10)
    total = ((digits - 300) ** 2 / 300).sum()
    assert total < 28, "last digits are equally frequent: chi-square of 9, p < 0.001"
    actual = transport.sample(5, seed=100, batch=2)
    expected = transport.sample(9, seed=96)[4:]
    assert torch.equal(actual, expected)
    assert transport.sample(0).dtype == torch.float64
    assert billion.to_model(x).dtype == torch.float32


def test_a_table_without_open_columns_stays_in_float32(billion):
    few = TableSpace.of(billion.fields[1:])
    x = Map(Noise(), few, few.shape).sample(4)
    assert x.dtype == few.precision == torch.float32
    expected = ExampleDraws(0, 4).normal((1,))
    assert torch.equal(x, expected)


def test_a_given_number_of_an_open_column_is_sampled_as_it_is(billion):
    field = billion.fields[0]
    given = next(
        v
        for v in range(123456789, 123456999)
        if field.decode(field.encode(np.array([v])).astype(np.float32))[0] != v
    )
    transport = pf.recipes.flow(billion, "tiny").method.transport().with_solver("euler", 2)
    values = billion.values(transport.sample(3, {"amount": given}))
    actual = values[:, 0].tolist()
    assert actual == [given] * 3
    assert len(set(values[:, 1])) > 1
    free = billion.values(transport.sample(3, {"few": 7}))
    actual = free[:, 1].tolist()
    assert actual == [7.0] * 3


def test_metrics_see_the_digits_of_samples(tmp_path):
    rng = np.random.default_rng(2)
    seen = Seen()
    (tmp_path / "t.csv").write_text(
        "amount,few\n" + "".join(f"{v},{v % 7}\n" for v in rng.integers(0, 10**9, 1500))
    )
    data = pf.data.load(tmp_path / "t.csv", table=True)
    x = Map(Noise(), data.space, data.space.shape).sample(40)
    score(x, data, fit_features(data), n=40, metrics=[seen])
    expected = data.space.values(x)
    assert np.array_equal(seen.samples[0].table.generated, expected)
    assert not np.array_equal(seen.samples[0].table.generated, data.space.values(x.float()))
