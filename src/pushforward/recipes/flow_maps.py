"""Maps between two times without a teacher: consistency models, mean flows and shortcut models."""

from __future__ import annotations

from typing import Annotated

from torch import nn

from pushforward.data import Space
from pushforward.methods import Mapping
from pushforward.methods.flow_map import Dyadic, Sorted
from pushforward.methods.rules import Middle, Start
from pushforward.recipes.choice import denoising_training
from pushforward.recipes.recipe import LOSS, NETWORK, PATH, Recipe, on_space
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


@on_space
def meanflow(
    space: Space,
    size: str = "small",
    *,
    network: Annotated[str | nn.Module, NETWORK] = "auto",
    first: Annotated[float, LOSS] = 1.0,
    last: Annotated[float, LOSS] = 0.005,
    over: Annotated[float, LOSS] = 0.8,
    derivative: Annotated[str, LOSS] = "none",
    direction: Annotated[str, LOSS] = "pair",
    diagonal: Annotated[float, PATH] = 0.25,
    power: Annotated[float, LOSS] = 0.5,
) -> Recipe:
    """Mean flow: regress the mean velocity between two times; one call per sample, or more for quality.

    It begins as flow matching and ends as a map that agrees with itself along the velocity (AlphaFlow, SoFlow); with
    ``derivative="forward"`` it is the published MeanFlow, at 2.5 times the cost of a step.

    Args:
        space: The data's shape, units and conditions.
        size: The network's size: tiny, small or base.
        network: auto, mlp, unet, dit, or a module ``network(x, t, condition)`` with t of shape (n, 2).
        first: The share of the way that the data's velocity covers at the start of training.
        last: The same at the end; it falls geometrically.
        over: The share of training over which it falls.
        derivative: none, or the exact limit by forward differentiation or difference.
        direction: Along which velocity the map agrees with itself: that of the training pair ("pair"), or its own ("map", as in
            Improved Mean Flows), at a fifth to a third more time a step.
        diagonal: The share of examples that are trained as a flow, with equal times.
        power: How much less examples of large error count; 0 counts all equally.

    References:
        Geng et al., Mean Flows for One-step Generative Modeling (2025); Geng et al., Improved Mean Flows (2025), for the
        direction; Zhang et al., AlphaFlow (2025); Luo et al., SoFlow (2025).
    """
    flow_map = new_map(space, size, network)
    rule = Start(first, last, over=over, derivative=derivative, direction=direction)
    method = Mapping(flow_map, rule, Sorted(times_for(space), diagonal=diagonal), power=power)
    return Recipe(method, denoising_training(space, flow_map.network), "meanflow", "flow map")


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
