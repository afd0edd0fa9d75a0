"""The averaged copy of a method."""

from __future__ import annotations

import copy

import torch

from pushforward.methods import Method

__all__ = ["Average"]


class Average:
    """An exponential moving average of a method's parameters and buffers, counted in samples.

    After n samples the half-life is min(half_life, share * n), so that the average forgets the first, random weights
    early in training whatever the batch.

    Args:
        method: What is averaged; a copy is made.
        half_life: In samples, when training is long.
        share: The share of the samples seen that the half-life may not exceed.

    References:
        Karras et al., EDM (2022), appendix F.2, for the half-life in samples and its ramp.
    """

    def __init__(self, method: Method, half_life: float, share: float) -> None:
        self.half_life, self.share = half_life, share
        self.method = copy.deepcopy(method).eval().requires_grad_(False)
        pairs = list(zip(self.method.parameters(), method.parameters(), strict=True))
        floating = [
            (mine, theirs)
            for mine, theirs in zip(self.method.buffers(), method.buffers(), strict=True)
            if mine.is_floating_point()
        ]
        counts = [
            (mine, theirs)
            for mine, theirs in zip(self.method.buffers(), method.buffers(), strict=True)
            if not mine.is_floating_point()
        ]
        self._mine = [mine for mine, _ in pairs + floating]
        self._theirs = [theirs.detach() for _, theirs in pairs + floating]
        self._counts = counts

    @torch.no_grad()
    def update(self, samples: int, batch: int) -> None:
        """Follow the method by one step, after ``samples`` samples in all, ``batch`` of them new."""
        half_life = min(self.half_life, self.share * samples)
        weight = 1.0 if half_life <= 0 else 1 - 0.5 ** (batch / half_life)
        torch._foreach_lerp_(self._mine, self._theirs, weight)
        for mine, theirs in self._counts:
            mine.copy_(theirs)
