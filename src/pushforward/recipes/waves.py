"""The Fourier features of a critic of vectors."""

from __future__ import annotations

from torch import nn

from pushforward.data import Space, TableSpace
from pushforward.networks import FourierFeatures, Packed

__all__ = ["with_waves"]

HIGHEST = 30.0
"""The highest frequency along scores of a table, in radians."""


def with_waves(network: nn.Module, space: Space, pack: int, fourier_features: int) -> nn.Module:
    """A critic that receives waves of vectors, or of packs of them; of a table of its scores alone.

    Args:
        network: Takes the vector and two numbers for each wave.
        space: The data's shape and conditions.
        pack: Examples that get one score together.
        fourier_features: How many waves.
    """
    size = Packed.shape(space.shape, pack, space.conditions)[0] if pack > 1 else space.size
    if not isinstance(space, TableSpace):
        return FourierFeatures(network, size, fourier_features)
    columns = [part * (size // pack) + place for part in range(pack) for place in space.scored]
    return FourierFeatures(network, size, fourier_features, high=HIGHEST, columns=columns)
