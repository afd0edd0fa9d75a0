"""Samples of decoders of vectors are draws from p(x | z); pictures, points in between and reconstructions are means."""

import math

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.data import ImageSpace, VectorSpace
from pushforward.draws import ExampleDraws
from pushforward.methods.likelihoods import Bernoulli, Gaussian, drawn_from
from pushforward.testing import recipe_for, space_data
from pushforward.transports import Map
from pushforward.transports.export import GivenNoise, exported, noise_count

SPACE = VectorSpace(shape=(3,), mean=(1.0, -2.0, 0.5), std=(2.0, 0.5, 3.0))
WEIGHT = torch.tensor([[1.0, -0.3], [0.2, 0.6], [-0.5, 0.8]])
STD = 0.7


class Affine(nn.Module):
    def __init__(self, weight, offset):
        super().__init__()
        self.weight, self.offset = nn.Parameter(weight.clone()), offset

    def forward(self, z, t=None, condition=None):
        return z @ self.weight.T + self.offset


@pytest.fixture
def linear():
    """The transport of x = W z + 0.2 + STD noise, in model units."""
    vae = pf.VAE(Affine(torch.zeros(4, 3), 0.0), Affine(WEIGHT, 0.2), SPACE, latent=2)
    with torch.no_grad():
        vae.likelihood.spread.fill_(2 * math.log(STD) / 10)
    return vae.eval().transport()


def test_samples_have_the_covariance_of_the_model(linear):
    """Cov x = W W^T + s^2; its entries vary by sqrt((C_ij^2 + C_ii C_jj) / n)."""
    n = 20_000
    x = SPACE.to_model(linear.sample(n, seed=3)).double()
    wanted = (WEIGHT @ WEIGHT.T + STD**2 * torch.eye(3)).double()
    error = ((wanted.square() + wanted.diag()[:, None] * wanted.diag()) / n).sqrt()
    assert ((x.T.cov() - wanted).abs() < 4 * error).all()
    assert ((x.mean(0) - 0.2).abs() < 4 * (wanted.diag() / n).sqrt()).all()
    means = (WEIGHT @ WEIGHT.T).double()
    assert ((x.T.cov() - means).diag() > 10 * error.diag()).all(), "the means alone are narrower"


def test_noise_of_sample_i_comes_from_its_seed_alone(linear):
    whole = linear.sample(7, seed=10)
    torch.testing.assert_close(linear.sample(7, seed=10, batch=2), whole)
    torch.testing.assert_close(linear.sample(2, seed=13), whole[3:5])
    draws = ExampleDraws(10, 7)
    z = linear.noise(draws)
    noise = (linear(z, None, draws) - linear(z)) / STD
    assert not torch.allclose(noise[:, :2], z)
    torch.testing.assert_close(linear(z), z @ WEIGHT.T + 0.2)


def test_points_in_between_and_variations_are_means(linear):
    z = linear.noise(ExampleDraws(0, 1))
    line = pf.editing.interpolate_seeds(linear, 0, 1, 5)
    torch.testing.assert_close(line[0], SPACE.to_data(linear(z)).detach()[0])
    near = pf.editing.Nearby(linear, z[0], 1e-6).sample(3, seed=5)
    torch.testing.assert_close(near, line[:1].expand(3, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vae", "hvae", "vqvae"])
def test_decoders_of_vectors_draw_and_those_of_pictures_do_not(name):
    data = space_data((17,), labels=True)
    transport = recipe_for(name, data).method.eval().transport()
    draws = ExampleDraws(0, 5)
    z, label = transport.noise(draws), transport.conditions(5, None, 0)
    assert isinstance(transport.likelihood, Gaussian)
    noise = ExampleDraws(0, 5)
    noise.normal(transport.noise_shape)
    wanted = transport(z, label) + transport.likelihood.log_variance.div(2).exp() * noise.normal((17,))
    torch.testing.assert_close(transport(z, label, draws), wanted)
    assert "Gaussian" in repr(transport)
    pictures = recipe_for(name, space_data((1, 8, 8), labels=True)).method.transport()
    assert pictures.likelihood is None


def test_bits_of_vectors_are_zeros_and_ones():
    space = VectorSpace(shape=(2,), mean=(0.5, 0.25), std=(0.5, 0.4), binary=True)
    chance = torch.tensor([0.9, 0.2])
    likelihood = Bernoulli(space)
    network = Affine(torch.zeros(2, 2), space.to_model(chance[None]))
    x = Map(network, space, (2,), drawn_from(likelihood)).sample(4000)
    torch.testing.assert_close(x, x.round(), rtol=0, atol=1e-6)
    assert ((x.mean(0) - chance).abs() < 4 * (chance * (1 - chance) / 4000).sqrt()).all()
    assert drawn_from(Bernoulli(ImageSpace((1, 4, 4), (0.5,), (0.5,), (0.0,), (1.0,), binary=True))) is None


@pytest.mark.parametrize("limit", [None, 1.5], ids=["plain", "truncated"])
def test_an_exported_sampler_takes_the_noise(linear, limit):
    transport = linear if limit is None else pf.editing.Truncated(linear, limit)
    program = exported(transport).module()
    z, noise = torch.randn(5, 2), torch.randn(noise_count(transport), 5, 3)
    assert len(noise) == 1
    wanted = SPACE.to_data(transport(z, None, GivenNoise(noise)))
    torch.testing.assert_close(program(z, None, noise), wanted)
    assert (program(z, None, noise) - program(z, None, 2 * noise)).abs().min() > 0
    torch.testing.assert_close(program(z, None, 0 * noise), SPACE.to_data(transport(z)))
