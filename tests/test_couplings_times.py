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

    def cost(order):
        return float((x - z[list(order)]).square().sum())

    best = min(itertools.permutations(range(6)), key=cost)
    assert assign(x, z).tolist() == list(best)


def same_rows(a, b):
    """Whether two groups hold the same numbers in each column, in any order."""
    return torch.equal(a.sort(0).values, b.sort(0).values)


@pytest.mark.parametrize("n", [64, 150])
def test_transport_permutes_the_noise_within_groups(n):
    x = torch.randn(n, 2)
    couple = OptimalTransport(group=64)
    same, z = couple(x, None, BlockDraws(0, 3, n))
    assert torch.equal(same, x)
    plain = BlockDraws(0, 3, n).stream("coupling").normal((2,))
    for mine, drawn in zip(z.split(64), plain.split(64), strict=True):
        assert same_rows(mine, drawn)
    cost = (x - z).square().sum()
    plain_cost = (x - plain).square().sum()
    assert cost < plain_cost


def test_plans_never_cross_a_class():
    n = 128
    x = torch.randn(n, 2)
    label = torch.arange(n) % 3
    couple = OptimalTransport(group=64)
    _, z = couple(x, {"label": label}, BlockDraws(0, 0, n))
    plain = BlockDraws(0, 0, n).stream("coupling").normal((2,))
    for group in (slice(64), slice(64, 128)):
        for c in range(3):
            members = label[group] == c
            assert same_rows(z[group][members], plain[group][members])


def test_noise_stays_standard_normal_under_transport():
    x = torch.randn(4096, 2) * 3 + 5
    couple = OptimalTransport(256)
    _, z = couple(x, None, BlockDraws(1, 0, 4096))
    assert kstest(z.numpy().ravel(), "norm").pvalue > 1e-3


COUPLINGS = concrete(PARTS, Coupling)


@pytest.mark.parametrize("name", sorted(COUPLINGS.keys() - {"TeacherPairs"}))
def test_every_coupling_leaves_the_data_alone(name):
    x = torch.randn(32, 3, 2)
    couple = COUPLINGS[name]()
    same, z = couple(x, None, BlockDraws(0, 0, 32))
    assert same is x
    assert z.shape == x.shape


def assert_uniform(u):
    assert kstest(torch.as_tensor(u).numpy(), "uniform").pvalue > 1e-3


def drawn(times):
    return times(BlockDraws(0, 0, 4000), Linear()).double()


def test_uniform_times_are_uniform():
    assert_uniform(drawn(Uniform()))


def test_logits_of_logit_normal_times_are_normal():
    logits = torch.logit(drawn(LogitNormal(0.3, 0.8)))
    assert_uniform(norm(0.3, 0.8).cdf(logits))


def test_logarithms_of_log_normal_noise_levels_are_normal():
    t = drawn(LogNormal(-0.4, 1.1))
    log_levels = -Linear().log_snr(t) / 2
    assert_uniform(norm(-0.4, 1.1).cdf(log_levels))


TEN_LEVELS = Tabulated(linear_betas(10, 0.01, 0.5))


def test_uniform_times_lie_between_the_ends_of_the_path():
    t = Uniform()(BlockDraws(0, 0, 4000), TEN_LEVELS).double()
    assert_uniform((t - 0.1) / 0.9)


def test_levels_are_the_integers_of_the_table():
    t = Levels(10)(BlockDraws(0, 0, 5000), TEN_LEVELS)
    values, counts = (t * 10).unique(return_counts=True)
    assert_close(values, torch.arange(1.0, 11))
    assert (counts - 500).abs().max() < 100


def test_strata_hold_one_draw_each():
    times = Stratified(Uniform(), 16)
    places = times.numbers(BlockDraws(0, 0, 48)) * 16
    strata = places.long()
    assert torch.equal(strata, torch.arange(16).repeat(3))
    assert len(places.frac().unique()) > 40, "anywhere in its stratum"


def test_stratified_keeps_the_law():
    times = Stratified(LogitNormal(), 64)
    t = times(BlockDraws(0, 0, 64 * 40), Linear()).double()
    assert_uniform(norm.cdf(torch.logit(t)))


FREE_PATHS = [Linear(), VP(), VE()]


EVERY_TIMES = [Stratified(LogNormal(0, 9.0))]
for name, part in concrete(PARTS, Times).items():
    if name != "Stratified":
        EVERY_TIMES.append(part())
every_times = pytest.mark.parametrize("times", EVERY_TIMES, ids=lambda times: type(times).__name__)


@every_times
@pytest.mark.parametrize("path", [*FREE_PATHS, Tabulated(linear_betas())])
def test_times_stay_inside_the_ends(times, path):
    t = times(BlockDraws(0, 0, 3000), path)
    low, high = path.ends
    assert t.min() >= low * (1 - 1e-6)
    assert t.max() <= high * (1 + 1e-6)


@every_times
def test_times_are_built_from_their_description(times):
    stored = describe(times)
    assert describe(build(stored)) == stored


WEIGHTS = {"noise": Flat("noise"), "snr": SNR(), "min-snr": MinSNR(5), "edm": EDMWeight()}


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("path", FREE_PATHS)
def test_a_weight_values_an_error_the_same_in_every_prediction(weight, path):
    """The weighted squared error of one wrong estimate must not depend on the prediction in which
    it is written.
    """
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    x, z, fault = torch.randn(3, 9, 4, dtype=torch.float64)
    flat = path.at(t)
    k = flat.over(x)
    x_t = k.alpha * x + k.sigma * z

    def weighted(kind):
        wrong = convert("data", kind, x + fault, x_t, k)
        error = wrong - target(kind, x, z, k)
        return weight(kind, flat) * error.square().mean(1)

    wanted = weighted("data")
    for kind in ("noise", "velocity", "v", "score"):
        assert_close(weighted(kind), wanted, rtol=1e-8, atol=1e-10)


def test_published_weights():
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    k = VP().at(t)
    snr = (k.alpha / k.sigma) ** 2
    capped = snr.clamp(max=5)
    ones = torch.ones(7, dtype=torch.float64)
    assert_close(Flat()("v", k), ones)
    assert_close(SNR()("noise", k), ones)
    assert_close(MinSNR(5)("noise", k), capped / snr)
    assert_close(MinSNR(5)("v", k), capped / (snr + 1))
    assert_close(EDMWeight()("v", VE().at(t)), ones)


def test_uniform_log_snr_is_uniform_there():
    path = VP()
    quantiles = torch.linspace(0, 1, 12, dtype=torch.float64)
    t = LogSNR(-5.0, 6.0).quantile(quantiles, path)
    expected = torch.linspace(6, -5, 12, dtype=torch.float64)
    assert_close(path.log_snr(t), expected)
