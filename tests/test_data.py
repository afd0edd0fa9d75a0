"""Spaces, splits and fingerprints: closed forms and planted changes."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from programs.labelled_images import pictures

from pushforward import data as pf_data
from pushforward.conditions import Label
from pushforward.data import ImageSpace, Split, VectorSpace, measure
from pushforward.data.core.example_hashes import held_out_indices
from pushforward.data.core.keys import mix
from pushforward.data.core.make_dataset import build
from pushforward.errors import DataError, UsageError

# Space


@pytest.mark.parametrize("shape", [(3, 5, 4), (7,)])
def test_units_round_trip_and_log_det_agree_with_autodiff(shape):
    random = np.random.RandomState(1)
    spread = tuple(0.1 + random.rand(shape[0]))
    space = (VectorSpace if len(shape) == 1 else ImageSpace)(shape=shape, mean=tuple(random.rand(shape[0])), std=spread)
    x = torch.rand(6, *shape, dtype=torch.float64)
    assert torch.allclose(space.to_data(space.to_model(x)), x, atol=1e-14)
    jacobian = torch.autograd.functional.jacobian(lambda v: space.to_model(v.view(1, *shape)).flatten(), x[0].flatten())
    assert space.log_det == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), rel=1e-12)


def test_images_are_clamped_to_their_range_and_vectors_are_not():
    image = ImageSpace(shape=(2, 3, 4), mean=(0.5, 0.25), std=(0.5, 2.0), low=(0, 0), high=(1, 1))
    far = torch.full((2, 2, 3, 4), 9.0)
    assert image.to_data(far).max() == 1
    assert image.to_data(-far).min() == 0
    low, high = image.bounds
    assert low.shape == (1, 2, 1, 1)
    assert low.flatten().tolist() == [-1.0, -0.125]
    assert high.flatten().tolist() == [1.0, 0.375]
    vector = VectorSpace(shape=(2,), mean=(1, 2), std=(3, 4))
    assert vector.to_data(torch.tensor([[9.0, -9.0]])).tolist() == [[28.0, -34.0]]
    assert vector.bounds is None


def test_statistics_measured_in_blocks_equal_numpys(monkeypatch):
    monkeypatch.setattr("pushforward.data.spaces.scaled._CHUNK_ELEMENTS", 100)
    random = np.random.RandomState(2)
    pixels = random.randint(0, 256, (41, 3, 6, 5)).astype(np.uint8)
    space = measure(pixels)
    assert np.allclose(space.mean, (pixels / 255).mean((0, 2, 3)), rtol=1e-13)
    assert np.allclose(space.std, (pixels / 255).std((0, 2, 3)), rtol=1e-13)
    table = (random.standard_normal((301, 7)) * np.arange(1, 8) + 1e4).astype(np.float32)
    space = measure(table)
    assert np.allclose(space.mean, table.astype(np.float64).mean(0), rtol=1e-13)
    assert np.allclose(space.std, table.astype(np.float64).std(0), rtol=1e-10)


def test_constant_columns_and_channels_get_std_1():
    table = np.random.RandomState(3).standard_normal((50, 3)).astype(np.float32)
    table[:, 1] = 0.1
    assert measure(table).std[1] == 1.0
    pixels = np.random.RandomState(3).randint(0, 256, (20, 3, 4, 5)).astype(np.uint8)
    for value in range(256):  # of which some have a mean that is not exact
        pixels[:, 2] = value
        assert measure(pixels).std[2] == 1.0


def test_binary_only_when_there_is_nothing_but_black_and_white():
    pixels = np.random.RandomState(4).randint(0, 2, (20, 1, 4, 5)).astype(np.uint8) * np.uint8(255)
    assert measure(pixels).binary
    pixels[3, 0, 2, 1] = 254
    assert not measure(pixels).binary


def test_quantise_writes_what_files_hold():
    image = pictures().space
    x = pictures().train.data_units()
    assert np.array_equal(image.quantise(x).transpose(0, 3, 1, 2), pictures().train.x)
    model = image.to_data(image.to_model(x))
    assert np.array_equal(image.quantise(model), image.quantise(x))
    table = VectorSpace(shape=(3,), mean=(0, 0, 0), std=(1, 1, 1), integer=(1,))
    assert table.quantise(torch.tensor([[0.6, 0.6, 1.4]])).tolist() == [[np.float32(0.6), 1.0, np.float32(1.4)]]


# Splits and fingerprints


def test_held_out_rows_are_fixed_disjoint_and_about_a_tenth_of_each_class():
    labels, hashes = np.repeat(np.arange(3), (500, 1500, 3000)), mix(1, np.arange(5000))
    held = held_out_indices(hashes, labels)
    assert np.array_equal(held, held_out_indices(hashes, labels))
    shares = np.bincount(labels[held]) / (500, 1500, 3000)
    assert (np.abs(shares - 0.1) < 5 * np.sqrt(0.09 / np.array([500, 1500, 3000]))).all()
    assert [len(held_out_indices(hashes[:n])) for n in (2, 4, 5, 9)] == [1, 1, 2, 2]
    assert abs(len(held_out_indices(mix(2, np.arange(300_000)))) - 30_000) < 5 * math.sqrt(300_000 * 0.09)
    assert len(np.unique(held)) == len(held)
    assert abs(held.mean() - 2500) < 5 * 5000 / math.sqrt(12 * 500)  # spread over all rows
    with pytest.raises(DataError, match="at least 2"):
        held_out_indices(hashes[:1])


def test_splits_share_no_row_and_lose_none():
    x = np.arange(5 * 211, dtype=np.float32).reshape(211, 5)
    data = build("rows", Split(x))
    both = np.concatenate([data.train.x, data.held_out.x])
    assert abs(len(data.held_out) - 21) < 5 * math.sqrt(211 * 0.09)
    assert np.array_equal(both[np.argsort(both[:, 0])], x)


def test_limit_shortens_training_and_leaves_the_held_out_rows():
    whole, first, second = (pf_data.load("digits", **k) for k in ({}, {"limit": 50}, {"limit": 50, "seed": 1}))
    assert len(first.train) == 50
    assert np.array_equal(first.held_out.x, whole.held_out.x)
    assert not np.array_equal(first.train.x, second.train.x)
    with pytest.raises(UsageError, match="at least 1"):
        pf_data.load("digits", limit=0)


def test_fingerprint_follows_content_and_nothing_else():
    data = pictures()
    known = {data.fingerprint}
    assert pictures().fingerprint == data.fingerprint
    assert dataclasses.replace(data, name="moved").fingerprint == data.fingerprint
    pixel = data.train.x.copy()
    pixel[4, 1, 3, 2] ^= 1
    label = data.held_out.labels.copy()
    label[1] = (label[1] + 1) % 3
    for changed in (
        dataclasses.replace(data, train=Split(pixel, data.train.labels)),
        dataclasses.replace(data, held_out=Split(data.held_out.x, label)),
        dataclasses.replace(data, space=dataclasses.replace(data.space, conditions={"label": Label(("cat", "dog", "fox"))})),
        data.without_labels(),
        dataclasses.replace(data, train=Split(data.train.x.transpose(0, 1, 3, 2).copy(), data.train.labels)),
    ):
        assert changed.fingerprint not in known
        known.add(changed.fingerprint)


def test_the_only_row_of_a_class_is_never_held_out():
    labels = np.repeat([0, 1, 2, 3], [1, 20, 1, 1])
    hashes = mix(3, np.arange(len(labels)))
    for count in (None, 1, 2, 5, 19):
        held = held_out_indices(hashes, labels, count)
        assert len(held) == count or count is None
        assert (labels[held] == 1).all()
    many = np.concatenate([np.arange(40), [0, 1]])
    hashes = mix(4, np.arange(42))
    assert set(many[held_out_indices(hashes, many)]) == {0, 1}
    assert set(many[held_out_indices(hashes, many, 4)]) == {0, 1}
    for count in (None, 2):
        with pytest.raises(DataError, match="single example"):
            held_out_indices(hashes[:7], np.arange(7), count)
