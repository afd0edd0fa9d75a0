"""Variational autoencoders of one and of two layers, with a finite book of codes, and for latents of other models."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import nn

from pushforward.arguments import one_of, whole
from pushforward.data import ImageSpace, Space, TableSpace
from pushforward.errors import UsageError
from pushforward.methods import VAE, HierarchicalVAE, PerceptualAutoencoder, QuantisedAutoencoder
from pushforward.methods.autoencoders import LossWeights
from pushforward.methods.likelihoods import EvidenceBound, likelihood_of
from pushforward.networks import Codebook, Compressor, Expander, PatchCritic, PretrainedFeatures, Reshaped, Rounding
from pushforward.networks.autoencoder import map_shape
from pushforward.recipes.choice import batch_size, code_length, flat, perceptron, precision
from pushforward.recipes.choice import critic as choose_critic
from pushforward.recipes.choice import decoder as choose_decoder
from pushforward.recipes.choice import encoder as choose_encoder
from pushforward.recipes.recipe import LossOption, NetworkOption, Recipe, RegularisationOption, ScheduleOption, Training, on_space


@on_space
def vae(
    space: Space,
    size: str = "small",
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    network: NetworkOption[str] = "auto",
    latent_size: NetworkOption[int | None] = None,
    likelihood: LossOption[str] = "auto",
    beta: LossOption[float] = 1.0,
    warmup: ScheduleOption[float] = 0.0,
    free_bits: RegularisationOption[float] = 0.0,
    importance_samples: LossOption[int] = 1,
    dreg: LossOption[bool] = False,
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


@on_space
def hvae(
    space: Space,
    size: str = "small",
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    network: NetworkOption[str] = "auto",
    latent_size: NetworkOption[int | None] = None,
    upper_size: NetworkOption[int | None] = None,
    likelihood: LossOption[str] = "auto",
    beta: LossOption[float] = 1.0,
    warmup: ScheduleOption[float] = 0.0,
    importance_samples: LossOption[int] = 1,
    dreg: LossOption[bool] = True,
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
    upper = whole("upper_size", max(1, lower // 2) if upper_size is None else upper_size, 1)
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


# Levels of finite scalar quantisation for about so many codes (Mentzer et al., section 4.1)
LEVELS = {64: (8, 8), 256: (8, 6, 5), 512: (8, 8, 8), 1024: (8, 5, 5, 5), 4096: (7, 5, 5, 5, 5)}
GROUP = 8  # Codes for a vector, or for a very small image


@on_space
def vqvae(
    space: Space,
    size: str = "small",
    *,
    codebook: NetworkOption[str] = "vq",
    codes: NetworkOption[int] = 256,
    dim: NetworkOption[int] = 8,
    factor: NetworkOption[int | None] = None,
    likelihood: LossOption[str] = "auto",
    commitment: LossOption[float] = 0.25,
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
    if one_of("codebook", codebook, ("vq", "fsq")) == "fsq" and codes not in LEVELS:
        raise UsageError(f"Rounding supports about {', '.join(map(str, LEVELS))} codes; got codes={codes}.")
    book = Codebook(codes, dim) if codebook == "vq" else Rounding(LEVELS[codes])
    density = likelihood_of(likelihood, space)
    if flat(space):
        if factor is not None:
            raise UsageError(
                f"Examples with so few numbers are encoded by an MLP into {GROUP} codes, without reduction. Leave `factor` out."
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


ROW_CODE = 32  # Numbers of the code of a row at most, by default


@on_space
def autoencoder(
    space: Space,
    size: str = "small",
    *,
    factor: NetworkOption[int | None] = None,
    channels: NetworkOption[int | None] = None,
    critic: NetworkOption[str] = "patch",
    perceptual_loss: LossOption[str] = "critic",
    features: LossOption[float] = 1.0,
    adversarial: LossOption[float] = 0.1,
    start: ScheduleOption[float] = 0.5,
    kl_weight: RegularisationOption[float | None] = None,
) -> Recipe:
    """An autoencoder for latents: images to maps a few times smaller; `train flow --latent RUN` goes on from it.

    It receives no labels; models in its latent space may. Of a table of mixed types it is a VAE with a small weight of the KL
    term, whose codes hold nearly all of a row; of the settings it takes channels and kl_weight alone.

    Args:
        space: The data's shape and units; images, or a table of mixed types.
        size: The networks' size: tiny, small or base.
        factor: Pixels of the image for one of the map, along a side: 2, 4 or 8. The default is 2 below 16 pixels, 4 below 64,
            else 8.
        channels: Numbers at each place of the map; the default is 4, or 8 where the factor is 8, and never more than make the
            code half as large as the image. Of a table the numbers of a code; the default is 32, or 2 for each column where that
            is less.
        critic: patch, or one of the recipe gan's for images: dcgan, residual, textbook, projected.
        perceptual_loss: Features in which reconstructions are compared beside pixels: those of the critic of patches (critic), of
            EfficientNet-Lite0 (pretrained; needs the extra projected), or none.
        features: The weight of the perceptual loss.
        adversarial: The weight of the critic relative to the other terms; 0 for none.
        start: The share of training from which the critic counts.
        kl_weight: The weight of the KL term, in nats per number of the code; the default is 0.001. Of a table the weight of the
            whole term beside the log-likelihood of a row; the default is 0.1.

    References:
        Rombach et al., Latent Diffusion Models (2022); see `pushforward.methods.PerceptualAutoencoder`. Zhang et al., TabSyn
        (2024), for latents of tables.
    """
    if isinstance(space, TableSpace):
        codes, weight = channels or min(ROW_CODE, 2 * len(space.fields)), 0.1 if kl_weight is None else kl_weight
        rows = vae(space.with_conditions(), size, latent_size=codes, beta=weight)
        return replace(rows, name="autoencoder", family="autoencoder")
    if not isinstance(space, ImageSpace):
        raise UsageError("autoencoder compresses images and tables only. For other data, train a vae and use its latents.")
    if one_of("perceptual loss", perceptual_loss, ("critic", "pretrained", "none")) == "pretrained" and space.low is None:
        raise UsageError("Pretrained features need images, and latents are not images. Use `perceptual_loss=critic`.")
    side = max(space.shape[1:])
    factor = (2 if side < 16 else (4 if side < 64 else 8)) if factor is None else factor
    most = max(1, space.size // 2 // math.prod(map_shape(space.shape, 1, factor)))
    channels = min(8 if factor == 8 else 4, most) if channels is None else channels
    latent, plain = map_shape(space.shape, channels, factor), space.with_conditions()
    # a projected critic's small critics are normalised already
    judge: nn.Module = (
        PatchCritic.sized(size, shape=space.shape)
        if critic == "patch"
        else choose_critic(plain, size, critic, spectral=critic != "projected")
    )
    if perceptual_loss == "critic" and features and critic != "patch":
        raise UsageError(
            f"The critic {critic} has no features to compare. Use `perceptual_loss=none` or `perceptual_loss=pretrained`."
        )
    feature_extractor = (
        PretrainedFeatures(space.shape, mean=space.mean, std=space.std, side=64) if perceptual_loss == "pretrained" else None
    )
    method = PerceptualAutoencoder(
        Compressor.sized(size, shape=space.shape, outputs=2 * channels, factor=factor),
        Expander.sized(size, shape=space.shape, inputs=channels, factor=factor),
        judge,
        plain,
        latent=latent,
        feature_extractor=feature_extractor,
        weights=LossWeights(
            0.0 if perceptual_loss == "none" else features, adversarial, start, 1e-3 if kl_weight is None else kl_weight
        ),
    )
    # the critic's rate is such that it stays ahead: slower critics scored decoded images above real ones
    players = {"critic": {"lr": 2e-3, "betas": (0.5, 0.99), "optimizer": "adamw", "clip": None}}
    few = batch_size(space) // 8  # reconstructions are closer to the image after 8 times as many steps of 8 images
    training = Training(few, lr=4e-3, precision=precision(space), optimizer="muon", ema=20_000, players=players)
    return Recipe(method, training, "autoencoder", "autoencoder")
