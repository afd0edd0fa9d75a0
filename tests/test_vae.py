"""Variational bounds against closed forms, torch.distributions, and models whose likelihood is known."""

import pytest
import torch
from programs.linear_vaes import agree, exact, exact_rows, gradients, linear_vae, now
from torch import distributions, nn

from pushforward.data import Batch, ImageSpace
from pushforward.draws import ExampleDraws
from pushforward.methods.evidence_bound import (
    above_free_bits,
    active_units,
    divergences,
    gaussian_log_prob,
    importance_bound,
    standard_log_prob,
)
from pushforward.methods.likelihoods import Bernoulli, Decoded, Gaussian, LogisticMixture


def test_divergences_and_densities_are_those_of_torch_distributions():
    torch.manual_seed(0)
    mean, log_variance, x = (torch.randn(7, 5) for _ in range(3))
    q, p = distributions.Normal(mean, (log_variance / 2).exp()), distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(divergences(mean, log_variance), distributions.kl_divergence(q, p))
    torch.testing.assert_close(gaussian_log_prob(x, mean, log_variance), q.log_prob(x).sum(1))
    torch.testing.assert_close(standard_log_prob(x), p.log_prob(x).sum(1))
    torch.testing.assert_close(gaussian_log_prob(x[:, :, None], mean[:, :, None], log_variance[:, :, None], 2), q.log_prob(x))


def test_gradients_of_the_bound_are_those_of_torch_distributions():
    """One code, the same noise: the loss and its gradients written out in torch.distributions."""
    x, vae = torch.randn(11, 3), linear_vae(beta=0.7)
    ((_, loss),) = list(vae.losses(Batch(x), now(11)))
    mine = torch.autograd.grad(loss, list(vae.parameters()))
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    z = mean + q.stddev * now(11).draws.normal((2,))
    log_likelihood = distributions.Normal(vae.decoder(z), (vae.likelihood.log_variance / 2).exp()).log_prob(x).sum(1)
    kl = distributions.kl_divergence(q, distributions.Normal(torch.zeros(2), torch.ones(2))).sum(1)
    theirs = torch.autograd.grad(-(log_likelihood - 0.7 * kl).mean() / 3, list(vae.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_the_importance_bound_grows_with_the_codes_and_reaches_the_exact_likelihood():
    x = exact_rows(64)
    truth, vae, bounds_of_k = float(exact(x).mean()), linear_vae(), []
    for samples, repeats in ((1, 400), (5, 80), (50, 8), (5000, 1)):
        with torch.no_grad():
            bounds = [importance_bound(vae.log_weights(x, samples, ExampleDraws(1000 * r, 64))).mean() for r in range(repeats)]
        bounds_of_k.append(float(torch.stack(bounds).mean()))
    assert bounds_of_k[0] < bounds_of_k[1] - 0.02
    assert bounds_of_k[1] < bounds_of_k[2] - 0.01
    assert bounds_of_k[2] < truth
    assert bounds_of_k[3] == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize(("beta", "sharper"), [(1.0, 0.6), (0.5, 1.0)])
def test_the_doubly_reparameterised_gradient_is_the_same_on_average_and_sharper(beta, sharper):
    plain, doubly = (gradients(linear_vae, beta, way)["encoder"] for way in (False, True))
    agree(plain, doubly)
    assert float(doubly.var(0).sum() / plain.var(0).sum()) < sharper


def test_free_bits_hold_each_number_s_mean_over_groups_of_64_rows():
    torch.manual_seed(0)
    rows = torch.rand(100, 3) * torch.tensor([0.01, 1.0, 2.0])
    held = above_free_bits(rows, 0.25)
    first, second = rows[:64].mean(0).clamp(min=0.25).sum(), rows[64:].mean(0).clamp(min=0.25).sum()
    torch.testing.assert_close(held, torch.cat([first.expand(64), second.expand(36)]))
    torch.testing.assert_close(above_free_bits(rows, 0.0), rows.sum(1))
    mean = torch.full((64, 2), 0.1, requires_grad=True)
    above_free_bits(divergences(mean, torch.zeros(64, 2)), 0.25).sum().backward()
    assert not mean.grad.any(), "below the free bits nothing is pulled"


def test_the_weight_of_the_kl_term_warms_up():
    x = exact_rows(32)
    loss = lambda share, **options: next(linear_vae(**options).losses(Batch(x), now(32, progress=share)))[1].detach()  # noqa: E731
    torch.testing.assert_close(loss(0.1, beta=2.0, warmup=0.4), loss(0.0, beta=0.5))
    torch.testing.assert_close(loss(0.9, beta=2.0, warmup=0.4), loss(0.0, beta=2.0))


def test_active_units_vary_over_data():
    torch.manual_seed(0)
    mean = torch.randn(4000, 3) * torch.tensor([1.0, 0.05, 0.2])
    assert float(active_units(mean)) == 2
    assert float(active_units(mean[:1])) == 0


def test_what_is_noted():
    x, vae, at = exact_rows(2000), linear_vae(), now(2000)
    list(vae.losses(Batch(x), at))
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    assert float(at.notes["kl"]) == pytest.approx(float(divergences(mean, log_variance).sum(1).mean().detach()))
    assert (float(at.notes["active_units"]), float(at.notes["units"])) == (2, 2)
    z = mean + (log_variance / 2).exp() * now(2000).draws.normal((2,))
    wanted = 1 - float(((x - vae.decoder(z)).square().sum() / (x - x.mean(0)).square().sum()).detach())
    assert float(at.notes["explained"]) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_logistic_mixture_sums_to_one_over_the_levels(channels):
    torch.manual_seed(0)
    space = ImageSpace(
        shape=(channels, 1, 1), mean=(0.3,) * channels, std=(0.2,) * channels, low=(0,) * channels, high=(1,) * channels
    )
    mixture = LogisticMixture(space, components=3)
    decoded = 2 * torch.randn(1, *mixture.outputs)
    levels = torch.cartesian_prod(*[torch.arange(256.0) / 255] * channels).reshape(-1, channels, 1, 1)
    chances = mixture.log_prob(space.to_model(levels), decoded.expand(len(levels), -1, -1, -1)).double().exp()
    assert float(chances.sum()) == pytest.approx(1, abs=1e-4)
    if channels == 1:
        weights, places, scales = (part.flatten() for part in mixture._parts(decoded))
        edges = (torch.arange(255) + 0.5) / 255 * 2 - 1
        below = (weights.exp()[:, None] * torch.sigmoid((edges - places[:, None]) / scales.exp()[:, None])).sum(0)
        assert float((chances.cumsum(0)[:-1] - below).abs().max()) < 1e-5


def test_the_logistic_mixture_is_finite_far_from_its_data():
    space = ImageSpace(shape=(3, 2, 2), mean=(0.5,) * 3, std=(0.2,) * 3, low=(0,) * 3, high=(1,) * 3)
    mixture = LogisticMixture(space)
    decoded = (200 * torch.randn(6, *mixture.outputs)).requires_grad_()
    x = space.to_model(torch.randint(0, 256, (6, 3, 2, 2)) / 255)
    mixture.log_prob(x, decoded).sum().backward()
    assert decoded.grad.isfinite().all()
    assert mixture.log_prob(x, decoded).isfinite().all()
    assert ((mixture.mean(decoded) >= space.bounds[0] - 1e-5) & (mixture.mean(decoded) <= space.bounds[1] + 1e-5)).all()


def test_the_means_of_likelihoods():
    space = ImageSpace(shape=(1, 2, 3), mean=(0.3,), std=(0.4,), low=(0,), high=(1,), binary=True)
    decoded = torch.randn(5, 1, 2, 3)
    torch.testing.assert_close(space.to_data(Bernoulli(space).mean(decoded)), torch.sigmoid(decoded))
    assert Gaussian(space).mean(decoded) is decoded
    wrapped = Decoded(nn.Identity(), Bernoulli(space))
    wrapped.network.forward = lambda z, t, condition: z
    torch.testing.assert_close(space.to_data(wrapped(decoded)), torch.sigmoid(decoded))
