"""Scores and their floors: closed forms, planted copies, and what may not change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from programs.gaussian_data import dataset, vectors
from programs.rows import random

from pushforward.data.core.dataset import Split
from pushforward.data.core.named_set import Truth
from pushforward.errors import DataError, Diverged, UsageError
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.features import fit_features, halves
from pushforward.evaluation.intervals import deviation, ratio
from pushforward.evaluation.scores import real_data_scores, sample_count, score
from pushforward.metrics import Score
from pushforward.metrics.two_sample import frechet_distance


@pytest.fixture
def labelled():
    return dataset(*vectors())


def value_of(name, samples, data, features, **options):
    """The value of one score of samples."""
    return score(samples, data, features, **options)[name].value


@pytest.fixture(scope="module")
def features():
    """Features fitted to the labelled data."""
    return fit_features(dataset(*vectors()), cache=False)


def test_a_score_compares_equally_many_rows_and_uses_the_first_ones(labelled, features):
    samples = GaussianBaseline.fit(labelled).sample(250)
    scores = score(samples, labelled, features, n=200, metrics=["frechet"])
    assert set(scores) == {"frechet"}
    generated = features(samples[:200], 200)
    reference = features(labelled.held_out.x, 200)
    expected = frechet_distance(generated, reference)
    assert scores["frechet"].value == pytest.approx(expected, rel=1e-9)
    usual = value_of("frechet", samples, labelled, features)
    assert usual == scores["frechet"].value, "n is the held-out size by default"


def test_the_rows_that_are_compared_depend_on_the_seed_alone(labelled, features):
    samples = GaussianBaseline.fit(labelled).sample(250)

    def redrawn(seed):
        return value_of("frechet", samples, labelled, features, n=60, redraw_seed=seed)

    assert redrawn(0) != redrawn(1)
    assert redrawn(1) == redrawn(1)


def test_memorising_is_seen_and_the_floor_is_clean(labelled, features):
    copies = labelled.train.x[:200]
    assert value_of("near_copies", copies, labelled, features) == 1
    distance = value_of("frechet", labelled.held_out.x, labelled, features)
    assert distance == pytest.approx(0, abs=1e-9)
    floor = real_data_scores(labelled, features, redraws=3, cache=False)
    assert floor["near_copies"].value == 0, (
        "the generated examples of a floor are no part of its training set"
    )


def test_floors_are_reproducible_cached_and_made_anew_when_damaged(
    labelled, features, tmp_path, monkeypatch
):
    def floors(cache=tmp_path, n=150, redraws=2, **options):
        return real_data_scores(labelled, features, n=n, redraws=redraws, cache=cache, **options)

    first = floors()
    assert first == floors(cache=False)
    (path,) = (tmp_path / "real_data_scores").iterdir()
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("pushforward.evaluation.scores._score_redraws", None)
        assert floors() == first
        for other in ({"n": 149}, {"redraws": 3}, {"metrics": ["kid"]}):
            with pytest.raises(TypeError):
                floors(**other)
    for damaged in (content[:60], b"{}", content.replace(b"0", b"1")):
        path.write_bytes(damaged)
        assert floors() == first
        assert path.read_bytes() == content


def test_a_floor_is_the_mean_and_spread_of_scores_of_training_rows(labelled, features):
    metrics = ["frechet", "coverage"]
    scores = real_data_scores(labelled, features, redraws=6, metrics=metrics, cache=False)
    floor = scores["frechet"]
    values = np.array(floor.values)
    assert len(set(values)) == 6
    assert floor.value == pytest.approx(values.mean())
    corrected = values.std(ddof=1) / np.sqrt(1 - 200 / 500)
    assert floor.spread == pytest.approx(corrected), "200 of 500 rows overlap"
    reference = features(labelled.held_out.x, 200)
    rows = features(labelled.train.x[features.halves.drawn], 200)
    draws = []
    for seed in range(50, 90):
        drawn = rows[random(seed).permutation(500)[:200]]
        draws.append(frechet_distance(drawn, reference))
    assert values.mean() == pytest.approx(np.mean(draws), abs=3 * np.std(draws))
    worse = GaussianBaseline.fit(labelled.without_labels()).sample(200)
    assert value_of("frechet", worse, labelled, features) > floor.value + 3 * floor.spread


def test_how_many_rows_are_compared(labelled):
    assert sample_count(labelled) == 200
    assert sample_count(labelled, 77) == 77
    for wrong in (1, 201):
        with pytest.raises(UsageError, match="between 2 and 200"):
            sample_count(labelled, wrong)
    single = Split(labelled.held_out.x[:1])
    with pytest.raises(DataError, match="1 held-out"):
        sample_count(dataclasses.replace(labelled, held_out=single))


TWO_MODES = Truth(np.zeros((2, 12)), 1.0, np.ones(2) / 2)


def test_how_many_rows_are_compared_where_few_are_trained_on(labelled):
    """Floors are drawn from half of 45 rows, so that redraws differ; toys have no features to
    fit.
    """
    train = Split(labelled.train.x[:90])
    few = dataclasses.replace(labelled, train=train)
    assert sample_count(few) == 23
    assert sample_count(few, 44) == 44
    with pytest.raises(UsageError, match=r"between 2 and 44, .*45 training examples"):
        sample_count(few, 45)
    toy = dataclasses.replace(few, truth=TWO_MODES)
    assert sample_count(toy) == 45


def test_samples_that_are_not_finite_are_counted(labelled, features):
    spoiled = labelled.train.x[:200].copy()
    spoiled[5:8, 3] = np.inf
    with pytest.raises(Diverged, match="3 of 200"):
        score(spoiled, labelled, features)


def test_a_ratio_needs_a_floor_that_is_not_zero():
    assert ratio(3.0, Score(2.0, 0.1)) == 1.5
    assert ratio(3.0, Score(-1e-4, 2e-3)) is None
    assert ratio(1.0, Score(0.0, 0.0)) is None


def with_changed_rows(data, rows):
    """The data with other values in some training rows; the hashes, by which halves are chosen,
    stay.
    """
    changed = data.train.x.copy()
    changed[rows] += 1
    train = Split(changed, data.train.labels, data.train.hashes)
    return dataclasses.replace(data, train=train)


def test_floors_come_from_rows_on_which_nothing_was_fitted(labelled, features):
    rows = features.halves
    assert not np.intersect1d(rows.fitted, rows.drawn).size
    other = with_changed_rows(labelled, rows.drawn)
    x = labelled.held_out.x
    refitted = fit_features(other, cache=False)
    np.testing.assert_array_equal(features(x, 200), refitted(x, 200))
    other = with_changed_rows(labelled, rows.fitted)
    how = {"metrics": ["frechet", "manifold"], "redraws": 3, "cache": False}
    assert real_data_scores(labelled, features, **how) == real_data_scores(other, features, **how)


def test_each_example_is_in_one_half_but_in_both_for_raw_features():
    x, labels = vectors(700, classes=2)
    rows = halves(dataset(x, labels))
    assert sorted([*rows.fitted, *rows.drawn]) == list(range(500))
    assert len(rows.fitted) == 250
    both = halves(dataset(x, labels, truth=TWO_MODES))
    assert len(both.fitted) == 500
    assert len(both.drawn) == 500


def difference(halves):
    return abs(len(halves.drawn) - len(halves.fitted))


def test_copies_of_a_row_are_in_one_half():
    """Of a doubled file, half of the floor's rows would else have a twin on which the classifier
    was trained.
    """
    x, labels = vectors(700)
    data = dataset(np.repeat(x, 2, axis=0), np.repeat(labels, 2), held_out=400)
    train = data.train
    rows = halves(data)
    drawn = set(train.hashes[rows.drawn])
    assert drawn.isdisjoint(train.hashes[rows.fitted])
    assert difference(rows) <= 4
    order = random(0).permutation(len(train))
    shuffled = dataclasses.replace(data, train=train.take(order))
    assert set(shuffled.train.hashes[halves(shuffled).drawn]) == drawn
    constant = dataset(np.ones((50, 8), np.float32))
    assert difference(halves(constant)) <= 1


def test_near_copies_of_the_floor_are_counted_among_all_other_training_rows(monkeypatch):
    """Half of the rows have a twin; a redraw of 200 of 800 rows would take every fourth
    twin away.
    """
    r = random(8)
    x = r.standard_normal((1000, 12)).astype(np.float32)
    twins = 200 + r.permutation(800)[:400]
    x[twins[:200]] = x[twins[200:]] + 1e-3
    data = dataset(x)
    monkeypatch.setattr("pushforward.data.spaces.space.REDRAWS", 20)
    fitted = fit_features(data, cache=False)
    scores = real_data_scores(data, fitted, n=200, metrics=["near_copies"], cache=False)
    share = np.isin(200 + halves(data).drawn, twins).mean()
    assert scores["near_copies"].value == pytest.approx(share, abs=0.03)


def test_equal_scores_deviate_by_nothing():
    assert np.std([0.97] * 3, ddof=1) > 0, "or this test proves nothing"
    assert deviation([0.97] * 3) == 0
    assert deviation([1.0, 2.0, 4.0]) == pytest.approx(1.5275252)
    assert np.isnan(deviation([1.0, float("nan")]))
    assert np.isnan(deviation([float("nan")] * 2))
