"""Metrics against closed forms and independent implementations."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from math import comb

import numpy as np
import pytest
import torch
from programs.metrics import samples, values
from programs.rows import random
from scipy.stats import norm

import pushforward as pf
from pushforward.errors import DataError, Diverged
from pushforward.evaluation.intervals import combined
from pushforward.evaluation.model_metrics import classification_accuracy, real_accuracy
from pushforward.metrics import Samples, Score, uncertainty
from pushforward.metrics.image_quality import Sharpness
from pushforward.metrics.manifold import prdc
from pushforward.metrics.subsets import drawn
from pushforward.metrics.transport import (
    Sinkhorn,
    divergence_terms,
    matchings,
    potentials,
    sliced_distance,
    sliced_errors_of,
    transport_distance,
    transport_errors,
    transport_score,
)
from pushforward.metrics.two_sample import (
    Frechet,
    TwoSample,
    energy_distance,
    energy_errors,
    extrapolated_distance,
    frechet_distance,
    gaussian_distance,
    kernel_distance,
    neighbour_accuracy,
)


def test_prdc_is_what_its_authors_package_computes():
    package = pytest.importorskip("prdc")
    r = random(6)
    real = r.standard_normal((1203, 5))
    fake = r.standard_normal((1203, 5)) * 0.8 + 0.4
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = package.compute_prdc(real_features=real, fake_features=fake, nearest_k=5)
    ours = prdc(fake, real, 5)
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert len(set(ours.values())) == 4


def sharpness(images, real):
    generated = images.reshape(300, -1)
    reference = real.reshape(300, -1)
    scores = values(Sharpness(), generated, reference, shape=images.shape[1:])
    return scores["sharpness"].value


def test_sharpness_of_blurred_real_and_noisy_images():
    r = random(14)
    real = r.uniform(0, 1, (300, 2, 9, 12))
    wide = real + np.roll(real, 1, -1)
    blurred = (wide + np.roll(wide, 1, -2)) / 4
    noisy = real + 0.3 * r.standard_normal(real.shape)
    assert sharpness(real, real) == pytest.approx(1, abs=1e-6)
    assert sharpness(blurred, real) < 0.3
    # white noise adds its variance at every frequency
    assert sharpness(noisy, real) == pytest.approx(1 + 0.09 * 12, rel=0.1)


def test_wrong_input_is_refused_with_a_number():
    x = random(17).standard_normal((10, 4))
    spoiled = x.copy()
    spoiled[[2, 7], 1] = np.nan
    spoiled[3, 0] = np.inf
    with pytest.raises(Diverged, match="3 of 10 generated examples"):
        samples(spoiled, x)
    with pytest.raises(DataError, match="3 of 10 training examples"):
        samples(x, x, spoiled)
    bad = x.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 10 generated_features"):
        Samples(x, x, x, bad, x, (4,))
    assert Frechet().applies(samples(x, x))


def clouds(n=400, m=300, f=7):
    r = random(1)
    x = r.standard_normal((n, f)) @ r.standard_normal((f, f))
    y = r.standard_normal((m, f)) * r.uniform(0.5, 2, f) + 0.3
    return x, y


def test_frechet_between_commuting_gaussians_is_the_closed_form():
    r = random(2)
    turn, _ = np.linalg.qr(r.standard_normal((6, 6)))
    a = r.uniform(0.1, 4, 6)
    b = r.uniform(0.1, 4, 6)
    mean = r.standard_normal(6)
    first = (turn * a) @ turn.T
    second = (turn * b) @ turn.T
    distance = gaussian_distance(np.zeros(6), first, mean, second)
    widths = np.sqrt(a) - np.sqrt(b)
    wanted = (mean**2).sum() + (widths**2).sum()
    assert distance == pytest.approx(wanted, rel=1e-6)


def test_frechet_agrees_with_torch_fidelity():
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = clouds()
    first = fid.fid_features_to_statistics(torch.from_numpy(x))
    second = fid.fid_features_to_statistics(torch.from_numpy(y))
    theirs = fid.fid_statistics_to_metric(first, second, False)
    wanted = float(theirs["frechet_inception_distance"])
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-6)


def by_hand(x, y):
    n, f = x.shape

    def kernel(a, b):
        return (float(a @ b) / f + 1) ** 3

    same = 0.0
    other = 0.0
    for i in range(n):
        for j in range(n):
            other += kernel(x[i], y[j])
            if i != j:
                same += kernel(x[i], x[j]) + kernel(y[i], y[j])
    return same / (n * (n - 1)) - 2 * other / n**2


def test_kid_equals_the_double_loop_and_torch_fidelity():
    x, y = (part[:40] for part in clouds())
    assert kernel_distance(x, y) == pytest.approx(by_hand(x, y), rel=1e-10)
    kid = pytest.importorskip("torch_fidelity.metric_kid")

    def kernel(a, b):
        return kid.kernel_poly(
            a, b, kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1.0
        )

    wanted = kid.mmd2(kernel(x, x), kernel(x, y), kernel(y, y))
    assert kernel_distance(x, y) == pytest.approx(wanted, rel=1e-10)


def test_kid_is_unbiased_and_negative_half_of_the_time():
    estimates = []
    for seed in range(300):
        x, y = random(seed).standard_normal((2, 60, 4))
        estimates.append(kernel_distance(x, y))
    error = np.std(estimates) / np.sqrt(300)
    assert abs(np.mean(estimates)) < 4 * error
    negative = np.mean(np.less(estimates, 0))
    assert 0.35 < negative < 0.75


def test_w2_of_many_points_is_the_root_mean_square_over_blocks():
    x = random(76).standard_normal((90, 2))
    y = random(77).standard_normal((90, 2)) + 1
    value = transport_score(list(matchings(x, y, block=30, blocks=3)))
    x = drawn(x, 90, 0)
    y = drawn(y, 90, 1)
    squares = []
    for start in (0, 30, 60):
        block = slice(start, start + 30)
        squares.append(transport_distance(x[block], y[block]) ** 2)
    assert value == pytest.approx(np.sqrt(np.mean(squares)))


def test_energy_distance_is_the_mean_over_pairs():
    x = random(83).standard_normal((7, 2))
    y = random(84).standard_normal((9, 2)) + 0.5

    def distances(a, b):
        return np.linalg.norm(a[:, None] - b, axis=-1)

    between = distances(x, y).mean()
    within_x = distances(x, x).sum() / (7 * 6)
    within_y = distances(y, y).sum() / (9 * 8)
    wanted = 2 * between - within_x - within_y
    assert energy_distance(x, y) == pytest.approx(wanted, rel=1e-12)


def test_the_nearest_neighbour_test_is_half_for_equal_one_for_apart_and_less_for_copies():
    x = random(87).standard_normal((400, 3))
    y = random(88).standard_normal((400, 3))
    assert neighbour_accuracy(x, y) == pytest.approx(0.5, abs=0.08)
    assert neighbour_accuracy(x, y + 20) == 1
    assert neighbour_accuracy(y + 1e-6, y) < 0.05


def test_the_extrapolated_frechet_distance_has_no_bias():
    means = np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    plain = []
    limits = []
    numbers = random(91)
    for _ in range(30):
        x = numbers.standard_normal((600, 6)) + means
        y = numbers.standard_normal((600, 6))
        plain.append(frechet_distance(x, y))
        limits.append(extrapolated_distance(x, y))
    error = np.std(limits) / np.sqrt(30)
    bias = np.mean(plain) - 0.09
    left = np.mean(limits) - 0.09
    assert abs(left) < 3 * error + 0.005
    assert bias > 2.5 * error + 0.02
    assert extrapolated_distance(x[:299], y) is None


def test_precision_and_recall_are_what_torch_fidelity_computes():
    package = pytest.importorskip("torch_fidelity.metric_prc")
    x = random(100).standard_normal((300, 6))
    y = random(101).standard_normal((300, 6)) * 0.7 + 0.3
    settings = {"prc_neighborhood": 5, "prc_batch_size": 100, "save_cpu_ram": False}
    theirs = package.prc_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), **settings, verbose=False
    )
    ours = prdc(x, y, 5)
    for name in ("precision", "recall"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6)
        assert ours[name] > 0.3
    assert ours["precision"] != ours["recall"]


def test_coverage_and_density_of_one_distribution_are_the_closed_form():
    # a real example's ball is empty if its k nearest of the other n - 1 real and n generated
    # examples are all real; a generated
    # one is within it if it is among the k nearest of the n - 1 real ones and itself
    n = 40
    k = 3
    coverage = []
    density = []
    for seed in range(100):
        x, y = random(seed).standard_normal((2, n, 2))
        scores = prdc(x, y, k)
        coverage.append(scores["coverage"])
        density.append(scores["density"])
    empty = comb(n - 1, k) / comb(2 * n - 1, k)
    for measured, wanted in ((coverage, 1 - empty), (density, 1.0)):
        error = np.std(measured) / np.sqrt(100)
        assert np.mean(measured) == pytest.approx(wanted, abs=4 * error)


def test_exact_w2_is_what_pot_computes():
    ot = pytest.importorskip("ot")
    x = random(102).standard_normal((80, 3))
    y = random(103).standard_normal((80, 3)) * 2 + 1
    theirs = ot.emd2([], [], ot.dist(x, y))
    assert transport_distance(x, y) ** 2 == pytest.approx(theirs, rel=1e-10)


def total(function, *arguments):
    return sum(float(part.mean()) for part in function(*arguments))


def test_the_sinkhorn_divergence_is_what_pot_computes():
    ot = pytest.importorskip("ot")
    x = random(105).standard_normal((30, 3))
    y = random(106).standard_normal((40, 3)) + 0.5

    def cost(a, b):
        distances = ot.dist(a, b)
        plan = ot.solve(distances, reg=0.5, reg_type="KL", max_iter=10_000, tol=1e-10)
        return float(plan.value)

    between = cost(x, y)
    within = (cost(x, x) + cost(y, y)) / 2
    actual = total(potentials, ot.dist(x, y), 0.5)
    assert actual == pytest.approx(between, rel=1e-4)
    actual = total(divergence_terms, x, y, 0.5)
    assert actual == pytest.approx(between - within, rel=1e-3)


def test_the_sinkhorn_cost_of_gaussians_is_the_closed_form():
    """Janati et al., Entropic optimal transport between unbalanced Gaussian measures has a closed
    form, 2020, proposition 1.
    """
    a = 1.0
    b = 2.0
    shift = 1.5
    epsilon = 1.0

    def cost(a, b, shift):
        half = epsilon / 2
        d = np.sqrt(4 * a**2 * b**2 + half**2)
        entropy = half * (1 - np.log(2 * half)) + half * np.log(d + half)
        return shift**2 + a**2 + b**2 - d + entropy

    levels = norm.ppf((np.arange(400) + 0.5) / 400)
    x = a * levels[:, None]
    y = b * levels[:, None] + shift
    between = cost(a, b, shift)
    within = (cost(a, a, 0) + cost(b, b, 0)) / 2
    actual = total(potentials, (x - y.T) ** 2, epsilon)
    assert actual == pytest.approx(between, rel=0.01)
    actual = total(divergence_terms, x, y, epsilon)
    assert actual == pytest.approx(between - within, rel=0.01)


def test_the_sinkhorn_score_sees_collapse_and_survives_outliers_and_equal_examples():
    x = random(110).standard_normal((200, 3))
    y = random(111).standard_normal((200, 3))

    def score(generated):
        return values(Sinkhorn(), generated, y)["sinkhorn"].value

    own = score(x)
    collapsed = score(0 * x)
    assert 0 < own < collapsed / 3
    far = x.copy()
    far[0] = 1e6
    assert score(far) > 1e8
    assert Sinkhorn()(samples(x, 0 * y)) == {}
    # regularised distances are biased at this n, so they rank nothing
    assert Sinkhorn.scores["sinkhorn"].role is None


def test_a_classifier_reaches_the_best_accuracy_on_shifted_gaussians():
    x = random(112).standard_normal((1000, 2))
    y = random(113).standard_normal((1000, 2)) + np.array([2.0, 0])
    score = values(TwoSample(), x, y)["classifier_test"]
    best = norm.cdf(1)
    binomial = np.sqrt(best * (1 - best) / 2000)
    assert score.value == pytest.approx(best, abs=4 * binomial)
    assert score.error > binomial, "folds share examples"


def points(n, seed, shift, scale):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, 4)) * [1.0, 0.7, 0.5, 0.4]


def scored(shift, scale, n, seed, samplings):
    """KID's cousin and the Fréchet distance of new samples against new real points, with their
    intervals.
    """
    real = points(n, 2 * seed, 0, 1)
    distances = []
    energies = []
    for sampling in range(samplings):
        x = points(n, [2 * seed + 1, sampling], shift, scale)
        (error, shared), growth, _ = energy_errors(x, real)
        distance = energy_distance(x, real)
        energy = Score(distance, error=error, reference_error=shared, growth=growth)
        energies.append(energy)
        given = Samples(x, real, real, x, real, shape=(4,))
        distances.append(Frechet()(given)["frechet"])
    return {"frechet": combined(distances, n, None), "energy": combined(energies, n, None)}


@pytest.mark.parametrize("samplings", [1, 3])
def test_intervals_hold_the_mean_of_new_samples_against_new_real_data(samplings):
    repeats = [scored(0.2, 1.1, 100, seed, samplings) for seed in range(60)]
    for name in ("frechet", "energy"):
        scores = np.array([repeat[name].value for repeat in repeats])
        low, high = np.array([repeat[name].interval for repeat in repeats]).T
        true = scores.mean()
        held = (low <= true) & (true <= high)
        assert held.mean() >= 0.85, name
        half_width = (high - low).mean() / 2
        wanted = 1.96 * scores.std(ddof=1)
        assert half_width == pytest.approx(wanted, rel=0.35), name


def matched(function):
    return lambda x, y: function(list(matchings(x, y)))


DISTANCES = {
    "frechet": (frechet_distance, lambda x, y: uncertainty.frechet_errors(x, y)[0]),
    "energy": (energy_distance, lambda x, y: energy_errors(x, y)[0]),
    "sliced": (lambda x, y: sliced_distance(x, y, 128), lambda x, y: sliced_errors_of(x, y)[0]),
    "transport": (matched(transport_score), matched(transport_errors)),
}


@pytest.mark.parametrize("both", [True, False], ids=["two new clouds", "a new reference"])
@pytest.mark.parametrize(("distance", "errors"), DISTANCES.values(), ids=DISTANCES)
def test_errors_are_what_clouds_drawn_again_vary_by(distance, errors, both):
    fixed = points(100, 10**6, 0.5, 1)
    distances = []
    squares = []
    for seed in range(50):
        x = fixed
        if both:
            x = points(100, 2 * seed, 0.5, 1)
        y = points(100, 2 * seed + 1, 0, 1)
        of_both, of_reference = errors(x, y)
        error = of_both if both else of_reference
        distances.append(distance(x, y))
        squares.append(error**2)
    stated = np.sqrt(np.mean(squares))
    spread = np.std(distances, ddof=1)
    assert stated == pytest.approx(spread, rel=0.35)


@pytest.fixture(scope="module")
def digits():
    return pf.data.load("digits")


def few(data, n, at=0):
    train = data.train.take(slice(at, at + n))
    held_out = data.held_out.take(slice(100))
    return dataclasses.replace(data, train=train, held_out=held_out)


def test_real_examples_as_samples_have_the_accuracy_of_real_examples(digits):
    data = few(digits, 200)
    images = data.train.data_units()
    labels = data.train.labels
    real = real_accuracy(data, 200)
    again = classification_accuracy(images, labels, data)
    assert again > 0.6
    assert again == pytest.approx(real, abs=0.1), "the same examples in another order"
    shuffled = random(210).permutation(labels)
    assert classification_accuracy(images, shuffled, data) < 0.35
