"""A shortcut model: jumps of halved lengths that agree with each other, learned without a teacher."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space
from pushforward.methods import Mapping
from pushforward.methods.flow_map import Dyadic
from pushforward.methods.rules import Middle
from pushforward.recipes.choice import denoising_training
from pushforward.recipes.recipe import LOSS, NETWORK, PATH, Recipe, on_space
from pushforward.recipes.students import new_map


@on_space
def shortcut(
    space: Space,
    size: str = "small",
    *,
    network: Annotated[str | nn.Module, NETWORK] = "auto",
    levels: Annotated[int, PATH] = 7,
    diagonal: Annotated[float, PATH] = 0.75,
    average: Annotated[float | None, LOSS] = None,
    power: Annotated[float, LOSS] = 0.5,
) -> Recipe:
    """Shortcut model: a jump of the map is to be two jumps of half its length; one call per sample, or more for quality.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` with t of shape (n, 2).
        levels: How often the whole way is halved: jumps have the lengths 1, 1/2, ... 2^-levels.
        diagonal: The share of examples that are trained as a flow, with equal times.
        average: The half-life, in examples, of an average of the map that makes the two jumps; by default the map makes them.
        power: How much less examples of large error count; 0 counts all equally.

    References:
        Frans et al., One Step Diffusion via Shortcut Models (2025).
    """
    flow_map = new_map(space, size, network)
    method = Mapping(flow_map, Middle(average=average), Dyadic(levels, diagonal=diagonal), power=power)
    return Recipe(method, denoising_training(space, flow_map.network), "shortcut", "flow map")
