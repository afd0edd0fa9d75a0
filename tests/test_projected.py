"""The critic on pretrained features in training: gradients, precision, weights and files."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from programs.pretrained_critics import SHAPE, frozen, images, needs_extra

import pushforward as pf
from pushforward.methods import Penalties
from pushforward.networks import Generator
from pushforward.networks import pretrained as projected
from pushforward.networks.pretrained import ProjectedCritic
from pushforward.testing import class_labels, space_data
from pushforward.training.loop.ema import Average

CLASSES = 3


@pytest.mark.parametrize(("side", "last"), [(56, 3), (8, 4), (4, 4), (1, 1)])
def test_small_critics_score_every_place_and_take_the_mean(side, last):
    small, x = projected.ScaleCritic(7, side, 5, class_labels(CLASSES)), torch.randn(2, 7, side, side)
    label = {"label": torch.tensor([2, 0])}
    h = x
    for convolution in small.convolutions:
        h = torch.where(convolution(h) > 0, convolution(h), 0.2 * convolution(h))
    assert h.shape == (2, 5, last, last)
    places = torch.stack([small.leave(h[:, :, i, j], None, label) for i in range(last) for j in range(last)])
    torch.testing.assert_close(small(x, None, label), places.mean(0), rtol=1e-4, atol=1e-5)


def recipe(space, **settings):
    units = {"mean": space.mean, "std": space.std, "side": 32, "width": 6, "hidden": 5, "conditions": space.conditions}
    maker = Generator(space.shape, latent=4, width=4, blocks=1, conditions=space.conditions)
    game = pf.GAN(maker, ProjectedCritic(space.shape, **units), space, latent=4, loss="hinge", penalties=Penalties("none"))
    return pf.Recipe(game, dataclasses.replace(pf.Recipe(game).training, batch=8), **settings)


@needs_extra
def test_training_saving_and_loading(tmp_path):
    data = space_data(SHAPE, labels=True)
    projected = recipe(data.space)
    run = pf.fit(projected, data, steps=3, out=tmp_path / "run", seed=0)
    loaded = pf.load(tmp_path / "run")
    assert torch.equal(loaded.transport.sample(3, seed=1), run.transport.sample(3, seed=1))
    saved = sum(file.stat().st_size for file in (tmp_path / "run" / "checkpoints").rglob("*.safetensors"))
    assert saved < frozen_bytes() / 4
    method = loaded.method
    assert isinstance(method.critic, ProjectedCritic)
    x, condition = images(), {"label": torch.tensor([2, 0])}
    assert torch.equal(method.critic(x, None, condition), run.method.critic(x, None, condition))
    average = Average(method, 100.0, 0.5)
    assert torch.equal(average.method.critic(x, None, condition), method.critic.eval()(x, None, condition))


def frozen_bytes() -> int:
    return sum(parameter.numel() * 4 for parameter in frozen().parameters())
