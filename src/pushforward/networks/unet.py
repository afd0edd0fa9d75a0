"""The convolutional denoiser: a pixel-unshuffle stem, then a U of residual blocks around attention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from pushforward.errors import UsageError
from pushforward.networks.checks import check_input, image_shape, positive, size_choice, stem_of
from pushforward.networks.embedding import Condition, Conditioning, Film, Kinds, Modulation, films_of, kinds_of, modulate

__all__ = ["Attention", "Level", "Norm", "ResidualBlock", "UNet", "attend", "fold", "pad_to"]


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
        """Apply.

        Args:
            x: (n, width, h, w).

        Returns:
            (n, width, h, w).
        """
        # PyTorch's forward-mode formula of group_norm takes the default layout only (2.13: "view size is not ...").
        # Of a reduced input it gives a tangent of the weight's type, which the next convolution refuses: so all have that type.
        if forward_mode():
            return F.group_norm(x.contiguous().to(self.weight.dtype), self.groups, self.weight, self.bias).to(x.dtype)
        return F.group_norm(x, self.groups, self.weight, self.bias)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a layer's weights to zero, so that what it ends starts as nothing.

    Args:
        layer: The layer.

    Returns:
        The same layer.
    """
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention, softmax(q k^T / sqrt(d)) v, by whichever implementation is faster for these few tokens.

    Args:
        q: Queries, (n, heads, tokens, d).
        k: Keys, shaped alike.
        v: Values, shaped alike.

    Returns:
        (n, heads, tokens, d).
    """
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
        self.width = width
        self.dropout = dropout
        self.norm1 = Norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = Norm(width)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, film: Film) -> Tensor:
        """Apply.

        Args:
            x: (n, width, h, w).
            film: (scale, shift), each (n, width); or None.

        Returns:
            (n, width, h, w).
        """
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(modulate(self.norm2(h), film))
        if self.dropout:
            h = F.dropout(h, self.dropout, self.training)
        return x + self.conv2(h)


class Attention(nn.Module):
    """Every position looks at every other; the result is added, starting at zero.

    Args:
        width: Number of channels, a multiple of ``heads``.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.norm = Norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply.

        Args:
            x: (n, width, h, w).

        Returns:
            (n, width, h, w).
        """
        n, c, height, width = x.shape
        rows = self.qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(n, height * width, 3, self.heads, c // self.heads)
        q, k, v = rows.permute(2, 0, 3, 1, 4).unbind(0)
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
        self.width = width
        self.blocks = blocks
        self.heads = heads
        self.dropout = dropout
        self.residual = nn.ModuleList([ResidualBlock(width, dropout) for _ in range(blocks)])
        self.attention = Attention(width, heads) if heads else None

    def forward(self, x: Tensor, films: Iterator[Film]) -> Tensor:
        """Apply.

        Args:
            x: (n, width, h, w).
            films: Gives (scale, shift) or None to each block in turn.

        Returns:
            (n, width, h, w).
        """
        for index, block in enumerate(self.residual):
            x = block(x, next(films))
            if index == 0 and self.attention is not None:
                x = self.attention(x)
        return x


class UNet(nn.Module):
    """Convolutional denoiser for images of any height, width and number of channels.

    The image is padded to whole patches, folded into channels (pixel-unshuffle by ``stem``), and goes through levels
    of halving resolution: residual blocks, down, ..., blocks with attention at the coarsest level, up, plus what the
    level held on the way down, blocks. Time and label scale and shift every block. All residual branches and the
    output start at zero.

    With time, the input is added to the output, channel by channel, by a gain that is linear in the embedding of time and
    label and starts at zero: the best linear estimate of data, noise or velocity is such a multiple of x_t, and the rest
    of the network then has only the remainder to learn.

    Args:
        shape: (channels, height, width) of one image.
        width: Channels at the finest level.
        multipliers: Channels of each level over ``width``; their number is the number of levels.
        blocks: Residual blocks per level and direction.
        conditions: What it is told, by name; None for nothing.
        times: Number of times per row; 0 for none.
        stem: Pixels per side of the patches that the first layer folds into channels.
        heads: Attention heads at the coarsest level; 0 for no attention.
        dropout: Share of features dropped in each block, in [0, 1).
        zero_output: Whether the network gives zero at the start. None: yes with time, no without.

    Raises:
        UsageError: A size is out of range, or the coarsest width is no multiple of ``heads``.

    References:
        Ronneberger et al., U-Net, 2015; Ho et al., Denoising Diffusion Probabilistic Models, 2020;
        Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021;
        Hoogeboom et al., Simple Diffusion, 2023.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 2,
        conditions: Kinds = None,
        times: int = 1,
        stem: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        zero_output: bool | None = None,
    ) -> None:
        super().__init__()
        positive(width=width, blocks=blocks, stem=stem)
        if not multipliers:
            raise UsageError("A UNet needs at least one level; got no multipliers.")
        for multiplier in multipliers:
            positive(multiplier=multiplier)
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout is {dropout}; expected a share in [0, 1).")
        self.shape = image_shape(shape)
        self.width = width
        self.multipliers = tuple(multipliers)
        self.blocks = blocks
        self.conditions = kinds_of(conditions)
        self.times = times
        self.stem = stem
        self.heads = heads
        self.dropout = dropout
        self.zero_output = times > 0 if zero_output is None else zero_output

        widths = [width * multiplier for multiplier in self.multipliers]
        if heads < 0 or (heads and widths[-1] % heads):
            raise UsageError(f"{heads} heads do not divide the {widths[-1]} channels of the coarsest level.")
        pixels = self.shape[0] * stem**2
        self.enter = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.down = nn.ModuleList([Level(w, blocks, dropout=dropout) for w in widths[:-1]])
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths)])
        self.middle = Level(widths[-1], blocks, heads=heads, dropout=dropout)
        self.grow = nn.ModuleList([nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths)])
        self.up = nn.ModuleList([Level(w, blocks, dropout=dropout) for w in widths[:-1]])
        self.norm = Norm(widths[0])
        self.leave = nn.Conv2d(widths[0], pixels, 3, padding=1)
        if self.zero_output:
            zeroed(self.leave)

        vector = max(64, 2 * width)
        self.conditioning = Conditioning(vector, conditions=self.conditions, times=times)
        order = [w for w in widths[:-1] for _ in range(blocks)]
        channels = [*order, *[widths[-1]] * blocks, *reversed(order)]
        self.modulation = None if self.conditioning.silent else Modulation.films(vector, channels)
        self.gain = nn.Parameter(torch.zeros(self.shape[0], vector)) if times else None

    @classmethod
    def sized(
        cls,
        size: str,
        *,
        shape: Sequence[int],
        conditions: Kinds = None,
        times: int = 1,
        dropout: float = 0.0,
        zero_output: bool | None = None,
    ) -> UNet:
        """Build one of three sizes; images below 14 pixels get narrower networks and no folding.

        Args:
            size: "tiny", "small" or "base": about 0.2, 1.2 and 6 million parameters at 28 x 28.
            shape: (channels, height, width) of one image.
            conditions: What it is told, by name; None for nothing.
            times: Number of times per row; 0 for none.
            dropout: See the class.
            zero_output: See the class.

        Returns:
            The network.

        Raises:
            UsageError: No such size, or ``shape`` is no image.
        """
        side, stem = max(image_shape(shape)[1:]), stem_of(size, shape, 14)
        if side < 14:
            width, blocks = size_choice(size, {"tiny": (24, 1), "small": (48, 1), "base": (96, 2)})
        else:
            width, blocks = size_choice(size, {"tiny": (32, 1), "small": (64, 2), "base": (128, 3)})
        levels = (1, 2, 2) if side / stem > 16 else (1, 2)
        return cls(
            shape,
            width=width,
            multipliers=levels,
            blocks=blocks,
            conditions=conditions,
            times=times,
            stem=stem,
            dropout=dropout,
            zero_output=zero_output,
        )

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Apply.

        Args:
            x: (n, channels, height, width).
            t: (n,), or (n, times); None where ``times`` is 0.
            condition: None, or values and masks by name; see `Conditioning`.

        Returns:
            A tensor shaped and typed like ``x``.

        Raises:
            UsageError: A shape does not fit, or a time or label is missing or unexpected.
        """
        check_input(x, self.shape, "UNet")
        vector = self.conditioning(x.shape[0], x.device, t, condition)
        number = self.blocks * (2 * len(self.multipliers) - 1)
        films = iter(films_of(self.modulation, vector, number))

        h = self.enter(fold(pad_to(x, self.stem * 2 ** (len(self.multipliers) - 1)), self.stem))
        skips = []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(level(h, films))
            h = shrink(skips[-1])
        h = self.middle(h, films)
        for level, grow, skip in zip(reversed(self.up), reversed(self.grow), reversed(skips), strict=True):
            h = level(skip + F.pixel_shuffle(grow(h), 2), films)
        h = self.leave(F.silu(self.norm(h)))
        if self.stem > 1:
            h = F.pixel_shuffle(h, self.stem)
        h = h[:, :, : self.shape[1], : self.shape[2]].to(x.dtype)
        return h if self.gain is None or vector is None else h + self._gained(x, vector)

    def _gained(self, x: Tensor, vector: Tensor) -> Tensor:
        """The input times its gain; products and sums keep float32 under autocast, where a linear layer would round it."""
        assert self.gain is not None
        gain = (vector[:, None] * self.gain).sum(2) / math.sqrt(self.gain.shape[1])
        return gain[:, :, None, None].to(x.dtype) * x


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples.

    Args:
        x: (n, c, h, w).
        multiple: What they become multiples of.

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
