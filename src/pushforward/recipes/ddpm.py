"""The denoising diffusion probabilistic model."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space, TableSpace
from pushforward.denoisers import Denoiser, Preconditioning
from pushforward.methods import Denoising
from pushforward.paths import Levels, Stratified, Tabulated, linear_betas
from pushforward.recipes.choice import denoising_network, denoising_training, table_denoising, table_training
from pushforward.recipes.recipe import NETWORK, PATH, Recipe, on_space
from pushforward.solvers import DPM


@on_space
def ddpm(
    space: Space,
    size: str = "small",
    *,
    network: Annotated[str | nn.Module, NETWORK] = "auto",
    levels: Annotated[int, PATH] = 1000,
    preconditioned: Annotated[bool, NETWORK] = True,
) -> Recipe:
    """DDPM as published: linear betas, integer times, noise prediction; 25 DPM-Solver++(2M) steps by default.

    The paper's own sampler is there as well: ``--solver ancestral --steps 1000``.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, columns (tables of mixed types), or a module ``network(x, t, condition)``.
        levels: T, the number of noise levels.
        preconditioned: Predict the noise as sigma x_t + alpha network(x_t, t), so that the network need not copy x_t at high
            noise; the loss is the squared error of the noise either way. False: the network's own output is the noise, as in
            the paper.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models (2020), section 4.
    """
    # fewer levels keep the same total noise by larger betas, as in Nichol and Dhariwal (2021)
    betas = linear_betas(levels, 0.1 / levels, min(20.0 / levels, 0.999))
    if isinstance(space, TableSpace):
        path, times = Tabulated(betas), Stratified(Levels(levels))
        rows = table_denoising(space, size, network, path, "noise", times=times)
        return Recipe(rows, table_training(size, space, network), "ddpm", "diffusion")
    net = denoising_network(space, size, network)
    method = Denoising(
        Denoiser(net, Tabulated(betas), "noise", space, preconditioning=Preconditioning(output="v" if preconditioned else None)),
        times=Stratified(Levels(levels)),
        solver=DPM(order=2),
        steps=25,
        # equal times spend more steps where images take shape; vectors may have structure that is finer than the last of them
        grid="log_snr" if len(space.shape) == 1 else "time",
    )
    return Recipe(method, denoising_training(space, net), "ddpm", "diffusion")
