"""Distances between rows read the file's own values, whatever the coordinates of a model are."""

import dataclasses

import numpy as np
import pytest
import torch
from programs.metrics import Seen
from programs.tables import Noise

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
    amount = rng.integers(10**3, 10**6, 300).tolist()
    size = np.where(rng.random(300) < 0.3, 0, rng.gamma(2, 9, 300)).tolist()
    rows = [
        f"{'' if i % 11 == 0 else a},{b:.3f},{'rgb'[a % 3]}"
        for i, (a, b) in enumerate(zip(amount, size, strict=True))
    ]
    path.write_text("amount,size,colour\n" + "\n".join(rows) + "\n")
    return load(path)


def coarse(data):
    """The same rows in coordinates of other columns: without atoms, and with the knots of the first
    rows alone.
    """
    values = data.train.table_values
    fields = []
    for place, field in enumerate(data.space.fields):
        few = np.unique(values[~np.isnan(values[:, place]), place])[::9]
        if isinstance(field, Number):
            field = Number.measured(field.name, few, field.kind, field.form, field.missing)
        fields.append(field)
    space = TableSpace.of(fields)
    train, held_out = (
        Split(
            space.encoded(split.table_values),
            source_hashes=split.hashes,
            table_values=split.table_values,
        )
        for split in (data.train, data.held_out)
    )
    return dataclasses.replace(data, space=space, train=train, held_out=held_out)


def test_points_are_standardised_values_and_indicators(data):
    known = data.train.table_values
    held = data.held_out.table_values
    raw = RowEncoder(data)
    assert raw.scale is None
    assert raw.shape == (
        2 + 1 + 4,
    )  # a number and whether it is missing, a number, 3 colours and none
    nan = np.nanmean(known[:, 0])
    amount = np.nan_to_num(known[:, 0], nan=nan)
    size = known[:, 1]
    present = known[~np.isnan(known[:, 0]), 0]
    assert raw.training[:, 0] == pytest.approx((amount - present.mean()) / present.std(), abs=1e-5)
    expected = np.isnan(known[:, 0])
    assert np.array_equal(raw.training[:, 1], expected)
    assert raw.training[:, 2] == pytest.approx((size - size.mean()) / size.std(), abs=1e-5)
    actual = raw.training[:, 3:6].argsort(1)[:, -1]
    expected = np.argsort(np.argsort(-np.bincount(known[:, 2].astype(int))))[
        known[:, 2].astype(int)
    ]
    assert np.array_equal(actual, expected)
    assert (raw.training[:, 3:].sum(1) == 1).all()
    assert not raw.training[:, 6].any()
    far = np.array([[1e300, -1e300, 1.0], [np.nan, np.nan, 2.0]])
    points = raw.of(torch.zeros(2, data.space.size), far)
    assert points[0, 0] == raw.training[:, 0].max()
    assert points[0, 2] == raw.training[:, 2].min()
    values = points[1, :3].tolist()
    assert values == [0, 1, 0]
    actual = raw.at(data.held_out, slice(2, 5))
    expected = raw.of(torch.zeros(3, data.space.size), held[2:5])
    assert np.array_equal(actual, expected)


def test_scores_of_distances_are_the_same_in_all_coordinates(data):
    other = coarse(data)
    assert other.space.size != data.space.size
    rng = np.random.default_rng(3)
    scores = {}
    values = data.train.table_values[rng.integers(0, len(data.train), 60)]
    values[:, 0] = np.clip(np.round(values[:, 0] * rng.uniform(0.9, 1.1, 60)), 10**3, 10**6)
    for name, each in (("own", data), ("other", other)):
        seen = Seen()
        x = each.space.encoded(values, foreign=True)
        scores[name] = score(
            x,
            each,
            fit_features(each, cache=False),
            n=20,
            metrics=[*DISTANCES, seen],
            values=values,
        )
        samples = seen.samples[0]
        assert (len(samples.generated), len(samples.generated_more)) == (20, 60)
        scores[name]["arrays"] = [
            samples.generated,
            samples.reference,
            samples.training,
            samples.generated_more,
        ]
    assert np.array_equal(scores["own"]["arrays"][2], RowEncoder(data).training)
    for own, there in zip(scores["own"].pop("arrays"), scores["other"].pop("arrays"), strict=True):
        assert np.array_equal(own, there)
    assert set(DISTANCES) <= scores["own"].keys()
    for name in DISTANCES:
        assert scores["own"][name] == scores["other"][name], name


def test_samples_of_a_model_in_other_coordinates_keep_their_values(data):
    own = coarse(data).space
    x = torch.from_numpy(own.encoded(data.train.table_values[:40]))
    again, values = own.recoded(x, data.space)
    assert np.array_equal(data.space.values(again), own.values(x), equal_nan=True)
    assert np.array_equal(values, own.values(x), equal_nan=True)
    assert own.recoded(x, own)[0] is x
    sampler = Map(Noise(), own, own.shape)
    seen = Seen()
    scores = Evaluator(data, 20, repeats=1, metrics=[seen]).scores(sampler)[0]
    assert scores == {}
    assert np.array_equal(
        seen.samples[0].table.generated,
        own.values(sampler.sample(20, seed=REPEAT_SEEDS)),
        equal_nan=True,
    )


def test_floors_measure_distances_in_the_same_points(data):
    seen = Seen()
    real_data_scores(
        data, fit_features(data, cache=False), n=10, redraws=2, metrics=[seen], cache=False
    )
    training = {row.tobytes() for row in RowEncoder(data).training}
    for samples in seen.samples:
        assert {row.tobytes() for row in samples.generated} <= training
        assert {row.tobytes() for row in samples.training} <= training
        assert len(samples.training) == len(data.train) - 10
        expected = RowEncoder(data).of(samples.table, samples.table.reference)[:, :2]
        assert np.array_equal(samples.reference[:, :2], expected)


def test_the_nearest_training_row_is_that_of_the_values(data):
    x = torch.from_numpy(data.train.x[3:9])
    raw = RowEncoder(data)
    near = nearest(x, data, 2)
    examples = near.examples[:, 0].tolist()
    assert examples == list(range(3, 9))
    assert near.copies.all()
    distances = np.linalg.norm(raw.training[3:9, None].astype(float) - raw.training[None], axis=2)
    assert near.distances == pytest.approx(np.sort(distances, 1)[:, :2], abs=1e-6)


def test_the_protocol_says_what_distances_are_measured_in(data):
    features = fit_features(data, cache=False)
    assert protocol_of(data, features, 10, ()).representation == RowEncoder.representation
    moons = load("moons")
    assert protocol_of(moons, fit_features(moons), 10, ()).representation == ""
    old, new = (
        Protocol(data="it", n=10, representation=what) for what in ("", RowEncoder.representation)
    )
    with pytest.raises(UsageError, match=r"of old and new cannot be compared.* representation"):
        check_same([("old", old), ("new", new)])
