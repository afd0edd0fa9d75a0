"""Diffusion models: DDPM, EDM and variational diffusion."""

from __future__ import annotations

import math

from torch import nn

from pushforward.data import Space
from pushforward.denoisers import Denoiser, Preconditioning
from pushforward.methods import Denoising
from pushforward.networks import LevelPosterior
from pushforward.networks.wrappers import PARTS
from pushforward.paths import (
    VE,
    EDMWeight,
    Flat,
    Levels,
    Linear,
    LogNormal,
    LogSNR,
    Stratified,
    Tabulated,
    linear_betas,
)
from pushforward.recipes.defaults import denoising_network, denoising_training, flat
from pushforward.recipes.recipe import NetworkOption, PathOption, Recipe, on_space
from pushforward.solvers import DPM, Heun


@on_space
def ddpm(
    space: Space,
    size: str = "small",
    *,
    network: NetworkOption[str | nn.Module] = "auto",
    levels: PathOption[int] = 1000,
    preconditioned: NetworkOption[bool] = True,
) -> Recipe:
    """DDPM: linear betas, integer times, the loss of noise prediction; 25 DPM-Solver++(2M) steps.

    To use the paper's sampler: ``--solver ancestral --steps 1000``.

    Args:
        network: auto, mlp, unet, dit, columns (tables of mixed types), or a module
            ``network(x, t, condition)``.
        levels: Number of noise levels T.
        preconditioned: Whether the network outputs v, and the noise is sigma x_t + alpha v, so that
            the network need not copy x_t at high noise; otherwise it outputs the noise itself, as
            in the paper.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models (2020), section 4.
    """
    path = ddpm_path(levels)
    times = Stratified(Levels(levels))
    net = denoising_network(space, size, network)
    output = "v" if preconditioned else None
    denoiser = Denoiser(net, path, "noise", space, preconditioning=Preconditioning(output=output))
    # images take shape at late times, which equal times favour; vectors may have finer structure
    grid = "log_snr" if len(space.shape) == 1 else "time"
    method = Denoising(denoiser, times=times, solver=DPM(order=2), steps=25, grid=grid)
    return Recipe(method, denoising_training(space, net), "ddpm", "diffusion")


def ddpm_path(levels: int) -> Tabulated:
    """Return the path of DDPM for a number of levels.

    Fewer levels keep the same total noise by larger betas, as in Nichol and Dhariwal (2021).
    """
    return Tabulated(linear_betas(levels, 0.1 / levels, min(20.0 / levels, 0.999)))


# Lowest noise level at which sampling starts, for short vectors
LEAST_SIGMA_MAX = 20.0


@on_space
def edm(
    space: Space, size: str = "small", *, network: NetworkOption[str | nn.Module] = "auto"
) -> Recipe:
    """EDM: preconditioned denoising over log-normal noise levels; 18 Heun steps (35 network calls).

    With data of unit variance the preconditioned output is -v, so this is the v prediction on the
    variance-exploding path. Short vectors and very small images use the paper's log-normal
    distribution, whose mean -1.2 for data with standard deviation 0.5 is -1.2 + log 2 in model
    units. Larger images are trained at higher noise levels, the same as for flow.

    Args:
        network: auto, mlp, unet, dit, columns (tables of mixed types), or a module
            ``network(x, t, condition)``.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models (2022),
        table 1.
    """
    path = VE(sigma_max=sigma_max(space.size))
    weight = EDMWeight()
    net = denoising_network(space, size, network)
    denoiser = Denoiser(net, path, "v", space, preconditioning=Preconditioning(clock="log_snr"))
    levels = LogNormal(-0.5, 1.2) if flat(space) else LogNormal(0.8, 1.4)
    times = Stratified(levels)
    method = Denoising(denoiser, times=times, weight=weight, solver=Heun(), steps=18, grid="karras")
    return Recipe(method, denoising_training(space, net), "edm", "diffusion")


def sigma_max(size: int) -> float:
    """Choose the noise level at which sampling starts, for examples of ``size`` numbers.

    Sampling starts from N(0, sigma^2) instead of x + sigma z, from which it differs by at most size
    / (2 sigma^2) nats. The paper's 80 for 3,072 numbers with standard deviation 0.5 is 160 in model
    units, or 0.06 nats; this function keeps 0.06 nats for images of every size.
    """
    return max(LEAST_SIGMA_MAX, 160 * math.sqrt(size / 3072))


@on_space
def vdm(
    space: Space, size: str = "small", *, network: NetworkOption[str | nn.Module] = "auto"
) -> Recipe:
    """Variational diffusion: the loss is a bound on the likelihood; 25 DPM-Solver++(2M) steps.

    Noise levels are uniform in log-SNR; the squared error of the noise is the ELBO up to a factor.
    Images are treated as 256 levels (`pushforward.networks.LevelPosterior`). Choose vdm for bits
    per dimension; for realistic samples, ``flow`` is more efficient.

    Args:
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` that predicts data.

    References:
        Kingma, Salimans, Poole, Ho, Variational Diffusion Models (2021), eq. 11 to 18.
    """
    wide = space
    if space.grid:
        wide = space.unscaled((PARTS * space.shape[0], *space.shape[1:]))
    inner = denoising_network(wide, size, network)
    net = inner
    if space.grid and not isinstance(network, nn.Module):
        net = LevelPosterior(inner, space)
    clock = Preconditioning(clock="log_snr")
    method = Denoising(
        Denoiser(net, Linear(), "data", space, preconditioning=clock),
        times=Stratified(LogSNR()),
        weight=Flat("noise"),
        solver=DPM(order=2),
        steps=25,
        grid="time",
    )
    return Recipe(method, denoising_training(space, inner), "vdm", "diffusion")
