"""A GAN that keeps its modes: relativistic pairing with penalties on both sides."""

from __future__ import annotations

from torch import nn

from pushforward.data import Space
from pushforward.methods import GAN
from pushforward.recipes.choice import batch_size, flat, latent_size, precision
from pushforward.recipes.choice import critic as choose_critic
from pushforward.recipes.choice import generator as choose_generator
from pushforward.recipes.recipe import Recipe, Training

__all__ = ["gan"]


def gan(
    space: Space,
    size: str = "small",
    *,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    latent: int | None = None,
    game: str = "relativistic",
    gamma: float | None = None,
) -> Recipe:
    """R3GAN's game: relativistic pairs, R1 and R2, no normalisation layers; one network call per sample.

    Args:
        space: The data's shape, units and classes.
        size: The networks' size: tiny, small or base.
        generator: A module ``generator(z, None, condition)`` in place of the default.
        critic: A module ``critic(x, None, condition)`` in place of the default.
        latent: Numbers in one row of noise; the default is 64 for images, 16 for vectors.
        game: relativistic, or non_saturating for the original game (which then has no penalty and may collapse).
        gamma: The weight of the gradient penalties, which falls tenfold over training; the default is 10 for images that take
            convolutions, 1 otherwise, 0 in the original game.

    References:
        Huang et al., The GAN Is Dead; Long Live the GAN! (2024); Goodfellow et al. (2014) for the original.
    """
    latent = latent_size(space, latent, image=64, vector=16)
    convolutional = not flat(space)
    if gamma is None:
        gamma = 0.0 if game == "non_saturating" else (10.0 if convolutional else 1.0)
    method = GAN(
        generator or choose_generator(space, size, latent),
        critic or choose_critic(space, size),
        space,
        latent=latent,
        game=game,
        gamma=gamma,
        gamma_end=gamma / 10,
    )
    batch, lr = batch_size(space), 1e-3 if convolutional else 5e-4
    training = Training(batch, lr=lr, lr_end=0.1, betas=(0.0, 0.99), clip=None, ema=20_000, precision=precision(space))
    return Recipe(method, training, "gan", "GAN")
