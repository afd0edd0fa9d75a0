"""A VAE with a calibrated decoder."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space
from pushforward.methods import VAE
from pushforward.methods.evidence_bound import EvidenceBound
from pushforward.methods.likelihoods import likelihood_of
from pushforward.recipes.choice import batch_size, code_length, flat, precision
from pushforward.recipes.choice import decoder as choose_decoder
from pushforward.recipes.choice import encoder as choose_encoder
from pushforward.recipes.recipe import LOSS, NETWORK, REGULARISATION, SCHEDULE, Recipe, Training, on_space


@on_space
def vae(
    space: Space,
    size: str = "small",
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    network: Annotated[str, NETWORK] = "auto",
    latent_size: Annotated[int | None, NETWORK] = None,
    likelihood: Annotated[str, LOSS] = "auto",
    beta: Annotated[float, LOSS] = 1.0,
    warmup: Annotated[float, SCHEDULE] = 0.0,
    free_bits: Annotated[float, REGULARISATION] = 0.0,
    importance_samples: Annotated[int, LOSS] = 1,
    dreg: Annotated[bool, LOSS] = False,
) -> Recipe:
    """A VAE: the evidence lower bound with a learned decoder variance; one network call per sample.

    Encoder and decoder receive the data's conditions; where there are labels, the prior over codes is learned for each class (a
    conditional VAE).

    Args:
        space: The data's shape, units and conditions.
        size: The networks' size: tiny, small or base.
        encoder: A module ``encoder(x, None, condition)`` in place of the default.
        decoder: A module ``decoder(z, None, condition)`` in place of the default.
        network: auto, mlp, convolutional, or textbook (two hidden layers of tanh).
        latent_size: Numbers in one code; the default is 8 for images that take convolutions (codes of more numbers fill their
            prior only after long training), at most 16 otherwise.
        likelihood: auto (rows for a table of mixed types, Bernoulli for zeros and ones, else Gaussian), gaussian, bernoulli, rows
            (each kind of column its own), or logistic (a mixture of logistics over the 256 levels of images).
        beta: The weight of the KL term; 0 is the plain autoencoder.
        warmup: The share of training over which beta rises from 0.
        free_bits: Nats that each number of the code may carry at no cost, against codes that carry nothing.
        importance_samples: Codes for each example; with several, the loss is the importance-weighted bound.
        dreg: Whether the bound's gradient is the doubly reparameterised one (DReG), which stays sharp with many codes.

    References:
        Kingma and Welling (2014); Rybkin et al., sigma-VAE (2021); Sohn et al., CVAE (2015); for the rest see `pushforward.VAE`.
    """
    latent = code_length(space, latent_size, image=16 if flat(space) else 8, vector=min(16, space.shape[0]))
    density = likelihood_of(likelihood, space)
    method = VAE(
        encoder or choose_encoder(space, size, latent, network),
        decoder or choose_decoder(space, size, latent, network, density.outputs),
        space,
        latent=latent,
        likelihood=density,
        classes=len(space.classes),
        bound=EvidenceBound(beta, warmup, free_bits, importance_samples, dreg),
    )
    return Recipe(method, coding_training(space, network), "vae", "VAE")


def coding_training(space: Space, network: str = "auto") -> Training:
    """How encoders and decoders are trained: convolutional ones by Muon, at a higher rate."""
    convolutional = network == "convolutional" or (network == "auto" and not flat(space))
    lr, optimizer = (2e-3, "muon") if convolutional else (1e-3, "adamw")
    return Training(batch_size(space), lr=lr, precision=precision(space), optimizer=optimizer)
