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
    kinds = set()
    for name in RECIPES:
        data = space_data(shape_for(name), labels=False)
        kinds.add(type(recipe_for(name, data).method))
    others = {LatentMethod, TableDenoising, TableDistillation}
    methods = set(concrete(PARTS, Method).values())
    assert kinds == methods - others, "one takes latents, the others tables"


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
    space = space_of(shape)
    flow = pf.recipes.flow(space).method
    assert type(flow.denoiser.network).__name__ == denoiser
    gan = pf.recipes.gan(space).method
    assert type(gan.generator).__name__ == generator


def space_of(shape):
    """A space with the statistics of standard noise."""
    kind = ImageSpace
    if len(shape) == 1:
        kind = VectorSpace
    channels = shape[0]
    return kind(shape=shape, mean=(0.0,) * channels, std=(1.0,) * channels)


@pytest.mark.parametrize(
    ("shape", "network", "interval"),
    [
        ((1, 28, 28), "auto", 4),
        ((1, 28, 28), "dcgan", 4),
        ((1, 28, 28), "residual", 1),
        ((1, 28, 28), "mlp", 1),
        ((1, 8, 8), "auto", 1),
        ((1,), "auto", 1),
    ],
)
def test_lazy_penalties_come_with_dcgan_alone(shape, network, interval):
    method = pf.recipes.gan(space_of(shape), "tiny", network=network).method
    assert method.penalties.interval == interval


def test_lazy_penalties_change_the_optimiser_of_the_critic():
    space = space_of((1, 28, 28))
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
    times = pf.recipes.edm(space_of((1, 28, 28)), "tiny").method.times
    t = times.quantile(torch.tensor([0.5, 0.999]), path)
    half, nearly_all = torch.exp(-path.log_snr(t) / 2)
    assert half > 1
    assert nearly_all > sigma_max(784) / 2
