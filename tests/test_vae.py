"""Variational bounds against closed forms, torch.distributions, and models whose likelihood is known."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from torch import distributions, nn

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Batch, ImageSpace, Sampler, Split, VectorSpace, measure
from pushforward.data.binarised import bits, drawn
from pushforward.data.dataset import Dataset
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import DataError, UsageError
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.latent import code_statistics, reconstruction
from pushforward.evaluation.likelihood import coded_bits
from pushforward.methods import EvidenceBound, HierarchicalVAE, Now
from pushforward.methods.importance_weighting import (
    above_free_bits,
    active_units,
    divergences,
    gaussian_log_prob,
    importance_bound,
    standard_log_prob,
)
from pushforward.methods.likelihoods import Bernoulli, Decoded, Gaussian, LogisticMixture
from pushforward.metrics.reconstruction import psnr, ssim
from pushforward.testing import recipe_for, space_data
from pushforward.transports import Autoencoder

CUBE = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)


def now(rows, step=0, progress=0.0):
    return Now(BlockDraws(0, step, rows), 0, progress)


class Affine(nn.Module):
    """A linear map with a bias, and, for a Gaussian, constant log-variances."""

    def __init__(self, weight, bias=0.0, log_variance=None):
        super().__init__()
        self.map = nn.Linear(weight.shape[1], weight.shape[0]).to(weight.dtype)
        with torch.no_grad():
            self.map.weight.copy_(weight)
            self.map.bias.fill_(bias)
        self.log_variance = None if log_variance is None else nn.Parameter(torch.full((len(weight),), log_variance).to(weight))

    def forward(self, x, t=None, condition=None):
        mean = self.map(x)
        return mean if self.log_variance is None else torch.cat([mean, self.log_variance.expand_as(mean)], 1)


WEIGHT = torch.tensor([[1.2, 0.3], [-0.4, 0.8], [0.5, -1.0]])
NOISE = -1.0
"""Log-variance of the data around the decoder's output."""


def linear_vae(**options):
    """x = W z + noise, with a posterior that is not the exact one."""
    encoder = Affine(torch.tensor([[0.5, -0.1, 0.2], [0.1, 0.4, -0.3]]), 0.1, -0.5)
    vae = pf.VAE(encoder, Affine(WEIGHT, 0.2), CUBE, latent=2, bound=EvidenceBound(**options))
    with torch.no_grad():
        vae.likelihood.spread.fill_(NOISE / 10)
    return vae


def exact(x, weight=WEIGHT, offset=0.2):
    covariance = weight @ weight.T + math.exp(NOISE) * torch.eye(len(weight))
    return distributions.MultivariateNormal(torch.full((len(weight),), offset), covariance).log_prob(x)


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


def exact_rows(n):
    torch.manual_seed(1)
    return torch.randn(n, 2) @ WEIGHT.T + 0.2 + math.exp(NOISE / 2) * torch.randn(n, 3)


@functools.cache
def gradients(make, beta, doubly, repeats=100, rows=256):
    """Gradients of the bound of one example in 8 codes, which stands in every row of a batch: by part, (repeats, parameters)."""
    vae, x = make(beta=beta, samples=8, dreg=doubly), torch.tensor([[1.0, -0.3, 0.7]])
    parts = {name: list(part.parameters()) for name, part in vae.named_children() if list(part.parameters())}
    drawn = {name: [] for name in parts}
    for step in range(repeats):
        ((_, loss),) = list(vae.losses(Batch(x.expand(rows, -1)), now(rows, step)))
        slopes = iter(torch.autograd.grad(loss, [parameter for part in parts.values() for parameter in part]))
        for name, part in parts.items():
            drawn[name].append(torch.cat([next(slopes).flatten() for _ in part]))
    return {name: torch.stack(each) for name, each in drawn.items()}


def agree(plain, doubly):
    error = ((plain.var(0) + doubly.var(0)) / len(plain)).sqrt()
    distance = (plain.mean(0) - doubly.mean(0)).abs() / error.clamp(min=1e-12)
    assert float(distance.max()) < 4.5
    assert float((plain.mean(0).abs() / error.clamp(min=1e-12)).max()) > 20, "gradients of zero would agree as well"


@pytest.mark.parametrize(("beta", "sharper"), [(1.0, 0.6), (0.5, 1.0), (2.0, 1.0)])
def test_the_doubly_reparameterised_gradient_is_the_same_on_average_and_sharper(beta, sharper):
    plain, doubly = (gradients(linear_vae, beta, way)["encoder"] for way in (False, True))
    agree(plain, doubly)
    assert float(doubly.var(0).sum() / plain.var(0).sum()) < sharper


@pytest.mark.parametrize("part", ["decoder", "likelihood"])
def test_the_doubly_reparameterised_gradient_is_the_same_on_average_for_decoders(part):
    agree(*(gradients(linear_vae, 1.0, way)[part] for way in (False, True)))


def test_the_value_of_the_loss_does_not_depend_on_the_gradient():
    x = exact_rows(9)
    losses = [float(next(linear_vae(samples=4, dreg=way).losses(Batch(x), now(9)))[1].detach()) for way in (False, True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


UPPER = torch.tensor([[0.9], [-0.6]])


def raw(log_variance):
    """What a network says for it to come out within the bounds."""
    return 7 * math.atanh(log_variance / 7)


def hierarchy(**options):
    """u -> h = V u + noise -> x = W h + noise, with posteriors that are not the exact ones."""
    vae = HierarchicalVAE(
        Affine(torch.tensor([[0.5, -0.1, 0.2], [0.1, 0.4, -0.3]]), 0.1, raw(-0.5)),
        Affine(WEIGHT, 0.2),
        Affine(torch.tensor([[0.5, -0.3]]), -0.1, raw(-0.4)),
        Affine(UPPER, 0.3, raw(-0.7)),
        CUBE,
        latent=(2, 1),
        bound=EvidenceBound(**options),
    )
    with torch.no_grad():
        vae.likelihood.spread.fill_(NOISE / 10)
    return vae


def test_two_layers_reach_the_exact_likelihood():
    x = exact_rows(64)
    inner = UPPER @ UPPER.T + math.exp(-0.7) * torch.eye(2)
    covariance = WEIGHT @ inner @ WEIGHT.T + math.exp(NOISE) * torch.eye(3)
    mean = WEIGHT @ torch.full((2,), 0.3) + 0.2
    truth = float(distributions.MultivariateNormal(mean, covariance).log_prob(x).mean())
    with torch.no_grad():
        few = float(importance_bound(hierarchy().log_weights(x, 5, ExampleDraws(0, 64))).mean())
        many = float(importance_bound(hierarchy().log_weights(x, 20_000, ExampleDraws(0, 64))).mean())
    assert few < truth - 0.05
    assert many == pytest.approx(truth, abs=0.01)


def test_samples_of_two_layers_have_the_model_s_moments():
    x = hierarchy().transport().sample(40_000, batch=40_000)
    inner = UPPER @ UPPER.T + math.exp(-0.7) * torch.eye(2)
    torch.testing.assert_close(x.mean(0), WEIGHT @ torch.full((2,), 0.3) + 0.2, rtol=0, atol=0.03)
    wanted = WEIGHT @ inner @ WEIGHT.T + math.exp(NOISE) * torch.eye(3)
    torch.testing.assert_close(torch.cov(x.T), wanted, rtol=0, atol=0.05)


@pytest.mark.parametrize("doubly", [False, True])
def test_log_variances_of_two_layers_cannot_run_away(doubly):
    said = {"encoder": -1e4, "upper_encoder": 1e4, "upper_decoder": -1e4}
    vae = hierarchy(dreg=doubly)
    for part, log_variance in said.items():
        getattr(vae, part).log_variance.data.fill_(log_variance)
    ((_, loss),) = list(vae.losses(Batch(exact_rows(64)), now(64)))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in vae.parameters())
    assert vae.autoencoder().encoder(exact_rows(4))[:, 2:].eq(-7).all(), "latents see the same code"


def apart(**options):
    """An upper posterior far from the exact one, so that its score counts."""
    vae = hierarchy(**options)
    with torch.no_grad():
        vae.upper_encoder.map.weight.mul_(2)
        vae.upper_encoder.map.bias.add_(1.5)
    return vae


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("part", ["encoder", "upper_encoder", "upper_decoder", "decoder"])
def test_the_doubly_reparameterised_gradient_holds_for_two_layers(part, beta):
    for make in (hierarchy, apart):
        agree(*(gradients(make, beta, way)[part] for way in (False, True)))


def test_upper_codes_are_drawn_afresh_as_often_as_weights_are_asked_for():
    vae, draws, seen = hierarchy(), ExampleDraws(0, 4), []
    vae.upper_encoder.map.weight.data.zero_()
    vae.upper_decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    for _ in range(2):
        vae.log_weights(exact_rows(4), 3, draws)
    assert not torch.isclose(seen[0], seen[1]).any()


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


@pytest.mark.parametrize("make", [linear_vae, lambda **options: hierarchy(**options)])
@pytest.mark.parametrize("options", [{}, {"samples": 6}, {"dreg": True}, {"samples": 6, "dreg": True, "beta": 0.5}])
def test_both_halves_of_the_bound_are_noted_whatever_the_objective(make, options):
    x, vae, at = exact_rows(20_000), make(**options), now(20_000)
    loss = next(vae.losses(Batch(x), at))[1].detach()
    assert not any(note.requires_grad for note in at.notes.values())
    assert float(at.notes["beta"]) == options.get("beta", 1.0)
    bound = float(at.notes["log_likelihood"] - at.notes["beta"] * at.notes["kl"])
    if options.get("samples", 1) == 1:
        assert bound == pytest.approx(-3 * float(loss), abs=0.02)
    else:
        assert bound < -3 * float(loss) - 0.05
    method = make()
    list(method.losses(Batch(x), alone := now(20_000)))
    for name in ("kl", "log_likelihood", "explained"):
        assert float(at.notes[name]) == pytest.approx(float(alone.notes[name]), abs=0.03)
    assert float(at.notes["units"]) == 2


def test_a_single_row_says_nothing_about_units():
    list(linear_vae().losses(Batch(exact_rows(1)), at := now(1)))
    assert not {"units", "active_units", "explained"} & set(at.notes)


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


@pytest.mark.parametrize(
    "make",
    [
        lambda: linear_vae(warmup=1.5),
        lambda: linear_vae(samples=0),
        lambda: linear_vae(free_bits=-1.0),
        lambda: linear_vae(samples=5, free_bits=0.1),
        lambda: linear_vae(samples=5, beta=0.0),
        lambda: hierarchy(beta=0.0),
        lambda: LogisticMixture(CUBE),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(UsageError):
        make()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {"likelihood": "logistic", "network": "convolutional"}),
        ("vae", {"network": "textbook", "importance_samples": 5, "dreg": True}),
        ("vae", {"free_bits": 0.1, "warmup": 0.5}),
        ("hvae", {"network": "textbook", "importance_samples": 3}),
    ],
)
def test_each_objective_trains_on_digits_with_labels(name, options, tmp_path):
    """The bound rises, and labels reach both networks."""
    data = pf.data.load("digits")
    recipe = pf.recipes.named(name)(data.space, "tiny", **options)
    recipe = dataclasses.replace(recipe, training=recipe.training.changed(batch=32))
    run = pf.fit(recipe, data, steps=40, out=tmp_path / "run")
    losses = [row["loss"]["autoencoder"] for row in run.losses()]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05
    z = torch.zeros(1, *run.transport.noise_shape)
    first, second = (run.transport(z, {"label": torch.tensor([label])}) for label in (0, 1))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["vae", "hvae"])
def test_encoders_and_decoders_of_ones_own_take_the_place_of_the_default_ones(name):
    data = pf.data.load("digits", labelled=False)
    mine = pf.networks.Encoder(data.space.shape, latent=5, width=8), pf.networks.Decoder(data.space.shape, latent=5, width=8)
    method = pf.recipes.named(name)(data.space, encoder=mine[0], decoder=mine[1], latent_size=5).method
    assert (method.encoder, method.decoder) == mine
    (_, loss), *_ = method.losses(Batch(torch.randn(4, 1, 8, 8)), Now(BlockDraws(0, 0, 4), 0, 0.0))
    assert loss.isfinite()


def grey(rows=40):
    random = np.random.default_rng(0)
    return space_data((1, 4, 5), labels=False, n=rows), random


def test_bits_are_ones_as_often_as_their_values_say():
    x = np.broadcast_to(np.array([0, 1, 51, 128, 254, 255], np.uint8).reshape(1, 1, 1, 6), (60_000, 1, 1, 6))
    share = (bits(np.ascontiguousarray(x), 7, np.arange(60_000)) == 255).mean((0, 1, 2))
    assert (share[0], share[5]) == (0, 1)
    np.testing.assert_allclose(share, np.array([0, 1, 51, 128, 254, 255]) / 255, atol=0.01)
    assert np.array_equal(bits(x[:5], 7, np.arange(5)), bits(x[:9], 7, np.arange(9))[:5])


def test_training_rows_are_drawn_anew_in_every_epoch_and_held_out_ones_never():
    data = drawn(grey()[0], "binary")
    assert data.space.binary
    assert set(np.unique(data.held_out.x)) <= {0, 255}
    assert data.fingerprint == drawn(grey()[0], "binary").fingerprint
    assert data.fingerprint != drawn(grey()[0], "binary", seed=1).fingerprint
    sampler = Sampler(data, 40, seed=3)
    first, second = (data.space.to_data(sampler.batch(epoch).x) for epoch in (0, 1))
    torch.testing.assert_close(sampler.batch(0).x, Sampler(data, 40, seed=3).batch(0).x)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    back = [torch.from_numpy(np.argsort(sampler.order(epoch))) for epoch in (0, 1)]
    first, second = first[back[0]], second[back[1]]
    assert 0.1 < float((first != second).float().mean()) < 0.5
    mean = torch.stack(
        [data.space.to_data(sampler.batch(e).x)[torch.from_numpy(np.argsort(sampler.order(e)))] for e in range(400)]
    )
    np.testing.assert_allclose(mean.mean(0).numpy(), data.probabilities / 255, atol=0.13)


def test_every_row_is_drawn_for_itself():
    grey_row = np.full((5000, 1, 8, 8), 128, np.uint8)
    binary = drawn(Dataset("grey", measure(grey_row, None), Split(grey_row), Split(grey_row)), "binary")
    for split in (binary.train, binary.held_out):
        assert len(np.unique(split.x.reshape(5000, -1), axis=0)) == 5000
    assert 0.4 < float((binary.train.x != binary.held_out.x).mean()) < 0.6


def test_vectors_are_not_binarised():
    rows = np.zeros((4, 3), np.float32)
    with pytest.raises(DataError, match="only images"):
        drawn(Dataset("rows", CUBE, Split(rows), Split(rows)), "binary")


def test_binary_digits_take_the_bernoulli_likelihood():
    data = pf.data.load("binary-digits")
    assert isinstance(recipe_for("vae", data).method.likelihood, Bernoulli)
    assert data.space.shape == (1, 8, 8)


def dataset_of(x, **more):
    rows = x.numpy()
    return Dataset("rows", CUBE, Split(rows), Split(rows), **more)


def test_bits_by_importance_sampling_are_those_of_the_exact_model():
    x = exact_rows(40)
    score = coded_bits(linear_vae(), dataset_of(x), codes=3000, batch=16)
    assert score.extra["nats"] == pytest.approx(-float(exact(x).mean()), abs=0.02)
    assert score.value == pytest.approx(score.extra["nats"] / (3 * math.log(2)))
    assert score.n == 40
    again = coded_bits(linear_vae(), dataset_of(x), codes=3000, batch=7)
    assert again.extra["nats"] == pytest.approx(score.extra["nats"], abs=0.02)


def test_densities_of_images_bound_the_probability_of_their_levels():
    """A decoder that ignores its code, a wide Gaussian: the probability of a level is nearly its density over 255."""
    space = ImageSpace(shape=(1, 2, 2), mean=(0.5,), std=(0.25,), low=(0.0,), high=(1.0,))
    vae = pf.VAE(Affine(torch.zeros(2, 4)), Affine(torch.zeros(4, 1)), space, latent=1)
    vae.encoder.forward = lambda x, t=None, condition=None: torch.zeros(len(x), 2)
    vae.decoder.forward = lambda z, t=None, condition=None: torch.zeros(len(z), 1, 2, 2)
    pixels = np.random.default_rng(0).integers(60, 200, size=(200, 1, 2, 2), dtype=np.uint8)
    data = Dataset("grey", space, Split(pixels), Split(pixels))
    score = coded_bits(vae, data, codes=2)
    u = space.to_model(torch.from_numpy(pixels) / 255).double()
    wanted = -(distributions.Normal(0.0, 1.0).log_prob(u) - math.log(0.25 * 255)).mean() / math.log(2)
    assert score.value == pytest.approx(float(wanted), abs=0.01)


@pytest.mark.parametrize("batch", [4, 32])
def test_every_row_is_weighed_by_as_many_codes_as_asked_for(batch, monkeypatch):
    vae, seen = linear_vae(), []
    weigh = vae.log_weights
    monkeypatch.setattr(vae, "log_weights", lambda *given: seen.append(weigh(*given)) or seen[-1])
    score = coded_bits(vae, dataset_of(exact_rows(32)), codes=200, batch=batch)
    assert sum(codes.numel() for codes in seen) == 32 * 200
    assert max(codes.numel() for codes in seen) <= 512
    few = coded_bits(vae, dataset_of(exact_rows(32)), codes=1, batch=batch)
    assert score.extra["nats"] < few.extra["nats"] - 0.02


def test_at_most_a_thousand_rows_are_weighed_unless_more_are_asked_for():
    data = dataset_of(exact_rows(1005))
    assert coded_bits(linear_vae(), data, codes=1).n == 1000
    assert coded_bits(linear_vae(), data, 1005, codes=1).n == 1005


def test_a_model_without_codes_weighs_nothing():
    with pytest.raises(UsageError, match="vae"):
        coded_bits(recipe_for("gan", space_data((3,), labels=False)).method, space_data((3,), labels=False))
    with pytest.raises(UsageError, match="beta 0"):
        coded_bits(linear_vae(beta=0.0), space_data((3,), labels=False))
    labelled = space_data((3,), labels=True)
    with pytest.raises(UsageError, match=r"learned p\(x \| condition\) with 3 classes; .* has no labels"):
        coded_bits(recipe_for("vae", labelled).method, labelled.without_labels())


def test_evaluate_gives_bits_of_a_vae(tmp_path, capsys):
    data = pf.data.load("binary-digits", limit=60)
    pf.fit(recipe_for("vae", data), data, steps=3, out=tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--metrics", "bpd", "--n", "20"]) == 0
    assert "importance sampling" in capsys.readouterr().out


def test_codes_are_measured_as_they_are():
    """Reconstructions, active units, the KL term and the mismatch of a known coder."""
    torch.manual_seed(0)
    x = torch.randn(3000, 3) * torch.tensor([1.0, 2.0, 1.0])
    encoder = Affine(torch.tensor([[0.8, 0.0, 0.0], [0.0, 0.0, 0.0]]), 0.0, math.log(0.36))
    coder = Autoencoder(encoder, Affine(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])), CUBE)
    data = dataset_of(x)
    statistics = code_statistics(coder, data, 3000)
    assert (statistics.units, statistics.active, statistics.n) == (2, 1, 3000)
    variance = float(0.64 * x[:, 0].var(correction=0))
    kl = [(0.36 + variance - 1 - math.log(0.36)) / 2, (0.36 - 1 - math.log(0.36)) / 2]
    assert statistics.by_unit == pytest.approx(kl, abs=0.01)
    assert statistics.kl == pytest.approx(sum(kl), abs=0.01)
    together = variance + 0.36
    assert statistics.mismatch == pytest.approx((together - 1 - math.log(together)) / 2 + kl[1], abs=0.01)
    reconstructed = reconstruction(coder, data, fit_features(data, cache=False), 3000)
    wanted = 1 - float(
        ((x - torch.stack([0.8 * x[:, 0], 0 * x[:, 1], 0 * x[:, 2]], 1)) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    )
    assert reconstructed.explained == pytest.approx(wanted, abs=1e-4)
    assert reconstructed.psnr is None


def mirrored(place, side):
    return -1 - place if place < 0 else (2 * side - 1 - place if place >= side else place)


def window(image, row, column):
    """The 11 x 11 Gaussian window around a place, mirrored at the edges, by loops."""
    total, values = 0.0, []
    for down in range(-5, 6):
        for right in range(-5, 6):
            weight = math.exp(-(down**2 + right**2) / (2 * 1.5**2))
            values.append((weight, mirrored(row + down, image.shape[0]), mirrored(column + right, image.shape[1])))
            total += weight
    return [(weight / total, i, j) for weight, i, j in values]


def test_structural_similarity_by_loops():
    random = np.random.default_rng(0)
    a = random.random((12, 13))
    b = np.clip(a + 0.2 * random.random((12, 13)), 0, 1)
    each = []
    for row in range(12):
        for column in range(13):
            of = window(a, row, column)
            mean_a, mean_b = (sum(w * z[i, j] for w, i, j in of) for z in (a, b))
            var_a, var_b = (sum(w * z[i, j] ** 2 for w, i, j in of) - m**2 for z, m in ((a, mean_a), (b, mean_b)))
            both = sum(w * a[i, j] * b[i, j] for w, i, j in of) - mean_a * mean_b
            top = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
            each.append(top / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))
    assert float(ssim(a[None, None], b[None, None])[0]) == pytest.approx(np.mean(each), abs=1e-9)
    assert ssim(a[None, None], a[None, None])[0] == pytest.approx(1)


def test_peak_signal_to_noise():
    x = np.zeros((2, 1, 4, 4), np.float32)
    y = x.copy()
    y[0] += 0.1
    np.testing.assert_allclose(psnr(x, y), [20, 100], atol=1e-5)


@pytest.mark.parametrize(("recipe", "steps"), [("vae", 400), ("hvae", 250)])
def test_codes_of_short_vectors_are_in_use(recipe, steps, tmp_path):
    """From a decoder's variance of 1, that of each column, a posterior on eight points of a circle stays collapsed."""
    data = pf.data.load("ring", limit=2000)
    run = pf.fit(recipe, data, steps=steps, size="tiny", out=tmp_path / "run", progress=False)
    samples = torch.as_tensor(run.sample(500, seed=0))
    distance = torch.cdist(samples.double(), torch.as_tensor(data.held_out.x[:500]).double()).min(1).values.mean()
    assert distance < 0.3  # .43 from a variance of 1
