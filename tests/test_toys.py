"""Toys and stacked images: moments, densities, curves and counts in closed form."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

import pushforward as pf
from pushforward import data as pf_data
from pushforward.data import Truth
from pushforward.evaluation.features import fit_features
from pushforward.metrics.modes import Stacked


@pytest.mark.parametrize("name", ["ring", "grid", "8gaussians", "8gaussians-c2ot"])
def test_mixtures_have_their_centres_weights_and_spread(name):
    data = pf_data.load(name, labelled=True)
    truth = data.truth
    x = data.train.x.astype(np.float64)
    modes = data.train.labels
    k = len(truth.centres)
    assert k == {"ring": 8, "grid": 25}.get(name, 8)
    assert (
        truth.std == {"ring": 0.01, "grid": 0.05, "8gaussians": 1.0, "8gaussians-c2ot": 0.562}[name]
    )
    radius = np.linalg.norm(truth.centres, axis=1)
    if name == "grid":
        assert {tuple(c) for c in truth.centres} == {
            (a, b) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)
        }
    else:
        assert np.allclose(radius, 1 if name == "ring" else 5)
        actual = np.sort(np.diff(np.sort(np.arctan2(*truth.centres.T))))
        assert np.allclose(actual, np.pi / 4)
    n = len(x) / k
    for mode in range(k):
        rows = x[modes == mode] - truth.centres[mode]
        difference = abs(len(rows) - n)
        assert difference < 5 * math.sqrt(n)
        largest = np.abs(rows.mean(0)).max()
        expected = 5 * truth.std / math.sqrt(n)
        assert largest < expected
        largest = np.abs(rows.std(0) / truth.std - 1).max()
        expected = 5 / math.sqrt(2 * n)
        assert largest < expected
        actual = abs(np.corrcoef(rows.T)[0, 1])
        assert actual < 5 / math.sqrt(n)


def test_mixture_log_density_is_scipys_and_checkerboards_integrates_to_one():
    truth = Truth(np.array([[0.0, 1.0], [2.0, -1.0], [4.0, 4.0]]), 0.7, np.array([0.5, 0.2, 0.3]))
    x = np.random.RandomState(5).standard_normal((40, 2)) * 3
    expected = sum(
        w * scipy.stats.multivariate_normal(c, 0.49 * np.eye(2)).pdf(x)
        for w, c in zip(truth.weights, truth.centres, strict=True)
    )
    assert np.allclose(truth.log_density(x), np.log(expected), rtol=1e-12)
    data = pf_data.load("checkerboard")
    ticks = np.linspace(-5, 5, 400, endpoint=False) + 10 / 800
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    assert np.exp(data.truth.log_density(grid)).sum() * (10 / 400) ** 2 == pytest.approx(
        1, abs=1e-9
    )
    assert np.allclose(data.truth.log_density(data.train.x), -math.log(32))


@pytest.mark.parametrize("name", ["moons", "swissroll", "scurve"])
def test_a_toys_density_integrates_to_one_and_is_that_of_its_rows(name):
    data = pf_data.load(name, limit=1000)
    x = data.train.x
    low = x.min(0) - 0.6
    high = x.max(0) + 0.6
    k = 50
    axes = [low[i] + (high[i] - low[i]) * (np.arange(k) + 0.5) / k for i in range(2)]
    grid = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
    log_p = data.truth.log_density(grid)
    cell = np.prod((high - low) / k)
    assert np.exp(log_p).sum() * cell == pytest.approx(1, abs=1e-3)
    own = data.truth.log_density(x)
    mean = (np.exp(log_p) * np.where(log_p > -700, log_p, 0)).sum() * cell
    difference = abs(own.mean() - mean)
    expected = 4 * own.std() / math.sqrt(len(x))
    assert difference < expected


def test_checkerboards_have_eight_equal_squares():
    data = pf_data.load("checkerboard")
    squares = np.unique(np.floor((data.train.x + 4) / 2), axis=0, return_counts=True)[1]
    assert len(squares) == 8
    largest = np.abs(squares - 12_500).max()
    assert largest < 5 * math.sqrt(12_500)


def test_moons_have_the_closed_form_moments():
    plain = pf_data.load("moons", labelled=True)
    c2ot = pf_data.load("moons-c2ot", labelled=True)
    assert plain.space.classes == ("upper", "lower")
    for data, scale, shift, noise in ((plain, 2, (-1, 0), 0.05), (c2ot, 3, (-1, -1), 0.2)):
        x = data.train.x
        for mode, centre in ((0, (0, 2 / np.pi)), (1, (1, 0.5 - 2 / np.pi))):
            rows = x[data.train.labels == mode]
            variance = np.array([0.5, 0.5 - 4 / np.pi**2]) + noise**2
            largest = np.abs(rows.mean(0) - (np.array(centre) * scale + shift)).max()
            expected = 5 * scale * 0.75 / math.sqrt(49_000)
            assert largest < expected
            assert np.allclose(rows.var(0), variance * scale**2, rtol=0.03)


def test_scurve_and_swissroll_lie_on_their_curves():
    x = pf_data.load("scurve").train.x / 1.5
    away = np.abs(np.linalg.norm(x - np.where(x[:, 1:] > 0, 1, -1) * np.array([0, 1]), axis=1) - 1)
    actual = np.sqrt((away[np.abs(x[:, 1]) > 0.3] ** 2).mean())
    assert actual == pytest.approx(0.05, rel=0.03)
    x = pf_data.load("swissroll").train.x * 5
    radius = np.linalg.norm(x, axis=1)
    turn = np.arctan2(x[:, 1], x[:, 0])
    off = (radius - turn + np.pi) % (
        2 * np.pi
    ) - np.pi  # radius = angle on the spiral; noise 1 across it
    actual = np.sqrt((off**2).mean())
    assert actual == pytest.approx(1, rel=0.05)
    assert radius.min() < 4.7
    assert radius.max() > 13.5


def test_toys_are_the_same_data_everywhere():
    assert pf_data.load("ring").fingerprint == pf_data.load("ring").fingerprint
    x = pf_data.load("8gaussians").train.x
    assert np.allclose(x[:2], [[2.919, 4.351], [4.669, 1.378]], atol=1e-3)
    assert pf_data.load("ring").fingerprint != pf_data.load("ring", labelled=True).fingerprint


MODES = 1000
BINOMIAL = np.random.Generator(np.random.Philox(1)).binomial(12, 0.3, 500)


@pytest.fixture(scope="module")
def data():
    return pf.data.load("stacked-digits")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def features(data, cache, as_usual):
    with as_usual():
        return fit_features(data, cache=cache)


def images(split):
    """Which row of a split of single images each image is, by its bytes."""
    return {image.tobytes(): row for row, image in enumerate(split.x)}


def rows_of(x, known):
    """For each channel of each row, the row of the image in it; a KeyError where it is none of
    them.
    """
    return np.array([[known[channel.tobytes()] for channel in row] for row in x])


# Data


def test_rows_are_made_of_their_own_split_and_their_mode_is_the_number_of_its_labels(data):
    base = pf.data.load("digits")
    train = images(base.train)
    held_out = images(base.held_out)
    assert not train.keys() & held_out.keys()
    for x, known, labels, modes in (
        (data.train.x, train, base.train.labels, data.truth.train),
        (data.held_out.x, held_out, base.held_out.labels, data.truth.held_out),
    ):
        hundreds, tens, ones = labels[rows_of(x, known)].T
        assert (modes == 100 * hundreds + 10 * tens + ones).all()
    assert (data.train.x.shape, data.held_out.x.shape) == ((128_000, 3, 8, 8), (26_000, 3, 8, 8))
    assert data.train.x.dtype == np.uint8
    assert data.truth.modes == MODES


# Counting


@pytest.mark.parametrize(
    ("numbers", "modes", "reached", "divergence"),
    [
        (np.repeat(np.arange(MODES), 3), MODES, 1000, 0.0),
        (np.full(77, 321), MODES, 1, np.log(1000)),
        (np.delete(np.arange(MODES), 614), MODES, 999, np.log(1000 / 999)),
        (
            BINOMIAL,
            13,
            len(np.unique(BINOMIAL)),
            scipy.stats.entropy(np.bincount(BINOMIAL, minlength=13), np.ones(13)),
        ),
    ],
)
def test_counts_and_divergence_are_those_of_a_closed_form(numbers, modes, reached, divergence):
    samples = SimpleNamespace(
        generated=None, truth=SimpleNamespace(modes=modes, read=lambda _: numbers)
    )
    scores = Stacked()(samples)
    assert scores["stacked_modes"].value == reached
    assert scores["stacked_modes"].extra["missing"] == tuple(
        sorted({*range(modes)} - {*numbers.tolist()})
    )
    assert scores["stacked_kl"].value == pytest.approx(divergence, abs=1e-12)


# The classifier and the score
