"""Toys and stacked images: moments, densities, curves and counts in closed form."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from pushforward import data as pf_data
from pushforward.data import Truth
from pushforward.metrics.modes import Stacked

MIXTURES = [("ring", 0.01), ("grid", 0.05), ("8gaussians", 1.0), ("8gaussians-c2ot", 0.562)]


def check_centres(name, centres):
    """Check the centres of a grid or of eight equal angles."""
    if name == "grid":
        ticks = (-4, -2, 0, 2, 4)
        assert {tuple(centre) for centre in centres} == set(itertools.product(ticks, ticks))
        return
    radius = 1 if name == "ring" else 5
    assert np.allclose(np.linalg.norm(centres, axis=1), radius)
    x, y = centres.T
    angles = np.sort(np.arctan2(x, y))
    assert len(angles) == 8
    assert np.allclose(np.diff(angles), np.pi / 4)


@pytest.mark.parametrize(("name", "std"), MIXTURES)
def test_mixtures_have_their_centres_weights_and_spread(name, std):
    data = pf_data.load(name, labelled=True)
    truth = data.truth
    assert truth.std == std
    check_centres(name, truth.centres)
    x = data.train.x.astype(np.float64)
    n = len(x) / len(truth.centres)
    for mode, centre in enumerate(truth.centres):
        rows = x[data.train.labels == mode] - centre
        assert abs(len(rows) - n) < 5 * math.sqrt(n)
        largest = np.abs(rows.mean(0)).max()
        assert largest < 5 * std / math.sqrt(n)
        largest = np.abs(rows.std(0) / std - 1).max()
        assert largest < 5 / math.sqrt(2 * n)
        correlation = np.corrcoef(rows.T)[0, 1]
        assert abs(correlation) < 5 / math.sqrt(n)


def cell_centres(low, high, k):
    """The centres of k * k equal cells of a rectangle, as rows."""
    steps = (np.arange(k) + 0.5) / k
    corner = np.array(low)
    size = np.array(high) - corner
    return corner + size * list(itertools.product(steps, steps))


def test_log_density_of_a_mixture_is_scipys():
    centres = np.array([[0.0, 1.0], [2.0, -1.0], [4.0, 4.0]])
    weights = np.array([0.5, 0.2, 0.3])
    truth = Truth(centres, 0.7, weights)
    x = np.random.RandomState(5).standard_normal((40, 2)) * 3
    density = np.zeros(40)
    for weight, centre in zip(weights, centres, strict=True):
        normal = scipy.stats.multivariate_normal(centre, 0.49 * np.eye(2))
        density += weight * normal.pdf(x)
    assert np.allclose(truth.log_density(x), np.log(density), rtol=1e-12)


def test_density_of_checkerboards_integrates_to_one():
    data = pf_data.load("checkerboard")
    grid = cell_centres((-5, -5), (5, 5), 400)
    density = np.exp(data.truth.log_density(grid))
    cell = (10 / 400) ** 2
    assert density.sum() * cell == pytest.approx(1, abs=1e-9)
    assert np.allclose(data.truth.log_density(data.train.x), -math.log(32))


@pytest.mark.parametrize("name", ["moons", "swissroll", "scurve"])
def test_a_toys_density_integrates_to_one_and_is_that_of_its_rows(name):
    data = pf_data.load(name, limit=1000)
    x = data.train.x
    low = x.min(0) - 0.6
    high = x.max(0) + 0.6
    k = 50
    log_p = data.truth.log_density(cell_centres(low, high, k))
    cell = np.prod((high - low) / k)
    masses = np.exp(log_p) * cell
    assert masses.sum() == pytest.approx(1, abs=1e-3)
    finite = np.where(log_p > -700, log_p, 0)
    mean = (masses * finite).sum()
    own = data.truth.log_density(x)
    error = own.std() / math.sqrt(len(x))
    assert abs(own.mean() - mean) < 4 * error


def test_checkerboards_have_eight_equal_squares():
    data = pf_data.load("checkerboard")
    squares = np.floor((data.train.x + 4) / 2)
    _, counts = np.unique(squares, axis=0, return_counts=True)
    assert len(counts) == 8
    largest = np.abs(counts - 12_500).max()
    assert largest < 5 * math.sqrt(12_500)


MOONS = [("moons", 2, (-1, 0), 0.05), ("moons-c2ot", 3, (-1, -1), 0.2)]


@pytest.mark.parametrize(("name", "scale", "shift", "noise"), MOONS)
def test_moons_have_the_closed_form_moments(name, scale, shift, noise):
    data = pf_data.load(name, labelled=True)
    assert data.space.classes == ("upper", "lower")
    height = 2 / np.pi
    variance = np.array([0.5, 0.5 - height**2]) + noise**2
    centres = np.array([[0, height], [1, 0.5 - height]])
    for mode, centre in enumerate(centres * scale + shift):
        rows = data.train.x[data.train.labels == mode]
        largest = np.abs(rows.mean(0) - centre).max()
        error = scale * 0.75 / math.sqrt(49_000)
        assert largest < 5 * error
        assert np.allclose(rows.var(0), variance * scale**2, rtol=0.03)


def root_mean_square(values):
    return np.sqrt((values**2).mean())


def test_scurve_lies_on_two_arcs_around_their_centres():
    x = pf_data.load("scurve").train.x / 1.5
    height = x[:, 1]
    centres = np.zeros_like(x)
    centres[:, 1] = np.where(height > 0, 1, -1)
    away = np.linalg.norm(x - centres, axis=1) - 1
    ends = np.abs(height) > 0.3
    assert root_mean_square(away[ends]) == pytest.approx(0.05, rel=0.03)


def test_swissroll_lies_on_a_spiral():
    """Its radius is its angle, and the noise across it has standard deviation 1."""
    x = pf_data.load("swissroll").train.x * 5
    radius = np.linalg.norm(x, axis=1)
    angle = np.arctan2(x[:, 1], x[:, 0])
    off = (radius - angle + np.pi) % (2 * np.pi) - np.pi
    assert root_mean_square(off) == pytest.approx(1, rel=0.05)
    assert radius.min() < 4.7
    assert radius.max() > 13.5


def test_toys_are_the_same_data_everywhere():
    fingerprint = pf_data.load("ring").fingerprint
    assert pf_data.load("ring").fingerprint == fingerprint
    assert pf_data.load("ring", labelled=True).fingerprint != fingerprint
    first = pf_data.load("8gaussians").train.x[:2]
    assert np.allclose(first, [[2.919, 4.351], [4.669, 1.378]], atol=1e-3)


MODES = 1000


@pytest.fixture(scope="module")
def data():
    return pf_data.load("stacked-digits")


def images(split):
    """Which row of a split of single images each image is, by its bytes."""
    return {image.tobytes(): row for row, image in enumerate(split.x)}


def rows_of(x, known):
    """For each channel of each row, the row of the image in it; a KeyError where it is none of
    them.
    """
    single = x.reshape(-1, 8, 8)
    rows = [known[image.tobytes()] for image in single]
    return np.array(rows).reshape(-1, 3)


@pytest.mark.parametrize(("part", "rows"), [("train", 128_000), ("held_out", 26_000)])
def test_rows_are_made_of_their_own_split_and_modes_are_numbers_of_their_labels(data, part, rows):
    x = getattr(data, part).x
    single = getattr(pf_data.load("digits"), part)
    hundreds, tens, ones = single.labels[rows_of(x, images(single))].T
    modes = getattr(data.truth, part)
    assert (modes == 100 * hundreds + 10 * tens + ones).all()
    assert x.shape == (rows, 3, 8, 8)
    assert x.dtype == np.uint8
    assert data.truth.modes == MODES


def test_digits_are_in_one_split_only():
    base = pf_data.load("digits")
    assert not images(base.train).keys() & images(base.held_out).keys()


def check_counts(numbers, modes, reached, divergence):
    truth = SimpleNamespace(modes=modes, read=lambda _: numbers)
    samples = SimpleNamespace(generated=None, truth=truth)
    scores = Stacked()(samples)
    found = scores["stacked_modes"]
    assert found.value == reached
    missing = set(range(modes)) - set(numbers.tolist())
    assert found.extra["missing"] == tuple(sorted(missing))
    assert scores["stacked_kl"].value == pytest.approx(divergence, abs=1e-12)


def test_counts_and_divergence_are_those_of_a_closed_form():
    modes = np.arange(MODES)
    check_counts(np.repeat(modes, 3), MODES, 1000, 0.0)
    check_counts(np.full(77, 321), MODES, 1, np.log(1000))
    without_one = np.delete(modes, 614)
    check_counts(without_one, MODES, 999, np.log(1000 / 999))
    binomial = np.random.Generator(np.random.Philox(1)).binomial(12, 0.3, 500)
    counts = np.bincount(binomial, minlength=13)
    divergence = scipy.stats.entropy(counts, np.ones(13))
    reached = np.count_nonzero(counts)
    check_counts(binomial, 13, reached, divergence)
