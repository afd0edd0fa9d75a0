"""Codes: their units and draws, and labels that they need."""

import dataclasses

import numpy as np
import pytest
import torch
from programs.coders import Halving, doubled
from torch import nn

import pushforward as pf
from pushforward.testing import space_data
from pushforward.training.api import prepare
from pushforward.training.frozen_recipes import code_space
from pushforward.training.monitor.health import FixedNoise
from pushforward.training.runs.precompute import prepared


def test_the_codes_units_are_measured_with_the_posteriors_spread():
    data = space_data((17,), labels=True, n=300)
    recipe = pf.in_latent("flow", data, doubled(data), "tiny")
    space = recipe.method.method.space
    x = data.space.to_model(data.train.data_units()).double()
    wanted = (4 * x.var(0, correction=0) + 0.25).sqrt()
    np.testing.assert_allclose(space.std, wanted, rtol=1e-5)
    np.testing.assert_allclose(space.mean, 2 * x.mean(0), atol=1e-5)
    assert space.classes == data.space.classes
    image = code_space(torch.randn(50, 6, 4, 5), data.space)
    assert (len(image.mean), image.low, image.shape) == (3, None, (3, 4, 5))


class Spy(pf.Method):
    """A method that keeps what it was trained on."""

    def __init__(self, space):
        super().__init__()
        self.space, self.seen = space, []
        self.weight = nn.Parameter(torch.zeros(()))

    @property
    def players(self):
        return {"spy": self}

    def losses(self, batch, now):
        self.seen.append(batch.x)
        yield "spy", self.weight * batch.x.mean()

    def transport(self):
        return pf.Map(Halving(), self.space, self.space.shape)


def test_codes_are_drawn_afresh_in_every_step_and_in_units_of_their_own(tmp_path):
    data = space_data((17,), labels=False, n=64)
    recipe = pf.in_latent(lambda space, size: pf.Recipe(Spy(space), pf.Training(batch=64)), data, doubled(data))
    method = recipe.method
    trainer = prepare(pf.Recipe(method, pf.Training(batch=64)), data, steps=40, out=tmp_path / "other")
    trainer.advance()
    seen = torch.stack(trainer.method.method.seen)
    back = [np.argsort(trainer.sampler.order.order(epoch)) for epoch in range(40)]
    rows = torch.stack([x[torch.from_numpy(order)] for x, order in zip(seen, back, strict=True)])
    assert float(rows.std()) == pytest.approx(1, abs=0.02)
    noise = rows.std(0) * torch.tensor(method.method.space.std)
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.02)
    x = 2 * data.space.to_model(data.train.data_units())
    torch.testing.assert_close(method.method.space.to_data(rows.mean(0)), x, rtol=0, atol=0.5)


def test_a_plain_autoencoder_s_codes_are_certain():
    data = space_data((17,), labels=False)
    autoencoder = pf.recipes.vae(data.space, "tiny", beta=0.0).method.autoencoder()
    mean, log_variance = autoencoder.moments(torch.randn(4, 17)).chunk(2, 1)
    assert (log_variance < -30).all()
    assert torch.equal(autoencoder.encode(torch.zeros(4, 17)), mean * 0 + autoencoder.encode(torch.zeros(4, 17)))


def test_health_reads_samples_in_the_autoencoder_s_units():
    data = space_data((1, 8, 8), labels=False)
    double = dataclasses.replace(data.space, std=tuple(2 * std for std in data.space.std))
    autoencoder = pf.recipes.vae(double, "tiny").method.autoencoder()
    method = pf.in_latent("gan", data, autoencoder, "tiny").method
    fixed = FixedNoise(data, 64)
    fixed._prepare(method)
    transport = method.transport()
    with torch.no_grad():
        wanted = double.to_data(transport(fixed._starts[0][:5], None))
    torch.testing.assert_close(fixed._samples(method)[:5], wanted, rtol=0, atol=1e-4)


def test_encoding_through_the_latent_space_and_back(tmp_path):
    """x -> code -> noise -> code -> x: the decoder's own reconstruction, to the solver's error."""
    data = space_data((17,), labels=False)
    recipe = pf.in_latent("flow", data, doubled(data), "tiny")
    transport = recipe.method.transport()
    fine = transport.on(transport.inner.with_solver(pf.solvers.RK4(), 60, "time"))
    x = data.held_out.data_units(slice(6))
    z = fine.encode(x)
    torch.testing.assert_close(data.space.to_data(fine(z)), x, rtol=0, atol=2e-2)
    assert prepared(recipe.method, data)["x"].shape == (len(data.train), 34)
