"""Images of any size as whole patches, folded into channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fold", "pad_to"]


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples.

    Args:
        x: (n, c, h, w).
        multiple: The divisor of the new sizes.

    Returns:
        (n, c, H, W) with the given image in its top left corner.
    """
    bottom, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def fold(x: Tensor, stem: int) -> Tensor:
    """Fold patches into channels, and lay channels last in memory.

    Args:
        x: (n, c, h, w), h and w multiples of ``stem``.
        stem: Pixels per side of a patch.

    Returns:
        (n, c stem^2, h / stem, w / stem).
    """
    x = F.pixel_unshuffle(x, stem) if stem > 1 else x
    return x.contiguous(memory_format=torch.channels_last)
