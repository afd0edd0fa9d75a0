"""The averaged copy of a method."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pushforward.methods.method import Method
from pushforward.training.checkpoint.tensors import local


class Average:
    """An exponential moving average of a method's parameters and buffers, counted in training examples.

    After n training examples the half-life is min(half_life, share * n), so that the average forgets the first, random weights
    early in training whatever the batch. Modules that the method does not have averaged are the method's own.

    Args:
        method: The method to average.
        half_life: In training examples, when training is long.
        share: The share of the training examples so far that the half-life may not exceed.
        build: Makes a method of the same structure, whose tensors are where the method's are; it gets the method's weights. The
            default is a copy, which sharded weights do not allow.

    References:
        Karras et al., EDM (2022), appendix F.2, for the half-life in training examples and its ramp.
    """

    def __init__(self, method: Method, half_life: float, share: float, build: Callable[[], Method] | None = None) -> None:
        self.half_life, self.share = half_life, share
        self.method = copy.deepcopy(method) if build is None else build()
        self.method.eval().requires_grad_(False)
        parts = getattr(method, "averaged", (method,))
        averaged = {id(tensor) for part in parts for tensor in (*part.parameters(), *part.buffers())}
        self._left_out: set[str] = set()
        self._averages: list[Tensor] = []
        self._theirs: list[Tensor] = []
        self._counts: list[tuple[Tensor, Tensor]] = []
        for (name, average), (_, theirs) in zip(_named(self.method), _named(method), strict=True):
            if id(theirs) not in averaged:
                average.data = theirs.data
                self._left_out.add(name)
                continue
            local(average).copy_(local(theirs))
            if average.is_floating_point():
                self._averages.append(local(average))
                self._theirs.append(local(theirs))
            else:
                self._counts.append((average, theirs))

    @torch.no_grad()
    def update(self, samples: int, batch: int) -> None:
        """Follow the method by one step, after ``samples`` training examples in all, ``batch`` of them new."""
        half_life = min(self.half_life, self.share * samples)
        weight = 1.0 if half_life <= 0 else 1 - 0.5 ** (batch / half_life)
        torch._foreach_lerp_(self._averages, self._theirs, weight)
        for average, theirs in self._counts:
            average.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.method.state_dict().items() if name not in self._left_out}


def _named(method: nn.Module) -> list[tuple[str, Tensor]]:
    return [*method.named_parameters(), *method.named_buffers()]
