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


def test_a_straight_way_is_shorter_in_the_middle_and_a_spherical_one_is_not():
    a = normal(0, 500, 60)
    b = 2 * normal(500, 500, 60)
    share = 0.3
    straight = lerp(a, b, share)
    torch.testing.assert_close(straight, 0.7 * a + 0.3 * b)
    squares = 0.49 * a.square().sum(1) + 0.09 * b.square().sum(1) + 0.42 * (a * b).sum(1)
    torch.testing.assert_close(straight.square().sum(1), squares)
    actual = slerp(a, b, share).norm(dim=1)
    expected = 0.7 * a.norm(dim=1) + 0.3 * b.norm(dim=1)
    torch.testing.assert_close(actual, expected)
    middle = [way(a, b / 2, 0.5).square().sum(1).mean() / 60 for way in (lerp, slerp)]
    assert float(middle[0]) == pytest.approx(1 / 2, abs=0.02), (
        "half the squared norm of noise is left"
    )
    assert float(middle[1]) == pytest.approx(1.0, abs=0.03)
    actual = lerp(a, b, torch.linspace(0, 1, 500))[[0, -1]]
    expected = torch.stack([a[0], b[-1]])
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("limit", LIMITS)
def test_truncated_noise_has_the_truncated_normal_distribution(limit):
    z = normal(1, 4000, 5)
    cut = truncate(z, limit)
    largest = float(cut.abs().max())
    assert largest <= limit * (1 + 1e-6)
    pvalue = stats.kstest(cut.numpy().ravel(), stats.truncnorm(-limit, limit).cdf).pvalue
    assert pvalue > 0.01
    if limit < 2:
        pvalue = stats.kstest(
            z.numpy().ravel() * float(cut.std()), stats.truncnorm(-limit, limit).cdf
        ).pvalue
        assert pvalue < 1e-6
    wanted = stats.truncnorm(-limit, limit).ppf(stats.norm.cdf(z.double().numpy()))
    np.testing.assert_allclose(cut.numpy(), wanted, atol=2e-6)


def test_truncation_is_monotone_odd_and_vanishes_with_the_limit():
    z = torch.linspace(-9, 9, 361, dtype=torch.float64)
    for limit in (1e-3, *LIMITS, 20.0):
        cut = truncate(z, limit)
        assert (cut.diff() >= 0).all()
        assert (cut[100:261].diff() > 0).all()
        expected = -truncate(-z, limit)
        torch.testing.assert_close(cut, expected, rtol=0, atol=0)
        assert (cut.abs() <= z.abs() + 1e-12).all()
    for limit in (20.0, math.inf):
        torch.testing.assert_close(truncate(z, limit), z, rtol=1e-12, atol=1e-12)
    gaps = [
        float((truncate(z[80:281], limit) - z[80:281]).abs().max())
        for limit in (0.5, 1, 2, 4, 6, 8)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-9
    assert torch.autograd.gradcheck(
        lambda part: truncate(part, 0.7), normal(0, 4, 3).double().requires_grad_(True)
    )
    for limit in (0, -1, math.nan):
        with pytest.raises(UsageError, match="above 0"):
            truncate(z, limit)


def images(n=300, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 2, 3, 5), dtype=np.uint8)
    return build("noise", Split(pixels[: n - 60]), Split(pixels[n - 60 :]))


def test_nearest_rows_agree_with_all_distances():
    rng = np.random.default_rng(3)
    table = (rng.normal(size=(3000, 9)) * np.linspace(0.1, 30, 9)).astype(np.float32)
    for data in (images(), build("table", Split(table[:2500]), Split(table[2500:]))):
        x = data.held_out.data_units(slice(0, 20))
        neighbours = nearest(x, data, 4)
        unit = np.repeat(data.space.std, data.space.size // data.space.shape[0])
        rows, train, held = (
            part.flatten(1).numpy() / unit
            for part in (x, data.train.data_units(), data.held_out.data_units())
        )
        gaps = cdist(rows, train)
        expected = gaps.argsort(1)[:, :4]
        np.testing.assert_array_equal(neighbours.examples, expected)
        expected = np.sort(gaps, 1)[:, :4]
        np.testing.assert_allclose(neighbours.distances, expected, rtol=1e-5)
        judges = np.random.Generator(np.random.Philox(0)).permutation(len(held))[:500]
        assert neighbours.threshold == pytest.approx(
            0.25 * np.median(cdist(held[judges], train).min(1)), rel=1e-5
        )
        np.testing.assert_array_equal(
            neighbours.copies, neighbours.distances[:, 0] < neighbours.threshold
        )
        assert not neighbours.copies.any()


def test_planted_copies_are_found_at_distance_zero():
    data = images()
    x = torch.cat([data.held_out.data_units(slice(0, 3)), data.train.data_units([17, 200])])
    neighbours = nearest(x + 1e-4, data, 2)
    assert neighbours.copies.tolist() == [False] * 3 + [True] * 2
    examples = neighbours.examples[3:, 0].tolist()
    assert examples == [17, 200]
    assert (neighbours.distances[3:, 0] == 0).all()
    assert (neighbours.distances[3:, 1] > 0).all()
    torch.testing.assert_close(
        neighbours.x[3:], x[3:], msg="samples are rounded as files hold them"
    )
    noisy = data.train.data_units([5]).add(0.02).clamp(0, 1)
    near = nearest(noisy, data)
    assert (near.examples.shape, near.copies.tolist()) == ((1, 1), [True])
    assert 0 < near.distances[0, 0] < near.threshold
    shape = nearest(x[:1], data, len(data.train)).examples.shape
    assert shape == (1, len(data.train))
    with pytest.raises(Diverged):
        nearest(x / 0, data)
