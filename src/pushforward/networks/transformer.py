"""Transformers over image patches and over table columns, conditioned by adaLN-zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Kinds,
    Modulation,
    Shape,
    Times,
    attend,
    check_input,
    image_shape,
    kinds_of,
    longer_side,
    pad_to,
    patches,
    size_choice,
    unfold,
    zeroed,
)

FILMS = 6  # scale, shift and gate of attention, then of the MLP


class TransformerBlock(nn.Module):
    """Attention and a two-layer MLP, each normalised, scaled, shifted and gated."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)

    def attend(self, h: Tensor) -> Tensor:
        """Apply self-attention to tokens (n, tokens, width), keeping the shape."""
        n, tokens, width = h.shape
        qkv = self.qkv(h).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(attend(q, k, v).transpose(1, 2).reshape(n, tokens, width))

    def forward(self, x: Tensor, film: Sequence[Tensor]) -> Tensor:
        """Transform tokens (n, tokens, width), keeping the shape.

        ``film`` holds scale, shift and gate of attention, then of the MLP, each (n, width), if any.
        """
        x = gated(x, self.attend(rescale(x, film[0:2])), film[2:3])
        h = F.gelu(self.inner(rescale(x, film[3:5])), approximate="tanh")
        return gated(x, self.outer(h), film[5:6])


def rescale(x: Tensor, film: Sequence[Tensor]) -> Tensor:
    """Normalise tokens to mean 0 and variance 1, then scale and shift them by ``film``, if any."""
    h = F.layer_norm(x, (x.shape[2],))
    if film:
        scale, shift = film
        return torch.addcmul(shift[:, None].to(h.dtype), h, scale[:, None].to(h.dtype))
    return h


def gated(x: Tensor, h: Tensor, film: Sequence[Tensor]) -> Tensor:
    """Add a branch h to tokens x, multiplied by the gate in ``film``, if any."""
    if film:
        return torch.addcmul(x, film[0][:, None].to(x.dtype), h.to(x.dtype))
    return x + h


class DiT(nn.Module):
    """Transformer denoiser for images of any height, width and number of channels.

    Each patch is a token with a learned position. Blocks start as the identity (adaLN-zero).

    References:
        Peebles and Xie, Scalable Diffusion Models with Transformers, 2023.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        conditions: Kinds = None,
        times: int = 1,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.patch = patch
        self.width = width
        self.depth = depth
        self.heads = heads
        self.conditions = kinds_of(conditions)
        self.times = times
        channels, *sides = self.shape
        pixels = channels * patch**2
        self.grid = tuple(patches(side, patch) for side in sides)
        self.enter = nn.Linear(pixels, width)
        self.position = nn.Parameter(0.1 * torch.randn(1, math.prod(self.grid), width))
        self.layers = nn.ModuleList([TransformerBlock(width, heads) for _ in range(depth)])
        self.leave = nn.Linear(width, pixels)
        if times:
            zeroed(self.leave)
        self.conditioning = Conditioning(width, conditions, times)
        self.modulation = None
        if not self.conditioning.silent:
            self.modulation = _modulation(width, depth)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> DiT:
        """Build one of three sizes: about 0.25, 1.3 and 7 million parameters."""
        side = longer_side(shape)
        patch = 2 if side <= 16 else 4
        while side / patch > 16:
            patch *= 2
        sizes = {"tiny": (64, 3, 2), "small": (128, 4, 4), "base": (256, 6, 4)}
        if side < 14:
            sizes = {"tiny": (48, 3, 2), "small": (96, 3, 4), "base": (192, 6, 4)}
        width, depth, heads = size_choice(size, sizes)
        return cls(shape, patch=patch, width=width, depth=depth, heads=heads, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, self.shape, "DiT")
        vector = self.conditioning(x, t, condition)
        films = ()
        if self.modulation is not None:
            films = self.modulation(vector)
        tokens = F.pixel_unshuffle(pad_to(x, self.patch), self.patch).flatten(2).transpose(1, 2)
        h = self.enter(tokens)
        h = _through(self.layers, h + self.position.to(h.dtype), films)
        h = self.leave(h).transpose(1, 2).unflatten(2, self.grid)
        return unfold(h, self.patch, self.shape).to(x.dtype)


def _modulation(width: int, depth: int) -> Modulation:
    starts = [1, 0, 0] * 2 * depth + [1, 0]
    return Modulation(width, [width] * len(starts), starts, zero=True)


def _through(layers: nn.ModuleList, h: Tensor, films: Sequence[Tensor]) -> Tensor:
    for index, block in enumerate(layers):
        h = block(h, films[FILMS * index : FILMS * (index + 1)])
    return rescale(h, films[-2:])


class ColumnTransformer(nn.Module):
    """Transformer denoiser for table rows: one token per column, of coordinates and a given flag.

    Every column has its own input and output layers. The blocks start as the identity.

    Args:
        starts: Index of the first coordinate of each column, followed by the number of coordinates
            d.

    References:
        Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021, for columns as
        tokens; Peebles and Xie, Scalable Diffusion Models with Transformers, 2023, for the blocks.
    """

    shares_time = True  # all rows may share one time, which is embedded once
    order: Tensor
    outputs: Tensor

    def __init__(
        self,
        starts: Sequence[int],
        *,
        width: int,
        depth: int,
        heads: int,
        conditions: Kinds = None,
        times: int = 1,
    ) -> None:
        super().__init__()
        self.starts = tuple(starts)
        self.width = width
        self.depth = depth
        self.heads = heads
        self.conditions = kinds_of(conditions)
        self.times = times
        self.size = self.starts[-1]
        self.count = len(self.starts) - 1
        self.inputs = self.size + self.count
        lengths = [stop - start for start, stop in pairwise(self.starts)]
        groups: dict[int, list[int]] = {length: [] for length in sorted(set(lengths))}
        for column, length in enumerate(lengths):
            groups[length].append(column)
        self.enter = nn.ParameterList()
        self.leave = nn.ParameterList()
        for length, group in groups.items():
            weight = torch.randn(len(group), length + 1, width) / math.sqrt(length + 1)
            self.enter.append(nn.Parameter(weight))
            self.leave.append(nn.Parameter(torch.zeros(len(group), width + 1, length)))
        self._index(list(groups.values()))
        self.position = nn.Parameter(0.5 * torch.randn(1, self.count, width))
        self.layers = nn.ModuleList([TransformerBlock(width, heads) for _ in range(depth)])
        self.conditioning = Conditioning(width, conditions, times)
        self.modulation = _modulation(width, depth)

    def _index(self, groups: Sequence[Sequence[int]]) -> None:
        places = []
        for number, group in enumerate(groups):
            inputs = []
            for column in group:
                coordinates = list(range(self.starts[column], self.starts[column + 1]))
                inputs.append([*coordinates, self.size + column])
                places += coordinates
            self.register_buffer(f"inputs{number}", torch.tensor(inputs), persistent=False)
            self.register_buffer(f"tokens{number}", torch.tensor(group), persistent=False)
        order = torch.tensor(list(chain.from_iterable(groups)))
        flat = torch.tensor(places)
        self.register_buffer("order", order.argsort(), persistent=False)
        self.register_buffer("outputs", flat.argsort(), persistent=False)

    @classmethod
    def sized(
        cls, size: str, *, shape: Shape, starts: Sequence[int] | None = None, **options: Any
    ) -> ColumnTransformer:
        """Build one of three sizes: tiny (width 32, depth 2), small (64, 3) or base (192, 6).

        ``shape`` is the shape of a row, (d,); without ``starts``, every coordinate is a column.
        """
        sizes = {"tiny": (32, 2, 2), "small": (64, 3, 4), "base": (192, 6, 6)}
        width, depth, heads = size_choice(size, sizes)
        if starts is None:
            starts = range(shape[0] + 1)
        return cls(starts, width=width, depth=depth, heads=heads, **options)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Compute rows (n, d) from x (n, d + columns): coordinates, then flags of given columns."""
        check_input(x, (self.inputs,), "ColumnTransformer")
        vector = self.conditioning(x, t, condition)
        parts = []
        for number, weight in enumerate(self.enter):
            index = self.get_buffer(f"inputs{number}")
            parts.append(torch.bmm(x[:, index].transpose(0, 1), weight))
        h = torch.cat(parts)[self.order].transpose(0, 1) + self.position
        h = _through(self.layers, h, self.modulation(vector)).transpose(0, 1)
        parts = []
        for number, weight in enumerate(self.leave):
            tokens = h[self.get_buffer(f"tokens{number}")]
            out = torch.baddbmm(weight[:, -1:], tokens, weight[:, :-1])
            parts.append(out.transpose(0, 1).flatten(1))
        return torch.cat(parts, dim=1)[:, self.outputs].to(x.dtype)
