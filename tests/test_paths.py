"""Paths, predictions and preconditioned denoisers."""

import itertools
import math

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


every_path = pytest.mark.parametrize("path", EVERY_PATH.values(), ids=EVERY_PATH)
every_pair = pytest.mark.parametrize(("kind", "to"), list(itertools.product(ROWS, ROWS)))
SPACE = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)


def test_every_path_of_the_package_is_tested():
    tested = {type(path).__name__ for path in EVERY_PATH.values()}
    assert tested == set(concrete(PARTS, Path))


class Noised:
    """Data, noise, coefficients and x_t (n, 3) on a path, at log-SNR within [-8, 8]."""

    def __init__(self, path, n=33):
        high, low = path.log_snr_ends()
        log_snr = torch.linspace(max(-8, low), min(8, high), n, dtype=torch.float64)
        self.t = path.time(log_snr)
        self.x, self.z = torch.randn(2, n, 3, dtype=torch.float64)
        self.k = path.at(self.t).over(self.x)
        self.x_t = self.k.alpha * self.x + self.k.sigma * self.z

    def target(self, kind):
        return target(kind, self.x, self.z, self.k)


def assert_near(actual, wanted, relative, absolute=0.0):
    """Compare in the norm of all numbers."""
    error = (actual - wanted).norm()
    assert error <= relative * wanted.norm() + absolute


@every_path
def test_a_path_obeys_the_laws(path):
    check_path(path)


def test_a_table_keeps_the_schedule_at_its_levels():
    betas = linear_betas(1000)
    kept = 1 - torch.tensor(betas, dtype=torch.float64)
    alpha_bar = kept.cumprod(0)
    path = Tabulated(betas)
    assert path.ends == (1 / 1000, 1.0)
    levels = torch.arange(1, 1001, dtype=torch.float64)
    k = path.at(levels / 1000)
    assert_close(k.alpha**2, alpha_bar, rtol=1e-10, atol=0)
    assert_close(k.sigma**2, 1 - alpha_bar, rtol=1e-10, atol=0)


def test_known_values():
    half = torch.tensor([0.5], dtype=torch.float64)
    assert Linear().at(half).alpha.item() == 0.5
    assert Cosine().at(half).alpha.item() == pytest.approx(math.sqrt(0.5))
    assert VE().at(half).sigma.item() == 40.0
    # Song et al. (2021): the VP path with betas .1 and 20 ends at exp(-10.05) of the signal's power
    end = VP().at(2 * half)
    power = end.alpha.item() ** 2
    assert power == pytest.approx(4.3185e-05, rel=1e-3)


@every_path
@every_pair
def test_every_conversion_on_every_path(path, kind, to):
    at = Noised(path)
    converted = convert(kind, to, at.target(kind), at.x_t, at.k)
    assert_near(converted, at.target(to), 1e-10)


@every_path
@pytest.mark.parametrize("kind", ROWS)
def test_solve_returns_data_and_noise(path, kind):
    at = Noised(path)
    x, z = solve(kind, at.target(kind), at.x_t, at.k)
    of_signal = 1 + 1 / at.k.alpha.min()
    of_noise = 1 + 1 / at.k.sigma.min()
    assert_near(x, at.x, 1e-10 * of_signal)
    assert_near(z, at.z, 1e-10 * of_noise)


@every_path
@every_pair
def test_gain_is_how_an_error_grows(path, kind, to):
    at = Noised(path)
    y = at.target(kind)
    fault = torch.randn(len(y), 3, dtype=torch.float64)
    exact = convert(kind, to, y, at.x_t, at.k)
    wrong = convert(kind, to, y + fault, at.x_t, at.k)
    wanted = gain(kind, to, at.k) * fault
    size = y.norm() + at.x_t.norm()
    assert_near(wrong - exact, wanted, 1e-9, 1e-12 * size)


def test_velocity_is_the_derivative_of_the_path():
    path = Cosine()
    t = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)
    x, z = torch.randn(2, 7, 2, dtype=torch.float64)

    def at(t):
        k = path.at(t).over(x)
        return k.alpha * x + k.sigma * z

    _, slope = torch.func.jvp(at, (t,), (torch.ones_like(t),))
    velocity = target("velocity", x, z, path.at(t).over(x))
    assert_close(velocity, slope)


def test_the_score_is_the_gradient_of_the_log_density_of_noisy_data():
    at = Noised(Cosine())
    at.x_t.requires_grad_()
    noisy = torch.distributions.Normal(at.k.alpha * at.x, at.k.sigma)
    density = noisy.log_prob(at.x_t)
    (slope,) = torch.autograd.grad(density.sum(), at.x_t)
    assert_close(at.target("score"), slope)


class Seen(torch.nn.Module):
    """A network that keeps what it receives."""

    def forward(self, x, t, condition=None):
        self.x = x
        self.t = t
        return x


V = Preconditioning(output="v")


class Wave(nn.Module):
    """A smooth network of x and t."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64))

    def forward(self, x, t, condition=None):
        return torch.sin(self.scale * x + t[:, None])


@every_path
@every_pair
def test_the_network_puts_out_v_whatever_is_predicted(path, kind, to):
    at = Noised(path)
    network = Wave()
    plain = Denoiser(network, path, "v", SPACE)
    preconditioned = Denoiser(network, path, kind, SPACE, preconditioning=V)
    wanted = plain.predict(to, at.x_t, at.t)
    actual = preconditioned.predict(to, at.x_t, at.t)
    assert_near(actual, wanted, 1e-10)
    predicted = preconditioned.predict(kind, at.x_t, at.t)
    assert_close(preconditioned(at.x_t, at.t), predicted, rtol=1e-11, atol=1e-11)


def test_a_preconditioned_noise_prediction_is_a_gain_of_x_t_and_a_scaled_network():
    """noise = sigma x_t + alpha network(x_t, t) on a path that preserves variance."""
    path = VP()
    at = Noised(path)
    network = Wave()
    wanted = at.k.sigma * at.x_t + at.k.alpha * network(at.x_t, at.t)
    denoiser = Denoiser(network, path, "noise", SPACE, preconditioning=V)
    assert_close(denoiser(at.x_t, at.t), wanted)


@pytest.mark.parametrize("preconditioned", [True, False])
def test_ddpm_minimises_the_squared_error_of_the_noise(preconditioned):
    """Ho et al. (2020), eq. 14, at integer times of the linear betas, each counting the same."""
    network = Wave().float()
    method = pf.recipes.ddpm(SPACE, network=network, preconditioned=preconditioned).method
    assert method.denoiser.prediction == "noise"
    x = torch.randn(64, 3)
    now = StepContext(BlockDraws(0, 0, 64), 0, 0.0)
    ((player, loss),) = method.losses(Batch(x), now)
    assert player == "denoiser"
    draws = BlockDraws(0, 0, 64)
    x, z = method.couple(x, None, draws)
    t = method.times(draws, method.denoiser.path)
    level = (1000 * t).round().long()
    assert_close(1000 * t, level.float())
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha_bar = (1 - betas).cumprod(0)[level - 1, None]
    alpha = alpha_bar.sqrt().float()
    sigma = (1 - alpha_bar).sqrt().float()
    x_t = alpha * x + sigma * z
    noise = network(x_t, t)
    if preconditioned:
        noise = sigma * x_t + alpha * noise
    expected = (noise - z).square().mean()
    assert_close(loss, expected, rtol=1e-4, atol=1e-5)


TABLE = TableSpace.of([Category("c", ("a", "b"), (0.5, 0.5))])


@pytest.mark.parametrize("space", [SPACE, TABLE], ids=["vectors", "table"])
@pytest.mark.parametrize("levels", [10, 1000])
def test_ddpm_trains_on_every_level_of_its_table_equally(space, levels):
    method = pf.recipes.ddpm(space, network=Wave(), levels=levels).method
    path = method.denoiser.path
    assert path.levels == levels
    numbers = torch.arange(levels)
    middles = (numbers + 0.5) / levels
    t = method.times.times.quantile(middles, path)
    assert_close(t, (numbers + 1) / levels)


def test_edm_preconditioning_is_minus_v():
    """Karras et al. (2022), eq. 7: D = c_skip x + c_out F; with unit data, F = -v."""
    at = Noised(VE())
    sigma = at.k.sigma
    c_skip = 1 / (1 + sigma**2)
    c_out = sigma / torch.sqrt(1 + sigma**2)
    raw = torch.randn_like(at.x)
    denoised = convert("v", "data", -raw, at.x_t, at.k)
    assert_close(denoised, c_skip * at.x_t + c_out * raw)


def seen_by_network(at, path, preconditioning):
    """What the network of a denoiser receives."""
    network = Seen()
    denoiser = Denoiser(network, path, "data", SPACE, preconditioning=preconditioning)
    denoiser(at.x_t, at.t)
    return network.x.to(at.x), network.t.to(at.x)


@every_path
@pytest.mark.parametrize("clock", ["t", "log_snr"])
def test_a_network_sees_unit_variance_where_it_is_scaled(path, clock):
    at = Noised(path)
    x, _ = seen_by_network(at, path, Preconditioning(True, clock))
    scale = torch.hypot(at.k.alpha, at.k.sigma)
    assert_close(x, at.x_t / scale, rtol=1e-6, atol=1e-8)
    x, _ = seen_by_network(at, path, Preconditioning(False, clock))
    assert_close(x, at.x_t, rtol=1e-6, atol=1e-8)


@every_path
@pytest.mark.parametrize("scaled", [True, False])
def test_a_network_sees_its_clock(path, scaled):
    at = Noised(path)
    _, t = seen_by_network(at, path, Preconditioning(scaled, "t"))
    assert_close(t, at.t, rtol=1e-5, atol=1e-6)
    _, t = seen_by_network(at, path, Preconditioning(scaled, "log_snr"))
    log_noise = torch.log(at.k.sigma / at.k.alpha)[:, 0]
    assert_close(t, log_noise / 4, rtol=1e-5, atol=1e-6)
