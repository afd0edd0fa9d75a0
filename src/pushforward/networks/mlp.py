"""Multilayer perceptrons: residual ones that know time and conditions, and the textbook's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.arguments import one_of
from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Kinds,
    Modulation,
    append_minibatch_std,
    check_input,
    films_of,
    kinds_of,
    modulate,
    size_choice,
    values_of,
    vector_shape,
)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "leaky_relu": lambda h: F.leaky_relu(h, 0.2),
}


class MLP(nn.Module):
    """Residual MLP: h <- h + W act(scale-shift(h)), ``depth`` times, between an input and an output layer.

    Works in every role on vectors: denoiser (``times=1``), generator, critic, encoder, decoder
    (``times=0``). With times, the output is zero at the start; generators and critics must not
    start there.

    Args:
        inputs: Length of x.
        outputs: Length of the output.
        width: Length of the hidden vectors.
        depth: Number of hidden layers.
        conditions: Kinds of condition by name; None for an unconditional network.
        times: Number of times per example; 0 for none.
        minibatch_std: Group size for the standard deviation appended to the last features
            (`append_minibatch_std`), for critics; 0 for none.
        activation: "silu", or "leaky_relu" (0.2 below zero). With "leaky_relu", whose second
            derivative is zero, gradient penalties on a critic are cheaper.

    Raises:
        UsageError: If the activation is unknown.
    """

    shares_time = True  # Times may be one for all examples, which is embedded once

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
        self.conditioning = Conditioning(
            vector, conditions=self.conditions, times=times, shares_time=True
        )
        if self.conditioning.silent:
            self.modulation = None
        else:
            self.modulation = Modulation.films(vector, [width] * depth)
        if times:
            self.joined = {}
        else:
            self.joined = {name: kind for name, kind in self.conditions.items() if kind.continuous}
        self.enter = nn.Linear(inputs + sum(kind.channels for kind in self.joined.values()), width)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.leave = nn.Linear(width + (1 if minibatch_std else 0), outputs)
        if times:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    @classmethod
    def sized(
        cls,
        size: str,
        *,
        shape: Sequence[int],
        conditions: Kinds = None,
        times: int = 1,
        outputs: int | None = None,
        minibatch_std: int = 0,
        activation: str = "silu",
    ) -> MLP:
        """Build one of three sizes; ``outputs`` is the length of the output, None for the length of x.

        The sizes are tiny (width 48, depth 3), small (96, 3) and base (512, 6); without time (64,
        3), (128, 4) and (512, 6). For long vectors the width is 2, 4 or 8 times their length, up to
        256.
        """
        # Scaling and shifting costs as much as the layers themselves; without time the same seconds pay for more width.
        timed = {"tiny": (48, 3), "small": (96, 3), "base": (512, 6)}
        timeless = {"tiny": (64, 3), "small": (128, 4), "base": (512, 6)}
        width, depth = size_choice(size, timed if times else timeless)
        inputs = vector_shape(shape)
        if outputs is None:
            outputs = inputs
        # long vectors need room: up to 256 wide and one layer more
        wanted = {"tiny": 2, "small": 4, "base": 8}[size] * max(inputs, outputs)
        if wanted > width:
            width = max(width, min(256, wanted))
            depth = max(depth, 4)
        return cls(
            inputs,
            outputs,
            width=width,
            depth=depth,
            conditions=conditions,
            times=times,
            minibatch_std=minibatch_std,
            activation=activation,
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute vectors (n, outputs) from x (n, inputs); t may have length 1, one time for all examples."""
        check_input(x, (self.inputs,), "MLP")
        vector = self.conditioning(x.shape[0], x.device, t, condition)
        films = films_of(self.modulation, vector, self.depth)
        h = self.enter(self._with_numbers(x, condition) if self.joined else x)
        act = ACTIVATIONS[self.activation]
        for layer, film in zip(self.hidden, films, strict=True):
            h = h + layer(act(modulate(h, film)))
        h = act(h)
        if self.minibatch_std:
            h = append_minibatch_std(h, self.minibatch_std)
        return self.leave(h).to(x.dtype)

    def _with_numbers(self, x: Tensor, condition: Condition | None) -> Tensor:
        parts = [x]
        for name, kind in self.joined.items():
            values, null = values_of(name, kind, x.shape[0], x.device, condition)
            numbers = kind.as_channels(values).to(x.dtype)
            parts.append(numbers if null is None else numbers.masked_fill(null[:, None], 0))
        return torch.cat(parts, dim=1)


class Perceptron(nn.Module):
    """Plain MLP with ``depth`` hidden tanh layers, without residual connections or normalisation.

    With width 200 and depth 2, it is the encoder or decoder of the variational autoencoder commonly
    used to compare likelihoods on MNIST.

    Args:
        inputs: Length of x.
        outputs: Length of the output.
        width: Hidden units per layer.
        depth: Number of hidden layers.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, of
            length ``width``, is added to the output of the first layer.

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
        self.conditioning = Conditioning(width, conditions=self.conditions, times=0)
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList([nn.Linear(a, width) for a in sizes[:-1]])
        self.leave = nn.Linear(width, outputs)

    @classmethod
    def sized(
        cls,
        size: str,
        *,
        shape: Sequence[int],
        outputs: int | None = None,
        conditions: Kinds = None,
    ) -> Perceptron:
        """Build one of three sizes: width 64, 200 or 512, and two hidden layers.

        ``outputs`` is the length of the output, None for the length of x.
        """
        inputs = vector_shape(shape)
        width = size_choice(size, {"tiny": 64, "small": 200, "base": 512})
        return cls(
            inputs, inputs if outputs is None else outputs, width=width, conditions=conditions
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute vectors (n, outputs) from x (n, inputs)."""
        check_input(x, (self.inputs,), "Perceptron")
        label = self.conditioning(x.shape[0], x.device, t, condition)
        h = x
        for number, layer in enumerate(self.hidden):
            h = layer(h)
            if number == 0 and label is not None:
                h = h + label.to(h.dtype)
            h = torch.tanh(h)
        return self.leave(h).to(x.dtype)
