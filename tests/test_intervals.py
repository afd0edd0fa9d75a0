"""Intervals stay within the range of their score and hold the true value, also near 0; merged
p-values are p-values.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from programs.rows import random
from programs.text_tables import read_cases
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

SHARES = [
    "precision",
    "recall",
    "coverage",
    "authenticity",
    "near_copies",
    "high_quality",
    "bridges",
    "neighbour_test",
]
POSITIVE = [
    "density",
    "frechet",
    "w2",
    "sliced_w2",
    "sinkhorn",
    "spread",
    "sharpness",
    "mode_kl",
    "held_out_ratio",
]


def share_interval(count, n):
    return of_share(count / n, share_error(count, n))


@pytest.mark.parametrize(("count", "n"), read_cases("0 | 50\n3 | 50\n25 | 50\n50 | 50\n999 | 1000"))
def test_the_interval_of_a_share_of_independent_examples_is_wilsons(count, n):
    known = stats.binomtest(count, n).proportion_ci(method="wilson")
    assert share_interval(count, n) == pytest.approx((known.low, known.high), abs=1e-4)


def test_wilsons_interval_holds_the_true_share_in_95_percent_where_a_symmetric_one_does_not():
    n = 200
    true = 0.98
    counts = np.arange(n + 1)
    weights = stats.binom.pmf(counts, n, true)
    held = []
    upper = []
    for count in counts:
        low, high = share_interval(count, n)
        held.append(low <= true <= high)
        upper.append(count / n + 1.96 * share_error(count, n))
    assert 0.93 < weights @ held < 0.98
    assert max(upper) > 1


@pytest.mark.parametrize("error", [0.0, 1e-3, 0.05, 0.3, 5.0])
@pytest.mark.parametrize("value", [0.0, 0.01, 0.5, 0.97, 1.0])
def test_no_interval_leaves_the_range_of_its_score(value, error):
    low, high = of_share(value, error)
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
    mirrored_low, mirrored_high = of_share(1 - value, error)
    assert low == pytest.approx(1 - mirrored_high, abs=1e-9)
    assert high == pytest.approx(1 - mirrored_low, abs=1e-9)
    low, high = above(value, error)
    assert 0 <= low <= value <= high


def test_an_interval_above_0_is_symmetric_in_the_root_and_the_usual_one_where_it_is_narrow():
    low, high = above(4.0, 1.0)
    assert math.sqrt(low) + math.sqrt(high) == pytest.approx(4)
    low, high = above(1.0, 1e-3)
    assert low == pytest.approx(1 - 1.96e-3, abs=1e-5)
    assert high == pytest.approx(1 + 1.96e-3, abs=1e-5)
    low, high = above(0.0, 0.5)
    assert low == 0
    assert high == pytest.approx(0.98)


def over_samplings(error, reference_error, samplings):
    """The part that all samplings share, and the mean over samplings of the rest."""
    return reference_error + (error - reference_error) / samplings


def null_variance(growth, samplings):
    return over_samplings(growth.null_error**2, growth.null_reference_error**2, samplings)


def check_interval(value, growth, samplings, means, variance):
    """The interval of a score holds the means that a test of 5 % does not refuse."""
    accepted = means[np.abs(value - means) <= 1.96 * np.sqrt(variance)]
    actual = score_interval(value, growth, samplings, 1.96)
    assert actual == pytest.approx((accepted[0], accepted[-1]), abs=2e-4)


@pytest.mark.parametrize("samplings", [1, 3])
@pytest.mark.parametrize("value", [-0.5, 0.0, 0.15, 0.4, 3.0])
def test_the_interval_of_a_distance_holds_the_means_that_are_not_refused(value, samplings):
    growth = VarianceModel(0.2, 0.1, 0.05, 0.02, null_mean=0.1)
    means = np.linspace(-2, 6, 80_001)
    slope = over_samplings(growth.slope, growth.reference_slope, samplings)
    grown = slope * np.maximum(means - growth.null_mean, 0)
    check_interval(value, growth, samplings, means, null_variance(growth, samplings) + grown)


def check_within(score, most):
    low, high = score.interval
    assert 0 <= low < score.value < high <= most


@pytest.mark.parametrize("name", SHARES)
def test_shares_declare_their_range_and_their_intervals_keep_to_it(name):
    info = describe()[name]
    assert (info.least, info.most) == (0.0, 1.0)
    own = [Score(value, error=0.1, reference_error=0.05) for value in (0.98, 1.0, 1.0)]
    score = combined(own, 50, None, info)
    check_within(score, 1.0)
    check_within(over_trainings(score, info), 1.0)


@pytest.mark.parametrize("name", POSITIVE)
def test_positive_scores_declare_their_range_and_their_intervals_keep_to_it(name):
    info = describe()[name]
    assert (info.least, info.most) == (0.0, None)
    own = [Score(value, error=0.1, reference_error=0.05) for value in (0.02, 0.0, 0.01)]
    score = combined(own, 50, None, info)
    check_within(score, math.inf)
    check_within(over_trainings(score, info), math.inf)


def test_an_interval_is_that_of_a_share_and_of_a_distance_that_is_none_below_0():
    info = describe()
    share = with_interval(Score(0.7, error=0.1), info["precision"])
    assert share.interval == of_share(0.7, 0.1)
    near = Score(0.01, growth=(0.2, 0.1, 0.05, 0.02, 0.1))
    assert with_interval(near).interval[0] < 0
    assert with_interval(near, info["w2"]).interval[0] == 0


def thirds(x):
    return np.digitize(x[:, 0], [-0.5, 0.5])


def drawn(metric, seed):
    draw = random(seed)
    real = draw.standard_normal((120, 2))
    generated = 0.3 + 1.1 * draw.standard_normal((120, 2))
    training = random(10**6).standard_normal((240, 2))
    points = [x.astype(np.float32) for x in (generated, real, training)]
    classes = (thirds(generated), thirds(real))
    samples = Samples(*points, generated, real, (2,), None, None, *classes, classes=3)
    return metric(samples)


WIDENED = {"precision", "recall", "coverage"}
"""Scores whose errors are larger: of few blocks, or near 1."""


@pytest.mark.parametrize("metric", [Copying, Manifold, Sinkhorn, Classes, Memorisation])
def test_errors_are_what_new_examples_vary_by(metric):
    repeats = [drawn(metric(), seed) for seed in range(40)]
    for name in set(repeats[0]) - WIDENED:
        scores = [repeat[name] for repeat in repeats]
        values = [score.value for score in scores]
        errors = [score.error for score in scores]
        spread = np.std(values, ddof=1)
        stated = np.sqrt(np.mean(np.square(errors)))
        assert stated == pytest.approx(spread, rel=0.4), name
        for score in scores:
            assert 0 <= score.reference_error <= score.error


def test_the_error_of_an_accuracy_is_that_of_a_fraction_and_of_training_on_parts():
    conditions = {"label": Label(("a", "b"), (0.5, 0.5))}
    space = VectorSpace((2,), (0.0, 0.0), (1.0, 1.0), conditions=conditions)
    draw = random(5)
    labels = np.arange(100) % 2
    centres = np.where(labels == 0, -2, 2)
    points = centres[:, None] + draw.standard_normal((100, 2))
    x = points.astype(np.float32)
    split = Split(x, labels)
    data = Dataset("points", space, split, split)
    error, shared = accuracy_errors(0.9, x, labels, data)
    assert shared == pytest.approx(share_error(90, 100))
    assert shared <= error < 1.02 * shared, "any samples teach the classes"
    wrong = np.where(draw.random(100) < 0.45, 1 - labels, labels)
    error, _ = accuracy_errors(0.9, x, wrong, data)
    assert error > 1.5 * shared, "nearly half of the labels are wrong: each part teaches another"
    few = accuracy_errors(0.9, x[:49], labels[:49], data)
    assert few is None


CENTRES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 0.0]])
METRICS = {"w2": Wasserstein, "sliced_w2": Wasserstein, "class_distance": Classes, "mode_kl": Modes}


def points(n, draw):
    mode = draw.choice(len(CENTRES), n)
    noise = draw.standard_normal((n, 2))
    return CENTRES[mode] + 0.1 * noise, mode


def samples_of(x, real, **known):
    return Samples(x, real, real, x, real, (2,), **known)


def scored(name, seed, samplings):
    """A score of 40 new samples of the modes against new real points, which have even modes; with
    its interval.
    """
    n = 40
    draw = random([seed, 11])
    truth = SimpleNamespace(centres=CENTRES, std=0.1, weights=np.full(5, 0.2))
    real, classes = points(n, draw)
    metric = METRICS[name]()
    scores = []
    for _ in range(samplings):
        x, read = points(n, draw)
        known = {"generated_classes": read, "reference_classes": classes, "classes": 5}
        samples = samples_of(x, real, truth=truth, **known)
        score = metric(samples)[name]
        scores.append(score)
    return combined(scores, n, None, describe()[name])


PERFECT = """
w2             | 1 | 50
sliced_w2      | 1 | 50
class_distance | 1 | 80
mode_kl        | 1 | 80
class_distance | 3 | 26
mode_kl        | 3 | 26
"""


@pytest.mark.parametrize(("name", "samplings", "repeats"), read_cases(PERFECT))
def test_intervals_of_perfect_models_reach_down_as_far_as_scores_vary(name, samplings, repeats):
    """An error that is taken at the measured value reaches 1.7 times as far."""
    scores = [scored(name, seed, samplings) for seed in range(repeats)]
    values = np.array([score.value for score in scores])
    low, high = np.array([score.interval for score in scores]).T
    mean = values.mean()
    held = (low <= mean) & (mean <= high)
    assert held.mean() >= 0.88
    assert all(score.growth for score in scores)
    below = (values - low)[low > 0]
    assert below.mean() == pytest.approx(1.96 * values.std(ddof=1), rel=0.3)


@pytest.mark.parametrize("slope", [0.04, 0.005])
@pytest.mark.parametrize("samplings", [1, 3])
@pytest.mark.parametrize("value", [0.1, 0.3, 0.45, 0.7, 2.0])
def test_the_interval_of_a_norm_holds_the_means_that_are_not_refused(value, samplings, slope):
    growth = VarianceModel(0.1, 0.06, slope, slope / 4, null_mean=0.3, is_norm=1.0)
    means = np.linspace(-1, 4, 100_001)
    limit = over_samplings(growth.slope, growth.reference_slope, samplings)
    nearness = growth.null_mean / np.maximum(means, growth.null_mean)
    variance = limit - (limit - null_variance(growth, samplings)) * nearness**2
    check_interval(value, growth, samplings, means, variance)


def test_a_norm_stays_one_in_the_mean_over_samplings():
    first = VarianceModel(0.1, 0.05, 0.02, 0.01, 0.3, 1.0)
    second = VarianceModel(0.2, 0.1, 0.04, 0.02, 0.5, 1.0)
    mean = mean_growth([first, second])
    assert mean.null_error == pytest.approx(np.sqrt(0.025))
    assert mean.null_reference_error == pytest.approx(np.sqrt(0.00625))
    assert mean[2:] == pytest.approx((0.03, 0.015, 0.4, 1.0))
    scores = [
        Score(0.4, error=0.2, reference_error=0.1, growth=first),
        Score(0.5, error=0.2, reference_error=0.1, growth=second),
    ]
    interval = combined(scores, 9, None).interval
    assert interval == score_interval(0.45, mean, 2, 1.96)
    distance = Score(0.4, growth=(0.1, 0.05, 0.02, 0.01, 0.3))
    assert with_interval(distance).interval != with_interval(scores[0]).interval


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 5), (8, 4), (3, 9)])
def test_divisions_take_from_either_side_in_proportion(n, m):
    parts = list(divisions(n, m, 5))
    found = [first.tolist() for first, _ in parts]
    for first, second in parts:
        assert (len(first), len(second)) == (n, m)
        names = sorted([*first, *second])
        assert names == list(range(n + m))
        taken = (first < n).sum()
        assert abs(taken - n * n / (n + m)) <= 0.5
        left = (second < n).sum()
        assert abs(left - n * m / (n + m)) <= 0.5
    different = {tuple(sorted(first)) for first in found}
    assert len(different) > 1
    again = [first.tolist() for first, _ in divisions(n, m, 5)]
    assert again == found


def test_the_growth_of_modes_that_no_sample_reaches_is_empty():
    truth = SimpleNamespace(centres=CENTRES, std=0.1, weights=None)
    far = np.full((9, 2), 99.0)
    near, _ = points(9, random(2))
    samples = samples_of(far, near, truth=truth)
    score = Modes()(samples)["mode_kl"]
    assert score.growth == ()


def test_the_growth_of_stacked_modes_is_that_of_a_divergence():
    modes = np.arange(9) % 7
    truth = SimpleNamespace(modes=7, read=lambda x: modes)
    near, _ = points(9, random(2))
    samples = samples_of(near, near, truth=truth)
    score = Stacked()(samples)["stacked_kl"]
    assert score.growth == divergence_growth(np.bincount(modes), np.full(7, 1 / 7))


def class_distance(generated, reference, count):
    x = np.zeros((len(generated), 2))
    known = {"generated_classes": generated, "reference_classes": reference, "classes": count}
    samples = samples_of(x, x, **known)
    return Classes()(samples)["class_distance"]


def test_no_interval_of_a_total_variation_leaves_its_range():
    distance = class_distance(np.zeros(20, int), np.arange(20) % 10, 10)
    score = combined([distance], 20, None, describe()["class_distance"])
    assert score.value == pytest.approx(0.9)
    low, high = score.interval
    assert 0.5 < low < 0.9 < high <= 1


def test_a_growth_without_numbers_is_left_out():
    own = Score(0.2, growth=(None, 0.0, None, 0.0, 0.1, 1.0))
    score = combined([own], 20, None, describe()["class_distance"])
    assert score.interval is None


def test_the_growth_of_a_squared_difference_of_means_is_the_closed_form():
    """Its terms are 2 d x, and without a difference it is a chi-squared number times 1/n + 1/m."""
    x, y = random(63).standard_normal((2, 50))
    d = 0.7
    y = y[:20]
    growth = growth_of(2 * d * x, -2 * d * y, 2.0, d**2, bias=0.1)
    of_x = 4 * x.var(ddof=1) / 50
    of_y = 4 * y.var(ddof=1) / 20
    assert growth.null_error == pytest.approx(math.sqrt(2) * (1 / 50 + 1 / 20))
    assert growth.null_reference_error == pytest.approx(math.sqrt(2) / 20)
    assert growth.slope == pytest.approx(of_x + of_y)
    assert growth.reference_slope == pytest.approx(of_y)
    assert growth.null_mean == 0.1
    assert not growth.is_norm
    assert growth_of(x, y, 2.0, 0.0).slope == 0


def test_the_growth_of_a_divergence_is_that_of_counts_also_where_modes_expect_few():
    counts = np.array([6, 3, 1] + [0] * 27)
    weights = np.full(30, 1 / 30)
    growth = divergence_growth(counts, weights)
    c = np.arange(1, 11)
    divergences = c / 10 * np.log(3 * c)
    true = 30 * stats.binom.pmf(c, 10, 1 / 30) @ divergences
    assert growth.null_mean == pytest.approx(true, rel=0.01), "of a chi-squared number: 1.45"
    share = counts[:3] / 10
    terms = np.log(3 * counts[:3])
    mean = share @ terms
    variance = share @ terms**2 - mean**2
    assert growth.slope == pytest.approx(variance / 10 / mean)
    even = divergence_growth(np.array([5, 5]), np.array([0.5, 0.5]))
    assert even.slope == 0


@pytest.mark.parametrize("blocks", [1, 4])
def test_the_growth_of_a_norm_is_students_and_that_of_a_mean_of_blocks(blocks):
    distances = 1 + 0.1 * random(64).standard_normal(5)
    growth = norm_growth(distances, (0.3, 0.2), 30, 60, blocks)
    scale = distances.std(ddof=1) / math.sqrt(blocks)
    low, high = stats.t.interval(0.95, 4, scale=scale)
    assert growth.null_error == pytest.approx((high - low) / 2 / 1.96)
    assert growth.null_reference_error == pytest.approx(growth.null_error / 3)
    assert growth.slope == pytest.approx(0.09)
    assert growth.reference_slope == pytest.approx(0.04)
    assert growth.null_mean == pytest.approx(distances.mean())
    assert growth.is_norm == 1


def test_the_reference_part_of_a_recall_is_whole_where_samples_do_not_matter():
    """Samples at 0 recall the real points at 0 alone, whichever they are; a single one at 10
    recalls the others as well.
    """
    draw = random(65)
    real = draw.standard_normal((100, 2)) / 10
    x = draw.standard_normal((60, 2)) / 10
    real[50:] += 10
    _, of_real = recall_errors(x, real, 0.5, 5)
    half = share_error(50, 100)
    assert of_real == pytest.approx(half, rel=0.1)
    x[0] += 10
    error, _ = recall_errors(x, real, 1.0, 5)
    assert error == pytest.approx(0.5 * 0.8, rel=0.3), "a fifth of the jackknife's parts lose it"


def reached(held_out, training):
    """Samples whose nearest held-out and training examples are as far as each other."""
    equal = np.ones(len(held_out), bool)
    return _Reached(held_out, training, equal, equal)


def test_the_error_of_held_out_neighbours_is_that_of_new_examples():
    """Each held-out example is reached by chance."""
    numbers = np.arange(200)
    error, _ = ratio_errors(reached(numbers, numbers), 400, 400)
    counts = random(66).binomial(400, 0.5, 4000)
    ratios = counts / (counts + 200)
    assert error == pytest.approx(np.std(ratios), rel=0.05)


def test_the_error_of_held_out_neighbours_in_few_cells_is_that_of_new_cells():
    """What cells hold varies by more than chance, and more such samples reach no others."""
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
    assert error == pytest.approx(np.std(ratios), rel=0.15)
    assert error**2 - of_real**2 == pytest.approx(left_out(few.share, 600))
    many = reached(np.tile(held_out, 50), np.tile(training, 50))
    assert ratio_errors(many, 60, 500) == pytest.approx((error, error), rel=0.01)


def test_the_error_of_a_class_distance_is_that_of_two_shares():
    x = np.arange(40) % 4 == 0
    y = np.arange(60) % 2 == 0
    score = class_distance(x.astype(int), y.astype(int), 2)
    of_x = 0.25 * 0.75 / 39
    of_y = 0.25 / 59
    assert score.value == pytest.approx(0.25)
    assert score.error == pytest.approx(math.sqrt(of_x + of_y))
    assert score.reference_error == pytest.approx(math.sqrt(of_y))
