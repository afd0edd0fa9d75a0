"""Draws, and batches as pure functions of their number."""

import math

import numpy as np
import pytest
import torch
from programs.labelled_images import pictures
from scipy.stats import kstest

from pushforward.data import Sampler
from pushforward.data.core.hashes import mix, permutation
from pushforward.draws import BLOCK, BlockDraws, ExampleDraws, key


def differ(a, b):
    """Whether no number is the same."""
    return not (a == b).any()


def test_rows_come_from_their_seed_alone():
    many = ExampleDraws(0, 8)
    few = ExampleDraws(4, 4)
    for _ in range(3):
        normal = many.normal((3, 2))
        assert torch.equal(few.normal((3, 2)), normal[4:])
        uniform = many.uniform()
        assert torch.equal(few.uniform(), uniform[4:])


def test_calls_and_streams_differ():
    draws = ExampleDraws(0, 5)
    first = draws.normal((7,))
    second = draws.normal((7,))
    other = ExampleDraws(0, 5).stream("label").normal((7,))
    assert differ(first, second)
    assert differ(first, other)
    training = BlockDraws(1, 5, 10)
    first = training.normal((7,))
    second = training.normal((7,))
    assert differ(first, second)


@pytest.mark.parametrize(
    "draws", [ExampleDraws(7, 3000), BlockDraws(7, 2, 3000)], ids=["examples", "blocks"]
)
def test_the_laws_are_the_stated_ones(draws):
    normal = draws.normal((11,)).flatten()
    assert kstest(normal, "norm").pvalue > 1e-3
    uniform = draws.uniform()
    assert kstest(uniform, "uniform").pvalue > 1e-3
    rows = draws.normal((50,))
    before = rows[:-1].flatten()
    after = rows[1:].flatten()
    correlation = np.corrcoef(before, after)[0, 1]
    assert abs(correlation) < 0.02


def test_parts_of_a_batch_draw_what_the_whole_draws():
    whole = BlockDraws(1, 5, 4 * BLOCK + 9)
    first = BlockDraws(1, 5, 2 * BLOCK, 0)
    second = BlockDraws(1, 5, 2 * BLOCK + 9, 2 * BLOCK)
    for _ in range(2):
        normal = torch.cat([first.normal((3,)), second.normal((3,))])
        assert torch.equal(whole.normal((3,)), normal)
        uniform = torch.cat([first.uniform(), second.uniform()])
        assert torch.equal(whole.uniform(), uniform)


def test_training_draws_depend_on_step_seed_and_stream():
    base = BlockDraws(1, 5, 10).normal((3,))
    for other in (BlockDraws(1, 6, 10), BlockDraws(2, 5, 10), BlockDraws(1, 5, 10).stream("other")):
        assert differ(base, other.normal((3,)))


def test_keys_tell_names_apart():
    assert key("a", "bc") != key("ab", "c")
    assert key(1, 2) != key(12)


def test_rows_are_numpys_philox_at_seed_stream_and_call():
    draws = ExampleDraws(11, 3)
    draws.uniform()
    words = np.array([11 + 2, key("rows", "sample")], dtype=np.uint64)
    second_call = np.array([0, 0, 0, 1], dtype=np.uint64)
    fresh = np.random.Generator(np.random.Philox(key=words, counter=second_call))
    actual = draws.normal((5,))[2].numpy()
    expected = fresh.standard_normal(5, dtype=np.float32)
    np.testing.assert_array_equal(actual, expected)


def test_keys_are_splitmix64():
    # first outputs of the published generator with state 0 and 1234567 (Vigna's splitmix64.c)
    assert mix(0)[0] == 0xE220A8397B1DCDAF
    assert mix(1234567)[0] == 6457827717110365317


def test_permutations_are_uniform():
    values = np.sort(permutation(1000, 3))
    assert np.array_equal(values, np.arange(1000))
    first = [permutation(5, seed)[0] for seed in range(5000)]
    counts = np.bincount(first)
    assert np.abs(counts - 1000).max() < 5 * math.sqrt(1000)
    assert not np.array_equal(permutation(50, 1, 2), permutation(50, 2, 1))


def test_each_epoch_holds_every_row_once_in_an_order_of_its_own():
    data = pictures(31)
    n = len(data.train)
    sampler = Sampler(data, 5, seed=3)
    epochs, rows = sampler.positions(0, 4 * n)
    orders = [tuple(rows[epochs == epoch]) for epoch in range(4)]
    for order in orders:
        assert sorted(order) == list(range(n))
    assert len(set(orders)) == 4
    of_other_seed = Sampler(data, 5, seed=4).order(0)
    assert tuple(of_other_seed) != orders[0]


def test_batches_cross_the_edges_of_epochs_and_may_exceed_the_data():
    data = pictures(31)
    n = len(data.train)
    _, rows = Sampler(data, 1, seed=3).positions(0, 10 * n)
    for size in (1, 5, n, 3 * n + 2):
        sampler = Sampler(data, size, seed=3)
        batches = []
        for start in range(0, 10 * n - size + 1, size):
            batches.append(sampler.positions(start, start + size)[1])
        got = np.concatenate(batches)
        assert np.array_equal(got, rows[: len(got)])
        batch = sampler.batch(1)
        assert len(batch) == size
        second = rows[size : 2 * size]
        expected = data.space.to_model(data.train.data_units(second))
        assert torch.equal(batch.x, expected)
        labels = batch.condition["label"]
        assert labels.dtype == torch.int64
        assert labels.tolist() == data.train.labels[second].tolist()


def test_a_batch_depends_on_its_number_alone():
    data = pictures(31)
    sampler = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    in_order = [sampler.batch(number) for number in range(40)]
    fresh = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    for number in (39, 0, 17, 7, 8):
        batch = fresh.batch(number)
        expected = in_order[number]
        assert torch.equal(batch.x, expected.x)
        assert torch.equal(batch.condition["label"], expected.condition["label"])


@pytest.mark.parametrize("augment", [("flip",), ("shift",), ("flip", "shift")])
def test_augmentation_is_keyed_by_epoch_and_row_whatever_the_batch(augment):
    data = pictures(31, labelled=False)
    n = len(data.train)
    wide = Sampler(data, 2 * n, seed=2, augment=augment)
    narrow = Sampler(data, 1, seed=2, augment=augment)
    both = wide.batch(0).x
    one_by_one = [narrow.batch(number).x for number in range(2 * n)]
    assert torch.equal(both, torch.cat(one_by_one))
    first, second = both.split(n)
    plain = Sampler(data, 1, seed=2)
    first_epoch = first[np.argsort(plain.order(0))]
    second_epoch = second[np.argsort(plain.order(1))]
    assert not torch.equal(first_epoch, second_epoch)


def same_rows(x, y):
    """Which examples are the same."""
    return (x == y).flatten(1).all(1)


def test_flip_mirrors_half_of_the_rows_left_to_right():
    data = pictures(600, shape=(2, 3, 5), labelled=False)
    n = len(data.train)
    x = Sampler(data, n).batch(0).x
    y = Sampler(data, n, augment=("flip",)).batch(0).x
    mirrored = same_rows(y, x.flip(-1))
    assert (mirrored | same_rows(y, x)).all()
    assert abs(mirrored.sum() - n / 2) < 5 * math.sqrt(n) / 2


def test_shift_moves_each_way_and_repeats_the_edge():
    data = pictures(900, shape=(2, 16, 17), labelled=False)
    n = len(data.train)
    x = Sampler(data, n).batch(0).x
    y = Sampler(data, n, augment=("shift",)).batch(0).x
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    counts = np.zeros((5, 5), dtype=int)
    for top in range(5):  # 16 // 8 pixels down or up, 17 // 8 right or left
        for left in range(5):
            moved = padded[:, :, top : top + 16, left : left + 17]
            counts[top, left] = same_rows(y, moved).sum()
    assert counts.sum() == n
    assert np.abs(counts - n / 25).max() < 5 * math.sqrt(n / 25)


def test_dequantised_values_stay_in_their_level_and_are_keyed_by_epoch_row_and_place():
    data = pictures()
    n = len(data.train)
    plain = Sampler(data, n, seed=3)
    moved = Sampler(data, n, seed=3, augment=("dequantise",))
    std = torch.tensor(data.space.std).view(1, -1, 1, 1)
    gaps = []
    for epoch in (0, 1):
        difference = moved.batch(epoch).x - plain.batch(epoch).x
        gaps.append(difference * std * 255)
    for gap in gaps:
        assert gap.abs().max() <= 0.5 + 1e-4
        assert gap.var().item() == pytest.approx(1 / 12, rel=0.1)
    first, second = gaps
    assert not torch.equal(first, second)
    assert len(torch.unique(first)) > 0.9 * first.numel()
    one_by_one = Sampler(data, 1, seed=3, augment=("dequantise",))
    third_of_second_epoch = moved.batch(1).x[2:3]
    assert torch.equal(one_by_one.batch(n + 2).x, third_of_second_epoch)
