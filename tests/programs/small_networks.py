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


def mlp(shape, classes=0, times=1, **options):
    return MLP(
        shape[0],
        shape[0],
        width=12,
        depth=2,
        conditions=class_labels(classes),
        times=times,
        **options,
    )


def unet(shape, classes=0, times=1, **options):
    stem = 2 if shape[1] > 12 else 1
    return UNet(
        shape,
        widths=(8, 16),
        blocks=1,
        heads=2,
        stem=stem,
        conditions=class_labels(classes),
        times=times,
        **options,
    )


def dit(shape, classes=0, times=1, **options):
    options |= {"patch": 4 if shape[1] > 12 else 2, "width": 16, "depth": 2, "heads": 2}
    return DiT(shape, conditions=class_labels(classes), times=times, **options)


def generator(shape, classes=0):
    return Generator(
        shape,
        latent=LATENT,
        width=8,
        blocks=1,
        conditions=class_labels(classes),
        stem=2 if shape[1] > 12 else 1,
    )


def critic(shape, classes=0):
    return Critic(
        shape, width=8, blocks=1, conditions=class_labels(classes), stem=2 if shape[1] > 12 else 1
    )


def encoder(shape, classes=0):
    return Encoder(
        shape,
        latent=LATENT,
        width=8,
        conditions=class_labels(classes),
        stem=2 if shape[1] > 12 else 1,
    )


def decoder(shape, classes=0):
    return Decoder(
        shape,
        latent=LATENT,
        width=8,
        conditions=class_labels(classes),
        stem=2 if shape[1] > 12 else 1,
    )


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
PLAIN: dict[Build, list] = {
    textbook_generator: VECTORS + IMAGES[:2],
    textbook_critic: VECTORS + IMAGES[:2],
}
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
CASES = [
    pytest.param(
        build, shape, classes, id=f"{build.__name__}-{'x'.join(map(str, shape))}-{classes}"
    )
    for build, shapes in {**DENOISERS, **TIMELESS, perceptron: VECTORS}.items()
    for shape in shapes
    for classes in (0, CLASSES)
    if not (classes and build is patch)
]
SMALL = [
    pytest.param(
        build, (5,) if build in ON_VECTORS else (3, 6, 5), classes, id=f"{build.__name__}-{classes}"
    )
    for build in (*DENOISERS, *TIMELESS, perceptron)
    for classes in (0, CLASSES)
    if not (classes and build is patch)
]


def awaken(network: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move every parameter off its start, so that nothing is hidden behind a zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


def arguments(build: Build, shape: tuple[int, ...], classes: int, n: int, dtype=torch.float64):
    """Input, time and condition for a network that ``build`` makes."""
    if build in FROM_NOISE:
        inputs = (LATENT,)
    else:
        inputs = map_shape(shape, 3, 2) if build is expander else shape
    x = torch.randn(n, *inputs, dtype=dtype)
    t = torch.rand(n, dtype=dtype) if build in DENOISERS else None
    condition = {"label": torch.arange(n) % classes} if classes else None
    return x, t, condition


def outputs(build: Build, shape: tuple[int, ...], n: int) -> tuple[int, ...]:
    if build is compressor:
        return (n, *map_shape(shape, 4, 2))
    if build is patch:
        return (n, math.prod(-(-max(side, 8) // 4) for side in shape[1:]))
    return {**dict.fromkeys(CRITICS, (n,)), encoder: (n, 2 * LATENT)}.get(build, (n, *shape))
