"""Memorisation by neighbours, class histograms, and what a classifier learns from samples alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from programs.rows import random

import pushforward as pf
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.model_metrics import ask_model, classification_accuracy, real_accuracy
from pushforward.evaluation.scores import floors, score
from pushforward.metrics.classes import Classes
from pushforward.metrics.copying import Copying, cell_tests, copying
from pushforward.metrics.memorisation import Memorisation, near_copies, nearest_distance
from pushforward.metrics.table import variation
from pushforward.testing.metrics import samples_of as samples
from pushforward.testing.metrics import values_of as values

# --- memorisation ---


def test_authenticity_of_new_data_on_a_line_is_a_third():
    # around a new point at distance D ~ Exp(2) from its nearest example t, the other side of t is free of them for Exp(1) < D
    training, generated = random(200).uniform(size=(5000, 1)), random(201).uniform(size=(5000, 1))
    assert copying(generated, generated, training)["authenticity"].value == pytest.approx(1 / 3, abs=0.03)


def test_the_copying_test_is_the_mann_whitney_score_in_each_cell():
    from scipy.stats import mannwhitneyu

    x, y = random(202).standard_normal(60), random(203).standard_normal(90) + 0.4
    of_x, of_y = np.arange(60) % 2, np.arange(90) % 3  # of the third cell x has nothing
    z, weights, *_ = zip(*cell_tests(x, y, of_x, of_y), strict=True)
    assert weights == (30, 30)
    for cell in range(2):
        test = mannwhitneyu(x[of_x == cell], y[of_y == cell], alternative="less", use_continuity=False, method="asymptotic")
        from scipy.stats import norm

        assert z[cell] == pytest.approx(norm.ppf(test.pvalue), rel=1e-9)


def test_copies_samples_that_saw_held_out_examples_and_blur_are_told_apart():
    rows = random(204).standard_normal((2400, 8))
    training, held_out, fresh = rows[:1200], rows[1200:1800], rows[1800:]
    noise = 0.3 * random(205).standard_normal((600, 8))
    scores = {
        name: {key: score.value for key, score in values(Copying(), part, held_out, training).items()}
        for name, part in {
            "new": fresh,
            "copies": training[:600] + noise,
            "of held out": held_out + noise,
            "alike": 0.5 * fresh,
        }.items()
    }
    assert abs(scores["new"]["copying_test"]) < 3
    assert scores["new"]["held_out_ratio"] == pytest.approx(1, abs=4 * np.sqrt(2 / 600))
    assert scores["copies"]["copying_test"] < -10
    assert scores["copies"]["held_out_ratio"] < 0.2
    assert scores["copies"]["authenticity"] < scores["new"]["authenticity"] / 2
    assert scores["of held out"]["held_out_ratio"] > 2.5
    assert scores["alike"]["copying_test"] < -3
    assert scores["alike"]["held_out_ratio"] > 0.7, "samples that are too alike are as near to held-out examples as to others"


# --- class histogram ---


def test_the_class_distance_of_a_lost_class_is_its_share():
    real = np.repeat(np.arange(4), [10, 20, 30, 40])
    lost = real[real != 2]
    assert variation(lost, real, 4)[0] == pytest.approx(0.3)
    assert variation(real, real, 4)[0] == 0


def test_the_score_holds_the_share_of_each_class():
    x = random(209).standard_normal((100, 2))
    of_samples, of_data = np.repeat(np.arange(2), 50), np.repeat(np.arange(4), 25)
    given = samples(x, x, generated_classes=of_samples, reference_classes=of_data, classes=4)
    result = Classes()(given)["class_distance"]
    assert result.value == 0.5
    assert result.extra == {"share": (0.5, 0.5, 0, 0), "real": (0.25,) * 4}
    assert not Classes().applies(samples(x, x))


@pytest.fixture(scope="module")
def digits():
    return pf.data.load("digits")


def test_a_missing_class_is_read_from_images(digits):
    features = fit_features(digits)
    x, labels = digits.train.x, digits.train.labels
    whole, without = x[:300], x[labels != 7][:300]
    wanted = ["class_distance"]
    full, lost = (score(part, digits, features, n=300, metrics=wanted)["class_distance"] for part in (whole, without))
    floor = floors(digits, features, n=300, metrics=wanted, redraws=4, cache=False)["class_distance"]
    assert full.value < floor.value + 4 * floor.spread
    assert lost.value > floor.value + 0.03
    assert lost.extra["share"][7] < 0.02 < 0.05 < lost.extra["real"][7]


# --- classification accuracy score ---


def few(data, n, at=0):
    return dataclasses.replace(data, train=data.train.take(slice(at, at + n)), held_out=data.held_out.take(slice(100)))


def test_real_examples_as_samples_have_the_accuracy_of_real_examples(digits):
    data = few(digits, 200)
    real = real_accuracy(data, 200)
    again = classification_accuracy(data.train.data_units(), data.train.labels, data)
    assert again > 0.6
    assert again == pytest.approx(real, abs=0.1), "the same examples in another order"
    shuffled = random(210).permutation(data.train.labels)
    assert classification_accuracy(data.train.data_units(), shuffled, data) < 0.35


def test_a_model_is_scored_beside_real_examples(digits):
    data = few(digits, 120)
    model = pf.recipes.flow(data.space, "tiny").method.transport()
    comparison = ask_model(model, data, ["cas"], 30, (0, 64))
    result = comparison.models[0].scores["cas"]
    assert 0 <= result.value < 0.5, "it is not trained"
    assert comparison.floors["cas"].value == result.extra["real"] == real_accuracy(data, 30)
    assert result.n == 30


# --- near-copies ---


@pytest.mark.parametrize("d", [10, 200])
def test_planted_copies_are_found_and_new_rows_are_not(d):
    r = random(11)
    scale = r.uniform(0.5, 20, d)
    rows = r.standard_normal((5000, d)) * scale
    training, held_out, fresh = rows[:3000], rows[3000:3900], rows[3900:4900]
    generated = fresh.copy()
    generated[:50] = training[100:150] + 0.02 * scale * r.standard_normal((50, d))
    score = values(Memorisation(), generated, held_out, training, scale=scale.astype(np.float32))["near_copies"]
    assert score.value == pytest.approx(0.05, abs=0.002)
    clean = values(Memorisation(), held_out, held_out, training, scale=scale.astype(np.float32))["near_copies"]
    assert clean.value < 0.003
    copies, threshold = near_copies(*(x.astype(np.float32) for x in (generated, training, held_out)), scale)
    assert copies[:50].all()
    assert not copies[50:].any()
    whole = ((held_out[:500, None] / scale - training[None, :500] / scale) ** 2).sum(-1)
    assert threshold < np.sqrt(whole.min(1)).mean()


def test_literal_copies_are_near_copies_where_real_data_consists_of_copies_and_there_is_no_score():
    """More than half of the held-out examples equal training examples: the threshold is 0, and tells nothing about a model."""
    r = random(28)
    for d in (3, 200):  # found by a search tree, and by a projection
        training = r.standard_normal((500, d)).astype(np.float32)
        held_out = np.concatenate([training[:120], r.standard_normal((80, d)).astype(np.float32)])
        generated = np.concatenate([training[200:260], r.standard_normal((40, d)).astype(np.float32)])
        copies, threshold = near_copies(generated, training, held_out)
        assert threshold == 0
        assert copies.tolist() == [True] * 60 + [False] * 40
        assert Memorisation()(samples(generated, held_out, training)) == {}


def test_nearest_distance_is_the_double_loop_and_a_copy_is_at_exactly_zero():
    r = random(12)
    x, y = r.integers(0, 256, (37, 90), dtype=np.uint8), r.integers(0, 256, (2200, 90), dtype=np.uint8)
    x[5] = y[1234]
    wanted = np.sqrt((((x[:, None] / 255 - y[None] / 255) / 0.25) ** 2).sum(-1)).min(1)
    distances = nearest_distance(x, y, np.full(90, 0.25))
    np.testing.assert_allclose(distances, wanted, rtol=1e-5, atol=1e-12)
    assert distances[5] == 0
    as_float = nearest_distance(x.astype(np.float32) / 255, y.astype(np.float32) / 255, np.full(90, 0.25))
    np.testing.assert_allclose(as_float, wanted, rtol=1e-5, atol=1e-6)
