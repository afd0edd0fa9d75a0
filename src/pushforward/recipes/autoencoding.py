"""Variational autoencoders, autoencoders with a codebook, and autoencoders for latent models."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from pushforward.arguments import one_of, whole
from pushforward.data import Space
from pushforward.errors import UsageError
from pushforward.methods import VAE, HierarchicalVAE, PerceptualAutoencoder, QuantisedAutoencoder
from pushforward.methods.autoencoders import LossWeights
from pushforward.methods.likelihoods import EvidenceBound, likelihood_of
from pushforward.networks import (
    Codebook,
    Compressor,
    Decoder,
    Encoder,
    Expander,
    PatchCritic,
    Perceptron,
    Reshaped,
    Rounding,
)
from pushforward.networks.autoencoder import map_shape
from pushforward.recipes.adversarial import critic_for
from pushforward.recipes.defaults import batch_size, chosen_network, flat, mlp, precision
from pushforward.recipes.recipe import (
    LossOption,
    NetworkOption,
    Recipe,
    RegularisationOption,
    ScheduleOption,
    Training,
    on_space,
)

# Kinds of encoders and decoders: plain ones, and those of images
CODERS = (("mlp", "textbook"), ("convolutional",))


def encoder_for(space: Space, size: str, latent: int, kind: str = "auto") -> nn.Module:
    """Build an encoder from data to latent means and log-variances."""
    chosen = chosen_network(space, kind, *CODERS)
    if chosen == "convolutional":
        return Encoder.sized(size, shape=space.shape, latent=latent, conditions=space.conditions)
    return perceptron(space, size, space.size, (2 * latent,), chosen)


def decoder_for(
    space: Space, size: str, latent: int, kind: str = "auto", outputs: Sequence[int] | None = None
) -> nn.Module:
    """Build a decoder from latents to data, or to ``outputs`` that describe data."""
    chosen = chosen_network(space, kind, *CODERS)
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
        return mlp(space, size, inputs, outputs)
    count = math.prod(outputs)
    network = Perceptron.sized(size, shape=(inputs,), outputs=count, conditions=space.conditions)
    return Reshaped(network, outputs)


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
    """Variational autoencoder: evidence bound with a learned decoder variance; one call per sample.

    Networks receive the data's conditions; with labels, the prior is learned for each class (a
    conditional VAE).

    Args:
        encoder: Module ``encoder(x, None, condition)``.
        decoder: Module ``decoder(z, None, condition)``.
        network: auto, mlp, convolutional, or textbook (two hidden tanh layers).
        latent_size: Length of the latent vector; the default is 8 for convolutional images (larger
            latents match their prior only after long training), otherwise at most 16.
        likelihood: auto (rows for mixed-type tables, Bernoulli for binary data, otherwise
            Gaussian), gaussian, bernoulli, rows (separate for each kind of column), or logistic (a
            mixture of logistics over the 256 levels of images).
        beta: Weight of the KL term; 0 for a plain autoencoder.
        warmup: Fraction of training over which beta rises from 0.
        free_bits: Nats that each latent dimension may carry without cost, to prevent unused
            dimensions.
        importance_samples: Number of latents per example; with several, the loss is the
            importance-weighted bound.
        dreg: Whether to use the doubly reparameterised gradient (DReG), which stays accurate with
            many latents.

    References:
        Kingma and Welling (2014); Rybkin et al., sigma-VAE (2021); Sohn et al., CVAE (2015).
    """
    latent = _latent_size(latent_size, space, 16 if flat(space) else 8)
    density = likelihood_of(likelihood, space)
    method = VAE(
        encoder or encoder_for(space, size, latent, network),
        decoder or decoder_for(space, size, latent, network, density.outputs),
        space,
        latent=latent,
        likelihood=density,
        classes=len(space.classes),
        bound=EvidenceBound(beta, warmup, free_bits, importance_samples, dreg),
    )
    return Recipe(method, coding_training(space, network), "vae", "VAE")


def _latent_size(given: int | None, space: Space, of_images: int) -> int:
    if given is not None:
        return whole("latent_size", given, 1)
    if len(space.shape) == 1:
        return min(16, space.shape[0])
    return of_images


def coding_training(space: Space, network: str = "auto") -> Training:
    """Choose the training settings of encoders and decoders by their network."""
    training = Training(batch_size(space), precision=precision(space))
    if network == "convolutional" or (network == "auto" and not flat(space)):
        return training.changed(lr=2e-3, optimizer="muon")
    return training


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
    """VAE with two latent layers, trained by the importance-weighted bound; one call per sample.

    Args:
        encoder: Module ``encoder(x, None, condition)``: moments of the lower latent.
        decoder: Module ``decoder(h, None, condition)``.
        network: Network of encoder and decoder: auto, mlp, convolutional or textbook.
        latent_size: Length of the lower latent; the default is 32 for images, at most 16 for
            vectors.
        upper_size: Length of the upper latent; the default is half of latent_size.
        likelihood: auto (Bernoulli for binary data, otherwise Gaussian), gaussian, bernoulli or
            logistic.
        beta: Weight of the prior and posterior terms.
        warmup: Fraction of training over which beta rises from 0.
        importance_samples: Number of latents per example.
        dreg: Whether to use the doubly reparameterised gradient (DReG).

    References:
        Burda et al., Importance Weighted Autoencoders (2016).
    """
    lower = _latent_size(latent_size, space, 32)
    if upper_size is None:
        upper_size = max(1, lower // 2)
    upper = whole("upper_size", upper_size, 1)
    density = likelihood_of(likelihood, space)
    between = "textbook" if network == "textbook" else "mlp"
    method = HierarchicalVAE(
        encoder or encoder_for(space, size, lower, network),
        decoder or decoder_for(space, size, lower, network, density.outputs),
        perceptron(space, size, lower, (2 * upper,), between),
        perceptron(space, size, upper, (2 * lower,), between),
        space,
        latent=(lower, upper),
        likelihood=density,
        bound=EvidenceBound(beta, warmup, 0.0, importance_samples, dreg),
    )
    return Recipe(method, coding_training(space, network), "hvae", "VAE")


# Levels of finite scalar quantisation by number of codes (Mentzer et al., section 4.1)
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
    """Autoencoder with a codebook, learned (vq) or by rounding (fsq); one network call per sample.

    Args:
        codebook: Kind of codebook: vq (learned vectors that follow the data) or fsq (finite scalar
            quantisation: rounding).
        codes: Number of codes; for fsq about 64, 256, 512, 1024 or 4096.
        dim: Length of a learned vector; fsq chooses its own.
        factor: Number of pixels per code along each side: 2, 4 or 8; the default is 2 below 32
            pixels, otherwise 4. Not used for vectors and very small images, which become 8 codes.
        likelihood: auto (Bernoulli for binary data, otherwise Gaussian), gaussian, bernoulli or
            logistic.
        commitment: Weight of the term that keeps the encoder output close to the codes; not needed
            for rounding.

    References:
        van den Oord et al., VQ-VAE (2017); Mentzer et al., FSQ (2023).
    """
    one_of("codebook", codebook, ("vq", "fsq"))
    book: Codebook | Rounding
    if codebook == "vq":
        book = Codebook(codes, dim)
    elif codes in LEVELS:
        book = Rounding(LEVELS[codes])
        commitment = 0.0
    else:
        known = ", ".join(map(str, LEVELS))
        raise UsageError(f"Rounding supports about {known} codes; got codes={codes}.")
    density = likelihood_of(likelihood, space)
    places: tuple[int, ...]
    if flat(space):
        if factor is not None:
            raise UsageError(
                f"Examples with so few numbers are encoded by an MLP into {GROUP} codes, without "
                "reduction. Leave out `factor`."
            )
        places = (1, GROUP)
        encoder = perceptron(space, size, space.size, (book.dim, *places))
        decoder = perceptron(space, size, book.dim * GROUP, density.outputs)
        if not isinstance(decoder, Reshaped):
            decoder = Reshaped(decoder, density.outputs)
    else:
        if factor is None:
            factor = 2 if max(space.shape[1:]) < 32 else 4
        places = map_shape(space.shape, book.dim, factor)[1:]
        options = {"factor": factor, "conditions": space.conditions}
        encoder = Compressor.sized(size, shape=space.shape, outputs=book.dim, **options)
        decoded = (density.outputs[0], *space.shape[1:])
        decoder = Expander.sized(size, shape=decoded, inputs=book.dim, **options)
    method = QuantisedAutoencoder(
        encoder, decoder, book, space, places=places, likelihood=density, commitment=commitment
    )
    return Recipe(method, coding_training(space), "vqvae", "VAE")


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
    """Autoencoder for latent models: compresses images or tables, for `train flow --latent RUN`.

    It takes no labels, but models in its latent space may. For mixed-type tables it is a VAE with a
    small KL weight; only the settings channels and kl_weight apply.

    Args:
        factor: Reduction factor along each side: 2, 4 or 8. The default is 2 below 16 pixels, 4
            below 64, otherwise 8.
        channels: Number of channels of the latent map; the default is 4, or 8 for factor 8, reduced
            so that the latent is at most half as large as the image. For a table, the length of the
            latent; the default is 32, or 2 per column if that is less.
        critic: patch, or a critic of the recipe gan for images: dcgan, residual, textbook.
        perceptual_loss: Features for comparing reconstructions in addition to pixels: of the patch
            critic (critic), or none.
        features: Weight of the perceptual loss.
        adversarial: Weight of the critic relative to the other terms; 0 for none.
        start: Fraction of training after which the critic is used.
        kl_weight: Weight of the KL term, in nats per latent dimension; the default is 0.001. For a
            table, the weight of the whole term relative to the log-likelihood of a row; the default
            is 0.1.

    References:
        Rombach et al., Latent Diffusion Models (2022); Zhang et al., TabSyn (2024), for tables.
    """
    if len(space.grid) != 2:
        raise UsageError(
            "autoencoder compresses images and tables only. For other data, train a vae and use "
            "its latents."
        )
    one_of("perceptual loss", perceptual_loss, ("critic", "none"))
    if perceptual_loss == "critic" and features and critic != "patch":
        raise UsageError(
            f"The critic {critic} has no features to compare. Use `perceptual_loss=none`."
        )
    if factor is None:
        factor = _factor(max(space.shape[1:]))
    if channels is None:
        half = space.size // 2 // math.prod(map_shape(space.shape, 1, factor))
        channels = max(1, min(8 if factor == 8 else 4, half))
    if kl_weight is None:
        kl_weight = 1e-3
    if perceptual_loss == "none":
        features = 0.0

    plain = space.with_conditions()
    if critic == "patch":
        scorer: nn.Module = PatchCritic.sized(size, shape=space.shape)
    else:
        scorer = critic_for(plain, size, critic, spectral=True)
    method = PerceptualAutoencoder(
        Compressor.sized(size, shape=space.shape, outputs=2 * channels, factor=factor),
        Expander.sized(size, shape=space.shape, inputs=channels, factor=factor),
        scorer,
        plain,
        latent=map_shape(space.shape, channels, factor),
        weights=LossWeights(features, adversarial, start, kl_weight),
    )

    # a slower critic scored decoded images above real ones
    players = {"critic": {"lr": 2e-3, "betas": (0.5, 0.99), "optimizer": "adamw", "clip": None}}
    training = Training(
        # reconstructions are better after 8 times as many steps of an eighth of the images
        batch_size(space) // 8,
        lr=4e-3,
        precision=precision(space),
        optimizer="muon",
        ema=20_000,
        players=players,
    )
    return Recipe(method, training, "autoencoder", "autoencoder")


def _factor(side: int) -> int:
    if side < 16:
        return 2
    if side < 64:
        return 4
    return 8
