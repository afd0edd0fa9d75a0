"""Which network suits which space."""

from __future__ import annotations

from torch import nn

from pushforward.data import Space
from pushforward.errors import UsageError, did_you_mean
from pushforward.networks import MLP, Critic, Decoder, DiT, Encoder, Generator, UNet

__all__ = ["SIZES", "critic", "decoder", "denoising_network", "encoder", "generator"]

SIZES = ("tiny", "small", "base")


def check_size(size: str) -> str:
    """Return a known size, else raise `UsageError`."""
    if size not in SIZES:
        raise UsageError(f'Unknown size "{size}"; choose {", ".join(SIZES)}.{did_you_mean(size, SIZES)}')
    return size


def denoising_network(space: Space, size: str, kind: str = "auto") -> nn.Module:
    """A network of x_t and t: an MLP for vectors, a U-Net for images, or a DiT where asked for.

    Args:
        space: The data's shape and classes.
        size: "tiny", "small" or "base".
        kind: "auto", "mlp", "unet" or "dit".

    Raises:
        UsageError: For an unknown kind, or one that cannot take this shape.
    """
    kinds = {"mlp": MLP, "unet": UNet, "dit": DiT}
    chosen = kind if kind != "auto" else ("unet" if space.kind == "image" else "mlp")
    if chosen not in kinds:
        raise UsageError(f'Unknown network "{kind}"; choose auto, {", ".join(kinds)}.{did_you_mean(kind, kinds)}')
    if (chosen == "mlp") != (space.kind == "vector"):
        raise UsageError(f'The network "{chosen}" cannot take {space.kind}s of shape {space.shape}; choose auto.')
    return kinds[chosen].sized(check_size(size), shape=space.shape, classes=len(space.classes))  # type: ignore[attr-defined]


def _mlp(space: Space, size: str, inputs: int, outputs: int) -> nn.Module:
    classes = len(space.classes)
    return MLP.sized(size, shape=(inputs,), outputs=outputs, classes=classes, times=0, zero_output=False)


def generator(space: Space, size: str, latent: int) -> nn.Module:
    """A network from a code to data."""
    if space.kind == "vector":
        return _mlp(space, check_size(size), latent, space.shape[0])
    return Generator.sized(check_size(size), shape=space.shape, latent=latent, classes=len(space.classes))


def critic(space: Space, size: str) -> nn.Module:
    """A network from data to one number."""
    if space.kind == "vector":
        return _mlp(space, check_size(size), space.shape[0], 1)
    return Critic.sized(check_size(size), shape=space.shape, classes=len(space.classes))


def encoder(space: Space, size: str, latent: int) -> nn.Module:
    """A network from data to the means and log-variances of a code."""
    if space.kind == "vector":
        return _mlp(space, check_size(size), space.shape[0], 2 * latent)
    return Encoder.sized(check_size(size), shape=space.shape, latent=latent, classes=len(space.classes))


def decoder(space: Space, size: str, latent: int) -> nn.Module:
    """A network from a code to data."""
    if space.kind == "vector":
        return _mlp(space, check_size(size), latent, space.shape[0])
    return Decoder.sized(check_size(size), shape=space.shape, latent=latent, classes=len(space.classes))
