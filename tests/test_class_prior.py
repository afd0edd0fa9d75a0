"""The prior of a conditional VAE in closed form; samples of decoders of vectors are draws from p(x
| z).
"""

import functools
import math

import pytest
import torch
from torch import distributions, nn
from torch.testing import assert_close

import pushforward as pf
from pushforward.conditions import Label
from pushforward.data import Batch, ImageSpace, VectorSpace
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.export.program import GivenNoise, exported, noise_count
from pushforward.methods import EvidenceBound, StepContext
from pushforward.methods.likelihoods import (
    Bernoulli,
    Gaussian,
    active_units,
    divergences,
    drawn_from,
)
from pushforward.methods.vae import ClassPrior, FromPrior, ToPrior
from pushforward.testing import recipe_for, space_data
from pushforward.transports import Map

LINE = VectorSpace(
    shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3, conditions={"label": Label(("a", "b"), (0.5, 0.5))}
)
LABELS = {"label": torch.tensor([0, 1, 1, 0, 1])}


def prior():
    torch.manual_seed(0)
    part = ClassPrior(2, (3,))
    with torch.no_grad():
        part.mean.normal_(std=0.1)
        part.log_std.normal_(std=0.05)
    return part


class Same(nn.Module):
    def forward(self, x, t=None, condition=None):
        return x


def test_the_kl_term_is_that_to_the_prior_of_the_label():
    part = prior()
    (mean, log_variance) = torch.randn(2, 5, 3)
    codes = ToPrior(Same(), part)(torch.cat([mean, log_variance], 1), None, LABELS)
    tables = [10 * parameter.view(2, 3) for parameter in (part.mean, part.log_std)]
    centres, log_stds = ((table - table.mean(0))[LABELS["label"]] for table in tables)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    p = distributions.Normal(centres, log_stds.exp())
    actual = divergences(*codes.chunk(2, 1))
    expected = distributions.kl_divergence(q, p)
    assert_close(actual, expected)


def test_decoders_receive_the_code_that_encoders_gave():
    part = prior()
    x = torch.randn(5, 3)
    codes = ToPrior(Same(), part)(torch.cat([x, x], 1), None, LABELS).chunk(2, 1)[0]
    assert not torch.allclose(codes, x)
    actual = FromPrior(Same(), part)(codes, None, LABELS)
    assert_close(actual, x)


def test_unlabelled_examples_have_the_standard_prior():
    part = prior()
    assert all(
        bool((moment == 0).all()) and moment.shape == (4, 3) for moment in part.moments(None, 4)
    )
    some = {**LABELS, "label_null": torch.tensor([True, False, True, False, False])}
    for moment, labelled in zip(part.moments(some, 5), part.moments(LABELS, 5), strict=True):
        expected = torch.where(some["label_null"][:, None], 0.0, labelled)
        assert_close(moment, expected)


def test_a_class_without_examples_has_the_standard_prior_and_moves_no_other():
    full = prior()
    part = ClassPrior(3, (3,), absent=(1,))
    with torch.no_grad():
        for name in ("mean", "log_std"):
            getattr(part, name).view(3, 3)[[0, 2]] = getattr(full, name).view(2, 3)
            getattr(part, name).view(3, 3)[1] = 5.0
    labels = {"label": torch.tensor([0, 2, 1])}
    for moment, other in zip(
        part.moments(labels, 3), full.moments({"label": torch.tensor([0, 1])}, 2), strict=True
    ):
        expected = torch.cat([other, torch.zeros(1, 3)])
        assert_close(moment, expected)
    three = LINE.with_conditions({"label": Label(("a", "b", "c"), (0.5, 0.0, 0.5))})
    absent = pf.recipes.vae(three, "tiny").method.prior.absent
    assert absent == (1,)


class Spread(nn.Module):
    """An encoder without parameters: the code is x, nearly without noise."""

    def forward(self, x, t=None, condition=None):
        return torch.cat([x, torch.full_like(x, -6.0)], 1)


@pytest.mark.parametrize("options", [{}, {"samples": 4}, {"samples": 4, "dreg": True}])
def test_the_bound_moves_the_prior_to_the_moments_of_the_codes_of_each_class(options):
    """Averages over the classes are fixed, so the codes have 0 and 1 there: N(1.5, .5^2) and
    N(-1.5, 2^2).
    """
    torch.manual_seed(0)
    labels = torch.arange(400) % 2
    noise = torch.randn(200, 3)
    noise = (noise - noise.mean(0)) / noise.std(
        0, correction=0
    )  # the moments of each class are exact
    x = torch.stack([1.5 + 0.5 * noise, -1.5 + 2 * noise], 1).flatten(0, 1)
    vae = pf.VAE(Spread(), Same(), LINE, latent=3, classes=2, bound=EvidenceBound(**options))
    optimiser = torch.optim.Adam(vae.prior.parameters(), lr=0.003)
    centres = []
    stds = []
    for step in range(250):
        optimiser.zero_grad()
        ((_, loss),) = list(
            vae.losses(
                Batch(x, {"label": labels}), StepContext(BlockDraws(0, step, 400), step, 0.0)
            )
        )
        loss.backward()
        optimiser.step()
        centre, log_std = vae.prior.moments({"label": torch.tensor([0, 1])}, 2)
        centres = [*centres, centre.detach()]
        stds = [*stds, log_std.exp().detach()]
    centre = torch.stack(centres[150:]).mean(0)
    std = torch.stack(stds[150:]).mean(0)
    expected = torch.tensor([[1.5], [-1.5]]).expand(2, 3)
    assert_close(centre, expected, atol=0.07, rtol=0)
    expected = torch.tensor([[0.5], [2.0]]).expand(2, 3)
    assert_close(std, expected, atol=0, rtol=0.05)


def test_samples_come_from_the_prior_and_every_bound_knows_it():
    vae = pf.VAE(Spread(), Same(), LINE, latent=3, classes=2)
    with torch.no_grad():
        vae.likelihood.spread.zero_()
        vae.prior.mean.view(2, 3).copy_(torch.tensor([[-0.4], [0.4]]).expand(2, 3))
        vae.prior.log_std.view(2, 3).copy_(torch.tensor([[0.1], [-0.1]]).expand(2, 3))
    z = ExampleDraws(0, 4000).normal((3,))
    label = {"label": torch.ones(4000, dtype=torch.int64)}
    samples = LINE.to_data(vae.transport()(z, label)).detach()
    assert float(samples.mean()) == pytest.approx(4, abs=0.02)
    assert float(samples.std()) == pytest.approx(0.3679, abs=0.01)
    x = torch.full((8, 3), 4.0)
    condition = {"label": torch.ones(8, dtype=torch.int64)}
    exact = (
        distributions.Normal(4.0, (1 + 0.3679**2) ** 0.5).log_prob(x).sum(1)
    )  # the decoder's variance is 1
    with torch.no_grad():
        vae.encoder = Exact()
        weights = vae.log_weights(x, 4, ExampleDraws(0, 8), condition)
    expected = exact[:, None].expand(8, 4)
    assert_close(weights, expected, atol=1e-3, rtol=0)


class Exact(nn.Module):
    """The posterior of a code of N(4, .3679^2) given its value plus N(0, 1)."""

    def forward(self, x, t=None, condition=None):
        precision = 1 + 0.3679**-2
        return torch.cat(
            [(x + 4 * 0.3679**-2) / precision, torch.full_like(x, 1 / precision).log()], 1
        )


def test_a_plain_autoencoder_and_unlabelled_data_have_none():
    assert pf.recipes.vae(LINE, "tiny").method.prior is not None
    assert pf.recipes.vae(LINE, "tiny", beta=0.0).method.prior is None
    actual = pf.recipes.vae(LINE.without_labels(), "tiny").method.prior
    assert actual is None


def test_active_units_of_labelled_codes_vary_within_the_classes():
    torch.manual_seed(0)
    label = torch.arange(4000) % 4
    mean = torch.randn(4000, 3) * torch.tensor([1.0, 0.05, 0.05]) + label[:, None] * torch.tensor(
        [0.0, 1.0, 0.0]
    )
    assert (float(active_units(mean)), float(active_units(mean, label))) == (2, 1)
    many_classes = torch.randn(16, 8)
    actual = float(active_units(many_classes, torch.arange(16)))
    assert actual == 8, "with one example of each class nothing is said to collapse"
    one_class = active_units(mean[:50], torch.zeros(50, dtype=torch.int64))
    assert float(one_class) == float(active_units(mean[:50]))


SPACE = VectorSpace(shape=(3,), mean=(1.0, -2.0, 0.5), std=(2.0, 0.5, 3.0))
WEIGHT = torch.tensor([[1.0, -0.3], [0.2, 0.6], [-0.5, 0.8]])
STD = 0.7


class Affine(nn.Module):
    def __init__(self, weight, offset):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.offset = offset

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
    assert_close(linear.sample(7, seed=10, batch=2), whole)
    actual = linear.sample(2, seed=13)
    assert_close(actual, whole[3:5])
    draws = ExampleDraws(10, 7)
    z = linear.noise(draws)
    noise = (linear(z, None, draws) - linear(z)) / STD
    assert not torch.allclose(noise[:, :2], z)
    assert_close(linear(z), z @ WEIGHT.T + 0.2)


def test_points_in_between_and_variations_are_means(linear):
    z = linear.noise(ExampleDraws(0, 1))
    line = pf.editing.interpolate_seeds(linear, 0, 1, 5)
    expected = SPACE.to_data(linear(z)).detach()[0]
    assert_close(line[0], expected)
    near = pf.editing.Nearby(linear, z[0], 1e-6).sample(3, seed=5)
    expected = line[:1].expand(3, -1)
    assert_close(near, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vae", "hvae", "vqvae"])
def test_decoders_of_vectors_draw_and_those_of_pictures_do_not(name):
    data = space_data((17,), labels=True)
    transport = recipe_for(name, data).method.eval().transport()
    draws = ExampleDraws(0, 5)
    z = transport.noise(draws)
    label = transport.conditions(5, None, 0)
    assert isinstance(transport.likelihood, Gaussian)
    noise = ExampleDraws(0, 5)
    noise.normal(transport.noise_shape)
    wanted = transport(z, label) + transport.likelihood.log_variance.div(2).exp() * noise.normal(
        (17,)
    )
    assert_close(transport(z, label, draws), wanted)
    assert "Gaussian" in repr(transport)
    pictures = recipe_for(name, space_data((1, 8, 8), labels=True)).method.transport()
    assert pictures.likelihood is None


def test_bits_of_vectors_are_zeros_and_ones():
    space = VectorSpace(shape=(2,), mean=(0.5, 0.25), std=(0.5, 0.4), binary=True)
    chance = torch.tensor([0.9, 0.2])
    likelihood = Bernoulli(space)
    network = Affine(torch.zeros(2, 2), space.to_model(chance[None]))
    x = Map(network, space, (2,), drawn_from(likelihood)).sample(4000)
    assert_close(x, x.round(), rtol=0, atol=1e-6)
    assert ((x.mean(0) - chance).abs() < 4 * (chance * (1 - chance) / 4000).sqrt()).all()
    actual = drawn_from(
        Bernoulli(ImageSpace((1, 4, 4), (0.5,), (0.5,), (0.0,), (1.0,), binary=True))
    )
    assert actual is None


@pytest.mark.parametrize("limit", [None, 1.5], ids=["plain", "truncated"])
def test_an_exported_sampler_takes_the_noise(linear, limit):
    transport = linear if limit is None else pf.editing.Truncated(linear, limit)
    program = functools.partial(exported(transport).module(), condition=None, decoder_noise=None)
    z = torch.randn(5, 2)
    noise = torch.randn(noise_count(transport), 5, 3)
    assert len(noise) == 1
    wanted = SPACE.to_data(transport(z, None, GivenNoise(noise)))
    assert_close(program(z=z, noise=noise), wanted)
    smallest = (program(z=z, noise=noise) - program(z=z, noise=2 * noise)).abs().min()
    assert smallest > 0
    actual = program(z=z, noise=0 * noise)
    expected = SPACE.to_data(transport(z))
    assert_close(actual, expected)
