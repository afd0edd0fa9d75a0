"""Space of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pushforward.data.spaces.space import Array
from pushforward.data.spaces.vector import ScaledSpace

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class ImageSpace(ScaledSpace):
    """Images (C, H, W), stored as uint8 with 255 for 1; also latent maps, which have no bounds."""

    noun = "image"
    sides = ("channels", "height", "width")
    levels = 256
    as_points = False
    has_pixels = True
    augmentations = ("flip", "shift", "dequantise")

    @property
    def grid(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def memory_format(self) -> torch.memory_format:
        import torch

        return torch.channels_last

    def quantise(self, x: Tensor | Array) -> Array:
        return np.ascontiguousarray(super().quantise(x).transpose(0, 2, 3, 1))

    def drawing(self, images: Array) -> Array:
        return images
