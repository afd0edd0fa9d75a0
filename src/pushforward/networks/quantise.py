"""From numbers to codes of a finite book: by the nearest of learned vectors, or by rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import UsageError
from pushforward.networks.checks import positive

DEAD = 0.03
"""A code is dead where it is used less than this share of the mean use of all codes."""


def _straight_through(h: Tensor, q: Tensor) -> Tensor:
    return q.detach() + (h - h.detach())


class Codebook(nn.Module):
    """Vector quantisation: each place's vector becomes the nearest of ``size`` learned ones.

    The vectors are running means of the vectors assigned to them, not parameters. Codes that are hardly used are dead: they are
    put where vectors of the present batch are.

    Args:
        size: How many codes there are.
        dim: Numbers in one.
        decay: Of the running means, for each step.

    References:
        van den Oord et al., Neural Discrete Representation Learning (VQ-VAE, 2017), appendix A.1, for the running means;
        Dhariwal et al., Jukebox (2020), section 3, for the restart.
    """

    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.99) -> None:
        super().__init__()
        positive(size=size, dim=dim)
        if not 0 <= decay < 1:
            raise UsageError(f"decay is a share below 1, got {decay}.")
        self.size, self.dim, self.decay = size, dim, decay
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", torch.randn(size, dim) / math.sqrt(dim))

    @property
    def vectors(self) -> Tensor:
        """The codes' vectors, (size, dim)."""
        return self.sums / self.counts.clamp(min=1e-6)[:, None]

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise.

        Args:
            h: (n, dim, ...).

        Returns:
            The nearest vectors, of the shape of ``h`` and with its gradient, and the codes' numbers, int64 (n, ...).
        """
        positions = h.detach().movedim(1, -1)
        flat, vectors = positions.reshape(-1, self.dim).float(), self.vectors
        with torch.autocast(h.device.type, enabled=False):
            distances = vectors.square().sum(1) - 2 * flat @ vectors.T
        index = distances.argmin(1).reshape(positions.shape[:-1])
        return _straight_through(h, self.look_up(index).to(h.dtype)), index

    def look_up(self, index: Tensor) -> Tensor:
        """The vectors of codes: (n, dim, ...) from numbers (n, ...)."""
        return self.vectors[index].movedim(-1, 1)

    def assigned(self, h: Tensor, index: Tensor) -> dict[str, Tensor]:
        """The statistics of a batch for `follow`, summed over its vectors; the sums of several parts add up.

        Args:
            h: The vectors, (n, dim, ...).
            index: The codes' numbers, (n, ...).

        Returns:
            ``counts`` (size,), how often each code was assigned, and ``sums`` (size, dim), of the vectors that got it.
        """
        flat, codes = self._flat(h), index.reshape(-1)
        counts = torch.bincount(codes, minlength=self.size).to(self.counts)
        return {"counts": counts, "sums": torch.zeros_like(self.sums).index_add_(0, codes, flat)}

    def candidates(self, h: Tensor, place: Tensor) -> Tensor:
        """One vector of each example, for codes that are dead, (n, dim).

        Args:
            h: The vectors, (n, dim, ...).
            place: Random numbers in [0, 1), (n,): which of an example's vectors.
        """
        positions = self._flat(h).reshape(len(h), -1, self.dim)
        return positions[torch.arange(len(h), device=h.device), (place * positions.shape[1]).long()]

    @torch.no_grad()
    def follow(self, counts: Tensor, sums: Tensor, candidates: Tensor, choice: Tensor, places: int = 1) -> None:
        """Move the vectors towards those assigned to them, and dead codes to vectors of this batch.

        Args:
            counts: Of the whole batch; see `assigned`.
            sums: Of the whole batch.
            candidates: A vector of each of the batch's n examples, (n, dim).
            choice: Random numbers in [0, 1), (n,): dead codes take the candidates of the smallest, one each.
            places: Vectors in an example.
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
    """Finite scalar quantisation: every number is squashed and rounded to one of a few levels; there is nothing to learn.

    Args:
        levels: Levels of each number, at least 3; the book has their product of codes.

    Raises:
        UsageError: No levels, or fewer than 3.

    References:
        Mentzer et al., Finite Scalar Quantization: VQ-VAE Made Simple (2023), section 3.1 and appendix A.1.
    """

    levels: tuple[int, ...]

    def __init__(self, levels: Sequence[int] = (8, 6, 5)) -> None:
        super().__init__()
        self.levels = tuple(int(level) for level in levels)
        if not self.levels or min(self.levels) < 3:
            raise UsageError(f"levels are {self.levels}; expected at least one number of levels, each at least 3.")
        self.dim, self.size = len(self.levels), math.prod(self.levels)

    def _of(self, values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(1, -1, *(1,) * (like.dim() - 2))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise.

        Args:
            h: (n, dim, ...).

        Returns:
            The levels, scaled to [-1, 1], of the shape of ``h`` and with the gradient of the squashing, and the codes' numbers,
            int64 (n, ...).
        """
        # an even number of levels lies half a step to one side, so that rounding gives exactly so many
        half = [(level - 1) * (1 + 1e-3) / 2 for level in self.levels]
        offset = [0.0 if level % 2 else 0.5 for level in self.levels]
        shift = [math.atanh(o / w) for o, w in zip(offset, half, strict=True)]
        squashed = torch.tanh(h + self._of(shift, h)) * self._of(half, h) - self._of(offset, h)
        whole = _straight_through(squashed, squashed.round())
        middle = self._of([level // 2 for level in self.levels], h)
        digits = (whole.detach() + middle).long()
        places = self._of([math.prod(self.levels[:place]) for place in range(self.dim)], h).long()
        return whole / middle, (digits * places).sum(1)

    def look_up(self, index: Tensor) -> Tensor:
        """The scaled levels of codes: (n, dim, ...) from numbers (n, ...)."""
        digits, rest = [], index
        for level in self.levels:
            digits.append((rest % level - level // 2) / (level // 2))
            rest = rest // level
        return torch.stack(digits, 1).float()
