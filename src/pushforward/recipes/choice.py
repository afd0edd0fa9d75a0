"""The network that suits a space, and how denoisers are trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from pushforward.arguments import one_of, whole
from pushforward.data import Space
from pushforward.errors import UsageError
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
    ProjectedCritic,
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
    "projected": (Generator, ProjectedCritic),
}
# Width and depth of a game's perceptrons on vectors: a game needs many steps more than wide ones
GAMES = {"tiny": (64, 2), "small": (96, 2), "base": (256, 3)}
# Images of at most so many numbers are taken by MLPs, which learn more per second there than convolutions
FLAT = 256
# The same for denoisers, whose input is almost the whole image: from here on convolutions learn more
DENOISED = 128
HIGHEST = 30.0  # The highest frequency, in radians, of Fourier features along continuous coordinates among discrete ones


def flat(space: Space, most: int = FLAT) -> bool:
    """Return whether MLPs suit this space: for data other than images, and for images of at most ``most`` numbers."""
    return not space.grid or space.size <= most


def denoising_training(space: Space, network: nn.Module) -> Training:
    """Choose the training settings of a denoiser.

    After equal steps, U-Nets, and MLPs on very small images, reach a lower loss with a learning
    rate above the usual 1e-3, and U-Nets a much lower loss with Muon for their kernels, which adds
    a tenth to the time per step.
    """
    convolutional = isinstance(network, UNet)
    if convolutional:
        rate = 3e-3
    else:
        rate = 2e-3 if isinstance(network, Reshaped) else 1e-3
    optimizer = "muon" if convolutional else "adamw"
    return Training(batch_size(space), lr=rate, precision=precision(space), optimizer=optimizer)


def batch_size(space: Space) -> int:
    """Choose the batch size: convolutional steps are expensive, and smaller batches allow more steps in the same time."""
    if flat(space):
        return 128
    return 64


def precision(space: Space) -> str:
    """Choose the precision: float32 for the narrow MLPs of short vectors, for which casting costs more than bfloat16 saves."""
    if len(space.shape) == 1:
        return "float32"
    return "auto"


def _mlp(space: Space, size: str, inputs: int, outputs: Sequence[int], times: int = 0) -> nn.Module:
    count = math.prod(outputs)
    network = MLP.sized(
        size, shape=(inputs,), outputs=count, conditions=space.conditions, times=times
    )
    if tuple(outputs) == (count,) and len(space.shape) == 1:
        return network
    return Reshaped(network, outputs)


def _player(
    space: Space, size: str, inputs: int, outputs: Sequence[int], minibatch_std: int = 0
) -> nn.Module:
    """A game's perceptron. Its critic receives how steep it may be, which a piecewise linear one answers at less cost."""
    options: dict[str, Any] = {
        "times": 0,
        "activation": "leaky_relu",
        "conditions": space.conditions,
    }
    options["minibatch_std"] = minibatch_std
    results = math.prod(outputs)
    longest = max(inputs, *outputs, 1)
    width, depth = size_choice(size, GAMES)
    if len(space.shape) == 1 and longest <= width:
        network = MLP(inputs, results, width=width, depth=depth, **options)
    else:
        network = MLP.sized(size, shape=(inputs,), outputs=results, **options)
    if tuple(outputs) == (results,) and len(space.shape) == 1:
        return network
    return Reshaped(network, outputs)


def code_length(space: Space, size: int | None, image: int, vector: int) -> int:
    """Return the latent size: the given size, or the default for images or vectors.

    Raises:
        UsageError: If the size is less than one.
    """
    return whole(
        "latent_size", size if size is not None else (vector if len(space.shape) == 1 else image), 1
    )


def denoising_network(
    space: Space, size: str, kind: str | nn.Module = "auto", times: int = 1
) -> nn.Module:
    """Build a denoising network: an MLP for vectors and very small images, a U-Net for images, or a DiT on request.

    Args:
        space: Shape and conditions of the data.
        size: "tiny", "small" or "base".
        kind: Kind of network, "auto", "mlp", "unet" or "dit"; or the network itself.
        times: Number of times: 1, or 2 for a map between two times.

    Raises:
        UsageError: If the kind is unknown or does not support this shape.
    """
    if isinstance(kind, nn.Module):
        return kind
    chosen = _chosen(
        space, kind, "mlp" if flat(space, DENOISED) else "unet", ("mlp",), ("unet", "dit")
    )
    if chosen == "mlp":
        return _mlp(space, size, space.size, space.shape, times=times)
    part = UNet if chosen == "unet" else DiT
    return part.sized(size, shape=space.shape, conditions=space.conditions, times=times)


def _chosen(
    space: Space, kind: str, usual: str, plain: Sequence[str], of_images: Sequence[str]
) -> str:
    """The name of a network that suits a space; ``usual`` for auto."""
    if one_of("network", kind, ("auto", *plain, *of_images)) in of_images and not space.grid:
        raise UsageError(
            f'The network "{kind}" needs images. For {space.noun}s of shape {space.shape}, use {" or ".join(plain)}, or auto.'
        )
    if kind == "auto":
        return usual
    return kind


def generator(
    space: Space, size: str, latent: int, kind: str = "auto", sign_codes: int = 0
) -> nn.Module:
    """Build a generator from noise of length ``latent`` to data, with a number of sign codes (`SignCodes`)."""
    inputs = latent + sign_codes
    chosen = _game(space, kind)
    if chosen == "mlp":
        network = _player(space, size, inputs, space.shape)
    else:
        network = PAIRS[chosen][0].sized(
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
        fourier_features: Number of Fourier features of vectors
            (`pushforward.networks.FourierFeatures`); 0 for none.
        spectral: Whether to use spectral normalisation.
        normalise: Whether a DCGAN uses batch normalisation.
    """
    chosen = _game(space, kind)
    conditions = space.conditions
    if fourier_features and (chosen != "mlp" or len(space.shape) != 1):
        raise UsageError(
            "Fourier features need an mlp critic on vectors. Leave out fourier_features."
        )
    if chosen == "projected":
        return _projected(space, size, pack, minibatch_std)
    single = space
    if pack > 1:
        space = space.with_conditions().unscaled(Packed.shape(space.shape, pack, conditions))
    if chosen == "mlp":
        network = _player(space, size, space.size + 2 * fourier_features, (), minibatch_std)
        if fourier_features:
            network = _with_waves(network, single, pack, fourier_features)
    else:
        dcgan_options = {"normalise": normalise} if chosen == "dcgan" else {}
        kinds = {
            "shape": space.shape,
            "conditions": space.conditions,
            "minibatch_std": minibatch_std,
            **dcgan_options,
        }
        network = PAIRS[chosen][1].sized(size, **kinds)
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


def _projected(space: Space, size: str, pack: int, minibatch_std: int) -> nn.Module:
    if pack > 1 or minibatch_std:
        raise UsageError(
            "A projected critic scores one example at a time. Leave out pack and minibatch_std."
        )
    if len(space.grid) != 2 or space.low is None:
        raise UsageError(
            "A projected critic needs images, and latents are not images. Choose another network."
        )
    of = {
        "shape": space.shape,
        **space.units,
        "conditions": space.conditions,
    }
    if space.shape[0] == 4:  # on white alone, white and transparent are one
        of["backgrounds"] = (1.0, 0.0)
    return ProjectedCritic.sized(size, **of)  # type: ignore[arg-type]


def _game(space: Space, kind: str) -> str:
    return _chosen(
        space,
        kind,
        "mlp" if flat(space) else "dcgan",
        ("mlp", "textbook"),
        ("dcgan", "residual", "projected"),
    )


def encoder(space: Space, size: str, latent: int, kind: str = "auto") -> nn.Module:
    """Build an encoder from data to latent means and log-variances: "auto", "mlp", "convolutional" or "textbook"."""
    chosen = _coder(space, kind)
    if chosen == "convolutional":
        return Encoder.sized(size, shape=space.shape, latent=latent, conditions=space.conditions)
    return perceptron(space, size, space.size, (2 * latent,), chosen)


def decoder(
    space: Space, size: str, latent: int, kind: str = "auto", outputs: Sequence[int] | None = None
) -> nn.Module:
    """Build a decoder from latents to data, or to ``outputs`` that describe data; see `encoder`."""
    chosen = _coder(space, kind)
    shape = tuple(space.shape if outputs is None else outputs)
    if chosen == "convolutional":
        return Decoder.sized(size, shape=shape, latent=latent, conditions=space.conditions)
    return perceptron(space, size, latent, shape, chosen)


def perceptron(
    space: Space, size: str, inputs: int, outputs: Sequence[int], kind: str = "mlp"
) -> nn.Module:
    """Build an MLP without time: residual ("mlp"), or plain with tanh ("textbook")."""
    if kind == "mlp":
        return _mlp(space, size, inputs, outputs)
    network = Perceptron.sized(
        size, shape=(inputs,), outputs=math.prod(outputs), conditions=space.conditions
    )
    return Reshaped(network, outputs)


def _coder(space: Space, kind: str) -> str:
    return _chosen(
        space,
        kind,
        "mlp" if flat(space) else "convolutional",
        ("mlp", "textbook"),
        ("convolutional",),
    )


def extent_of(space: Space) -> float:
    """Return the largest range of values over channels, in model units."""
    bounds = space.bounds
    if bounds is None:
        return 2.0
    return float((bounds[1] - bounds[0]).max())
