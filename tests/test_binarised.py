"""Images drawn as bits."""

import numpy as np
import torch
from programs.linear_vaes import grey

import pushforward as pf
from pushforward.data import Sampler, Split, measure
from pushforward.data.core.dataset import Dataset
from pushforward.data.core.keys import bits
from pushforward.data.sets.binary import drawn
from pushforward.methods.likelihoods import Bernoulli
from pushforward.testing import recipe_for


def test_bits_are_ones_as_often_as_their_values_say():
    x = np.broadcast_to(np.array([0, 1, 51, 128, 254, 255], np.uint8).reshape(1, 1, 1, 6), (60_000, 1, 1, 6))
    share = (bits(np.ascontiguousarray(x), 7, np.arange(60_000)) == 255).mean((0, 1, 2))
    assert (share[0], share[5]) == (0, 1)
    np.testing.assert_allclose(share, np.array([0, 1, 51, 128, 254, 255]) / 255, atol=0.01)
    assert np.array_equal(bits(x[:5], 7, np.arange(5)), bits(x[:9], 7, np.arange(9))[:5])


def test_training_rows_are_drawn_anew_in_every_epoch_and_held_out_ones_never():
    data = drawn(grey()[0], "binary")
    assert data.space.binary
    assert set(np.unique(data.held_out.x)) <= {0, 255}
    assert data.fingerprint == drawn(grey()[0], "binary").fingerprint
    assert data.fingerprint != drawn(grey()[0], "binary", seed=1).fingerprint
    sampler = Sampler(data, 40, seed=3)
    first, second = (data.space.to_data(sampler.batch(epoch).x) for epoch in (0, 1))
    torch.testing.assert_close(sampler.batch(0).x, Sampler(data, 40, seed=3).batch(0).x)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    back = [torch.from_numpy(np.argsort(sampler.order(epoch))) for epoch in (0, 1)]
    first, second = first[back[0]], second[back[1]]
    assert 0.1 < float((first != second).float().mean()) < 0.5
    mean = torch.stack(
        [data.space.to_data(sampler.batch(e).x)[torch.from_numpy(np.argsort(sampler.order(e)))] for e in range(400)]
    )
    np.testing.assert_allclose(mean.mean(0).numpy(), data.probabilities / 255, atol=0.13)


def test_every_row_is_drawn_for_itself():
    grey_row = np.full((5000, 1, 8, 8), 128, np.uint8)
    binary = drawn(Dataset("grey", measure(grey_row, None), Split(grey_row), Split(grey_row)), "binary")
    for split in (binary.train, binary.held_out):
        assert len(np.unique(split.x.reshape(5000, -1), axis=0)) == 5000
    assert 0.4 < float((binary.train.x != binary.held_out.x).mean()) < 0.6


def test_binary_digits_take_the_bernoulli_likelihood():
    data = pf.data.load("binary-digits")
    assert isinstance(recipe_for("vae", data).method.likelihood, Bernoulli)
    assert data.space.shape == (1, 8, 8)
