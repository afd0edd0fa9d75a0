"""Packing: a critic that scores several samples at once detects a generator without variety."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pushforward.conditions.kind import ConditionKind
from pushforward.errors import UsageError
from pushforward.networks.checks import positive
from pushforward.networks.embedding import Condition, Kinds, check_condition, kinds_of, values_of


class Packed(nn.Module):
    """A critic of packs: each ``pack`` consecutive examples are joined on the channel (or feature) axis and get one score.

    Conditions are appended to their examples first, as channels: labels one-hot, numbers standardised, all zero where there are
    none. The inner network is then built without conditions.

    Args:
        network: A critic built for examples of `Packed.shape` and without conditions: ``network(x, None, None)`` gives one number
            per example.
        pack: Examples in a pack, at least 1.
        conditions: Kinds of condition by name; None for an unconditional network.

    Raises:
        UsageError: A number is out of range, or a condition that cannot become channels.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018.
    """

    def __init__(self, network: nn.Module, pack: int, conditions: Kinds = None) -> None:
        super().__init__()
        positive(pack=pack)
        self.network, self.pack = network, pack
        self.conditions = kinds_of(conditions)
        _channels(self.conditions)

    @staticmethod
    def shape(shape: Sequence[int], pack: int, conditions: Kinds = None) -> tuple[int, ...]:
        """The shape of one example that the inner network must be built for.

        Args:
            shape: Shape of one example of the data: (d,), or (channels, height, width).
            pack: Examples in a pack.
            conditions: Kinds of condition by name; None for an unconditional network.

        Returns:
            (pack (d + c),), or (pack (channels + c), height, width), with c channels for conditions.
        """
        positive(pack=pack)
        return (pack * (int(shape[0]) + _channels(kinds_of(conditions))), *(int(side) for side in shape[1:]))

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n / pack,), one for each pack, of x (n, channels, height, width) or (n, d), n a multiple of ``pack``."""
        n = x.shape[0]
        if t is not None:
            raise UsageError("Got a time t, but a packed critic is built without one. Pass t=None.")
        if x.ndim < 2 or n % self.pack:
            raise UsageError(
                f"Got x of shape {tuple(x.shape)}; expected (n, channels, ...) with n a multiple of pack={self.pack}. "
                "Choose a batch, and parts of it, that packs divide."
            )
        check_condition(condition, self.conditions, n)
        for name, kind in self.conditions.items():
            values, null = values_of(name, kind, n, x.device, condition)
            channels = kind.as_channels(values).to(x.dtype)
            channels = channels if null is None else torch.where(null[:, None], 0.0, channels)
            x = torch.cat([x, channels.unflatten(1, (-1, *[1] * (x.ndim - 2))).expand(-1, -1, *x.shape[2:])], dim=1)
        packs = x.reshape(n // self.pack, self.pack * x.shape[1], *x.shape[2:])
        return self.network(packs, None, None).reshape(n // self.pack)


def _channels(kinds: Mapping[str, ConditionKind]) -> int:
    for name, kind in kinds.items():
        if not kind.channels:
            raise UsageError(f'A packed critic cannot take the condition "{name}" ({type(kind).__name__}); leave pack out.')
    return sum(kind.channels for kind in kinds.values())
