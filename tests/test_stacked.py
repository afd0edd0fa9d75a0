"""Stacked images: where their rows come from, and the modes that a classifier counts, against closed forms."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

import pushforward as pf
from pushforward.cli import main
from pushforward.conditions import Label
from pushforward.data import Dataset, Split, measure
from pushforward.data.core.ground_truth import numbered
from pushforward.data.sets.stacked import stack
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.scores import floors, score
from pushforward.metrics.modes import Stacked

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


def test_the_same_rows_every_time_and_on_every_machine(data):
    again = pf.data.load("stacked-digits")
    assert again.fingerprint == data.fingerprint
    assert data.truth.train[:6].tolist() == [371, 460, 151, 659, 502, 242]
    assert data.truth.held_out[:6].tolist() == [493, 786, 325, 63, 583, 839]


def test_a_limit_keeps_the_modes_of_the_rows_that_it_keeps(data):
    few = pf.data.load("stacked-digits", limit=70, seed=3)
    assert (len(few.train), len(few.truth.train), len(few.held_out)) == (70, 70, 26_000)
    assert (few.held_out.x == data.held_out.x).all()
    labels, known = few.truth.base.train.labels, images(few.truth.base.train)
    assert (numbered(labels[rows_of(few.train.x, known)], 10) == few.truth.train).all()
    whole = {row.tobytes() for row in data.train.x}
    assert all(row.tobytes() in whole for row in few.train.x)
    assert (few.train.x != pf.data.load("stacked-digits", limit=70, seed=4).train.x).any()


def test_there_are_no_labels(data):
    assert data.space.classes == ()
    assert data.train.labels is None
    with pytest.raises(UsageError, match="has no labels"):
        pf.data.load("stacked-digits", labelled=True)
    with pytest.raises(UsageError, match="is none: leave it out"):
        pf.data.load("stacked-digits", target="x")


def test_resized_stacks_keep_a_base_of_their_size():
    small = pf.data.load("stacked-digits", resize=(6, 4), limit=50)
    base = pf.data.load("digits", resize=(6, 4))
    assert small.truth.base.fingerprint == base.fingerprint
    rows_of(small.train.x, images(base.train))


def base_of(shape=(1, 5, 7), classes=("a", "b", "c"), n=40):
    random = np.random.Generator(np.random.Philox(0))
    x = random.integers(0, 256, (n, *shape), dtype=np.uint8)
    labels = random.integers(0, max(1, len(classes)), n) if classes else None
    half = n // 2
    parts = [Split(x[rows], None if labels is None else labels[rows]) for rows in (slice(half), slice(half, None))]
    return Dataset("base", measure(parts[0].x, {"label": Label.of(parts[0].labels, classes)} if classes else {}), *parts)


def test_any_labelled_images_of_one_channel_can_be_stacked():
    base = base_of()
    stacked = stack("made", base, counts=(60, 30), channels=2)
    assert stacked.train.x.shape == (60, 2, 5, 7)
    assert stacked.truth.modes == 9
    first, second = base.train.labels[rows_of(stacked.train.x, images(base.train))].T
    assert (stacked.truth.train == 3 * first + second).all()


@pytest.mark.parametrize("given", [{"shape": (3, 5, 7)}, {"classes": ()}, {"classes": ("a",)}])
def test_bases_that_cannot_be_stacked(given):
    with pytest.raises(DataError, match="expected images of one channel"):
        stack("made", base_of(**given))


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


def test_the_classifier_reads_the_channels_in_their_order(data, features):
    accuracy = features.channels.accuracy
    assert accuracy > 0.97
    assert f"held-out accuracy {accuracy:.1%}" in features.describe(500)
    right = features.classify(data.held_out.x) == data.truth.held_out
    assert right.mean() == pytest.approx(accuracy**3, abs=0.005)  # three digits are read apart


def expected(features, images, n):
    """The mean KL of n samples whose channels are drawn apart from images of one split.

    The classes that the classifier sees have the shares q, so that KL(q^3 || uniform) = 3 (log 10 - H(q)); a histogram of n
    draws from k modes adds (k - 1) / (2 n).
    """
    shares = np.bincount(features.channels.classify(images.x), minlength=10) / len(images)
    return 3 * scipy.stats.entropy(shares, np.full(10, 0.1)) + (MODES - 1) / (2 * n)


def test_real_digits_reach_all_modes_at_the_divergence_of_a_perfect_sampler(data, features):
    n = 26_000
    scores = score(data.held_out.x, data, features, n=n, metrics=["stacked"])
    assert scores["stacked_modes"].value == MODES
    spread = np.sqrt(2 * (MODES - 1)) / (2 * n)
    assert abs(scores["stacked_kl"].value - expected(features, data.truth.base.held_out, n)) < 4 * spread


def test_floors_are_what_training_rows_reach(data, features):
    n, redraws = 2000, 4
    floor = floors(data, features, n=n, redraws=redraws, metrics=["stacked"], cache=False)
    assert floor["stacked_modes"].value == pytest.approx(MODES * (1 - (1 - 1 / MODES) ** n), abs=20)
    poisson = scipy.stats.poisson(n / MODES)  # two rows a mode are too few for (k - 1) / (2 n)
    k = np.arange(1, 40)
    wanted = float((poisson.pmf(k) * k / (n / MODES) * np.log(k / (n / MODES))).sum())
    assert floor["stacked_kl"].value == pytest.approx(wanted, rel=0.06)


def test_a_collapsed_sampler_is_seen(data, features):
    n = 3000
    some = np.flatnonzero(data.truth.held_out % 10 == 7)  # the last channel shows nothing but sevens
    lost = data.held_out.x[np.resize(some, n)]
    scores = score(lost, data, features, n=n, metrics=["stacked_modes", "stacked_kl"])
    assert scores["stacked_modes"].value < 130
    assert scores["stacked_kl"].value == pytest.approx(np.log(10), abs=0.15)
    assert {number % 10 for number in scores["stacked_modes"].extra["missing"]} >= set(range(10)) - {7}
    single = np.repeat(data.held_out.x[:1], n, axis=0)
    scores = score(single, data, features, n=n, metrics=["stacked"])
    assert (scores["stacked_modes"].value, scores["stacked_kl"].value) == (1, pytest.approx(np.log(1000)))


def test_a_mode_that_is_left_out_is_counted_and_named(data, features):
    x = data.held_out.x[:15_000]
    rest = np.flatnonzero(features.classify(x) != 405)
    modes = score(x[rest], data, features, n=len(rest), metrics=["stacked"])["stacked_modes"]
    assert (modes.value, modes.extra["missing"]) == (999, (405,))


def test_a_run_is_evaluated_from_the_command_line(cache, tmp_path, monkeypatch, capsys, features):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(cache))
    run = str(tmp_path / "run")
    options = ["--data", "stacked-digits", "--limit", "200", "--size", "tiny", "--steps", "2", "--out", run]
    assert main(["train", "vae", *options]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--metrics", "stacked", "--n", "60", "--repeats", "1", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    scores = content["models"][0]["scores"]
    assert scores.keys() == {"stacked_modes", "stacked_kl"}
    assert content["floors"]["stacked_modes"]["value"] == pytest.approx(MODES * (1 - 0.999**60), abs=2)
    assert f"held-out accuracy {features.channels.accuracy:.1%}" in content["settings"]["features"]
    assert content["baseline"]["scores"].keys() == scores.keys()
