"""Autoencoders: each term of the perceptual loss by hand, and finite books of codes."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import pushforward as pf
from pushforward.data import Batch, ImageSpace, VectorSpace
from pushforward.draws import BlockDraws
from pushforward.methods import PerceptualAutoencoder, QuantisedAutoencoder, StepContext
from pushforward.methods.autoencoders import Drawn, LossWeights, _counts, feature_distance
from pushforward.methods.likelihoods import divergences
from pushforward.networks import Codebook, Rounding
from pushforward.testing import space_data

SPACE = ImageSpace(
    shape=(2, 8, 12), mean=(0.5, 0.4), std=(0.2, 0.3), low=(0.0, 0.0), high=(1.0, 1.0)
)


def now(rows, progress=0.5):
    return StepContext(BlockDraws(0, 0, rows), 0, progress)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(2, 6, 2, stride=2)

    def forward(self, x, t=None, condition=None):
        return self.map(x)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.ConvTranspose2d(3, 2, 2, stride=2)

    def forward(self, z, t=None, condition=None):
        return self.map(z)


class Seeing(nn.Module):
    """A critic of one convolution, whose features are that convolution's."""

    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(2, 4, 3, padding=1)
        self.leave = nn.Conv2d(4, 1, 1)

    def features(self, x):
        h = torch.tanh(self.map(x))
        return [h, self.leave(h)]

    def forward(self, x, t=None, condition=None):
        return self.features(x)[-1].flatten(1)


def method(**options):
    torch.manual_seed(0)
    return PerceptualAutoencoder(
        Encoder(), Decoder(), Seeing(), SPACE, latent=(3, 4, 6), weights=LossWeights(**options)
    )


def turns(method, x, progress=0.5):
    """Both losses, and the autoencoder's gradients."""
    game = method.turns(Batch(x), now(len(x), progress))
    (_, critic) = next(game)
    (_, loss) = next(game)
    return (
        critic,
        loss,
        torch.autograd.grad(loss, [*method.encoder.parameters(), *method.decoder.parameters()]),
    )


def by_hand(method, x):
    """Reconstruction, and the terms of each row."""
    mean, log_variance = method.encoder(x).chunk(2, 1)
    z = mean + (log_variance / 2).exp() * now(len(x)).draws.normal((3, 4, 6))
    out = method.decoder(z)
    error = (x - out).abs().flatten(1).mean(1)
    real = method.critic.features(x)
    seen = method.critic.features(out)
    apart = (
        (F.normalize(real[0], dim=1) - F.normalize(seen[0], dim=1))
        .square()
        .sum(1)
        .flatten(1)
        .mean(1)
    )
    return (
        out,
        error,
        apart,
        -seen[-1].flatten(1).mean(1),
        divergences(mean, log_variance).flatten(1).mean(1),
    )


def test_the_critic_plays_hinge():
    x = torch.randn(5, *SPACE.shape)
    model = method()
    critic, *_ = turns(model, x)
    out = by_hand(model, x)[0]
    on_real = model.critic(x)
    on_made = model.critic(out)
    expected = (F.relu(1 - on_real) + F.relu(1 + on_made)).mean()
    assert_close(critic, expected)


def test_the_autoencoder_s_gradient_is_that_of_its_terms_by_hand():
    """Rows weigh the critic's push by the ratio of the gradients' lengths in their own
    reconstruction.
    """
    x = torch.randn(5, *SPACE.shape)
    model = method(features=0.7, adversarial=0.4, kl_weight=0.3)
    _, loss, slopes = turns(model, x)
    out, error, apart, push, divergence = by_hand(model, x)
    near = error + 0.7 * apart
    (a,) = torch.autograd.grad(near.sum(), out, retain_graph=True)
    (b,) = torch.autograd.grad(push.sum(), out, retain_graph=True)
    weight = 0.4 * a.flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)
    whole = (near + weight.detach() * push + 0.3 * divergence).mean()
    wanted = torch.autograd.grad(whole, [*model.encoder.parameters(), *model.decoder.parameters()])
    for mine, theirs in zip(slopes, wanted, strict=True):
        assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    expected = (near + 0.3 * divergence).mean()
    assert_close(loss, expected)


def test_feature_distance_is_that_of_directions():
    a = [torch.randn(4, 3, 5, 6), torch.randn(4, 7, 2, 2)]
    b = [torch.randn(4, 3, 5, 6), torch.randn(4, 7, 2, 2)]
    wanted = 0.0
    for x, y in zip(a, b, strict=True):
        cosine = (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))
        wanted = wanted + (2 - 2 * cosine).flatten(1).mean(1) / 2
    assert_close(feature_distance(a, b), wanted)
    actual = feature_distance(a, [5 * x for x in a])
    assert_close(actual, torch.zeros(4), rtol=0, atol=1e-6)


def test_sampling_decodes_codes_of_the_measured_mean_and_spread():
    model = method()
    x = torch.randn(16, *SPACE.shape)
    for step in range(500):
        game = model.turns(Batch(x), StepContext(BlockDraws(0, step, 16), 0, 0.5))
        next(game), next(game)
    mean, log_variance = model.encoder(x).chunk(2, 1)
    centre = mean.mean((0, 2, 3))
    spread = (mean.var((0, 2, 3), correction=0) + log_variance.exp().mean((0, 2, 3))).sqrt()
    network = model.transport().network
    assert_close(network.mean.flatten(), centre, rtol=0, atol=0.02)
    assert_close(network.std.flatten(), spread, rtol=0, atol=0.02)
    z = torch.randn(3, 3, 4, 6)
    expected = model.decoder(network.mean + network.std * z)
    assert_close(network(z), expected)


def test_the_nearest_vector_is_taken_and_gradients_pass():
    torch.manual_seed(0)
    book = Codebook(7, 3)
    h = torch.randn(5, 3, 2, 4, requires_grad=True)
    q, index = book(h)
    flat = h.detach().movedim(1, -1)
    distances = (flat[..., None, :] - book.vectors).square().sum(-1)
    assert torch.equal(index, distances.argmin(-1))
    expected = book.vectors[index].movedim(-1, 1)
    assert_close(q.detach(), expected)
    assert_close(book.look_up(index), q.detach())
    weight = torch.randn_like(q)
    (q * weight).sum().backward()
    assert_close(h.grad, weight)


def follow(book, h, index, choice, place):
    """One update with a batch that is not split."""
    places = index[0].numel()
    book.follow(
        **book.assigned(h, index),
        candidates=book.candidates(h, place),
        choice=choice,
        places=places,
    )


def test_one_update_of_the_running_means():
    book = Codebook(2, 1, decay=0.5)
    book.counts.fill_(4.0)
    book.sums.copy_(torch.tensor([[4.0], [-4.0]]))
    follow(
        book,
        torch.tensor([[2.0], [4.0], [-1.0]]),
        torch.tensor([0, 0, 1]),
        torch.rand(3),
        torch.rand(3),
    )
    expected = torch.tensor([3.0, 2.5])
    assert_close(book.counts, expected)
    expected = torch.tensor([[5.0 / 3], [-2.5 / 2.5]])
    assert_close(book.vectors, expected)


def test_dead_codes_are_put_where_vectors_are():
    torch.manual_seed(0)
    book = Codebook(64, 2, decay=0.9)
    book.sums.fill_(100.0)
    book.sums[0] = 0.0
    used = []
    for step in range(60):
        h = torch.randn(256, 2)
        _, index = book(h)
        draws = BlockDraws(0, step, 256)
        follow(book, h, index, draws.uniform(), draws.uniform())
        used.append(len(index.unique()))
    assert used[0] == 1
    assert used[-1] > 55
    assert book.vectors.abs().max() < 5


def test_a_dead_code_may_be_put_at_any_place_of_any_row():
    """Values are the numbers of row and place: 40 rows of 25 places."""
    positions = []
    for step in range(400):
        book = Codebook(2, 1, decay=0.9)
        book.sums.copy_(torch.tensor([[0.0], [1e6]]))
        book.counts.copy_(torch.tensor([500.0, 1e-3]))
        h = torch.arange(1000.0).reshape(40, 1, 25)
        draws = BlockDraws(0, step, 40)
        follow(book, h, torch.zeros(40, 25, dtype=torch.int64), draws.uniform(), draws.uniform())
        positions.append(round(float(book.vectors[1])))
    rows, places = np.divmod(positions, 25)
    assert abs(rows.mean() - 19.5) < 2.2
    assert abs(places.mean() - 12) < 1.4
    assert len(set(places)) == 25


def test_codes_are_the_nearest_in_any_precision_of_the_networks_around():
    torch.manual_seed(0)
    book = Codebook(256, 8)
    h = torch.randn(500, 8)
    with torch.autocast("cpu", torch.bfloat16):
        index = book(h)[1]
    expected = torch.cdist(h, book.vectors).argmin(1)
    assert torch.equal(index, expected)


@pytest.mark.parametrize("levels", [(4,), (3,), (8, 6, 5), (8, 5, 5, 5)])
def test_rounding_has_exactly_its_levels(levels):
    book = Rounding(levels)
    torch.manual_seed(0)
    h = torch.atanh(1.998 * torch.rand(100 * max(book.size, 100), len(levels)) - 0.999)
    q, index = book(h)
    for column, level in zip(q.T, levels, strict=True):
        steps = column.unique()
        assert len(steps) == level
        assert steps.abs().max() <= 1
        expected = torch.full((level - 1,), 1 / (level // 2))
        assert_close(steps.diff(), expected)
    assert (int(index.min()), int(index.max()), len(index.unique())) == (
        0,
        book.size - 1,
        book.size,
    )
    assert_close(book.look_up(index), q)
    count = len(torch.cat([q, index[:, None].float()], 1).unique(dim=0))
    assert count == book.size, "a number is a code and a code a number"


def test_rounding_passes_the_slope_of_its_squashing():
    h = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    book = Rounding((5, 3))
    (slope,) = torch.autograd.grad(book(h)[0].sum(), h)
    half = torch.tensor([4, 2]) * (1 + 1e-3) / 2
    wanted = half * (1 - torch.tanh(h.detach()) ** 2) / torch.tensor([2, 1])
    assert_close(slope, wanted)


def test_codes_are_drawn_as_often_as_they_were_used():
    torch.manual_seed(0)
    use = torch.rand(2, 3, 5)
    use[0, 0] = torch.tensor([0.0, 1.0, 0.0, 0.0, 3.0])
    drawn = Drawn(nn.Identity(), Codebook(5, 2), use)
    codes = drawn.codes(torch.randn(40_000, 2, 3))
    often = F.one_hot(codes, 5).double().mean(0)
    expected = (use / use.sum(-1, keepdim=True)).double()
    assert_close(often, expected, rtol=0, atol=0.012)
    assert not (codes[:, 0, 0] == 0).any()
    ends = drawn.codes(torch.tensor([[-40.0] * 6, [40.0] * 6]).reshape(2, 2, 3))
    assert (int(ends.min()), int(ends.max())) == (0, 4)
    assert ends[0, 0, 0] == 1


VECTORS = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)


class Still(nn.Module):
    """x as two numbers at one place, and back."""

    def forward(self, x, t=None, condition=None):
        if x.dim() == 2:
            return x[:, :2, None]
        return torch.cat([x[..., 0], x[:, :1, 0]], 1)


def test_the_loss_and_what_follows_it():
    torch.manual_seed(0)
    method = QuantisedAutoencoder(
        Still(), Still(), Codebook(4, 2), VECTORS, places=(1,), commitment=0.5
    )
    x = torch.randn(32, 3)
    at = StepContext(BlockDraws(0, 0, 32), 0, 0.0)
    before = method.codebook.vectors.clone()
    game = method.turns(Batch(x), at)
    _, loss = next(game)
    q, index = method.codebook(x[:, :2, None])
    decoded = Still()(q)
    std = math.exp(float(method.likelihood.log_variance.detach()) / 2)
    log_likelihood = torch.distributions.Normal(decoded, std).log_prob(x).sum(1).mean()
    expected = -log_likelihood / 3 + 0.5 * (x[:, :2, None] - q).square().mean()
    assert_close(loss, expected)
    often = torch.bincount(index.flatten(), minlength=4) / 32
    perplexity = float(at.notes["perplexity"])
    assert perplexity == pytest.approx(
        float(torch.distributions.Categorical(often).entropy().exp())
    )
    assert torch.equal(method.codebook.vectors, before)
    assert next(game, None) is None
    assert not torch.equal(method.codebook.vectors, before)
    expected = 0.99 * torch.full((1, 4), 0.25) + 0.01 * often[None]
    assert_close(method.use, expected)
    assert float(at.notes["book"]) == 4


def test_a_model_in_the_latent_space_decodes_codes_of_the_book(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    run = pf.fit(pf.recipes.vqvae(data.space, "tiny"), data, steps=3, out=tmp_path / "run")
    autoencoder = run.method.autoencoder()
    z = torch.randn(6, 8, 1, 8)
    exact = autoencoder.decode(run.method.codebook(z)[0])
    assert_close(autoencoder.decode(z), exact)
    latent = pf.fit(pf.in_latent("flow", data, run, "tiny"), data, steps=3, out=tmp_path / "latent")
    shape = latent.transport.sample(2).shape
    assert shape == (2, 1, 8, 8)


def test_shares_are_those_of_each_place():
    torch.manual_seed(0)
    index = torch.randint(0, 7, (50, 3, 2))
    actual = _counts(index, 7) / 50
    expected = F.one_hot(index, 7).float().mean(0)
    assert_close(actual, expected)
