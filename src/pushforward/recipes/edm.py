"""The diffusion model of Karras et al."""

from __future__ import annotations

import math
from typing import Annotated

from torch import nn

from pushforward.data import Space, TableSpace
from pushforward.denoisers import Denoiser, Preconditioning
from pushforward.methods import Denoising
from pushforward.paths import VE, EDMWeight, LogNormal, Stratified
from pushforward.recipes.choice import denoising_network, denoising_training, flat, table_denoising, table_training
from pushforward.recipes.recipe import NETWORK, Recipe, on_space
from pushforward.solvers import Heun

LEAST_SIGMA_MAX = 20.0
"""Where sampling starts for short vectors, on which the start of `sigma_max` would be lower."""


@on_space
def edm(space: Space, size: str = "small", *, network: Annotated[str | nn.Module, NETWORK] = "auto") -> Recipe:
    """EDM: preconditioned denoising over log-normal noise levels; 18 Heun steps by default (35 network calls).

    With data of unit variance the preconditioned output is -v, so this is the v prediction on the variance-exploding path. Short
    vectors and very small images keep the paper's log-normal law, whose mean -1.2 for data of standard deviation 0.5 is
    -1.2 + log 2 in model units. Larger images are trained at noisier levels, the same as the flow's.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, columns (tables of mixed types), or a module ``network(x, t, condition)``.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models (2022), table 1.
    """
    if isinstance(space, TableSpace):
        path, times = VE(sigma_max=sigma_max(space.size)), Stratified(LogNormal(-0.5, 1.2))
        rows = table_denoising(space, size, network, path, "v", times=times, weight=EDMWeight())
        return Recipe(rows, table_training(size, space, network), "edm", "diffusion")
    net = denoising_network(space, size, network)
    method = Denoising(
        Denoiser(net, VE(sigma_max=sigma_max(space.size)), "v", space, preconditioning=Preconditioning(clock="log_snr")),
        times=Stratified(LogNormal(-0.5, 1.2) if flat(space) else LogNormal(0.8, 1.4)),
        weight=EDMWeight(),
        solver=Heun(),
        steps=18,
        grid="karras",
    )
    return Recipe(method, denoising_training(space, net), "edm", "diffusion")


def sigma_max(size: int) -> float:
    """The noise level at which sampling starts, for examples of ``size`` numbers of unit variance.

    Sampling starts from N(0, sigma^2) instead of x + sigma z, from which it differs by at most size / (2 sigma^2) nats. The
    paper's 80 for 3,072 numbers of standard deviation 0.5 is 160 in model units, or 0.06 nats; this level keeps them for images
    of every size.
    """
    return max(LEAST_SIGMA_MAX, 160 * math.sqrt(size / 3072))
