"""Metrics of repeats, modes, classes and copies find planted faults."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from programs.metrics import samples, values
from programs.rows import random, table_samples
from scipy.stats import mannwhitneyu, norm

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

ANGLES = 2 * np.pi * np.arange(8) / 8


CENTRES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)


STD = 0.01


def ring(n=8000, seed=8, keep=range(8), spread=1.0, bridges=0.0):
    """Samples around the centres, a share of which lies between them."""
    r = random(seed)
    modes = CENTRES[r.choice(list(keep), n)]
    x = modes + STD * spread * r.standard_normal((n, 2))
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
    few = np.tile(fresh[:10], (120, 1))
    assert distinct_of(few, real) == 10
    noise = 1e-4 * r.standard_normal(few.shape)
    assert distinct_of(few + noise, real) == 10
    assert distinct_of(few[0] + noise, real) == 1
    half = fresh.copy()
    half[::2] = fresh[0]
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
    assert count.held == 8
    assert count.reached == 8
    within_three = 1 - np.exp(-4.5)
    assert count.high_quality == pytest.approx(within_three, abs=0.004)
    assert count.spread == pytest.approx(1, abs=0.02)
    assert count.bridges < 0.001
    assert count.divergence < 0.002
    assert_allclose(count.mass, 1 / 8, atol=0.015)


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


@pytest.mark.parametrize("d", [10, 200])
def test_planted_copies_are_found_and_new_rows_are_not(d):
    r = random(11)
    scale = r.uniform(0.5, 20, d)
    rows = r.standard_normal((5000, d)) * scale
    training, held_out, fresh, _ = np.split(rows, [3000, 3900, 4900])
    generated = fresh.copy()
    noise = 0.02 * scale * r.standard_normal((50, d))
    generated[:50] = training[100:150] + noise
    metric = Memorisation()

    def share(side):
        given = samples(side, held_out, training, scale=scale.astype(np.float32))
        assert metric.applies(given)
        return metric(given)["near_copies"].value

    assert share(generated) == pytest.approx(0.05, abs=0.002)
    assert share(held_out) < 0.003
    sides = [side.astype(np.float32) for side in (generated, training, held_out)]
    copies, threshold = near_copies(*sides, scale)
    assert copies[:50].all()
    assert not copies[50:].any()
    apart = (held_out[:500, None] - training[None, :500]) / scale
    nearest = np.linalg.norm(apart, axis=-1).min(1)
    assert threshold < nearest.mean()


def test_dropped_modes_are_seen():
    x = ring(keep=(0, 2, 3, 4, 6, 7))
    count = count_modes(x, CENTRES, STD)
    assert count.held == 6
    assert count.reached == 6
    assert count.divergence == pytest.approx(np.log(8 / 6), abs=0.003)
    assert count.mass[1] == 0
    assert count.mass[5] == 0


def test_bridges_between_modes_do_not_widen_them():
    x = ring(bridges=0.03)
    count = count_modes(x, CENTRES, STD)
    assert count.bridges == pytest.approx(0.03, abs=0.001)
    assert count.spread == pytest.approx(1, abs=0.02)
    assert count.mass.sum() == pytest.approx(1 - count.bridges)


def test_narrow_modes_are_seen():
    x = ring(spread=0.7)
    count = count_modes(x, CENTRES, STD)
    assert count.spread == pytest.approx(0.7, abs=0.02)
    assert count.high_quality > 0.998
    assert count.held == 8


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
    given = samples(generated, held_out, training)
    assert Memorisation()(given) == {}


def test_nearest_distance_is_the_double_loop_and_a_copy_is_at_exactly_zero():
    r = random(12)
    x = r.integers(0, 256, (37, 90), dtype=np.uint8)
    y = r.integers(0, 256, (2200, 90), dtype=np.uint8)
    x[5] = y[1234]
    scale = np.full(90, 0.25)
    distances = nearest_distance(x, y, scale)
    assert distances[5] == 0
    real_x = x / 255
    real_y = y / 255
    apart = (real_x[:, None] - real_y) / scale
    wanted = np.linalg.norm(apart, axis=-1).min(1)
    assert_allclose(distances, wanted, rtol=1e-5, atol=1e-12)
    of_floats = nearest_distance(real_x.astype(np.float32), real_y.astype(np.float32), scale)
    assert_allclose(of_floats, wanted, rtol=1e-5, atol=1e-6)
