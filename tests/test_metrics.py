"""Metrics against closed forms, independent implementations and planted faults."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
from programs.rows import random

from pushforward.errors import DataError, Diverged, UsageError
from pushforward.metrics import Samples
from pushforward.metrics.frechet import Frechet
from pushforward.metrics.manifold import Manifold, prdc
from pushforward.metrics.modes import count_modes
from pushforward.metrics.sharpness import Sharpness
from pushforward.registries import METRICS
from pushforward.testing.metrics import samples_of as samples
from pushforward.testing.metrics import values_of as values

# --- precision, recall, density, coverage ---


def test_prdc_is_what_its_authors_package_computes():
    package = pytest.importorskip("prdc")
    r = random(6)
    real, fake = r.standard_normal((1203, 5)), r.standard_normal((1203, 5)) * 0.8 + 0.4
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = package.compute_prdc(real_features=real, fake_features=fake, nearest_k=5)
    ours = prdc(fake, real, 5)
    assert ours == pytest.approx({name: float(value) for name, value in wanted.items()}, abs=1e-12)
    assert len(set(ours.values())) == 4


def test_prdc_sees_a_missing_half_and_refuses_too_few_rows():
    r = random(7)
    real = r.standard_normal((600, 3)) + 20 * (np.arange(600) % 2)[:, None]
    scores = values(Manifold(), r.standard_normal((600, 3)), real)
    assert scores["precision"].value > 0.9
    assert scores["recall"].value < 0.55
    assert scores["coverage"].value < 0.55
    with pytest.raises(UsageError, match="more than 5 examples"):
        prdc(real[:5], real[:9], 5)
    assert not Manifold().applies(samples(real[:99], real[:100]))


# --- modes ---


ANGLES = 2 * np.pi * np.arange(8) / 8
CENTRES, STD = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1), 0.01


def ring(n=8000, seed=8, keep=range(8), spread=1.0, bridges=0.0):
    r = random(seed)
    x = CENTRES[r.choice(list(keep), n)] + STD * spread * r.standard_normal((n, 2))
    lost = int(bridges * n)
    x[:lost] = r.uniform(-0.5, 0.5, (lost, 2))
    return x


def test_modes_of_the_truth():
    count = count_modes(ring(), CENTRES, STD)
    assert (count.held, count.reached) == (8, 8)
    assert count.high_quality == pytest.approx(1 - np.exp(-4.5), abs=0.004)
    assert count.spread == pytest.approx(1, abs=0.02)
    assert count.bridges < 0.001
    assert count.divergence < 0.002
    np.testing.assert_allclose(count.mass, 1 / 8, atol=0.015)


def test_modes_see_each_planted_fault_apart_from_the_others():
    dropped = count_modes(ring(keep=(0, 2, 3, 4, 6, 7)), CENTRES, STD)
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


# --- sharpness ---


def test_sharpness_of_blurred_real_and_noisy_images():
    r = random(14)
    shape = (2, 9, 12)
    real = r.uniform(0, 1, (300, *shape))
    blurred = (real + np.roll(real, 1, -1) + np.roll(real, 1, -2) + np.roll(real, (1, 1), (-1, -2))) / 4
    noisy = real + 0.3 * r.standard_normal(real.shape)
    flat = [x.reshape(300, -1) for x in (real, blurred, noisy)]
    score = {i: values(Sharpness(), flat[i], flat[0], shape=shape)["sharpness"].value for i in range(3)}
    assert score[0] == pytest.approx(1, abs=1e-6)
    assert score[1] < 0.3
    assert score[2] == pytest.approx(1 + 0.09 * 12, rel=0.1), "white noise adds its variance at every frequency"


# --- all of them ---


def test_the_declared_scores_are_those_that_come_back():
    r = random(16)
    images = r.uniform(0, 1, (40, 64))
    stacked = {"modes": 5, "read": lambda rows: np.arange(len(rows)) % 5}
    truth = SimpleNamespace(centres=images[:3], std=0.1, weights=np.ones(3) / 3, **stacked)
    classes = {"generated_classes": np.arange(40) % 3, "reference_classes": np.arange(40) % 2, "classes": 3}
    of_images = samples(images, r.uniform(0, 1, (40, 64)), r.uniform(0, 1, (50, 64)), shape=(1, 8, 8), truth=truth, **classes)
    of_points = samples(*(r.uniform(0, 1, (120, 2)) for _ in range(3)))
    for metric in METRICS.values():
        if not metric().applies(of_images):
            continue  # a metric of tables
        scores = metric()(of_images)
        assert all(np.isfinite(score.value) for score in scores.values())
        of_vectors = metric()(of_points) if metric().applies(of_points) else {}
        assert {*scores, *of_vectors} == set(metric.scores)


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


# --- subsets ---
