"""Small critics and generators, and what their layers hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.networks import Critic, DCGANCritic, DCGANGenerator, TextbookCritic

CLASSES = 3


def textbook(shape, **options):
    return TextbookCritic(shape, width=9, **options)


def dcgan(shape, **options):
    return DCGANCritic(shape, width=6, **options)


def unnormalised(shape, **options):
    return DCGANCritic(shape, width=6, normalise=False, **options)


def residual(shape, **options):
    return Critic(shape, width=8, blocks=1, **options)


def labels(n: int) -> dict[str, Tensor]:
    return {"label": torch.arange(n) % CLASSES}


def largest(layer: nn.Module) -> float:
    """The largest singular value of a layer's weight as a matrix (outputs, everything else)."""
    weight = layer.weight.detach().double()
    if isinstance(layer, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    return torch.linalg.svdvals(weight.flatten(1))[0].item()


def layers(network: nn.Module) -> list[nn.Module]:
    return [
        m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
    ]


def generator(shape, **options):
    return DCGANGenerator(shape, latent=5, width=6, **options)
