"""Densities and bounds against closed forms."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from programs.text_tables import read_cases
from scipy.stats import multivariate_normal
from torch import nn

from pushforward.data import ImageSpace, VectorSpace
from pushforward.networks import LevelPosterior
from pushforward.networks.wrappers import level_mean
from pushforward.paths import VE, Cosine, Linear, Narrowed
from pushforward.solvers import DPM, Heun
from pushforward.testing import Mixture, ring
from pushforward.transports import Flow
from pushforward.transports.likelihood import (
    bits_per_dim,
    decoder_spread,
    dequantise,
    elbo,
    log_prob,
)


def density(denoiser, x):
    parts = [multivariate_normal(c.numpy(), denoiser.std**2).pdf(x) for c in denoiser.centres]
    return torch.from_numpy(np.log(np.mean(parts, axis=0)))


def by_flow(denoiser, x, steps, **options):
    """The log-density of rows by the flow of a denoiser."""
    flow = Flow(denoiser, Heun(), 5)
    return log_prob(flow, x, steps=steps, **options)


def doubles(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def assert_near(actual, expected, atol):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def gaussian(path, std=0.6):
    # in model units data has mean 0, which the flow's start N(0, sigma^2) takes for granted
    return Mixture(path, [[0.0, 0.0]], std)


@pytest.mark.parametrize("path", [Linear(), Cosine(), VE(0.002, 200)], ids=type)
@pytest.mark.parametrize("make", [gaussian, ring])
def test_the_density_of_gaussians_and_mixtures_is_exact(path, make):
    denoiser = make(path)
    torch.manual_seed(0)
    noise = torch.randn(40, 2, dtype=torch.float64)
    modes = torch.arange(40) % len(denoiser.centres)
    x = denoiser.centres[modes] + denoiser.std * noise
    log_density = by_flow(denoiser, x, steps=60)
    assert_near(log_density, density(denoiser, x.numpy()), 1e-3)


def test_a_density_is_one_of_data_units():
    """x = mean + std u moves mass without making any: the log-determinant of the space is
    counted.
    """
    denoiser = ring(Linear())
    u = doubles([0.3, 0.2], [1.9, 0.1])

    def in_units(std):
        denoiser.space = VectorSpace(shape=(2,), mean=(3.0, -1.0), std=std)
        x = denoiser.space.to_data(u)
        return by_flow(denoiser, x, steps=40)

    log_density = in_units((2.0, 0.5))
    assert_near(log_density, density(denoiser, u.numpy()), 1e-3)  # 2 x 0.5 = 1
    wider = in_units((4.0, 0.5))
    assert_near(log_density, wider + math.log(2), 1e-6)


def test_a_density_counts_both_ends_of_a_path():
    """Of a Gaussian the ODE stretches states by the ratio of their widths; data is read as x_t /
    alpha at the first time.
    """
    torch.manual_seed(0)
    x = torch.randn(20, 2, dtype=torch.float64)
    path = Narrowed(Linear(), 0.2, 0.7)
    log_density = by_flow(gaussian(path), x, steps=30)
    width = math.hypot(0.3 * 0.6, 0.7)
    first_width = math.hypot(0.8 * 0.6, 0.2)
    stretch = 0.8 * width / first_width
    noise = torch.distributions.Normal(0.0, 0.7)
    wanted = noise.log_prob(stretch * x).sum(1) + 2 * math.log(stretch)
    assert_near(log_density, wanted, 1e-3)


def test_probes_estimate_the_trace_without_bias_and_by_row(monkeypatch):
    """Beyond 64 numbers a row the trace is Hutchinson's; on a Gaussian of unequal entries it is
    exact for Rademacher probes.
    """
    denoiser = Mixture(Linear(), [[0.5] * 80], 0.7)
    torch.manual_seed(0)
    noise = torch.randn(6, 80, dtype=torch.float64)
    x = 0.5 + 0.7 * noise
    truth = torch.distributions.Normal(0.5, 0.7)
    # a diagonal Jacobian: e' J e = tr J for every e of signs
    log_density = by_flow(denoiser, x, steps=60)
    assert_near(log_density, truth.log_prob(x).sum(1), 0.02)
    monkeypatch.setattr("pushforward.transports.likelihood.EXACT", 1)
    mixture = ring(Linear())
    x = mixture.centres[:4] + 0.3
    repeated = x.repeat(60, 1)  # each row has probes of its own
    estimates = by_flow(mixture, repeated, steps=20).reshape(60, 4)
    error = estimates.std(0) / math.sqrt(60)
    assert error.min() > 0
    bias = estimates.mean(0) - density(mixture, x.numpy())
    assert (bias.abs() < 4 * error + 2e-3).all()
    both = by_flow(mixture, x, steps=5, seed=7)
    last = by_flow(mixture, x[2:], steps=5, seed=9)
    torch.testing.assert_close(both[2:], last)


PICTURES = ImageSpace(shape=(1, 2, 3), mean=(0.4,), std=(0.2,), low=(0.0,), high=(1.0,))


class Pixels(nn.Module):
    """The ideal denoiser of independent pixels with given probabilities of a few levels."""

    def __init__(self, path, levels, shares):
        super().__init__()
        self.path = path
        self.space = PICTURES
        values = doubles(*levels).reshape(1, -1, 1, 1) / 255
        self.values = PICTURES.to_model(values).flatten()
        self.shares = doubles(*shares)

    def predict(self, kind, x_t, t, condition=None):
        from pushforward.paths import convert

        state = x_t.double()
        k = self.path.at(t.double()).over(x_t)
        gaps = state[..., None] - k.alpha[..., None] * self.values
        likelihood = -((gaps / k.sigma[..., None]) ** 2) / 2
        share = torch.softmax(self.shares.log() + likelihood, -1)
        mean = (share * self.values).sum(-1)
        return convert("data", kind, mean, state, k).to(x_t)

    def calls(self, t=0.5):
        return 1


def test_the_bound_of_an_ideal_model_is_the_entropy():
    """Independent pixels: with the ideal denoiser the mean bound is the entropy of the levels, in
    nats.
    """
    levels = [0, 3, 200, 255]
    shares = [0.5, 0.2, 0.2, 0.1]
    rows = 400
    random = np.random.default_rng(0)
    pixels = random.choice(levels, size=(rows, 1, 2, 3), p=shares)
    x = torch.from_numpy(pixels / 255).float()
    denoiser = Pixels(Linear(), levels, shares)
    flow = Flow(denoiser, DPM(), 5)
    bound = -elbo(flow, x, times=64)
    found = np.searchsorted(levels, pixels)
    truth = -6 * np.log(shares)[found].mean()
    error = float(bound.std()) / math.sqrt(rows)
    assert float(bound.mean()) == pytest.approx(truth, abs=4 * error + 0.02)
    some = elbo(flow, x[5:9], times=3, seed=5)
    more = elbo(flow, x[:9], times=3)
    torch.testing.assert_close(some, more[5:])


def of_one_image(path, times):
    """The bound of five copies of the only image there is, whose pixels are 100 / 255."""
    denoiser = Pixels(path, [100], [1.0])
    x = torch.full((5, 1, 2, 3), 100 / 255)
    return elbo(Flow(denoiser, DPM(), 5), x, times=times)


U = (100 / 255 - 0.4) / 0.2
"""Its pixels in model units."""
DIVERGENCE = 6 * (0.3 / 0.7) ** 2 * U**2 / 2
"""Of x_t from noise, at the end of a path narrowed to .7."""


def test_the_bound_counts_what_the_last_level_knows_of_the_data():
    """Of data that is one image nothing else is left: -log p is the KL of x_t and noise, SNR u^2 /
    2, at the path's end.
    """
    path = Narrowed(Linear(), 1e-3, 0.7)
    bound = of_one_image(path, times=4)
    np.testing.assert_allclose(bound, -DIVERGENCE, rtol=1e-3, atol=1e-9)


def test_the_decoder_of_the_bound_shares_1_among_all_levels():
    """Of data that is one image, whose first state has noise of many levels: beside the KL, the
    share of the true level.
    """
    path = Narrowed(Linear(), 0.2, 0.7)
    bound = of_one_image(path, times=2)
    width = 0.25 * 0.2 * 255
    gaps = (np.arange(256) - 100) / width
    shares = np.exp(-(gaps**2) / 2)
    true_level = math.log(shares[100] / shares.sum())
    np.testing.assert_allclose(bound, 6 * true_level - DIVERGENCE, rtol=1e-3)


def test_bits_of_levels_from_a_density():
    """A density that is uniform over one level in every number has 0 bits: log p = d log 255."""
    log_density = doubles(6 * math.log(255))
    bits = bits_per_dim(log_density, PICTURES)
    assert bits.item() == pytest.approx(0, abs=1e-6)
    vectors = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)
    log_density = doubles(-3 * math.log(2))
    bits = bits_per_dim(log_density, vectors)
    assert bits.item() == pytest.approx(1)


def test_dequantised_values_are_uniform_in_their_level_and_by_row():
    x = torch.full((500, 1, 2, 3), 100 / 255)
    moved = (dequantise(x) - x) * 255
    assert moved.min() > -0.5
    assert moved.max() < 0.5
    error = 1 / math.sqrt(12 * 3000)
    assert float(moved.mean()) == pytest.approx(0, abs=4 * error)
    assert float(moved.var()) == pytest.approx(1 / 12, rel=0.1)
    some = dequantise(x[:3], seed=4)
    more = dequantise(x[:5], seed=2)
    torch.testing.assert_close(some, more[2:])


@pytest.mark.parametrize(
    ("middle", "width"),
    read_cases(
        """
        0.2   | 0.05
        7.4   | 0.4
        7.5   | 1.1
        254.9 | 0.6
        -2.0  | 0.8
        300.0 | 0.3
        99.3  | 1.19
        """
    ),
)
def test_a_rounded_gaussian_has_the_mean_of_its_levels(middle, width):
    low = torch.tensor(-0.4, dtype=torch.float64)
    gap = torch.tensor(0.0127, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64)
    gaps = (levels - middle) / width
    share = torch.softmax(-(gaps**2) / 2, 0)
    wanted = (share * levels).sum()
    centre = low + gap * middle
    mean = level_mean(centre, gap * width, low, gap)
    assert_near((mean - low) / gap, wanted, 1e-3)
    widths = gap * doubles(width, 9)
    beside = level_mean(centre.expand(2), widths, low, gap)
    assert_near(beside[0], mean, 1e-12)  # also beside one that spans many levels


class Prior(nn.Module):
    """A network that gives every pixel the same prior, of these eight numbers."""

    def __init__(self, *numbers):
        super().__init__()
        self.numbers = doubles(*numbers).reshape(1, 8, 1, 1)

    def forward(self, x, t, condition=None):
        n, _, h, w = x.shape
        return self.numbers.expand(n, 8, h, w)


@pytest.mark.parametrize("ratio", [0.003, 0.008, 0.016, 0.05, 0.8])
def test_the_posterior_of_levels_is_bayes_rule(ratio):
    """Against a sum over all 256 levels, with the inner network's prior fixed."""
    low, high = map(float, PICTURES.bounds)
    gap = (high - low) / 255
    levels = low + gap * torch.arange(256, dtype=torch.float64)
    prior = torch.full_like(levels, math.exp(-5) / 256)
    prior[0] += math.exp(0.5 - 2)
    prior[-1] += math.exp(-1.0 - 2)
    for mean, std, favour in ((0.3, 0.2, 0.2), (-1.1, 0.03, -0.7)):
        normal = torch.distributions.Normal(mean, std + gap / 4)
        prior += gap * torch.exp(favour + normal.log_prob(levels))
    torch.manual_seed(0)
    edge = low + 0.5 * ratio * torch.randn(3).double()
    inside = doubles(-1.08, 0.11, 0.33)
    seen = torch.stack([edge, inside])
    likelihood = -(((seen[..., None] - levels) / ratio) ** 2) / 2
    share = torch.softmax(prior.log() + likelihood, -1)
    expected = (share * levels).sum(-1)
    inner = Prior(0.3, -1.1 - high, math.log(0.2), math.log(0.03) + 2, 0.2, -0.7, 0.5, -1.0)
    network = LevelPosterior(inner, PICTURES).double()
    x = seen[None, None] / math.hypot(1, ratio)
    t = doubles(math.log(ratio) / 4)
    posterior_mean = network(x, t)[0, 0]
    assert_near(posterior_mean, expected, 0.06 * gap + 0.01 * ratio)


def test_a_run_is_evaluated_in_bits_per_dimension(tmp_path, monkeypatch, capsys):
    """By name, alone or beside other metrics; a rows' mean with its standard error; not for
    one-call models.
    """
    import json

    import pushforward as pf
    from pushforward.cli import main

    monkeypatch.chdir(tmp_path)
    data = pf.data.load("digits")
    run = pf.fit("vdm", data, size="tiny", steps=25, out="vdm")
    pf.fit("gan", data, size="tiny", steps=2, out="gan")
    command = "evaluate vdm --metrics bpd --n 100 --json"
    assert main(command.split()) == 0
    content = json.loads(capsys.readouterr().out)
    row = content["models"][0]["scores"]["bpd"]
    spread = decoder_spread(run.transport, *labelled(data.train, 64))
    x, condition = labelled(data.held_out, 100)
    bound = elbo(run.transport, x, condition, times=16, spread=spread)
    bits = -bound / (64 * math.log(2))
    assert row["n"] == len(x)
    assert row["value"] == pytest.approx(float(bits.mean()), rel=0, abs=1e-4)
    error = float(bits.std()) / math.sqrt(len(x))
    assert row["spread"] == pytest.approx(error, rel=1e-3)
    # digits hold 17 levels of 256: log2(17) = 4.1 bits at most for a model that knows them, 8 for
    # none
    assert 1 < row["value"] < 6
    command = "evaluate gan --metrics bpd"
    assert main(command.split()) == 2
    assert re.match(r"error: bpd does not support \w+", capsys.readouterr().err)


def labelled(split, n):
    """The first examples, with their labels as the condition."""
    labels = torch.from_numpy(split.labels[:n])
    return split.data_units(slice(n)), {"label": labels}


def test_vectors_are_evaluated_by_their_density():
    import pushforward as pf
    from pushforward.evaluation.model_metrics import bits

    data = pf.data.load("8gaussians", limit=500)
    scale = float(data.space.std[0])
    centres = data.truth.centres / scale
    denoiser = Mixture(Linear(), centres.tolist(), 1 / scale)
    denoiser.space = dataclasses.replace(data.space, mean=(0.0, 0.0), std=(scale, scale))
    data = dataclasses.replace(data, space=denoiser.space)
    flow = Flow(denoiser, Heun(), 5)
    score = bits(flow, data, 200)
    x = data.held_out.data_units(slice(200)) / scale
    log_density = density(denoiser, x.numpy()).mean() - 2 * math.log(scale)
    truth = -float(log_density) / (2 * math.log(2))
    assert score.value == pytest.approx(truth, abs=2e-3)
