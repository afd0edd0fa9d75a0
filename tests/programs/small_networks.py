"""Small networks of every kind, for spaces of all kinds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from programs.cases import class_labels
from torch import nn

from pushforward.networks import (
    MLP,
    Compressor,
    Critic,
    DCGANCritic,
    DCGANGenerator,
    Decoder,
    DiT,
    Encoder,
    Expander,
    Generator,
    PatchCritic,
    Perceptron,
    TextbookCritic,
    TextbookGenerator,
    UNet,
)
from pushforward.networks.autoencoder import map_shape

VECTORS = [(2,), (17,)]
IMAGES = [(1, 8, 8), (3, 13, 21), (4, 32, 32), (2, 5, 3), (1, 1, 2)]
LATENT = 6
CLASSES = 3

Build = Callable[..., nn.Module]


def stem(shape):
    """The factor by which the first layer shrinks an image."""
    return 2 if shape[1] > 12 else 1


def mlp(shape, classes=0, times=1, **options):
    size = shape[0]
    options |= {"width": 12, "depth": 2, "times": times}
    return MLP(size, size, conditions=class_labels(classes), **options)


def unet(shape, classes=0, times=1, **options):
    options |= {"widths": (8, 16), "blocks": 1, "heads": 2, "stem": stem(shape), "times": times}
    return UNet(shape, conditions=class_labels(classes), **options)


def dit(shape, classes=0, times=1, **options):
    options |= {"patch": 2 * stem(shape), "width": 16, "depth": 2, "heads": 2, "times": times}
    return DiT(shape, conditions=class_labels(classes), **options)


def generator(shape, classes=0):
    conditions = class_labels(classes)
    return Generator(
        shape, latent=LATENT, width=8, blocks=1, conditions=conditions, stem=stem(shape)
    )


def critic(shape, classes=0):
    return Critic(shape, width=8, blocks=1, conditions=class_labels(classes), stem=stem(shape))


def encoder(shape, classes=0):
    conditions = class_labels(classes)
    return Encoder(shape, latent=LATENT, width=8, conditions=conditions, stem=stem(shape))


def decoder(shape, classes=0):
    conditions = class_labels(classes)
    return Decoder(shape, latent=LATENT, width=8, conditions=conditions, stem=stem(shape))


def textbook_generator(shape, classes=0):
    return TextbookGenerator(shape, latent=LATENT, width=8, conditions=class_labels(classes))


def textbook_critic(shape, classes=0):
    return TextbookCritic(shape, width=8, conditions=class_labels(classes))


def dcgan_generator(shape, classes=0):
    return DCGANGenerator(shape, latent=LATENT, width=8, conditions=class_labels(classes)).eval()


def dcgan_critic(shape, classes=0):
    return DCGANCritic(shape, width=8, conditions=class_labels(classes)).eval()


def compressor(shape, classes=0):
    return Compressor(shape, outputs=4, factor=2, width=8, conditions=class_labels(classes))


def expander(shape, classes=0):
    return Expander(shape, inputs=3, factor=2, width=8, conditions=class_labels(classes))


def patch(shape, classes=0):
    return PatchCritic(shape, width=8).eval()


def perceptron(shape, classes=0):
    return Perceptron(shape[0], shape[0], width=12, conditions=class_labels(classes))


DENOISERS: dict[Build, list] = {mlp: VECTORS, unet: IMAGES, dit: IMAGES}
PLAIN = {textbook_generator: VECTORS + IMAGES[:2], textbook_critic: VECTORS + IMAGES[:2]}
TIMELESS: dict[Build, list] = {generator: IMAGES, critic: IMAGES, encoder: IMAGES, decoder: IMAGES}
TIMELESS |= {
    dcgan_generator: IMAGES,
    dcgan_critic: IMAGES,
    compressor: IMAGES,
    expander: IMAGES,
    patch: IMAGES,
    **PLAIN,
}
ON_VECTORS = (mlp, perceptron)
FROM_NOISE = (generator, decoder, textbook_generator, dcgan_generator)
CRITICS = (critic, textbook_critic, dcgan_critic)


def class_counts(build):
    if build is patch:
        return (0,)
    return (0, CLASSES)


def _cases():
    """Every network on all of its shapes, without and with classes."""
    for build, shapes in {**DENOISERS, **TIMELESS, perceptron: VECTORS}.items():
        for shape in shapes:
            sides = "x".join(map(str, shape))
            for classes in class_counts(build):
                name = f"{build.__name__}-{sides}-{classes}"
                yield pytest.param(build, shape, classes, id=name)


def _small_cases():
    """Every network on one shape, without and with classes."""
    for build in (*DENOISERS, *TIMELESS, perceptron):
        shape = (5,) if build in ON_VECTORS else (3, 6, 5)
        for classes in class_counts(build):
            yield pytest.param(build, shape, classes, id=f"{build.__name__}-{classes}")


CASES = list(_cases())
SMALL = list(_small_cases())


def awaken(network: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move every parameter off its start, so that nothing is hidden behind a zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def arguments(build: Build, shape: tuple[int, ...], classes: int, n: int, dtype=torch.float64):
    """Input, time and condition for a network that ``build`` makes."""
    inputs = shape
    if build in FROM_NOISE:
        inputs = (LATENT,)
    elif build is expander:
        inputs = map_shape(shape, 3, 2)
    x = torch.randn(n, *inputs, dtype=dtype)
    t = torch.rand(n, dtype=dtype) if build in DENOISERS else None
    condition = {"label": torch.arange(n) % classes} if classes else None
    return x, t, condition


def outputs(build: Build, shape: tuple[int, ...], n: int) -> tuple[int, ...]:
    if build is compressor:
        return (n, *map_shape(shape, 4, 2))
    if build is patch:
        maps = [math.ceil(max(side, 8) / 4) for side in shape[1:]]
        return (n, math.prod(maps))
    if build in CRITICS:
        return (n,)
    if build is encoder:
        return (n, 2 * LATENT)
    return (n, *shape)
