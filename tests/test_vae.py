"""Variational bounds, models of two layers and what is measured of them, against closed forms and
torch.distributions.
"""

import math

import numpy as np
import pytest
import torch
from programs.linear_vaes import (
    CUBE,
    NOISE,
    UPPER,
    WEIGHT,
    Affine,
    agree,
    dataset_of,
    exact,
    exact_rows,
    gradients,
    hierarchy,
    linear_vae,
    now,
)
from torch import distributions, nn
from torch.testing import assert_close

import pushforward as pf
from pushforward.data import Batch, ImageSpace, Split
from pushforward.data.core.dataset import Dataset
from pushforward.draws import ExampleDraws
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.model_metrics import coded_bits
from pushforward.evaluation.pictures import code_statistics, reconstruction
from pushforward.methods.likelihoods import (
    Bernoulli,
    Decoded,
    Gaussian,
    LogisticMixture,
    above_free_bits,
    active_units,
    divergences,
    gaussian_log_prob,
    importance_bound,
    standard_log_prob,
)
from pushforward.metrics.image_quality import ssim
from pushforward.testing import recipe_for, space_data
from pushforward.transports import Autoencoder


def test_divergences_and_densities_are_those_of_torch_distributions():
    torch.manual_seed(0)
    mean, log_variance, x = torch.randn(3, 7, 5)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    p = distributions.Normal(0.0, 1.0)
    expected = distributions.kl_divergence(q, p)
    assert_close(divergences(mean, log_variance), expected)
    actual = gaussian_log_prob(x, mean, log_variance)
    expected = q.log_prob(x).sum(1)
    assert_close(actual, expected)
    expected = p.log_prob(x).sum(1)
    assert_close(standard_log_prob(x), expected)
    each = [part[:, :, None] for part in (x, mean, log_variance)]
    actual = gaussian_log_prob(*each, 2)
    assert_close(actual, q.log_prob(x))


def bound_by_hand(vae, x, beta):
    """One code: the objective written out in torch.distributions, with the noise of step 0."""
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    noise = now(len(x)).draws.normal((2,))
    z = mean + q.stddev * noise
    std = (vae.likelihood.log_variance / 2).exp()
    likelihood = distributions.Normal(vae.decoder(z), std)
    log_likelihood = likelihood.log_prob(x).sum(1)
    prior = distributions.Normal(torch.zeros(2), torch.ones(2))
    kl = distributions.kl_divergence(q, prior).sum(1)
    return log_likelihood - beta * kl


def test_gradients_of_the_bound_are_those_of_torch_distributions():
    """One code, the same noise: the loss and its gradients written out in torch.distributions."""
    x = torch.randn(11, 3)
    vae = linear_vae(beta=0.7)
    parameters = list(vae.parameters())
    ((_, loss),) = vae.losses(Batch(x), now(11))
    mine = torch.autograd.grad(loss, parameters)
    wanted = -bound_by_hand(vae, x, 0.7).mean() / 3
    theirs = torch.autograd.grad(wanted, parameters)
    for actual, expected in zip(mine, theirs, strict=True):
        assert_close(actual, expected)


@torch.no_grad()
def mean_bound(x, samples, repeats):
    """The importance bound of a linear VAE, averaged over repeated draws."""
    vae = linear_vae()
    bounds = []
    for repeat in range(repeats):
        draws = ExampleDraws(1000 * repeat, len(x))
        weights = vae.log_weights(x, samples, draws)
        bounds.append(float(importance_bound(weights).mean()))
    return np.mean(bounds)


def test_the_importance_bound_grows_with_the_codes_and_reaches_the_exact_likelihood():
    x = exact_rows(64)
    truth = float(exact(x).mean())
    of_one = mean_bound(x, 1, 400)
    of_five = mean_bound(x, 5, 80)
    of_fifty = mean_bound(x, 50, 8)
    of_many = mean_bound(x, 5000, 1)
    assert of_one < of_five - 0.02
    assert of_five < of_fifty - 0.01
    assert of_fifty < truth
    assert of_many == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize(("beta", "sharper"), [(1.0, 0.6), (0.5, 1.0)])
def test_the_doubly_reparameterised_gradient_is_the_same_on_average_and_sharper(beta, sharper):
    plain = gradients(linear_vae, beta, False)["encoder"]
    doubly = gradients(linear_vae, beta, True)["encoder"]
    agree(plain, doubly)
    ratio = doubly.var(0).sum() / plain.var(0).sum()
    assert ratio < sharper


def test_free_bits_hold_each_number_s_mean_over_groups_of_64_rows():
    torch.manual_seed(0)
    rows = torch.rand(100, 3) * torch.tensor([0.01, 1.0, 2.0])
    held = above_free_bits(rows, 0.25)
    for group in (slice(64), slice(64, 100)):
        mean = rows[group].mean(0).clamp(min=0.25).sum()
        assert_close(held[group], mean.expand_as(held[group]))
    assert_close(above_free_bits(rows, 0.0), rows.sum(1))


def test_the_weight_of_the_kl_term_warms_up():
    batch = Batch(exact_rows(32))

    def loss(progress, **options):
        vae = linear_vae(**options)
        _, value = next(vae.losses(batch, now(32, progress=progress)))
        return value.detach()

    early = loss(0.1, beta=2.0, warmup=0.4)
    assert_close(early, loss(0.0, beta=0.5))
    late = loss(0.9, beta=2.0, warmup=0.4)
    assert_close(late, loss(0.0, beta=2.0))


def test_active_units_vary_over_data():
    torch.manual_seed(0)
    mean = torch.randn(4000, 3) * torch.tensor([1.0, 0.05, 0.2])
    assert float(active_units(mean)) == 2
    assert float(active_units(mean[:1])) == 0


def test_below_the_free_bits_nothing_is_pulled():
    mean = torch.full((64, 2), 0.1, requires_grad=True)
    kl = divergences(mean, torch.zeros(64, 2))
    above_free_bits(kl, 0.25).sum().backward()
    assert not mean.grad.any()


def test_what_is_noted():
    x = exact_rows(2000)
    vae = linear_vae()
    _, notes = noted(vae, x)
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    kl = divergences(mean, log_variance).sum(1).mean()
    assert_close(notes["kl"], kl.detach())
    assert notes["active_units"].item() == 2
    assert notes["units"].item() == 2
    noise = now(2000).draws.normal((2,))
    z = mean + (log_variance / 2).exp() * noise
    left = (x - vae.decoder(z)).square().sum()
    whole = (x - x.mean(0)).square().sum()
    explained = 1 - left / whole
    assert_close(notes["explained"], explained.detach(), rtol=0, atol=1e-5)


def images(*shape):
    """A space of images within 0 and 1."""
    channels = shape[0]
    return ImageSpace(
        shape=shape,
        mean=(0.3,) * channels,
        std=(0.2,) * channels,
        low=(0,) * channels,
        high=(1,) * channels,
    )


def chances_of_levels(mixture, decoded):
    """The probability of each of the 256 levels, or of each pair of them in two channels."""
    channels = mixture.space.shape[0]
    grey = torch.arange(256.0) / 255
    levels = torch.cartesian_prod(*[grey] * channels).reshape(-1, channels, 1, 1)
    x = mixture.space.to_model(levels)
    log_chances = mixture.log_prob(x, decoded.expand(len(x), -1, -1, -1))
    return log_chances.double().exp()


def test_the_logistic_mixture_sums_to_one_over_pairs_of_levels():
    torch.manual_seed(0)
    mixture = LogisticMixture(images(2, 1, 1), components=3)
    decoded = 2 * torch.randn(1, *mixture.outputs)
    chances = chances_of_levels(mixture, decoded)
    assert float(chances.sum()) == pytest.approx(1, abs=1e-4)


def test_reconstructions_are_measured(known_coder):
    x = three_numbers()
    data = dataset_of(x)
    features = fit_features(data, cache=False)
    reconstructed = reconstruction(known_coder, data, features, 3000)
    decoded = x * torch.tensor([0.8, 0.0, 0.0])
    left = (x - decoded).square().sum()
    whole = (x - x.mean(0)).square().sum()
    explained = 1 - (left / whole).item()
    assert reconstructed.explained == pytest.approx(explained, abs=1e-4)
    assert reconstructed.psnr is None


def test_the_logistic_mixture_has_the_cumulative_distribution_of_its_parts():
    torch.manual_seed(0)
    mixture = LogisticMixture(images(1, 1, 1), components=3)
    decoded = 2 * torch.randn(1, *mixture.outputs)
    chances = chances_of_levels(mixture, decoded)
    assert chances.sum().item() == pytest.approx(1, abs=1e-4)
    log_weights, places, log_scales = (part.reshape(3, 1) for part in mixture._parts(decoded))
    edges = (torch.arange(255) + 0.5) / 255 * 2 - 1
    distances = (edges - places) / log_scales.exp()
    below = (log_weights.exp() * torch.sigmoid(distances)).sum(0)
    cumulative = chances.cumsum(0)[:-1]
    assert_close(cumulative, below.double(), rtol=0, atol=1e-5)


def test_the_logistic_mixture_is_finite_far_from_its_data():
    space = images(3, 2, 2)
    mixture = LogisticMixture(space)
    decoded = 200 * torch.randn(6, *mixture.outputs)
    decoded.requires_grad_()
    levels = torch.randint(0, 256, (6, 3, 2, 2)) / 255
    log_prob = mixture.log_prob(space.to_model(levels), decoded)
    log_prob.sum().backward()
    assert decoded.grad.isfinite().all()
    assert log_prob.isfinite().all()
    low, high = space.bounds
    mean = mixture.mean(decoded)
    assert (mean >= low - 1e-5).all()
    assert (mean <= high + 1e-5).all()


def test_the_means_of_likelihoods():
    space = ImageSpace(shape=(1, 2, 3), mean=(0.3,), std=(0.4,), low=(0,), high=(1,), binary=True)
    decoded = torch.randn(5, 1, 2, 3)
    chances = torch.sigmoid(decoded)
    bits = Bernoulli(space)
    actual = space.to_data(bits.mean(decoded))
    assert_close(actual, chances)
    assert Gaussian(space).mean(decoded) is decoded
    wrapped = Decoded(nn.Identity(), bits)
    wrapped.network.forward = lambda z, t, condition: z
    actual = space.to_data(wrapped(decoded))
    assert_close(actual, chances)


def hierarchy_moments():
    """The mean and covariance of the data of the hierarchy of two layers."""
    inner = UPPER @ UPPER.T + math.exp(-0.7) * torch.eye(2)
    covariance = WEIGHT @ inner @ WEIGHT.T + math.exp(NOISE) * torch.eye(3)
    mean = WEIGHT @ torch.full((2,), 0.3) + 0.2
    return mean, covariance


@torch.no_grad()
def hierarchy_bound(x, samples):
    draws = ExampleDraws(0, len(x))
    weights = hierarchy().log_weights(x, samples, draws)
    return float(importance_bound(weights).mean())


def test_two_layers_reach_the_exact_likelihood():
    x = exact_rows(64)
    exact_model = distributions.MultivariateNormal(*hierarchy_moments())
    truth = float(exact_model.log_prob(x).mean())
    few = hierarchy_bound(x, 5)
    many = hierarchy_bound(x, 20_000)
    assert few < truth - 0.05
    assert many == pytest.approx(truth, abs=0.01)


def test_samples_of_two_layers_have_the_model_s_moments():
    x = hierarchy().transport().sample(40_000, batch=40_000)
    mean, covariance = hierarchy_moments()
    assert_close(x.mean(0), mean, rtol=0, atol=0.03)
    assert_close(torch.cov(x.T), covariance, rtol=0, atol=0.05)


@pytest.mark.parametrize("doubly", [False, True])
def test_log_variances_of_two_layers_cannot_run_away(doubly):
    said = {"encoder": -1e4, "upper_encoder": 1e4, "upper_decoder": -1e4}
    vae = hierarchy(dreg=doubly)
    for part, log_variance in said.items():
        getattr(vae, part).log_variance.data.fill_(log_variance)
    ((_, loss),) = vae.losses(Batch(exact_rows(64)), now(64))
    loss.backward()
    assert loss.isfinite()
    for parameter in vae.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    codes = vae.autoencoder().encoder(exact_rows(4))
    assert codes[:, 2:].eq(-7).all(), "latents see the same code"


def apart(**options):
    """An upper posterior far from the exact one, so that its score counts."""
    vae = hierarchy(**options)
    with torch.no_grad():
        vae.upper_encoder.map.weight.mul_(2)
        vae.upper_encoder.map.bias.add_(1.5)
    return vae


@pytest.mark.parametrize(("make", "beta"), [(hierarchy, 1.0), (apart, 0.5)])
def test_the_doubly_reparameterised_gradient_holds_for_two_layers(make, beta):
    plain = gradients(make, beta, False)
    doubly = gradients(make, beta, True)
    for part in ("encoder", "upper_encoder", "upper_decoder", "decoder"):
        agree(plain[part], doubly[part])


def test_upper_codes_are_drawn_afresh_as_often_as_weights_are_asked_for():
    vae = hierarchy()
    draws = ExampleDraws(0, 4)
    seen = []
    vae.upper_encoder.map.weight.data.zero_()
    vae.upper_decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    for _ in range(2):
        vae.log_weights(exact_rows(4), 3, draws)
    first, second = seen
    assert not torch.isclose(first, second).any()


def noted(vae, x):
    """The loss of a batch, and the notes on it."""
    at = now(len(x))
    ((_, loss),) = vae.losses(Batch(x), at)
    return float(loss.detach()), at.notes


OBJECTIVES = {
    "one code": {},
    "many": {"samples": 6},
    "dreg": {"dreg": True},
    "all": {"samples": 6, "dreg": True, "beta": 0.5},
}


@pytest.mark.parametrize("make", [linear_vae, hierarchy])
@pytest.mark.parametrize("options", OBJECTIVES.values(), ids=OBJECTIVES)
def test_both_halves_of_the_bound_are_noted_whatever_the_objective(make, options):
    x = exact_rows(20_000)
    loss, notes = noted(make(**options), x)
    assert not any(note.requires_grad for note in notes.values())
    beta = notes["beta"].item()
    assert beta == options.get("beta", 1.0)
    bound = notes["log_likelihood"].item() - beta * notes["kl"].item()
    objective = -3 * loss
    if "samples" in options:
        assert bound < objective - 0.05
    else:
        assert bound == pytest.approx(objective, abs=0.02)
    _, of_one_code = noted(make(), x)
    for name in ("kl", "log_likelihood", "explained"):
        assert_close(notes[name], of_one_code[name], rtol=0, atol=0.03)
    assert notes["units"].item() == 2


def test_bits_by_importance_sampling_are_those_of_the_exact_model():
    x = exact_rows(40)
    data = dataset_of(x)
    score = coded_bits(linear_vae(), data, codes=3000, batch=16)
    nats = score.extra["nats"]
    truth = -float(exact(x).mean())
    assert nats == pytest.approx(truth, abs=0.02)
    assert score.value == pytest.approx(nats / (3 * math.log(2)))
    assert score.n == 40
    again = coded_bits(linear_vae(), data, codes=3000, batch=7)
    assert again.extra["nats"] == pytest.approx(nats, abs=0.02)


class Still(nn.Module):
    """A network that puts out the same numbers for every example."""

    def __init__(self, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.shape = shape

    def forward(self, x, t=None, condition=None):
        return self.weight * torch.zeros(len(x), *self.shape)


def test_densities_of_images_bound_the_probability_of_their_levels():
    """A decoder that ignores its code, a wide Gaussian: the probability of a level is nearly its
    density over 255.
    """
    space = ImageSpace(shape=(1, 2, 2), mean=(0.5,), std=(0.25,), low=(0.0,), high=(1.0,))
    vae = pf.VAE(Still(2), Still(1, 2, 2), space, latent=1)
    random = np.random.default_rng(0)
    pixels = random.integers(60, 200, size=(200, 1, 2, 2), dtype=np.uint8)
    data = Dataset("grey", space, Split(pixels), Split(pixels))
    score = coded_bits(vae, data, codes=2)
    levels = torch.from_numpy(pixels) / 255
    density = distributions.Normal(0.5, 0.25).log_prob(levels)
    bits = (math.log(255) - density.mean().item()) / math.log(2)
    assert score.value == pytest.approx(bits, abs=0.01)


def kl_to_standard(variance):
    """The KL divergence of N(0, variance) from N(0, 1)."""
    return (variance - 1 - math.log(variance)) / 2


@pytest.fixture
def known_coder():
    """A coder of the first of three numbers, of which the second code is unused."""
    encode = torch.tensor([[0.8, 0.0, 0.0], [0.0, 0.0, 0.0]])
    decode = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    encoder = Affine(encode, 0.0, math.log(0.36))
    return Autoencoder(encoder, Affine(decode), CUBE)


def three_numbers():
    torch.manual_seed(0)
    return torch.randn(3000, 3) * torch.tensor([1.0, 2.0, 1.0])


def test_codes_are_measured_as_they_are(known_coder):
    """Active units, the KL term and the mismatch of a known coder."""
    x = three_numbers()
    statistics = code_statistics(known_coder, dataset_of(x), 3000)
    assert statistics.units == 2
    assert statistics.active == 1
    assert statistics.n == 3000
    variance = 0.64 * x[:, 0].var(correction=0).item()
    still = kl_to_standard(0.36)
    assert statistics.kl == pytest.approx(still + variance / 2 + still, abs=0.01)
    mismatch = kl_to_standard(variance + 0.36) + still
    assert statistics.mismatch == pytest.approx(mismatch, abs=0.01)


def mirrored(place, side):
    if place < 0:
        return -1 - place
    if place >= side:
        return 2 * side - 1 - place
    return place


def window(shape, row, column):
    """Weights of the 11 x 11 Gaussian window around a place, mirrored at the edges, by loops."""
    weights = np.zeros(shape)
    for down in range(-5, 6):
        for right in range(-5, 6):
            i = mirrored(row + down, shape[0])
            j = mirrored(column + right, shape[1])
            weights[i, j] += math.exp(-(down**2 + right**2) / (2 * 1.5**2))
    return weights / weights.sum()


def similarity(a, b, weights):
    """The structural similarity of two images in one window."""
    mean_a = (weights * a).sum()
    mean_b = (weights * b).sum()
    var_a = (weights * a**2).sum() - mean_a**2
    var_b = (weights * b**2).sum() - mean_b**2
    covariance = (weights * a * b).sum() - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    structure = (2 * covariance + 9e-4) / (var_a + var_b + 9e-4)
    return luminance * structure


def test_structural_similarity_by_loops():
    random = np.random.default_rng(0)
    a = random.random((12, 13))
    b = np.clip(a + 0.2 * random.random((12, 13)), 0, 1)
    each = []
    for row in range(12):
        for column in range(13):
            weights = window(a.shape, row, column)
            each.append(similarity(a, b, weights))
    a = a[None, None]
    b = b[None, None]
    actual = float(ssim(a, b)[0])
    assert actual == pytest.approx(np.mean(each), abs=1e-9)
    assert ssim(a, a)[0] == pytest.approx(1)


def test_at_most_a_thousand_rows_are_weighed_by_all_codes_unless_more_are_asked_for(monkeypatch):
    vae = linear_vae()
    data = dataset_of(exact_rows(1005))
    asked = []
    weights = vae.log_weights

    def counted(x, n, *more):
        asked.append(n * len(x))
        return weights(x, n, *more)

    monkeypatch.setattr(vae, "log_weights", counted)
    for n, rows in ((None, 1000), (1005, 1005)):
        score = coded_bits(vae, data, n, codes=20)
        assert score.n == rows
        assert sum(asked) == 20 * rows
        asked.clear()


@pytest.mark.parametrize("name", ["vae", "hvae"])
def test_each_code_of_an_example_is_decoded_with_its_condition(name):
    data = space_data((17,), labels=True)
    vae = recipe_for(name, data).method
    seen = []
    vae.decoder.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[2]["label"]))
    label = torch.tensor([1, 0, 1, 1])
    vae.log_weights(torch.randn(4, 17), 3, ExampleDraws(0, 4), {"label": label})
    assert seen[0].tolist() == label.repeat_interleave(3).tolist()
