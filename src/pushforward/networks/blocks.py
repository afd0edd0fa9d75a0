"""Blocks of convolutional networks: norms, residual blocks, attention, resampling, spectral norms, heads of critics."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

from pushforward.networks.embedding import Condition, Conditioning, Film, Kinds, kinds_of, modulate


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


def halving(side: int) -> Tensor:
    """The matrix (ceil(side / 2), side) that smooths by [1, 2, 1] / 4 and keeps every second number, beginning with the first.

    The ends are repeated outwards.
    """
    matrix = torch.zeros(-(-side // 2), side)
    for row in range(matrix.shape[0]):
        for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            matrix[row, min(max(2 * row + offset, 0), side - 1)] += weight
    return matrix


def doubling(side: int) -> Tensor:
    """The matrix (side, ceil(side / 2)) that puts between two numbers their mean: upsampling by [1, 2, 1] / 2.

    The last number that goes in is repeated outwards.
    """
    matrix = torch.zeros(side, -(-side // 2))
    for row in range(side):
        for column in (row // 2, -(-row // 2)):
            matrix[row, min(column, matrix.shape[1] - 1)] += 0.5
    return matrix


class Resample(nn.Module):
    """A linear map along the height and one along the width: two matrix products.

    This takes a quarter to half of the time of pooling, slicing or depthwise convolution with channels last, forward,
    backward and twice backward.

    Args:
        rows: (new height, height).
        columns: (new width, width).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, c, new height, new width), channels last in memory, of images (n, c, height, width)."""
        n, c, height, width = x.shape
        new_height, new_width = self.rows.shape[0], self.columns.shape[0]
        h = self.rows.to(x.dtype) @ x.permute(0, 2, 3, 1).reshape(n, height, width * c)
        h = self.columns.to(x.dtype) @ h.reshape(n * new_height, width, c)
        return h.reshape(n, new_height, new_width, c).permute(0, 3, 1, 2)


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of images (n, c, h, w) until height and width are multiples of a number."""
    bottom, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def fold(x: Tensor, stem: int) -> Tensor:
    """Fold patches of stem x stem pixels into channels, (n, c stem^2, h / stem, w / stem), channels last in memory."""
    x = F.pixel_unshuffle(x, stem) if stem > 1 else x
    return x.contiguous(memory_format=torch.channels_last)


def unfold(h: Tensor, stem: int, like: tuple[int, int, int]) -> Tensor:
    """The patches of `fold` unfolded again, and cropped at the bottom and right to the sides of an image (c, h, w)."""
    h = F.pixel_shuffle(h, stem) if stem > 1 else h
    return h[:, :, : like[1], : like[2]]


# Deviations far above this are themselves; below it they fade into the variance, whose derivatives are finite at zero
SMALLEST = 1e-4


def append_minibatch_std(h: Tensor, group: int) -> Tensor:
    """Append to each example how much its group of examples differs, as one more channel or feature.

    Examples form fixed groups of ``group`` consecutive examples; the last group is smaller where n is no multiple. In each group
    the standard deviation s of every feature (over the examples, divided by their number) is taken and averaged over all
    features, channels and pixels. In place of s stands sqrt(s^2 + e^2) - e with e = 1e-4: exactly 0 where the examples
    are equal or alone, less than s by at most e elsewhere, and with finite derivatives of every order.

    Args:
        h: (n, c, height, width) or (n, c): features of a critic.
        group: Examples in a group, at least 1; the paper has 4.

    Returns:
        (n, c + 1, height, width) or (n, c + 1), in the type of ``h``.

    References:
        Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation, 2018, section 3.
    """
    n = h.shape[0]
    flat = h.flatten(1).to(torch.promote_types(h.dtype, torch.float32))
    whole = n // group * group
    parts = [flat[:whole].unflatten(0, (-1, group))] if whole else []
    parts += [flat[None, whole:]] if whole < n else []
    means = [_deviation(part).repeat_interleave(part.shape[1]) for part in parts]
    deviation = torch.cat(means).to(h.dtype) if means else h.new_zeros(0)
    return torch.cat([h, deviation.unflatten(0, (-1, *[1] * (h.ndim - 1))).expand(-1, 1, *h.shape[2:])], dim=1)


def _deviation(groups: Tensor) -> Tensor:
    variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
    # sqrt(v + e^2) - e without the difference of two nearly equal numbers
    return (variance / ((variance + SMALLEST**2).sqrt() + SMALLEST)).mean(1)


LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class UnitVectors(nn.Module):
    """The spectral norm of the library, as if its two singular vectors had length 1.

    They have in training. In an average of a network (EMA) they are averaged too and become shorter, down to a third, where
    the leading direction turns; the norm u W v would be too small by both lengths and the network too steep.

    Args:
        norm: The library's parametrisation of the same weight.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = (norm,)  # in a tuple, since the layer already owns it as a module

    def forward(self, weight: Tensor) -> Tensor:
        return weight * (self.norm[0].get_buffer("_u").norm() * self.norm[0].get_buffer("_v").norm())


class Spectral(nn.Module):
    """A network whose linear layers and convolutions have a largest singular value of about 1, so that its slope is bounded.

    Every weight of a Linear, Conv2d or ConvTranspose2d is divided by its norm as a matrix (outputs, everything else), which
    each call in training mode follows by one step of the power iteration, kept in buffers; a call in evaluation mode changes
    nothing. `torch.func.jvp` and `torch.export` work in both modes. Biases, embeddings, a learned basis and normalisation layers
    stay as they are; leave batch normalisation out.

    A weight that starts at zero, as the last one of a residual block does, has no direction to keep: dividing by its norm
    gives no number, and no later step would correct it. Such weights are drawn again, normal with variance 1 / fan-in, so the
    branch starts at norm 1 like all others.

    Args:
        network: The network, changed in place.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for layer in [module for module in network.modules() if isinstance(module, LAYERS)]:
            if not layer.weight.any():
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            spectral_norm(layer)
            norm = list(layer.get_submodule("parametrizations.weight").children())[-1]
            register_parametrization(layer, "weight", UnitVectors(norm))

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        return self.network(x, t, condition)


class ProjectionHead(nn.Module):
    """Features phi to the score <w, phi> + b, and with conditions c <w, phi> + b + <e(c), phi>.

    Conditions enter through the projection of the features onto their embedding e alone (a label's, numbers', or the sum of
    several); examples without have a learned null embedding.

    Args:
        width: Number of features.
        conditions: Kinds of condition by name; None for an unconditional network.

    References:
        Miyato and Koyama, cGANs with Projection Discriminator, 2018, equation 4.
    """

    def __init__(self, width: int, conditions: Kinds = None) -> None:
        super().__init__()
        self.width = width
        self.conditions = kinds_of(conditions)
        self.linear = nn.Linear(width, 1)
        self.conditioning = Conditioning(width, conditions=self.conditions, times=0)

    def forward(self, features: Tensor, t: Tensor | None = None, condition: Condition | None = None) -> Tensor:
        """Scores (n,), float32 at least, of features (n, width)."""
        label = self.conditioning(features.shape[0], features.device, t, condition)
        weight = self.linear.weight if label is None else self.linear.weight + label / math.sqrt(self.width)
        # Products and sums keep float32 under autocast, where a linear layer would round the score to three digits.
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return (features * weight).sum(1) + self.linear.bias


SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
GROUP = 16


def convolution(inputs: int, outputs: int, size: int, *, groups: int = 1, bias: bool = True, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the size, with normal weights of variance gain^2 / fan-in and no bias at the start.

    ``gain`` is the standard deviation of the result over that of the input; 0 makes zero weights.
    """
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=bias)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs // groups * size**2))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that keeps the variance, without bias."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    return layer


class InvertedBlock(nn.Module):
    """x + (1x1 -> leaky ReLU -> grouped 3x3 -> leaky ReLU -> 1x1), twice as wide inside.

    The last layer starts at zero; the two before it are scaled by ``total`` ^ (-1/4), so that the sum over all blocks
    of a network changes by as much in one step as a single block would.

    Args:
        width: Number of channels.
        total: Number of blocks in the whole network.

    References:
        Zhang et al., Fixup Initialization, 2019; Huang et al., The GAN is dead; long live the GAN!, 2024.
    """

    def __init__(self, width: int, total: int) -> None:
        super().__init__()
        self.width, self.total = width, total
        inner = 2 * width
        groups = max(1, inner // GROUP)
        while inner % groups:
            groups -= 1
        gain = GAIN * total**-0.25
        self.widen = convolution(width, inner, 1, gain=gain)
        self.mix = convolution(inner, inner, 3, groups=groups, gain=gain)
        self.narrow = convolution(inner, width, 1, bias=False, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.widen(x), SLOPE)
        return x + self.narrow(F.leaky_relu(self.mix(h), SLOPE))
