"""A kind of data in one file: short video clips, with a three-dimensional convolutional
network and a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pushforward import recipes
from pushforward.data import ScaledSpace, Space
from pushforward.recipes import Recipe


@dataclass(frozen=True)
class VideoSpace(ScaledSpace):
    """Clips (T, C, H, W), stored as uint8, drawn as strips of their frames."""

    noun = "clip"
    sides = ("frames", "channels", "height", "width")
    axis = 1
    levels = 256
    as_points = False

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last_3d

    def drawing(self, rows):
        n, frames, channels, height, width = rows.shape
        return rows.transpose(0, 3, 1, 4, 2).reshape(n, height, frames * width, channels)


class Frames(nn.Module):
    """Two convolutions over time, height and width."""

    def __init__(self, shape, width: int = 16) -> None:
        super().__init__()
        self.shape, self.width = tuple(shape), width
        self.enter = nn.Conv3d(self.shape[1] + 1, width, 3, padding=1)
        self.leave = nn.Conv3d(width, self.shape[1], 3, padding=1)

    def forward(self, x, t=None, condition=None):
        x = x.transpose(1, 2)
        time = t.reshape(-1, 1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return self.leave(nn.functional.silu(self.enter(torch.cat([x, time], 1)))).transpose(1, 2)


def clips(space: Space, size: str = "small", *, width: int = 16) -> Recipe:
    """Flow matching on clips."""
    return recipes.flow(space, size, network=Frames(space.shape, width))


def moving_squares(n: int, frames: int = 4, side: int = 8) -> np.ndarray:
    """Make clips of a square that moves to the right or down, uint8 (n, frames, 1, side, side)."""
    random = np.random.default_rng(0)
    x = np.zeros((n, frames, 1, side, side), dtype=np.uint8)
    for clip, (top, left), down in zip(
        x, random.integers(0, side - 2, (n, 2)), random.integers(0, 2, n), strict=True
    ):
        for number in range(frames):
            y, z = (top + number * down) % (side - 1), (left + number * (1 - down)) % (side - 1)
            clip[number, 0, y : y + 2, z : z + 2] = random.integers(128, 256)
    return x
