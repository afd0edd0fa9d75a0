"""Losses against closed forms, games in their order, and what training finds where the answer is
known.
"""

import math

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.conditions import Label
from pushforward.data import Batch, VectorSpace
from pushforward.draws import BlockDraws
from pushforward.methods import EvidenceBound, Penalties, StepContext
from pushforward.methods.likelihoods import Bernoulli
from pushforward.testing import recipe_for, space_data
from pushforward.transports import Autoencoder, Latent, Map

PLANE = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))


def now(rows, step=0, progress=0.0):
    return StepContext(BlockDraws(0, step, rows), 0, progress)


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2, whose slope is a x."""

    def __init__(self, a=1.5):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, x, t=None, condition=None):
        return self.a * x.square().sum(1, keepdim=True) / 2


class Scale(nn.Module):
    def __init__(self, b=0.7):
        super().__init__()
        self.b = nn.Parameter(torch.tensor(b))

    def forward(self, z, t=None, condition=None):
        return self.b * z


def turns(method, x, step=0, progress=0.0):
    return list(method.losses(Batch(x), now(len(x), step, progress)))


def test_each_player_is_trained_by_its_own_loss_alone():
    game = pf.GAN(Scale(), Quadratic(), PLANE, latent=2, penalties=Penalties(gamma=0.5))
    for player, loss in game.losses(Batch(torch.randn(32, 2)), now(32)):
        loss.backward(inputs=list(game.players[player].parameters()))
        for name, part in game.players.items():
            if name != player:
                assert all(parameter.grad is None for parameter in part.parameters())
        game.zero_grad()


class Linear(nn.Module):
    """A linear map with a bias, and a constant log-variance for an encoder."""

    def __init__(self, inputs, outputs, encoder=False):
        super().__init__()
        self.map = nn.Linear(inputs, outputs)
        self.log_variance = None
        if encoder:
            self.log_variance = nn.Parameter(torch.zeros(outputs))

    def forward(self, x, t=None, condition=None):
        mean = self.map(x)
        if self.log_variance is None:
            return mean
        return torch.cat([mean, self.log_variance.expand_as(mean)], 1)


def linear_vae(space=PLANE, **options):
    """A linear autoencoder with a latent of one number."""
    size = space.size
    encoder = Linear(size, 1, encoder=True)
    return pf.VAE(encoder, Linear(1, size), space, latent=1, **options)


def test_the_elbo_is_tight_where_the_posterior_is_exact():
    """Linear Gaussian model: with the exact posterior, the bound is log N(x; 0, W W^T + s^2) for
    every draw of noise.
    """
    torch.manual_seed(0)
    w = torch.tensor([[1.2], [-0.4]])
    log_variance = -1.0
    variance = math.exp(log_variance)
    vae = linear_vae()
    precision = 1 + (w.T @ w).item() / variance
    with torch.no_grad():
        vae.likelihood.spread.fill_(log_variance / 10)
        vae.decoder.map.weight.copy_(w)
        vae.decoder.map.bias.zero_()
        vae.encoder.map.weight.copy_(w.T / variance / precision)
        vae.encoder.map.bias.zero_()
        vae.encoder.log_variance.fill_(-math.log(precision))
    x = torch.randn(20_000, 2) @ torch.tensor([[1.0, 0.2], [0.0, 0.8]])
    covariance = w @ w.T + variance * torch.eye(2)
    marginal = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
    truth = marginal.log_prob(x).mean().item()
    ((_, loss),) = turns(vae, x)
    assert -2 * loss.item() == pytest.approx(truth, abs=0.02)


def test_the_learned_variance_finds_the_residual(tmp_path):
    """At the optimum the decoder's variance is the mean squared error of reconstruction."""
    data = space_data((17,), labels=False, n=500)
    run = pf.fit(recipe_for("vae", data, batch=128), data, steps=400, out=tmp_path / "run")
    vae = run.method
    x = data.space.to_model(data.train.data_units())
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    latent = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
    error = (vae.decoder(latent) - x).square().mean()
    ratio = vae.likelihood.log_variance.exp() / error
    assert ratio.item() == pytest.approx(1, abs=0.15)


def test_beta_zero_is_the_plain_autoencoder():
    vae = linear_vae(bound=EvidenceBound(beta=0.0))
    x = torch.randn(9, 2)
    ((_, loss),) = turns(vae, x)
    decoded = vae.decoder(vae.encoder(x)[:, :1])
    log_variance = vae.likelihood.log_variance.detach()
    squares = (x - decoded).square() / log_variance.exp()
    wanted = 0.5 * (squares + log_variance + math.log(2 * math.pi)).mean()
    torch.testing.assert_close(loss, wanted)


def test_bernoulli_likelihood_sums_to_one_over_all_binary_rows():
    space = VectorSpace(
        shape=(3,),
        mean=(0.3, 0.5, 0.2),
        std=(0.4, 0.5, 0.4),
        low=(0,) * 3,
        high=(1,) * 3,
        binary=True,
    )
    vae = linear_vae(space, likelihood=Bernoulli(space))
    bit = torch.tensor([0.0, 1.0])
    rows = space.to_model(torch.cartesian_prod(bit, bit, bit))
    logits = vae.decoder(torch.full((8, 1), 0.4))
    total = vae.likelihood.log_prob(rows, logits).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)
    transport = vae.transport()
    samples = transport.sample(50)
    torch.testing.assert_close(samples, samples.round(), rtol=0, atol=1e-6)
    means = space.to_data(transport(torch.randn(50, 1)))
    assert ((means > 0) & (means < 1)).all()


def test_a_trained_noise_network_is_one_model_under_ddim_and_heun(tmp_path):
    """Sampled as noise by DDIM in 500 steps and, read as a velocity, by Heun in 100: RMS below 1 %
    of the range.
    """
    data = pf.data.load("moons", limit=5000)
    run = pf.fit(recipe_for("ddpm", data, batch=128), data, steps=150, out=tmp_path / "run")
    noise = run.transport.with_solver(pf.solvers.DDIM(), 500, "log_snr").sample(64)
    velocity = run.transport.with_solver(pf.solvers.Heun(), 100, "log_snr").sample(64)
    span = noise.max() - noise.min()
    error = (noise - velocity).square().mean().sqrt()
    assert error < 0.01 * span


class Spy(nn.Module):
    """A network that keeps the condition that it received."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x, t=None, condition=None):
        self.condition = condition
        return x * self.w


def test_label_dropout_hides_its_share_of_labels():
    conditions = {"label": Label(("a", "b"), (0.5, 0.5))}
    space = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0), conditions=conditions)
    spy = Spy()
    denoiser = pf.Denoiser(spy, pf.Linear(), "velocity", space)
    method = pf.Denoising(denoiser, label_dropout=0.25)
    label = torch.arange(2000) % 2
    batch = Batch(torch.randn(2000, 2), {"label": label})
    list(method.losses(batch, now(2000)))
    assert torch.equal(spy.condition["label"], label)
    hidden = spy.condition["label_null"].float().mean()
    assert 0.2 < hidden < 0.3


def test_latent_is_the_decoder_after_the_inner_transport():
    codes = VectorSpace(shape=(1,), mean=(0.5,), std=(2.0,))
    autoencoder = Autoencoder(Linear(2, 1, encoder=True), Linear(1, 2), PLANE)
    latent = Latent(Map(Scale(), codes, (1,)), autoencoder)
    z = torch.randn(5, 1)
    expected = autoencoder.decoder(0.7 * z * 2.0 + 0.5)
    torch.testing.assert_close(latent(z), expected)
    assert latent.calls == 2
    assert latent.sample(3).shape == (3, 2)


def test_the_weight_of_times_multiplies_each_example_s_error():
    """By hand, on a straight path, where the weight of a time is the time itself."""
    torch.manual_seed(0)
    x = torch.randn(64, 2)
    denoiser = pf.Denoiser(Scale(), pf.Linear(), "velocity", PLANE)
    seen = []

    def weight(prediction, k):
        assert prediction == "velocity"
        seen.append(k.sigma)
        return k.sigma

    method = pf.Denoising(denoiser, weight=weight)
    ((_, loss),) = method.losses(Batch(x), now(64))
    _, z, _ = pf.Denoising(denoiser).couple.examples(x, None, now(64).draws)
    t = seen[0].flatten()
    sigma = t[:, None]
    x_t = (1 - sigma) * x + sigma * z
    errors = (denoiser(x_t, t) - (z - x)).square().mean(1)
    torch.testing.assert_close(loss, (t * errors).mean())
