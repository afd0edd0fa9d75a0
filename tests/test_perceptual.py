"""The autoencoder for latents: each term of its loss by hand, and what the whole of it learns."""

import torch
from torch import nn
from torch.nn import functional as F

from pushforward.data import Batch, ImageSpace
from pushforward.draws import BlockDraws
from pushforward.methods import Now, PerceptualAutoencoder
from pushforward.methods.autoencoders import LossWeights, feature_distance
from pushforward.methods.evidence_bound import divergences

SPACE = ImageSpace(shape=(2, 8, 12), mean=(0.5, 0.4), std=(0.2, 0.3), low=(0.0, 0.0), high=(1.0, 1.0))


def now(rows, progress=0.5):
    return Now(BlockDraws(0, 0, rows), 0, progress)


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
        self.map, self.leave = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 1, 1)

    def features(self, x):
        h = torch.tanh(self.map(x))
        return [h, self.leave(h)]

    def forward(self, x, t=None, condition=None):
        return self.features(x)[-1].flatten(1)


def method(**options):
    torch.manual_seed(0)
    return PerceptualAutoencoder(Encoder(), Decoder(), Seeing(), SPACE, latent=(3, 4, 6), weights=LossWeights(**options))


def turns(method, x, progress=0.5):
    """Both losses, and the autoencoder's gradients."""
    game = method.turns(Batch(x), now(len(x), progress))
    (_, critic), (_, loss) = next(game), next(game)
    return critic, loss, torch.autograd.grad(loss, [*method.encoder.parameters(), *method.decoder.parameters()])


def by_hand(method, x):
    """Reconstruction, and the terms of each row."""
    mean, log_variance = method.encoder(x).chunk(2, 1)
    z = mean + (log_variance / 2).exp() * now(len(x)).draws.normal((3, 4, 6))
    out = method.decoder(z)
    error = (x - out).abs().flatten(1).mean(1)
    real, seen = method.critic.features(x), method.critic.features(out)
    apart = (F.normalize(real[0], dim=1) - F.normalize(seen[0], dim=1)).square().sum(1).flatten(1).mean(1)
    return out, error, apart, -seen[-1].flatten(1).mean(1), divergences(mean, log_variance).flatten(1).mean(1)


def test_the_critic_plays_hinge():
    x, model = torch.randn(5, *SPACE.shape), method()
    critic, *_ = turns(model, x)
    out = by_hand(model, x)[0]
    on_real, on_made = model.critic(x), model.critic(out)
    torch.testing.assert_close(critic, (F.relu(1 - on_real) + F.relu(1 + on_made)).mean())


def test_the_autoencoder_s_gradient_is_that_of_its_terms_by_hand():
    """Rows weigh the critic's push by the ratio of the gradients' lengths in their own reconstruction."""
    x, model = torch.randn(5, *SPACE.shape), method(features=0.7, adversarial=0.4, kl_weight=0.3)
    _, loss, slopes = turns(model, x)
    out, error, apart, push, divergence = by_hand(model, x)
    near = error + 0.7 * apart
    (a,) = torch.autograd.grad(near.sum(), out, retain_graph=True)
    (b,) = torch.autograd.grad(push.sum(), out, retain_graph=True)
    weight = 0.4 * a.flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)
    whole = (near + weight.detach() * push + 0.3 * divergence).mean()
    wanted = torch.autograd.grad(whole, [*model.encoder.parameters(), *model.decoder.parameters()])
    for mine, theirs in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, (near + 0.3 * divergence).mean())


def test_feature_distance_is_that_of_directions():
    a, b = [torch.randn(4, 3, 5, 6), torch.randn(4, 7, 2, 2)], [torch.randn(4, 3, 5, 6), torch.randn(4, 7, 2, 2)]
    wanted = 0.0
    for x, y in zip(a, b, strict=True):
        cosine = (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))
        wanted = wanted + (2 - 2 * cosine).flatten(1).mean(1) / 2
    torch.testing.assert_close(feature_distance(a, b), wanted)
    torch.testing.assert_close(feature_distance(a, [5 * x for x in a]), torch.zeros(4), rtol=0, atol=1e-6)


def test_sampling_decodes_codes_of_the_measured_mean_and_spread():
    model = method()
    x = torch.randn(16, *SPACE.shape)
    for step in range(500):
        game = model.turns(Batch(x), Now(BlockDraws(0, step, 16), 0, 0.5))
        next(game), next(game)
    mean, log_variance = model.encoder(x).chunk(2, 1)
    centre = mean.mean((0, 2, 3))
    spread = (mean.var((0, 2, 3), correction=0) + log_variance.exp().mean((0, 2, 3))).sqrt()
    network = model.transport().network
    torch.testing.assert_close(network.mean.flatten(), centre, rtol=0, atol=0.02)
    torch.testing.assert_close(network.std.flatten(), spread, rtol=0, atol=0.02)
    z = torch.randn(3, 3, 4, 6)
    torch.testing.assert_close(network(z), model.decoder(network.mean + network.std * z))
