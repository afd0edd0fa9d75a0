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


def parameters(method):
    return [*method.encoder.parameters(), *method.decoder.parameters()]


def turns(method, x, progress=0.5):
    """Both losses, and the autoencoder's gradients."""
    game = method.turns(Batch(x), now(len(x), progress))
    _, critic = next(game)
    _, loss = next(game)
    return critic, loss, torch.autograd.grad(loss, parameters(method))


def row_means(x):
    return x.flatten(1).mean(1)


class ByHand:
    """The reconstruction of a batch, and the terms of the loss of each row."""

    def __init__(self, method, x):
        mean, log_variance = method.encoder(x).chunk(2, 1)
        noise = now(len(x)).draws.normal((3, 4, 6))
        z = mean + (log_variance / 2).exp() * noise
        self.out = method.decoder(z)
        self.error = row_means((x - self.out).abs())
        real, _ = method.critic.features(x)
        seen, score = method.critic.features(self.out)
        apart = F.normalize(real, dim=1) - F.normalize(seen, dim=1)
        self.apart = row_means(apart.square().sum(1))
        self.push = -row_means(score)
        self.divergence = row_means(divergences(mean, log_variance))

    def slope(self, term):
        """The length of a term's gradient in each row's reconstruction."""
        (slope,) = torch.autograd.grad(term.sum(), self.out, retain_graph=True)
        return slope.flatten(1).norm(dim=1)


def test_the_critic_plays_hinge():
    x = torch.randn(5, *SPACE.shape)
    model = method()
    critic, *_ = turns(model, x)
    on_real = model.critic(x)
    on_made = model.critic(ByHand(model, x).out)
    expected = (F.relu(1 - on_real) + F.relu(1 + on_made)).mean()
    assert_close(critic, expected)


def test_the_autoencoder_s_gradient_is_that_of_its_terms_by_hand():
    """Rows weigh the critic's push by the ratio of the gradients' lengths in their own
    reconstruction.
    """
    x = torch.randn(5, *SPACE.shape)
    model = method(features=0.7, adversarial=0.4, kl_weight=0.3)
    _, loss, slopes = turns(model, x)
    terms = ByHand(model, x)
    near = terms.error + 0.7 * terms.apart
    weight = 0.4 * terms.slope(near) / terms.slope(terms.push)
    without_critic = near + 0.3 * terms.divergence
    whole = without_critic + weight.detach() * terms.push
    wanted = torch.autograd.grad(whole.mean(), parameters(model))
    for mine, theirs in zip(slopes, wanted, strict=True):
        assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    assert_close(loss, without_critic.mean())


def test_feature_distance_is_that_of_directions():
    a = [torch.randn(4, 3, 5, 6), torch.randn(4, 7, 2, 2)]
    b = [torch.randn(4, 3, 5, 6), torch.randn(4, 7, 2, 2)]
    wanted = 0.0
    for x, y in zip(a, b, strict=True):
        cosine = F.cosine_similarity(x, y, dim=1)
        wanted = wanted + row_means(2 - 2 * cosine) / 2
    assert_close(feature_distance(a, b), wanted)
    longer = [5 * x for x in a]
    assert_close(feature_distance(a, longer), torch.zeros(4), rtol=0, atol=1e-6)


def test_sampling_decodes_codes_of_the_measured_mean_and_spread():
    model = method()
    x = torch.randn(16, *SPACE.shape)
    for step in range(500):
        context = StepContext(BlockDraws(0, step, 16), 0, 0.5)
        for _ in model.turns(Batch(x), context):
            pass
    mean, log_variance = model.encoder(x).chunk(2, 1)
    centre = mean.mean((0, 2, 3))
    between = mean.var((0, 2, 3), correction=0)
    within = log_variance.exp().mean((0, 2, 3))
    network = model.transport().network
    assert_close(network.mean.flatten(), centre, rtol=0, atol=0.02)
    assert_close(network.std.flatten(), (between + within).sqrt(), rtol=0, atol=0.02)
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
    h = torch.tensor([[2.0], [4.0], [-1.0]])
    index = torch.tensor([0, 0, 1])
    follow(book, h, index, torch.rand(3), torch.rand(3))
    counts = torch.tensor([3.0, 2.5])
    sums = torch.tensor([[5.0], [-2.5]])
    assert_close(book.counts, counts)
    assert_close(book.vectors, sums / counts[:, None])


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
    h = torch.arange(1000.0).reshape(40, 1, 25)
    index = torch.zeros(40, 25, dtype=torch.int64)
    positions = []
    for step in range(400):
        book = Codebook(2, 1, decay=0.9)
        book.sums.copy_(torch.tensor([[0.0], [1e6]]))
        book.counts.copy_(torch.tensor([500.0, 1e-3]))
        draws = BlockDraws(0, step, 40)
        follow(book, h, index, draws.uniform(), draws.uniform())
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
    rows = 100 * max(book.size, 100)
    uniform = 1.998 * torch.rand(rows, len(levels)) - 0.999
    q, index = book(torch.atanh(uniform))
    for column, level in zip(q.T, levels, strict=True):
        steps = column.unique()
        assert len(steps) == level
        assert steps.abs().max() <= 1
        width = 1 / (level // 2)
        assert_close(steps.diff(), torch.full((level - 1,), width))
    assert torch.equal(index.unique(), torch.arange(book.size))
    assert_close(book.look_up(index), q)
    numbered = torch.column_stack([q, index])
    assert len(numbered.unique(dim=0)) == book.size, "a number is a code and a code a number"


def test_rounding_passes_the_slope_of_its_squashing():
    h = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    book = Rounding((5, 3))
    q, _ = book(h)
    (slope,) = torch.autograd.grad(q.sum(), h)
    half = torch.tensor([4, 2]) * (1 + 1e-3) / 2
    of_tanh = 1 - torch.tanh(h.detach()) ** 2
    scale = torch.tensor([2, 1])
    assert_close(slope, half * of_tanh / scale)


@pytest.fixture
def drawn():
    """Codes of which the use at the first place is known."""
    torch.manual_seed(0)
    use = torch.rand(2, 3, 5)
    use[0, 0] = torch.tensor([0.0, 1.0, 0.0, 0.0, 3.0])
    return Drawn(nn.Identity(), Codebook(5, 2), use)


def test_codes_are_drawn_as_often_as_they_were_used(drawn):
    codes = drawn.codes(torch.randn(40_000, 2, 3))
    often = F.one_hot(codes, 5).double().mean(0)
    use = drawn.use.double()
    shares = use / use.sum(-1, keepdim=True)
    assert_close(often, shares, rtol=0, atol=0.012)
    assert not (codes[:, 0, 0] == 0).any()


VECTORS = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)


class Still(nn.Module):
    """x as two numbers at one place, and back."""

    def forward(self, x, t=None, condition=None):
        if x.dim() == 2:
            return x[:, :2, None]
        return torch.cat([x[..., 0], x[:, :1, 0]], 1)


def test_the_loss_and_what_follows_it():
    torch.manual_seed(0)
    book = Codebook(4, 2)
    method = QuantisedAutoencoder(Still(), Still(), book, VECTORS, places=(1,), commitment=0.5)
    x = torch.randn(32, 3)
    at = StepContext(BlockDraws(0, 0, 32), 0, 0.0)
    before = book.vectors.clone()
    game = method.turns(Batch(x), at)
    _, loss = next(game)
    h = x[:, :2, None]
    q, index = book(h)
    std = math.exp(method.likelihood.log_variance.item() / 2)
    decoded = torch.distributions.Normal(Still()(q), std)
    log_likelihood = decoded.log_prob(x).sum(1).mean()
    commitment = (h - q).square().mean()
    assert_close(loss, -log_likelihood / 3 + 0.5 * commitment)
    often = index.flatten().bincount(minlength=4) / 32
    entropy = torch.distributions.Categorical(often).entropy()
    assert_close(at.notes["perplexity"], entropy.exp())
    assert torch.equal(book.vectors, before)
    assert next(game, None) is None
    assert not torch.equal(book.vectors, before)
    assert_close(method.use, 0.99 * 0.25 + 0.01 * often[None])
    assert float(at.notes["book"]) == 4


def test_a_model_in_the_latent_space_decodes_codes_of_the_book(tmp_path):
    data = space_data((1, 8, 8), labels=False)
    recipe = pf.recipes.vqvae(data.space, "tiny")
    run = pf.fit(recipe, data, steps=3, out=tmp_path / "run")
    autoencoder = run.method.autoencoder()
    z = torch.randn(6, 8, 1, 8)
    nearest, _ = run.method.codebook(z)
    assert_close(autoencoder.decode(z), autoencoder.decode(nearest))
    recipe = pf.in_latent("flow", data, run, "tiny")
    latent = pf.fit(recipe, data, steps=3, out=tmp_path / "latent")
    assert latent.transport.sample(2).shape == (2, 1, 8, 8)


def test_shares_are_those_of_each_place():
    torch.manual_seed(0)
    index = torch.randint(0, 7, (50, 3, 2))
    shares = _counts(index, 7) / 50
    expected = F.one_hot(index, 7).float().mean(0)
    assert_close(shares, expected)


def test_the_ends_of_the_noise_are_the_first_and_last_codes_in_use(drawn):
    lowest = drawn.codes(torch.full((1, 2, 3), -40.0))
    assert lowest.min() == 0
    assert lowest[0, 0, 0] == 1
    highest = drawn.codes(torch.full((1, 2, 3), 40.0))
    assert highest.max() == 4
