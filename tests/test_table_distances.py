"""Distances between rows read the file's own values, whatever the coordinates of a model are."""

import dataclasses

import numpy as np
import pytest
import torch
from programs.metrics import Seen
from programs.tables import Noise
from scipy.spatial.distance import cdist

from pushforward.data import TableSpace, load
from pushforward.data.core.dataset import Split
from pushforward.errors import UsageError
from pushforward.evaluation.evaluator import Evaluator, protocol_of
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.pictures import nearest
from pushforward.evaluation.results import REPEAT_SEEDS, Protocol, check_same
from pushforward.evaluation.scores import real_data_scores, score
from pushforward.tables import Number
from pushforward.tables.metrics.table import RowEncoder
from pushforward.transports import Map

DISTANCES = ["nearest_ratio", "membership", "membership_ratio", "energy", "authenticity"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Amounts, some of which are missing, a size of which 0 is an atom, and a colour; none
    repeats.
    """
    path = tmp_path_factory.mktemp("distances") / "t.csv"
    rng = np.random.default_rng(7)
    amounts = rng.integers(10**3, 10**6, 300).tolist()
    sizes = np.where(rng.random(300) < 0.3, 0, rng.gamma(2, 9, 300))
    lines = ["amount,size,colour"]
    for i, (amount, size) in enumerate(zip(amounts, sizes, strict=True)):
        known = "" if i % 11 == 0 else amount
        lines.append(f"{known},{size:.3f},{'rgb'[amount % 3]}")
    path.write_text("\n".join(lines) + "\n")
    return load(path)


@pytest.fixture(scope="module")
def features(data):
    return fit_features(data, cache=False)


def in_coordinates(split, space):
    """The same rows in the coordinates of a space."""
    values = split.table_values
    return Split(space.encoded(values), source_hashes=split.hashes, table_values=values)


def coarse(data):
    """The same rows in coordinates of other columns: without atoms, and with the knots of the first
    rows alone.
    """
    fields = []
    for column, field in zip(data.train.table_values.T, data.space.fields, strict=True):
        few = np.unique(column[~np.isnan(column)])[::9]
        if isinstance(field, Number):
            field = Number.measured(field.name, few, field.kind, field.form, field.missing)
        fields.append(field)
    space = TableSpace.of(fields)
    train = in_coordinates(data.train, space)
    held_out = in_coordinates(data.held_out, space)
    return dataclasses.replace(data, space=space, train=train, held_out=held_out)


def standardised(column):
    """The values in standard deviations of the known ones; 0 for missing ones."""
    known = column[~np.isnan(column)]
    return np.nan_to_num((column - known.mean()) / known.std())


def test_points_are_standardised_values_and_indicators(data):
    """A number and whether it is missing, a number, three colours and a missing one."""
    amount, size, colour = data.train.table_values.T
    raw = RowEncoder(data)
    assert raw.scale is None
    assert raw.shape == (2 + 1 + 4,)
    points = raw.training.T
    assert points[0] == pytest.approx(standardised(amount), abs=1e-5)
    assert np.array_equal(points[1], np.isnan(amount))
    assert points[2] == pytest.approx(standardised(size), abs=1e-5)
    indicators = points[3:6].argmax(0)
    colour = colour.astype(int)
    ranks = np.argsort(np.argsort(-np.bincount(colour)))
    assert np.array_equal(indicators, ranks[colour])
    assert (points[3:].sum(0) == 1).all()
    assert not points[6].any()


def test_points_of_other_rows_stay_in_the_range_of_the_training(data):
    raw = RowEncoder(data)
    x = torch.zeros(3, data.space.size)
    far = np.array([[1e300, -1e300, 1.0], [np.nan, np.nan, 2.0]])
    clipped, missing = raw.of(x[:2], far)
    assert clipped[0] == raw.training[:, 0].max()
    assert clipped[2] == raw.training[:, 2].min()
    assert missing[:3].tolist() == [0, 1, 0]
    held_out = raw.at(data.held_out, slice(2, 5))
    expected = raw.of(x, data.held_out.table_values[2:5])
    assert np.array_equal(held_out, expected)


def scored(data, values, features):
    """Scores of generated values, and the points that metrics receive."""
    seen = Seen()
    x = data.space.encoded(values, foreign=True)
    metrics = [*DISTANCES, seen]
    scores = score(x, data, features, n=20, metrics=metrics, values=values)
    (samples,) = seen.samples
    points = [samples.generated, samples.reference, samples.training, samples.generated_more]
    return scores, points


def test_scores_of_distances_are_the_same_in_all_coordinates(data, features):
    other = coarse(data)
    assert other.space.size != data.space.size
    rng = np.random.default_rng(3)
    values = data.train.table_values[rng.integers(0, len(data.train), 60)]
    noisy = np.round(values[:, 0] * rng.uniform(0.9, 1.1, 60))
    values[:, 0] = np.clip(noisy, 10**3, 10**6)
    own, points = scored(data, values, features)
    others, other_points = scored(other, values, fit_features(other, cache=False))
    for expected, actual in zip(points, other_points, strict=True):
        assert np.array_equal(actual, expected)
    generated, _, training, more = points
    assert len(generated) == 20
    assert len(more) == 60
    assert np.array_equal(training, RowEncoder(data).training)
    assert set(DISTANCES) <= own.keys()
    for name in DISTANCES:
        assert others[name] == own[name], name


def assert_same_values(actual, expected):
    assert np.array_equal(actual, expected, equal_nan=True)


def test_samples_of_a_model_in_other_coordinates_keep_their_values(data):
    own = coarse(data).space
    x = torch.from_numpy(own.encoded(data.train.table_values[:40]))
    again, values = own.recoded(x, data.space)
    assert_same_values(data.space.values(again), own.values(x))
    assert_same_values(values, own.values(x))
    assert own.recoded(x, own)[0] is x
    sampler = Map(Noise(), own, own.shape)
    seen = Seen()
    scores = Evaluator(data, 20, repeats=1, metrics=[seen]).scores(sampler)[0]
    assert scores == {}
    drawn = own.values(sampler.sample(20, seed=REPEAT_SEEDS))
    assert_same_values(seen.samples[0].table.generated, drawn)


def row_set(points):
    return {row.tobytes() for row in points}


def test_floors_measure_distances_in_the_same_points(data, features):
    seen = Seen()
    real_data_scores(data, features, n=10, redraws=2, metrics=[seen], cache=False)
    raw = RowEncoder(data)
    training = row_set(raw.training)
    for samples in seen.samples:
        assert row_set(samples.generated) <= training
        assert row_set(samples.training) <= training
        assert len(samples.training) == len(data.train) - 10
        expected = raw.of(samples.table, samples.table.reference)
        assert np.array_equal(samples.reference[:, :2], expected[:, :2])


def test_the_nearest_training_row_is_that_of_the_values(data):
    x = torch.from_numpy(data.train.x[3:9])
    near = nearest(x, data, 2)
    assert near.examples[:, 0].tolist() == [3, 4, 5, 6, 7, 8]
    assert near.copies.all()
    training = RowEncoder(data).training.astype(float)
    distances = cdist(training[3:9], training)
    smallest = np.sort(distances, 1)[:, :2]
    assert near.distances == pytest.approx(smallest, abs=1e-6)


def test_the_protocol_says_what_distances_are_measured_in(data, features):
    assert protocol_of(data, features, 10, ()).representation == RowEncoder.representation
    moons = load("moons")
    assert protocol_of(moons, fit_features(moons), 10, ()).representation == ""


def test_distances_in_different_points_cannot_be_compared():
    old = Protocol(data="it", n=10)
    new = dataclasses.replace(old, representation=RowEncoder.representation)
    with pytest.raises(UsageError, match=r"of old and new cannot be compared.* representation"):
        check_same([("old", old), ("new", new)])
