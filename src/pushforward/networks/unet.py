"""The convolutional denoiser: a pixel-unshuffle stem, then a U of residual blocks and attention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Film,
    Kinds,
    Level,
    Modulation,
    Norm,
    Shape,
    Times,
    check_input,
    films_of,
    fold,
    image_shape,
    kinds_of,
    longer_side,
    pad_to,
    size_choice,
    stem_of,
    unfold,
    zeroed,
)


class UNet(nn.Module):
    """Convolutional denoiser for images of any height, width and number of channels.

    Levels halve the resolution, with attention at the coarsest. Residual branches and the output
    start at zero. With time, the input is added to the output with a learned gain per channel.

    Args:
        widths: Channels of each level, finest first.
        blocks: Residual blocks per level and direction.
        heads: Attention heads; 0 for no attention.

    References:
        Ronneberger et al., U-Net, 2015; Ho et al., Denoising Diffusion Probabilistic Models, 2020;
        Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021;
        Hoogeboom et al., Simple Diffusion, 2023.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        widths: Shape,
        blocks: int = 2,
        conditions: Kinds = None,
        times: int = 1,
        stem: int = 1,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.widths = tuple(widths)
        self.blocks = blocks
        self.conditions = kinds_of(conditions)
        self.times = times
        self.stem = stem
        self.heads = heads
        channels = self.shape[0]
        pixels = channels * stem**2
        *outer, coarsest = self.widths
        finest = self.widths[0]
        self.enter = nn.Conv2d(pixels, finest, 3, padding=1)
        self.down = nn.ModuleList([Level(w, blocks) for w in outer])
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths)])
        self.middle = Level(coarsest, blocks, heads=heads)
        self.grow = nn.ModuleList([nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths)])
        self.up = nn.ModuleList([Level(w, blocks) for w in outer])
        self.norm = Norm(finest)
        self.leave = nn.Conv2d(finest, pixels, 3, padding=1)
        if times:
            zeroed(self.leave)

        vector = max(64, 2 * finest)
        self.conditioning = Conditioning(vector, conditions, times)
        self.modulation = None
        if not self.conditioning.silent:
            levels = [*self.widths, *reversed(outer)]
            self.modulation = Modulation.films(vector, np.repeat(levels, blocks).tolist())
        self.gain = nn.Parameter(torch.zeros(channels, vector)) if times else None

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> UNet:
        """Build one of three sizes: about 0.2, 1.2 and 6 million parameters at 28 x 28."""
        side = longer_side(shape)
        stem = stem_of(size, shape, 14)
        sizes = {"tiny": (32, 1), "small": (64, 2), "base": (128, 3)}
        if side < 14:
            sizes = {"tiny": (24, 1), "small": (48, 1), "base": (96, 2)}
        width, blocks = size_choice(size, sizes)
        widths = [width, 2 * width]
        if side / stem > 16:
            widths.append(2 * width)
        return cls(shape, widths=widths, blocks=blocks, stem=stem, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        skips, h, films, vector = self._encoded(x, t, condition)
        h = self.middle(h, films)
        for level, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            h = level(skips.pop() + F.pixel_shuffle(grow(h), 2), films)
        h = self.leave(F.silu(self.norm(h)))
        h = unfold(h, self.stem, self.shape).to(x.dtype)
        if self.gain is None:
            return h
        # products and sums keep float32 under autocast, where a linear layer would round the gain
        gain = (vector[:, None] * self.gain).sum(2) / math.sqrt(self.gain.shape[1])
        return h + gain[:, :, None, None].to(x.dtype) * x

    def features(self, x: Tensor, t: Times = None, condition: Condition = None) -> list[Tensor]:
        """Compute the features of each level on the way down, finest first, and of the middle."""
        skips, h, films, _ = self._encoded(x, t, condition)
        return [*skips, self.middle(h, films)]

    def _encoded(
        self, x: Tensor, t: Times, condition: Condition
    ) -> tuple[list[Tensor], Tensor, Iterator[Film], Any]:
        check_input(x, self.shape, "UNet")
        vector = self.conditioning(x, t, condition)
        number = self.blocks * (2 * len(self.widths) - 1)
        films = iter(films_of(self.modulation, vector, number))

        multiple = self.stem * 2 ** len(self.down)
        h = self.enter(fold(pad_to(x, multiple), self.stem))
        skips = []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            h = level(h, films)
            skips.append(h)
            h = shrink(h)
        return skips, h, films, vector
