"""Fourier features: a network that receives sines and cosines of a vector can separate close points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import UsageError
from pushforward.networks.checks import check_input, positive
from pushforward.networks.embedding import Condition


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

    Raises:
        UsageError: A number is out of range.

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
        positive(inputs=inputs, fourier_features=fourier_features)
        if not 0 < low <= high < math.inf:
            raise UsageError(f"Frequencies rise from low to high, both above 0 and finite; got {low} and {high}.")
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
