"""Batches as pure functions of their number."""

import math

import numpy as np
import pytest
import torch
from programs.labelled_images import pictures

from pushforward.data import Sampler
from pushforward.data.core.keys import mix, permutation
from pushforward.errors import UsageError


def test_keys_are_splitmix64_and_permutations_are_uniform():
    # first outputs of the published generator with state 0 and 1234567 (Vigna's splitmix64.c)
    assert int(mix(0)[0]) == 0xE220A8397B1DCDAF
    assert int(mix(1234567)[0]) == 6457827717110365317
    assert sorted(permutation(1000, 3).tolist()) == list(range(1000))
    first = np.array([permutation(5, seed)[0] for seed in range(5000)])
    assert np.abs(np.bincount(first) - 1000).max() < 5 * math.sqrt(1000)
    assert not np.array_equal(permutation(50, 1, 2), permutation(50, 2, 1))


def test_each_epoch_holds_every_row_once_in_an_order_of_its_own():
    data = pictures(31)
    n = len(data.train)
    sampler = Sampler(data, 5, seed=3)
    epochs, rows = sampler.positions(0, 4 * n)
    orders = [tuple(rows[epochs == e]) for e in range(4)]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len(set(orders)) == 4
    assert tuple(Sampler(data, 5, seed=4).order(0)) != orders[0]


def test_batches_cross_the_edges_of_epochs_and_may_exceed_the_data():
    data = pictures(31)
    n = len(data.train)
    _, rows = Sampler(data, 1, seed=3).positions(0, 10 * n)
    for size in (1, 5, n, 3 * n + 2):
        sampler = Sampler(data, size, seed=3)
        got = np.concatenate([sampler.positions(b * size, (b + 1) * size)[1] for b in range(10 * n // size)])
        assert np.array_equal(got, rows[: len(got)])
        batch = sampler.batch(1)
        expected = data.space.to_model(data.train.data_units(rows[size : 2 * size]))
        assert torch.equal(batch.x, expected)
        assert len(batch) == size
        assert batch.condition["label"].tolist() == data.train.labels[rows[size : 2 * size]].tolist()
        assert batch.condition["label"].dtype == torch.int64


def test_a_batch_depends_on_its_number_alone():
    data = pictures(31)
    sampler = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    in_order = [sampler.batch(b) for b in range(40)]
    fresh = Sampler(data, 4, seed=1, augment=("flip", "shift"))
    for number in (39, 0, 17, 7, 8):
        assert torch.equal(fresh.batch(number).x, in_order[number].x)
        assert torch.equal(fresh.batch(number).condition["label"], in_order[number].condition["label"])
    with pytest.raises(UsageError, match="start at 0"):
        sampler.batch(-1)


@pytest.mark.parametrize("augment", [("flip",), ("shift",), ("flip", "shift")])
def test_augmentation_is_keyed_by_epoch_and_row_whatever_the_batch(augment):
    data = pictures(31, labelled=False)
    n = len(data.train)
    wide, narrow = (Sampler(data, size, seed=2, augment=augment) for size in (2 * n, 1))
    both = wide.batch(0).x
    assert torch.equal(both, torch.cat([narrow.batch(b).x for b in range(2 * n)]))
    order = [Sampler(data, 1, seed=2).order(e) for e in (0, 1)]
    first, second = both[:n][np.argsort(order[0])], both[n:][np.argsort(order[1])]
    assert not torch.equal(first, second)


def test_flip_mirrors_half_of_the_rows_left_to_right():
    data = pictures(600, shape=(2, 3, 5), labelled=False)
    n = len(data.train)
    plain, flipped = Sampler(data, n), Sampler(data, n, augment=("flip",))
    x, y = plain.batch(0).x, flipped.batch(0).x
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all()
    assert abs(int(mirrored.sum()) - n / 2) < 5 * math.sqrt(n) / 2


def test_shift_moves_each_way_and_repeats_the_edge():
    data = pictures(900, shape=(2, 16, 17), labelled=False)
    n = len(data.train)
    x, y = Sampler(data, n).batch(0).x, Sampler(data, n, augment=("shift",)).batch(0).x
    seen = np.zeros((5, 5), dtype=int)
    for down in range(-2, 3):  # 16 // 8 pixels down or up, 17 // 8 right or left
        for right in range(-2, 3):
            padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
            moved = padded[:, :, 2 - down : 18 - down, 2 - right : 19 - right]
            seen[down + 2, right + 2] = int((y == moved).flatten(1).all(1).sum())
    assert seen.sum() == n
    assert np.abs(seen - n / 25).max() < 5 * math.sqrt(n / 25)


def test_dequantised_values_stay_in_their_level_and_are_keyed_by_epoch_row_and_place():
    data = pictures()
    n = len(data.train)
    plain, moved = Sampler(data, n, seed=3), Sampler(data, n, seed=3, augment=("dequantise",))
    std = torch.tensor(data.space.std).view(1, -1, 1, 1)
    gaps = [(moved.batch(epoch).x - plain.batch(epoch).x) * std * 255 for epoch in (0, 1)]
    for gap in gaps:
        assert gap.abs().max() <= 0.5 + 1e-4
        assert gap.var().item() == pytest.approx(1 / 12, rel=0.1)
    assert not torch.equal(*gaps)
    assert torch.equal(Sampler(data, 1, seed=3, augment=("dequantise",)).batch(n + 2).x[0], moved.batch(1).x[2])
    assert len(torch.unique(gaps[0])) > 0.9 * gaps[0].numel()
