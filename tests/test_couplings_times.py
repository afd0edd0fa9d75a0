import itertools

import pytest
import torch
from scipy.stats import kstest, norm
from torch.testing import assert_close

from pushforward.draws import BlockDraws
from pushforward.paths import (
    SNR,
    VE,
    VP,
    Coupling,
    EDMWeight,
    Flat,
    Levels,
    Linear,
    LogitNormal,
    LogNormal,
    LogSNR,
    MinSNR,
    OptimalTransport,
    Stratified,
    Tabulated,
    Times,
    Uniform,
    assign,
    convert,
    linear_betas,
    target,
)
from pushforward.registries import PARTS, concrete
from pushforward.spec import build, describe


def test_assignment_is_the_best_of_all_permutations():
    torch.manual_seed(0)
    x = torch.randn(6, 3)
    z = torch.randn(6, 3)
    best = min(
        itertools.permutations(range(6)), key=lambda p: float((x - z[list(p)]).square().sum())
    )
    assert assign(x, z).tolist() == list(best)


@pytest.mark.parametrize("n", [64, 150])
def test_transport_permutes_the_noise_within_groups(n):
    x = torch.randn(n, 2)
    draws = BlockDraws(0, 3, n)
    same, z = OptimalTransport(group=64)(x, None, draws)
    plain = BlockDraws(0, 3, n).stream("coupling").normal((2,))
    assert torch.equal(same, x)
    for mine, all_ in zip(z.split(64), plain.split(64), strict=True):
        actual = mine.sort(0).values
        expected = all_.sort(0).values
        assert torch.equal(actual, expected)
    total = (x - z).square().sum()
    assert total < (x - plain).square().sum()


def test_plans_never_cross_a_class():
    n = 128
    x = torch.randn(n, 2)
    label = torch.arange(n) % 3
    _, z = OptimalTransport(group=64)(x, {"label": label}, BlockDraws(0, 0, n))
    plain = BlockDraws(0, 0, n).stream("coupling").normal((2,))
    for start in (0, 64):
        for c in range(3):
            mine = (torch.arange(n) // 64 * 64 == start) & (label == c)
            actual = z[mine].sort(0).values
            expected = plain[mine].sort(0).values
            assert torch.equal(actual, expected)


def test_noise_stays_standard_normal_under_transport():
    x = torch.randn(4096, 2) * 3 + 5
    z = OptimalTransport(256)(x, None, BlockDraws(1, 0, 4096))[1]
    assert kstest(z.numpy().ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("name", sorted(concrete(PARTS, Coupling).keys() - {"TeacherPairs"}))
def test_every_coupling_leaves_the_data_alone(name):
    x = torch.randn(32, 3, 2)
    same, z = concrete(PARTS, Coupling)[name]()(x, None, BlockDraws(0, 0, 32))
    assert same is x
    assert z.shape == x.shape


LAWS = {
    "uniform": (Uniform(), lambda t: t),
    "logit": (LogitNormal(0.3, 0.8), lambda t: norm(0.3, 0.8).cdf(torch.logit(t))),
    "lognormal": (LogNormal(-0.4, 1.1), lambda t: norm(-0.4, 1.1).cdf(-Linear().log_snr(t) / 2)),
}


@pytest.mark.parametrize(("times", "cdf"), LAWS.values(), ids=LAWS)
def test_times_follow_their_law(times, cdf):
    t = times(BlockDraws(0, 0, 4000), Linear()).double()
    pvalue = kstest(torch.as_tensor(cdf(t)).numpy(), "uniform").pvalue
    assert pvalue > 1e-3


def test_uniform_times_lie_between_the_ends_of_the_path():
    t = Uniform()(BlockDraws(0, 0, 4000), Tabulated(linear_betas(10, 0.01, 0.5))).double()
    pvalue = kstest(((t - 0.1) / 0.9).numpy(), "uniform").pvalue
    assert pvalue > 1e-3


def test_levels_are_the_integers_of_the_table():
    t = Levels(10)(BlockDraws(0, 0, 5000), Tabulated(linear_betas(10, 0.01, 0.5)))
    values, counts = (t * 10).unique(return_counts=True)
    assert_close(values, torch.arange(1.0, 11))
    assert (counts - 500).abs().max() < 100


def test_strata_hold_one_draw_each():
    u = Stratified(Uniform(), 16).numbers(BlockDraws(0, 0, 48))
    actual = (u * 16).floor().long()
    expected = torch.arange(16).repeat(3)
    assert torch.equal(actual, expected)
    count = len((u * 16).frac().unique())
    assert count > 40, "anywhere in its stratum"


def test_stratified_keeps_the_law():
    t = Stratified(LogitNormal(), 64)(BlockDraws(0, 0, 64 * 40), Linear()).double()
    pvalue = kstest(norm.cdf(torch.logit(t).numpy()), "uniform").pvalue
    assert pvalue > 1e-3


@pytest.mark.parametrize("name", concrete(PARTS, Times))
@pytest.mark.parametrize("path", [Linear(), VP(), VE(), Tabulated(linear_betas())])
def test_times_stay_inside_the_ends(name, path):
    part = concrete(PARTS, Times)[name]
    times = part(LogNormal(0, 9.0)) if name == "Stratified" else part()
    t = times(BlockDraws(0, 0, 3000), path)
    assert t.min() >= path.ends[0] * (1 - 1e-6)
    assert t.max() <= path.ends[1] * (1 + 1e-6)
    assert describe(build(describe(times))) == describe(times)


@pytest.mark.parametrize(
    "weight", [Flat(), Flat("noise"), SNR(), MinSNR(5), EDMWeight()], ids=lambda w: str(describe(w))
)
@pytest.mark.parametrize("path", [Linear(), VP(), VE()])
def test_a_weight_values_an_error_the_same_in_every_prediction(weight, path):
    """The weighted squared error of one wrong estimate must not depend on the prediction in which
    it is written.
    """
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    x, z, fault = torch.randn(3, 9, 4, dtype=torch.float64)
    k = path.at(t).over(x)
    flat = path.at(t)
    x_t = k.alpha * x + k.sigma * z
    weighted = {}
    for kind in ("data", "noise", "velocity", "v", "score"):
        wrong = convert("data", kind, x + fault, x_t, k)
        error = (wrong - target(kind, x, z, k)).square().mean(1)
        weighted[kind] = weight(kind, flat) * error
    kinds = ("noise",) if isinstance(weight, Flat) and weight.kind is None else weighted
    if kinds is weighted:
        for kind in kinds:
            assert_close(weighted[kind], weighted["data"], rtol=1e-8, atol=1e-10)


def test_published_weights():
    k = VP().at(torch.linspace(0.05, 0.95, 7, dtype=torch.float64))
    snr = (k.alpha / k.sigma) ** 2
    actual = SNR()("noise", k)
    expected = torch.ones(7, dtype=torch.float64)
    assert_close(actual, expected)
    actual = MinSNR(5)("noise", k)
    expected = snr.clamp(max=5) / snr
    assert_close(actual, expected)
    actual = MinSNR(5)("v", k)
    expected = snr.clamp(max=5) / (snr + 1)
    assert_close(actual, expected)
    actual = EDMWeight()("v", VE().at(torch.linspace(0.01, 1, 7, dtype=torch.float64)))
    expected = torch.ones(7, dtype=torch.float64)
    assert_close(actual, expected)


def test_uniform_log_snr_is_uniform_there():
    path = VP()
    t = LogSNR(-5.0, 6.0).quantile(torch.linspace(0, 1, 12, dtype=torch.float64), path)
    expected = torch.linspace(6, -5, 12, dtype=torch.float64)
    assert_close(path.log_snr(t), expected)
