"""Packing: a critic that sees several samples at once tells a generator without variety from data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.errors import UsageError
from pushforward.networks.checks import count, positive
from pushforward.networks.embedding import Condition, check_label

__all__ = ["Packed"]


class Packed(nn.Module):
    """A critic of packs: each ``pack`` consecutive rows are joined on the channel (or feature) axis and get one score.

    With labels every row first gets its own as one-hot channels, all zero where there is none, so that labels stay with
    their rows; the inner network is then built without classes.

    Args:
        network: A critic built for rows of `Packed.shape` and without classes: ``network(x, None, None)`` gives one number
            per row.
        pack: Rows in a pack, at least 1.
        classes: Number of classes; 0 for none.

    Raises:
        UsageError: A number is out of range.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018.
    """

    one_hot: Tensor

    def __init__(self, network: nn.Module, pack: int, classes: int = 0) -> None:
        super().__init__()
        positive(pack=pack)
        count(classes=classes)
        self.network = network
        self.pack = pack
        self.classes = classes
        self.register_buffer("one_hot", torch.eye(classes + 1, classes), persistent=False)

    @staticmethod
    def shape(shape: Sequence[int], pack: int, classes: int = 0) -> tuple[int, ...]:
        """The shape of one row that the inner network must be built for.

        Args:
            shape: Shape of one row of the data: (d,), or (channels, height, width).
            pack: Rows in a pack.
            classes: Number of classes; 0 for none.

        Returns:
            (pack (d + classes),), or (pack (channels + classes), height, width).

        Raises:
            UsageError: A number is out of range.
        """
        positive(pack=pack)
        count(classes=classes)
        return (pack * (int(shape[0]) + classes), *(int(side) for side in shape[1:]))

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Apply.

        Args:
            x: (n, channels, height, width) or (n, d), n a multiple of ``pack``.
            t: None: a critic knows no time.
            condition: None, or {"label": int64 (n,), optionally "null": bool (n,)}.

        Returns:
            (n / pack,), one score for each pack.

        Raises:
            UsageError: n is no multiple of ``pack``, or a time or label is unexpected or of the wrong shape.
        """
        n = x.shape[0]
        if t is not None:
            raise UsageError("Got a time t, but a packed critic is built without one. Pass t=None.")
        if x.ndim < 2 or n % self.pack:
            raise UsageError(
                f"Got x of shape {tuple(x.shape)}; expected (n, channels, ...) with n a multiple of pack={self.pack}. "
                "Choose a batch, and parts of it, that packs divide."
            )
        check_label(condition, self.classes, n)
        if self.classes:
            x = torch.cat([x, self._labels(x, condition)], dim=1)
        packs = x.reshape(n // self.pack, self.pack * x.shape[1], *x.shape[2:])
        return self.network(packs, None, None).reshape(n // self.pack)

    def _labels(self, x: Tensor, condition: Condition | None) -> Tensor:
        """One-hot channels for rows like those of ``x``."""
        none = torch.full((x.shape[0],), self.classes, dtype=torch.int64, device=x.device)
        label = none if condition is None else condition.get("label", none).to(torch.int64)
        null = None if condition is None else condition.get("null")
        if null is not None:
            label = torch.where(null, self.classes, label)
        hot = F.embedding(label, self.one_hot).to(x.dtype)
        return hot.unflatten(1, (self.classes, *[1] * (x.ndim - 2))).expand(-1, -1, *x.shape[2:])
