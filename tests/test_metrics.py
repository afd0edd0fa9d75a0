"""Metrics against closed forms, independent implementations and planted faults."""

from __future__ import annotations

import contextlib
import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pushforward.errors import DataError, Diverged, UsageError
from pushforward.metrics import Samples, describe, registry
from pushforward.metrics.frechet import Frechet, extrapolated_distance, frechet_distance, gaussian_distance
from pushforward.metrics.kernel import Kernel, kernel_distance, squared_mmd
from pushforward.metrics.manifold import Manifold, prdc
from pushforward.metrics.memorisation import Memorisation, near_copies, nearest_distance
from pushforward.metrics.modes import Modes, count_modes
from pushforward.metrics.sharpness import Sharpness, high_frequency_power
from pushforward.metrics.subsets import drawn
from pushforward.metrics.two_sample import TwoSample, energy_distance, energy_test, neighbour_accuracy
from pushforward.metrics.wasserstein import Wasserstein, sliced_distance, transport_distance, transport_score
from pushforward.testing.metrics import samples_of as samples
from pushforward.testing.metrics import values_of as values


def random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


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


def test_frechet_in_two_dimensions_without_commuting():
    # tr (A B)^.5 of 2 x 2 matrices is sqrt(tr(A B) + 2 sqrt(det A det B)), from the characteristic polynomial
    a, b = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[0.5, -0.3], [-0.3, 3.0]])
    overlap = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    distance = gaussian_distance(np.zeros(2), a, np.ones(2), b)
    assert distance == pytest.approx(2 + np.trace(a) + np.trace(b) - 2 * overlap, rel=1e-9)


def test_frechet_agrees_with_torch_fidelity():
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = clouds()
    first, second = (fid.fid_features_to_statistics(torch.from_numpy(part)) for part in (x, y))
    wanted = float(fid.fid_statistics_to_metric(first, second, False)["frechet_inception_distance"])
    assert frechet_distance(x, y) == pytest.approx(wanted, rel=1e-6)


def test_frechet_of_a_cloud_with_itself_is_zero_even_with_fewer_rows_than_columns():
    for rows, columns in ((500, 9), (20, 64)):
        x = random(3).standard_normal((rows, columns))
        assert abs(frechet_distance(x, x)) < 1e-6


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
    estimates = np.array([squared_mmd(*random(seed).standard_normal((2, 60, 4))) for seed in range(300)])
    assert abs(estimates[:, 0].mean()) < 4 * estimates[:, 0].std() / np.sqrt(300)
    assert 0.35 < (estimates[:, 0] < 0).mean() < 0.75
    apart = np.array([[[0.0]], [[1.0]]])
    shifted = np.array([squared_mmd(*(random(s).standard_normal((2, 60, 4)) + apart)) for s in range(300)])
    assert shifted[:, 1].mean() == pytest.approx(shifted[:, 0].std(), rel=0.2)


def test_kid_in_blocks_is_the_mean_over_blocks_of_drawn_rows():
    r = random(4)
    x, y = r.standard_normal((50, 3)), r.standard_normal((50, 3)) + 0.5
    value, error = kernel_distance(x, y, every_pair=30, block=20)
    order = random(0)
    x, y = x[order.permutation(50)], y[order.permutation(50)]
    each = [by_hand(x[at : at + 20], y[at : at + 20]) for at in (0, 20)]
    assert value == pytest.approx(np.mean(each), rel=1e-10)
    assert error == pytest.approx(abs(each[0] - each[1]) / 2, rel=1e-10)


def by_class(n, seed, classes=5):
    """Rows of well separated classes, and the order that sorts them by class."""
    r = random(seed)
    labels = r.integers(0, classes, n)
    return r.standard_normal((n, 3)) + 4 * labels[:, None], np.argsort(labels, kind="stable")


def test_kid_in_blocks_of_sorted_rows_is_within_its_error_of_all_pairs():
    (x, _), (y, sort) = by_class(400, 20), by_class(400, 21)
    whole = squared_mmd(x, y)[0]
    for rows in (y, y[sort]):
        value, error = kernel_distance(x, rows, every_pair=50, block=40)
        assert abs(value - whole) < 3 * error
    by_blocks = np.mean([squared_mmd(x[at : at + 40], y[sort][at : at + 40])[0] for at in range(0, 400, 40)])
    assert abs(by_blocks - whole) > 20 * error, "consecutive blocks of sorted rows would be far off"
    assert kernel_distance(x, y[sort], every_pair=50, block=40) == (value, error), "a function of its rows"


def test_kid_in_blocks_is_unbiased_in_any_order():
    """Over orders of the same rows the mean is the value over all pairs, which knows no order."""
    (x, _), (y, sort) = by_class(120, 22), by_class(120, 23)
    r = random(24)
    orders = [(r.permutation(120), r.permutation(120)) for _ in range(200)]
    estimates = [kernel_distance(x[a], y[sort][b], every_pair=50, block=40)[0] for a, b in orders]
    assert np.mean(estimates) == pytest.approx(squared_mmd(x, y)[0], abs=4 * np.std(estimates) / np.sqrt(200))


def test_kid_of_unequal_clouds_draws_from_the_longer_one():
    (x, _), (y, sort) = by_class(300, 25), by_class(900, 26)
    value, error = kernel_distance(x, y[sort])
    assert abs(value) < 4 * error
    assert abs(squared_mmd(x, y[sort][:300])[0]) > 20 * error, "its first rows are all of one class"


def test_kid_does_not_depend_on_the_scale_of_the_features():
    x, y = clouds(300, 300)
    first = values(Kernel(), x, y)["kid"].value
    assert values(Kernel(), x * 0.01 + 5, y * 0.01 + 5)["kid"].value == pytest.approx(first, rel=1e-6)
    narrow = random(5).standard_normal((2, 300, 6))
    assert values(Kernel(), narrow[0] * 0.5, narrow[1])["kid"].value > 0.1, "a wrong variance must be seen"


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


def test_a_mode_with_a_few_samples_is_found_but_not_held():
    x = np.concatenate([ring(4000, keep=(0, 1, 2, 3, 4, 5, 6)), ring(80, seed=9, keep=(7,))])
    count = count_modes(x, CENTRES, STD)
    assert (count.held, count.reached) == (7, 8)
    x = np.concatenate([ring(4000, keep=(0, 1, 2, 3, 4, 5, 6)), ring(120, seed=9, keep=(7,))])
    assert count_modes(x, CENTRES, STD).held == 8, "20 % of an eighth is 2.5 %"


def test_modes_with_unequal_masses_and_three_dimensions():
    r = random(10)
    centres, weights = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0]]), np.array([0.7, 0.2, 0.1])
    x = centres[r.choice(3, 20_000, p=weights)] + 0.3 * r.standard_normal((20_000, 3))
    truth = SimpleNamespace(centres=centres, std=0.3, weights=weights)
    scores = values(Modes(), x, x, truth=truth)
    assert scores["mode_kl"].value < 0.001
    assert count_modes(x, centres, 0.3).divergence > 0.2, "against equal masses"
    assert scores["spread"].value == pytest.approx(1, abs=0.02)
    assert scores["high_quality"].value == pytest.approx(scores["high_quality"].extra["right"], abs=0.003)
    np.testing.assert_allclose(scores["modes_held"].extra["mass"], weights, atol=0.01)


def test_modes_without_a_single_near_row_are_finite():
    count = count_modes(np.full((50, 2), 30.0), CENTRES, STD)
    assert (count.held, count.reached, count.bridges, count.high_quality) == (0, 0, 1, 0)
    assert count.divergence == pytest.approx(np.log(8))
    assert np.isfinite(count.spread)


def test_modes_need_a_truth_with_centres():
    x = ring(50)
    assert not Modes().applies(samples(x, x))
    for std in (0.0, 1.0):
        nothing = SimpleNamespace(centres=np.zeros((0, 2)), std=std, weights=np.zeros(0))
        assert not Modes().applies(samples(x, x, truth=nothing))


# --- near-copies ---


@pytest.mark.parametrize("d", [10, 200])
def test_planted_copies_are_found_and_new_rows_are_not(d):
    r = random(11)
    scale = r.uniform(0.5, 20, d)
    rows = r.standard_normal((5000, d)) * scale
    training, held_out, fresh = rows[:3000], rows[3000:3900], rows[3900:4900]
    generated = fresh.copy()
    generated[:50] = training[100:150] + 0.02 * scale * r.standard_normal((50, d))
    score = values(Memorisation(), generated, held_out, training, scale=scale.astype(np.float32))["near_copies"]
    assert score.value == pytest.approx(0.05, abs=0.002)
    clean = values(Memorisation(), held_out, held_out, training, scale=scale.astype(np.float32))["near_copies"]
    assert clean.value < 0.003
    copies, threshold = near_copies(*(x.astype(np.float32) for x in (generated, training, held_out)), scale)
    assert copies[:50].all()
    assert not copies[50:].any()
    whole = ((held_out[:500, None] / scale - training[None, :500] / scale) ** 2).sum(-1)
    assert threshold < np.sqrt(whole.min(1)).mean()


def test_the_threshold_does_not_come_from_the_first_class_of_sorted_rows():
    r = random(27)
    tight, wide = 0.05 * r.standard_normal((1600, 6)), 30 + 2 * r.standard_normal((3000, 6))
    training, held_out = np.concatenate([tight[:1000], wide[:2000]]), np.concatenate([tight[1000:], wide[2000:]])
    threshold = near_copies(held_out, training, held_out)[1]
    shuffled = near_copies(held_out, training, held_out[r.permutation(1600)])[1]
    assert threshold == pytest.approx(shuffled, rel=0.3)
    assert threshold == pytest.approx(0.25 * np.median(nearest_distance(held_out, training)), rel=0.3)


def test_the_projection_acquits_no_near_copy():
    r = random(18)
    flat = r.standard_normal((3000, 9)) @ np.linalg.qr(r.standard_normal((150, 9)))[0].T + 3
    training, held_out = flat[:2000].astype(np.float32), flat[2000:2500].astype(np.float32)
    step = flat[2500:] - 3
    reach = np.linspace(0.01, 2, 500) * near_copies(held_out, training, held_out)[1]
    generated = training[:500] + (step / np.linalg.norm(step, axis=1, keepdims=True) * reach[:, None]).astype(np.float32)
    copies, threshold = near_copies(generated, training, held_out)
    np.testing.assert_array_equal(copies, nearest_distance(generated, training) < threshold)
    assert 0.4 < copies.mean() < 0.7


def test_literal_copies_are_near_copies_where_real_data_consists_of_copies_and_there_is_no_score():
    """More than half of the held-out examples equal training examples: the threshold is 0, and tells nothing about a model."""
    r = random(28)
    for d in (3, 200):  # found by a search tree, and by a projection
        training = r.standard_normal((500, d)).astype(np.float32)
        held_out = np.concatenate([training[:120], r.standard_normal((80, d)).astype(np.float32)])
        generated = np.concatenate([training[200:260], r.standard_normal((40, d)).astype(np.float32)])
        copies, threshold = near_copies(generated, training, held_out)
        assert threshold == 0
        assert copies.tolist() == [True] * 60 + [False] * 40
        assert Memorisation()(samples(generated, held_out, training)) == {}


def test_nearest_distance_is_the_double_loop_and_a_copy_is_at_exactly_zero():
    r = random(12)
    x, y = r.integers(0, 256, (37, 90), dtype=np.uint8), r.integers(0, 256, (2200, 90), dtype=np.uint8)
    x[5] = y[1234]
    wanted = np.sqrt((((x[:, None] / 255 - y[None] / 255) / 0.25) ** 2).sum(-1)).min(1)
    distances = nearest_distance(x, y, np.full(90, 0.25))
    np.testing.assert_allclose(distances, wanted, rtol=1e-5, atol=1e-12)
    assert distances[5] == 0
    as_float = nearest_distance(x.astype(np.float32) / 255, y.astype(np.float32) / 255, np.full(90, 0.25))
    np.testing.assert_allclose(as_float, wanted, rtol=1e-5, atol=1e-6)


def test_distances_are_measured_in_units_of_scale():
    r = random(13)
    rows = r.standard_normal((2500, 6))
    rows[:, 0] *= 1000
    generated = rows[2000:].copy()
    generated[:, 1:] = rows[:500, 1:]
    generated[:, 0] += 1  # a thousandth of that column's width
    generated[:, 0] = rows[:500, 0] + 1
    unit = np.array([1000, 1, 1, 1, 1, 1], np.float32)
    copies, _ = near_copies(generated, rows[:1500], rows[1500:2000], unit)
    assert copies.mean() > 0.99


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


def test_power_is_split_at_half_of_nyquist_and_obeys_parseval():
    column = np.arange(16)
    for cycles, fine in ((2, 0.0), (4, 0.0), (5, 1.0), (8, 1.0)):
        wave = np.tile(np.cos(2 * np.pi * cycles * column / 16), (1, 1, 16, 1)).reshape(1, -1)
        assert high_frequency_power(wave, (1, 16, 16)) == pytest.approx(fine * (wave**2).mean(), abs=1e-9)


def test_sharpness_is_for_images_with_detail():
    grey = np.full((4, 64), 0.5)
    assert not Sharpness().applies(samples(grey, grey, shape=(1, 8, 8)))
    vectors = random(15).standard_normal((4, 64))
    assert not Sharpness().applies(samples(vectors, vectors))


# --- all of them ---


def test_the_registry_finds_each_file_and_describes_each_score():
    own = {"frechet", "kernel", "manifold", "memorisation", "modes", "sharpness", "stacked", "two_sample", "wasserstein"}
    of_tables = {"column_shapes", "pair_trends", "detection", "fidelity", "utility", "nearest_rows", "membership"}
    assert set(registry()) == own | of_tables | {"classes", "copying", "sinkhorn"}
    infos = describe()
    for metric in registry().values():
        metric()
        assert set(metric.scores) <= set(infos)
    assert all(info.better in ("lower", "higher", "target") and info.label and info.what for info in infos.values())
    roles = {role: [name for name, info in infos.items() if info.role == role] for role in ("quality", "diversity")}
    assert roles == {"quality": ["detection", "frechet", "kid", "energy"], "diversity": ["beta_recall", "recall", "coverage"]}


def test_the_declared_scores_are_those_that_come_back():
    r = random(16)
    images = r.uniform(0, 1, (40, 64))
    stacked = {"modes": 5, "read": lambda rows: np.arange(len(rows)) % 5}
    truth = SimpleNamespace(centres=images[:3], std=0.1, weights=np.ones(3) / 3, **stacked)
    classes = {"generated_classes": np.arange(40) % 3, "reference_classes": np.arange(40) % 2, "classes": 3}
    of_images = samples(images, r.uniform(0, 1, (40, 64)), r.uniform(0, 1, (50, 64)), shape=(1, 8, 8), truth=truth, **classes)
    of_points = samples(*(r.uniform(0, 1, (120, 2)) for _ in range(3)))
    for metric in registry().values():
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
    with pytest.raises(DataError, match="n at least 1"):
        samples(x[:0], x)
    with pytest.raises(DataError, match="have 3 columns; 4 were expected"):
        samples(x, x[:, :3], shape=(4,))
    bad = x.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 10 generated_features"):
        Samples(x, x, x, bad, x, (4,))
    with pytest.raises(DataError, match="features of 9"):
        Samples(x, x, x, x[:9], x, (4,))
    assert Frechet().applies(samples(x, x))


# --- subsets ---


def test_examples_are_drawn_by_their_values_and_not_by_their_order():
    x = random(69).standard_normal((50, 3))
    assert np.array_equal(drawn(x, 20, 5), drawn(random(68).permutation(x), 20, 5))
    assert not np.array_equal(drawn(x, 20, 5), drawn(x, 20, 6))
    assert np.array_equal(np.sort(drawn(x, 99, 5), axis=0), np.sort(x, axis=0))


# --- Wasserstein ---


def test_w2_of_a_shifted_cloud_is_the_length_of_the_shift():
    x, shift = random(70).standard_normal((50, 3)), np.array([0.3, -0.4, 1.2])
    assert transport_distance(x, random(71).permutation(x + shift)) == pytest.approx(np.linalg.norm(shift), rel=1e-12)


def test_w2_on_the_line_matches_sorted_points():
    x, y = random(72).standard_normal((40, 1)), random(73).exponential(size=(40, 1))
    wanted = np.sqrt(np.square(np.sort(x[:, 0]) - np.sort(y[:, 0])).mean())
    assert transport_distance(x, y) == pytest.approx(wanted, rel=1e-12)


def test_w2_is_the_least_over_all_matchings():
    x, y = random(74).standard_normal((6, 2)), random(75).standard_normal((6, 2))
    best = min(np.square(x - y[list(order)]).sum(1).mean() for order in itertools.permutations(range(6)))
    assert transport_distance(x, y) ** 2 == pytest.approx(best, rel=1e-12)


def test_w2_refuses_clouds_of_two_sizes():
    with pytest.raises(UsageError, match="got 3 and 4"):
        transport_distance(np.zeros((3, 2)), np.zeros((4, 2)))


def test_w2_of_many_points_is_the_root_mean_square_over_blocks():
    x, y = random(76).standard_normal((90, 2)), random(77).standard_normal((90, 2)) + 1
    value = transport_score(x, y, block=30, blocks=3)
    x, y = drawn(x, 90, 0), drawn(y, 90, 1)
    squares = [transport_distance(x[at : at + 30], y[at : at + 30]) ** 2 for at in (0, 30, 60)]
    assert value == pytest.approx(np.sqrt(np.mean(squares)))


def test_sliced_w2_of_a_shift_and_of_unequal_clouds():
    x, shift = random(78).standard_normal((60, 5)), np.array([1.0, 0, -2, 0, 0.5])
    # the mean over directions of (shift . a)^2 is |shift|^2 / 5
    assert sliced_distance(x, x + shift, 20_000) == pytest.approx(np.linalg.norm(shift) / np.sqrt(5), rel=0.02)
    assert sliced_distance(np.repeat(x, 3, axis=0), x) == pytest.approx(0, abs=1e-12)


def test_w2_is_of_points_and_in_units_of_the_columns():
    x = random(79).standard_normal((40, 2))
    y = x + np.array([3.0, 0])
    assert values(Wasserstein(), x, y, scale=np.array([3.0, 7.0]))["w2"].value == pytest.approx(1, rel=1e-5)
    assert set(values(Wasserstein(), x, y, shape=(1, 1, 2))) == {"sliced_w2"}


def test_a_narrow_gaussian_has_the_right_frechet_distance_and_a_poor_w2_on_moons():
    # mean and covariance agree, the shape does not: the case for which points are ranked by W2
    x, _ = sklearn_moons(600, 80)
    y, _ = sklearn_moons(600, 81)
    gauss = random(82).multivariate_normal(y.mean(0), np.cov(y.T), 600)
    assert frechet_distance(gauss, y) < 2 * frechet_distance(x, y) + 0.02
    assert transport_distance(gauss, y) > 2 * transport_distance(x, y)


def sklearn_moons(n, seed):
    from sklearn.datasets import make_moons

    return make_moons(n, noise=0.05, random_state=seed)


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


def test_two_sample_scores_do_not_depend_on_the_order_of_classes():
    x, y = random(89).standard_normal((1500, 2)), random(90).standard_normal((1500, 2))
    x, y = x[x[:, 0].argsort()], y[(-y[:, 0]).argsort()]  # the first thousand of either would be half-planes
    scores = values(TwoSample(), x, y)
    assert scores["energy"].extra["p"] > 0.01
    assert abs(scores["neighbour_test"].value - 0.5) < 4 * scores["neighbour_test"].error


def test_what_ranks_points_does_not_prefer_samples_that_vary_too_little():
    """The exact W2 does in many columns: its value for two draws of one distribution is far above 0."""
    r = random(92)
    y, same, narrow = r.standard_normal((400, 20)), r.standard_normal((400, 20)), 0.8 * r.standard_normal((400, 20))
    assert values(TwoSample(), narrow, y)["energy"].value > values(TwoSample(), same, y)["energy"].value + 0.01
    assert transport_distance(narrow, y) < transport_distance(same, y)


def test_of_points_only_there_is_an_energy_distance():
    x = random(93).standard_normal((40, 4))
    assert set(values(TwoSample(), x, x + 1, shape=(1, 2, 2))) == {"neighbour_test", "classifier_test"}


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
