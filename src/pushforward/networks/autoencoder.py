"""Encoders and decoders of images to vectors and maps, a critic of patches, and quantisers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.errors import UsageError
from pushforward.networks.blocks import (
    Condition,
    Conditioning,
    Kinds,
    Level,
    Modulation,
    Norm,
    Shape,
    Times,
    check_condition,
    check_input,
    films_of,
    fold,
    grids,
    image_shape,
    kinds_of,
    level_widths,
    pad_to,
    patches,
    size_choice,
    stem_of,
    unfold,
)
from pushforward.networks.gan import SLOPE
from pushforward.networks.wrappers import Spectral

# Channels at the finest level and residual blocks per level
SIZES = {"tiny": (24, 1), "small": (48, 1), "base": (96, 2)}
FACTORS = (1, 2, 4, 8)


class _Coder(nn.Module):
    rising = False

    def __init__(
        self,
        shape: Shape,
        sides: list[tuple[int, int]],
        width: int,
        blocks: int,
        conditions: Kinds,
        stem: int,
    ) -> None:
        super().__init__()
        toward = -1 if self.rising else 1
        self.shape = image_shape(shape)
        self.width = width
        self.blocks = blocks
        self.stem = stem
        self.conditions = kinds_of(conditions)
        self.grids = sides[::toward]
        self.channels = level_widths(width, len(sides), 2)[::toward]
        order = np.repeat(self.channels, blocks).tolist()
        self.conditioning = Conditioning(2 * width, conditions)
        self.modulation = Modulation.films(2 * width, order) if conditions else None

    def _levels(self) -> nn.ModuleList:
        return nn.ModuleList([Level(w, self.blocks) for w in self.channels])

    def _add(self, enter: nn.Module, levels: nn.ModuleList) -> None:
        self.enter = enter
        self.levels = levels
        if self.rising:
            self.grow = nn.ModuleList([nn.Conv2d(a, 4 * b, 1) for a, b in pairwise(self.channels)])
        else:
            self.shrink = nn.ModuleList()
            for a, b in pairwise(self.channels):
                self.shrink.append(nn.Conv2d(a, b, 3, stride=2, padding=1))
        self.norm = Norm(self.channels[-1])

    def _through(self, h: Tensor, t: Times, condition: Condition) -> Tensor:
        vector = self.conditioning(h, t, condition)
        films = iter(films_of(self.modulation, vector, self.blocks * len(self.levels)))
        for index, level in enumerate(self.levels):
            if index and self.rising:
                height, width = self.grids[index]
                h = F.pixel_shuffle(self.grow[index - 1](h), 2)[:, :, :height, :width]
                h = h.contiguous(memory_format=torch.channels_last)
            elif index:
                h = self.shrink[index - 1](h)
            h = level(h, films)
        return F.silu(self.norm(h))


class _VectorCoder(_Coder):
    def __init__(
        self,
        shape: Shape,
        *,
        latent: int = 16,
        width: int,
        blocks: int = 1,
        conditions: Kinds = None,
        stem: int = 1,
    ) -> None:
        _, height, breadth = image_shape(shape)
        super().__init__(shape, grids(height, breadth, stem), width, blocks, conditions, stem)
        self.latent = latent
        pixels = self.shape[0] * stem**2
        first = self.channels[0]
        last = self.channels[-1]
        if self.rising:
            enter = nn.Linear(latent, first * math.prod(self.grids[0]))
            self._add(enter, self._levels())
            self.leave: nn.Module = nn.Conv2d(last, pixels, 3, padding=1)
        else:
            self._add(nn.Conv2d(pixels, first, 3, padding=1), self._levels())
            self.leave = nn.Linear(last * math.prod(self.grids[-1]), 2 * latent)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        width, blocks = size_choice(size, SIZES)
        stem = stem_of(size, shape, 16)
        return cls(shape, width=width, blocks=blocks, stem=stem, **options)


class Encoder(_VectorCoder):
    """Encoder from images to the mean and log-variance of a Gaussian latent.

    The coarsest grid has no side longer than 4. The sizes have about 0.2, 0.6 and 4 million
    parameters at 28 x 28.

    Args:
        width: Channels at the finest level; coarser ones have twice as many.
        blocks: Residual blocks per level.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
    """

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Compute means, then log-variances (n, 2 latent) from images x in model units."""
        check_input(x, self.shape, "Encoder")
        h = self.enter(fold(pad_to(x, self.stem), self.stem))
        h = self._through(h, t, condition)
        return self.leave(h.permute(0, 2, 3, 1).flatten(1)).to(x.dtype)


class Decoder(_VectorCoder):
    """Decoder from latents to images: the mirror image of `Encoder`, with the same arguments."""

    rising = True

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, (self.latent,), "Decoder")
        h = self.enter(x).reshape(x.shape[0], *self.grids[0], -1).permute(0, 3, 1, 2)
        h = self._through(h.contiguous(memory_format=torch.channels_last), t, condition)
        return unfold(self.leave(h), self.stem, self.shape).to(x.dtype)


def map_shape(shape: Shape, channels: int, factor: int) -> tuple[int, int, int]:
    """Return the shape of an image's latent map; sides are divided by the factor and rounded up.

    Raises:
        UsageError: If the factor is not 1, 2, 4 or 8, or larger than both sides.
    """
    _, height, width = image_shape(shape)
    if factor not in FACTORS or factor > max(height, width):
        raise UsageError(
            f"Images of {height} x {width} pixels cannot be reduced by a factor of {factor}. "
            "Choose 2, 4 or 8, at most the longer side."
        )
    return channels, patches(height, factor), patches(width, factor)


class _MapCoder(_Coder):
    def __init__(
        self,
        shape: Shape,
        channels: int,
        factor: int,
        width: int,
        blocks: int,
        conditions: Kinds,
    ) -> None:
        latent_map = map_shape(shape, channels, factor)
        _, height, breadth = latent_map
        stem = min(factor, 2)
        scale = factor // stem
        sides = []
        while scale >= 1:
            sides.append((height * scale, breadth * scale))
            scale //= 2
        super().__init__(shape, sides, width, blocks, conditions, stem)
        self.map = latent_map
        self.factor = factor
        inputs = self.shape[0] * stem**2
        outputs = channels
        if self.rising:
            inputs, outputs = outputs, inputs
        levels = self._levels()
        self._add(nn.Conv2d(inputs, self.channels[0], 3, padding=1), levels)
        self.leave = nn.Conv2d(self.channels[-1], outputs, 3, padding=1)

    @classmethod
    def sized(cls, size: str, *, shape: Shape, **options: Any) -> Self:
        width, blocks = size_choice(size, SIZES)
        return cls(shape, width=width, blocks=blocks, **options)


class Compressor(_MapCoder):
    """Encoder from images to maps ``factor`` times smaller: patches folded, blocks and halvings.

    Args:
        outputs: Channels of the map: twice the latent channels if it holds means and log-variances.
        factor: 1, 2, 4 or 8.
        width: Channels at the finest level; coarser ones have twice as many.
        blocks: Residual blocks per level.

    References:
        Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        outputs: int = 8,
        factor: int = 4,
        width: int,
        blocks: int = 1,
        conditions: Kinds = None,
    ) -> None:
        super().__init__(shape, outputs, factor, width, blocks, conditions)
        self.outputs = outputs

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, self.shape, "Compressor")
        h = self.enter(fold(pad_to(x, self.factor), self.stem))
        return self.leave(self._through(h, t, condition)).to(x.dtype)


class Expander(_MapCoder):
    """Decoder from maps to images ``factor`` times larger: the mirror image of `Compressor`."""

    rising = True

    def __init__(
        self,
        shape: Shape,
        *,
        inputs: int = 4,
        factor: int = 4,
        width: int,
        blocks: int = 1,
        conditions: Kinds = None,
    ) -> None:
        super().__init__(shape, inputs, factor, width, blocks, conditions)
        self.inputs = inputs

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        check_input(x, self.map, "Expander")
        h = self.enter(x.contiguous(memory_format=torch.channels_last))
        h = self._through(h, t, condition)
        return unfold(self.leave(h), self.stem, self.shape).to(x.dtype)


DEAD = 0.03  # A code is dead if it is used less than this fraction of the mean use of all codes


def _straight_through(h: Tensor, q: Tensor) -> Tensor:
    return q.detach() + (h - h.detach())


class Codebook(nn.Module):
    """Vector quantisation: replaces the vector at each position by the nearest learned vector.

    The vectors are running means, with a rate ``decay`` per step, of the vectors assigned to them.
    Dead codes are moved to vectors of the batch.

    References:
        van den Oord et al., Neural Discrete Representation Learning (VQ-VAE, 2017), appendix A.1;
        Dhariwal et al., Jukebox (2020), section 3, for the restart.
    """

    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.99) -> None:
        super().__init__()
        self.size = size
        self.dim = dim
        self.decay = decay
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", torch.randn(size, dim) / math.sqrt(dim))

    @property
    def vectors(self) -> Tensor:
        """Return the code vectors, (size, dim)."""
        return self.sums / self.counts.clamp(min=1e-6)[:, None]

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest vectors to h (n, dim, ...), and their numbers (n, ...)."""
        flat = self._flat(h)
        vectors = self.vectors
        with torch.autocast(h.device.type, enabled=False):
            distances = vectors.square().sum(1) - 2 * flat @ vectors.T
        index = distances.argmin(1).reshape(h.movedim(1, -1).shape[:-1])
        return _straight_through(h, self.look_up(index).to(h.dtype)), index

    def look_up(self, index: Tensor) -> Tensor:
        """Look up code vectors (n, dim, ...) by their numbers (n, ...)."""
        return self.vectors[index].movedim(-1, 1)

    def assigned(self, h: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Compute the number of assigned vectors per code and their sums, for `follow`.

        Statistics of several micro-batches add up.
        """
        codes = index.reshape(-1)
        counts = torch.bincount(codes, minlength=self.size).to(self.counts)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, self._flat(h))
        return {"counts": counts, "sums": sums}

    def candidates(self, h: Tensor, place: Tensor) -> Tensor:
        """Choose one vector from each example by random numbers (n,), (n, dim)."""
        positions = self._flat(h).reshape(len(h), -1, self.dim)
        chosen = (place * positions.shape[1]).long()
        return positions[torch.arange(len(h), device=h.device), chosen]

    @torch.no_grad()
    def follow(
        self, counts: Tensor, sums: Tensor, candidates: Tensor, choice: Tensor, places: int = 1
    ) -> None:
        """Move code vectors towards the vectors assigned to them, and restart dead codes.

        Args:
            counts: Assignments per code in the whole batch; see `assigned`.
            sums: Sums of assigned vectors in the whole batch.
            candidates: One vector from each of the n examples in the batch, (n, dim).
            choice: Random numbers (n,), which choose the candidates for dead codes.
            places: Number of vectors per example.
        """
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        even = len(candidates) * places / self.size
        dead = (self.counts < DEAD * even).nonzero().flatten()[: len(candidates)]
        if len(dead):
            self.counts[dead] = even
            self.sums[dead] = even * candidates[torch.argsort(choice)[: len(dead)]]

    def _flat(self, h: Tensor) -> Tensor:
        return h.detach().movedim(1, -1).reshape(-1, self.dim).float()


class Rounding(nn.Module):
    """Finite scalar quantisation: squashes each number and rounds it to one of at least 3 levels.

    References:
        Mentzer et al., Finite Scalar Quantization: VQ-VAE Made Simple (2023), section 3.1 and
        appendix A.1.
    """

    levels: tuple[int, ...]

    def __init__(self, levels: Sequence[int] = (8, 6, 5)) -> None:
        super().__init__()
        self.levels = tuple(map(int, levels))
        self.dim = len(self.levels)
        self.size = math.prod(self.levels)

    def _over(self, values: np.ndarray, h: Tensor) -> Tensor:
        column = torch.tensor(values, dtype=h.dtype, device=h.device)
        return column.reshape(1, -1, *[1] * (h.dim() - 2))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels of h (n, dim, ...), in [-1, 1], and the code numbers."""
        levels = np.array(self.levels)
        halves = (levels - 1) * (1 + 1e-3) / 2
        # an even number of levels is shifted by half a step, so that rounding gives all levels
        offsets = np.where(levels % 2, 0.0, 0.5)
        squashed = torch.tanh(h + self._over(np.arctanh(offsets / halves), h))
        squashed = squashed * self._over(halves, h) - self._over(offsets, h)
        whole = _straight_through(squashed, squashed.round())
        middle = self._over(levels // 2, h)
        digits = (whole.detach() + middle).long()
        places = np.cumprod([1, *self.levels[:-1]])
        index = (digits * self._over(places, h).long()).sum(1)
        return whole / middle, index

    def look_up(self, index: Tensor) -> Tensor:
        """Look up the scaled levels (n, dim, ...) of codes by their numbers (n, ...)."""
        digits = []
        for level in self.levels:
            middle = level // 2
            digits.append((index % level - middle) / middle)
            index = index // level
        return torch.stack(digits, 1).float()


class PatchCritic(nn.Module):
    """Critic that scores each patch of an image as real or decoded, with spectral normalisation.

    Args:
        width: Channels after the first convolution; doubled up to eight times.
        depth: Number of convolutions of stride 2; each more than doubles the side of a patch.

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017,
        section 3.2.2; Miyato et al., 2018.
    """

    def __init__(self, shape: Shape, *, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        self.width = width
        self.depth = depth
        widths = [self.shape[0], *level_widths(width, depth, 8)]
        last = widths[-1]
        self.halve = nn.ModuleList()
        for a, b in pairwise(widths):
            self.halve.append(nn.Conv2d(a, b, 4, stride=2, padding=1))
        self.mix = nn.Conv2d(last, last, 3, padding=1)
        self.leave = nn.Conv2d(last, 1, 1)
        Spectral(self.halve)
        Spectral(self.mix)
        Spectral(self.leave)

    @classmethod
    def sized(cls, size: str, *, shape: Shape) -> PatchCritic:
        """Build one of three sizes: 16, 32 or 64 channels at first; 2 halvings, 3 in base."""
        width, depth = size_choice(size, {"tiny": (16, 2), "small": (32, 2), "base": (64, 3)})
        return cls(shape, width=width, depth=depth)

    def features(self, x: Tensor) -> list[Tensor]:
        """Compute the features after each convolution, finest first, then the scores (n, 1, h, w).

        Raises:
            UsageError: If the images x are not (n, *shape).
        """
        check_input(x, self.shape, "PatchCritic")
        h = fold(self._padded(x), 1)
        maps = []
        for layer in (*self.halve, self.mix):
            h = F.leaky_relu(layer(h), SLOPE)
            maps.append(h)
        return [*maps, self.leave(h)]

    def _padded(self, x: Tensor) -> Tensor:
        # the last halving starts from at least 4 numbers: oneDNN's bfloat16 convolution sometimes
        # gives NaN if the kernel is wider than its input
        least = 2 ** (self.depth + 1)
        bottom = max(least - x.shape[2], 0)
        right = max(least - x.shape[3], 0)
        grown = F.pad(x, (0, right, 0, bottom), mode="replicate")
        return pad_to(grown, 2**self.depth)

    def forward(self, x: Tensor, t: Times = None, condition: Condition = None) -> Tensor:
        """Compute scores (n, patches) for images; conditions are not supported."""
        check_condition(condition, {}, x.shape[0])
        return self.features(x)[-1].flatten(1).to(x.dtype)
