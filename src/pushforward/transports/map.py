"""A transport of one network call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.draws import Draws
from pushforward.precision import call
from pushforward.predictor import Condition
from pushforward.transports.transport import Transport


class Observed(Protocol):
    """How data lies around a decoder's mean; a likelihood (`pushforward.methods.likelihoods`) is such a module."""

    def sample(self, mean: Tensor, noise: Tensor) -> Tensor:
        """A draw from p(x | z) in model units, by standard normal noise, (n, *shape) all."""
        ...


class Map(Transport):
    """One network call: a GAN's generator, a VAE's decoder, a distilled student.

    Args:
        network: ``network(z, None, condition) -> x`` in model units.
        space: The data's shape and units.
        noise_shape: The shape of the noise of one sample.
        likelihood: Of data given a decoder's output. Samples are then draws from it; where no draws are given, as
            in interpolation and inversion, the output is the mean. With None the output is the sample.
    """

    def __init__(self, network: nn.Module, space: Space, noise_shape: Sequence[int], likelihood: Observed | None = None) -> None:
        super().__init__()
        self.network, self.space, self.noise_shape = network, space, tuple(noise_shape)
        self.likelihood = likelihood

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """The network's output; with draws, a draw from the likelihood around it where there is one."""
        x = call(self.network, z, None, condition)
        if self.likelihood is None or draws is None:
            return x
        return self.likelihood.sample(x, draws.normal(self.space.shape))

    def facts(self) -> dict[str, str]:
        drawn = {} if self.likelihood is None else {"samples": f"drawn from the {type(self.likelihood).__name__} likelihood"}
        return super().facts() | drawn

    @property
    def calls(self) -> int:
        return 1
