"""A GAN that keeps its modes: relativistic pairs, with gradient penalties on both sides."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from pushforward.arguments import whole
from pushforward.data import Space
from pushforward.methods import GAN
from pushforward.methods.adversarial import OBJECTIVES, CriticInput, Penalties
from pushforward.recipes.defaults import (
    augmentation,
    batch_size,
    critic as choose_critic,
    flat,
    generator as choose_generator,
    precision,
)
from pushforward.recipes.recipe import (
    LossOption,
    NetworkOption,
    Recipe,
    RegularisationOption,
    Schedule,
    ScheduleOption,
    Training,
    on_space,
)

# DCGANs of images of at most this many numbers leave their first mode sooner with short noise
PLAIN = 1024

# Games of vectors find their modes at a high rate and high penalties, which takes many samples
SHORTEST_RAMP = 400_000


@on_space
def gan(
    space: Space,
    size: str = "small",
    *,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    network: NetworkOption[str] = "auto",
    latent_size: NetworkOption[int | None] = None,
    sign_codes: NetworkOption[int | None] = None,
    fourier_features: NetworkOption[int | None] = None,
    loss: LossOption[str | None] = None,
    gamma: RegularisationOption[float | None] = None,
    gamma_end: ScheduleOption[float | None] = None,
    lr_ramp: ScheduleOption[float | None] = None,
    beta2_end: ScheduleOption[float | None] = None,
    ramp: ScheduleOption[int | None] = None,
    shortest_ramp: ScheduleOption[int | None] = None,
    ema_share: ScheduleOption[float] = 0.05,
    penalty: RegularisationOption[str | None] = None,
    penalty_interval: RegularisationOption[int | None] = None,
    difference: RegularisationOption[float | None] = None,
    pack: RegularisationOption[int] = 1,
    minibatch_std: RegularisationOption[int] = 0,
    spectral: RegularisationOption[bool] = False,
    augment_critic: RegularisationOption[str] = "none",
    strength: RegularisationOption[float | None] = None,
    ada_target: RegularisationOption[float | None] = None,
) -> Recipe:
    """GAN with the R3GAN loss: relativistic pairs, R1 and R2; one network call per sample.

    For vectors with continuous attributes, the batch size is 512 and the critic's learning rate is
    eight times the generator's.

    Args:
        generator: Module ``generator(z, None, condition)``.
        critic: Module ``critic(x, None, condition)``.
        network: auto, mlp, dcgan, residual (R3GAN's) or textbook; auto uses mlp for vectors and
            very small images, otherwise dcgan.
        latent_size: Length of the noise vector; the default is 16 for vectors and for dcgan images
            with 257 to 1,024 numbers, otherwise 64.
        sign_codes: Number of noise entries whose signs the generator also receives, as one learned
            code per pattern, so that it can jump between modes; the default is 10 for vectors.
        fourier_features: Number of Fourier features of vectors for the critic, so that it resolves
            narrow modes; the default is 32 for an mlp critic of vectors without spectral norms.
        loss: relativistic (the default), non_saturating (the original, which may collapse),
            minimax, hinge, least_squares or wasserstein.
        gamma: Weight of the gradient penalties; the default is 10 for convolutional images and for
            wasserstein, 0.5 for vectors without continuous attributes, otherwise 5.
        gamma_end: Weight of the penalties at the end of a cosine schedule; the default is a tenth
            of gamma, or 6 % for vectors.
        lr_ramp: Fraction of the learning rate at the end of a cosine schedule; the default is 0.01
            for vectors, otherwise 1.
        beta2_end: Second beta of the optimisers at the end of a cosine schedule from 0.99; constant
            by default.
        ramp: Number of training examples over which gamma, learning rate and beta2 change; the
            default is the whole training run.
        shortest_ramp: Minimum length of the ramp in training examples: a shorter training run ends
            before the end of the ramp. Without ramp, the default is 400,000 for vectors without
            continuous attributes, if there are penalties.
        ema_share: Half-life of the averaged weights as a fraction of the examples so far, at most
            --ema.
        penalty: r1, r2 or gradient, joined by +, or none; the default depends on the loss, r1+r2
            for relativistic.
        penalty_interval: Number of steps between penalties (lazy regularisation); the default is 4
            for dcgan on images with more than 256 numbers, otherwise 1.
        difference: Step of finite differences for estimating r1 and r2, for example 0.05, which
            saves the second derivative; exact gradients by default.
        pack: Number of samples that the critic scores together; 2 to 4 against lost modes.
        minibatch_std: Group size for minibatch standard deviation in the critic; usually 4, 0 for
            none.
        spectral: Whether the critic uses spectral normalisation.
        augment_critic: Augmentation of the critic's inputs, for small data sets of images: color,
            translation, cutout, separated by commas; or none.
        strength: Probability of each augmentation; the default is 1, or initially 0 with
            ada_target.
        ada_target: Target for the mean sign of the critic's scores, reached by adapting the
            strength (ADA); usually 0.6, none by default.

    References:
        Huang et al., The GAN Is Dead; Long Live the GAN! (2024); see also `pushforward.GAN`.
    """
    vector = len(space.shape) == 1
    points = vector and not _continuous(space)
    convolutional = not flat(space)
    dcgan = convolutional and network in ("auto", "dcgan")

    if latent_size is None:
        short = vector or (dcgan and space.size <= PLAIN)
        latent_size = 16 if short else 64
    latent = whole("latent_size", latent_size, 1)
    if sign_codes is None:
        sign_codes = min(10, latent) if vector else 0
    resolved = space.continuous != ()
    if fourier_features is None:
        plain_mlp = vector and network in ("auto", "mlp") and not spectral
        fourier_features = 32 if plain_mlp and resolved else 0

    if loss is None:
        loss = "relativistic"
    if penalty is None:
        penalty = "none"
        if loss in OBJECTIVES:
            penalty = OBJECTIVES[loss].penalty
    if penalty_interval is None:
        penalty_interval = 4 if dcgan else 1
    if gamma is None:
        if convolutional or loss == "wasserstein":
            gamma = 10.0
        elif points:
            gamma = 0.5
        else:
            gamma = 5.0
    if gamma_end is None:
        gamma_end = gamma * (0.06 if vector else 0.1)
    penalised = penalty != "none" and gamma > 0
    if shortest_ramp is None and ramp is None and points and penalised:
        shortest_ramp = SHORTEST_RAMP
    if strength is None:
        strength = 1.0 if ada_target is None else 0.0

    if critic is None:
        critic = choose_critic(
            space,
            size,
            network,
            pack=pack,
            minibatch_std=minibatch_std,
            fourier_features=fourier_features,
            spectral=spectral,
            normalise=penalty == "none" and not spectral,
        )
    if generator is None:
        generator = choose_generator(space, size, latent, network, sign_codes)
    generator, latent = space.generator(generator, latent)
    penalties = Penalties(
        penalty, gamma, gamma_end, ramp, penalty_interval, difference, shortest_ramp
    )
    augment = augmentation(space, augment_critic)
    critic_input = CriticInput(pack, minibatch_std, augment, strength, ada_target)
    method = GAN(
        generator,
        critic,
        space,
        latent=latent,
        loss=loss,
        penalties=penalties,
        critic_input=critic_input,
    )

    if not penalised:
        penalty_interval = 1
    training = _training(space, penalty_interval)
    # the rate for vectors falls throughout, because a step at the full rate may leave a mode
    if lr_ramp is None:
        lr_ramp = 0.01 if vector else 1.0
    schedule = Schedule(
        lr_end=0.01 if vector else 0.1,
        lr_ramp=lr_ramp,
        beta2_end=beta2_end,
        ramp=ramp,
        shortest_ramp=shortest_ramp,
    )
    training = dataclasses.replace(training, schedule=schedule, ema_share=ema_share)
    return Recipe(method, training, "gan", "GAN")


def _continuous(space: Space) -> bool:
    return any(kind.continuous for kind in space.conditions.values())


def _training(space: Space, penalty_interval: int) -> Training:
    vector = len(space.shape) == 1
    if vector:
        lr = 1.5e-3
    elif flat(space):
        lr = 5e-4
    else:
        lr = 1e-3
    batch = batch_size(space)
    critic_lr = lr
    if vector and _continuous(space):
        # each value of an attribute has few examples, so the game is noisier
        batch = 512
        lr = lr / 2
        critic_lr = 8 * lr
    betas = (0.0, 0.99)
    share = 1.0
    if penalty_interval > 1:
        # StyleGAN2, appendix B: lazy penalties adjust the optimiser's rates
        share = penalty_interval / (penalty_interval + 1)
    critic: dict[str, Any] = {}
    if critic_lr * share != lr:
        critic["lr"] = critic_lr * share
    if penalty_interval > 1:
        critic["betas"] = [beta**share for beta in betas]
    return Training(
        batch,
        lr=lr,
        betas=betas,
        clip=None,
        ema=20_000,
        precision=precision(space),
        players={"critic": critic} if critic else {},
    )
