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
    mean, log_variance = torch.randn(2, 5, 3)
    encoder = ToPrior(Same(), part)
    codes = encoder(torch.cat([mean, log_variance], 1), None, LABELS)

    def of_labels(parameter):
        table = 10 * parameter.view(2, 3)
        return (table - table.mean(0))[LABELS["label"]]

    q = distributions.Normal(mean, (log_variance / 2).exp())
    p = distributions.Normal(of_labels(part.mean), of_labels(part.log_std).exp())
    expected = distributions.kl_divergence(q, p)
    actual = divergences(*codes.chunk(2, 1))
    assert_close(actual, expected)


def test_decoders_receive_the_code_that_encoders_gave():
    part = prior()
    x = torch.randn(5, 3)
    encoder = ToPrior(Same(), part)
    codes, _ = encoder(torch.cat([x, x], 1), None, LABELS).chunk(2, 1)
    assert not torch.allclose(codes, x)
    decoder = FromPrior(Same(), part)
    assert_close(decoder(codes, None, LABELS), x)


def test_unlabelled_examples_have_the_standard_prior():
    part = prior()
    for moment in part.moments(None, 4):
        assert_close(moment, torch.zeros(4, 3), rtol=0, atol=0)
    null = torch.tensor([True, False, True, False, False])
    some = {**LABELS, "label_null": null}
    for moment, labelled in zip(part.moments(some, 5), part.moments(LABELS, 5), strict=True):
        expected = torch.where(null[:, None], 0.0, labelled)
        assert_close(moment, expected)


def test_a_class_without_examples_has_the_standard_prior_and_moves_no_other():
    full = prior()
    part = ClassPrior(3, (3,), absent=(1,))
    with torch.no_grad():
        for name in ("mean", "log_std"):
            table = getattr(part, name).view(3, 3)
            table[[0, 2]] = getattr(full, name).view(2, 3)
            table[1] = 5.0
    of_three = part.moments({"label": torch.tensor([0, 2, 1])}, 3)
    of_two = full.moments({"label": torch.tensor([0, 1])}, 2)
    for moment, other in zip(of_three, of_two, strict=True):
        expected = torch.cat([other, torch.zeros(1, 3)])
        assert_close(moment, expected)
    label = Label(("a", "b", "c"), (0.5, 0.0, 0.5))
    three = LINE.with_conditions({"label": label})
    vae = pf.recipes.vae(three, "tiny").method
    assert vae.prior.absent == (1,)


class Spread(nn.Module):
    """An encoder without parameters: the code is x, nearly without noise."""

    def forward(self, x, t=None, condition=None):
        return torch.cat([x, torch.full_like(x, -6.0)], 1)


def standardised(noise):
    """Noise whose mean is exactly 0 and whose standard deviation is exactly 1."""
    return (noise - noise.mean(0)) / noise.std(0, correction=0)


@pytest.mark.parametrize("options", [{}, {"samples": 4}, {"samples": 4, "dreg": True}])
def test_the_bound_moves_the_prior_to_the_moments_of_the_codes_of_each_class(options):
    """Averages over the classes are fixed, so the codes have 0 and 1 there: N(1.5, .5^2) and
    N(-1.5, 2^2).
    """
    torch.manual_seed(0)
    labels = torch.arange(400) % 2
    noise = standardised(torch.randn(200, 3))
    x = torch.stack([1.5 + 0.5 * noise, -1.5 + 2 * noise], 1).flatten(0, 1)
    batch = Batch(x, {"label": labels})
    vae = pf.VAE(Spread(), Same(), LINE, latent=3, classes=2, bound=EvidenceBound(**options))
    optimiser = torch.optim.Adam(vae.prior.parameters(), lr=0.003)
    both = {"label": torch.tensor([0, 1])}
    centres = []
    stds = []
    for step in range(250):
        optimiser.zero_grad()
        now = StepContext(BlockDraws(0, step, 400), step, 0.0)
        ((_, loss),) = vae.losses(batch, now)
        loss.backward()
        optimiser.step()
        if step >= 150:
            centre, log_std = vae.prior.moments(both, 2)
            centres.append(centre.detach())
            stds.append(log_std.exp().detach())
    centre = torch.stack(centres).mean(0)
    std = torch.stack(stds).mean(0)
    expected = torch.tensor([[1.5], [-1.5]]).expand(2, 3)
    assert_close(centre, expected, atol=0.07, rtol=0)
    expected = torch.tensor([[0.5], [2.0]]).expand(2, 3)
    assert_close(std, expected, atol=0, rtol=0.05)


@pytest.fixture
def of_two_classes():
    """A VAE whose codes are N(-4, e^2) in class a and N(4, e^-2) in class b; the variance of its
    decoder is 1.
    """
    vae = pf.VAE(Spread(), Same(), LINE, latent=3, classes=2)
    mean = torch.tensor([[-0.4], [0.4]])
    log_std = torch.tensor([[0.1], [-0.1]])
    with torch.no_grad():
        vae.likelihood.spread.zero_()
        vae.prior.mean.view(2, 3).copy_(mean.expand(2, 3))
        vae.prior.log_std.view(2, 3).copy_(log_std.expand(2, 3))
    return vae


def test_samples_come_from_the_prior(of_two_classes):
    z = ExampleDraws(0, 4000).normal((3,))
    label = {"label": torch.ones(4000, dtype=torch.int64)}
    samples = LINE.to_data(of_two_classes.transport()(z, label)).detach()
    assert samples.mean().item() == pytest.approx(4, abs=0.02)
    assert samples.std().item() == pytest.approx(0.3679, abs=0.01)


def test_every_bound_knows_the_prior(of_two_classes):
    x = torch.full((8, 3), 4.0)
    condition = {"label": torch.ones(8, dtype=torch.int64)}
    of_two_classes.encoder = Exact()
    with torch.no_grad():
        weights = of_two_classes.log_weights(x, 4, ExampleDraws(0, 8), condition)
    std = (1 + 0.3679**2) ** 0.5
    exact = distributions.Normal(4.0, std).log_prob(x).sum(1)
    assert_close(weights, exact[:, None].expand(8, 4), atol=1e-3, rtol=0)


class Exact(nn.Module):
    """The posterior of a code of N(4, .3679^2) given its value plus N(0, 1)."""

    def forward(self, x, t=None, condition=None):
        of_prior = 0.3679**-2
        precision = 1 + of_prior
        mean = (x + 4 * of_prior) / precision
        variance = torch.full_like(x, 1 / precision)
        return torch.cat([mean, variance.log()], 1)


def test_a_plain_autoencoder_and_unlabelled_data_have_none():
    def prior_of(space, **options):
        return pf.recipes.vae(space, "tiny", **options).method.prior

    assert prior_of(LINE) is not None
    assert prior_of(LINE, beta=0.0) is None
    assert prior_of(LINE.without_labels()) is None


def test_active_units_of_labelled_codes_vary_within_the_classes():
    torch.manual_seed(0)
    label = torch.arange(4000) % 4
    within = torch.randn(4000, 3) * torch.tensor([1.0, 0.05, 0.05])
    between = label[:, None] * torch.tensor([0.0, 1.0, 0.0])
    mean = within + between
    assert active_units(mean).item() == 2
    assert active_units(mean, label).item() == 1
    few = mean[:50]
    same_class = torch.zeros(50, dtype=torch.int64)
    assert active_units(few, same_class).item() == active_units(few).item()


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
    of_means = (WEIGHT @ WEIGHT.T).double()
    wanted = of_means + STD**2 * torch.eye(3)
    variance = wanted.diag()
    error = ((wanted.square() + variance[:, None] * variance) / n).sqrt()
    covariance = x.T.cov()
    assert ((covariance - wanted).abs() < 4 * error).all()
    distance = (x.mean(0) - 0.2).abs()
    assert (distance < 4 * (variance / n).sqrt()).all()
    beyond = (covariance - of_means).diag()
    assert (beyond > 10 * error.diag()).all(), "the means alone are narrower"


def test_noise_of_sample_i_comes_from_its_seed_alone(linear):
    whole = linear.sample(7, seed=10)
    in_batches = linear.sample(7, seed=10, batch=2)
    assert_close(in_batches, whole)
    later = linear.sample(2, seed=13)
    assert_close(later, whole[3:5])
    draws = ExampleDraws(10, 7)
    z = linear.noise(draws)
    mean = linear(z)
    noise = (linear(z, None, draws) - mean) / STD
    assert not torch.allclose(noise[:, :2], z)
    assert_close(mean, z @ WEIGHT.T + 0.2)


def test_points_in_between_and_variations_are_means(linear):
    z = linear.noise(ExampleDraws(0, 1))
    line = pf.editing.interpolate_seeds(linear, 0, 1, 5)
    start = SPACE.to_data(linear(z)).detach()
    assert_close(line[:1], start)
    variation = pf.editing.Nearby(linear, z[0], 1e-6)
    near = variation.sample(3, seed=5)
    assert_close(near, line[:1].expand(3, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vae", "hvae", "vqvae"])
def test_decoders_of_vectors_draw(name):
    data = space_data((17,), labels=True)
    transport = recipe_for(name, data).method.eval().transport()
    assert isinstance(transport.likelihood, Gaussian)
    assert "Gaussian" in repr(transport)
    draws = ExampleDraws(0, 5)
    z = transport.noise(draws)
    label = transport.conditions(5, None, 0)
    again = ExampleDraws(0, 5)
    again.normal(transport.noise_shape)
    noise = again.normal((17,))
    std = transport.likelihood.log_variance.div(2).exp()
    wanted = transport(z, label) + std * noise
    assert_close(transport(z, label, draws), wanted)


@pytest.mark.parametrize("name", ["vae", "hvae", "vqvae"])
def test_decoders_of_pictures_do_not_draw(name):
    data = space_data((1, 8, 8), labels=True)
    transport = recipe_for(name, data).method.transport()
    assert transport.likelihood is None


def test_bits_of_vectors_are_zeros_and_ones():
    space = VectorSpace(shape=(2,), mean=(0.5, 0.25), std=(0.5, 0.4), binary=True)
    chance = torch.tensor([0.9, 0.2])
    logits = space.to_model(chance[None])
    network = Affine(torch.zeros(2, 2), logits)
    sampler = Map(network, space, (2,), drawn_from(Bernoulli(space)))
    x = sampler.sample(4000)
    assert_close(x, x.round(), rtol=0, atol=1e-6)
    variance = chance * (1 - chance)
    error = (variance / 4000).sqrt()
    assert ((x.mean(0) - chance).abs() < 4 * error).all()


def test_with_one_example_of_each_class_nothing_is_said_to_collapse():
    torch.manual_seed(0)
    mean = torch.randn(16, 8)
    label = torch.arange(16)
    assert active_units(mean, label).item() == 8


@pytest.mark.parametrize("limit", [None, 1.5], ids=["plain", "truncated"])
def test_an_exported_sampler_takes_the_noise(linear, limit):
    transport = linear
    if limit is not None:
        transport = pf.editing.Truncated(linear, limit)
    module = exported(transport).module()
    program = functools.partial(module, condition=None, decoder_noise=None)
    z = torch.randn(5, 2)
    noise = torch.randn(noise_count(transport), 5, 3)
    assert len(noise) == 1
    drawn = program(z=z, noise=noise)
    wanted = transport(z, None, GivenNoise(noise))
    assert_close(drawn, SPACE.to_data(wanted))
    wider = program(z=z, noise=2 * noise)
    assert (wider != drawn).all()
    mean = program(z=z, noise=0 * noise)
    assert_close(mean, SPACE.to_data(transport(z)))


def test_bits_of_images_are_not_drawn():
    images = ImageSpace((1, 4, 4), (0.5,), (0.5,), (0.0,), (1.0,), binary=True)
    assert drawn_from(Bernoulli(images)) is None
