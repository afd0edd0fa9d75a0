"""An autoencoder with a finite book of codes."""

from __future__ import annotations

from typing import Annotated, Any

from torch import nn

from pushforward.arguments import one_of
from pushforward.data import Space
from pushforward.errors import UsageError
from pushforward.methods import QuantisedAutoencoder
from pushforward.methods.likelihoods import likelihood_of
from pushforward.networks import Codebook, Compressor, Expander, Reshaped, Rounding
from pushforward.networks.autoencoder import map_shape
from pushforward.recipes.choice import flat, perceptron
from pushforward.recipes.recipe import LOSS, NETWORK, Recipe, on_space
from pushforward.recipes.vae import coding_training

LEVELS = {64: (8, 8), 256: (8, 6, 5), 512: (8, 8, 8), 1024: (8, 5, 5, 5), 4096: (7, 5, 5, 5, 5)}
"""Levels of finite scalar quantisation for about so many codes (Mentzer et al., section 4.1)."""
GROUP = 8
"""Codes for a vector, or for a very small image."""


@on_space
def vqvae(
    space: Space,
    size: str = "small",
    *,
    codebook: Annotated[str, NETWORK] = "vq",
    codes: Annotated[int, NETWORK] = 256,
    dim: Annotated[int, NETWORK] = 8,
    factor: Annotated[int | None, NETWORK] = None,
    likelihood: Annotated[str, LOSS] = "auto",
    commitment: Annotated[float, LOSS] = 0.25,
) -> Recipe:
    """An autoencoder with a finite book of codes, learned (vq) or by rounding (fsq); one network call per sample.

    Args:
        space: The data's shape, units and classes.
        size: The networks' size: tiny, small or base.
        codebook: vq (learned vectors that follow the data) or fsq (finite scalar quantisation: rounding).
        codes: How many codes there are; for fsq 64, 256, 512, 1024 or 4096, about.
        dim: Numbers of a learned vector; fsq has its own.
        factor: Pixels of the image for one code, along a side: 2, 4 or 8; the default is 2 below 32 pixels, else 4. Vectors
            and very small images have none: they become 8 codes.
        likelihood: auto (Bernoulli for zeros and ones, else Gaussian), gaussian, bernoulli or logistic.
        commitment: The weight that holds the encoder near the codes; rounding needs none.

    References:
        van den Oord et al., VQ-VAE (2017); Mentzer et al., FSQ (2023).
    """
    book = _book(codebook, codes, dim)
    density = likelihood_of(likelihood, space)
    if flat(space):
        if factor is not None:
            raise UsageError(
                f"Examples of so few numbers become {GROUP} codes by a perceptron, without a factor: leave `factor` out."
            )
        places: tuple[int, ...] = (1, GROUP)
        encoder = perceptron(space, size, space.size, (book.dim, *places))
        decoder: nn.Module = perceptron(space, size, book.dim * GROUP, density.outputs)
        decoder = decoder if isinstance(decoder, Reshaped) else Reshaped(decoder, density.outputs)
    else:
        factor = (2 if max(space.shape[1:]) < 32 else 4) if factor is None else factor
        places = map_shape(space.shape, book.dim, factor)[1:]
        options: dict[str, Any] = {"factor": factor, "conditions": space.conditions}
        encoder = Compressor.sized(size, shape=space.shape, outputs=book.dim, **options)
        decoder = Expander.sized(size, shape=(density.outputs[0], *space.shape[1:]), inputs=book.dim, **options)
    weight = commitment if isinstance(book, Codebook) else 0.0
    method = QuantisedAutoencoder(encoder, decoder, book, space, places=places, likelihood=density, commitment=weight)
    return Recipe(method, coding_training(space), "vqvae", "VAE")


def _book(kind: str, codes: int, dim: int) -> Codebook | Rounding:
    if one_of("codebook", kind, ("vq", "fsq")) == "vq":
        return Codebook(codes, dim)
    if codes not in LEVELS:
        raise UsageError(f"Rounding makes about {', '.join(map(str, LEVELS))} codes; got codes={codes}.")
    return Rounding(LEVELS[codes])
