"""Stacked images: where their rows come from, and the modes that a classifier counts, against closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

import pushforward as pf
from pushforward.evaluation.features import fit_features
from pushforward.metrics.stacked import Stacked

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
    """For each channel of each row, the row of the image in it; a KeyError where it is none of them."""
    return np.array([[known[channel.tobytes()] for channel in row] for row in x])


# Data


def test_rows_are_made_of_their_own_split_and_their_mode_is_the_number_of_its_labels(data):
    base = pf.data.load("digits")
    train, held_out = images(base.train), images(base.held_out)
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


def test_images_are_drawn_evenly_and_channels_apart(data):
    row = rows_of(data.train.x, images(pf.data.load("digits").train))
    for channel in row.T:
        counts = np.bincount(channel, minlength=1437)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    digits = np.stack([data.truth.train // 100, data.truth.train // 10 % 10, data.truth.train % 10])
    for first, second in ((0, 1), (0, 2), (1, 2)):
        table = np.bincount(10 * digits[first] + digits[second], minlength=100).reshape(10, 10)
        assert scipy.stats.chi2_contingency(table).pvalue > 1e-3
    assert (row[:, 0] == row[:, 1]).mean() == pytest.approx(1 / 1437, rel=0.4)


# Counting


@pytest.mark.parametrize(
    ("numbers", "modes", "reached", "divergence"),
    [
        (np.repeat(np.arange(MODES), 3), MODES, 1000, 0.0),
        (np.full(77, 321), MODES, 1, np.log(1000)),
        (np.delete(np.arange(MODES), 614), MODES, 999, np.log(1000 / 999)),
        (BINOMIAL, 13, len(np.unique(BINOMIAL)), scipy.stats.entropy(np.bincount(BINOMIAL, minlength=13), np.ones(13))),
    ],
)
def test_counts_and_divergence_are_those_of_a_closed_form(numbers, modes, reached, divergence):
    samples = SimpleNamespace(generated=None, truth=SimpleNamespace(modes=modes, read=lambda _: numbers))
    scores = Stacked()(samples)
    assert scores["stacked_modes"].value == reached
    assert scores["stacked_modes"].extra["missing"] == tuple(sorted({*range(modes)} - {*numbers.tolist()}))
    assert scores["stacked_kl"].value == pytest.approx(divergence, abs=1e-12)


# The classifier and the score
