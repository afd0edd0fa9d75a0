"""Variational diffusion: trained on its own likelihood bound."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space
from pushforward.denoisers import Denoiser, Preconditioning
from pushforward.methods import Denoising
from pushforward.networks import LevelPosterior
from pushforward.networks.level_posterior import PARTS
from pushforward.paths import Flat, Linear, LogSNR, Stratified
from pushforward.recipes.choice import denoising_network, denoising_training
from pushforward.recipes.recipe import NETWORK, Recipe, on_space
from pushforward.solvers import DPM


@on_space
def vdm(space: Space, size: str = "small", *, network: Annotated[str | nn.Module, NETWORK] = "auto") -> Recipe:
    """Variational diffusion: the loss is the bound on the likelihood; 25 DPM-Solver++(2M) steps by default.

    Noise levels are uniform in log-SNR and the error is that of the noise, which makes the loss the ELBO up to a factor. Images
    are taken as 256 levels (`pushforward.networks.LevelPosterior`). Choose it for bits per dimension
    (``pushforward evaluate --metrics bpd``); for looks, ``flow`` spends its effort better.

    Args:
        space: The data's shape, units and classes.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` that predicts data.

    References:
        Kingma, Salimans, Poole, Ho, Variational Diffusion Models (2021), eq. 11 to 18.
    """
    net = network if isinstance(network, nn.Module) else _network(space, size, network)
    method = Denoising(
        Denoiser(net, Linear(), "data", space, preconditioning=Preconditioning(clock="log_snr")),
        times=Stratified(LogSNR()),
        weight=Flat("noise"),
        solver=DPM(order=2),
        steps=25,
        grid="time",
    )
    return Recipe(method, denoising_training(space, getattr(net, "network", net)), "vdm", "diffusion")


def _network(space: Space, size: str, kind: str) -> nn.Module:
    if not space.grid:
        return denoising_network(space, size, kind)
    channels = PARTS * space.shape[0]
    wide = space.unscaled((channels, *space.shape[1:]))
    return LevelPosterior(denoising_network(wide, size, kind), space)
