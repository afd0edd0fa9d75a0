"""Intervals stay within the range of their score and hold the true value, also near 0; merged
p-values are p-values.
"""

from __future__ import annotations

import math
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from programs.rows import random
from scipy import stats

from pushforward.conditions import Label
from pushforward.data import Dataset, VectorSpace
from pushforward.data.core.dataset import Split
from pushforward.evaluation.intervals import (
    above,
    combined,
    of_share,
    over_trainings,
    with_interval,
)
from pushforward.evaluation.model_metrics import accuracy_errors
from pushforward.metrics import Samples, Score, describe
from pushforward.metrics.growth import (
    VarianceModel,
    divergence_growth,
    divisions,
    growth_of,
    mean_growth,
    norm_growth,
    score_interval,
)
from pushforward.metrics.manifold import Manifold, recall_errors
from pushforward.metrics.memorisation import Copying, Memorisation, _Reached, ratio_errors
from pushforward.metrics.modes import Classes, Modes, Stacked
from pushforward.metrics.subsets import left_out
from pushforward.metrics.transport import Sinkhorn, Wasserstein
from pushforward.metrics.uncertainty import share_error

SHARES = (
    "precision",
    "recall",
    "coverage",
    "authenticity",
    "near_copies",
    "high_quality",
    "bridges",
    "neighbour_test",
)
POSITIVE = (
    "density",
    "frechet",
    "w2",
    "sliced_w2",
    "sinkhorn",
    "spread",
    "sharpness",
    "mode_kl",
    "held_out_ratio",
)


@pytest.mark.parametrize(("count", "n"), [(0, 50), (3, 50), (25, 50), (50, 50), (999, 1000)])
def test_the_interval_of_a_share_of_independent_examples_is_wilsons(count, n):
    known = stats.binomtest(count, n).proportion_ci(method="wilson")
    actual = of_share(count / n, share_error(count, n))
    assert actual == pytest.approx((known.low, known.high), abs=1e-4)


def test_wilsons_interval_holds_the_true_share_in_95_percent_where_a_symmetric_one_does_not():
    counts = np.arange(201)
    true = 0.98
    weights = stats.binom.pmf(counts, 200, true)
    held = [
        low <= true <= high
        for low, high in (of_share(k / 200, share_error(k, 200)) for k in counts)
    ]
    assert 0.93 < weights @ held < 0.98
    largest = max(k / 200 + 1.96 * share_error(k, 200) for k in counts)
    assert largest > 1


@pytest.mark.parametrize(
    ("value", "error"), product([0.0, 0.01, 0.5, 0.97, 1.0], [0.0, 1e-3, 0.05, 0.3, 5.0])
)
def test_no_interval_leaves_the_range_of_its_score(value, error):
    low, high = of_share(value, error)
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
    mirrored = of_share(1 - value, error)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)
    low, high = above(value, error)
    assert 0 <= low <= value <= high


def test_an_interval_above_0_is_symmetric_in_the_root_and_the_usual_one_where_it_is_narrow():
    low, high = above(4.0, 1.0)
    assert (math.sqrt(low) + math.sqrt(high)) / 2 == pytest.approx(2)
    assert above(1.0, 1e-3) == pytest.approx((1 - 1.96e-3, 1 + 1.96e-3), abs=1e-5)
    assert above(0.0, 0.5) == (0.0, pytest.approx(0.98))


@pytest.mark.parametrize(("value", "samplings"), product([-0.5, 0.0, 0.15, 0.4, 3.0], [1, 3]))
def test_the_interval_of_a_distance_holds_the_means_that_are_not_refused(value, samplings):
    growth = VarianceModel(0.2, 0.1, 0.05, 0.02, null_mean=0.1)
    means = np.linspace(-2, 6, 80_001)
    variance = (
        growth.null_reference_error**2
        + (growth.null_error**2 - growth.null_reference_error**2) / samplings
    )
    slope = growth.reference_slope + (growth.slope - growth.reference_slope) / samplings
    accepted = means[
        np.abs(value - means)
        <= 1.96 * np.sqrt(variance + slope * np.maximum(means - growth.null_mean, 0))
    ]
    actual = score_interval(value, growth, samplings, 1.96)
    assert actual == pytest.approx((accepted[0], accepted[-1]), abs=2e-4)


@pytest.mark.parametrize("name", [*SHARES, *POSITIVE])
def test_scores_declare_their_range_and_their_intervals_keep_to_it(name):
    info = describe()[name]
    most = 1.0 if name in SHARES else None
    assert (info.least, info.most) == (0.0, most)
    near = [0.98, 1.0, 1.0] if most else [0.02, 0.0, 0.01]
    own = [Score(value, error=0.1, reference_error=0.05) for value in near]
    for score in (
        combined(own, 50, None, info),
        over_trainings(combined(own, 50, None, info), info),
    ):
        assert 0 <= score.interval[0] < score.value < score.interval[1] <= (most or math.inf)


def test_an_interval_is_that_of_a_share_and_of_a_distance_that_is_none_below_0():
    info = describe()
    (low, high) = of_share(0.7, 0.1)
    interval = with_interval(Score(0.7, error=0.1), info["precision"]).interval
    assert interval == (low, high)
    near = Score(0.01, growth=(0.2, 0.1, 0.05, 0.02, 0.1))
    assert with_interval(near).interval[0] < 0 == with_interval(near, info["w2"]).interval[0]


def drawn(metric, seed):
    draw = random(seed)
    real = draw.standard_normal((120, 2))
    generated = 0.3 + 1.1 * draw.standard_normal((120, 2))
    training = random(10**6).standard_normal((240, 2))
    classes = [np.digitize(x[:, 0], [-0.5, 0.5]) for x in (generated, real)]
    x, y, known = (part.astype(np.float32) for part in (generated, real, training))
    return metric(Samples(x, y, known, generated, real, (2,), None, None, *classes, classes=3))


@pytest.mark.parametrize(
    "metric",
    [Copying(), Manifold(), Sinkhorn(), Classes(), Memorisation()],
    ids=lambda m: type(m).__name__,
)
def test_errors_are_what_new_examples_vary_by(metric):
    repeats = [drawn(metric, seed) for seed in range(40)]
    for name in set(repeats[0]) - {
        "precision",
        "recall",
        "coverage",
    }:  # widened: of few blocks, or near 1
        spread = np.std([repeat[name].value for repeat in repeats], ddof=1)
        stated = np.sqrt(np.mean([repeat[name].error ** 2 for repeat in repeats]))
        assert stated == pytest.approx(spread, rel=0.4), name
        assert all(0 <= repeat[name].reference_error <= repeat[name].error for repeat in repeats)


def test_the_error_of_an_accuracy_is_that_of_a_fraction_and_of_training_on_parts():
    conditions = {"label": Label(("a", "b"), (0.5, 0.5))}
    space = VectorSpace((2,), (0.0, 0.0), (1.0, 1.0), conditions=conditions)
    draw = random(5)
    labels = np.arange(100) % 2
    x = (np.where(labels[:, None] == 0, -2, 2) + draw.standard_normal((100, 2))).astype(np.float32)
    data = Dataset("points", space, Split(x, labels), Split(x, labels))
    error, shared = accuracy_errors(0.9, x, labels, data)
    assert shared == pytest.approx(share_error(90, 100))
    assert shared <= error < 1.02 * shared, (
        "whichever samples teach, the two classes are told apart"
    )
    wrong = np.where(draw.random(100) < 0.45, 1 - labels, labels)
    actual = accuracy_errors(0.9, x, wrong, data)[0]
    assert actual > 1.5 * shared, "nearly half of the labels are wrong: each part teaches another"
    actual = accuracy_errors(0.9, x[:49], labels[:49], data)
    assert actual is None


CENTRES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 0.0]])
METRICS = {"w2": Wasserstein, "sliced_w2": Wasserstein, "class_distance": Classes, "mode_kl": Modes}


def points(n, draw, weights=None):
    mode = draw.choice(len(CENTRES), n, p=weights)
    return CENTRES[mode] + 0.1 * draw.standard_normal((n, 2)), mode


def scored(name, seed, samplings=1, weights=None, n=60):
    """A score of new samples of the modes against new real points, which have even modes; with its
    interval.
    """
    draw = random([seed, 11])
    truth = SimpleNamespace(centres=CENTRES, std=0.1, weights=np.full(5, 0.2))
    real, classes = points(n, draw)
    scores = []
    for _ in range(samplings):
        x, read = points(n, draw, weights)
        labels = {"generated_classes": read, "reference_classes": classes, "classes": 5}
        scores.append(
            METRICS[name]()(Samples(x, real, real, x, real, (2,), truth=truth, **labels))[name]
        )
    return combined(scores, n, None, describe()[name])


@pytest.mark.parametrize(
    ("name", "samplings"), [*product(METRICS, [1]), ("class_distance", 3), ("mode_kl", 3)]
)
def test_intervals_of_perfect_models_reach_down_as_far_as_scores_vary(name, samplings):
    """An error that is taken at the measured value reaches 1.7 times as far."""
    scores = [
        scored(name, seed, samplings, n=40)
        for seed in range((50 if "w2" in name else 80) // samplings)
    ]
    values = np.array([score.value for score in scores])
    held = np.mean([score.interval[0] <= values.mean() <= score.interval[1] for score in scores])
    assert held >= 0.88
    assert all(score.growth for score in scores)
    below = np.mean([score.value - score.interval[0] for score in scores if score.interval[0] > 0])
    assert below == pytest.approx(1.96 * values.std(ddof=1), rel=0.3)


@pytest.mark.parametrize(
    ("value", "samplings", "slope"), product([0.1, 0.3, 0.45, 0.7, 2.0], [1, 3], [0.04, 0.005])
)
def test_the_interval_of_a_norm_holds_the_means_that_are_not_refused(value, samplings, slope):
    growth = VarianceModel(0.1, 0.06, slope, slope / 4, null_mean=0.3, is_norm=1.0)
    means = np.linspace(-1, 4, 100_001)
    null_variance = (
        growth.null_reference_error**2
        + (growth.null_error**2 - growth.null_reference_error**2) / samplings
    )
    limit = growth.reference_slope + (growth.slope - growth.reference_slope) / samplings
    variance = (
        limit
        - (limit - null_variance) * (growth.null_mean / np.maximum(means, growth.null_mean)) ** 2
    )
    accepted = means[np.abs(value - means) <= 1.96 * np.sqrt(variance)]
    actual = score_interval(value, growth, samplings, 1.96)
    assert actual == pytest.approx((accepted[0], accepted[-1]), abs=2e-4)


def test_a_norm_stays_one_in_the_mean_over_samplings():
    parts = [
        VarianceModel(0.1, 0.05, 0.02, 0.01, 0.3, 1.0),
        VarianceModel(0.2, 0.1, 0.04, 0.02, 0.5, 1.0),
    ]
    mean = mean_growth(parts)
    assert mean == pytest.approx((np.sqrt(0.025), np.sqrt(0.00625), 0.03, 0.015, 0.4, 1.0))
    scores = [
        Score(value, error=0.2, reference_error=0.1, growth=part)
        for value, part in zip((0.4, 0.5), parts, strict=True)
    ]
    interval = combined(scores, 9, None).interval
    assert interval == score_interval(0.45, mean, 2, 1.96)
    interval = with_interval(Score(0.4, growth=(0.1, 0.05, 0.02, 0.01, 0.3))).interval
    assert interval != with_interval(scores[0]).interval


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 5), (8, 4), (3, 9)])
def test_divisions_take_from_either_side_in_proportion(n, m):
    parts = list(divisions(n, m, 5))
    for first, second in parts:
        assert (len(first), len(second)) == (n, m)
        names = sorted([*first, *second])
        assert names == list(range(n + m))
        difference = abs((first < n).sum() - n * n / (n + m))
        assert difference <= 0.5
        difference = abs((second < n).sum() - n * m / (n + m))
        assert difference <= 0.5
    count = len({tuple(sorted(first)) for first, _ in parts})
    assert count > 1
    assert [first.tolist() for first, _ in divisions(n, m, 5)] == [
        first.tolist() for first, _ in parts
    ]


def test_scores_of_modes_have_their_growth():
    truth = SimpleNamespace(centres=CENTRES, std=0.1, weights=None)
    far = np.full((9, 2), 99.0)
    near = points(9, random(2))[0]
    growth = Modes()(Samples(far, near, near, far, near, (2,), truth=truth))["mode_kl"].growth
    assert growth == ()
    read = SimpleNamespace(modes=7, read=lambda x: np.arange(9) % 7)
    stacked = Stacked()(Samples(near, near, near, near, near, (2,), truth=read))["stacked_kl"]
    assert stacked.growth == divergence_growth(np.bincount(np.arange(9) % 7), np.full(7, 1 / 7))


def test_no_interval_of_a_total_variation_leaves_its_range():
    reference_classes = np.arange(20) % 10
    read = Samples(
        *[np.zeros((20, 2))] * 5,
        (2,),
        generated_classes=np.zeros(20, int),
        reference_classes=reference_classes,
        classes=10,
    )
    score = combined([Classes()(read)["class_distance"]], 20, None, describe()["class_distance"])
    assert score.value == pytest.approx(0.9)
    assert 0.5 < score.interval[0] < 0.9 < score.interval[1] <= 1


def test_a_growth_without_numbers_is_left_out():
    score = combined(
        [Score(0.2, growth=(None, 0.0, None, 0.0, 0.1, 1.0))],
        20,
        None,
        describe()["class_distance"],
    )
    assert score.interval is None


def test_the_growth_of_a_squared_difference_of_means_is_the_closed_form():
    """Its terms are 2 d x, and without a difference it is a chi-squared number times 1/n + 1/m."""
    x, y = random(63).standard_normal((2, 50))
    d = 0.7
    y = y[:20]
    growth = growth_of(2 * d * x, -2 * d * y, 2.0, d**2, bias=0.1)
    of_x = 4 * x.var(ddof=1) / 50
    of_y = 4 * y.var(ddof=1) / 20
    assert growth == pytest.approx(
        (math.sqrt(2) * (1 / 50 + 1 / 20), math.sqrt(2) / 20, of_x + of_y, of_y, 0.1, 0)
    )
    assert growth_of(x, y, 2.0, 0.0).slope == 0


def test_the_growth_of_a_divergence_is_that_of_counts_also_where_modes_expect_few():
    counts = np.array([6, 3, 1] + [0] * 27)
    weights = np.full(30, 1 / 30)
    c = np.arange(1, 11)
    growth = divergence_growth(counts, weights)
    true = 30 * stats.binom.pmf(c, 10, 1 / 30) @ (c / 10 * np.log(3 * c))
    assert growth.null_mean == pytest.approx(true, rel=0.01), "of a chi-squared number: 1.45"
    share = counts[:3] / 10
    terms = np.log(3 * counts[:3])
    mean = share @ terms
    assert growth.slope == pytest.approx((share @ terms**2 - mean**2) / 10 / mean)
    slope = divergence_growth(np.array([5, 5]), np.array([0.5, 0.5])).slope
    assert slope == 0


@pytest.mark.parametrize("blocks", [1, 4])
def test_the_growth_of_a_norm_is_students_and_that_of_a_mean_of_blocks(blocks):
    distances = 1 + 0.1 * random(64).standard_normal(5)
    growth = norm_growth(distances, (0.3, 0.2), 30, 60, blocks)
    scale = distances.std(ddof=1) / math.sqrt(blocks)
    low, high = stats.t.interval(0.95, 4, scale=scale)
    assert growth == pytest.approx(
        ((high - low) / 2 / 1.96, growth.null_error / 3, 0.09, 0.04, distances.mean(), 1)
    )


def test_the_reference_part_of_a_recall_is_whole_where_samples_do_not_matter():
    """Samples at 0 recall the real points at 0 alone, whichever they are; a single one at 10
    recalls the others as well.
    """
    draw = random(65)
    real = draw.standard_normal((100, 2)) / 10
    x = draw.standard_normal((60, 2)) / 10
    real[50:] += 10
    actual = recall_errors(x, real, 0.5, 5)[1]
    assert actual == pytest.approx(share_error(50, 100), rel=0.1)
    x[0] += 10
    actual = recall_errors(x, real, 1.0, 5)[0]
    assert actual == pytest.approx(0.5 * 0.8, rel=0.3), "a fifth of the jackknife's parts lose it"


def reached(held_out, training):
    """Samples whose nearest held-out and training examples are as far as each other."""
    equal = np.ones(len(held_out), bool)
    return _Reached(np.asarray(held_out), np.asarray(training), equal, equal)


def test_the_error_of_held_out_neighbours_is_that_of_new_examples():
    numbers = np.arange(200)
    actual = ratio_errors(reached(numbers, numbers), 400, 400)[0]
    assert actual == pytest.approx(
        np.std([n / (n + 200) for n in random(66).binomial(400, 0.5, 4000)]), rel=0.05
    ), "each held-out example is reached by chance"
    draw = random(67)
    held_out = draw.integers(0, 60, 600)
    training = np.where(held_out < 20, draw.integers(0, 400, 600), 400 + held_out // 4)
    few = reached(held_out, training)
    cells = np.stack(few.by_cell(60))
    ratios = []
    for _ in range(2000):
        new, old = cells[:, draw.integers(0, 60, 60)].sum(1)
        ratios.append(new / (new + old))
    error, of_real = ratio_errors(few, 60, 500)
    assert error == pytest.approx(np.std(ratios), rel=0.15), (
        "what cells hold varies by more than chance"
    )
    assert error**2 - of_real**2 == pytest.approx(left_out(few.share, 600))
    many = reached(np.tile(held_out, 50), np.tile(training, 50))
    assert ratio_errors(many, 60, 500) == pytest.approx((error, error), rel=0.01), (
        "more such samples reach no others"
    )


def test_the_error_of_a_class_distance_is_that_of_two_shares():
    x = np.arange(40) % 4 == 0
    y = np.arange(60) % 2 == 0
    sides = dict(
        zip(("generated_classes", "reference_classes"), (x.astype(int), y.astype(int)), strict=True)
    )
    score = Classes()(Samples(*[np.zeros((40, 2))] * 5, (2,), **sides, classes=2))["class_distance"]
    of_x = 0.25 * 0.75 / 39
    of_y = 0.25 / 59
    assert (score.value, score.error, score.reference_error) == pytest.approx(
        (0.25, math.sqrt(of_x + of_y), math.sqrt(of_y))
    )
