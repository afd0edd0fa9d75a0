"""Intervals of distances that have no derivative at 0: W2, sliced W2, total variation; and of the KL of modes."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from programs.rows import random

from pushforward.evaluation.intervals import combined, with_interval
from pushforward.metrics import Samples, Score, describe
from pushforward.metrics.growth import Growth, divergence_growth, divisions, mean_growth, score_interval
from pushforward.metrics.modes import Classes, Modes, Stacked
from pushforward.metrics.transport import Wasserstein

CENTRES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 0.0]])
METRICS = {"w2": Wasserstein, "sliced_w2": Wasserstein, "class_distance": Classes, "mode_kl": Modes}


def points(n, draw, weights=None):
    mode = draw.choice(len(CENTRES), n, p=weights)
    return CENTRES[mode] + 0.1 * draw.standard_normal((n, 2)), mode


def scored(name, seed, samplings=1, weights=None, n=60):
    """A score of new samples of the modes against new real points, which have even modes; with its interval."""
    draw, truth = random([seed, 11]), SimpleNamespace(centres=CENTRES, std=0.1, weights=np.full(5, 0.2))
    real, classes = points(n, draw)
    scores = []
    for _ in range(samplings):
        x, read = points(n, draw, weights)
        labels = {"generated_classes": read, "reference_classes": classes, "classes": 5}
        scores.append(METRICS[name]()(Samples(x, real, real, x, real, (2,), truth=truth, **labels))[name])
    return combined(scores, n, None, describe()[name])


@pytest.mark.parametrize(("name", "samplings"), [*product(METRICS, [1]), ("class_distance", 3), ("mode_kl", 3)])
def test_intervals_of_perfect_models_reach_down_as_far_as_scores_vary(name, samplings):
    """An error that is taken at the measured value reaches 1.7 times as far."""
    scores = [scored(name, seed, samplings, n=40) for seed in range((50 if "w2" in name else 80) // samplings)]
    values = np.array([score.value for score in scores])
    held = np.mean([score.interval[0] <= values.mean() <= score.interval[1] for score in scores])
    assert held >= 0.88
    assert all(score.growth for score in scores)
    below = np.mean([score.value - score.interval[0] for score in scores if score.interval[0] > 0])
    assert below == pytest.approx(1.96 * values.std(ddof=1), rel=0.3)


@pytest.mark.parametrize(("value", "samplings", "slope"), product([0.1, 0.3, 0.45, 0.7, 2.0], [1, 3], [0.04, 0.005]))
def test_the_interval_of_a_norm_holds_the_means_that_are_not_refused(value, samplings, slope):
    growth = Growth(0.1, 0.06, slope, slope / 4, null_mean=0.3, is_norm=1.0)
    means = np.linspace(-1, 4, 100_001)
    null_variance = growth.null_reference_error**2 + (growth.null_error**2 - growth.null_reference_error**2) / samplings
    limit = growth.reference_slope + (growth.slope - growth.reference_slope) / samplings
    variance = limit - (limit - null_variance) * (growth.null_mean / np.maximum(means, growth.null_mean)) ** 2
    accepted = means[np.abs(value - means) <= 1.96 * np.sqrt(variance)]
    assert score_interval(value, growth, samplings, 1.96) == pytest.approx((accepted[0], accepted[-1]), abs=2e-4)


def test_a_norm_stays_one_in_the_mean_over_samplings():
    parts = [Growth(0.1, 0.05, 0.02, 0.01, 0.3, 1.0), Growth(0.2, 0.1, 0.04, 0.02, 0.5, 1.0)]
    mean = mean_growth(parts)
    assert mean == pytest.approx((np.sqrt(0.025), np.sqrt(0.00625), 0.03, 0.015, 0.4, 1.0))
    scores = [Score(value, error=0.2, reference_error=0.1, growth=part) for value, part in zip((0.4, 0.5), parts, strict=True)]
    assert combined(scores, 9, None).interval == score_interval(0.45, mean, 2, 1.96)
    assert with_interval(Score(0.4, growth=(0.1, 0.05, 0.02, 0.01, 0.3))).interval != with_interval(scores[0]).interval


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 5), (8, 4), (3, 9)])
def test_divisions_take_from_either_side_in_proportion(n, m):
    parts = list(divisions(n, m, 5))
    for first, second in parts:
        assert (len(first), len(second)) == (n, m)
        assert sorted([*first, *second]) == list(range(n + m))
        assert abs((first < n).sum() - n * n / (n + m)) <= 0.5
        assert abs((second < n).sum() - n * m / (n + m)) <= 0.5
    assert len({tuple(sorted(first)) for first, _ in parts}) > 1
    assert [first.tolist() for first, _ in divisions(n, m, 5)] == [first.tolist() for first, _ in parts]


def test_scores_of_modes_have_their_growth():
    truth = SimpleNamespace(centres=CENTRES, std=0.1, weights=None)
    far, near = np.full((9, 2), 99.0), points(9, random(2))[0]
    assert Modes()(Samples(far, near, near, far, near, (2,), truth=truth))["mode_kl"].growth == ()
    read = SimpleNamespace(modes=7, read=lambda x: np.arange(9) % 7)
    stacked = Stacked()(Samples(near, near, near, near, near, (2,), truth=read))["stacked_kl"]
    assert stacked.growth == divergence_growth(np.bincount(np.arange(9) % 7), np.full(7, 1 / 7))


def test_no_interval_of_a_total_variation_leaves_its_range():
    read = Samples(
        *[np.zeros((20, 2))] * 5, (2,), generated_classes=np.zeros(20, int), reference_classes=np.arange(20) % 10, classes=10
    )
    score = combined([Classes()(read)["class_distance"]], 20, None, describe()["class_distance"])
    assert score.value == pytest.approx(0.9)
    assert 0.5 < score.interval[0] < 0.9 < score.interval[1] <= 1


def test_a_growth_without_numbers_is_left_out():
    score = combined([Score(0.2, growth=(None, 0.0, None, 0.0, 0.1, 1.0))], 20, None, describe()["class_distance"])
    assert score.interval is None
