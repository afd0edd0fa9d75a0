"""Densities and bounds against closed forms."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
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
    return np.log(np.mean(parts, axis=0))


@pytest.mark.parametrize(
    "path", [Linear(), Cosine(), VE(0.002, 200)], ids=["linear", "cosine", "ve"]
)
@pytest.mark.parametrize("centres", [[[0.0, 0.0]], None], ids=["gaussian", "mixture"])
def test_the_density_of_gaussians_and_mixtures_is_exact(path, centres):
    denoiser = ring(path) if centres is None else Mixture(path, centres, 0.6)
    # in model units data has mean 0, which the flow's start N(0, sigma^2) takes for granted
    torch.manual_seed(0)
    x = denoiser.centres[torch.arange(40) % len(denoiser.centres)] + denoiser.std * torch.randn(
        40, 2, dtype=torch.float64
    )
    log_density = log_prob(Flow(denoiser, Heun(), 5), x, steps=60)
    largest = np.abs(log_density.numpy() - density(denoiser, x.numpy())).max()
    assert largest < 1e-3


def test_a_density_is_one_of_data_units():
    """x = mean + std u moves mass without making any: the log-determinant of the space is
    counted.
    """
    denoiser = ring(Linear())
    denoiser.space = VectorSpace(shape=(2,), mean=(3.0, -1.0), std=(2.0, 0.5))
    u = torch.tensor([[0.3, 0.2], [1.9, 0.1]], dtype=torch.float64)
    x = u * torch.tensor([2.0, 0.5]) + torch.tensor([3.0, -1.0])
    log_density = log_prob(Flow(denoiser, Heun(), 5), x, steps=40)
    largest = np.abs(log_density.numpy() - density(denoiser, u.numpy())).max()
    assert largest < 1e-3  # 2 x 0.5 = 1
    denoiser.space = VectorSpace(shape=(2,), mean=(3.0, -1.0), std=(4.0, 0.5))
    wider = log_prob(
        Flow(denoiser, Heun(), 5),
        u * torch.tensor([4.0, 0.5]) + torch.tensor([3.0, -1.0]),
        steps=40,
    )
    largest = (log_density - wider - math.log(2)).abs().max()
    assert largest < 1e-6


def test_a_density_counts_both_ends_of_a_path():
    """Of a Gaussian the ODE stretches states by the ratio of their widths; data is read as x_t /
    alpha at the first time.
    """
    torch.manual_seed(0)
    x = torch.randn(20, 2, dtype=torch.float64)
    log_density = log_prob(
        Flow(Mixture(Narrowed(Linear(), 0.2, 0.7), [[0.0, 0.0]], 0.6), Heun(), 5), x, steps=30
    )
    stretch = 0.8 * math.hypot(0.3 * 0.6, 0.7) / math.hypot(0.8 * 0.6, 0.2)
    wanted = torch.distributions.Normal(0.0, 0.7).log_prob(stretch * x).sum(1) + 2 * math.log(
        stretch
    )
    torch.testing.assert_close(log_density, wanted, rtol=0, atol=1e-3)


def test_probes_estimate_the_trace_without_bias_and_by_row(monkeypatch):
    """Beyond 64 numbers a row the trace is Hutchinson's; on a Gaussian of unequal entries it is
    exact for Rademacher probes.
    """
    denoiser = Mixture(Linear(), [[0.5] * 80], 0.7)
    torch.manual_seed(0)
    x = 0.5 + 0.7 * torch.randn(6, 80, dtype=torch.float64)
    wanted = -((x - 0.5) ** 2).sum(1) / (2 * 0.49) - 80 * math.log(0.7 * math.sqrt(2 * math.pi))
    # a diagonal Jacobian: e' J e = tr J for every e of signs
    largest = (log_prob(Flow(denoiser, Heun(), 5), x, steps=60) - wanted).abs().max()
    assert largest < 0.02
    monkeypatch.setattr("pushforward.transports.likelihood.EXACT", 1)
    mixture = ring(Linear())
    two = mixture.centres[torch.arange(4)] + 0.3
    flow = Flow(mixture, Heun(), 5)
    rows = log_prob(flow, two.repeat(60, 1), steps=20).reshape(
        60, 4
    )  # each row has probes of its own
    mean = rows.mean(0)
    error = rows.std(0) / math.sqrt(60)
    assert error.min() > 0
    assert (np.abs(mean.numpy() - density(mixture, two.numpy())) < 4 * error.numpy() + 2e-3).all()
    actual = log_prob(flow, two, steps=5, seed=7)[2:]
    expected = log_prob(flow, two[2:], steps=5, seed=9)
    torch.testing.assert_close(actual, expected)


PICTURES = ImageSpace(shape=(1, 2, 3), mean=(0.4,), std=(0.2,), low=(0.0,), high=(1.0,))


class Pixels(nn.Module):
    """The ideal denoiser of independent pixels with given probabilities of a few levels."""

    def __init__(self, path, levels, shares):
        super().__init__()
        self.path = path
        self.space = PICTURES
        self.values = PICTURES.to_model(
            torch.tensor(levels, dtype=torch.float64).reshape(1, -1, 1, 1) / 255
        ).flatten()
        self.shares = torch.tensor(shares, dtype=torch.float64)

    def predict(self, kind, x_t, t, condition=None):
        from pushforward.paths import convert

        k = self.path.at(t.double()).over(x_t)
        gaps = x_t.double()[..., None] - k.alpha[..., None] * self.values
        share = torch.softmax(self.shares.log() - (gaps / k.sigma[..., None]) ** 2 / 2, -1)
        return convert("data", kind, (share * self.values).sum(-1), x_t.double(), k).to(x_t)

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
    x = torch.from_numpy(random.choice(levels, size=(rows, 1, 2, 3), p=shares) / 255).float()
    flow = Flow(Pixels(Linear(), levels, shares), DPM(), 5)
    bound = -elbo(flow, x, times=64)
    truth = (
        -sum(
            float((x * 255).round().eq(level).double().mean()) * math.log(p)
            for level, p in zip(levels, shares, strict=True)
        )
        * 6
    )
    difference = abs(float(bound.mean()) - truth)
    expected = 4 * float(bound.std()) / math.sqrt(rows) + 0.02
    assert difference < expected
    actual = elbo(flow, x[5:9], times=3, seed=5)
    expected = elbo(flow, x[:9], times=3)[5:]
    torch.testing.assert_close(actual, expected)


def test_the_bound_counts_what_the_last_level_knows_of_the_data():
    """Of data that is one image nothing else is left: -log p is the KL of x_t and noise, SNR u^2 /
    2, at the path's end.
    """
    path = Narrowed(Linear(), 1e-3, 0.7)
    x = torch.full((5, 1, 2, 3), 100 / 255)
    u = (100 / 255 - 0.4) / 0.2
    bound = elbo(Flow(Pixels(path, [100], [1.0]), DPM(), 5), x, times=4)
    expected = torch.full((5,), -6 * (0.3 / 0.7) ** 2 * u**2 / 2).double()
    torch.testing.assert_close(bound, expected, rtol=1e-3, atol=1e-9)


def test_the_decoder_of_the_bound_shares_1_among_all_levels():
    """Of data that is one image, whose first state has noise of many levels: beside the KL, the
    share of the true level.
    """
    x = torch.full((5, 1, 2, 3), 100 / 255)
    width = 0.25 * 0.2 * 255
    bound = elbo(Flow(Pixels(Narrowed(Linear(), 0.2, 0.7), [100], [1.0]), DPM(), 5), x, times=2)
    shares = torch.exp(-(((torch.arange(256.0) - 100) / width) ** 2) / 2)
    wanted = 6 * (
        math.log(shares[100] / shares.sum()) - ((0.3 / 0.7) * (100 / 255 - 0.4) / 0.2) ** 2 / 2
    )
    expected = torch.full((5,), wanted).double()
    torch.testing.assert_close(bound, expected, rtol=1e-3, atol=0)


def test_bits_of_levels_from_a_density():
    """A density that is uniform over one level in every number has 0 bits: log p = d log 255."""
    actual = bits_per_dim(torch.tensor([6 * math.log(255)]), PICTURES).item()
    assert actual == pytest.approx(0, abs=1e-6)
    vectors = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)
    actual = bits_per_dim(torch.tensor([-3 * math.log(2)]), vectors).item()
    assert actual == pytest.approx(1)


def test_dequantised_values_are_uniform_in_their_level_and_by_row():
    x = torch.full((500, 1, 2, 3), 100 / 255)
    moved = (dequantise(x) - x) * 255
    assert moved.min() > -0.5
    assert moved.max() < 0.5
    mean = abs(float(moved.mean()))
    expected = 4 / math.sqrt(12 * 3000)
    assert mean < expected
    assert float(moved.var()) == pytest.approx(1 / 12, rel=0.1)
    actual = dequantise(x[:3], seed=4)
    expected = dequantise(x[:5], seed=2)[2:]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ("middle", "width"),
    [(0.2, 0.05), (7.4, 0.4), (7.5, 1.1), (254.9, 0.6), (-2.0, 0.8), (300.0, 0.3), (99.3, 1.19)],
)
def test_a_rounded_gaussian_has_the_mean_of_its_levels(middle, width):
    low = torch.tensor(-0.4, dtype=torch.float64)
    gap = torch.tensor(0.0127, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64)
    share = torch.softmax(-(((levels - middle) / width) ** 2) / 2, 0)
    wanted = low + gap * (share * levels).sum()
    mean = level_mean(low + gap * middle, gap * width, low, gap)
    difference = abs(float(mean - wanted))
    assert difference < 1e-3 * float(gap)
    beside = level_mean(
        (low + gap * middle).expand(2), torch.stack([gap * width, gap * 9]), low, gap
    )
    assert beside[0] == mean, "also beside one that spans many levels"


def test_the_posterior_of_levels_is_bayes_rule():
    """Against a sum over all 256 levels, with the inner network's prior fixed."""

    class Prior(nn.Module):
        def forward(self, x, t, condition=None):
            n, _, h, w = x.shape
            given = torch.tensor(
                [0.3, -1.1 - high, math.log(0.2), math.log(0.03) + 2, 0.2, -0.7, 0.5, -1.0],
                dtype=x.dtype,
            )
            return given.reshape(1, 8, 1, 1).expand(n, 8, h, w)

    space = dataclasses.replace(PICTURES)
    low, high = (float(end) for end in space.bounds)
    gap = (high - low) / 255
    levels = low + gap * torch.arange(256, dtype=torch.float64)
    torch.manual_seed(0)
    for ratio in (0.003, 0.008, 0.016, 0.05, 0.8):
        seen = (
            torch.cat([low + 0.5 * ratio * torch.randn(3), torch.tensor([-1.08, 0.11, 0.33])])
            .double()
            .reshape(1, 1, 2, 3)
        )
        x = seen / math.hypot(1, ratio)
        t = torch.full((1,), math.log(ratio) / 4, dtype=torch.float64)
        posterior_mean = LevelPosterior(Prior(), space).double()(x, t)
        prior = torch.zeros_like(levels)
        for mean, std, favour in ((0.3, 0.2, 0.2), (-1.1, 0.03, -0.7)):
            std += gap / 4
            prior += (
                math.exp(favour)
                * torch.exp(-(((levels - mean) / std) ** 2) / 2)
                / std
                * gap
                / math.sqrt(2 * math.pi)
            )
        prior[0] += math.exp(0.5 - 2)
        prior[-1] += math.exp(-1.0 - 2)
        prior += math.exp(-5) / 256
        share = torch.softmax(prior.log() - ((seen[..., None] - levels) / ratio) ** 2 / 2, -1)
        expected = (share * levels).sum(-1)
        torch.testing.assert_close(posterior_mean, expected, rtol=0, atol=0.06 * gap + 0.01 * ratio)


def test_a_run_is_evaluated_in_bits_per_dimension(tmp_path, monkeypatch, capsys):
    """By name, alone or beside other metrics; a rows' mean with its standard error; not for
    one-call models.
    """
    import json

    import pushforward as pf
    from pushforward.cli import main

    data = pf.data.load("digits")
    for name, steps in (("vdm", 25), ("gan", 2)):
        pf.fit(pf.recipes.named(name)(data.space, "tiny"), data, steps=steps, out=tmp_path / name)
    code = main(["evaluate", str(tmp_path / "vdm"), "--metrics", "bpd", "--n", "100", "--json"])
    assert code == 0
    content = json.loads(capsys.readouterr().out)
    row = content["models"][0]["scores"]["bpd"]
    run = pf.load(tmp_path / "vdm")
    x = data.held_out.data_units(slice(100))
    label = torch.from_numpy(data.held_out.labels[:100])
    fitted = data.train.data_units()[:64], {"label": torch.from_numpy(data.train.labels[:64])}
    spread = decoder_spread(run.transport, *fitted)
    again = -elbo(run.transport, x, {"label": label}, times=16, spread=spread) / (64 * math.log(2))
    assert row["n"] == len(x)
    difference = abs(row["value"] - float(again.mean()))
    assert difference < 1e-4
    assert row["spread"] == pytest.approx(float(again.std()) / math.sqrt(len(x)), rel=1e-3)
    # digits hold 17 levels of 256: log2(17) = 4.1 bits at most for a model that knows them, 8 for
    # none
    assert 1 < row["value"] < 6
    code = main(["evaluate", str(tmp_path / "gan"), "--metrics", "bpd"])
    assert code == 2
    assert re.match(r"error: bpd does not support \w+", capsys.readouterr().err)


def test_vectors_are_evaluated_by_their_density():
    import pushforward as pf
    from pushforward.evaluation.model_metrics import bits

    data = pf.data.load("8gaussians", limit=500)
    scale = float(data.space.std[0])
    angles = [2 * math.pi * i / 8 for i in range(8)]
    denoiser = Mixture(
        Linear(), [[5 * math.cos(a) / scale, 5 * math.sin(a) / scale] for a in angles], 1 / scale
    )
    denoiser.space = dataclasses.replace(data.space, mean=(0.0, 0.0), std=(scale, scale))
    score = bits(Flow(denoiser, Heun(), 5), dataclasses.replace(data, space=denoiser.space), 200)
    x = data.held_out.data_units()[:200].double().numpy()
    squares = ((x[:, None] - data.truth.centres) ** 2).sum(2)
    density = np.exp(-squares / 2).mean(1) / (2 * math.pi)  # std 1
    truth = -np.log(density).mean() / (2 * math.log(2))
    assert score.value == pytest.approx(truth, abs=2e-3)
