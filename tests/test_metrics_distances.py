"""Distances between clouds against closed forms and independent implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from programs.rows import random

from pushforward.metrics.frechet import extrapolated_distance, frechet_distance, gaussian_distance
from pushforward.metrics.subsets import drawn
from pushforward.metrics.transport import matchings, transport_distance, transport_score
from pushforward.metrics.two_sample import energy_distance, energy_test, kernel_distance, neighbour_accuracy, squared_mmd

# --- Fréchet ---


def clouds(n=400, m=300, f=7):
    r = random(1)
    return r.standard_normal((n, f)) @ r.standard_normal((f, f)), r.standard_normal((m, f)) * r.uniform(0.5, 2, f) + 0.3


def test_frechet_between_commuting_gaussians_is_the_closed_form():
    r = random(2)
    turn = np.linalg.qr(r.standard_normal((6, 6)))[0]
    a, b, mean = r.uniform(0.1, 4, 6), r.uniform(0.1, 4, 6), r.standard_normal(6)
    distance = gaussian_distance(np.zeros(6), (turn * a) @ turn.T, mean, (turn * b) @ turn.T)
    wanted = (mean**2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert distance == pytest.approx(wanted, rel=1e-6)


def test_frechet_agrees_with_torch_fidelity():
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = clouds()
    first, second = (fid.fid_features_to_statistics(torch.from_numpy(part)) for part in (x, y))
    wanted = float(fid.fid_statistics_to_metric(first, second, False)["frechet_inception_distance"])
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-6)


# --- KID -------------------------------------------------------------------------------------------------------------


def by_hand(x, y):
    n, f = x.shape
    k = lambda a, b: (float(a @ b) / f + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(n) for j in range(n)]
    same = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs if i != j) / (n * (n - 1))
    return same - 2 * sum(k(x[i], y[j]) for i, j in pairs) / n**2


def test_kid_equals_the_double_loop_and_torch_fidelity():
    x, y = (part[:40] for part in clouds())
    assert kernel_distance(x, y)[0] == pytest.approx(by_hand(x, y), rel=1e-10)
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    poly = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    wanted = kid.mmd2(kid.kernel_poly(x, x, **poly), kid.kernel_poly(x, y, **poly), kid.kernel_poly(y, y, **poly))
    assert kernel_distance(x, y)[0] == pytest.approx(wanted, rel=1e-10)


def test_kid_is_unbiased_negative_half_of_the_time_and_knows_its_error():
    estimates = np.array([squared_mmd(*random(seed).standard_normal((2, 60, 4)))[:2] for seed in range(300)])
    assert abs(estimates[:, 0].mean()) < 4 * estimates[:, 0].std() / np.sqrt(300)
    assert 0.35 < (estimates[:, 0] < 0).mean() < 0.75
    apart = np.array([[[0.0]], [[1.0]]])
    shifted = np.array([squared_mmd(*(random(s).standard_normal((2, 60, 4)) + apart))[:2] for s in range(300)])
    assert shifted[:, 1].mean() == pytest.approx(shifted[:, 0].std(), rel=0.2)


def test_kid_in_blocks_is_the_mean_over_blocks_of_drawn_rows():
    r = random(4)
    x, y = r.standard_normal((50, 3)), r.standard_normal((50, 3)) + 0.5
    value, error, _ = kernel_distance(x, y, every_pair=30, block=20)
    order = random(0)
    x, y = x[order.permutation(50)], y[order.permutation(50)]
    each = [by_hand(x[at : at + 20], y[at : at + 20]) for at in (0, 20)]
    assert value == pytest.approx(np.mean(each), rel=1e-10)
    assert error == pytest.approx(abs(each[0] - each[1]) / 2, rel=1e-10)


# --- Wasserstein ---


def test_w2_of_a_shifted_cloud_is_the_length_of_the_shift():
    x, shift = random(70).standard_normal((50, 3)), np.array([0.3, -0.4, 1.2])
    assert transport_distance(x, random(71).permutation(x + shift)) == pytest.approx(np.linalg.norm(shift), rel=1e-12)


def test_w2_is_the_least_over_all_matchings():
    x, y = random(74).standard_normal((6, 2)), random(75).standard_normal((6, 2))
    best = min(np.square(x - y[list(order)]).sum(1).mean() for order in itertools.permutations(range(6)))
    assert transport_distance(x, y) ** 2 == pytest.approx(best, rel=1e-12)


def test_w2_of_many_points_is_the_root_mean_square_over_blocks():
    x, y = random(76).standard_normal((90, 2)), random(77).standard_normal((90, 2)) + 1
    value = transport_score(list(matchings(x, y, block=30, blocks=3)))
    x, y = drawn(x, 90, 0), drawn(y, 90, 1)
    squares = [transport_distance(x[at : at + 30], y[at : at + 30]) ** 2 for at in (0, 30, 60)]
    assert value == pytest.approx(np.sqrt(np.mean(squares)))


# --- two-sample tests ---


def test_energy_distance_is_the_mean_over_pairs():
    x, y = random(83).standard_normal((7, 2)), random(84).standard_normal((9, 2)) + 0.5

    def norm(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    wanted = 2 * norm(x, y).mean() - norm(x, x).sum() / 42 - norm(y, y).sum() / 72
    assert energy_distance(x, y) == pytest.approx(wanted, rel=1e-12)
    assert energy_test(x, y, 5)[0] == pytest.approx(wanted, rel=1e-12)


def test_energy_distance_of_two_gaussians_is_the_closed_form():
    # x - y is normal with variance 2, so |x - y| is folded normal
    from scipy.stats import foldnorm

    m, n = 1.5, 4000
    x, y = random(85).standard_normal((n, 1)), random(86).standard_normal((n, 1)) + m
    wanted = 2 * foldnorm(m / np.sqrt(2), scale=np.sqrt(2)).mean() - 2 * foldnorm(0, scale=np.sqrt(2)).mean()
    assert energy_test(x, y, 1)[0] == pytest.approx(wanted, abs=0.05)


def test_p_values_are_uniform_where_nothing_differs_and_small_where_something_does():
    pairs = [(random(900 + i).standard_normal((20, 2)), random(1900 + i).standard_normal((20, 2))) for i in range(80)]
    p = np.array([energy_test(x, y, 99)[1] for x, y in pairs])
    assert p.min() >= 0.01
    assert abs(np.mean(p < 0.3) - 0.3) < 0.16  # three standard errors of 80 trials
    assert max(energy_test(x, y + 2, 99)[1] for x, y in pairs[:5]) == 0.01


def test_the_nearest_neighbour_test_is_half_for_equal_one_for_apart_and_less_for_copies():
    x, y = random(87).standard_normal((400, 3)), random(88).standard_normal((400, 3))
    assert neighbour_accuracy(x, y) == pytest.approx(0.5, abs=0.08)
    assert neighbour_accuracy(x, y + 20) == 1
    assert neighbour_accuracy(y + 1e-6, y) < 0.05


# --- Fréchet distance without bias ---


def test_the_extrapolated_frechet_distance_has_no_bias():
    means = np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    plain, limits = [], []
    numbers = random(91)
    for _ in range(30):
        x, y = numbers.standard_normal((600, 6)) + means, numbers.standard_normal((600, 6))
        plain.append(frechet_distance(x, y))
        limits.append(extrapolated_distance(x, y))
    error = np.std(limits) / np.sqrt(len(limits))
    assert abs(np.mean(limits) - 0.09) < 3 * error + 0.005
    assert np.mean(plain) - 0.09 > 2.5 * error + 0.02  # the bias that is removed
    assert extrapolated_distance(x[:299], y) is None
