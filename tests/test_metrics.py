"""Metrics against closed forms, independent implementations and planted faults."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from math import comb

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from programs.rows import random, table_samples
from scipy.stats import mannwhitneyu, norm

import pushforward as pf
from pushforward.errors import DataError, Diverged
from pushforward.evaluation.intervals import combined
from pushforward.evaluation.model_metrics import classification_accuracy, real_accuracy
from pushforward.metrics import Samples, Score, uncertainty
from pushforward.metrics.image_quality import Sharpness
from pushforward.metrics.manifold import prdc
from pushforward.metrics.memorisation import (
    Copying,
    Memorisation,
    cell_tests,
    copying,
    near_copies,
    nearest_distance,
)
from pushforward.metrics.modes import (
    Classes,
    Distinct,
    count_modes,
    distinct,
    repeat_distances,
    variation,
)
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


def samples(generated, reference, training=None, *, features=True, **more):
    """Convert arrays (n, d) to inputs of metrics, as their own features or with features 0."""
    if training is None:
        training = reference
    if training.dtype != np.uint8:
        training = training.astype(np.float32)

    def as_features(x):
        if features:
            return x.astype(np.float64)
        return np.zeros((len(x), 1))

    fields = {
        "generated": generated.astype(np.float32),
        "reference": reference.astype(np.float32),
        "training": training,
        "generated_features": as_features(generated),
        "reference_features": as_features(reference),
        "shape": generated.shape[1:],
    }
    for name, value in more.items():
        if value is not None:
            fields[name] = value
    return Samples(**fields)


def values(metric, *arrays, **more):
    """Compute the scores for `samples_of` the arrays, to which the metric must apply."""
    given = samples(*arrays, **more)
    assert metric.applies(given)
    return metric(given)


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


ANGLES = 2 * np.pi * np.arange(8) / 8
CENTRES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
STD = 0.01


def ring(n=8000, seed=8, keep=range(8), spread=1.0, bridges=0.0):
    r = random(seed)
    x = CENTRES[r.choice(list(keep), n)] + STD * spread * r.standard_normal((n, 2))
    lost = int(bridges * n)
    x[:lost] = r.uniform(-0.5, 0.5, (lost, 2))
    return x


def distinct_of(x, real):
    return distinct(x, repeat_distances(x, real)[1])


@pytest.mark.parametrize("dims", [2, 16])
def test_distinct_samples_of_real_data_are_nearly_all_and_repeats_count_once(dims):
    r = random(31)
    real = r.standard_normal((1200, dims))
    fresh = r.standard_normal((1200, dims))
    assert distinct_of(fresh, real) >= 1180
    few = fresh[np.arange(1200) % 10]
    assert distinct_of(few, real) == 10
    noise = 1e-4 * r.standard_normal(few.shape)
    assert distinct_of(few + noise, real) == 10
    assert distinct_of(few[0] + noise, real) == 1
    half = np.where(np.arange(1200)[:, None] % 2, fresh, fresh[0])
    assert 580 <= distinct_of(half, real) <= 601


def test_distinct_samples_are_linked_across_all_of_them():
    line = np.arange(1300.0)[random(32).permutation(1300), None]
    assert distinct(line, 1.0) == 1
    assert distinct(line, 0.9) == 1300
    actual = distinct(np.concatenate([line, line + 5000]), 1.0)
    assert actual == 2


@pytest.mark.parametrize("part", [0.7, 0.3, 0.1])
def test_samples_that_vary_too_little_do_not_repeat_each_other(part):
    r = random(33)
    real = r.standard_normal((600, 5))
    faded = part * r.standard_normal((600, 5))
    assert distinct_of(faded, real) >= (540 if part > 0.1 else 200)


def test_blurred_samples_in_many_dimensions_do_not_repeat_each_other():
    r = random(34)
    real = r.standard_normal((600, 40))
    blurred = r.standard_normal((600, 40))
    blurred[:, :2] *= 4
    blurred[:, 2:] *= 0.2
    assert distinct_of(blurred, real) >= 540


def test_real_rows_with_exact_copies_set_no_distance_between_repeats():
    r = random(35)
    rows = r.standard_normal((400, 3))
    twice = rows[::2]
    real = np.concatenate([rows, twice])
    assert repeat_distances(real, real)[1] > 0.001
    cells = r.integers(0, 2, (600, 3)).astype(float)
    assert distinct_of(cells, cells) == 8
    one_cell = cells[:1].repeat(600, 0)
    assert distinct_of(one_cell, cells) == 1


def test_distinct_rows_of_a_table_are_counted_by_their_values():
    rows = table_samples()
    other_features = np.zeros_like(rows.generated_features)
    other = dataclasses.replace(rows, generated_features=other_features)
    assert Distinct()(other) == Distinct()(rows)
    repeated = np.arange(len(rows.generated)) % 7
    few = dataclasses.replace(rows, generated=rows.generated[repeated])
    assert Distinct()(few)["distinct_samples"].value == 7


def test_modes_of_the_truth():
    count = count_modes(ring(), CENTRES, STD)
    assert (count.held, count.reached) == (8, 8)
    assert count.high_quality == pytest.approx(1 - np.exp(-4.5), abs=0.004)
    assert count.spread == pytest.approx(1, abs=0.02)
    assert count.bridges < 0.001
    assert count.divergence < 0.002
    assert_allclose(count.mass, 1 / 8, atol=0.015)


def test_modes_see_each_planted_fault_apart_from_the_others():
    six_modes = ring(keep=(0, 2, 3, 4, 6, 7))
    dropped = count_modes(six_modes, CENTRES, STD)
    assert (dropped.held, dropped.reached) == (6, 6)
    assert dropped.divergence == pytest.approx(np.log(8 / 6), abs=0.003)
    assert dropped.mass[[1, 5]].tolist() == [0, 0]
    bridged = count_modes(ring(bridges=0.03), CENTRES, STD)
    assert bridged.bridges == pytest.approx(0.03, abs=0.001)
    assert bridged.spread == pytest.approx(1, abs=0.02), "bridges must not widen the modes"
    assert bridged.mass.sum() == pytest.approx(1 - bridged.bridges)
    narrow = count_modes(ring(spread=0.7), CENTRES, STD)
    assert narrow.spread == pytest.approx(0.7, abs=0.02)
    assert narrow.high_quality > 0.998
    assert narrow.held == 8


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

    def norm(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    wanted = 2 * norm(x, y).mean() - norm(x, x).sum() / 42 - norm(y, y).sum() / 72
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
    theirs = package.prc_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        prc_neighborhood=5,
        prc_batch_size=100,
        save_cpu_ram=False,
        verbose=False,
    )
    ours = prdc(x, y, 5)
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)
    assert 0.3 < ours["precision"] != ours["recall"] > 0.3


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
    stated = []
    for seed in range(50):
        x = points(100, 2 * seed, 0.5, 1) if both else fixed
        y = points(100, 2 * seed + 1, 0, 1)
        of_both, of_reference = errors(x, y)
        distances.append(distance(x, y))
        stated.append(of_both if both else of_reference)
    error = np.sqrt(np.mean(np.square(stated)))
    assert error == pytest.approx(np.std(distances, ddof=1), rel=0.35)


def test_authenticity_of_new_data_on_a_line_is_a_third():
    # around a new point at distance D ~ Exp(2) from its nearest example t, the other side of t is
    # free of them for Exp(1) < D
    training = random(200).uniform(size=(5000, 1))
    generated = random(201).uniform(size=(5000, 1))
    actual = copying(generated, generated, training)["authenticity"].value
    assert actual == pytest.approx(1 / 3, abs=0.03)


def test_the_copying_test_is_the_mann_whitney_score_in_each_cell():
    x = random(202).standard_normal(60)
    y = random(203).standard_normal(90) + 0.4
    # of the third cell x has nothing
    of_x = np.arange(60) % 2
    of_y = np.arange(90) % 3
    tests = list(cell_tests(x, y, of_x, of_y))
    assert len(tests) == 2
    for cell, (z, weight, *_) in enumerate(tests):
        assert weight == 30
        mine = x[of_x == cell]
        theirs = y[of_y == cell]
        exact = mannwhitneyu(
            mine, theirs, alternative="less", use_continuity=False, method="asymptotic"
        )
        assert z == pytest.approx(norm.ppf(exact.pvalue), rel=1e-9)


def test_copies_samples_that_saw_held_out_examples_and_blur_are_told_apart():
    rows = random(204).standard_normal((2400, 8))
    training = rows[:1200]
    held_out = rows[1200:1800]
    fresh = rows[1800:]
    noise = 0.3 * random(205).standard_normal((600, 8))

    def scores(generated):
        found = values(Copying(), generated, held_out, training)
        return {name: score.value for name, score in found.items()}

    new = scores(fresh)
    assert abs(new["copying_test"]) < 3
    assert new["held_out_ratio"] == pytest.approx(1, abs=4 * np.sqrt(2 / 600))
    copies = scores(training[:600] + noise)
    assert copies["copying_test"] < -10
    assert copies["held_out_ratio"] < 0.2
    assert copies["authenticity"] < new["authenticity"] / 2
    of_held_out = scores(held_out + noise)
    assert of_held_out["held_out_ratio"] > 2.5
    alike = scores(0.5 * fresh)
    assert alike["copying_test"] < -3
    assert alike["held_out_ratio"] > 0.7, "they are as near to held-out examples as to others"


def test_the_class_distance_of_a_lost_class_is_its_share():
    real = np.repeat(np.arange(4), [10, 20, 30, 40])
    lost = real[real != 2]
    distance, *_ = variation(lost, real, 4)
    assert distance == pytest.approx(0.3)
    distance, *_ = variation(real, real, 4)
    assert distance == 0


def test_the_score_holds_the_share_of_each_class():
    x = random(209).standard_normal((100, 2))
    of_samples = np.repeat(np.arange(2), 50)
    of_data = np.repeat(np.arange(4), 25)
    given = samples(x, x, generated_classes=of_samples, reference_classes=of_data, classes=4)
    result = Classes()(given)["class_distance"]
    assert result.value == 0.5
    assert result.extra == {"share": (0.5, 0.5, 0, 0), "real": (0.25,) * 4}
    assert not Classes().applies(samples(x, x))


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


@pytest.mark.parametrize("d", [10, 200])
def test_planted_copies_are_found_and_new_rows_are_not(d):
    r = random(11)
    scale = r.uniform(0.5, 20, d)
    rows = r.standard_normal((5000, d)) * scale
    training, held_out, fresh, _ = np.split(rows, [3000, 3900, 4900])
    generated = fresh.copy()
    noise = 0.02 * scale * r.standard_normal((50, d))
    generated[:50] = training[100:150] + noise

    def share(side):
        scores = values(Memorisation(), side, held_out, training, scale=scale.astype(np.float32))
        return scores["near_copies"].value

    assert share(generated) == pytest.approx(0.05, abs=0.002)
    assert share(held_out) < 0.003
    sides = [side.astype(np.float32) for side in (generated, training, held_out)]
    copies, threshold = near_copies(*sides, scale)
    assert copies[:50].all()
    assert not copies[50:].any()
    apart = (held_out[:500, None] - training[None, :500]) / scale
    nearest = np.linalg.norm(apart, axis=-1).min(1)
    assert threshold < nearest.mean()


@pytest.mark.parametrize("d", [3, 200], ids=["by a search tree", "by a projection"])
def test_literal_copies_are_near_copies_where_real_data_consists_of_copies_and_there_is_no_score(d):
    """More than half of the held-out examples equal training examples: the threshold is 0, and
    tells nothing about a model.
    """
    rows = random(28).standard_normal((620, d)).astype(np.float32)
    training, new, newer = np.split(rows, [500, 580])
    held_out = np.concatenate([training[:120], new])
    generated = np.concatenate([training[200:260], newer])
    copies, threshold = near_copies(generated, training, held_out)
    assert threshold == 0
    assert copies[:60].all()
    assert not copies[60:].any()
    assert Memorisation()(samples(generated, held_out, training)) == {}


def test_nearest_distance_is_the_double_loop_and_a_copy_is_at_exactly_zero():
    r = random(12)
    x = r.integers(0, 256, (37, 90), dtype=np.uint8)
    y = r.integers(0, 256, (2200, 90), dtype=np.uint8)
    x[5] = y[1234]
    scale = np.full(90, 0.25)
    apart = (x[:, None] / 255 - y[None] / 255) / 0.25
    wanted = np.sqrt((apart**2).sum(-1)).min(1)
    distances = nearest_distance(x, y, scale)
    assert_allclose(distances, wanted, rtol=1e-5, atol=1e-12)
    assert distances[5] == 0
    x = x.astype(np.float32) / 255
    y = y.astype(np.float32) / 255
    distances = nearest_distance(x, y, scale)
    assert_allclose(distances, wanted, rtol=1e-5, atol=1e-6)
