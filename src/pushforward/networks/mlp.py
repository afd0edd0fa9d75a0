"""Multilayer perceptrons: residual ones that know time and conditions, the textbook's, and what widens their input."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.arguments import one_of
from pushforward.errors import UsageError
from pushforward.networks.blocks import append_minibatch_std
from pushforward.networks.checks import check_input, size_choice, vector_shape
from pushforward.networks.embedding import Condition, Conditioning, Kinds, Modulation, films_of, kinds_of, modulate, values_of

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "leaky_relu": lambda h: F.leaky_relu(h, 0.2)}


class MLP(nn.Module):
    """Residual perceptron: h <- h + W act(scale-shift(h)), ``depth`` times, between an input and an output layer.

    Serves every role on vectors: denoiser (``times=1``), generator, critic, encoder, decoder (``times=0``). With times its output
    is zero at the start; a generator or critic must not start there.

    Args:
        inputs: Length of x.
        outputs: Length of the result.
        width: Length of the hidden vectors.
        depth: Number of hidden layers.
        conditions: Kinds of condition by name; None for an unconditional network.
        times: Number of times per example; 0 for none.
        minibatch_std: Examples in a group whose deviation joins the last features (`append_minibatch_std`), for critics; 0 for
            none.
        activation: "silu", or "leaky_relu" (of slope 0.2 below zero), whose slope has no slope of its own: a gradient penalty on
            a critic costs less with it.

    Raises:
        UsageError: For an unknown activation.
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
        self.minibatch_std, self.inputs, self.outputs = minibatch_std, inputs, outputs
        self.width, self.depth = width, depth
        self.conditions = kinds_of(conditions)
        self.times = times
        vector = max(16, width // 4)
        self.conditioning = Conditioning(vector, conditions=self.conditions, times=times, shares_time=True)
        self.modulation = None if self.conditioning.silent else Modulation.films(vector, [width] * depth)
        self.joined = {} if times else {name: kind for name, kind in self.conditions.items() if kind.continuous}
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
        """Build one of three sizes; ``outputs`` is the length of the result, None for that of x.

        They are tiny (width 48, depth 3), small (96, 3) and base (512, 6); without time (64, 3), (128, 4) and (512, 6). Long
        vectors get more: 2, 4 or 8 times their length, up to 256.
        """
        # Scaling and shifting costs as much as the layers themselves; without time the same seconds pay for more width.
        timed = {"tiny": (48, 3), "small": (96, 3), "base": (512, 6)}
        timeless = {"tiny": (64, 3), "small": (128, 4), "base": (512, 6)}
        width, depth = size_choice(size, timed if times else timeless)
        inputs = vector_shape(shape)
        outputs = inputs if outputs is None else outputs
        # long vectors need room: up to 256 wide and one layer more
        wanted = {"tiny": 2, "small": 4, "base": 8}[size] * max(inputs, outputs)
        if wanted > width:
            width, depth = max(width, min(256, wanted)), max(depth, 4)
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

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Vectors (n, outputs) from x (n, inputs); t may have length 1, one time for all examples."""
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


class Reshaped(nn.Module):
    """A network on vectors, for examples of any shape: for very small images an MLP learns most per second.

    Args:
        network: A network whose ``inputs`` is the number of entries of x, such as an `MLP`.
        shape: Of one output; () gives one number for each example, as a critic does.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.shape = network, tuple(shape)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        return self.network(x.flatten(1), t, condition).reshape(x.shape[0], *self.shape)


class Perceptron(nn.Module):
    """``depth`` hidden layers with tanh, without residual ways or normalisation.

    With width 200 and depth 2 it is either half of the variational autoencoder that likelihoods of MNIST are compared with.

    Args:
        inputs: Length of x.
        outputs: Length of the result.
        width: Hidden units of each layer.
        depth: Hidden layers.
        conditions: Kinds of condition by name; None for an unconditional network. The embedding, of length ``width``, joins the
            first layer's sum.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, section 5.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 200, depth: int = 2, conditions: Kinds = None) -> None:
        super().__init__()
        self.inputs, self.outputs, self.width, self.depth = inputs, outputs, width, depth
        self.conditions = kinds_of(conditions)
        self.conditioning = Conditioning(width, conditions=self.conditions, times=0)
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList([nn.Linear(a, width) for a in sizes[:-1]])
        self.leave = nn.Linear(width, outputs)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], outputs: int | None = None, conditions: Kinds = None) -> Perceptron:
        """Build one of three sizes: width 64, 200 or 512, and two hidden layers.

        ``outputs`` is the length of the result, None for that of x.
        """
        inputs = vector_shape(shape)
        width = size_choice(size, {"tiny": 64, "small": 200, "base": 512})
        return cls(inputs, inputs if outputs is None else outputs, width=width, conditions=conditions)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Vectors (n, outputs) from x (n, inputs)."""
        check_input(x, (self.inputs,), "Perceptron")
        label = self.conditioning(x.shape[0], x.device, t, condition)
        h = x
        for number, layer in enumerate(self.hidden):
            h = layer(h)
            if number == 0 and label is not None:
                h = h + label.to(h.dtype)
            h = torch.tanh(h)
        return self.leave(h).to(x.dtype)


class FourierFeatures(nn.Module):
    """A network on a vector joined by sines and cosines of it, along random directions, of wavelengths from wide to narrow.

    A perceptron learns wide structure long before narrow. For modes a hundredth as wide as the data, a critic learns where they
    are and not how wide, and a generator may shrink in them or circle about their centres unseen. Waves of all scales show both.

    Args:
        network: ``network(features, t, condition)`` on vectors of inputs + 2 waves numbers.
        inputs: Length of x.
        fourier_features: Number of directions; each has its own frequency and gives a sine and a cosine.
        low: The lowest frequency, in radians per model unit.
        high: The highest; those between are spaced geometrically.
        columns: The numbers of x along which directions run; None for all.

    References:
        Tancik et al., Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains (2020), who draw
        frequencies from a Gaussian: one scale, where modes between which mass must move and modes of some width need many.
    """

    frequencies: Tensor

    def __init__(
        self,
        network: nn.Module,
        inputs: int,
        fourier_features: int = 32,
        *,
        low: float = 1.0,
        high: float = 60.0,
        columns: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.inputs, self.fourier_features, self.low, self.high = network, inputs, fourier_features, low, high
        self.columns = None if columns is None else tuple(columns)
        directions = nn.functional.normalize(torch.randn(fourier_features, inputs), dim=1)
        if self.columns is not None:
            seen = torch.zeros(inputs).index_fill(0, torch.tensor(self.columns), 1.0)
            directions = nn.functional.normalize(directions * seen, dim=1)
        frequencies = torch.logspace(math.log10(low), math.log10(high), fourier_features)
        self.register_buffer("frequencies", directions * frequencies[:, None])

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """``network`` on x (n, inputs), model units, and its waves."""
        check_input(x, (self.inputs,), "a network with Fourier features")
        # an angle of 100 radians in bfloat16 is off by a quarter
        with torch.autocast(x.device.type, enabled=False):
            angles = x @ self.frequencies.to(x.dtype).T
        return self.network(torch.cat([x, angles.sin(), angles.cos()], dim=1), t, condition)


MOST = 16  # Signs that a table may have, one vector for each of their patterns


class SignCodes(nn.Module):
    """A generator that receives z scaled down, and beside it a learned code for the pattern of the signs of its first numbers.

    A continuous map takes connected noise to connected samples: between modes that data keeps apart it must leave bridges, as
    thin as its slope is steep. The signs, fair coins, make it continuous in pieces only, one for each of 2^signs patterns, and
    the pieces can lie apart. A pattern's code starts as the signs themselves and learns alone, so that each piece can leave one
    mode for another without its neighbours. Within a piece z could still decide between two modes and leave a bridge; so it is
    scaled down: the code selects the mode, z the place within it. For its user z stays standard normal: seeds, interpolation and
    truncation mean what they mean elsewhere; a path through z jumps where a sign changes.

    Args:
        network: ``network(z, None, condition)`` for z of latent + signs numbers.
        latent: Length of z.
        sign_codes: How many of its numbers show their signs, at most ``latent`` and 16.
        scale: Factor of z; 1 leaves it unchanged.

    Raises:
        UsageError: For more signs than z has numbers, or than 16.

    References:
        Khayatkhoei, Elgammal, Singh, Disconnected Manifold Learning for GANs (2018), and Tanielian et al., Learning
        Disconnected Manifolds: a No GAN's Land (2020), for what continuity costs; Gurumurthy et al., DeLiGAN (2017), for noise
        from a mixture whose parts are learned.
    """

    powers: Tensor

    def __init__(self, network: nn.Module, latent: int, sign_codes: int, scale: float = 0.3) -> None:
        super().__init__()
        if sign_codes > min(latent, MOST):
            raise UsageError(f"z has {latent} numbers and cannot show {sign_codes} signs; expected at most {min(latent, MOST)}.")
        self.network, self.latent, self.sign_codes, self.scale = network, latent, sign_codes, scale
        self.register_buffer("powers", 2 ** torch.arange(sign_codes), persistent=False)
        patterns = torch.arange(2**sign_codes)[:, None].bitwise_and(self.powers) > 0
        self.codes = nn.Parameter(2.0 * patterns - 1.0)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """``network`` on ``scale`` z and the code of its signs, for noise x (n, latent)."""
        pattern = ((x[:, : self.sign_codes] > 0) * self.powers).sum(1)
        return self.network(torch.cat([self.scale * x, F.embedding(pattern, self.codes)], dim=1), t, condition)
