"""Draws, and batches as pure functions of their number."""

import math

import numpy as np
import pytest
import torch
from programs.labelled_images import pictures

from pushforward.data import Sampler
from pushforward.data.core.hashes import mix, permutation
from pushforward.draws import BLOCK, BlockDraws, ExampleDraws, key


def test_rows_come_from_their_seed_alone():
    many = ExampleDraws(0, 8)
    few = ExampleDraws(4, 4)
    for _ in range(3):
        actual = many.normal((3, 2))[4:]
        expected = few.normal((3, 2))
        assert torch.equal(actual, expected)
        actual = many.uniform()[4:]
        assert torch.equal(actual, few.uniform())


def test_calls_and_streams_differ():
    draws = ExampleDraws(0, 5)
    first = draws.normal((7,))
    second = draws.normal((7,))
    other = ExampleDraws(0, 5).stream("label").normal((7,))
    assert not (first == second).any()
    assert not (first == other).any()
    training = BlockDraws(1, 5, 10)
    assert not (training.normal((7,)) == training.normal((7,))).any()


@pytest.mark.parametrize("make", [lambda: ExampleDraws(7, 3000), lambda: BlockDraws(7, 2, 3000)])
def test_the_laws_are_the_stated_ones(make):
    from scipy.stats import kstest

    pvalue = kstest(make().normal((11,)).numpy().ravel(), "norm").pvalue
    assert pvalue > 1e-3
    pvalue = kstest(make().uniform().numpy(), "uniform").pvalue
    assert pvalue > 1e-3
    rows = make().normal((50,)).numpy()
    actual = abs(np.corrcoef(rows[:-1].ravel(), rows[1:].ravel())[0, 1])
    assert actual < 0.02


def test_parts_of_a_batch_draw_what_the_whole_draws():
    whole = BlockDraws(1, 5, 4 * BLOCK + 9)
    parts = [BlockDraws(1, 5, 2 * BLOCK, 0), BlockDraws(1, 5, 2 * BLOCK + 9, 2 * BLOCK)]
    for _ in range(2):
        actual = whole.normal((3,))
        expected = torch.cat([part.normal((3,)) for part in parts])
        assert torch.equal(actual, expected)
        expected = torch.cat([part.uniform() for part in parts])
        assert torch.equal(whole.uniform(), expected)


def test_training_draws_depend_on_step_seed_and_stream():
    base = BlockDraws(1, 5, 10).normal((3,))
    for other in (BlockDraws(1, 6, 10), BlockDraws(2, 5, 10), BlockDraws(1, 5, 10).stream("other")):
        assert not (base == other.normal((3,))).any()


def test_keys_tell_names_apart():
    assert key("a", "bc") != key("ab", "c")
    assert key(1, 2) != key(12)


def test_rows_are_numpys_philox_at_seed_stream_and_call():
    draws = ExampleDraws(11, 3)
    draws.uniform()
    words = np.array([11 + 2, key("rows", "sample")], dtype=np.uint64)
    fresh = np.random.Generator(
        np.random.Philox(key=words, counter=np.array([0, 0, 0, 1], dtype=np.uint64))
    )
    actual = draws.normal((5,))[2].numpy()
    expected = fresh.standard_normal(5, dtype=np.float32)
    np.testing.assert_array_equal(actual, expected)


def test_keys_are_splitmix64_and_permutations_are_uniform():
    # first outputs of the published generator with state 0 and 1234567 (Vigna's splitmix64.c)
    assert int(mix(0)[0]) == 0xE220A8397B1DCDAF
    assert int(mix(1234567)[0]) == 6457827717110365317
    values = sorted(permutation(1000, 3).tolist())
    assert values == list(range(1000))
    first = np.array([permutation(5, seed)[0] for seed in range(5000)])
    largest = np.abs(np.bincount(first) - 1000).max()
    assert largest < 5 * math.sqrt(1000)
    assert not np.array_equal(permutation(50, 1, 2), permutation(50, 2, 1))


def test_each_epoch_holds_every_row_once_in_an_order_of_its_own():
    data = pictures(31)
    n = len(data.train)
    sampler = Sampler(data, 5, seed=3)
    epochs, rows = sampler.positions(0, 4 * n)
    orders = [tuple(rows[epochs == e]) for e in range(4)]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len(set(orders)) == 4
    actual = tuple(Sampler(data, 5, seed=4).order(0))
    assert actual != orders[0]


def test_batches_cross_the_edges_of_epochs_and_may_exceed_the_data():
    data = pictures(31)
    n = len(data.train)
    _, rows = Sampler(data, 1, seed=3).positions(0, 10 * n)
    for size in (1, 5, n, 3 * n + 2):
        sampler = Sampler(data, size, seed=3)
        got = np.concatenate(
            [sampler.positions(b * size, (b + 1) * size)[1] for b in range(10 * n // size)]
        )
        assert np.array_equal(got, rows[: len(got)])
        batch = sampler.batch(1)
        expected = data.space.to_model(data.train.data_units(rows[size : 2 * size]))
        assert torch.equal(batch.x, expected)
        assert len(batch) == size
        label = batch.condition["label"].tolist()
        actual = data.train.labels[rows[size : 2 * size]].tolist()
        assert label == actual
        assert batch.condition["label"].dtype == torch.int64


def test_a_batch_depends_on_its_number_alone():
    data = pictures(31)
    sampler = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    in_order = [sampler.batch(b) for b in range(40)]
    fresh = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    for number in (39, 0, 17, 7, 8):
        actual = fresh.batch(number).x
        assert torch.equal(actual, in_order[number].x)
        actual = fresh.batch(number).condition["label"]
        assert torch.equal(actual, in_order[number].condition["label"])


@pytest.mark.parametrize("augment", [("flip",), ("shift",), ("flip", "shift")])
def test_augmentation_is_keyed_by_epoch_and_row_whatever_the_batch(augment):
    data = pictures(31, labelled=False)
    n = len(data.train)
    wide, narrow = (Sampler(data, size, seed=2, augment=augment) for size in (2 * n, 1))
    both = wide.batch(0).x
    expected = torch.cat([narrow.batch(b).x for b in range(2 * n)])
    assert torch.equal(both, expected)
    order = [Sampler(data, 1, seed=2).order(e) for e in (0, 1)]
    first = both[:n][np.argsort(order[0])]
    second = both[n:][np.argsort(order[1])]
    assert not torch.equal(first, second)


def test_flip_mirrors_half_of_the_rows_left_to_right():
    data = pictures(600, shape=(2, 3, 5), labelled=False)
    n = len(data.train)
    plain = Sampler(data, n)
    flipped = Sampler(data, n, augment=("flip",))
    x = plain.batch(0).x
    y = flipped.batch(0).x
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all()
    difference = abs(int(mirrored.sum()) - n / 2)
    expected = 5 * math.sqrt(n) / 2
    assert difference < expected


def test_shift_moves_each_way_and_repeats_the_edge():
    data = pictures(900, shape=(2, 16, 17), labelled=False)
    n = len(data.train)
    x = Sampler(data, n).batch(0).x
    y = Sampler(data, n, augment=("shift",)).batch(0).x
    seen = np.zeros((5, 5), dtype=int)
    for down in range(-2, 3):  # 16 // 8 pixels down or up, 17 // 8 right or left
        for right in range(-2, 3):
            padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
            moved = padded[:, :, 2 - down : 18 - down, 2 - right : 19 - right]
            seen[down + 2, right + 2] = int((y == moved).flatten(1).all(1).sum())
    assert seen.sum() == n
    largest = np.abs(seen - n / 25).max()
    expected = 5 * math.sqrt(n / 25)
    assert largest < expected


def test_dequantised_values_stay_in_their_level_and_are_keyed_by_epoch_row_and_place():
    data = pictures()
    n = len(data.train)
    plain = Sampler(data, n, seed=3)
    moved = Sampler(data, n, seed=3, augment=("dequantise",))
    std = torch.tensor(data.space.std).view(1, -1, 1, 1)
    gaps = [(moved.batch(epoch).x - plain.batch(epoch).x) * std * 255 for epoch in (0, 1)]
    for gap in gaps:
        assert gap.abs().max() <= 0.5 + 1e-4
        assert gap.var().item() == pytest.approx(1 / 12, rel=0.1)
    assert not torch.equal(*gaps)
    actual = Sampler(data, 1, seed=3, augment=("dequantise",)).batch(n + 2).x[0]
    expected = moved.batch(1).x[2]
    assert torch.equal(actual, expected)
    count = len(torch.unique(gaps[0]))
    assert count > 0.9 * gaps[0].numel()
