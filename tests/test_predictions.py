import itertools

import pytest
import torch

from pushforward.data import VectorSpace
from pushforward.denoisers import Denoiser, Preconditioning
from pushforward.paths import ROWS, convert, gain, solve, target
from pushforward.testing import EVERY_PATH, pairs

torch.manual_seed(0)


PATHS, IDS = list(EVERY_PATH.values()), list(EVERY_PATH)


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
    y, fault = target(kind, x, z, k), torch.randn(len(x), 3, dtype=torch.float64)
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
    torch.testing.assert_close(target("velocity", x, z, path.at(t).over(x)), slope)


def test_the_score_is_the_gradient_of_the_log_density_of_noisy_data():
    x, z, k, x_t = pairs(PATHS[1])
    x_t.requires_grad_()
    density = torch.distributions.Normal(k.alpha * x, k.sigma).log_prob(x_t)
    (slope,) = torch.autograd.grad(density.sum(), x_t)
    torch.testing.assert_close(target("score", x, z, k), slope)


class Seen(torch.nn.Module):
    """A network that keeps what it receives."""

    def forward(self, x, t, condition=None):
        self.x, self.t = x, t
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
