"""The diffusion model of Karras et al."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space
from pushforward.denoiser import Denoiser
from pushforward.methods import Denoising
from pushforward.paths import VE
from pushforward.recipes.choice import denoising_network, denoising_training
from pushforward.recipes.options import NETWORK
from pushforward.recipes.recipe import Recipe
from pushforward.solvers import Heun
from pushforward.times import EDMWeight, LogNormal, Stratified

__all__ = ["edm"]

SIGMA_MAX = 20.0
"""The paper samples from 160 (80 for data of standard deviation 0.5), which log-normal training reaches once in a million
draws: after minutes of training the network is arbitrary there, and a sample can blow up (seen once, from 80). At 20, x_t is
noise to one part in 800 of its standard deviation."""


def edm(space: Space, size: str = "small", *, network: Annotated[str | nn.Module, NETWORK] = "auto") -> Recipe:
    """EDM: preconditioned denoising over log-normal noise levels; 18 Heun steps by default (35 network calls).

    With data of unit variance the preconditioned output is -v, so this is the v prediction on the variance-exploding path. The
    paper's log-normal law has mean -1.2 for data of standard deviation 0.5, which is -1.2 + log 2 for data of unit variance.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)``.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models (2022), table 1.
    """
    made = network if isinstance(network, nn.Module) else denoising_network(space, size, network)
    method = Denoising(
        Denoiser(made, VE(sigma_max=SIGMA_MAX), "v", space, clock="log_snr"),
        times=Stratified(LogNormal(-0.5, 1.2)),
        weight=EDMWeight(),
        solver=Heun(),
        steps=18,
        grid="karras",
    )
    return Recipe(method, denoising_training(space, made), "edm", "diffusion")
