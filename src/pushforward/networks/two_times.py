"""A network of one time, turned into one of two times that starts as it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward import spec
from pushforward.errors import UsageError
from pushforward.networks.embedding import TimeEmbedding

POINTS = 4096
"""Times at which the two embeddings are compared."""
RIDGE = 1e-6
"""The weight of the squared weights in the fit of an embedding, for each of its points."""


def with_second_time(
    network: nn.Module, ends: tuple[float, float], received: Callable[[Tensor], Tensor], times: int = 2
) -> nn.Module:
    """A copy of a network that takes two times, or more, and at first does not depend on any but the first.

    The copy's embedding of the time has lower frequencies. Its two layers are fitted to the network's embedding by two linear
    regressions, first the inner and then the outer layer; all other weights are copied.

    Args:
        network: Of one time; its class takes ``times``, as `pushforward.networks` do.
        ends: The least and the greatest time that the copy receives.
        received: From a time of the copy to the network's input, both (n,) and float64: the copy may scale time otherwise.
        times: How many the copy takes: 3 for a scale of guidance as well.

    Raises:
        UsageError: If the network's class takes no ``times``, or it has another number of times than one.
    """
    described = spec.describe(network)
    if not _set_times(described, times):
        raise UsageError(
            f"{type(network).__name__} cannot become a map between two times: its class must take the argument times, here 1. "
            "Networks of pushforward (MLP, UNet, DiT) have it."
        )
    copy: nn.Module = spec.build(described).to(next(network.parameters()))
    target, source = copy.state_dict(), network.state_dict()
    copy.load_state_dict({name: source[name] if source[name].shape == part.shape else part for name, part in target.items()})
    embeddings = {name: part for name, part in network.named_modules() if isinstance(part, TimeEmbedding)}
    points = torch.linspace(*ends, POINTS, dtype=torch.float64)
    for name, embedding in embeddings.items():
        fitted = copy.get_submodule(name)
        assert isinstance(fitted, TimeEmbedding)
        _fit(fitted, embedding, points, received(points))
    return copy.train(network.training)


def _set_times(described: Any, times: int) -> bool:
    if not isinstance(described, dict):
        return False
    if described.get("times") == 1:
        described["times"] = times
        return True
    return any(_set_times(part, times) for part in described.values())


@torch.no_grad()
def _fit(fitted: TimeEmbedding, embedding: TimeEmbedding, times: Tensor, received: Tensor) -> None:
    times, received = (part.to(fitted.inner.weight.device, torch.float64) for part in (times, received))
    old, new = deepcopy(embedding).double(), deepcopy(fitted).double()
    features = new.features(torch.stack([times, *[torch.zeros_like(times)] * (new.times - 1)], dim=1))
    number = len(new.frequencies)
    first = torch.zeros(features.shape[1], dtype=torch.bool, device=features.device).view(2, new.times, number)
    first[:, 0] = True
    first = first.flatten()
    weight, bias = _regression(features[:, first], old.inner(old.features(received[:, None])))
    new.inner.weight.zero_()
    new.inner.weight[:, first] = weight
    new.inner.bias.copy_(bias)
    weight, bias = _regression(F.silu(new.inner(features)), old(received))
    new.outer.weight.copy_(weight)
    new.outer.bias.copy_(bias)
    fitted.load_state_dict(new.state_dict())


def _regression(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of the linear layer that maps (n, a) to (n, b) with the least squared error and small weights."""
    mean, center = inputs.mean(0), outputs.mean(0)
    x, y = inputs - mean, outputs - center
    penalty = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(x.T @ x + penalty, x.T @ y).T
    return weight, center - weight @ mean
