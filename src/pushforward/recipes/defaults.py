"""Choose networks and training settings that suit a space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from pushforward.arguments import one_of
from pushforward.data import Space
from pushforward.errors import UsageError
from pushforward.methods.adversarial import DiffAugment
from pushforward.networks import (
    MLP,
    Critic,
    DCGANCritic,
    DCGANGenerator,
    Decoder,
    DiT,
    Encoder,
    FourierFeatures,
    Generator,
    Packed,
    Perceptron,
    Reshaped,
    SignCodes,
    Spectral,
    TextbookCritic,
    TextbookGenerator,
    UNet,
)
from pushforward.networks.blocks import size_choice
from pushforward.recipes.recipe import Training

# Generators and critics by architecture; an MLP stands beside them
PAIRS: dict[str, tuple[Any, Any]] = {
    "dcgan": (DCGANGenerator, DCGANCritic),
    "residual": (Generator, Critic),
    "textbook": (TextbookGenerator, TextbookCritic),
}
# Width and depth of a game's perceptrons on vectors: a game needs many steps more than wide layers
GAMES = {"tiny": (64, 2), "small": (96, 2), "base": (256, 3)}
# MLPs suit images of at most this many numbers: they learn more per second than convolutions
FLAT = 256
# The same for denoisers, whose input is almost the whole image
DENOISED = 128
# Highest frequency, in radians, of Fourier features along scores of a table
HIGHEST = 30.0


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


def _mlp(space: Space, size: str, inputs: int, outputs: Sequence[int], times: int = 0) -> nn.Module:
    count = math.prod(outputs)
    conditions = space.conditions
    network = MLP.sized(size, shape=(inputs,), outputs=count, conditions=conditions, times=times)
    return _with_shape(network, space, outputs)


def _player(
    space: Space, size: str, inputs: int, outputs: Sequence[int], minibatch_std: int = 0
) -> nn.Module:
    # the gradient norm of a critic is penalised, which costs less for a piecewise linear network
    options: dict[str, Any] = {
        "times": 0,
        "activation": "leaky_relu",
        "conditions": space.conditions,
        "minibatch_std": minibatch_std,
    }
    count = math.prod(outputs)
    width, depth = size_choice(size, GAMES)
    if len(space.shape) == 1 and max((inputs, *outputs)) <= width:
        network = MLP(inputs, count, width=width, depth=depth, **options)
    else:
        network = MLP.sized(size, shape=(inputs,), outputs=count, **options)
    return _with_shape(network, space, outputs)


def _with_shape(network: nn.Module, space: Space, outputs: Sequence[int]) -> nn.Module:
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
    usual = "mlp" if flat(space, DENOISED) else "unet"
    chosen = _chosen(space, kind, usual, ("mlp",), ("unet", "dit"))
    if chosen == "mlp":
        return _mlp(space, size, space.size, space.shape, times=times)
    network = UNet if chosen == "unet" else DiT
    return network.sized(size, shape=space.shape, conditions=space.conditions, times=times)


def _chosen(
    space: Space, kind: str, usual: str, plain: Sequence[str], of_images: Sequence[str]
) -> str:
    one_of("network", kind, ("auto", *plain, *of_images))
    if kind in of_images and not space.grid:
        raise UsageError(
            f'The network "{kind}" needs images. For {space.noun}s of shape {space.shape}, '
            f"use {' or '.join(plain)}, or auto."
        )
    if kind == "auto":
        return usual
    return kind


def generator(
    space: Space, size: str, latent: int, kind: str = "auto", sign_codes: int = 0
) -> nn.Module:
    """Build a generator from noise of length ``latent`` to data, with sign codes (`SignCodes`)."""
    inputs = latent + sign_codes
    chosen = _game(space, kind)
    if chosen == "mlp":
        network = _player(space, size, inputs, space.shape)
    else:
        convolutional, _ = PAIRS[chosen]
        network = convolutional.sized(
            size, shape=space.shape, latent=inputs, conditions=space.conditions
        )
    if sign_codes:
        return SignCodes(network, latent, sign_codes)
    return network


def critic(
    space: Space,
    size: str,
    kind: str = "auto",
    *,
    pack: int = 1,
    minibatch_std: int = 0,
    fourier_features: int = 0,
    spectral: bool = False,
    normalise: bool = False,
) -> nn.Module:
    """Build a critic of examples or of packs of examples.

    Args:
        space: Shape and conditions of the data.
        size: "tiny", "small" or "base".
        kind: Name in `PAIRS`, or "auto".
        pack: Number of examples that get one common score.
        minibatch_std: Group size for minibatch standard deviation; 0 for none.
        fourier_features: Number of Fourier features of vectors; 0 for none.
        spectral: Whether to use spectral normalisation.
        normalise: Whether a DCGAN uses batch normalisation.
    """
    chosen = _game(space, kind)
    conditions = space.conditions
    if fourier_features and (chosen != "mlp" or len(space.shape) != 1):
        raise UsageError(
            "Fourier features need an mlp critic on vectors. Leave out fourier_features."
        )
    single = space
    if pack > 1:
        space = space.with_conditions().unscaled(Packed.shape(space.shape, pack, conditions))
    if chosen == "mlp":
        network = _player(space, size, space.size + 2 * fourier_features, (), minibatch_std)
        if fourier_features:
            network = _with_waves(network, single, pack, fourier_features)
    else:
        options: dict[str, Any] = {"conditions": space.conditions, "minibatch_std": minibatch_std}
        if chosen == "dcgan":
            options["normalise"] = normalise
        _, convolutional = PAIRS[chosen]
        network = convolutional.sized(size, shape=space.shape, **options)
    if pack > 1:
        network = Packed(network, pack, conditions)
    if spectral:
        return Spectral(network)
    return network


def _with_waves(network: nn.Module, space: Space, pack: int, waves: int) -> nn.Module:
    size = Packed.shape(space.shape, pack, space.conditions)[0] if pack > 1 else space.size
    if space.continuous is None:
        return FourierFeatures(network, size, waves)
    columns = []
    for part in range(pack):
        columns += [part * (size // pack) + place for place in space.continuous]
    return FourierFeatures(network, size, waves, high=HIGHEST, columns=columns)


def _game(space: Space, kind: str) -> str:
    usual = "mlp" if flat(space) else "dcgan"
    return _chosen(space, kind, usual, ("mlp", "textbook"), ("dcgan", "residual"))


def encoder(space: Space, size: str, latent: int, kind: str = "auto") -> nn.Module:
    """Build an encoder from data to latent means and log-variances."""
    chosen = _coder(space, kind)
    if chosen == "convolutional":
        return Encoder.sized(size, shape=space.shape, latent=latent, conditions=space.conditions)
    return perceptron(space, size, space.size, (2 * latent,), chosen)


def decoder(
    space: Space, size: str, latent: int, kind: str = "auto", outputs: Sequence[int] | None = None
) -> nn.Module:
    """Build a decoder from latents to data, or to ``outputs`` that describe data."""
    chosen = _coder(space, kind)
    if outputs is None:
        outputs = space.shape
    if chosen == "convolutional":
        conditions = space.conditions
        return Decoder.sized(size, shape=tuple(outputs), latent=latent, conditions=conditions)
    return perceptron(space, size, latent, outputs, chosen)


def perceptron(
    space: Space, size: str, inputs: int, outputs: Sequence[int], kind: str = "mlp"
) -> nn.Module:
    """Build an MLP without time: residual ("mlp"), or plain with tanh ("textbook")."""
    if kind == "mlp":
        return _mlp(space, size, inputs, outputs)
    count = math.prod(outputs)
    network = Perceptron.sized(size, shape=(inputs,), outputs=count, conditions=space.conditions)
    return Reshaped(network, outputs)


def _coder(space: Space, kind: str) -> str:
    usual = "mlp" if flat(space) else "convolutional"
    return _chosen(space, kind, usual, ("mlp", "textbook"), ("convolutional",))


def augmentation(space: Space, names: str) -> DiffAugment | None:
    """Return the augmentation with these names, separated by commas; None for "none"."""
    if names == "none":
        return None
    bounds = space.bounds
    if bounds is None:
        return DiffAugment(names)
    low, high = bounds
    return DiffAugment(names, extent=float((high - low).max()))
