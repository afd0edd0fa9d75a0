"""Preconditioned denoisers: what the network puts out, what is read from it, and what the recipes get from it."""

import itertools

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.data import Batch, VectorSpace
from pushforward.denoisers import Preconditioning
from pushforward.draws import BlockDraws
from pushforward.methods import Now
from pushforward.paths import ROWS
from pushforward.testing import EVERY_PATH, pairs

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
    t, network = times(path, k), Wave()
    plain = pf.Denoiser(network, path, "v", SPACE)
    preconditioned = pf.Denoiser(network, path, kind, SPACE, preconditioning=V)
    wanted = plain.predict(to, x_t, t)
    assert (preconditioned.predict(to, x_t, t) - wanted).norm() <= 1e-10 * wanted.norm()
    torch.testing.assert_close(preconditioned(x_t, t), preconditioned.predict(kind, x_t, t), rtol=1e-11, atol=1e-11)
    for mine, theirs in zip(preconditioned.pair(x_t, t), plain.pair(x_t, t), strict=True):
        assert torch.equal(mine, theirs)


def test_a_preconditioned_noise_prediction_is_a_gain_of_x_t_and_a_scaled_network():
    """noise = sigma x_t + alpha network(x_t, t) on a path that preserves variance."""
    path = pf.VP()
    _, _, k, x_t = pairs(path)
    t, network = times(path, k), Wave()
    wanted = k.sigma * x_t + k.alpha * network(x_t, t)
    torch.testing.assert_close(pf.Denoiser(network, path, "noise", SPACE, preconditioning=V)(x_t, t), wanted)


@pytest.mark.parametrize("preconditioned", [True, False])
def test_ddpm_minimises_the_squared_error_of_the_noise(preconditioned):
    """Ho et al. (2020), eq. 14, at integer times of the linear betas, each counting the same."""
    space = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)
    network = Wave().float()
    method = pf.recipes.ddpm(space, network=network, preconditioned=preconditioned).method
    x = torch.randn(64, 3)
    now = Now(BlockDraws(0, 0, 64), 0, 0.0)
    ((player, loss),) = method.losses(Batch(x), now)
    again = Now(BlockDraws(0, 0, 64), 0, 0.0)
    x, z = method.couple(x, None, again.draws)
    t = method.times(again.draws, method.denoiser.path)
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    level = (1000 * t).round().long() - 1
    torch.testing.assert_close(1000 * t, (level + 1).float())
    alpha, sigma = alpha_bar[level, None].sqrt().float(), (1 - alpha_bar[level, None]).sqrt().float()
    x_t = alpha * x + sigma * z
    raw = network(x_t, t)
    noise = sigma * x_t + alpha * raw if preconditioned else raw
    assert player == "denoiser"
    torch.testing.assert_close(loss, (noise - z).square().mean(), rtol=1e-4, atol=1e-5)
    assert method.denoiser.prediction == "noise"


@pytest.mark.parametrize("levels", [10, 1000])
def test_ddpm_trains_on_every_level_of_its_table_equally(levels):
    method = pf.recipes.ddpm(SPACE, network=Wave(), levels=levels).method
    t = method.times.times.quantile((torch.arange(levels) + 0.5) / levels, method.denoiser.path)
    torch.testing.assert_close(t, (torch.arange(levels) + 1) / levels)
    assert method.denoiser.path.levels == levels
