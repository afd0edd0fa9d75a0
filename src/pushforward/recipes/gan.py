"""A GAN that keeps its modes: relativistic pairing with penalties on both sides; and, by its settings, the games before it."""

from __future__ import annotations

import dataclasses

from torch import nn

from pushforward.augmentation import DiffAugment
from pushforward.data import Space
from pushforward.methods import GAN
from pushforward.methods.objectives import OBJECTIVES
from pushforward.recipes.choice import batch_size, code_length, flat, precision
from pushforward.recipes.choice import critic as choose_critic
from pushforward.recipes.choice import generator as choose_generator
from pushforward.recipes.recipe import Recipe, Training
from pushforward.recipes.schedule import Schedule

__all__ = ["gan"]


def gan(
    space: Space,
    size: str = "small",
    *,
    generator: nn.Module | None = None,
    critic: nn.Module | None = None,
    network: str = "auto",
    latent_size: int | None = None,
    signs: int | None = None,
    waves: int | None = None,
    game: str | None = None,
    gamma: float | None = None,
    gamma_end: float | None = None,
    lr_ramp: float | None = None,
    beta2_end: float | None = None,
    ramp: int | None = None,
    ema_share: float = 0.05,
    penalty: str | None = None,
    every: int | None = None,
    pack: int = 1,
    deviation: int = 0,
    spectral: bool = False,
    augment_critic: str = "none",
    strength: float | None = None,
    adapt: float | None = None,
) -> Recipe:
    """R3GAN's game: relativistic pairs, R1 and R2; one network call per sample.

    Args:
        space: The data's shape, units and classes.
        size: The networks' size: tiny, small or base.
        generator: A module ``generator(z, None, condition)`` in place of the default.
        critic: A module ``critic(x, None, condition)`` in place of the default.
        network: auto, mlp, dcgan, residual (R3GAN's), textbook, or projected (a critic on features of a pretrained network, for
            few images; needs the extra projected); auto takes mlp for vectors and very small images, else dcgan.
        latent_size: Numbers in one row of noise; the default is 64 for images, 16 for vectors.
        signs: Of how many of them the generator also sees the signs, a code for each pattern, so that it can jump between modes.
            The default is 10 for vectors, none for images.
        waves: Waves of a vector that the critic is shown, so that it tells narrow modes from narrower ones. The default is 32
            for a perceptron on vectors whose layers are not held at norm one, none for images.
        game: relativistic (the default; a projected critic's is hinge), non_saturating (the original, which may collapse),
            minimax, hinge, least_squares or wasserstein.
        gamma: The weight of the gradient penalties. The default is 10 for images that take convolutions and for the game
            wasserstein, 0.5 for vectors, 5 otherwise.
        gamma_end: The weight at the end, on a cosine; the default is a tenth of gamma, for vectors 6 % of it.
        lr_ramp: The share of the learning rate that is left at the end, on a cosine; the default is 0.01 for vectors, else 1.
        beta2_end: The second average of the optimisers at the end, on a cosine from 0.99; the default keeps it.
        ramp: Training samples over which gamma, the rate and beta2 move; the default is the whole of training.
        ema_share: The averaged weights' half-life grows with training: it is this share of the samples seen, up to --ema.
        penalty: r1, r2 or gradient, joined by +, or none; the default is the game's own, r1+r2 for pairs.
        every: Steps between penalties (lazy regularisation); the critic's optimiser is rescaled to match. The default is 4 for
            dcgan on images of more than 256 numbers, else 1.
        pack: Samples that the critic judges together; 2 to 4 against lost modes.
        deviation: Samples in a group whose standard deviation the critic is shown; 4 is usual, 0 leaves it out.
        spectral: Whether the critic's layers are held at norm one.
        augment_critic: Changes to what the critic sees, for few images: color, translation, cutout, joined by commas; or none.
        strength: The probability of each of these changes; the default is 1, or 0 at the start where it adapts.
        adapt: The mean sign of the critic's scores at which the strength is held by adapting it; 0.6 is usual.

    References:
        Huang et al., The GAN Is Dead; Long Live the GAN! (2024); for the rest see `pushforward.GAN`.
    """
    latent = code_length(space, latent_size, image=64, vector=16)
    convolutional, vector = not flat(space), space.kind == "vector"
    signs = (min(10, latent) if vector else 0) if signs is None else signs
    waves = (32 if vector and network in ("auto", "mlp") and not spectral else 0) if waves is None else waves
    game = ("hinge" if network == "projected" else "relativistic") if game is None else game
    if penalty is None:
        penalty = OBJECTIVES[game].penalty if game in OBJECTIVES and network != "projected" else "none"
    if every is None:
        every = 4 if convolutional and network in ("auto", "dcgan") else 1
    if gamma is None:
        gamma = 10.0 if convolutional or game == "wasserstein" else (0.5 if vector else 5.0)
    plain = penalty == "none" and not spectral
    if critic is None:
        critic = choose_critic(
            space, size, network, pack=pack, deviation=deviation, waves=waves, spectral=spectral, normalise=plain
        )
    augment = None if augment_critic == "none" else DiffAugment(augment_critic, extent=_extent(space))
    method = GAN(
        generator or choose_generator(space, size, latent, network, signs),
        critic,
        space,
        latent=latent,
        game=game,
        gamma=gamma,
        gamma_end=gamma * (0.06 if vector else 0.1) if gamma_end is None else gamma_end,
        ramp=ramp,
        penalty=penalty,
        every=every,
        pack=pack,
        deviation=deviation,
        augment=augment,
        strength=(1.0 if adapt is None else 0.0) if strength is None else strength,
        adapt=adapt,
    )
    training = _training(space, network == "projected", every if penalty != "none" and gamma else 1)
    # the rate falls over all of training for vectors, whose modes a step at the full rate may leave
    lr_ramp = (0.01 if vector else 1.0) if lr_ramp is None else lr_ramp
    schedule = Schedule(lr_end=0.01 if vector else 0.1, lr_ramp=lr_ramp, beta2_end=beta2_end, ramp=ramp)
    training = dataclasses.replace(training, schedule=schedule, ema_share=ema_share)
    return Recipe(method, training, "gan", "GAN")


def _training(space: Space, projected: bool, every: int) -> Training:
    vector = space.kind == "vector"
    lr = 2e-4 if projected else (1.5e-3 if vector else (5e-4 if flat(space) else 1e-3))
    betas = (0.0, 0.99)
    # StyleGAN2, appendix B: what a penalty on one step in so many adds to a step without, the optimiser need not see twice
    share = every / (every + 1)
    lazy = {"critic": {"lr": lr * share, "betas": [beta**share for beta in betas]}} if every > 1 else {}
    return Training(
        batch_size(space),
        lr=lr,
        betas=betas,
        clip=None,
        ema=20_000,
        precision=precision(space),
        players=lazy,
    )


def _extent(space: Space) -> float:
    """The widest channel's distance from its lowest to its highest value, in model units."""
    bounds = space.bounds
    return 2.0 if bounds is None else float((bounds[1] - bounds[0]).max())
