"""Transformers: over the patches of an image, and over the columns of a table, conditioned by adaLN-zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Kinds,
    Modulation,
    attend,
    check_input,
    image_shape,
    kinds_of,
    pad_to,
    size_choice,
    unfold,
)


class TransformerBlock(nn.Module):
    """Attention and a two-layer MLP, each normalised, scaled, shifted and gated by the conditioning vector.

    Args:
        width: Length of a token, a multiple of ``heads``.
        heads: Number of attention heads.
    """

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
        q, k, v = (
            self.qkv(h)
            .reshape(n, tokens, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        return self.out(attend(q, k, v).transpose(1, 2).reshape(n, tokens, width))

    def forward(self, x: Tensor, film: Sequence[Tensor]) -> Tensor:
        """Transform tokens (n, tokens, width), keeping the shape.

        ``film`` holds scale, shift and gate of attention, then of the MLP, each (n, width); empty
        for none.
        """
        h = self.attend(rescale(x, film[0:2]))
        x = x + h if not film else torch.addcmul(x, film[2][:, None].to(x.dtype), h.to(x.dtype))
        h = self.outer(F.gelu(self.inner(rescale(x, film[3:5])), approximate="tanh"))
        if not film:
            return x + h
        return torch.addcmul(x, film[5][:, None].to(x.dtype), h.to(x.dtype))


def rescale(x: Tensor, film: Sequence[Tensor]) -> Tensor:
    """Normalise tokens (n, tokens, width) to mean 0 and variance 1, then scale and shift them unless ``film`` is empty."""
    h = F.layer_norm(x, (x.shape[2],))
    if film:
        return torch.addcmul(film[1][:, None].to(h.dtype), h, film[0][:, None].to(h.dtype))
    return h


class DiT(nn.Module):
    """Transformer denoiser for images of any height, width and number of channels.

    The image is padded to whole patches; each patch is a token with a learned position. Every block starts as the
    identity (adaLN-zero).

    Args:
        shape: Image shape (channels, height, width).
        patch: Side length of a patch in pixels.
        width: Length of a token.
        depth: Number of blocks.
        heads: Number of attention heads; must divide ``width``.
        conditions: Kinds of condition by name; None for an unconditional network.
        times: Number of times per example; 0 for none.

    References:
        Peebles and Xie, Scalable Diffusion Models with Transformers, 2023.
    """

    def __init__(
        self,
        shape: Sequence[int],
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
        pixels = self.shape[0] * patch**2
        self.grid = (-(-self.shape[1] // patch), -(-self.shape[2] // patch))
        self.enter = nn.Linear(pixels, width)
        self.position = nn.Parameter(0.1 * torch.randn(1, self.grid[0] * self.grid[1], width))
        self.layers = nn.ModuleList([TransformerBlock(width, heads) for _ in range(depth)])
        self.leave = nn.Linear(width, pixels)
        if times:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)
        self.conditioning = Conditioning(width, conditions=self.conditions, times=times)
        # Scale, shift and gate of attention and of the perceptron in each block; scale and shift at the end.
        starts = [1, 0, 0] * 2 * depth + [1, 0]
        if self.conditioning.silent:
            self.modulation = None
        else:
            self.modulation = Modulation(width, [width] * len(starts), starts, zero=True)

    @classmethod
    def sized(
        cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, times: int = 1
    ) -> DiT:
        """Build one of three sizes: about 0.25, 1.3 and 7 million parameters, or half of that below 14 pixels.

        Patches have 2 pixels a side up to 16 pixels, then 4, then 8 above 64.
        """
        side = max(image_shape(shape)[1:])
        patch = 2 if side <= 16 else 4
        while side / patch > 16:
            patch *= 2
        if side < 14:
            width, depth, heads = size_choice(
                size, {"tiny": (48, 3, 2), "small": (96, 3, 4), "base": (192, 6, 4)}
            )
        else:
            width, depth, heads = size_choice(
                size, {"tiny": (64, 3, 2), "small": (128, 4, 4), "base": (256, 6, 4)}
            )
        return cls(
            shape,
            patch=patch,
            width=width,
            depth=depth,
            heads=heads,
            conditions=conditions,
            times=times,
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute a tensor of the shape of images x (n, channels, height, width)."""
        check_input(x, self.shape, "DiT")
        n = x.shape[0]
        vector = self.conditioning(n, x.device, t, condition)
        films = () if self.modulation is None or vector is None else self.modulation(vector)
        h = self.enter(
            F.pixel_unshuffle(pad_to(x, self.patch), self.patch).flatten(2).transpose(1, 2)
        )
        h = h + self.position.to(h.dtype)
        for index, block in enumerate(self.layers):
            h = block(h, films[6 * index : 6 * index + 6])
        h = rescale(h, films[6 * self.depth :])
        h = self.leave(h).transpose(1, 2).reshape(n, -1, *self.grid)
        return unfold(h, self.patch, self.shape).to(x.dtype)


class ColumnTransformer(nn.Module):
    """Transformer denoiser for table rows: one token per column, built from its coordinates and from whether it is given.

    Every column has its own input and output layers. The blocks are those of `DiT` and start as the
    identity.

    Args:
        starts: Index of the first coordinate of each column, followed by the number of coordinates
            d.
        width: Length of a token, a multiple of ``heads``.
        depth: Number of blocks.
        heads: Attention heads.
        conditions: Kinds of condition by name; None for none.
        times: Number of times per example.

    References:
        Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, 2021, for columns as tokens; Peebles and Xie,
        Scalable Diffusion Models with Transformers, 2023, for the blocks.
    """

    shares_time = True  # Times may be one for all rows, which is embedded once
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
        self.size, self.count = self.starts[-1], len(self.starts) - 1
        self.inputs = self.size + self.count
        widths = [
            stop - start for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True)
        ]
        groups = [
            [j for j, wide in enumerate(widths) if wide == each] for each in sorted(set(widths))
        ]
        self.enter, self.leave = nn.ParameterList(), nn.ParameterList()
        for group in groups:
            length = widths[group[0]]
            self.enter.append(
                nn.Parameter(torch.randn(len(group), length + 1, width) / math.sqrt(length + 1))
            )
            self.leave.append(nn.Parameter(torch.zeros(len(group), width + 1, length)))
        self._index(groups)
        self.position = nn.Parameter(0.5 * torch.randn(1, self.count, width))
        self.layers = nn.ModuleList([TransformerBlock(width, heads) for _ in range(depth)])
        self.conditioning = Conditioning(
            width, conditions=self.conditions, times=times, shares_time=True
        )
        starting = [1, 0, 0] * 2 * depth + [1, 0]
        self.modulation = Modulation(width, [width] * len(starting), starting, zero=True)

    def _index(self, groups: Sequence[Sequence[int]]) -> None:
        """Columns of one width together: where their coordinates and marks are, and where their tokens and outputs go."""
        coordinates = [
            [range(self.starts[j], self.starts[j + 1]) for j in group] for group in groups
        ]
        for number, (group, places) in enumerate(zip(groups, coordinates, strict=True)):
            index = torch.tensor(
                [[*place, self.size + j] for place, j in zip(places, group, strict=True)]
            )
            self.register_buffer(f"inputs{number}", index, persistent=False)
            self.register_buffer(f"tokens{number}", torch.tensor(group), persistent=False)
        order = torch.tensor([j for group in groups for j in group])
        flat = torch.tensor([i for places in coordinates for place in places for i in place])
        self.register_buffer("order", order.argsort(), persistent=False)
        self.register_buffer("outputs", flat.argsort(), persistent=False)

    @classmethod
    def sized(
        cls,
        size: str,
        *,
        shape: Sequence[int],
        starts: Sequence[int] | None = None,
        conditions: Kinds = None,
        times: int = 1,
    ) -> ColumnTransformer:
        """Build one of three sizes: tiny (width 32, depth 2), small (64, 3) or base (192, 6).

        ``shape`` is the shape of a row, (d,); without ``starts``, every coordinate is a column.
        """
        width, depth, heads = size_choice(
            size, {"tiny": (32, 2, 2), "small": (64, 3, 4), "base": (192, 6, 6)}
        )
        if starts is None:
            starts = range(shape[0] + 1)
        return cls(
            starts, width=width, depth=depth, heads=heads, conditions=conditions, times=times
        )

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """Compute rows (n, d) from x (n, d + columns): the coordinates, then a flag for each given column."""
        check_input(x, (self.inputs,), "ColumnTransformer")
        vector = self.conditioning(x.shape[0], x.device, t, condition)
        assert vector is not None
        films = self.modulation(vector)
        parts = [
            torch.bmm(x[:, index].transpose(0, 1), weight)
            for index, weight in zip(self._held("inputs"), self.enter, strict=True)
        ]
        h = torch.cat(parts)[self.order].transpose(0, 1) + self.position
        for index, block in enumerate(self.layers):
            h = block(h, films[6 * index : 6 * index + 6])
        h = rescale(h, films[-2:]).transpose(0, 1)
        ends = [
            self._left(h[index], weight)
            for index, weight in zip(self._held("tokens"), self.leave, strict=True)
        ]
        return torch.cat(ends, dim=1)[:, self.outputs].to(x.dtype)

    def _held(self, name: str) -> list[Tensor]:
        return [self.get_buffer(f"{name}{number}") for number in range(len(self.enter))]

    @staticmethod
    def _left(h: Tensor, weight: Tensor) -> Tensor:
        return torch.baddbmm(weight[:, -1:], h, weight[:, :-1]).transpose(0, 1).flatten(1)
