"""Parts of networks: checks of shapes, embeddings of times and conditions, norms, blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from pushforward.arguments import one_of
from pushforward.conditions.kind import ConditionKind, check_mask, checked, mask_of
from pushforward.errors import UsageError

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
Shape = Sequence[int]
Condition = Mapping[str, Tensor] | None
Kinds = Mapping[str, ConditionKind] | None
Times = Tensor | None
Film = tuple[Tensor, Tensor] | None


def level_widths(width: int, number: int, most: int) -> list[int]:
    """Return the channels of each level, finest first: doubling up to ``most`` times ``width``."""
    return [width * min(2**level, most) for level in range(number)]


def sides_of(shape: Shape, axes: int) -> tuple[int, ...]:
    """Return a shape with this number of axes, or raise a `UsageError`."""
    sides = tuple(map(int, shape))
    if len(sides) != axes:
        raise UsageError(
            f"Expected a shape with {axes} axes, got {sides}. Use an MLP for vectors (d,), and "
            "another network for images (channels, height, width)."
        )
    return sides


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """Return an image shape (channels, height, width), or raise a `UsageError`."""
    channels, height, width = sides_of(shape, 3)
    return channels, height, width


def check_input(x: Tensor, shape: tuple[int, ...], network: str) -> None:
    """Raise a `UsageError` that names the network if a batch is not of shape (n, *shape)."""
    if x.shape[1:] != shape:
        raise UsageError(
            f"{network} got x of shape {tuple(x.shape)}; expected examples of shape {shape}. Build "
            "the network for the shape of the data, or reshape x."
        )


def size_choice(size: str, choices: dict[str, T]) -> T:
    """Return the settings of a named size."""
    return choices[one_of("size", size, choices)]


def longer_side(shape: Shape) -> int:
    """Return the longer side of an image."""
    return max(image_shape(shape)[1:])


def stem_of(size: str, shape: Shape, least: int) -> int:
    """Choose the side of patches folded into channels, which leaves at most 16 pixels (base: 32).

    Images whose longer side is below ``least`` are not folded.
    """
    side = longer_side(shape)
    most = 32 if size == "base" else 16
    stem = 1 if side < least else 2
    while side / stem > most:
        stem *= 2
    return stem


def patches(side: int, size: int) -> int:
    """Return the number of patches of a size that cover a side."""
    return -(-side // size)


def grids(height: int, width: int, stem: int) -> list[tuple[int, int]]:
    """Return feature map sizes, finest first: halved until no side is longer than 4."""
    grid = (patches(height, stem), patches(width, stem))
    sizes = [grid]
    while max(grid) > 4:
        grid = (patches(grid[0], 2), patches(grid[1], 2))
        sizes.append(grid)
    return sizes


# Highest angular frequency of time features, for networks of one time and of several
TOP_FREQUENCY = 1000.0
TOP_FREQUENCY_OF_MAPS = 30.0


class TimeEmbedding(nn.Module):
    """Embedding of times: sines and cosines at geometrically spaced frequencies, two linear layers.

    Weights of all times but the first start at zero. With several times the frequencies end at 30
    instead of 1000: maps between two times are trained through their derivative in t.

    References:
        Vaswani et al., Attention Is All You Need, 2017.
    """

    frequencies: Tensor

    def __init__(self, width: int, times: int = 1) -> None:
        super().__init__()
        self.width = width
        self.times = times
        number = max(2, min(width // 2, 64))
        top = TOP_FREQUENCY if times == 1 else TOP_FREQUENCY_OF_MAPS
        frequencies = torch.logspace(0, math.log10(top), number)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.inner = nn.Linear(2 * number * times, width)
        with torch.no_grad():
            self.inner.weight.view(width, 2, times, number)[:, :, 1:] = 0
        self.outer = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        if t.ndim == 1:
            t = t[:, None]
        return self.outer(F.silu(self.inner(self.features(t))))

    def features(self, t: Tensor) -> Tensor:
        """Compute sines, then cosines, (n, 2 x frequencies x times), of times (n, times)."""
        angles = t.to(self.frequencies.dtype)[:, :, None] * self.frequencies
        angles = angles.flatten(1)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def kinds_of(conditions: Kinds) -> dict[str, ConditionKind]:
    """Return kinds of condition as networks store them: without the data for drawing values."""
    return {name: kind.for_networks() for name, kind in checked(conditions or {}).items()}


def check_condition(condition: Condition, kinds: Mapping[str, ConditionKind], n: int) -> None:
    """Raise a `UsageError` if a network with these kinds cannot take conditions of n examples."""
    for name, values in (condition or {}).items():
        kind = name.removesuffix("_null")
        if kind not in kinds:
            known = ", ".join(kinds) or "none"
            raise UsageError(
                f'Got the condition "{name}", but this network takes {known}. Leave out the '
                "condition, or build the network with the data's conditions."
            )
        if kind == name:
            kinds[name].check(values, n)
        else:
            check_mask(kind, values, n)


class Conditioning(nn.Module):
    """Embedding of all inputs besides x: the sum of time and condition embeddings.

    Condition embeddings have length about 1, and are scaled here to entries of variance 1.
    """

    def __init__(self, width: int, conditions: Kinds = None, times: int = 0) -> None:
        super().__init__()
        self.width = width
        self.conditions = kinds_of(conditions)
        self.times = times
        self.time = TimeEmbedding(width, times) if times else None
        self.embeddings = nn.ModuleDict()
        for name, kind in self.conditions.items():
            self.embeddings[name] = kind.embedding(width)

    @property
    def silent(self) -> bool:
        return self.time is None and not self.conditions

    def forward(self, x: Tensor, t: Times, condition: Condition) -> Times:
        """Embed times and conditions as vectors (n, width); (1, width) for one shared time only.

        Args:
            x: Examples (n, ...).
            t: Times (n,) or (n, times); (1,) if all examples share one.
            condition: Values by name, such as "label", and masks such as "label_null", bool (n,),
                which mark unconditional examples.

        Raises:
            UsageError: If a time is missing, or a time or condition is unexpected.
        """
        check_condition(condition, self.conditions, x.shape[0])
        if (t is None) != (self.times == 0):
            given = "no time t" if t is None else "a time t"
            raise UsageError(f"Got {given}, but this network was built with times={self.times}.")
        parts = []
        if self.time is not None:
            parts.append(self.time(t))
        for name, kind in self.conditions.items():
            values, null = values_of(name, kind, x, condition)
            parts.append(self.embeddings[name](values, null) * math.sqrt(self.width))
        if parts:
            return sum(parts[1:], parts[0])
        return None

    def joined(self, x: Tensor, t: Times, condition: Condition) -> Tensor:
        """Append the embedding of the conditions, if any, to vectors x (n, d); t is None."""
        label = self(x, t, condition)
        if label is None:
            return x
        return torch.cat([x, label.to(x.dtype)], dim=1)


def values_of(
    name: str, kind: ConditionKind, x: Tensor, condition: Condition
) -> tuple[Tensor, Tensor | None]:
    """Return the values of a condition and their mask; a missing one is masked in every example."""
    if condition is None or condition.get(name) is None:
        n = x.shape[0]
        return kind.blank(n, x.device), torch.ones(n, dtype=torch.bool, device=x.device)
    return condition[name], condition.get(mask_of(name))


def condition_channels(
    kinds: Mapping[str, ConditionKind], x: Tensor, condition: Condition
) -> list[Tensor]:
    """Return the channels (n, c) of each condition, zero for unconditional examples."""
    parts = []
    for name, kind in kinds.items():
        values, null = values_of(name, kind, x, condition)
        channels = kind.as_channels(values).to(x.dtype)
        if null is not None:
            channels = channels.masked_fill(null[:, None], 0)
        parts.append(channels)
    return parts


class Modulation(nn.Module):
    """Linear layer that computes separate vectors for every block: cheaper than one per block.

    Args:
        width: Length of the conditioning vector.
        sizes: Length of each output vector.
        starts: Initial value of each vector: 1 for scales, 0 for shifts and gates.
        zero: Whether vectors start at exactly these values (adaLN-zero).
    """

    starting: Tensor

    def __init__(
        self, width: int, sizes: Shape, starts: Sequence[float], *, zero: bool = False
    ) -> None:
        super().__init__()
        self.width = width
        self.sizes = tuple(sizes)
        self.starts = tuple(starts)
        self.zero = zero
        self.linear = nn.Linear(width, sum(self.sizes))
        nn.init.zeros_(self.linear.bias)
        if zero:
            zeroed(self.linear)
        values = []
        for size, start in zip(self.sizes, self.starts, strict=True):
            values.append(torch.full((size,), float(start)))
        self.register_buffer("starting", torch.cat(values), persistent=False)

    @classmethod
    def films(cls, width: int, channels: Shape) -> Modulation:
        """Build a layer that computes scale and shift for blocks with these channels in turn."""
        sizes = np.repeat(channels, 2).tolist()
        return cls(width, sizes, [1, 0] * len(channels))

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        # one addition of a few numbers to the bias, instead of one per block and example
        bias = self.linear.bias + self.starting
        outputs = F.linear(F.silu(vector), self.linear.weight, bias)
        return outputs.split(self.sizes, dim=1)


def films_of(modulation: Modulation | None, vector: Times, number: int) -> list[Film]:
    """Return (scale, shift) for each of ``number`` blocks; None without layer or vector."""
    if modulation is None or vector is None:
        return [None] * number
    vectors = modulation(vector)
    return list(zip(vectors[::2], vectors[1::2], strict=True))


def modulate(h: Tensor, film: Film) -> Tensor:
    """Compute h scale + shift for features h (n, c, ...) and (n, c) scale and shift."""
    if film is None:
        return h
    scale, shift = film
    if h.ndim > 2:
        channels = (-1, *[1] * (h.ndim - 2))
        scale = scale.unflatten(1, channels)
        shift = shift.unflatten(1, channels)
    return torch.addcmul(shift.to(h.dtype), h, scale.to(h.dtype))


def forward_mode() -> bool:
    """Return whether forward-mode derivatives are being computed (`torch.func.jvp`)."""
    return forward_ad._current_level >= 0


class Norm(nn.Module):
    """Group normalisation with groups of about 16 channels, also differentiable in forward mode."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.groups = max(1, width // 16)
        while width % self.groups:
            self.groups -= 1
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        if not forward_mode():
            return F.group_norm(x, self.groups, self.weight, self.bias)
        # PyTorch's forward-mode formula of group_norm needs the default layout, and gives a tangent
        # of the weight's type.
        plain = x.contiguous().to(self.weight.dtype)
        return F.group_norm(plain, self.groups, self.weight, self.bias).to(x.dtype)


def zeroed(layer: M) -> M:
    """Set a layer's weights to zero, so that the branch that it ends starts at zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute softmax(q k^T / sqrt(d)) v, all (n, heads, tokens, d); fast for few tokens."""
    # fused kernels have no forward-mode derivative; on CPUs they take 2 to 4 times as long in
    # bfloat16 (49 tokens, 128 channels, forward and backward)
    slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= 256
    if slow or forward_mode():
        scaled = q * q.shape[3] ** -0.5
        return (scaled @ k.transpose(2, 3)).softmax(3) @ v
    return F.scaled_dot_product_attention(q, k, v)


class ResidualBlock(nn.Module):
    """Residual block x + conv(silu(scale-shift(norm(conv(silu(norm(x))))))), starting at x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.norm1 = Norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = Norm(width)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, film: Film) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(modulate(self.norm2(h), film))
        return x + self.conv2(h)


class Attention(nn.Module):
    """Self-attention over all positions, added to the input; the added branch starts at zero."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.norm = Norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)
        qkv = qkv.reshape(n, height * width, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(q, k, v).transpose(1, 2).reshape(n, height, width, c)
        return x + self.out(mixed.permute(0, 3, 1, 2))


class Level(nn.Module):
    """Residual blocks at one resolution; attention, if any, follows the first block."""

    def __init__(self, width: int, blocks: int, *, heads: int = 0) -> None:
        super().__init__()
        self.width = width
        self.blocks = blocks
        self.heads = heads
        self.residual = nn.ModuleList([ResidualBlock(width) for _ in range(blocks)])
        self.attention = Attention(width, heads) if heads else None

    def forward(self, x: Tensor, films: Iterator[Film]) -> Tensor:
        for index, block in enumerate(self.residual):
            x = block(x, next(films))
            if index == 0 and self.attention is not None:
                x = self.attention(x)
        return x


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of images until height and width are multiples of a number."""
    bottom = -x.shape[2] % multiple
    right = -x.shape[3] % multiple
    if bottom or right:
        return F.pad(x, (0, right, 0, bottom), mode="replicate")
    return x


def fold(x: Tensor, stem: int) -> Tensor:
    """Fold patches of stem x stem pixels into channels, channels last in memory."""
    if stem > 1:
        x = F.pixel_unshuffle(x, stem)
    return x.contiguous(memory_format=torch.channels_last)


def unfold(h: Tensor, stem: int, like: tuple[int, int, int]) -> Tensor:
    """Undo `fold`, and crop at the bottom and right to an image size (c, h, w)."""
    if stem > 1:
        h = F.pixel_shuffle(h, stem)
    return h[:, :, : like[1], : like[2]]


# Below this, standard deviations fade into variances, whose derivatives are finite at zero
SMALLEST = 1e-4


def append_minibatch_std(h: Tensor, group: int) -> Tensor:
    """Append the mean standard deviation within groups as an additional channel or feature.

    Groups are consecutive examples; a batch that they do not divide is one group. Standard
    deviations s are smoothed as sqrt(s^2 + e^2) - e, e = 1e-4, which has finite derivatives of
    every order, and averaged over features.

    References:
        Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation,
        2018, section 3.
    """
    n = h.shape[0]
    if n % group:
        group = n
    flat = h.flatten(1).to(torch.promote_types(h.dtype, torch.float32))
    groups = flat.unflatten(0, (-1, group))
    variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
    # sqrt(v + e^2) - e without the difference of two nearly equal numbers
    smoothed = variance / ((variance + SMALLEST**2).sqrt() + SMALLEST)
    deviation = smoothed.mean(1).repeat_interleave(group).to(h.dtype)
    deviation = deviation.unflatten(0, (-1, *[1] * (h.ndim - 1)))
    return torch.cat([h, deviation.expand(-1, 1, *h.shape[2:])], dim=1)
