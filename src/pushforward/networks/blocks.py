"""Parts of convolutional networks: residual blocks, group normalisation and attention."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from pushforward.networks.embedding import Film, modulate


def forward_mode() -> bool:
    """Whether forward-mode derivatives are being taken (`torch.func.jvp`, dual levels)."""
    return forward_ad._current_level >= 0


class Norm(nn.Module):
    """Group normalisation with groups of about 16 channels, differentiable in forward mode as well.

    Args:
        width: Number of channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.groups = max(1, width // 16)
        while width % self.groups:
            self.groups -= 1
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Of features (n, width, h, w), of the same shape."""
        # PyTorch's forward-mode formula of group_norm takes the default layout only (2.13: "view size is not ...").
        # Of a reduced input it gives a tangent of the weight's type, which the next convolution refuses: so all have that type.
        if forward_mode():
            return F.group_norm(x.contiguous().to(self.weight.dtype), self.groups, self.weight, self.bias).to(x.dtype)
        return F.group_norm(x, self.groups, self.weight, self.bias)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer itself, its weights set to zero, so that the branch that it ends starts at zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention, softmax(q k^T / sqrt(d)) v, all (n, heads, tokens, d), by whichever implementation is faster for few tokens."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= 256:
        # The fused CPU kernel takes 2 to 4 times as long in bfloat16 (49 tokens, 128 channels, forward and backward).
        return _attend_plainly(q, k, v)
    if forward_mode():  # fused kernels have no forward-mode derivative
        return _attend_plainly(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def _attend_plainly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ((q * q.shape[3] ** -0.5) @ k.transpose(2, 3)).softmax(3) @ v


class ResidualBlock(nn.Module):
    """x + conv(silu(scale-shift(norm(conv(silu(norm(x))))))), the last convolution starting at zero.

    Args:
        width: Number of channels.
        dropout: Share of features dropped before the last convolution.
    """

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        self.norm1 = Norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = Norm(width)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, film: Film) -> Tensor:
        """Of features (n, width, h, w), of the same shape; ``film`` is (scale, shift), each (n, width), or None."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(modulate(self.norm2(h), film))
        if self.dropout:
            h = F.dropout(h, self.dropout, self.training)
        return x + self.conv2(h)


class Attention(nn.Module):
    """Every position attends to every other; the result is added, starting at zero.

    Args:
        width: Number of channels, a multiple of ``heads``.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.norm = Norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Of features (n, width, h, w), of the same shape."""
        n, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(n, height * width, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(q, k, v).transpose(1, 2).reshape(n, height, width, c)
        return x + self.out(mixed.permute(0, 3, 1, 2))


class Level(nn.Module):
    """Residual blocks at one resolution; attention, if any, follows the first of them.

    Args:
        width: Number of channels.
        blocks: Number of blocks.
        heads: Attention heads; 0 for no attention.
        dropout: Share of features dropped in each block.
    """

    def __init__(self, width: int, blocks: int, *, heads: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.blocks, self.heads, self.dropout = width, blocks, heads, dropout
        self.residual = nn.ModuleList([ResidualBlock(width, dropout) for _ in range(blocks)])
        self.attention = Attention(width, heads) if heads else None

    def forward(self, x: Tensor, films: Iterator[Film]) -> Tensor:
        """Of features (n, width, h, w), of the same shape; ``films`` gives (scale, shift) or None to each block in turn."""
        for index, block in enumerate(self.residual):
            x = block(x, next(films))
            if index == 0 and self.attention is not None:
                x = self.attention(x)
        return x
