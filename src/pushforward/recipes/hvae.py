"""A VAE of two layers."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space
from pushforward.errors import UsageError
from pushforward.methods import HierarchicalVAE
from pushforward.methods.evidence_bound import EvidenceBound
from pushforward.methods.likelihoods import likelihood_of
from pushforward.recipes.choice import code_length, perceptron
from pushforward.recipes.choice import decoder as choose_decoder
from pushforward.recipes.choice import encoder as choose_encoder
from pushforward.recipes.recipe import LOSS, NETWORK, SCHEDULE, Recipe, on_space
from pushforward.recipes.vae import coding_training


@on_space
def hvae(
    space: Space,
    size: str = "small",
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    network: Annotated[str, NETWORK] = "auto",
    latent_size: Annotated[int | None, NETWORK] = None,
    upper_size: Annotated[int | None, NETWORK] = None,
    likelihood: Annotated[str, LOSS] = "auto",
    beta: Annotated[float, LOSS] = 1.0,
    warmup: Annotated[float, SCHEDULE] = 0.0,
    importance_samples: Annotated[int, LOSS] = 1,
    dreg: Annotated[bool, LOSS] = True,
) -> Recipe:
    """A VAE of two layers: a code of a code, by the importance-weighted bound; one network call per sample.

    Args:
        space: The data's shape, units and conditions.
        size: The networks' size: tiny, small or base.
        encoder: A module ``encoder(x, None, condition)`` of the lower code's means and log-variances, in place of the default.
        decoder: A module ``decoder(h, None, condition)`` in place of the default.
        network: Of encoder and decoder: auto, mlp, convolutional or textbook; between the codes are perceptrons.
        latent_size: Numbers in the lower code; the default is 32 for images, at most 16 for vectors.
        upper_size: Numbers in the upper code; the default is half as many.
        likelihood: auto (Bernoulli for zeros and ones, else Gaussian), gaussian, bernoulli or logistic.
        beta: The weight of the prior's and the posterior's terms.
        warmup: The share of training over which beta rises from 0.
        importance_samples: Codes for each example.
        dreg: Whether the gradient is the doubly reparameterised one (DReG).

    References:
        Burda et al., Importance Weighted Autoencoders (2016); see `pushforward.methods.HierarchicalVAE`.
    """
    lower = code_length(space, latent_size, image=32, vector=min(16, space.shape[0]))
    upper = max(1, lower // 2) if upper_size is None else upper_size
    if upper < 1:
        raise UsageError(f"A code needs at least one number, got upper_size={upper}.")
    density, between = likelihood_of(likelihood, space), "textbook" if network == "textbook" else "mlp"
    method = HierarchicalVAE(
        encoder or choose_encoder(space, size, lower, network),
        decoder or choose_decoder(space, size, lower, network, density.outputs),
        perceptron(space, size, lower, (2 * upper,), between),
        perceptron(space, size, upper, (2 * lower,), between),
        space,
        latent=(lower, upper),
        likelihood=density,
        bound=EvidenceBound(beta, warmup, 0.0, importance_samples, dreg),
    )
    return Recipe(method, coding_training(space, network), "hvae", "VAE")
