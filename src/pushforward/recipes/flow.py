"""Flow matching on the straight path."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.couplings import Independent, OptimalTransport, Source
from pushforward.data import Space
from pushforward.denoiser import Denoiser
from pushforward.errors import UsageError
from pushforward.methods import Denoising
from pushforward.paths import Linear
from pushforward.recipes.choice import batch_size, denoising_network, denoising_training, flat
from pushforward.recipes.options import NETWORK, PATH
from pushforward.recipes.recipe import Recipe
from pushforward.solvers import DPM
from pushforward.times import LogitNormal, Stratified, Uniform

__all__ = ["flow"]


def flow(
    space: Space,
    size: str = "small",
    *,
    network: Annotated[str | nn.Module, NETWORK] = "auto",
    coupling: Annotated[str, PATH] = "independent",
    reuse: Annotated[int, PATH] = 1,
    source: Annotated[str | Source | None, PATH] = None,
) -> Recipe:
    """Flow matching: regress the velocity z - x of the straight path; 25 DPM-Solver++(2M) steps by default.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)``.
        coupling: independent, or ot for minibatch optimal transport.
        reuse: Steps for which one batch and its transport plan are kept.
        source: A data set to start from instead of noise, by name or path; the flow then moves one set onto the other.
            Training starts from its training split, sampling from its held-out split.

    References:
        Lipman et al., Flow Matching for Generative Modeling (2023); Tong et al. (2024) for the coupling; Esser et al., Stable
        Diffusion 3 (2024), section 3.1, for logit-normal times.
    """
    if coupling not in ("independent", "ot"):
        raise UsageError(f'Unknown coupling "{coupling}"; choose independent or ot.')
    if coupling == "ot" and any(name != "label" for name in space.conditions):
        raise UsageError(
            "The coupling ot pairs noise with data within classes; with other conditions it would tie noise to their values. "
            "Leave coupling out."
        )
    start = Source(source, space) if isinstance(source, str) else source
    if start is not None and start.space.shape != space.shape:
        raise UsageError(
            f"The source is made for data of shape {start.space.shape}, the flow for {space.shape}; they must agree."
        )
    couple = OptimalTransport(batch_size(space), reuse, start) if coupling == "ot" else Independent(start)
    net = network if isinstance(network, nn.Module) else denoising_network(space, size, network)
    method = Denoising(
        Denoiser(net, Linear(), "velocity", space, source=start),
        couple=couple,
        # images lose their shape late, and it is their shape that is hard to learn: more of the training goes there
        times=Stratified(Uniform() if flat(space) else LogitNormal(0.8, 1.4)),
        solver=DPM(order=2),
        steps=25,
        # the last step goes to the mean of the data: it must be short where structure is finer than pixels
        grid="shifted:0.3" if flat(space) else "time",
    )
    return Recipe(method, denoising_training(space, net), "flow", "flow matching")
