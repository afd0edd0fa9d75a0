"""Metrics against other packages on the same features, and against closed forms."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch
from programs.rows import random
from scipy.stats import norm

from pushforward.metrics import Samples, Score
from pushforward.metrics.manifold import prdc
from pushforward.metrics.transport import Sinkhorn, divergence_terms, potentials, transport_distance
from pushforward.metrics.two_sample import TwoSample, kernel_distance
from pushforward.testing.metrics import samples_of as samples
from pushforward.testing.metrics import values_of as values

# --- KID, precision, recall, coverage, W2 ---


def test_kid_of_gaussians_is_the_closed_form():
    # E (x y / f + 1)^3 of independent x and y is a polynomial of their moments; on the line, m = E x, s = E x^2, c = E x^3
    def expected(a, b):
        return 1 + 3 * a[0] * b[0] + 3 * a[1] * b[1] + a[2] * b[2]

    first, second = (0.0, 1.0, 0.0), (1.0, 1.25, 1.75)  # N(0, 1) and N(1, 1/4): m^3 + 3 m v
    wanted = expected(first, first) + expected(second, second) - 2 * expected(first, second)
    pairs = [random(s).standard_normal((2, 300, 1)) for s in range(20)]
    estimates = [kernel_distance(x, 1 + y / 2)[0] for x, y in pairs]
    assert np.mean(estimates) == pytest.approx(wanted, abs=4 * np.std(estimates) / np.sqrt(20))


def test_precision_and_recall_are_what_torch_fidelity_computes():
    package = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = random(100).standard_normal((300, 6)), random(101).standard_normal((300, 6)) * 0.7 + 0.3
    theirs = package.prc_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), prc_neighborhood=5, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    ours = prdc(x, y, 5)
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)
    assert 0.3 < ours["precision"] != ours["recall"] > 0.3


def test_coverage_and_density_of_one_distribution_are_the_closed_form():
    # a real example's ball is empty if its k nearest of the other n - 1 real and n generated examples are all real; a generated
    # one is within it if it is among the k nearest of the n - 1 real ones and itself
    n, k = 40, 3
    pairs = [prdc(*random(s).standard_normal((2, n, 2)), k) for s in range(100)]
    for name, wanted in (("coverage", 1 - comb(n - 1, k) / comb(2 * n - 1, k)), ("density", 1.0)):
        measured = np.array([pair[name] for pair in pairs])
        assert measured.mean() == pytest.approx(wanted, abs=4 * measured.std() / np.sqrt(100)), name


def test_exact_w2_is_what_pot_computes():
    ot = pytest.importorskip("ot")
    x, y = random(102).standard_normal((80, 3)), random(103).standard_normal((80, 3)) * 2 + 1
    assert transport_distance(x, y) ** 2 == pytest.approx(ot.emd2([], [], ot.dist(x, y)), rel=1e-10)


# --- Sinkhorn ---


def total(function, *arguments):
    """The sum of the means of what both sides add."""
    return sum(float(part.mean()) for part in function(*arguments))


def test_the_sinkhorn_divergence_is_what_pot_computes():
    ot = pytest.importorskip("ot")
    x, y = random(105).standard_normal((30, 3)), random(106).standard_normal((40, 3)) + 0.5

    def cost(a, b):
        return float(ot.solve(ot.dist(a, b), reg=0.5, reg_type="KL", max_iter=10_000, tol=1e-10).value)

    assert total(potentials, ot.dist(x, y), 0.5) == pytest.approx(cost(x, y), rel=1e-4)
    assert total(divergence_terms, x, y, 0.5) == pytest.approx(cost(x, y) - (cost(x, x) + cost(y, y)) / 2, rel=1e-3)


def test_the_sinkhorn_cost_of_gaussians_is_the_closed_form():
    """Janati et al., Entropic optimal transport between unbalanced Gaussian measures has a closed form, 2020, proposition 1."""
    a, b, shift, epsilon = 1.0, 2.0, 1.5, 1.0

    def cost(a, b, shift):
        half = epsilon / 2
        d = np.sqrt(4 * a**2 * b**2 + half**2)
        return shift**2 + a**2 + b**2 - d + half * (1 - np.log(2 * half)) + half * np.log(d + half)

    levels = norm.ppf((np.arange(400) + 0.5) / 400)
    x, y = a * levels[:, None], b * levels[:, None] + shift
    assert total(potentials, (x - y.T) ** 2, epsilon) == pytest.approx(cost(a, b, shift), rel=0.01)
    wanted = cost(a, b, shift) - (cost(a, a, 0) + cost(b, b, 0)) / 2
    assert total(divergence_terms, x, y, epsilon) == pytest.approx(wanted, rel=0.01)


def test_the_sinkhorn_score_sees_collapse_and_survives_outliers_and_equal_examples():
    x, y = random(110).standard_normal((200, 3)), random(111).standard_normal((200, 3))
    own, collapsed = (values(Sinkhorn(), part, y)["sinkhorn"].value for part in (x, 0 * x))
    assert 0 < own < collapsed / 3
    far = x.copy()
    far[0] = 1e6
    assert values(Sinkhorn(), far, y)["sinkhorn"].value > 1e8
    assert Sinkhorn()(samples(x, 0 * y)) == {}
    assert Sinkhorn.scores["sinkhorn"].role is None, "regularised distances are biased at this n, so they rank nothing"


# --- the classifier's two-sample test ---


def test_a_classifier_reaches_the_best_accuracy_on_shifted_gaussians():
    x, y = random(112).standard_normal((1000, 2)), random(113).standard_normal((1000, 2)) + np.array([2.0, 0])
    score = values(TwoSample(), x, y)["classifier_test"]
    assert score.value == pytest.approx(norm.cdf(1), abs=4 * np.sqrt(norm.cdf(1) * norm.cdf(-1) / 2000))
    assert score.error > np.sqrt(norm.cdf(1) * norm.cdf(-1) / 2000), "folds share examples, so the binomial error is too small"


def points(n, seed, shift, scale):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, 4)) * [1.0, 0.7, 0.5, 0.4]


def scored(shift, scale, n, seed, samplings):
    """KID's cousin and the Fréchet distance of new samples against new real points, with their intervals."""
    from pushforward.evaluation.intervals import combined
    from pushforward.metrics.frechet import Frechet
    from pushforward.metrics.two_sample import energy_distance, energy_errors

    real = points(n, 2 * seed, 0, 1)
    parts = {"frechet": [], "energy": []}
    for sampling in range(samplings):
        x = points(n, [2 * seed + 1, sampling], shift, scale)
        (error, shared), growth, _ = energy_errors(x, real)
        parts["energy"].append(Score(energy_distance(x, real), error=error, reference_error=shared, growth=growth))
        parts["frechet"].append(Frechet()(Samples(x, real, real, x, real, shape=(4,)))["frechet"])
    return {name: combined(scores, n, None) for name, scores in parts.items()}


@pytest.mark.parametrize("samplings", [1, 3])
def test_intervals_hold_the_mean_of_new_samples_against_new_real_data(samplings):
    repeats = [scored(0.2, 1.1, 100, seed, samplings) for seed in range(60)]
    for name in ("frechet", "energy"):
        true = np.mean([repeat[name].value for repeat in repeats])
        held = np.mean([repeat[name].interval[0] <= true <= repeat[name].interval[1] for repeat in repeats])
        assert held >= 0.85, name
        width = np.mean([repeat[name].interval[1] - repeat[name].interval[0] for repeat in repeats]) / 2
        assert width == pytest.approx(1.96 * np.std([repeat[name].value for repeat in repeats], ddof=1), rel=0.35), name


def test_potentials_of_a_matching_are_dual():
    from scipy.optimize import linear_sum_assignment

    from pushforward.metrics.uncertainty import matching_potentials

    costs = np.random.default_rng(0).random((30, 30))
    rows, columns = linear_sum_assignment(costs)
    u, v = matching_potentials(costs, columns)
    assert (u[:, None] + v[None, :] <= costs + 1e-12).all()
    np.testing.assert_allclose(u[rows] + v[columns], costs[rows, columns])


@pytest.mark.parametrize("name", ["frechet_errors", "energy_errors", "sliced_errors_of", "transport_errors"])
def test_errors_are_what_clouds_drawn_again_vary_by(name):
    from pushforward.metrics import frechet, transport, two_sample, uncertainty

    def matched(function):
        return lambda x, y: function(list(transport.matchings(x, y)))

    score, errors = {
        "frechet_errors": (frechet.frechet_distance, lambda x, y: uncertainty.frechet_errors(x, y)[0]),
        "energy_errors": (two_sample.energy_distance, lambda x, y: two_sample.energy_errors(x, y)[0]),
        "sliced_errors_of": (
            lambda x, y: transport.sliced_distance(x, y, 128),
            lambda x, y: transport.sliced_errors_of(x, y)[0],
        ),
        "transport_errors": (matched(transport.transport_score), matched(transport.transport_errors)),
    }[name]
    fixed = points(100, 10**6, 0, 1)
    for both in (True, False):  # new clouds on both sides, or a new reference alone
        pairs = [(points(100, 2 * s, 0.5, 1) if both else fixed + 0.5, points(100, 2 * s + 1, 0, 1)) for s in range(50)]
        spread = np.std([score(x, y) for x, y in pairs], ddof=1)
        stated = np.sqrt(np.mean([errors(x, y)[0 if both else 1] ** 2 for x, y in pairs]))
        assert stated == pytest.approx(spread, rel=0.35), both
