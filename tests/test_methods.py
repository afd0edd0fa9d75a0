"""Losses against closed forms, games in their order, and what training finds where the answer is known."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pushforward as pf
from pushforward.conditions import Label
from pushforward.data import Batch, ImageSpace, VectorSpace
from pushforward.draws import BlockDraws
from pushforward.errors import UsageError
from pushforward.methods import EvidenceBound, Now, Penalties
from pushforward.methods.likelihoods import Bernoulli
from pushforward.testing import recipe_for, space_data
from pushforward.transports import Autoencoder, Latent, Map

PLANE = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))


def now(rows, step=0, progress=0.0):
    return Now(BlockDraws(0, step, rows), 0, progress)


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


def test_relativistic_game_with_penalties_is_the_papers():
    """R3GAN, eq. 2, with slopes known in closed form."""
    x = torch.randn(64, 2)
    game = pf.GAN(Scale(), Quadratic(), PLANE, latent=2, penalties=Penalties(gamma=0.8))
    (first, critic_loss), (second, generator_loss) = turns(game, x)
    z = now(64).draws.normal((2,))
    fake, a = 0.7 * z, 1.5
    real_score, fake_score = a * x.square().sum(1) / 2, a * fake.square().sum(1) / 2
    penalty = 0.8 / 2 * a**2 * (x.square().sum(1) + fake.square().sum(1))
    assert (first, second) == ("critic", "generator")
    torch.testing.assert_close(critic_loss, (F.softplus(fake_score - real_score) + penalty).mean())
    torch.testing.assert_close(generator_loss, F.softplus(real_score - fake_score).mean())


def test_the_original_game_is_goodfellows():
    x = torch.randn(64, 2)
    game = pf.GAN(Scale(), Quadratic(), PLANE, latent=2, loss="non_saturating", penalties=Penalties(gamma=0.0))
    (_, critic_loss), (_, generator_loss) = turns(game, x)
    fake = 0.7 * now(64).draws.normal((2,))
    on_real, on_fake = (torch.sigmoid(1.5 * v.square().sum(1) / 2) for v in (x, fake))
    torch.testing.assert_close(critic_loss, -(on_real.log() + (1 - on_fake).log()).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(generator_loss, -on_fake.log().mean())


def test_the_penalty_falls_over_training():
    game = pf.GAN(Scale(), Quadratic(), PLANE, latent=2, penalties=Penalties(gamma=1.0, gamma_end=0.1))
    assert game.penalties.weight(now(1, progress=0)) == pytest.approx(1.0)
    assert game.penalties.weight(now(1, progress=0.5)) == pytest.approx(0.55)
    assert game.penalties.weight(now(1, progress=1)) == pytest.approx(0.1)


def test_each_player_is_trained_by_its_own_loss_alone():
    game = pf.GAN(Scale(), Quadratic(), PLANE, latent=2, penalties=Penalties(gamma=0.5))
    for player, loss in game.losses(Batch(torch.randn(32, 2)), now(32)):
        loss.backward(inputs=list(game.players[player].parameters()))
        others = [p for name, part in game.players.items() if name != player for p in part.parameters()]
        assert all(p.grad is None for p in others)
        for p in game.parameters():
            p.grad = None


class Linear(nn.Module):
    """A linear map with a bias, and a constant log-variance for an encoder."""

    def __init__(self, inputs, outputs, encoder=False):
        super().__init__()
        self.map = nn.Linear(inputs, outputs)
        self.log_variance = nn.Parameter(torch.zeros(outputs)) if encoder else None

    def forward(self, x, t=None, condition=None):
        mean = self.map(x)
        return mean if self.log_variance is None else torch.cat([mean, self.log_variance.expand_as(mean)], 1)


def test_the_elbo_is_tight_where_the_posterior_is_exact():
    """Linear Gaussian model: with the exact posterior, the bound is log N(x; 0, W W^T + s^2) for every draw of noise."""
    torch.manual_seed(0)
    w, log_variance = torch.tensor([[1.2], [-0.4]]), -1.0
    s2 = math.exp(log_variance)
    vae = pf.VAE(Linear(2, 1, encoder=True), Linear(1, 2), PLANE, latent=1)
    precision = 1 + (w.T @ w).item() / s2
    with torch.no_grad():
        vae.likelihood.spread.fill_(log_variance / 10)
        vae.decoder.map.weight.copy_(w)
        vae.decoder.map.bias.zero_()
        vae.encoder.map.weight.copy_(w.T / s2 / precision)
        vae.encoder.map.bias.zero_()
        vae.encoder.log_variance.fill_(-math.log(precision))
    x = torch.randn(20_000, 2) @ torch.tensor([[1.0, 0.2], [0.0, 0.8]])
    truth = torch.distributions.MultivariateNormal(torch.zeros(2), w @ w.T + s2 * torch.eye(2)).log_prob(x).mean()
    ((_, loss),) = turns(vae, x)
    assert float(-2 * loss.detach()) == pytest.approx(float(truth), abs=0.02)


def test_the_learned_variance_finds_the_residual(tmp_path):
    """At the optimum the decoder's variance is the mean squared error of reconstruction."""
    data = space_data((17,), labels=False, n=500)
    run = pf.fit(recipe_for("vae", data, batch=128), data, steps=400, out=tmp_path / "run")
    vae = run.method
    x = data.space.to_model(data.train.data_units())
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    error = (vae.decoder(mean + torch.exp(log_variance / 2) * torch.randn_like(mean)) - x).square().mean()
    assert float(vae.likelihood.log_variance.exp() / error) == pytest.approx(1, abs=0.15)


def test_beta_zero_is_the_plain_autoencoder():
    vae = pf.VAE(Linear(2, 1, encoder=True), Linear(1, 2), PLANE, latent=1, bound=EvidenceBound(beta=0.0))
    x = torch.randn(9, 2)
    ((_, loss),) = turns(vae, x)
    decoded = vae.decoder(vae.encoder(x)[:, :1])
    spread = vae.likelihood.log_variance.detach()
    wanted = 0.5 * ((x - decoded).square() / spread.exp() + spread + math.log(2 * math.pi)).mean()
    torch.testing.assert_close(loss, wanted)


def test_bernoulli_likelihood_sums_to_one_over_all_binary_rows():
    space = VectorSpace(shape=(3,), mean=(0.3, 0.5, 0.2), std=(0.4, 0.5, 0.4), low=(0,) * 3, high=(1,) * 3, binary=True)
    vae = pf.VAE(Linear(3, 1, encoder=True), Linear(1, 3), space, latent=1, likelihood=Bernoulli(space))
    rows = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    logits = vae.decoder(torch.full((8, 1), 0.4))
    total = vae.likelihood.log_prob(space.to_model(rows), logits).exp().sum()
    assert float(total.detach()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(vae.transport().sample(50), vae.transport().sample(50).round(), rtol=0, atol=1e-6)
    means = space.to_data(vae.transport()(torch.randn(50, 1)))
    assert ((means > 0) & (means < 1)).all()


def test_a_trained_noise_network_is_one_model_under_ddim_and_heun(tmp_path):
    """Sampled as noise by DDIM in 500 steps and, read as a velocity, by Heun in 100: RMS below 1 % of the range."""
    data = pf.data.load("moons", limit=5000)
    run = pf.fit(recipe_for("ddpm", data, batch=128), data, steps=150, out=tmp_path / "run")
    noise = run.transport.with_solver(pf.solvers.DDIM(), 500, "log_snr").sample(64)
    velocity = run.transport.with_solver(pf.solvers.Heun(), 100, "log_snr").sample(64)
    span = float(noise.max() - noise.min())
    assert (noise - velocity).square().mean().sqrt() < 0.01 * span


def test_label_dropout_hides_its_share_of_labels():
    seen = []

    class Spy(nn.Module):
        def forward(self, x, t=None, condition=None):
            seen.append(condition)
            return x * self.w

        w = nn.Parameter(torch.ones(()))

    space = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0), conditions={"label": Label(("a", "b"), (0.5, 0.5))})
    method = pf.Denoising(pf.Denoiser(Spy(), pf.Linear(), "velocity", space), label_dropout=0.25)
    label = torch.arange(2000) % 2
    list(method.losses(Batch(torch.randn(2000, 2), {"label": label}), now(2000)))
    assert torch.equal(seen[0]["label"], label)
    assert 0.2 < float(seen[0]["label_null"].float().mean()) < 0.3


def test_latent_is_the_decoder_after_the_inner_transport():
    codes = VectorSpace(shape=(1,), mean=(0.5,), std=(2.0,))
    autoencoder = Autoencoder(Linear(2, 1, encoder=True), Linear(1, 2), PLANE)
    latent = Latent(Map(Scale(), codes, (1,)), autoencoder)
    z = torch.randn(5, 1)
    torch.testing.assert_close(latent(z), autoencoder.decoder(0.7 * z * 2.0 + 0.5))
    assert latent.calls == 2
    assert latent.sample(3).shape == (3, 2)


def test_image_shaped_codes_are_not_clamped():
    codes = ImageSpace(shape=(1, 2, 2), mean=(0.5,), std=(2.0,))
    assert codes.to_data(torch.full((1, 1, 2, 2), 3.0)).max() == 6.5
    bounded = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0), low=(-1.0, 0.0), high=(1.0, 3.0))
    assert bounded.to_data(torch.tensor([[-9.0, 9.0], [9.0, -9.0]])).tolist() == [[-1.0, 3.0], [1.0, 0.0]]


LABELLED = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0), conditions={"label": Label(("a", "b", "c"), (0.2, 0.3, 0.5))})


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ({"lable": 1}, 'Did you mean "label"'),
        ({"label": torch.zeros(9, dtype=torch.int64)}, "has 9 values"),
        ({"label": [0, 1]}, "has 2 values"),
        ({"label": 3}, "run from 0 to 2"),
        ({"label": -1}, "run from 0 to 2"),
        ({"label": 0.5}, "whole numbers"),
        ({"label": "d"}, 'no class "d"'),
        ({"label": torch.zeros(5, 2, dtype=torch.int64)}, "one for each sample"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(condition, says):
    with pytest.raises(UsageError, match=says):
        Map(Scale(), LABELLED, (2,)).sample(5, condition, batch=3)


def test_a_condition_may_be_a_number_a_list_or_a_tensor():
    model = Map(Scale(), LABELLED, (2,))
    for asked in ([2, 0, 1, 1, 2], torch.tensor([2, 0, 1, 1, 2])):
        given = torch.cat([condition["label"] for _, condition in model.stream(5, {"label": asked}, batch=2)])
        assert given.tolist() == [2, 0, 1, 1, 2]
    assert all((condition["label"] == 1).all() for _, condition in model.stream(5, {"label": 1}, batch=2))


def test_a_group_holds_whole_groups_of_coupling_and_times():
    denoiser = pf.Denoiser(Scale(), pf.Linear(), "velocity", PLANE)
    coupling, times = pf.paths.OptimalTransport(96), pf.paths.Stratified(pf.paths.Uniform(), 64)
    assert pf.Denoising(denoiser, couple=coupling, times=times).group == 192
