"""A VAE with a calibrated decoder."""

from __future__ import annotations

from torch import nn

from pushforward.data import Space
from pushforward.methods import VAE
from pushforward.recipes.choice import batch_size, flat, latent_size, precision
from pushforward.recipes.choice import decoder as choose_decoder
from pushforward.recipes.choice import encoder as choose_encoder
from pushforward.recipes.recipe import Recipe, Training

__all__ = ["vae"]


def vae(
    space: Space,
    size: str = "small",
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    latent: int | None = None,
    likelihood: str = "auto",
    beta: float = 1.0,
) -> Recipe:
    """A VAE: the evidence lower bound with a learned decoder variance; one network call per sample.

    Args:
        space: The data's shape, units and classes.
        size: The networks' size: tiny, small or base.
        encoder: A module ``encoder(x, None, condition)`` in place of the default.
        decoder: A module ``decoder(z, None, condition)`` in place of the default.
        latent: Numbers in one code; the default is 8 for images that take convolutions (codes of more numbers fill their prior
            only after long training), at most 16 otherwise.
        likelihood: auto (Bernoulli for binary data, else Gaussian), gaussian or bernoulli.
        beta: The weight of the KL term; 0 is the plain autoencoder.

    References:
        Kingma and Welling (2014); Rybkin et al., sigma-VAE (2021).
    """
    latent = latent_size(space, latent, image=16 if flat(space) else 8, vector=min(16, space.shape[0]))
    if likelihood == "auto":
        likelihood = "bernoulli" if space.binary else "gaussian"
    method = VAE(
        encoder or choose_encoder(space, size, latent),
        decoder or choose_decoder(space, size, latent),
        space,
        latent=latent,
        likelihood=likelihood,
        beta=beta,
    )
    lr, optimizer = (1e-3, "adamw") if flat(space) else (2e-3, "muon")
    training = Training(batch_size(space), lr=lr, precision=precision(space), optimizer=optimizer)
    return Recipe(method, training, "vae", "VAE")
