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
from pushforward.evaluation.scores import compared, real_data_scores, score
from pushforward.metrics import Score
from pushforward.metrics.two_sample import frechet_distance


@pytest.fixture
def labelled():
    return dataset(*vectors())


@pytest.fixture(scope="module")
def of_labelled():
    return fit_features(dataset(*vectors()), cache=False)


def test_a_score_compares_equally_many_rows_and_uses_the_first_ones(labelled, of_labelled):
    features = of_labelled
    samples = GaussianBaseline.fit(labelled).sample(250)
    scores = score(samples, labelled, features, n=200, metrics=["frechet"])
    assert set(scores) == {"frechet"}
    wanted = frechet_distance(features(samples[:200], 200), features(labelled.held_out.x, 200))
    assert scores["frechet"].value == pytest.approx(wanted, rel=1e-9)
    actual = score(samples, labelled, features)["frechet"].value
    assert actual == scores["frechet"].value, "n is the held-out size by default"
    first, second = (
        score(samples, labelled, features, n=60, redraw_seed=s)["frechet"].value for s in (0, 1)
    )
    assert first != second
    actual = score(samples, labelled, features, n=60, redraw_seed=1)["frechet"].value
    assert actual == second


def test_memorising_is_seen_and_the_floor_is_clean(labelled, of_labelled):
    features = of_labelled
    actual = score(labelled.train.x[:200], labelled, features)["near_copies"].value
    assert actual == 1
    actual = score(labelled.held_out.x, labelled, features)["frechet"].value
    assert actual == pytest.approx(0, abs=1e-9)
    real_data_score = real_data_scores(labelled, features, redraws=3, cache=False)
    assert real_data_score["near_copies"].value == 0, (
        "the generated examples of a floor are no part of its training set"
    )


def test_floors_are_reproducible_cached_and_made_anew_when_damaged(
    labelled, of_labelled, tmp_path, monkeypatch
):
    features = of_labelled
    first = real_data_scores(labelled, features, n=150, redraws=2, cache=tmp_path)
    assert first == real_data_scores(labelled, features, n=150, redraws=2, cache=False)
    (path,) = (tmp_path / "floors").iterdir()
    content = path.read_bytes()
    import pushforward.evaluation.scores as scoring

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_redrawn", None)
        assert real_data_scores(labelled, features, n=150, redraws=2, cache=tmp_path) == first
        for other in (
            {"n": 149, "redraws": 2},
            {"n": 150, "redraws": 3},
            {"n": 150, "redraws": 2, "metrics": ["kid"]},
        ):
            with pytest.raises(TypeError):
                real_data_scores(labelled, features, cache=tmp_path, **other)
    for damaged in (content[:60], b"{}", content.replace(b"0", b"1")):
        path.write_bytes(damaged)
        assert real_data_scores(labelled, features, n=150, redraws=2, cache=tmp_path) == first
        assert path.read_bytes() == content


def test_a_floor_is_the_mean_and_spread_of_scores_of_training_rows(labelled, of_labelled):
    features = of_labelled
    real_data_score = real_data_scores(
        labelled, features, redraws=6, metrics=["frechet", "coverage"], cache=False
    )
    values = np.array(real_data_score["frechet"].values)
    assert len(set(values)) == 6
    assert real_data_score["frechet"].value == pytest.approx(values.mean())
    assert real_data_score["frechet"].spread == pytest.approx(
        values.std(ddof=1) / np.sqrt(1 - 200 / 500)
    ), "200 of 500 rows overlap"
    reference = features(labelled.held_out.x, 200)
    rows = features(labelled.train.x[features.halves.drawn], 200)
    draws = [
        frechet_distance(rows[random(s + 50).permutation(500)[:200]], reference) for s in range(40)
    ]
    assert values.mean() == pytest.approx(np.mean(draws), abs=3 * np.std(draws))
    worse = GaussianBaseline.fit(labelled.without_labels()).sample(200)
    actual = score(worse, labelled, features)["frechet"].value
    assert actual > real_data_score["frechet"].value + 3 * real_data_score["frechet"].spread


def test_how_many_rows_are_compared(labelled, of_labelled):
    assert compared(labelled) == 200
    assert compared(labelled, 77) == 77
    train = Split(labelled.train.x[:90])
    few = dataclasses.replace(labelled, train=train)
    assert compared(few) == 23, (
        "floors are drawn from 45 rows: half of them, so that redraws differ"
    )
    assert compared(few, 44) == 44
    with pytest.raises(UsageError, match=r"between 2 and 44, .*45 training examples"):
        compared(few, 45)
    truth = Truth(np.zeros((2, 12)), 1.0, np.ones(2) / 2)
    toy = dataclasses.replace(few, truth=truth)
    assert compared(toy) == 45, "toys have no features to fit"
    for wrong in (1, 201):
        with pytest.raises(UsageError, match="between 2 and 200"):
            compared(labelled, wrong)
    with pytest.raises(DataError, match="1 held-out"):
        compared(dataclasses.replace(labelled, held_out=Split(labelled.held_out.x[:1])))
    spoiled = labelled.train.x[:200].copy()
    spoiled[5:8, 3] = np.inf
    with pytest.raises(Diverged, match="3 of 200"):
        score(spoiled, labelled, of_labelled)


def test_a_ratio_needs_a_floor_that_is_not_zero():
    assert ratio(3.0, Score(2.0, 0.1)) == 1.5
    assert ratio(3.0, Score(-1e-4, 2e-3)) is None
    assert ratio(1.0, Score(0.0, 0.0)) is None


def test_floors_come_from_rows_on_which_nothing_was_fitted(labelled, of_labelled):
    features = of_labelled
    assert not np.intersect1d(features.halves.fitted, features.halves.drawn).size
    changed = labelled.train.x.copy()
    changed[features.halves.drawn] += 1
    hashes = labelled.train.hashes  # by which the halves are chosen, and which stay as they are
    train = Split(changed, labelled.train.labels, hashes)
    other = dataclasses.replace(labelled, train=train)
    x = labelled.held_out.x
    expected = fit_features(other, cache=False)(x, 200)
    np.testing.assert_array_equal(features(x, 200), expected)
    changed = labelled.train.x.copy()
    changed[features.halves.fitted] += 1
    train = Split(changed, labelled.train.labels, hashes)
    other = dataclasses.replace(labelled, train=train)
    how = {"metrics": ["frechet", "manifold"], "redraws": 3, "cache": False}
    assert real_data_scores(labelled, features, **how) == real_data_scores(other, features, **how)


def test_each_example_is_in_one_half_but_in_both_for_raw_features():
    x, labels = vectors(700, classes=2)
    rows = halves(dataset(x, labels))
    names = sorted([*rows.fitted, *rows.drawn])
    assert names == list(range(500))
    assert len(rows.fitted) == 250
    truth = Truth(np.zeros((2, 12)), 1.0, np.ones(2) / 2)
    toy = dataset(x, labels, truth=truth)
    assert len(halves(toy).fitted) == len(halves(toy).drawn) == 500


def test_copies_of_a_row_are_in_one_half():
    """Of a doubled file, half of the floor's rows would else have a twin on which the classifier
    was trained.
    """
    x, labels = vectors(700)
    data = dataset(np.repeat(x, 2, axis=0), np.repeat(labels, 2), held_out=400)
    rows = halves(data)
    assert not np.isin(data.train.hashes[rows.drawn], data.train.hashes[rows.fitted]).any()
    difference = abs(len(rows.drawn) - len(rows.fitted))
    assert difference <= 4
    train = data.train.take(random(0).permutation(len(data.train)))
    shuffled = dataclasses.replace(data, train=train)
    hashes = set(shuffled.train.hashes[halves(shuffled).drawn])
    expected = set(data.train.hashes[rows.drawn])
    assert hashes == expected
    constant = halves(dataset(np.ones((50, 8), np.float32)))
    difference = abs(len(constant.drawn) - len(constant.fitted))
    assert difference <= 1


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
    real_data_score = real_data_scores(
        data, fit_features(data, cache=False), n=200, metrics=["near_copies"], cache=False
    )["near_copies"]
    assert real_data_score.value == pytest.approx(
        np.isin(200 + halves(data).drawn, twins).mean(), abs=0.03
    )


def test_equal_scores_deviate_by_nothing():
    assert np.std([0.97] * 3, ddof=1) > 0, "or this test proves nothing"
    assert deviation([0.97] * 3) == 0
    assert deviation([1.0, 2.0, 4.0]) == pytest.approx(1.5275252)
    assert np.isnan(deviation([1.0, float("nan")]))
    assert np.isnan(deviation([float("nan")] * 2))
