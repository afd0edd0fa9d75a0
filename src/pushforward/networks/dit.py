"""The transformer denoiser: patches as tokens, conditioned by adaLN-zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.networks.blocks import attend, pad_to, unfold
from pushforward.networks.checks import check_input, image_shape, size_choice
from pushforward.networks.embedding import Condition, Conditioning, Kinds, Modulation, kinds_of


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each normalised, scaled, shifted and gated by the conditioning vector.

    Args:
        width: Length of a token, a multiple of ``heads``.
        heads: Number of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)

    def attend(self, h: Tensor) -> Tensor:
        """Every token attends to every other: (n, tokens, width), of the same shape."""
        n, tokens, width = h.shape
        q, k, v = self.qkv(h).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(attend(q, k, v).transpose(1, 2).reshape(n, tokens, width))

    def forward(self, x: Tensor, film: Sequence[Tensor]) -> Tensor:
        """Of tokens (n, tokens, width), of the same shape.

        ``film`` has scale, shift and gate of attention, then of the perceptron, each (n, width); empty for none.
        """
        h = self.attend(rescale(x, film[0:2]))
        x = x + h if not film else torch.addcmul(x, film[2][:, None].to(x.dtype), h.to(x.dtype))
        h = self.outer(F.gelu(self.inner(rescale(x, film[3:5])), approximate="tanh"))
        return x + h if not film else torch.addcmul(x, film[5][:, None].to(x.dtype), h.to(x.dtype))


def rescale(x: Tensor, film: Sequence[Tensor]) -> Tensor:
    """Tokens (n, tokens, width), normalised to mean 0 and variance 1; then scaled and shifted, unless ``film`` is empty."""
    h = F.layer_norm(x, (x.shape[2],))
    return torch.addcmul(film[1][:, None].to(h.dtype), h, film[0][:, None].to(h.dtype)) if film else h


class DiT(nn.Module):
    """Transformer denoiser for images of any height, width and number of channels.

    The image is padded to whole patches; each patch is a token with a learned position. Every block starts as the
    identity (adaLN-zero).

    Args:
        shape: (channels, height, width) of one image.
        patch: Pixels per side of a patch.
        width: Length of a token.
        depth: Number of blocks.
        heads: Attention heads; divides ``width``.
        conditions: Kinds of condition by name; None for an unconditional network.
        times: Number of times per example; 0 for none.

    References:
        Peebles and Xie, Scalable Diffusion Models with Transformers, 2023.
    """

    def __init__(
        self, shape: Sequence[int], *, patch: int, width: int, depth: int, heads: int, conditions: Kinds = None, times: int = 1
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.patch, self.width, self.depth, self.heads = patch, width, depth, heads
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
        self.modulation = None if self.conditioning.silent else Modulation(width, [width] * len(starts), starts, zero=True)

    @classmethod
    def sized(cls, size: str, *, shape: Sequence[int], conditions: Kinds = None, times: int = 1) -> DiT:
        """Build one of three sizes: about 0.25, 1.3 and 7 million parameters, half of it below 14 pixels.

        Patches have 2 pixels a side up to 16 pixels, then 4, then 8 above 64.
        """
        side = max(image_shape(shape)[1:])
        patch = 2 if side <= 16 else 4
        while side / patch > 16:
            patch *= 2
        if side < 14:
            width, depth, heads = size_choice(size, {"tiny": (48, 3, 2), "small": (96, 3, 4), "base": (192, 6, 4)})
        else:
            width, depth, heads = size_choice(size, {"tiny": (64, 3, 2), "small": (128, 4, 4), "base": (256, 6, 4)})
        return cls(shape, patch=patch, width=width, depth=depth, heads=heads, conditions=conditions, times=times)

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """A tensor shaped like images x (n, channels, height, width)."""
        check_input(x, self.shape, "DiT")
        n = x.shape[0]
        vector = self.conditioning(n, x.device, t, condition)
        films = () if self.modulation is None or vector is None else self.modulation(vector)
        h = self.enter(F.pixel_unshuffle(pad_to(x, self.patch), self.patch).flatten(2).transpose(1, 2))
        h = h + self.position.to(h.dtype)
        for index, block in enumerate(self.layers):
            h = block(h, films[6 * index : 6 * index + 6])
        h = rescale(h, films[6 * self.depth :])
        h = self.leave(h).transpose(1, 2).reshape(n, -1, *self.grid)
        return unfold(h, self.patch, self.shape).to(x.dtype)
