"""Multilayer perceptrons: a residual one with time and conditions, and the textbook's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.arguments import one_of
from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Kinds,
    Modulation,
    Shape,
    Times,
    append_minibatch_std,
    check_input,
    condition_channels,
    films_of,
    kinds_of,
    modulate,
    sides_of,
    size_choice,
    zeroed,
)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "leaky_relu": lambda h: F.leaky_relu(h, 0.2),
}


class MLP(nn.Module):
    """Residual MLP: h <- h + W act(scale-shift(h)), ``depth`` times, between two linear layers.

    Works in every role on vectors. With times, the output is zero at the start.

    Args:
        activation: "silu", or "leaky_relu" (0.2 below zero), with cheaper gradient penalties.

    Raises:
        UsageError: If the activation is unknown.
    """

    shares_time = True  # all examples may share one time, which is embedded once

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        conditions: Kinds = None,
        times: int = 1,
        minibatch_std: int = 0,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        self.activation = one_of("activation", activation, ACTIVATIONS)
        self.minibatch_std = minibatch_std
        self.inputs = inputs
        self.outputs = outputs
        self.width = width
        self.depth = depth
        self.conditions = kinds_of(conditions)
        self.times = times
        vector = max(16, width // 4)
        self.conditioning = Conditioning(vector, conditions, times)
        self.modulation = None
        if not self.conditioning.silent:
            self.modulation = Modulation.films(vector, [width] * depth)
        self.joined = {}
        if not times:
            self.joined = {name: kind for name, kind in self.conditions.items() if kind.continuous}
        joined = sum(kind.channels for kind in self.joined.values())
        self.enter = nn.Linear(inputs + joined, width)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.leave = nn.Linear(width + bool(minibatch_std), outputs)
        if times:
            zeroed(self.leave)

    @classmethod
    def sized(
        cls, size: str, *, shape: Shape, outputs: int | None = None, times: int = 1, **options: Any
    ) -> MLP:
        """Build one of three sizes, wider for long vectors; ``outputs`` is by default that of x.

        They are tiny (width 48, depth 3), small (96, 3) and base (512, 6); without time (64, 3),
        (128, 4) and (512, 6).
        """
        (inputs,) = sides_of(shape, 1)
        if outputs is None:
            outputs = inputs
        # scaling and shifting costs as much as the layers; without it there is time for more width
        sizes = {"tiny": (64, 3), "small": (128, 4), "base": (512, 6)}
        if times:
            sizes = {"tiny": (48, 3), "small": (96, 3), "base": (512, 6)}
        width, depth = size_choice(size, sizes)
        wanted = {"tiny": 2, "small": 4, "base": 8}[size] * max(inputs, outputs)
        if wanted > width:
            width = max(width, min(256, wanted))
            depth = max(depth, 4)
        return cls(inputs, outputs, width=width, depth=depth, times=times, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, (self.inputs,), "MLP")
        vector = self.conditioning(x, t, condition)
        films = films_of(self.modulation, vector, self.depth)
        h = x
        if self.joined:
            h = torch.cat([x, *condition_channels(self.joined, x, condition)], dim=1)
        h = self.enter(h)
        act = ACTIVATIONS[self.activation]
        for layer, film in zip(self.hidden, films, strict=True):
            h = h + layer(act(modulate(h, film)))
        h = act(h)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h).to(x.dtype)


class Perceptron(nn.Module):
    """Plain MLP with ``depth`` hidden tanh layers, as used to compare likelihoods of VAEs on MNIST.

    The embedding of conditions is added to the output of the first layer.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, section 5.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 200,
        depth: int = 2,
        conditions: Kinds = None,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.width = width
        self.depth = depth
        self.conditions = kinds_of(conditions)
        self.conditioning = Conditioning(width, conditions)
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList([nn.Linear(length, width) for length in sizes[:-1]])
        self.leave = nn.Linear(width, outputs)

    @classmethod
    def sized(
        cls, size: str, *, shape: Shape, outputs: int | None = None, **options: Any
    ) -> Perceptron:
        """Build one of three sizes: width 64, 200 or 512.

        ``outputs`` is the length of x by default.
        """
        (inputs,) = sides_of(shape, 1)
        if outputs is None:
            outputs = inputs
        width = size_choice(size, {"tiny": 64, "small": 200, "base": 512})
        return cls(inputs, outputs, width=width, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, (self.inputs,), "Perceptron")
        label = self.conditioning(x, t, condition)
        h = x
        for number, layer in enumerate(self.hidden):
            h = layer(h)
            if number == 0 and label is not None:
                h = h + label.to(h.dtype)
            h = torch.tanh(h)
        return self.leave(h).to(x.dtype)
