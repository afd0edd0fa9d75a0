"""Recipes: every method has one, and what they choose."""

import pytest
import torch

import pushforward as pf
from pushforward.data import ImageSpace, VectorSpace
from pushforward.methods import LatentMethod, Method
from pushforward.paths import VE
from pushforward.recipes.diffusion import sigma_max
from pushforward.registries import PARTS, RECIPES, concrete
from pushforward.tables.denoiser import TableDenoising, TableDistillation
from pushforward.testing import recipe_for, shape_for, space_data


def test_every_method_has_a_recipe():
    kinds = {
        type(recipe_for(name, space_data(shape_for(name), labels=False)).method) for name in RECIPES
    }
    others = {LatentMethod, TableDenoising, TableDistillation}
    assert kinds == set(concrete(PARTS, Method).values()) - others, (
        "one takes latents, the others tables"
    )


@pytest.mark.parametrize(
    ("shape", "denoiser", "generator"),
    [
        ((5,), "MLP", "SignCodes"),
        ((1, 8, 8), "Reshaped", "Reshaped"),
        ((3, 8, 8), "UNet", "Reshaped"),
        ((1, 28, 28), "UNet", "DCGANGenerator"),
    ],
)
def test_networks_suit_the_size_of_a_row(shape, denoiser, generator):
    space = (VectorSpace if len(shape) == 1 else ImageSpace)(
        shape=shape, mean=(0.0,) * shape[0], std=(1.0,) * shape[0]
    )
    networks = (
        pf.recipes.flow(space).method.denoiser.network,
        pf.recipes.gan(space).method.generator,
    )
    actual = tuple(type(network).__name__ for network in networks)
    assert actual == (denoiser, generator)


def test_lazy_penalties_come_with_dcgan_alone():
    space = ImageSpace(shape=(1, 28, 28), mean=(0.0,), std=(1.0,))
    for name, interval in {"auto": 4, "dcgan": 4, "residual": 1, "mlp": 1}.items():
        actual = pf.recipes.gan(space, "tiny", network=name).method.penalties.interval
        assert actual == interval, name
    flat = (
        kind(shape=shape, mean=(0.0,), std=(1.0,))
        for kind, shape in ((ImageSpace, (1, 8, 8)), (VectorSpace, (1,)))
    )
    assert [pf.recipes.gan(space, "tiny").method.penalties.interval for space in flat] == [1, 1]
    critic = pf.recipes.gan(space, "tiny").training.players["critic"]
    assert critic["lr"] == pytest.approx(0.8e-3)
    assert critic["betas"] == pytest.approx([0.0, 0.99**0.8])


@pytest.mark.parametrize("size", [2, 64, 784, 3072, 12288])
def test_edm_starts_from_noise_that_hides_the_data(size):
    """KL(N(mu, s^2 + sigma^2) || N(0, sigma^2)) <= size / (2 sigma^2) for mu^2 + s^2 = 1; 0.06 nats
    as in the paper.
    """
    sigma = sigma_max(size)
    variance = torch.linspace(0, 1, 5, dtype=torch.float64) / sigma**2
    divergence = size / 2 * (variance - torch.log1p(variance) + (1 / sigma**2 - variance))
    assert divergence.max() <= size / (2 * sigma**2) <= 0.0601
    assert sigma_max(3072) == pytest.approx(2 * 80)


def test_edm_trains_the_noise_that_it_samples():
    """On images, half of the training is beyond sigma 1, and one example in a thousand beyond half
    of sigma_max.
    """
    path = VE(sigma_max=sigma_max(784))
    times = pf.recipes.edm(
        ImageSpace(shape=(1, 28, 28), mean=(0.0,), std=(1.0,)), "tiny"
    ).method.times
    sigma = torch.exp(-path.log_snr(times.quantile(torch.tensor([0.5, 0.999]), path)) / 2)
    assert sigma[0] > 1
    assert sigma[1] > sigma_max(784) / 2
