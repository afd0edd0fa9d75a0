"""Paths, predictions and preconditioned denoisers."""

import itertools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import pushforward as pf
from pushforward.data import Batch, TableSpace, VectorSpace
from pushforward.denoisers import Denoiser, Preconditioning
from pushforward.draws import BlockDraws
from pushforward.methods import StepContext
from pushforward.paths import (
    ROWS,
    VE,
    VP,
    Cosine,
    Linear,
    Narrowed,
    Path,
    Shifted,
    Tabulated,
    convert,
    gain,
    linear_betas,
    solve,
    target,
)
from pushforward.registries import PARTS, concrete
from pushforward.tables import Category
from pushforward.testing import check_path

# At least one path of every class of the package
EVERY_PATH = {
    "linear": Linear(),
    "cosine": Cosine(),
    "vp": VP(),
    "ve": VE(),
    "ddpm": Tabulated(linear_betas()),
    "short-table": Tabulated([0.05, 0.2, 0.4, 0.9]),
    "shifted-cosine": Shifted(Cosine(), 2.0),
    "shifted-vp": Shifted(VP(), 0.3),
    "narrowed": Narrowed(VP(), 0.01, 0.9),
}


def pairs(path, n=33):
    """Draw data, noise, coefficients and x_t (n, 3), at log-SNR within [-8, 8]."""
    high, low = path.log_snr_ends()
    log_snr = torch.linspace(max(-8, low), min(8, high), n, dtype=torch.float64)
    x, z = torch.randn(2, n, 3, dtype=torch.float64)
    k = path.at(path.time(log_snr)).over(x)
    return x, z, k, k.alpha * x + k.sigma * z


def test_every_path_of_the_package_is_tested():
    assert {type(path).__name__ for path in EVERY_PATH.values()} == {*concrete(PARTS, Path)}


@pytest.mark.parametrize("path", EVERY_PATH.values(), ids=EVERY_PATH)
def test_a_path_obeys_the_laws(path):
    check_path(path)


def test_a_table_keeps_the_schedule_at_its_levels():
    betas = linear_betas(1000)
    alpha_bar = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)
    path = Tabulated(betas)
    assert path.ends == (1 / 1000, 1.0)
    k = path.at(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    assert_close(k.alpha**2, alpha_bar, rtol=1e-10, atol=0)
    assert_close(k.sigma**2, 1 - alpha_bar, rtol=1e-10, atol=0)


def test_known_values():
    half = torch.tensor([0.5], dtype=torch.float64)
    assert Linear().at(half).alpha.item() == 0.5
    alpha = Cosine().at(half).alpha.item()
    assert alpha == pytest.approx(2**-0.5)
    assert VE().at(half).sigma.item() == 40.0
    # Song et al. (2021): the VP path with betas .1 and 20 ends at exp(-10.05) of the signal's power
    assert VP().at(half * 2).alpha.item() ** 2 == pytest.approx(4.3185e-05, rel=1e-3)


torch.manual_seed(0)


PATHS = list(EVERY_PATH.values())
IDS = list(EVERY_PATH)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize(("kind", "to"), list(itertools.product(ROWS, ROWS)))
def test_every_conversion_on_every_path(path, kind, to):
    x, z, k, x_t = pairs(path)
    converted = convert(kind, to, target(kind, x, z, k), x_t, k)
    wanted = target(to, x, z, k)
    assert (converted - wanted).norm() <= 1e-10 * wanted.norm()


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("kind", ROWS)
def test_solve_returns_data_and_noise(path, kind):
    x, z, k, x_t = pairs(path)
    found_x, found_z = solve(kind, target(kind, x, z, k), x_t, k)
    assert (found_x - x).norm() <= 1e-10 * x.norm() * (1 + 1 / k.alpha.min())
    assert (found_z - z).norm() <= 1e-10 * z.norm() * (1 + 1 / k.sigma.min())


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize(("kind", "to"), list(itertools.product(ROWS, ROWS)))
def test_gain_is_how_an_error_grows(path, kind, to):
    x, z, k, x_t = pairs(path)
    y = target(kind, x, z, k)
    fault = torch.randn(len(x), 3, dtype=torch.float64)
    grown = convert(kind, to, y + fault, x_t, k) - convert(kind, to, y, x_t, k)
    wanted = gain(kind, to, k) * fault
    assert (grown - wanted).norm() <= 1e-9 * wanted.norm() + 1e-12 * (y.norm() + x_t.norm())


def test_velocity_is_the_derivative_of_the_path():
    path = PATHS[1]
    t = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)
    x, z = torch.randn(2, 7, 2, dtype=torch.float64)

    def at(t):
        k = path.at(t).over(x)
        return k.alpha * x + k.sigma * z

    _, slope = torch.func.jvp(at, (t,), (torch.ones_like(t),))
    actual = target("velocity", x, z, path.at(t).over(x))
    assert_close(actual, slope)


def test_the_score_is_the_gradient_of_the_log_density_of_noisy_data():
    x, z, k, x_t = pairs(PATHS[1])
    x_t.requires_grad_()
    density = torch.distributions.Normal(k.alpha * x, k.sigma).log_prob(x_t)
    (slope,) = torch.autograd.grad(density.sum(), x_t)
    assert_close(target("score", x, z, k), slope)


class Seen(torch.nn.Module):
    """A network that keeps what it receives."""

    def forward(self, x, t, condition=None):
        self.x = x
        self.t = t
        return x


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("clock", ["t", "log_snr"])
@pytest.mark.parametrize("scaled", [True, False])
def test_a_network_sees_unit_variance_and_its_clock(path, clock, scaled):
    x, _, k, x_t = pairs(path)
    t = path.time(2 * (torch.log(k.alpha[:, 0]) - torch.log(k.sigma[:, 0])))
    space = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)
    network = Seen()
    Denoiser(network, path, "data", space, preconditioning=Preconditioning(scaled, clock))(x_t, t)
    wanted = x_t / torch.hypot(k.alpha, k.sigma) if scaled else x_t
    assert torch.allclose(network.x.to(x), wanted, rtol=1e-6)
    clock_value = t if clock == "t" else (torch.log(k.sigma[:, 0]) - torch.log(k.alpha[:, 0])) / 4
    assert torch.allclose(network.t.to(x), clock_value, rtol=1e-5, atol=1e-6)


SPACE = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)
V = Preconditioning(output="v")


class Wave(nn.Module):
    """A smooth network of x and t."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64))

    def forward(self, x, t, condition=None):
        return torch.sin(self.scale * x + t[:, None])


def times(path, k):
    return path.time(2 * (torch.log(k.alpha[:, 0]) - torch.log(k.sigma[:, 0])))


@pytest.mark.parametrize("path", EVERY_PATH.values(), ids=EVERY_PATH)
@pytest.mark.parametrize(("kind", "to"), list(itertools.product(ROWS, ROWS)))
def test_the_network_puts_out_v_whatever_is_predicted(path, kind, to):
    _, _, k, x_t = pairs(path)
    t = times(path, k)
    network = Wave()
    plain = pf.Denoiser(network, path, "v", SPACE)
    preconditioned = pf.Denoiser(network, path, kind, SPACE, preconditioning=V)
    wanted = plain.predict(to, x_t, t)
    norm = (preconditioned.predict(to, x_t, t) - wanted).norm()
    assert norm <= 1e-10 * wanted.norm()
    expected = preconditioned.predict(kind, x_t, t)
    assert_close(preconditioned(x_t, t), expected, rtol=1e-11, atol=1e-11)


def test_a_preconditioned_noise_prediction_is_a_gain_of_x_t_and_a_scaled_network():
    """noise = sigma x_t + alpha network(x_t, t) on a path that preserves variance."""
    path = pf.VP()
    _, _, k, x_t = pairs(path)
    t = times(path, k)
    network = Wave()
    wanted = k.sigma * x_t + k.alpha * network(x_t, t)
    actual = pf.Denoiser(network, path, "noise", SPACE, preconditioning=V)(x_t, t)
    assert_close(actual, wanted)


@pytest.mark.parametrize("preconditioned", [True, False])
def test_ddpm_minimises_the_squared_error_of_the_noise(preconditioned):
    """Ho et al. (2020), eq. 14, at integer times of the linear betas, each counting the same."""
    space = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)
    network = Wave().float()
    method = pf.recipes.ddpm(space, network=network, preconditioned=preconditioned).method
    x = torch.randn(64, 3)
    now = StepContext(BlockDraws(0, 0, 64), 0, 0.0)
    ((player, loss),) = method.losses(Batch(x), now)
    again = StepContext(BlockDraws(0, 0, 64), 0, 0.0)
    x, z = method.couple(x, None, again.draws)
    t = method.times(again.draws, method.denoiser.path)
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    level = (1000 * t).round().long() - 1
    expected = (level + 1).float()
    assert_close(1000 * t, expected)
    alpha = alpha_bar[level, None].sqrt().float()
    sigma = (1 - alpha_bar[level, None]).sqrt().float()
    x_t = alpha * x + sigma * z
    raw = network(x_t, t)
    noise = sigma * x_t + alpha * raw if preconditioned else raw
    assert player == "denoiser"
    expected = (noise - z).square().mean()
    assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert method.denoiser.prediction == "noise"


@pytest.mark.parametrize(
    "space",
    [SPACE, TableSpace.of([Category("c", ("a", "b"), (0.5, 0.5))])],
    ids=["vectors", "table"],
)
@pytest.mark.parametrize("levels", [10, 1000])
def test_ddpm_trains_on_every_level_of_its_table_equally(space, levels):
    method = pf.recipes.ddpm(space, network=Wave(), levels=levels).method
    t = method.times.times.quantile((torch.arange(levels) + 0.5) / levels, method.denoiser.path)
    expected = (torch.arange(levels) + 1) / levels
    assert_close(t, expected)
    assert method.denoiser.path.levels == levels


def test_edm_preconditioning_is_minus_v():
    """Karras et al. (2022), eq. 7: D = c_skip x + c_out F; with unit data, F = -v."""
    x, _, k, x_t = pairs(VE())
    c_skip = 1 / (1 + k.sigma**2)
    c_out = k.sigma / torch.sqrt(1 + k.sigma**2)
    raw = torch.randn_like(x)
    actual = convert("v", "data", -raw, x_t, k)
    assert_close(actual, c_skip * x_t + c_out * raw)
