"""Images of any size as whole patches, folded into channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of images (n, c, h, w) until height and width are multiples of a number."""
    bottom, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def fold(x: Tensor, stem: int) -> Tensor:
    """Fold patches of stem x stem pixels into channels, (n, c stem^2, h / stem, w / stem), channels last in memory."""
    x = F.pixel_unshuffle(x, stem) if stem > 1 else x
    return x.contiguous(memory_format=torch.channels_last)


def unfold(h: Tensor, stem: int, like: tuple[int, int, int]) -> Tensor:
    """The patches of `fold` unfolded again, and cropped at the bottom and right to the sides of an image (c, h, w)."""
    h = F.pixel_shuffle(h, stem) if stem > 1 else h
    return h[:, :, : like[1], : like[2]]
