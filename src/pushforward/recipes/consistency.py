"""A consistency model: one step from any noise level to data, learned without a teacher."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space
from pushforward.methods import Mapping
from pushforward.methods.flow_map import Sorted
from pushforward.methods.rules import Start
from pushforward.recipes.choice import denoising_training
from pushforward.recipes.recipe import LOSS, NETWORK, Recipe, on_space
from pushforward.recipes.students import new_map, times_for


@on_space
def consistency(
    space: Space,
    size: str = "small",
    *,
    network: Annotated[str | nn.Module, NETWORK] = "auto",
    first: Annotated[float, LOSS] = 1.0,
    last: Annotated[float, LOSS] = 0.005,
    over: Annotated[float, LOSS] = 0.8,
    derivative: Annotated[str, LOSS] = "none",
    average: Annotated[float | None, LOSS] = None,
    power: Annotated[float, LOSS] = 0.5,
) -> Recipe:
    """Consistency model: states of one noise and one example lead to the same data; one call per sample.

    It begins as a denoiser, and the two states that are compared come ever closer (ECT). It only knows the way to data: more
    steps add noise again between them.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` with t of shape (n, 2).
        first: How far apart the two states are at the start of training, as a share of the way to data.
        last: The same at the end; it falls geometrically.
        over: The share of training over which it falls.
        derivative: none, or the exact limit by forward differentiation or difference.
        average: The half-life, in examples, of an average of the map that is evaluated at the second state; by default the map
            itself is.
        power: How much less examples of large error count; 0 counts all equally.

    References:
        Song et al., Consistency Models (2023), algorithm 3; Geng et al., Consistency Models Made Easy (ECT, 2025).
    """
    flow_map = new_map(space, size, network)
    rule = Start(first, last, over=over, derivative=derivative, average=average)
    method = Mapping(flow_map, rule, Sorted(times_for(space), diagonal=0.0, to_data=1.0), power=power)
    return Recipe(method, denoising_training(space, flow_map.network), "consistency", "flow map")
