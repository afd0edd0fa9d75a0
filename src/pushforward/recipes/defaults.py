"""Choose networks and training settings that suit a space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from pushforward import networks
from pushforward.arguments import one_of
from pushforward.data import Space
from pushforward.errors import UsageError
from pushforward.networks import MLP, Reshaped, UNet
from pushforward.recipes.recipe import Training

# MLPs suit images of at most this many numbers: they learn more per second than convolutions
FLAT = 256
# The same for denoisers, whose input is almost the whole image
DENOISED = 128


def flat(space: Space, most: int = FLAT) -> bool:
    """Return whether MLPs suit this space: no images, or images of at most ``most`` numbers."""
    return not space.grid or space.size <= most


def denoising_training(space: Space, network: nn.Module) -> Training:
    """Choose the training settings of a denoiser by its network."""
    training = Training(batch_size(space), precision=precision(space))
    if isinstance(network, UNet):
        return training.changed(lr=3e-3, optimizer="muon")
    if isinstance(network, Reshaped):
        return training.changed(lr=2e-3)
    return training


def batch_size(space: Space) -> int:
    """Choose the batch size, which is smaller for images: their steps are expensive."""
    if flat(space):
        return 128
    return 64


def precision(space: Space) -> str:
    """Choose the precision: casting does not pay in the narrow MLPs of short vectors."""
    if len(space.shape) == 1:
        return "float32"
    return "auto"


def mlp(space: Space, size: str, inputs: int, outputs: Sequence[int], times: int = 0) -> nn.Module:
    """Build an MLP of a size."""
    count = math.prod(outputs)
    conditions = space.conditions
    network = MLP.sized(size, shape=(inputs,), outputs=count, conditions=conditions, times=times)
    return with_shape(network, space, outputs)


def with_shape(network: nn.Module, space: Space, outputs: Sequence[int]) -> nn.Module:
    """Apply a network to examples of any shape, if they are not vectors."""
    if len(space.shape) == 1 and len(outputs) == 1:
        return network
    return Reshaped(network, outputs)


def denoising_network(
    space: Space, size: str, kind: str | nn.Module = "auto", times: int = 1
) -> nn.Module:
    """Build a denoising network: "auto", "mlp", "unet" or "dit", with two times for maps.

    Raises:
        UsageError: If the kind is unknown or does not support this shape.
    """
    if isinstance(kind, nn.Module):
        return kind
    chosen = chosen_network(space, kind, ("mlp",), ("unet", "dit"), DENOISED)
    if chosen == "mlp":
        return mlp(space, size, space.size, space.shape, times)
    network: Any = networks.UNet
    if chosen == "dit":
        network = networks.DiT
    return network.sized(size, shape=space.shape, conditions=space.conditions, times=times)


def chosen_network(
    space: Space, kind: str, plain: Sequence[str], of_images: Sequence[str], most: int = FLAT
) -> str:
    """Return the kind of network; "auto" is the first plain one, or for images the first of images.

    Raises:
        UsageError: If the kind is unknown or does not support this shape.
    """
    one_of("network", kind, ("auto", *plain, *of_images))
    if kind in of_images and not space.grid:
        raise UsageError(
            f'The network "{kind}" needs images. For {space.noun}s of shape {space.shape}, '
            f"use {' or '.join(plain)}, or auto."
        )
    if kind != "auto":
        return kind
    if flat(space, most):
        return plain[0]
    return of_images[0]
