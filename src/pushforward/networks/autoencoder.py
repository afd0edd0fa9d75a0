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
from pushforward.networks.checks import check_input, image_shape, positive, size_choice, stem_of
from pushforward.networks.embedding import Condition, Conditioning, Kinds, Modulation, films_of, kinds_of
from pushforward.networks.folding import fold, pad_to
from pushforward.networks.resnet import grids

__all__ = ["Decoder", "Encoder"]


def level_widths(width: int, number: int) -> list[int]:
    """Channels of each level, finest first: ``width``, then twice as many.

    Args:
        width: At the finest level.
        number: How many levels.

    Returns:
        One number per level.
    """
    return [width if level == 0 else 2 * width for level in range(number)]


class _Half(nn.Module, ABC):
    """Levels of residual blocks between images and codes; the coarsest grid has no side longer than 4.

    Args:
        shape: (channels, height, width) of one image.
        latent: Length of the code.
        width: Channels at the finest level; coarser ones have twice as many.
        blocks: Residual blocks per level.
        conditions: Kinds of condition by name; None for an unconditional network.
        stem: Pixels per side of the patches that the first layer folds into channels, and the last one unfolds.

    Raises:
        UsageError: A size is out of range.

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
        self.latent = latent
        self.width = width
        self.blocks = blocks
        self.conditions = kinds_of(conditions)
        self.stem = stem
        toward = -1 if self.coarse_first else 1
        self.grids = grids(*self.shape[1:], stem)[::toward]
        channels = level_widths(width, len(self.grids))[::toward]
        order = [w for w in channels for _ in range(blocks)]
        self.conditioning = Conditioning(2 * width, conditions=self.conditions, times=0)
        self.modulation = Modulation.films(2 * width, order) if conditions else None
        self._build(channels)

    @abstractmethod
    def _build(self, channels: list[int]) -> None:
        """Add the layers, those of ``channels`` in their order."""

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], latent: int = 16, conditions: Kinds = None) -> Self:
        """Build one of three sizes.

        Args:
            size: "tiny", "small" or "base"; the class says how many parameters it has.
            shape: (channels, height, width) of one image.
            latent: Length of the code.
            conditions: Kinds of condition by name; None for an unconditional network.

        Returns:
            The network.

        Raises:
            UsageError: No such size, or ``shape`` is no image.
        """
        width, blocks, stem = proportions(size, shape)
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
        """Apply.

        Args:
            x: (n, channels, height, width), in model units.
            t: None: an encoder knows no time.
            condition: None, or values and masks by name; see `Conditioning`.

        Returns:
            (n, 2 latent), the mean then the log-variance, in the type of ``x``.

        Raises:
            UsageError: A shape does not fit, or a time or label is unexpected.
        """
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
        """Apply.

        Args:
            x: Codes z, (n, latent).
            t: None: a decoder knows no time.
            condition: None, or values and masks by name; see `Conditioning`.

        Returns:
            (n, channels, height, width), in the type of ``x``.

        Raises:
            UsageError: A shape does not fit, or a time or label is unexpected.
        """
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
        h = self.leave(F.silu(self.norm(h)))
        if self.stem > 1:
            h = F.pixel_shuffle(h, self.stem)
        return h[:, :, : self.shape[1], : self.shape[2]].to(x.dtype)


def proportions(size: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Width, blocks per level and stem of an encoder or decoder.

    Args:
        size: "tiny", "small" or "base".
        shape: (channels, height, width) of one image.

    Returns:
        (width, blocks, stem).

    Raises:
        UsageError: No such size, or ``shape`` is no image.
    """
    stem = stem_of(size, shape, 16)
    width, blocks = size_choice(size, {"tiny": (24, 1), "small": (48, 1), "base": (96, 2)})
    return width, blocks, stem
