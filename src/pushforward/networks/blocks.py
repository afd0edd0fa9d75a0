"""Parts of networks: checks of sizes and shapes, embeddings of times and conditions, norms, residual blocks, attention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from pushforward.arguments import one_of
from pushforward.conditions.kind import ConditionKind, check_mask, checked, mask_of
from pushforward.errors import UsageError

T = TypeVar("T")


def level_widths(width: int, number: int, most: int) -> list[int]:
    """Channels of so many levels, finest first: doubling, up to ``most`` times ``width``."""
    return [width * min(2**level, most) for level in range(number)]


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """The shape of one image as a tuple of int: (channels, height, width).

    Raises:
        UsageError: The shape has another rank, or a side below 1.
    """
    sides = tuple(int(side) for side in shape)
    if len(sides) != 3 or min(sides) < 1:
        raise UsageError(
            f"Shape {sides} is no image; expected (channels, height, width), each at least 1. "
            "For vectors of shape (d,) use an MLP."
        )
    return sides[0], sides[1], sides[2]


def vector_shape(shape: Sequence[int]) -> int:
    """The length d of one vector, from its shape (d,).

    Raises:
        UsageError: The shape has another rank, or d is below 1.
    """
    sides = tuple(int(side) for side in shape)
    if len(sides) != 1 or sides[0] < 1:
        raise UsageError(
            f"Shape {sides} is no vector; expected (d,) with d at least 1. "
            "For images of shape (channels, height, width) use a UNet, DiT, Generator, Critic, Encoder or Decoder."
        )
    return sides[0]


def check_input(x: Tensor, shape: tuple[int, ...], network: str) -> None:
    """Refuse a batch that is not (n, *shape), naming the network.

    Raises:
        UsageError: The shape differs.
    """
    if tuple(x.shape[1:]) != shape or x.ndim != len(shape) + 1:
        wanted = ", ".join(str(side) for side in ("n", *shape))
        raise UsageError(
            f"{network} got x of shape {tuple(x.shape)}; expected ({wanted}). "
            "Build the network for the shape of the data, or reshape x."
        )


def size_choice(size: str, choices: dict[str, T]) -> T:
    """The settings of one of the named sizes.

    Raises:
        UsageError: No such size.
    """
    return choices[one_of("size", size, choices)]


def stem_of(size: str, shape: Sequence[int], least: int) -> int:
    """The side of the patches that a network's first layer folds into channels, 1, 2, 4, ...: it then works on 16 to 32 pixels.

    Args:
        size: "tiny", "small" or "base"; base works on up to 32 pixels, the others on up to 16.
        shape: (channels, height, width) of one image.
        least: Images whose longer side is below this are not folded.

    Raises:
        UsageError: ``shape`` is no image.
    """
    side = max(image_shape(shape)[1:])
    stem = 1 if side < least else 2
    while side / stem > (32 if size == "base" else 16):
        stem *= 2
    return stem


def grids(height: int, width: int, stem: int) -> list[tuple[int, int]]:
    """Sizes (height, width) of the feature maps, at least one, finest first: halved, rounding up, until no side is longer than 4.

    ``stem`` is the side of the patches that are folded into channels first.
    """
    sizes = [(-(-height // stem), -(-width // stem))]
    while max(sizes[-1]) > 4:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


# The fastest waves of the time in radians, of networks of one time and of more
TOP_FREQUENCY, TOP_FREQUENCY_OF_MAPS = 1000.0, 30.0
Condition = Mapping[str, Tensor]
Kinds = Mapping[str, ConditionKind] | None
Film = tuple[Tensor, Tensor] | None


class TimeEmbedding(nn.Module):
    """Times as vectors: sines and cosines at frequencies from 1 to 1000, then two linear layers.

    Features of one time are sin(w_k t), cos(w_k t) with w_k spaced geometrically. Weights of all times but the first start at
    zero: a map between two times begins as a network of one. With two times the frequencies end at 30: such maps are trained
    through their derivative in t, of which the fast waves would make nine tenths.

    Args:
        width: Length of the result, at least 1.
        times: How many times an example has: 1 for denoisers, 2 for maps between two times.

    References:
        Vaswani et al., Attention Is All You Need, 2017.
    """

    frequencies: Tensor

    def __init__(self, width: int, times: int = 1) -> None:
        super().__init__()
        self.width, self.times = width, times
        number = max(2, min(width // 2, 64))
        top = TOP_FREQUENCY if times == 1 else TOP_FREQUENCY_OF_MAPS
        self.register_buffer("frequencies", torch.logspace(0, math.log10(top), number), persistent=False)
        self.inner = nn.Linear(2 * number * times, width)
        with torch.no_grad():
            self.inner.weight.view(width, 2, times, number)[:, :, 1:] = 0
        self.outer = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """Embed.

        Args:
            t: (n,) where ``times`` is 1, else (n, times); roughly in [-2, 2].

        Returns:
            (n, width).
        """
        return self.outer(F.silu(self.inner(self.features(t[:, None] if t.ndim == 1 else t))))

    def features(self, t: Tensor) -> Tensor:
        """The sines and then the cosines of all times, (n, 2 x frequencies x times), from t (n, times)."""
        angles = (t.to(self.frequencies.dtype)[:, :, None] * self.frequencies).flatten(1)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def kinds_of(conditions: Kinds) -> dict[str, ConditionKind]:
    """Kinds of condition by name as networks hold them: without the data for drawing.

    Raises:
        UsageError: A forbidden name, or a value that is no kind of condition.
    """
    return {name: kind.for_networks() for name, kind in checked(conditions or {}).items()}


def check_condition(condition: Condition | None, kinds: Mapping[str, ConditionKind], n: int) -> None:
    """Refuse conditions that a network of these kinds cannot take for n examples.

    Raises:
        UsageError: A condition that the network was built without, or values or a mask of the wrong shape or type.
    """
    for name, values in (condition or {}).items():
        kind = name.removesuffix("_null")
        if kind not in kinds:
            known = f"with {', '.join(kinds)} alone" if kinds else "without labels or other conditions"
            raise UsageError(
                f'Got the condition "{name}", but this network was built {known}. '
                "Leave it out, or build the network with the conditions of the data."
            )
        if kind == name:
            kinds[name].check(values, n)
        else:
            check_mask(kind, values, n)


class Conditioning(nn.Module):
    """Everything a network receives besides x, as one vector per example: the sum of the embeddings of time and conditions.

    Embeddings of conditions have about length 1; here they are scaled to entries of variance 1: at length 1 they would be faint
    beside the time, and be learned ten times more slowly.

    Args:
        width: Length of the vector, at least 1.
        conditions: Kinds of condition by name; None for nothing.
        times: Number of times per example; 0 for none.
        shares_time: Whether all examples may have one time.
    """

    def __init__(self, width: int, *, conditions: Kinds = None, times: int, shares_time: bool = False) -> None:
        super().__init__()
        self.shares_time, self.width = shares_time, width
        self.conditions = kinds_of(conditions)
        self.times = times
        self.time = TimeEmbedding(width, times) if times else None
        self.embeddings = nn.ModuleDict({name: kind.embedding(width) for name, kind in self.conditions.items()})

    @property
    def silent(self) -> bool:
        """Whether there is neither time nor condition, so that ``forward`` gives None."""
        return self.time is None and not self.conditions

    def forward(self, n: int, device: torch.device, t: Tensor | None, condition: Condition | None) -> Tensor | None:
        """Embed.

        Args:
            n: Number of examples.
            device: Where x lies.
            t: (n,), or (n, times); with ``shares_time`` also of length 1, one time for all; None where ``times`` is 0.
            condition: None, or values by name, such as "label" (int64 (n,)), and optionally masks such as "label_null" (bool
                (n,)), which marks examples that read as unconditional. A condition that is absent reads as unconditional in every
                example.

        Returns:
            (n, width), or (1, width) where all examples have one time and there are no conditions; None where the network knows
            neither time nor condition.

        Raises:
            UsageError: A time or condition is missing, unexpected or of the wrong shape.
        """
        check_condition(condition, self.conditions, n)
        parts = []
        if self.time is None:
            if t is not None:
                raise UsageError("Got a time t, but this network was built without one (times=0). Pass t=None.")
        else:
            counts = (1, n) if self.shares_time else (n,)
            if t is None or t.ndim < 1 or t.shape[0] not in counts or math.prod(t.shape[1:]) != self.times:
                wanted = f"({n},)" if self.times == 1 else f"({n}, {self.times})"
                got = "no t" if t is None else f"t of shape {tuple(t.shape)}"
                raise UsageError(f"Got {got}; expected {wanted}: this network was built with times={self.times}.")
            parts.append(self.time(t))
        for name, kind in self.conditions.items():
            values, null = values_of(name, kind, n, device, condition)
            parts.append(self.embeddings[name](values, null) * math.sqrt(self.width))
        return sum(parts[1:], parts[0]) if parts else None

    def joined(self, x: Tensor, t: Tensor | None, condition: Condition | None) -> Tensor:
        """Vectors x (n, d) and, where there are conditions, their embedding beside them; t is None."""
        label = self(x.shape[0], x.device, t, condition)
        return x if label is None else torch.cat([x, label.to(x.dtype)], dim=1)


def values_of(
    name: str, kind: ConditionKind, n: int, device: torch.device, condition: Condition | None
) -> tuple[Tensor, Tensor | None]:
    """The values of one condition and its mask; blank and hidden in every example where it is absent."""
    values = None if condition is None else condition.get(name)
    if values is None:
        return kind.blank(n, device), torch.ones(n, dtype=torch.bool, device=device)
    return values, None if condition is None else condition.get(mask_of(name))


class Modulation(nn.Module):
    """One linear layer that gives every block of a network its own vectors: cheaper than one layer per block.

    Args:
        width: Length of the conditioning vector.
        sizes: Length of each vector that comes out.
        starts: The value that each of them keeps at the start, 1 for scales and 0 for shifts and gates.
        zero: Whether they start at exactly these values (adaLN-zero), rather than scattered around them.
    """

    starting: Tensor

    def __init__(self, width: int, sizes: Sequence[int], starts: Sequence[float], *, zero: bool = False) -> None:
        super().__init__()
        self.width = width
        self.sizes = tuple(sizes)
        self.starts = tuple(starts)
        self.zero = zero
        self.linear = nn.Linear(width, sum(self.sizes))
        nn.init.zeros_(self.linear.bias)
        if zero:
            nn.init.zeros_(self.linear.weight)
        values = [torch.full((size,), float(start)) for size, start in zip(self.sizes, self.starts, strict=True)]
        self.register_buffer("starting", torch.cat(values), persistent=False)

    @classmethod
    def films(cls, width: int, channels: Sequence[int]) -> Modulation:
        """A layer that gives each of several blocks scale and shift, in turn.

        Args:
            width: Length of the conditioning vector.
            channels: Number of channels of each block.
        """
        sizes = [size for size in channels for _ in range(2)]
        return cls(width, sizes, [1, 0] * len(channels))

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        """A tensor (n, size) for each of ``sizes``, from the conditioning vector (n, width)."""
        # The starting values go into the bias: one addition of a few numbers instead of one per block and example.
        return F.linear(F.silu(vector), self.linear.weight, self.linear.bias + self.starting).split(self.sizes, dim=1)


def films_of(modulation: Modulation | None, vector: Tensor | None, number: int) -> list[Film]:
    """(scale, shift) of each of ``number`` blocks, from a layer of `Modulation.films`; None of each without layer or vector."""
    if modulation is None or vector is None:
        return [None] * number
    vectors = modulation(vector)
    return list(zip(vectors[::2], vectors[1::2], strict=True))


def modulate(h: Tensor, film: Film) -> Tensor:
    """Features h (n, c, ...), scaled and shifted by (n, c) each: h scale + shift; as they are where ``film`` is None."""
    if film is None:
        return h
    scale, shift = film
    if h.ndim > 2:
        sides = [1] * (h.ndim - 2)
        scale, shift = scale.unflatten(1, (-1, *sides)), shift.unflatten(1, (-1, *sides))
    return torch.addcmul(shift.to(h.dtype), h, scale.to(h.dtype))


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
