"""Convolutional encoder and decoder: images to codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.blocks import Level, Norm
from pushforward.networks.checks import check_input, image_shape, level_widths, positive, size_choice, stem_of
from pushforward.networks.embedding import Condition, Conditioning, Kinds, Modulation, films_of, kinds_of
from pushforward.networks.folding import fold, pad_to, unfold
from pushforward.networks.resnet import grids

SIZES = {"tiny": (24, 1), "small": (48, 1), "base": (96, 2)}
"""Channels at the finest level and residual blocks per level."""


class _Half(nn.Module, ABC):
    """Levels of residual blocks between images and codes; the coarsest grid has no side longer than 4.

    Args:
        shape: (channels, height, width) of one image.
        latent: Length of the code.
        width: Channels at the finest level; coarser ones have twice as many.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network.
        stem: Pixels per side of the patches that the first layer folds into channels, and the last one unfolds.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
    """

    coarse_first = False

    def __init__(
        self, shape: Sequence[int], *, latent: int, width: int, blocks: int = 1, conditions: Kinds = None, stem: int = 1
    ) -> None:
        super().__init__()
        positive(latent=latent, width=width, blocks=blocks, stem=stem)
        self.shape = image_shape(shape)
        self.latent, self.width, self.blocks = latent, width, blocks
        self.conditions = kinds_of(conditions)
        self.stem = stem
        toward = -1 if self.coarse_first else 1
        self.grids = grids(*self.shape[1:], stem)[::toward]
        channels = level_widths(width, len(self.grids), 2)[::toward]
        order = [w for w in channels for _ in range(blocks)]
        self.conditioning = Conditioning(2 * width, conditions=self.conditions, times=0)
        self.modulation = Modulation.films(2 * width, order) if conditions else None
        self._build(channels)

    @abstractmethod
    def _build(self, channels: list[int]) -> None:
        """Add the layers, those of ``channels`` in their order."""

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], latent: int = 16, conditions: Kinds = None) -> Self:
        stem = stem_of(size, shape, 16)
        width, blocks = size_choice(size, SIZES)
        return cls(shape, latent=latent, width=width, blocks=blocks, conditions=conditions, stem=stem)


class Encoder(_Half):
    """Images to the mean and log-variance of a Gaussian code.

    The sizes tiny, small and base have about 0.2, 0.6 and 4 million parameters at 28 x 28.
    """

    def _build(self, channels: list[int]) -> None:
        height, width = self.grids[-1]
        self.enter = nn.Conv2d(self.shape[0] * self.stem**2, channels[0], 3, padding=1)
        self.levels = nn.ModuleList([Level(w, self.blocks) for w in channels])
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels)])
        self.norm = Norm(channels[-1])
        self.leave = nn.Linear(channels[-1] * height * width, 2 * self.latent)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Means, then log-variances, (n, 2 latent), of images (n, channels, height, width) in model units."""
        check_input(x, self.shape, "Encoder")
        vector = self.conditioning(x.shape[0], x.device, t, condition)
        films = iter(films_of(self.modulation, vector, self.blocks * len(self.levels)))
        h = self.enter(fold(pad_to(x, self.stem), self.stem))
        for index, level in enumerate(self.levels):
            if index:
                h = self.shrink[index - 1](h)
            h = level(h, films)
        return self.leave(F.silu(self.norm(h)).permute(0, 2, 3, 1).flatten(1)).to(x.dtype)


class Decoder(_Half):
    """Codes to images.

    The sizes tiny, small and base have about 0.1, 0.5 and 4 million parameters at 28 x 28.
    """

    coarse_first = True

    def _build(self, channels: list[int]) -> None:
        height, width = self.grids[0]
        self.enter = nn.Linear(self.latent, channels[0] * height * width)
        self.levels = nn.ModuleList([Level(w, self.blocks) for w in channels])
        self.grow = nn.ModuleList([nn.Conv2d(a, 4 * b, 1) for a, b in pairwise(channels)])
        self.norm = Norm(channels[-1])
        self.leave = nn.Conv2d(channels[-1], self.shape[0] * self.stem**2, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Images (n, channels, height, width) in model units of codes x (n, latent)."""
        check_input(x, (self.latent,), "Decoder")
        n = x.shape[0]
        vector = self.conditioning(n, x.device, t, condition)
        films = iter(films_of(self.modulation, vector, self.blocks * len(self.levels)))
        h = self.enter(x).reshape(n, *self.grids[0], -1).permute(0, 3, 1, 2)
        h = h.contiguous(memory_format=torch.channels_last)
        for index, level in enumerate(self.levels):
            if index:
                height, width = self.grids[index]
                h = F.pixel_shuffle(self.grow[index - 1](h), 2)[:, :, :height, :width]
                h = h.contiguous(memory_format=torch.channels_last)
            h = level(h, films)
        return unfold(self.leave(F.silu(self.norm(h))), self.stem, self.shape).to(x.dtype)
