"""Intervals stay within the range of their score and hold the true value; merged p-values are p-values."""

from __future__ import annotations

import dataclasses
import math
from itertools import product

import numpy as np
import pytest
from programs.rows import random
from scipy import stats

from pushforward.conditions import Label
from pushforward.data import Dataset, VectorSpace
from pushforward.data.core.dataset import Split
from pushforward.evaluation.aggregate import aggregated
from pushforward.evaluation.combining import combined
from pushforward.evaluation.intervals import above, merged_p, of_share, over_trainings, with_interval
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.evaluation.synthetic_training import accuracy_errors
from pushforward.metrics import Samples, Score, describe, two_sample
from pushforward.metrics.classes import Classes
from pushforward.metrics.copying import Copying, _mann_whitney, _Reached, ratio_errors
from pushforward.metrics.growth import Growth, score_interval
from pushforward.metrics.manifold import Manifold
from pushforward.metrics.memorisation import Memorisation
from pushforward.metrics.sinkhorn import Sinkhorn
from pushforward.metrics.uncertainty import share_error

SHARES = ("precision", "recall", "coverage", "authenticity", "near_copies", "high_quality", "bridges", "neighbour_test")
POSITIVE = ("density", "frechet", "w2", "sliced_w2", "sinkhorn", "spread", "sharpness", "mode_kl", "held_out_ratio")


@pytest.mark.parametrize(("count", "n"), [(0, 50), (3, 50), (25, 50), (50, 50), (999, 1000)])
def test_the_interval_of_a_share_of_independent_examples_is_wilsons(count, n):
    known = stats.binomtest(count, n).proportion_ci(method="wilson")
    assert of_share(count / n, share_error(count, n)) == pytest.approx((known.low, known.high), abs=1e-4)


def test_wilsons_interval_holds_the_true_share_in_95_percent_where_a_symmetric_one_does_not():
    counts, true = np.arange(201), 0.98
    weights = stats.binom.pmf(counts, 200, true)
    held = [low <= true <= high for low, high in (of_share(k / 200, share_error(k, 200)) for k in counts)]
    assert 0.93 < weights @ held < 0.98
    assert max(k / 200 + 1.96 * share_error(k, 200) for k in counts) > 1


@pytest.mark.parametrize(("value", "error"), product([0.0, 0.01, 0.5, 0.97, 1.0], [0.0, 1e-3, 0.05, 0.3, 5.0]))
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
    growth = Growth(0.2, 0.1, 0.05, 0.02, null_mean=0.1)
    means = np.linspace(-2, 6, 80_001)
    variance = growth.null_reference_error**2 + (growth.null_error**2 - growth.null_reference_error**2) / samplings
    slope = growth.reference_slope + (growth.slope - growth.reference_slope) / samplings
    accepted = means[np.abs(value - means) <= 1.96 * np.sqrt(variance + slope * np.maximum(means - growth.null_mean, 0))]
    assert score_interval(value, growth, samplings, 1.96) == pytest.approx((accepted[0], accepted[-1]), abs=2e-4)


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_the_interval_of_a_distance_holds_for_perfect_models_as_for_others(shift):
    """An error taken at the measured value would hold 0 always: value and error of a good model are large together."""
    scores, truth = [], 2 * distance_between(shift) - 2 * distance_between(0.0)
    for seed in range(100):
        x, y = random([7, seed]).standard_normal((2, 40, 1)) + np.array([shift, 0.0])[:, None, None]
        (error, shared), growth, _ = two_sample.energy_errors(x, y)
        score = Score(two_sample.energy_distance(x, y), error=error, reference_error=shared, growth=growth)
        scores.append(with_interval(score, describe()["energy"]))
    held = np.mean([score.interval[0] <= truth <= score.interval[1] for score in scores])
    assert 0.88 <= held <= 0.99
    if shift == 0:
        assert np.mean([abs(score.value) <= 1.96 * score.error for score in scores]) > 0.99


def distance_between(shift):
    """E|x - y| of standard normal numbers with means that far apart."""
    folded = stats.norm(shift, np.sqrt(2))
    return folded.expect(np.abs)


@pytest.mark.parametrize("name", [*SHARES, *POSITIVE])
def test_scores_declare_their_range_and_their_intervals_keep_to_it(name):
    info, most = describe()[name], 1.0 if name in SHARES else None
    assert (info.least, info.most) == (0.0, most)
    near = [0.98, 1.0, 1.0] if most else [0.02, 0.0, 0.01]
    own = [Score(value, error=0.1, reference_error=0.05) for value in near]
    for score in (combined(own, 50, None, info), over_trainings(combined(own, 50, None, info), info)):
        assert 0 <= score.interval[0] < score.value < score.interval[1] <= (most or math.inf)


def test_an_interval_of_a_score_below_its_range_is_no_lower_than_the_range():
    below = Score(-5.0, error=0.1, reference_error=0.05, growth=(0.1, 0.05, 0.0, 0.0, 0.0))
    assert with_interval(below).interval[1] < 0
    assert with_interval(below, describe()["density"]).interval == (0.0, 0.0)
    symmetric = dataclasses.replace(below, growth=())
    assert with_interval(symmetric, dataclasses.replace(describe()["density"], least=-1.0)).interval == (-1.0, -1.0)


def test_unbiased_distances_may_be_below_0():
    for name in ("kid", "energy", "frechet_limit", "copying_test"):
        assert combined([Score(0.01, error=0.1, reference_error=0.0)], 50, None, describe()[name]).interval[0] < 0


def test_every_share_has_a_range():
    assert {name for name, info in describe().items() if info.unit == "%" and (info.least, info.most) != (0.0, 1.0)} == set()


def drawn(metric, seed):
    """The scores of new samples against new real examples; training examples stay."""
    draw = random(seed)
    real, generated = draw.standard_normal((120, 2)), 0.3 + 1.1 * draw.standard_normal((120, 2))
    training = random(10**6).standard_normal((240, 2))
    classes = [np.digitize(x[:, 0], [-0.5, 0.5]) for x in (generated, real)]
    x, y, known = (part.astype(np.float32) for part in (generated, real, training))
    return metric(Samples(x, y, known, generated, real, (2,), None, None, *classes, classes=3))


@pytest.mark.parametrize("metric", [Copying(), Manifold(), Sinkhorn(), Classes(), Memorisation()], ids=lambda m: type(m).__name__)
def test_errors_are_what_new_examples_vary_by(metric):
    repeats = [drawn(metric, seed) for seed in range(40)]
    for name in set(repeats[0]) - {"precision", "recall", "coverage"}:  # widened: of few blocks, or near 1
        spread = np.std([repeat[name].value for repeat in repeats], ddof=1)
        stated = np.sqrt(np.mean([repeat[name].error ** 2 for repeat in repeats]))
        assert stated == pytest.approx(spread, rel=0.4), name
        assert all(0 <= repeat[name].reference_error <= repeat[name].error for repeat in repeats)


def test_of_two_classes_the_distance_has_the_errors_of_both_shares():
    x = np.zeros((101, 2), np.float32)
    generated, reference = np.repeat([0, 1], [30, 71]), np.repeat([0, 1], [51, 50])
    score = Classes()(Samples(x, x, x, x, x, (2,), None, None, generated, reference, classes=2))["class_distance"]
    assert score.value == pytest.approx(21 / 101)
    assert score.reference_error**2 == pytest.approx(51 * 50 / 101**2 / 100)
    assert score.error**2 == pytest.approx((51 * 50 + 30 * 71) / 101**2 / 100)


def test_the_copying_test_has_the_error_of_a_z_score_where_nothing_is_copied():
    draw = random(5)
    tests = [_mann_whitney(draw.standard_normal(90), draw.standard_normal(60)) for _ in range(200)]
    assert np.std([z for z, *_ in tests]) == pytest.approx(1, rel=0.15)
    assert np.mean([of_x + of_y for _, of_x, of_y in tests]) == pytest.approx(1, rel=0.05)


def test_twice_the_mean_of_p_values():
    assert merged_p([0.02]) == 0.02
    assert merged_p([0.02, 0.04, 0.06]) == pytest.approx(0.08)
    assert merged_p([0.9, 0.8]) == 1


def test_merged_p_values_are_valid_where_their_mean_is_not():
    """The worst case of Rüschendorf: two p-values whose sum is constant where both are small."""
    alpha, p = 0.05, (np.arange(4000) + 0.5) / 4000
    other = np.where(p < 2 * alpha, 2 * alpha - p, p)
    assert np.allclose(np.sort(other), p)
    assert ((p + other) / 2 <= alpha + 1e-9).mean() == pytest.approx(2 * alpha, abs=1e-3)
    for level in (0.05, 0.1, 0.2):
        assert np.mean([merged_p(pair) <= level for pair in zip(p, other, strict=True)]) <= level + 1e-3


def test_merged_p_values_of_samplings_against_a_shared_reference_are_valid():
    draw, merged = random(8), []
    for _ in range(120):
        real = draw.standard_normal((12, 2))
        tests = [two_sample.energy_test(draw.standard_normal((12, 2)), real, 39, seed)[1] for seed in range(3)]
        merged.append(combined([Score(0.0, extra={"p": p}) for p in tests], 12, None).extra["p"])
    assert np.mean(np.array(merged) <= 0.2) <= 0.2 + 3 * math.sqrt(0.2 * 0.8 / 120)
    assert max(merged) == 1


def test_p_values_of_samplings_and_of_trainings_are_merged():
    assert combined([Score(0.1, extra={"p": p}) for p in (0.02, 0.02, 0.02)], 9, None).extra["p"] == pytest.approx(0.04)
    scores = [{"energy": Score(0.1, extra={"p": p})} for p in (0.02, 0.06)]
    trainings = [ModelResult(f"it-{seed}", seed=seed, scores=own) for seed, own in enumerate(scores)]
    (together,) = aggregated(Comparison(models=tuple(trainings))).models
    assert together.scores["energy"].extra["p"] == pytest.approx(0.08)
    missing = [trainings[0], dataclasses.replace(trainings[1], scores={"energy": Score(0.1)})]
    assert "p" not in aggregated(Comparison(models=tuple(missing))).models[0].scores["energy"].extra


@pytest.mark.parametrize(
    "sampled",
    [
        lambda draw: draw.standard_normal((100, 2)),
        lambda draw: 0.3 * draw.standard_normal((100, 2)),
        lambda draw: random(98).standard_normal((32, 2))[draw.integers(0, 32, 100)],
        lambda draw: np.zeros((100, 2)),
    ],
    ids=["healthy", "narrow", "memorised", "collapsed"],
)
def test_the_interval_of_density_holds_for_sick_models_too(sampled):
    """The real examples that a narrow cloud falls among are few: most of the error is theirs."""
    scores = []
    for seed in range(40):
        draw = random(seed)
        x, y = sampled(draw), draw.standard_normal((100, 2))
        density = Manifold()(Samples(x, y, y, x, y, (2,)))["density"]
        scores.append(with_interval(density, describe()["density"]))
    truth = np.mean([score.value for score in scores])
    assert np.mean([score.interval[0] <= truth <= score.interval[1] for score in scores]) >= 0.85


def redrawn(metric, name, sampled, d, repeats=30):
    """A score of two samplings of each of so many redraws, with its errors, and as the errors should be; training data stays."""
    scores = []
    for seed in range(repeats):
        draw = random(seed)
        real, training = (part.standard_normal((count, d)).astype(np.float32) for part, count in ((draw, 200), (random(99), 400)))
        own = [sampled(draw, real).astype(np.float32) for _ in range(2)]
        scores.append([metric(Samples(x, real, training, x.astype(float), real.astype(float), (d,)))[name] for x in own])
    values = np.array([[score.value for score in pair] for pair in scores])
    stated = [np.sqrt(np.mean([getattr(pair[0], part) ** 2 for pair in scores])) for part in ("error", "reference_error")]
    return stated, (values.std(ddof=1), np.sqrt(max(np.cov(values.T)[0, 1], 0)))


def test_recall_of_narrow_samples_depends_on_the_real_examples():
    """Whether a real example is recalled is nearly sure before samples are drawn, so that samplings share most of the error."""
    (error, shared), (spread, together) = redrawn(
        Manifold(), "recall", lambda draw, real: 0.1 * draw.standard_normal((200, 2)), 2
    )
    assert error == pytest.approx(spread, rel=0.3)
    assert shared == pytest.approx(together, rel=0.35)
    assert (error, shared) == (pytest.approx(0.0216, rel=0.05), pytest.approx(0.0161, rel=0.05))


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [
        (lambda draw, real: 0.5 * draw.standard_normal((200, 8)), (0.1222, 0.065)),
        (lambda draw, real: real[draw.integers(0, 200, 200)] + 0.3 * draw.standard_normal((200, 8)), (0.0463, 0.0168)),
    ],
    ids=["narrow", "seen"],
)
def test_the_held_out_ratio_has_the_error_of_both_of_its_sums(sampled, expected):
    """Narrow samples reach few real examples, always the same; those near held-out ones nearly all of them."""
    (error, shared), (spread, _) = redrawn(Copying(), "held_out_ratio", sampled, 8)
    assert error == pytest.approx(spread, rel=0.35)
    assert (error, shared) == (pytest.approx(expected[0], rel=0.05), pytest.approx(expected[1], rel=0.05))


def test_samples_in_the_cell_of_one_held_out_example_count_as_alike():
    """A hundred cells with a held-out example that is reached, and a hundred with nine training examples each."""
    cells = np.concatenate([np.arange(100), np.repeat(np.arange(100, 200), 9)])
    new = cells < 100
    error, _ = ratio_errors(_Reached(cells, np.arange(1000), new, ~new), 200, 10**6)
    assert error**2 == pytest.approx(200 * 0.9**2 / 1000**2 * 200 / 199)
    assert error > 1.3 * np.sqrt(0.1 * 0.9 / 1000), "1000 independent examples would vary less"


def test_the_error_of_an_accuracy_is_that_of_a_share_and_what_parts_of_the_samples_teach_differently():
    space = VectorSpace((2,), (0.0, 0.0), (1.0, 1.0), conditions={"label": Label(("a", "b"), (0.5, 0.5))})
    draw, labels = random(5), np.arange(100) % 2
    x = (np.where(labels[:, None] == 0, -2, 2) + draw.standard_normal((100, 2))).astype(np.float32)
    data = Dataset("points", space, Split(x, labels), Split(x, labels))
    error, shared = accuracy_errors(0.9, x, labels, data)
    assert shared == pytest.approx(share_error(90, 100))
    assert shared <= error < 1.02 * shared, "whichever samples teach, the two classes are told apart"
    wrong = np.where(draw.random(100) < 0.45, 1 - labels, labels)
    assert accuracy_errors(0.9, x, wrong, data)[0] > 1.5 * shared, (
        "nearly half of the labels are wrong: each part teaches another"
    )
    assert accuracy_errors(0.9, x[:49], labels[:49], data) is None


def test_the_upper_end_of_an_interval_above_0_rises_with_the_value():
    values = np.linspace(0, 10, 400)
    ends = np.array([above(value, 1.0) for value in values])
    assert (np.diff(ends[:, 1]) > -1e-9).all()
    assert (np.diff(ends[:, 1]) < 0.2).all(), "and without jumps"
    assert above(0.2, 0.1, 12.7)[1] < 2.6
