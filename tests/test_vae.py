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
    mean, log_variance, x = (torch.randn(7, 5) for _ in range(3))
    q = distributions.Normal(mean, (log_variance / 2).exp())
    p = distributions.Normal(0.0, 1.0)
    expected = distributions.kl_divergence(q, p)
    torch.testing.assert_close(divergences(mean, log_variance), expected)
    actual = gaussian_log_prob(x, mean, log_variance)
    expected = q.log_prob(x).sum(1)
    torch.testing.assert_close(actual, expected)
    expected = p.log_prob(x).sum(1)
    torch.testing.assert_close(standard_log_prob(x), expected)
    actual = gaussian_log_prob(x[:, :, None], mean[:, :, None], log_variance[:, :, None], 2)
    torch.testing.assert_close(actual, q.log_prob(x))


def test_gradients_of_the_bound_are_those_of_torch_distributions():
    """One code, the same noise: the loss and its gradients written out in torch.distributions."""
    x = torch.randn(11, 3)
    vae = linear_vae(beta=0.7)
    ((_, loss),) = list(vae.losses(Batch(x), now(11)))
    mine = torch.autograd.grad(loss, list(vae.parameters()))
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    z = mean + q.stddev * now(11).draws.normal((2,))
    log_likelihood = (
        distributions.Normal(vae.decoder(z), (vae.likelihood.log_variance / 2).exp())
        .log_prob(x)
        .sum(1)
    )
    kl = distributions.kl_divergence(q, distributions.Normal(torch.zeros(2), torch.ones(2))).sum(1)
    theirs = torch.autograd.grad(-(log_likelihood - 0.7 * kl).mean() / 3, list(vae.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_the_importance_bound_grows_with_the_codes_and_reaches_the_exact_likelihood():
    x = exact_rows(64)
    truth = float(exact(x).mean())
    vae = linear_vae()
    bounds_of_k = []
    for samples, repeats in ((1, 400), (5, 80), (50, 8), (5000, 1)):
        with torch.no_grad():
            bounds = [
                importance_bound(vae.log_weights(x, samples, ExampleDraws(1000 * r, 64))).mean()
                for r in range(repeats)
            ]
        bounds_of_k.append(float(torch.stack(bounds).mean()))
    assert bounds_of_k[0] < bounds_of_k[1] - 0.02
    assert bounds_of_k[1] < bounds_of_k[2] - 0.01
    assert bounds_of_k[2] < truth
    assert bounds_of_k[3] == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize(("beta", "sharper"), [(1.0, 0.6), (0.5, 1.0)])
def test_the_doubly_reparameterised_gradient_is_the_same_on_average_and_sharper(beta, sharper):
    plain, doubly = (gradients(linear_vae, beta, way)["encoder"] for way in (False, True))
    agree(plain, doubly)
    ratio = float(doubly.var(0).sum() / plain.var(0).sum())
    assert ratio < sharper


def test_free_bits_hold_each_number_s_mean_over_groups_of_64_rows():
    torch.manual_seed(0)
    rows = torch.rand(100, 3) * torch.tensor([0.01, 1.0, 2.0])
    held = above_free_bits(rows, 0.25)
    first = rows[:64].mean(0).clamp(min=0.25).sum()
    second = rows[64:].mean(0).clamp(min=0.25).sum()
    expected = torch.cat([first.expand(64), second.expand(36)])
    torch.testing.assert_close(held, expected)
    torch.testing.assert_close(above_free_bits(rows, 0.0), rows.sum(1))
    mean = torch.full((64, 2), 0.1, requires_grad=True)
    above_free_bits(divergences(mean, torch.zeros(64, 2)), 0.25).sum().backward()
    assert not mean.grad.any(), "below the free bits nothing is pulled"


def test_the_weight_of_the_kl_term_warms_up():
    x = exact_rows(32)

    def loss(share, **options):
        return next(linear_vae(**options).losses(Batch(x), now(32, progress=share)))[1].detach()

    actual = loss(0.1, beta=2.0, warmup=0.4)
    torch.testing.assert_close(actual, loss(0.0, beta=0.5))
    actual = loss(0.9, beta=2.0, warmup=0.4)
    torch.testing.assert_close(actual, loss(0.0, beta=2.0))


def test_active_units_vary_over_data():
    torch.manual_seed(0)
    mean = torch.randn(4000, 3) * torch.tensor([1.0, 0.05, 0.2])
    assert float(active_units(mean)) == 2
    assert float(active_units(mean[:1])) == 0


def test_what_is_noted():
    x = exact_rows(2000)
    vae = linear_vae()
    at = now(2000)
    list(vae.losses(Batch(x), at))
    mean, log_variance = vae.encoder(x).chunk(2, 1)
    kl = float(at.notes["kl"])
    assert kl == pytest.approx(float(divergences(mean, log_variance).sum(1).mean().detach()))
    assert (float(at.notes["active_units"]), float(at.notes["units"])) == (2, 2)
    z = mean + (log_variance / 2).exp() * now(2000).draws.normal((2,))
    wanted = 1 - float(
        ((x - vae.decoder(z)).square().sum() / (x - x.mean(0)).square().sum()).detach()
    )
    explained = float(at.notes["explained"])
    assert explained == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_logistic_mixture_sums_to_one_over_the_levels(channels):
    torch.manual_seed(0)
    space = ImageSpace(
        shape=(channels, 1, 1),
        mean=(0.3,) * channels,
        std=(0.2,) * channels,
        low=(0,) * channels,
        high=(1,) * channels,
    )
    mixture = LogisticMixture(space, components=3)
    decoded = 2 * torch.randn(1, *mixture.outputs)
    levels = torch.cartesian_prod(*[torch.arange(256.0) / 255] * channels).reshape(
        -1, channels, 1, 1
    )
    chances = (
        mixture.log_prob(space.to_model(levels), decoded.expand(len(levels), -1, -1, -1))
        .double()
        .exp()
    )
    assert float(chances.sum()) == pytest.approx(1, abs=1e-4)
    if channels == 1:
        weights, places, scales = (part.flatten() for part in mixture._parts(decoded))
        edges = (torch.arange(255) + 0.5) / 255 * 2 - 1
        below = (
            weights.exp()[:, None]
            * torch.sigmoid((edges - places[:, None]) / scales.exp()[:, None])
        ).sum(0)
        largest = float((chances.cumsum(0)[:-1] - below).abs().max())
        assert largest < 1e-5


def test_the_logistic_mixture_is_finite_far_from_its_data():
    space = ImageSpace(
        shape=(3, 2, 2), mean=(0.5,) * 3, std=(0.2,) * 3, low=(0,) * 3, high=(1,) * 3
    )
    mixture = LogisticMixture(space)
    decoded = (200 * torch.randn(6, *mixture.outputs)).requires_grad_()
    x = space.to_model(torch.randint(0, 256, (6, 3, 2, 2)) / 255)
    mixture.log_prob(x, decoded).sum().backward()
    assert decoded.grad.isfinite().all()
    assert mixture.log_prob(x, decoded).isfinite().all()
    assert (
        (mixture.mean(decoded) >= space.bounds[0] - 1e-5)
        & (mixture.mean(decoded) <= space.bounds[1] + 1e-5)
    ).all()


def test_the_means_of_likelihoods():
    space = ImageSpace(shape=(1, 2, 3), mean=(0.3,), std=(0.4,), low=(0,), high=(1,), binary=True)
    decoded = torch.randn(5, 1, 2, 3)
    actual = space.to_data(Bernoulli(space).mean(decoded))
    torch.testing.assert_close(actual, torch.sigmoid(decoded))
    assert Gaussian(space).mean(decoded) is decoded
    wrapped = Decoded(nn.Identity(), Bernoulli(space))
    wrapped.network.forward = lambda z, t, condition: z
    actual = space.to_data(wrapped(decoded))
    torch.testing.assert_close(actual, torch.sigmoid(decoded))


def test_two_layers_reach_the_exact_likelihood():
    x = exact_rows(64)
    inner = UPPER @ UPPER.T + math.exp(-0.7) * torch.eye(2)
    covariance = WEIGHT @ inner @ WEIGHT.T + math.exp(NOISE) * torch.eye(3)
    mean = WEIGHT @ torch.full((2,), 0.3) + 0.2
    truth = float(distributions.MultivariateNormal(mean, covariance).log_prob(x).mean())
    with torch.no_grad():
        few = float(importance_bound(hierarchy().log_weights(x, 5, ExampleDraws(0, 64))).mean())
        many = float(
            importance_bound(hierarchy().log_weights(x, 20_000, ExampleDraws(0, 64))).mean()
        )
    assert few < truth - 0.05
    assert many == pytest.approx(truth, abs=0.01)


def test_samples_of_two_layers_have_the_model_s_moments():
    x = hierarchy().transport().sample(40_000, batch=40_000)
    inner = UPPER @ UPPER.T + math.exp(-0.7) * torch.eye(2)
    expected = WEIGHT @ torch.full((2,), 0.3) + 0.2
    torch.testing.assert_close(x.mean(0), expected, rtol=0, atol=0.03)
    wanted = WEIGHT @ inner @ WEIGHT.T + math.exp(NOISE) * torch.eye(3)
    actual = torch.cov(x.T)
    torch.testing.assert_close(actual, wanted, rtol=0, atol=0.05)


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


@pytest.mark.parametrize(("make", "beta"), [(hierarchy, 1.0), (apart, 0.5)])
def test_the_doubly_reparameterised_gradient_holds_for_two_layers(make, beta):
    plain, doubly = (gradients(make, beta, way) for way in (False, True))
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
    assert not torch.isclose(seen[0], seen[1]).any()


@pytest.mark.parametrize("make", [linear_vae, lambda **options: hierarchy(**options)])
@pytest.mark.parametrize(
    "options", [{}, {"samples": 6}, {"dreg": True}, {"samples": 6, "dreg": True, "beta": 0.5}]
)
def test_both_halves_of_the_bound_are_noted_whatever_the_objective(make, options):
    x = exact_rows(20_000)
    vae = make(**options)
    at = now(20_000)
    loss = next(vae.losses(Batch(x), at))[1].detach()
    assert not any(note.requires_grad for note in at.notes.values())
    beta = float(at.notes["beta"])
    assert beta == options.get("beta", 1.0)
    bound = float(at.notes["log_likelihood"] - at.notes["beta"] * at.notes["kl"])
    if options.get("samples", 1) == 1:
        assert bound == pytest.approx(-3 * float(loss), abs=0.02)
    else:
        assert bound < -3 * float(loss) - 0.05
    method = make()
    list(method.losses(Batch(x), alone := now(20_000)))
    for name in ("kl", "log_likelihood", "explained"):
        notes = float(at.notes[name])
        assert notes == pytest.approx(float(alone.notes[name]), abs=0.03)
    assert float(at.notes["units"]) == 2


def test_bits_by_importance_sampling_are_those_of_the_exact_model():
    x = exact_rows(40)
    score = coded_bits(linear_vae(), dataset_of(x), codes=3000, batch=16)
    assert score.extra["nats"] == pytest.approx(-float(exact(x).mean()), abs=0.02)
    assert score.value == pytest.approx(score.extra["nats"] / (3 * math.log(2)))
    assert score.n == 40
    again = coded_bits(linear_vae(), dataset_of(x), codes=3000, batch=7)
    assert again.extra["nats"] == pytest.approx(score.extra["nats"], abs=0.02)


def test_densities_of_images_bound_the_probability_of_their_levels():
    """A decoder that ignores its code, a wide Gaussian: the probability of a level is nearly its
    density over 255.
    """
    space = ImageSpace(shape=(1, 2, 2), mean=(0.5,), std=(0.25,), low=(0.0,), high=(1.0,))
    vae = pf.VAE(Affine(torch.zeros(2, 4)), Affine(torch.zeros(4, 1)), space, latent=1)
    vae.encoder.forward = lambda x, t=None, condition=None: torch.zeros(len(x), 2)
    vae.decoder.forward = lambda z, t=None, condition=None: torch.zeros(len(z), 1, 2, 2)
    pixels = np.random.default_rng(0).integers(60, 200, size=(200, 1, 2, 2), dtype=np.uint8)
    data = Dataset("grey", space, Split(pixels), Split(pixels))
    score = coded_bits(vae, data, codes=2)
    u = space.to_model(torch.from_numpy(pixels) / 255).double()
    wanted = -(distributions.Normal(0.0, 1.0).log_prob(u) - math.log(0.25 * 255)).mean() / math.log(
        2
    )
    assert score.value == pytest.approx(float(wanted), abs=0.01)


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
    assert statistics.kl == pytest.approx(sum(kl), abs=0.01)
    together = variance + 0.36
    assert statistics.mismatch == pytest.approx(
        (together - 1 - math.log(together)) / 2 + kl[1], abs=0.01
    )
    reconstructed = reconstruction(coder, data, fit_features(data, cache=False), 3000)
    wanted = 1 - float(
        ((x - torch.stack([0.8 * x[:, 0], 0 * x[:, 1], 0 * x[:, 2]], 1)) ** 2).sum()
        / ((x - x.mean(0)) ** 2).sum()
    )
    assert reconstructed.explained == pytest.approx(wanted, abs=1e-4)
    assert reconstructed.psnr is None


def mirrored(place, side):
    if place < 0:
        return -1 - place
    if place >= side:
        return 2 * side - 1 - place
    return place


def window(image, row, column):
    """The 11 x 11 Gaussian window around a place, mirrored at the edges, by loops."""
    total = 0.0
    values = []
    for down in range(-5, 6):
        for right in range(-5, 6):
            weight = math.exp(-(down**2 + right**2) / (2 * 1.5**2))
            values.append(
                (
                    weight,
                    mirrored(row + down, image.shape[0]),
                    mirrored(column + right, image.shape[1]),
                )
            )
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
            var_a, var_b = (
                sum(w * z[i, j] ** 2 for w, i, j in of) - m**2
                for z, m in ((a, mean_a), (b, mean_b))
            )
            both = sum(w * a[i, j] * b[i, j] for w, i, j in of) - mean_a * mean_b
            top = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
            each.append(top / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))
    actual = float(ssim(a[None, None], b[None, None])[0])
    assert actual == pytest.approx(np.mean(each), abs=1e-9)
    actual = ssim(a[None, None], a[None, None])[0]
    assert actual == pytest.approx(1)


def test_at_most_a_thousand_rows_are_weighed_by_all_codes_unless_more_are_asked_for(monkeypatch):
    vae = linear_vae()
    data = dataset_of(exact_rows(1005))
    asked = []
    weights = vae.log_weights
    monkeypatch.setattr(
        vae, "log_weights", lambda x, n, *more: asked.append(n * len(x)) or weights(x, n, *more)
    )
    for n, rows in ((None, 1000), (1005, 1005)):
        assert coded_bits(vae, data, n, codes=20).n == rows
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
