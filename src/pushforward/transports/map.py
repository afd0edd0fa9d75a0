"""A transport of one network call."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pushforward.data.spaces import Space
from pushforward.draws import Draws
from pushforward.precision import call
from pushforward.predictor import Condition
from pushforward.transports.transport import Transport

__all__ = ["Map"]


class Map(Transport):
    """One network call: a GAN's generator, a VAE's decoder, a distilled student.

    Args:
        network: ``network(z, None, condition) -> x`` in model units.
        space: The data's shape and units.
        noise_shape: The shape of one row of noise.
    """

    def __init__(self, network: nn.Module, space: Space, noise_shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.space, self.noise_shape = network, space, tuple(noise_shape)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """The network's output."""
        return call(self.network, z, None, condition)

    @property
    def calls(self) -> int:
        """One."""
        return 1
