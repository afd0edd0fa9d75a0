"""Values of open columns have all their digits: encoded and decoded, sampled, given."""

import numpy as np
import pytest
import torch
from programs.metrics import Seen
from programs.tables import Noise
from scipy import stats

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
    assert np.array_equal(decoded(field, values), values)
    scores = np.random.default_rng(1).normal(size=(4000, 1))
    between = field.decode(scores)
    assert np.array_equal(between, np.floor(between))
    assert values[0] <= between.min()
    assert between.max() <= values[-1]


@pytest.mark.parametrize("name", spread(0))
def test_whole_numbers_at_knots_are_decoded_from_scores_of_float32(name):
    """Files and checkpoints hold scores in float32."""
    values = np.unique(np.floor(spread(3)[name])).astype(np.float64)
    field = whole(values)
    knots = np.array(field.knots)
    stored = field.encode(knots).astype(np.float32)
    apart = np.diff(stored[:, 0], prepend=-np.inf) > 0
    actual = field.decode(stored)
    assert np.array_equal(actual[apart], knots[apart])


def decoded(field, values):
    """The values that come back from the scores of values."""
    scores = field.encode(values)
    return field.decode(scores)


def test_dates_are_decoded_to_the_second():
    drawn = np.random.default_rng(0).integers(0, 2 * 10**9, N)
    seconds = np.unique(drawn).astype(np.float64)
    field = whole(seconds, "date", Format(pattern="%Y-%m-%d %H:%M:%S"))
    assert np.array_equal(decoded(field, seconds), seconds)
    beside = np.array(field.knots[:-1]) + 1
    assert np.array_equal(decoded(field, beside), beside), "values beside a knot are not the knot"


def test_values_between_two_knots_that_occur_again_have_scores_of_their_own():
    repeated = np.repeat([0, 1000], 5)
    field = whole(np.r_[repeated, np.arange(2000, 6500, 3)])
    assert field.knots[:2] == (0, 1000)
    between = np.arange(1001.0)
    assert np.array_equal(decoded(field, between), between)


@pytest.fixture(scope="module")
def billion():
    """A space with an open column of whole numbers to 1e9, a closed one, and as many transports'
    samples as there are.
    """
    opened = whole(spread(0)["billion"])
    closed = Number.measured("few", np.arange(60.0), "whole", Format(0))
    return TableSpace.of([opened, closed])


def test_samples_of_an_open_column_are_any_whole_number(billion):
    transport = Map(Noise(), billion, billion.shape)
    x = transport.sample(3000, seed=4)
    assert x.dtype == billion.precision == torch.float64
    values = billion.values(x)
    assert np.array_equal(values, np.floor(values))
    digits = values[:, 0] % 10
    _, counts = np.unique(digits, return_counts=True)
    _, p_value = stats.chisquare(counts)
    assert len(counts) == 10
    assert p_value > 0.001, "last digits are equally frequent"
    actual = transport.sample(5, seed=100, batch=2)
    expected = transport.sample(9, seed=96)[4:]
    assert torch.equal(actual, expected)
    assert transport.sample(0).dtype == torch.float64
    assert billion.to_model(x).dtype == torch.float32


def test_samples_of_an_open_column_are_drawn_in_the_interval_of_the_float32_score(billion):
    x = Map(Noise(), billion, billion.shape).sample(3000, seed=4)
    rounded = x.float()
    before = torch.nextafter(rounded, torch.tensor(-torch.inf)).double()
    after = torch.nextafter(rounded, torch.tensor(torch.inf)).double()
    amounts, few = billion.values(x).T
    amounts_of_rounded, few_of_rounded = billion.values(rounded).T
    assert np.array_equal(few, few_of_rounded)
    assert (billion.values(before)[:, 0] <= amounts).all()
    assert (amounts <= billion.values(after)[:, 0]).all()
    assert np.mean(amounts != amounts_of_rounded) > 0.7


def test_a_table_without_open_columns_stays_in_float32(billion):
    few = TableSpace.of(billion.fields[1:])
    x = Map(Noise(), few, few.shape).sample(4)
    assert x.dtype == few.precision == torch.float32
    expected = ExampleDraws(0, 4).normal((1,))
    assert torch.equal(x, expected)


def test_a_given_number_of_an_open_column_is_sampled_as_it_is(billion):
    field = billion.fields[0]
    numbers = np.arange(123456789.0, 123456999)
    in_float32 = field.decode(field.encode(numbers).astype(np.float32))
    given = numbers[in_float32 != numbers][0]
    method = pf.recipes.flow(billion, "tiny").method
    transport = method.transport().with_solver("euler", 2)
    x = transport.sample(3, {"amount": int(given)})
    amounts, few = billion.values(x).T
    assert amounts.tolist() == [given] * 3
    assert len(set(few)) > 1
    x = transport.sample(3, {"few": 7})
    _, few = billion.values(x).T
    assert few.tolist() == [7.0] * 3


def test_metrics_see_the_digits_of_samples(tmp_path):
    rng = np.random.default_rng(2)
    seen = Seen()
    lines = ["amount,few"]
    for amount in rng.integers(0, 10**9, 1500):
        lines.append(f"{amount},{amount % 7}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    data = pf.data.load(path, table=True)
    x = Map(Noise(), data.space, data.space.shape).sample(40)
    score(x, data, fit_features(data), n=40, metrics=[seen])
    generated = seen.samples[0].table.generated
    assert np.array_equal(generated, data.space.values(x))
    assert not np.array_equal(generated, data.space.values(x.float()))
