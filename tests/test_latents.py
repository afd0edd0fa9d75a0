"""The z of one-call models: interpolation, truncation, and the nearest training examples."""

import math

import numpy as np
import pytest
import torch
from programs.one_call import normal
from scipy import stats
from scipy.spatial.distance import cdist

from pushforward.data.core.dataset import Split, build
from pushforward.editing import lerp, slerp, truncate
from pushforward.errors import Diverged, UsageError
from pushforward.evaluation.pictures import nearest

LIMITS = (0.3, 1.0, 2.5)


def squares(x):
    return x.square().sum(1)


def test_norms_along_straight_and_spherical_ways():
    a = normal(0, 500, 60)
    b = 2 * normal(500, 500, 60)
    straight = lerp(a, b, 0.3)
    torch.testing.assert_close(straight, 0.7 * a + 0.3 * b)
    expected = 0.49 * squares(a) + 0.09 * squares(b) + 0.42 * (a * b).sum(1)
    torch.testing.assert_close(squares(straight), expected)
    spherical = slerp(a, b, 0.3)
    lengths = 0.7 * a.norm(dim=1) + 0.3 * b.norm(dim=1)
    torch.testing.assert_close(spherical.norm(dim=1), lengths)
    along = lerp(a, b, torch.linspace(0, 1, 500))
    torch.testing.assert_close(along[0], a[0])
    torch.testing.assert_close(along[-1], b[-1])


@pytest.mark.parametrize(("way", "length"), [(lerp, 0.5), (slerp, 1.0)])
def test_a_straight_way_is_shorter_in_the_middle_and_a_spherical_one_is_not(way, length):
    a = normal(0, 500, 60)
    b = normal(500, 500, 60)
    middle = way(a, b, 0.5)
    mean = float(squares(middle).mean()) / 60
    assert mean == pytest.approx(length, abs=0.02)


@pytest.mark.parametrize("limit", LIMITS)
def test_truncated_noise_has_the_truncated_normal_distribution(limit):
    z = normal(1, 4000, 5)
    cut = truncate(z, limit)
    largest = float(cut.abs().max())
    assert largest <= limit * (1 + 1e-6)
    truncated = stats.truncnorm(-limit, limit)
    pvalue = stats.kstest(cut.numpy().ravel(), truncated.cdf).pvalue
    assert pvalue > 0.01
    if limit < 2:
        scaled = z.numpy().ravel() * float(cut.std())
        pvalue = stats.kstest(scaled, truncated.cdf).pvalue
        assert pvalue < 1e-6
    ranks = stats.norm.cdf(z.double().numpy())
    np.testing.assert_allclose(cut.numpy(), truncated.ppf(ranks), atol=2e-6)


Z = torch.linspace(-9, 9, 361, dtype=torch.float64)


def assert_same(actual, expected, tolerance=0):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("limit", [1e-3, *LIMITS, 20.0])
def test_truncation_is_monotone_and_odd(limit):
    cut = truncate(Z, limit)
    assert (cut.diff() >= 0).all()
    assert (cut[100:261].diff() > 0).all()
    assert_same(cut, -truncate(-Z, limit))
    assert (cut.abs() <= Z.abs() + 1e-12).all()


def test_truncation_vanishes_with_the_limit():
    for limit in (20.0, math.inf):
        assert_same(truncate(Z, limit), Z, 1e-12)
    usual = Z[80:281]
    gaps = []
    for limit in (0.5, 1, 2, 4, 6, 8):
        gap = (truncate(usual, limit) - usual).abs().max()
        gaps.append(float(gap))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-9


def test_truncation_has_a_derivative():
    z = normal(0, 4, 3).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda part: truncate(part, 0.7), z)


@pytest.mark.parametrize("limit", [0, -1, math.nan])
def test_limits_that_are_not_positive_are_refused(limit):
    with pytest.raises(UsageError, match="above 0"):
        truncate(Z, limit)


def images(n=300, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 2, 3, 5), dtype=np.uint8)
    train = Split(pixels[: n - 60])
    held_out = Split(pixels[n - 60 :])
    return build("noise", train, held_out)


def numbers():
    random = np.random.default_rng(3)
    scales = np.linspace(0.1, 30, 9)
    table = (random.normal(size=(3000, 9)) * scales).astype(np.float32)
    return build("table", Split(table[:2500]), Split(table[2500:]))


@pytest.mark.parametrize("make", [images, numbers])
def test_nearest_rows_agree_with_all_distances(make):
    data = make()
    x = data.held_out.data_units(slice(0, 20))
    neighbours = nearest(x, data, 4)
    unit = np.repeat(data.space.std, data.space.size // data.space.shape[0])

    def standardised(part):
        return part.flatten(1).numpy() / unit

    train = standardised(data.train.data_units())
    distances = cdist(standardised(x), train)
    order = distances.argsort(1)[:, :4]
    np.testing.assert_array_equal(neighbours.examples, order)
    smallest = np.sort(distances, 1)[:, :4]
    np.testing.assert_allclose(neighbours.distances, smallest, rtol=1e-5)
    held_out = standardised(data.held_out.data_units())
    judges = np.random.Generator(np.random.Philox(0)).permutation(len(held_out))[:500]
    usual = np.median(cdist(held_out[judges], train).min(1))
    assert neighbours.threshold == pytest.approx(0.25 * usual, rel=1e-5)
    below = neighbours.distances[:, 0] < neighbours.threshold
    np.testing.assert_array_equal(neighbours.copies, below)
    assert not neighbours.copies.any()


def test_planted_copies_are_found_at_distance_zero():
    data = images()
    own = data.held_out.data_units(slice(0, 3))
    planted = data.train.data_units([17, 200])
    x = torch.cat([own, planted])
    neighbours = nearest(x + 1e-4, data, 2)
    assert neighbours.copies.tolist() == [False, False, False, True, True]
    assert neighbours.examples[3:, 0].tolist() == [17, 200]
    first, second = neighbours.distances[3:].T
    assert (first == 0).all()
    assert (second > 0).all()
    rounded = neighbours.x[3:]
    torch.testing.assert_close(rounded, planted, msg="samples are rounded as files hold them")


def test_a_noisy_copy_is_near_its_original():
    data = images()
    noisy = data.train.data_units([5]).add(0.02).clamp(0, 1)
    near = nearest(noisy, data)
    assert near.examples.shape == (1, 1)
    assert near.copies.tolist() == [True]
    assert 0 < near.distances[0, 0] < near.threshold


def test_all_rows_can_be_neighbours_and_samples_must_be_finite():
    data = images()
    x = data.held_out.data_units(slice(0, 3))
    rows = len(data.train)
    assert nearest(x[:1], data, rows).examples.shape == (1, rows)
    with pytest.raises(Diverged):
        nearest(x / 0, data)
